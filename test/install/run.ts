import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { type ServiceProcess, startLine } from '../support/process.ts';

const HELP = `Usage: npm run test:install

Installs a copy of this checkout as its users do, by npm ci --omit=dev, and starts every process of it: with the Node and
npm that are on the PATH, which may be as old as package.json's "engines" allows. Then it takes the time of npx chokin.
Needs the network, and about two minutes.`;

const ROOT = join(import.meta.dirname, '../..');

/** The longest that `npx chokin` may take, in milliseconds: the quickest of several, since other work goes on meanwhile. */
const MAX_CHOKIN_MS = 700;
const TRIES = 8;

/** Without the folders that npm adds, so that the Node of this checkout stays out of it. */
const PATH = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((folder) => !folder.includes('node_modules'))
  .join(delimiter);
const { HOME = '' } = process.env;

const cleanUps: (() => unknown)[] = [];

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    console.log(HELP);
    return;
  }
  try {
    await install();
    console.log('Everything that was installed works.');
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

async function install(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'chokin-install-'));
  cleanUps.push(() => rm(folder, { recursive: true, force: true }));
  // The account that runs Postgres has to get in.
  await chmod(folder, 0o755);
  const files = output('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], ROOT).split('\0');
  for (const file of files.filter((name) => name !== '')) await cp(join(ROOT, file), join(folder, file));
  const versions = ['node', 'npm'].map((name) => `${name} ${output(name, ['--version'], folder).trim()}`);
  console.log(`${versions.join(', ')}: npm ci --omit=dev`);
  const shown = output('npm', ['ci', '--omit=dev'], folder);
  if (/warn|EBADENGINE/i.test(shown)) throw new Error(`npm ci has warned:\n${shown}`);

  const port = await freePort();
  const service = await start(folder, 'npm start', { PORT: String(port) });
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`);
  if (!answer.ok) throw new Error(`/healthz answered ${answer.status}`);
  expectText(output('npx', ['chokin', 'merchants', 'list'], folder), 'bus_default');

  const databaseUrl = (await readFile(join(folder, '.data/database-url'), 'utf8')).trim();
  const database = { DATABASE_URL: databaseUrl };
  expectText(output('npm', ['run', 'migrate'], folder, database), 'The database is up to date.');
  expectText(output('npm', ['run', 'audit'], folder, database), 'The books agree.');
  for (const script of ['web', 'worker']) {
    const one = await start(folder, `npm run ${script}`, { ...database, PORT: '0' });
    await stop(one, script);
  }
  takeTimes(folder, await versionOf(folder));
  await stop(service, 'npm start');
}

function takeTimes(folder: string, version: string): void {
  const times = Array.from({ length: TRIES }, () => {
    const startedAt = performance.now();
    expectText(output('npx', ['chokin', '--version'], folder), version);
    return performance.now() - startedAt;
  });
  const quickest = Math.round(Math.min(...times));
  const isBusy = (loadavg()[0] ?? 0) > availableParallelism();
  console.log(`npx chokin --version: ${quickest} ms${isBusy ? ', which says nothing: the machine is busy' : ''}`);
  if (quickest > MAX_CHOKIN_MS && !isBusy) throw new Error(`npx chokin takes more than ${MAX_CHOKIN_MS} ms`);
}

async function versionOf(folder: string): Promise<string> {
  const text = await readFile(join(folder, 'package.json'), 'utf8');
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

async function start(folder: string, line: string, environment: Record<string, string>): Promise<ServiceProcess> {
  console.log(line);
  const started = startLine(`cd '${folder}' && exec ${line}`, { PATH, HOME, ...environment });
  cleanUps.push(() => started.child.kill('SIGKILL'));
  await started.printed(line === 'npm run web' ? 'Listening' : 'the worker is ready', 120_000);
  return started;
}

async function stop(started: ServiceProcess, name: string): Promise<void> {
  const code = await started.end('SIGTERM');
  if (code !== 0) throw new Error(`${name} ended with ${code}:\n${started.output()}`);
}

function output(
  command: string,
  args: readonly string[],
  cwd: string,
  environment: Record<string, string> = {},
): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env: { PATH, HOME, ...environment },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout + stderr;
}

function expectText(shown: string, wanted: string): void {
  if (!shown.includes(wanted)) throw new Error(`"${wanted}" was not printed:\n${shown}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

await main();
