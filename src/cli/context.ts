import type { PgBoss } from 'pg-boss';
import { systemClock } from '../clock.ts';
import { locateDatabase } from '../config/data-dir.ts';
import { type Config, loadConfig } from '../config/env.ts';
import { ledgerSettings } from '../config/ledger-settings.ts';
import { SecretBox } from '../crypto/secret-box.ts';
import { createPool, type Pool } from '../db/pool.ts';
import { createBoss } from '../db/queues.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { LedgerLanes } from '../ledger/batches.ts';
import type { AdminServices } from '../merchants/administration.ts';
import { getMerchant, type Merchant } from '../merchants/merchant-store.ts';
import { SourceDirectory } from '../merchants/sources.ts';
import { createNudger, type Nudger } from '../outgoing/wake-announcer.ts';
import { createLogger, type Logger } from '../telemetry/log.ts';

/**
 * What a command works with. Everything is opened when it is first asked for and closed at the end, so that a command
 * that only reads neither starts pg-boss nor waits for it.
 */
export class CliContext {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly clock = systemClock;
  /** Silent unless LOG_LEVEL asks for details: a command says itself what went wrong. Writes to standard error. */
  readonly logger: Logger;
  readonly #open: (() => Promise<unknown>)[] = [];
  #pool: Pool | null = null;
  #boss: Promise<PgBoss> | null = null;
  #nudger: Promise<Nudger> | null = null;
  #ledger: Promise<LedgerLanes> | null = null;

  private constructor(config: Config, databaseUrl: string) {
    this.config = config;
    this.databaseUrl = databaseUrl;
    const level = config.LOG_LEVEL === 'debug' || config.LOG_LEVEL === 'trace' ? config.LOG_LEVEL : 'silent';
    this.logger = createLogger(level, 'cli', process.stderr);
  }

  /** @throws an error that says what to set, if neither the environment nor DATA_DIR names a database */
  static async open(): Promise<CliContext> {
    const { config, databaseUrl } = await locateDatabase(loadConfig());
    return new CliContext(config, databaseUrl);
  }

  get pool(): Pool {
    this.#pool ??= this.#newPool(15_000);
    return this.#pool;
  }

  get db(): Queryable {
    return autocommit(this.pool);
  }

  /** A pool without a bound on the time of a statement, for what reads everything. */
  scanPool(): Pool {
    return this.#newPool(0);
  }

  get admin(): AdminServices {
    const box = new SecretBox(this.config.ENCRYPTION_KEY);
    return { pool: this.pool, clock: this.clock, box, sources: new SourceDirectory(this.config, box) };
  }

  /** pg-boss, which only makes jobs here. */
  boss(): Promise<PgBoss> {
    this.#boss ??= this.#startBoss();
    return this.#boss;
  }

  /** The ledger's one door; what is posted is announced by the worker, which hears of it. */
  ledger(): Promise<LedgerLanes> {
    this.#ledger ??= this.#openLedger();
    return this.#ledger;
  }

  /** Tells the worker that there is something to announce. */
  nudger(): Promise<Nudger> {
    this.#nudger ??= this.#openNudger();
    return this.#nudger;
  }

  /** The merchant of `--merchant`, or the one of the environment. @throws {RefusalError} NOT_FOUND */
  async merchant(merchantId: string = this.config.MERCHANT_ID): Promise<Merchant> {
    const merchant = await getMerchant(this.db, merchantId);
    return merchant ?? refuse('NOT_FOUND', `There is no merchant ${merchantId}; "chokin merchants list" shows them.`);
  }

  /** Finishes what was begun and closes every connection, in reverse order. */
  async close(): Promise<void> {
    for (const closeOne of this.#open.splice(0).reverse()) await closeOne();
  }

  #newPool(statementTimeoutMs: number): Pool {
    const { databaseUrl, logger } = this;
    const pool = createPool({
      databaseUrl,
      applicationName: 'chokin-cli',
      maxConnections: 4,
      logger,
      statementTimeoutMs,
    });
    this.#open.push(() => pool.end());
    return pool;
  }

  async #startBoss(): Promise<PgBoss> {
    const { databaseUrl, logger } = this;
    const boss = createBoss({
      databaseUrl,
      applicationName: 'chokin-cli-jobs',
      maxConnections: 2,
      works: false,
      logger,
    });
    await boss.start();
    this.#open.push(() => boss.stop({ graceful: false }));
    return boss;
  }

  async #openNudger(): Promise<Nudger> {
    const nudger = createNudger(await this.boss(), this.logger);
    this.#open.push(() => nudger.close());
    return nudger;
  }

  async #openLedger(): Promise<LedgerLanes> {
    const { pool, clock } = this;
    const nudger = await this.nudger();
    const settings = ledgerSettings(this.config);
    const ledger = new LedgerLanes({ pool, settings, clock, onPosted: () => nudger.nudge() });
    this.#open.push(() => ledger.drain());
    return ledger;
  }
}
