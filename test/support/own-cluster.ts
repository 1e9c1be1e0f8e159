import { execFile } from 'node:child_process';
import { access, appendFile, chmod, copyFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { migrate } from '../../src/commands/migrate.ts';
import { type EmbeddedPostgres, freePort, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createPool } from '../../src/db/pool.ts';
import { createUser } from '../../src/db/service-users.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import type { TestDatabase } from './database.ts';
import { ROLES_OF, USERS, urlAs } from './database-users.ts';
import { SmallDisk } from './small-disk.ts';
import { eventually } from './wait.ts';

const execute = promisify(execFile);
const SETTINGS = ['fsync=off', 'max_connections=60', 'shared_buffers=32MB'];

/**
 * A Postgres of the test's own, for faults of a whole server: it can be stopped, crashed, copied and put back while the
 * service that uses it runs on. It keeps its address.
 */
export class OwnCluster {
  /** Where everything of it is; not the cluster itself. */
  readonly folder: string;
  readonly dataDir: string;
  readonly #port: number;
  readonly #settings: readonly string[];
  readonly #disks: SmallDisk[] = [];
  #postgres: EmbeddedPostgres | null = null;

  private constructor(folder: string, port: number, settings: readonly string[]) {
    this.folder = folder;
    this.dataDir = join(folder, 'cluster');
    this.#port = port;
    this.#settings = settings;
  }

  /** Started, and empty but for the database `chokin`, which is empty as well. */
  static async start(settings: readonly string[] = []): Promise<OwnCluster> {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-own-'));
    await chmod(folder, 0o755);
    const cluster = new OwnCluster(folder, await freePort(), [...SETTINGS, ...settings]);
    await cluster.start();
    return cluster;
  }

  /** The superuser's URL of the database `chokin`. */
  get url(): string {
    if (this.#postgres === null) throw new Error('the cluster was never started');
    return this.#postgres.databaseUrl;
  }

  async start(): Promise<void> {
    this.#postgres = await startEmbeddedPostgres({
      dataDir: this.dataDir,
      binaries: process.env.TEST_POSTGRES,
      port: this.#port,
      settings: this.#settings,
    });
  }

  /** A standby that streams from this one, which is stopped for a moment. From then on a commit waits until the standby has it. */
  async standby(): Promise<OwnCluster> {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-own-'));
    await chmod(folder, 0o755);
    const standby = new OwnCluster(folder, await freePort(), this.#settings);
    await this.stop();
    await this.copy(this.dataDir, standby.dataDir);
    await this.start();
    const { username, password, port } = new URL(this.url);
    const from = `host=127.0.0.1 port=${port} user=${username} password=${password}`;
    await appendFile(join(standby.dataDir, 'postgresql.auto.conf'), `primary_conninfo = '${from}'\n`);
    await copyFile(join(standby.dataDir, 'PG_VERSION'), join(standby.dataDir, 'standby.signal'));
    await standby.start();
    await this.#asSuperuser("alter system set synchronous_standby_names = '*'", 'select pg_reload_conf()');
    return standby;
  }

  /** Ends the recovery of a standby, which writes from then on. */
  async promote(): Promise<void> {
    await this.#asSuperuser('select pg_promote()');
  }

  async #asSuperuser(...statements: readonly string[]): Promise<void> {
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    try {
      for (const one of statements) await client.query(one);
    } finally {
      await client.end();
    }
  }

  /** `immediate` is a crash. @throws {Error} if it is not running */
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.#postgres?.stop(mode);
  }

  /** Whether it still runs. This waits for the end of a panic, after which a server may start again by itself or give up. */
  isRunning(): Promise<boolean> {
    return eventually('the server to answer or to be gone', async () => {
      const answers = await this.#answers();
      const isGone = await access(join(this.dataDir, 'postmaster.pid')).then(
        () => false,
        () => true,
      );
      return answers || isGone ? { answers } : null;
    }).then(({ answers }) => answers);
  }

  async #answers(): Promise<boolean> {
    const client = new pg.Client({ connectionString: this.url });
    try {
      await client.connect();
      await client.end();
      return true;
    } catch {
      return false;
    }
  }

  /** What the server wrote to its log so far. */
  log(): Promise<string> {
    return readFile(join(this.dataDir, 'server.log'), 'utf8');
  }

  /** A disk for the server to write to, for as long as the cluster is there. */
  async mountDisk(sizeMb: number): Promise<SmallDisk> {
    const { uid } = await stat(this.dataDir);
    const disk = await SmallDisk.mount(join(this.folder, 'disk'), sizeMb, uid);
    this.#disks.push(disk);
    return disk;
  }

  /** A copy of a folder with everything in it, its owners too. */
  async copy(from: string, to: string): Promise<void> {
    await execute('cp', ['-Rp', from, to]);
  }

  /** The database at `url`, migrated, with the users of the tests. Dropping it ends the whole cluster. */
  async migrated(url = this.url): Promise<TestDatabase> {
    const logger = createLogger('silent', 'test');
    await migrate(url, logger);
    const { password } = new URL(url);
    for (const user of ['web', 'worker', 'operator'] as const)
      await createUser(url, { name: USERS[user], roles: ROLES_OF[user], password });
    const pool = createPool({ databaseUrl: url, applicationName: 'test', maxConnections: 4, logger });
    return {
      url: urlAs('operator', url),
      webUrl: urlAs('web', url),
      workerUrl: urlAs('worker', url),
      directUrl: urlAs('operator', url),
      ownerUrl: url,
      pool,
      drop: async () => {
        await pool.end();
        await this.remove();
      },
    };
  }

  /** Ends the server, whatever state it is in, and leaves nothing behind. */
  async remove(): Promise<void> {
    await this.stop('immediate').catch(() => {});
    for (const disk of this.#disks) await disk.unmount();
    await rm(this.folder, { recursive: true, force: true });
  }
}
