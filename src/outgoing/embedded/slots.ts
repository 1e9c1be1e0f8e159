import { invariant } from '../../errors.ts';
import type { DeliveryKey } from './delivery-store.ts';

/** Of the probes that one merchant's failing endpoints may have under way in a process at once; far fewer than there are slots. */
const PROBES_OF_A_MERCHANT = 4;

/** Far more endpoints than are slow at once; past it the notes start anew, at the price of one more wait for each. */
const MAX_SLOW = 10_000;

type Whose = Pick<DeliveryKey, 'merchantId' | 'endpointId'>;

/**
 * The breaker of every endpoint. One that is silent, or has only failed for a while, has a single slot to be probed by, and all those
 * of a merchant have four: however many there are, they cannot hold the slots of others. Each process has its own.
 */
export class DeliverySlots {
  readonly #probed = new Set<string>();
  readonly #probes = new Map<string, number>();
  readonly #slow = new Set<string>();

  /** Whether this process waited for its answer in vain the last time. */
  isSlow({ merchantId, endpointId }: Whose): boolean {
    return this.#slow.has(nameOf(merchantId, endpointId));
  }

  noteAnswer({ merchantId, endpointId }: Whose, isTimedOut: boolean): void {
    if (this.#slow.size >= MAX_SLOW) this.#slow.clear();
    if (isTimedOut) this.#slow.add(nameOf(merchantId, endpointId));
    else this.#slow.delete(nameOf(merchantId, endpointId));
  }

  /** @returns false if the endpoint, or its merchant, is being probed enough already; else the probe must be left afterwards */
  enterProbe({ merchantId, endpointId }: Whose): boolean {
    const probes = this.#probes.get(merchantId) ?? 0;
    if (probes >= PROBES_OF_A_MERCHANT || this.#probed.has(nameOf(merchantId, endpointId))) return false;
    this.#probed.add(nameOf(merchantId, endpointId));
    this.#probes.set(merchantId, probes + 1);
    return true;
  }

  leaveProbe({ merchantId, endpointId }: Whose): void {
    const probes = this.#probes.get(merchantId) ?? 0;
    invariant(probes > 0 && this.#probed.delete(nameOf(merchantId, endpointId)), 'a probe ended that was not begun');
    if (probes === 1) this.#probes.delete(merchantId);
    else this.#probes.set(merchantId, probes - 1);
  }
}

const nameOf = (merchantId: string, endpointId: string): string => `${merchantId} ${endpointId}`;

/** Between 15 and 120 s, so that a long backlog does not come back all at once. `random` is from 0 to 1. */
export function putOffSeconds(random: number): number {
  return 15 + 105 * random;
}
