import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findStripeMock } from './find-stripe-mock.ts';

const HELP = `Usage: npm run test:stripe-mock

Runs reconciliation against what providers publish of their APIs; see "Against the real thing" in the README.
Ends with 0 where there is nothing to run against, and says what to install.`;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What the tests of this name want in the environment; null if it is not there, which has been said. */
const PREPARATIONS: Readonly<Record<string, () => Record<string, string> | null>> = {
  'stripe-mock'() {
    const { STRIPE_MOCK_URL } = process.env;
    if (STRIPE_MOCK_URL !== undefined) return { STRIPE_MOCK_URL };
    const binary = findStripeMock();
    if (binary !== null) return { STRIPE_MOCK_BINARY: binary };
    skip('stripe-mock', [
      'there is no stripe-mock on the PATH or in the bin folder of Go, and STRIPE_MOCK_URL is not set.',
      'Install it by   go install github.com/stripe/stripe-mock@v0.203.0',
      'or run it elsewhere and set   STRIPE_MOCK_URL=http://127.0.0.1:12111',
    ]);
    return null;
  },
};

function skip(name: string, reasons: readonly string[]): void {
  const lines = [`SKIPPED: test:${name} ran no test`, ...reasons];
  console.log(['', ...lines.map((line) => `  *** ${line}`), ''].join('\n'));
}

function main(): void {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  const [name = ''] = positionals;
  const prepare = PREPARATIONS[name];
  if (values.help === true || prepare === undefined) {
    console.log(HELP);
    process.exitCode = values.help === true ? 0 : 2;
    return;
  }
  const environment = prepare();
  if (environment === null) return;
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/real-apis/vitest.config.ts', name];
  const env = { ...process.env, ...environment };
  process.exitCode = spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' }).status ?? 1;
}

main();
