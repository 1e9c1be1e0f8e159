import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HELP = `Usage: npm run test:faults

Runs every test of a fault: those of npm test (test/faults), and those that take minutes (test/faults/slow).`;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
if (values.help === true) console.log(HELP);
else {
  const args = ['node_modules/vitest/vitest.mjs', 'run', 'test/faults'];
  const { status } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, FAULTS: 'all' },
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}
