import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DESCRIBED } from './described.ts';
import { findStripeMock } from './find-stripe-mock.ts';

const HELP = `Usage: npm run test:stripe-mock | test:prism

Runs reconciliation against what providers publish of their APIs; see "Against the real thing" in docs/faults.md.
Ends with 0 where there is nothing to run against, and says what to install.`;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PRISM = fileURLToPath(new URL('prism/', import.meta.url));

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
  prism() {
    const missing = DESCRIBED.filter(({ variable }) => process.env[variable] === undefined);
    for (const { name, variable, published } of missing) {
      skip(`prism, ${name}`, [`set ${variable} to a copy of the description that is published at`, published]);
    }
    if (missing.length === DESCRIBED.length) return null;
    // By its own lock file, and without its packages' install scripts.
    if (!existsSync(`${PRISM}node_modules`)) {
      const { status } = spawnSync('npm', ['ci', '--ignore-scripts'], { cwd: PRISM, stdio: 'inherit' });
      if (status !== 0) throw new Error('Prism could not be installed');
    }
    return {};
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
