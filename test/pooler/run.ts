import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { poolerVersion } from '../support/pooler.ts';

const HELP = `Usage: npm run test:pooler [-- test/ledger …]

Runs the suites that work on the database, and those of the jobs, through a real PgBouncer: first in transaction mode, then in session mode.
The PgBouncer is that of PGBOUNCER, or the one on the PATH, 1.21 or newer. Without one, nothing is tested and the command exits 0.`;

const SUITES = [
  'ledger',
  'payments',
  'customers',
  'merchants',
  'inbox',
  'jobs',
  'outgoing',
  'reconciliation',
  'retention',
];
/** What is about the pooler itself, once. */
const OF_ITS_OWN = ['test/db/pooler.test.ts', 'test/db/passing.test.ts'];

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'node_modules', '.bin');

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const version = await poolerVersion();
  if (version?.keepsStatements !== true) {
    console.log(
      `SKIPPED: nothing was tested through a pooler (${version?.text ?? 'there is no PgBouncer'}).\n\n${HELP}`,
    );
    return;
  }
  console.log(`Testing through ${version.text}.`);
  const suites = positionals.length > 0 ? positionals : SUITES.map((name) => `test/${name}`);
  const failed: string[] = [];
  if (!(await passes(OF_ITS_OWN, {}))) failed.push('the pooler itself');
  for (const mode of ['transaction', 'session'])
    if (!(await passes(suites, { TEST_POOLER: mode }))) failed.push(`${mode} mode`);
  console.log(
    failed.length === 0 ? 'All passed, in transaction and in session mode.' : `FAILED: ${failed.join(', ')}.`,
  );
  if (failed.length > 0) process.exitCode = 1;
}

function passes(files: readonly string[], environment: NodeJS.ProcessEnv): Promise<boolean> {
  const child = spawn(join(BIN, 'vitest'), ['run', ...files], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH ?? ''}`, ...environment },
  });
  return new Promise((resolve) => {
    child.once('error', () => resolve(false));
    child.once('close', (code) => resolve(code === 0));
  });
}

await main();
