import { execFile, spawn } from 'node:child_process';
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from '../../src/db/embedded.ts';
import { serverAccount } from '../../src/db/server-account.ts';
import { USERS } from './database-users.ts';
import { eventually } from './wait.ts';

const execute = promisify(execFile);

/** The PgBouncer of this machine: that of `PGBOUNCER`, or the one on the `PATH`. */
const PROGRAM = process.env.PGBOUNCER ?? 'pgbouncer';

/** The first release that keeps prepared statements in transaction mode. */
const KEEPS_STATEMENTS = [1, 21] as const;

export interface PoolerVersion {
  readonly text: string;
  /** Whether it can keep prepared statements. */
  readonly keepsStatements: boolean;
}

/** Of the PgBouncer of this machine; null if there is none. */
export async function poolerVersion(): Promise<PoolerVersion | null> {
  const output = await execute(PROGRAM, ['--version']).then(
    ({ stdout }) => stdout,
    () => null,
  );
  const [, major, minor] = /PgBouncer (\d+)\.(\d+)/.exec(output ?? '') ?? [];
  if (output === null || major === undefined || minor === undefined) return null;
  const [fromMajor, fromMinor] = KEEPS_STATEMENTS;
  const keepsStatements = Number(major) > fromMajor || (Number(major) === fromMajor && Number(minor) >= fromMinor);
  return { text: output.split('\n', 1)[0] ?? '', keepsStatements };
}

export interface PoolerOptions {
  readonly mode: 'transaction' | 'session';
  /** How many sessions it opens for each user and database. */
  readonly size?: number;
  /** Its further users. */
  readonly users?: readonly string[];
  /** Prepared statements are lost, as in releases that are too old, or by its setting. */
  readonly losesStatements?: boolean;
}

export interface Pooler {
  /** The same database and user through the pooler. */
  through(databaseUrl: string): string;
  stop(): Promise<void>;
}

/** Starts a PgBouncer before a server of the tests, whose users share a password. It keeps all of its files in a folder that goes with it. */
export async function startPooler(serverUrl: string, options: PoolerOptions): Promise<Pooler> {
  const version = await poolerVersion();
  if (version === null) throw new Error('there is no PgBouncer on this machine');
  const { username, password, hostname, port: serverPort } = new URL(serverUrl);
  const folder = await mkdtemp(join(tmpdir(), 'chokin-pooler-'));
  const port = await freePort();
  const names = [username, ...Object.values(USERS), ...(options.users ?? [])];
  const users = names.map((name) => `"${name}" "${decodeURIComponent(password)}"`);
  const statements = version.keepsStatements ? [`max_prepared_statements = ${options.losesStatements ? 0 : 200}`] : [];
  const config = [
    '[databases]',
    `* = host=${hostname} port=${serverPort}`,
    '[pgbouncer]',
    ...['listen_addr = 127.0.0.1', `listen_port = ${port}`, 'unix_socket_dir ='],
    ...['auth_type = plain', `auth_file = ${join(folder, 'users.txt')}`],
    ...[`pool_mode = ${options.mode}`, `default_pool_size = ${options.size ?? 20}`, 'max_client_conn = 1000'],
    ...['max_db_connections = 0', 'server_login_retry = 1', `logfile = ${join(folder, 'log')}`],
    ...statements,
  ];
  await writeFile(join(folder, 'users.txt'), `${users.join('\n')}\n`);
  await writeFile(join(folder, 'pgbouncer.ini'), `${config.join('\n')}\n`);
  const account = await serverAccount();
  if (account !== null) {
    await chmod(folder, 0o755);
    for (const path of [folder, join(folder, 'users.txt'), join(folder, 'pgbouncer.ini')])
      await chown(path, account.uid, account.gid);
  }
  // It refuses to be root.
  const as = account === null ? {} : { uid: account.uid, gid: account.gid };
  const child = spawn(PROGRAM, ['-q', join(folder, 'pgbouncer.ini')], { ...as, cwd: folder, stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
    child.once('error', () => resolve());
  });
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const through = (databaseUrl: string) => {
    const url = new URL(databaseUrl);
    url.hostname = '127.0.0.1';
    url.port = String(port);
    return url.href;
  };
  try {
    await eventually('PgBouncer to answer', async () => {
      if (child.exitCode !== null) throw new Error(`PgBouncer ended: ${await readFile(join(folder, 'log'), 'utf8')}`);
      return answers(through(serverUrl));
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { through, stop };
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
