import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Environments that put a fault into a process of the service from outside; the product has no door for any of them. */

/** `reject` and `throw`: an error that nothing handles. `flood`: 3 MB to standard output. `complain`: a line to standard error. */
export type FaultOnSignal = 'reject' | 'throw' | 'flood' | 'complain';

/** At SIGUSR2 the fault happens. */
export function faultOnSignal(fault: FaultOnSignal): Record<string, string> {
  return { ...importing('fault-on-signal.ts'), FAULT_ON_SIGUSR2: fault };
}

/** The process's clock is this far ahead; a negative number for behind. */
export function skewedClock(skewMs: number): Record<string, string> {
  return { ...importing('skewed-clock.ts'), CLOCK_SKEW_MS: String(skewMs) };
}

/** What the process asks of a provider is asked of its double; by host, such as `api.stripe.com`. */
export function redirectedProviders(doubles: Readonly<Record<string, string>>): Record<string, string> {
  return { ...importing('redirect-providers.ts'), PROVIDER_DOUBLES: JSON.stringify(doubles) };
}

function importing(module: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'injected', module)).href}` };
}
