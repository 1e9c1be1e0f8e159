import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { systemClock } from '../../../src/clock.ts';
import { migrate } from '../../../src/commands/migrate.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../src/db/embedded.ts';
import { createPool, type Pool } from '../../../src/db/pool.ts';
import { checkLowBalances } from '../../../src/ledger/low-balance/scan.ts';
import type { Logger } from '../../../src/telemetry/log.ts';
import { SETTINGS } from '../fill.ts';
import { fillWallets } from '../large.ts';
import { itself, type Measured, type Row } from '../row.ts';

/** W7: the scan for low balances over a million wallets of which none is low, on a Postgres of its own, which can be made cold. */

const execute = promisify(execFile);
const WALLETS = 1_000_000;
/** Half of what a statement of the service may take: a slower machine has to get by as well. */
const COLD_STATEMENT_MS = 7_500;
const STATEMENT_TOO_LONG = '57014';
const LARGE_FILE = 1024 * 1024;

class Scanned {
  readonly #dataDir: string;
  readonly #logger: Logger;
  #postgres: EmbeddedPostgres;

  private constructor(dataDir: string, logger: Logger, postgres: EmbeddedPostgres) {
    this.#dataDir = dataDir;
    this.#logger = logger;
    this.#postgres = postgres;
  }

  static async start(dataDir: string, logger: Logger, wallets: number): Promise<Scanned> {
    const scanned = new Scanned(dataDir, logger, await start(dataDir));
    await migrate(scanned.#postgres.databaseUrl, logger);
    await scanned.#with(0, async (pool) => {
      await pool.query("insert into merchant (merchant_id, name, mode) values ('bus_default', 'Bench', 'test')");
      await fillWallets(pool, { from: 0, to: wallets, balance: 1_000_000 });
      await pool.query('vacuum analyze wallet');
      await pool.query('checkpoint');
    });
    return scanned;
  }

  async #with<T>(statementTimeoutMs: number, work: (pool: Pool) => Promise<T>): Promise<T> {
    const { databaseUrl } = this.#postgres;
    const options = { databaseUrl, applicationName: 'bench-worker', maxConnections: 2, logger: this.#logger };
    const pool = createPool({ ...options, statementTimeoutMs });
    try {
      return await work(pool);
    } finally {
      await pool.end();
    }
  }

  /** In milliseconds; infinite if a statement took longer than it may. */
  async scan(statementTimeoutMs = 15_000): Promise<Measured> {
    return this.#with(statementTimeoutMs, async (pool) => {
      await pool.query('select 1');
      const startedAt = performance.now();
      const services = { pool, settings: SETTINGS, clock: systemClock, onPosted: () => {}, logger: this.#logger };
      const isDone = await checkLowBalances(services).then(
        () => true,
        (error: unknown) => {
          if (error instanceof pg.DatabaseError && error.code === STATEMENT_TOO_LONG) return false;
          throw error;
        },
      );
      return { value: isDone ? performance.now() - startedAt : Number.POSITIVE_INFINITY, requests: 0 };
    });
  }

  /** What Postgres takes to read all of it once, in one process. */
  sequential(): Promise<Measured> {
    return this.#with(0, async (pool) => {
      const client = await pool.connect();
      await client.query('set max_parallel_workers_per_gather = 0');
      const startedAt = performance.now();
      await client.query('select count(*) from wallet where balance < 0');
      const value = performance.now() - startedAt;
      client.release();
      return { value, requests: 0 };
    });
  }

  /** The same after nothing of the tables was in memory, neither Postgres' nor the system's. */
  async coldScan(): Promise<Measured> {
    await this.#postgres.stop();
    const base = join(this.#dataDir, 'base');
    const files = (await readdir(base, { recursive: true })).map((name) => join(base, name));
    for (const file of files) {
      // The tables and indexes that a scan reads are large; there are a thousand small files besides.
      if ((await stat(file)).size < LARGE_FILE) continue;
      await execute('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
    }
    this.#postgres = await start(this.#dataDir);
    return this.scan(COLD_STATEMENT_MS);
  }

  stop(): Promise<void> {
    return this.#postgres.stop('immediate');
  }
}

const start = (dataDir: string) => startEmbeddedPostgres({ dataDir, settings: ['shared_buffers=512MB'] });

const scan: Row = {
  id: 'W7',
  name: 'scan of 1,000,000 wallets, none low',
  unit: 'ms',
  claims: [
    {
      beside: 'a sequential scan, warm',
      of: (block) => ({ ours: block('ours').value, theirs: block('sequential').value }),
      bar: { atMost: 2 },
    },
    {
      ...itself(60_000, (block) => block('cold').value),
      beside: `cold, no statement over ${COLD_STATEMENT_MS / 1000} s`,
    },
  ],
  sides: async ({ rig, scale }) => {
    const scanned = await Scanned.start(join(rig.folder, 'scanned'), rig.logger, Math.round(WALLETS * scale));
    rig.onStop(() => scanned.stop());
    await scanned.scan();
    // Cold is last, and warms what the next block begins with.
    const cold = async () => {
      const result = await scanned.coldScan();
      await scanned.scan();
      return result;
    };
    return { ours: () => scanned.scan(), sequential: () => scanned.sequential(), cold };
  },
};

export const SCAN_ROWS: readonly Row[] = [scan];
