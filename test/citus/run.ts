import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { citusNodes } from '../support/citus-cluster.ts';

const HELP = `Usage: CITUS_URL=<url> CITUS_WORKERS=<url>,<url> npm run test:citus -- [test/ledger …]

Runs the suites that work on the database on a Citus cluster: a superuser's URL of its coordinator and of each worker, all with
shared_preload_libraries = 'citus', and trust or a .pgpass between the nodes. Databases of the tests' own are made on every node, and go
again. Without CITUS_URL nothing is run.`;

const SUITES = [
  'test/citus',
  ...[
    'ledger',
    'payments',
    'customers',
    'merchants',
    'checkouts',
    'schedules',
    'top-ups',
    'charging',
    'inbox',
    'jobs',
    'outgoing',
    'reconciliation',
    'retention',
    'audit',
    'http',
    'security',
  ].map((name) => `test/${name}`),
  ...['f14-', 'f15-', 'f16-', 'f17-', 'f18-', 'f28-', 'f29-', 'f30-', 'f31-'].map((name) => `test/faults/${name}`),
];

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'node_modules', '.bin');
const given = process.argv.slice(2);

if (given.includes('--help') || given.includes('-h')) console.log(HELP);
else if (citusNodes().length < 2) {
  console.log('NOT RUN: CITUS_URL and CITUS_WORKERS name no cluster, so nothing was tried on Citus.\n');
  console.log(HELP);
} else {
  const child = spawn(join(BIN, 'vitest'), ['run', ...(given.length > 0 ? given : SUITES)], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, DATABASE_BACKEND: 'citus', PATH: `${BIN}${delimiter}${process.env.PATH ?? ''}` },
  });
  child.once('close', (code) => process.exit(code ?? 1));
}
