import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HELP = `Usage: npm run test:faults [-- --all-points]

Runs every test of a fault: those of npm test (test/faults), and those that take minutes (test/faults/slow).

Options:
  --all-points  make all rounds; cut a migration and kill web and worker at every statement, instead of at every eighth and every
                second from a drawn one (SEED=<n> repeats what was drawn)`;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const { values } = parseArgs({ options: { 'all-points': { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
if (values.help === true) console.log(HELP);
else {
  const args = ['node_modules/vitest/vitest.mjs', 'run', 'test/faults'];
  const { status } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, FAULTS: 'all', ...(values['all-points'] === true ? { FAULT_POINTS: 'all' } : {}) },
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}
