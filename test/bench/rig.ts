import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { z } from 'zod';
import { migrate } from '../../src/commands/migrate.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { createLogger, type Logger } from '../../src/telemetry/log.ts';
import { BASELINE_DATABASE, prepareBaseline } from './baseline-database.ts';
import { CpuMeter, type Watched } from './cpu.ts';
import { API_KEY, fill } from './fill.ts';
import type { Role } from './server.ts';

export interface Server {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const SETTINGS = ['max_wal_size=4GB', 'shared_buffers=512MB'];

/**
 * One Postgres with fsync on, on it a database for each thing that is measured, and the processes that are measured, each
 * started when a row first wants it.
 */
export class Rig {
  readonly folder: string;
  readonly logger: Logger;
  readonly cpu: CpuMeter;
  readonly #postgres: EmbeddedPostgres;
  readonly #watched: Watched[];
  readonly #pools: Pool[] = [];
  readonly #closing: (() => Promise<void>)[] = [];
  readonly #servers = new Map<string, Promise<Server>>();
  readonly #databases = new Map<string, Promise<string>>();

  private constructor(parts: {
    folder: string;
    postgres: EmbeddedPostgres;
    logger: Logger;
    cpu: CpuMeter;
    watched: Watched[];
  }) {
    this.folder = parts.folder;
    this.#postgres = parts.postgres;
    this.logger = parts.logger;
    this.cpu = parts.cpu;
    this.#watched = parts.watched;
  }

  static async start(): Promise<Rig> {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-bench-'));
    await chmod(folder, 0o755);
    const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), settings: SETTINGS });
    const watched: Watched[] = [];
    const cpu = await CpuMeter.start(postgres.databaseUrl, watched);
    return new Rig({ folder, postgres, logger: createLogger('error', 'bench'), cpu, watched });
  }

  /** Which Postgres it is. */
  async version(): Promise<string> {
    const pool = this.pool(this.#postgres.databaseUrl);
    const { rows } = await pool.query<{ version: string }>("select split_part(version(), ' on ', 1) as version");
    return rows[0]?.version ?? 'PostgreSQL';
  }

  /** The service's own database, with the wallets that most rows are about. */
  main(): Promise<string> {
    return this.database('bench', async (url) => {
      await migrate(url, this.logger);
      // Its first start makes the merchant.
      await this.server('web', url);
      await fill(this.pool(url));
    });
  }

  /** That of the baselines and of bare SQL. */
  baseline(): Promise<string> {
    return this.database(BASELINE_DATABASE, prepareBaseline);
  }

  /** A database of that name, made and prepared when it is first wanted. */
  database(name: string, prepare: (url: string) => Promise<void>): Promise<string> {
    const made = async () => {
      const client = new pg.Client(this.#postgres.databaseUrl);
      await client.connect();
      await client.query(`create database ${name}`);
      await client.end();
      const url = new URL(this.#postgres.databaseUrl);
      url.pathname = `/${name}`;
      await prepare(url.href);
      return url.href;
    };
    const known = this.#databases.get(name) ?? made();
    this.#databases.set(name, known);
    return known;
  }

  /** A few connections of the benchmark itself, which may read whole tables. */
  pool(databaseUrl: string, applicationName = 'bench'): Pool {
    const options = { databaseUrl, applicationName, maxConnections: 2, logger: this.logger };
    const pool = createPool({ ...options, statementTimeoutMs: 0 });
    this.#pools.push(pool);
    return pool;
  }

  /** The web process and worker on the main database. @returns where the web process listens */
  async ours(): Promise<Server> {
    const databaseUrl = await this.main();
    const web = await this.server('web', databaseUrl);
    await this.server('worker', databaseUrl);
    return web;
  }

  /** A process of that role, or the one that runs already. */
  server(role: Role, databaseUrl = '', environment: Readonly<Record<string, string>> = {}): Promise<Server> {
    const key = JSON.stringify([role, databaseUrl, environment]);
    const known = this.#servers.get(key) ?? this.#start(role, databaseUrl, environment);
    this.#servers.set(key, known);
    return known;
  }

  async #start(role: Role, databaseUrl: string, environment: Readonly<Record<string, string>>): Promise<Server> {
    const child = fork(join(import.meta.dirname, 'server.ts'), {
      env: { PATH: process.env.PATH, ROLE: role, DATABASE_URL: databaseUrl, API_KEY, ...environment },
      // As the Procfile starts them.
      execArgv: role === 'web' || role === 'worker' ? ['--max-semi-space-size=16'] : [],
    });
    const ended = once(child, 'exit');
    const [message] = await Promise.race([
      once(child, 'message'),
      ended.then(() => Promise.reject(new Error(`the ${role} process ended`))),
    ]);
    const pid = child.pid ?? 0;
    this.#watched.push({ pid, group: role.endsWith('worker') ? 'worker' : 'web' });
    return {
      pid,
      url: z.object({ url: z.string() }).parse(message).url,
      stop: async () => {
        if (child.connected) child.disconnect();
        await ended;
      },
    };
  }

  /** What a row opened besides. */
  onStop(close: () => Promise<void>): void {
    this.#closing.push(close);
  }

  async stop(): Promise<void> {
    for (const close of this.#closing) await close();
    for (const server of this.#servers.values()) {
      await server.then(
        (one) => one.stop(),
        () => {},
      );
    }
    for (const pool of this.#pools) await pool.end();
    await this.cpu.close();
    await this.#postgres.stop('immediate');
    await rm(this.folder, { recursive: true, force: true });
  }
}
