import type { PgBoss } from 'pg-boss';
import type { Clock } from './clock.ts';
import type { Config } from './config/env.ts';
import { ledgerSettings } from './config/ledger-settings.ts';
import { SecretBox } from './crypto/secret-box.ts';
import { BatcherFullError } from './db/batcher.ts';
import { createBoss } from './db/boss.ts';
import { DatabaseClock, keepReading, type TimeReading } from './db/database-clock.ts';
import { createPool, type Pool, type PoolOptions } from './db/pool.ts';
import type { QueueName } from './db/queues.ts';
import { Readers, type ReadersOptions } from './db/readers.ts';
import { firstFindings, Readiness } from './db/readiness.ts';
import { releaseMigrations } from './db/schema.ts';
import { requireBackend, requireEncoding } from './db/suitable.ts';
import { autocommit, type Queryable } from './db/transaction.ts';
import { Turns } from './db/turns.ts';
import { requireUsableWay } from './db/way.ts';
import { LedgerBatches } from './ledger/batches.ts';
import type { LedgerSettings } from './ledger/store.ts';
import { keysOfSourceSecrets } from './merchants/secret-keys.ts';
import { SourceDirectory } from './merchants/sources.ts';
import { tellOfPaid } from './outgoing/checkouts.ts';
import { keysOfEndpointSecrets } from './outgoing/embedded/secret-keys.ts';
import { createWaker, type Waker } from './outgoing/wake-announcer.ts';
import { PROVIDER_NAMES } from './providers/shared/names.ts';
import type { Logger } from './telemetry/log.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { type Observe, UNOBSERVED } from './telemetry/observe.ts';
import { startTracing } from './telemetry/tracing.ts';
import { countInFlight } from './top-ups/in-flight.ts';
import { sayMissingKeys, sayUnready } from './views/readiness.ts';

/** The ids of the encryption keys of all secrets that are in use. */
async function usedKeys(db: Queryable): Promise<readonly string[]> {
  return [...new Set([...(await keysOfSourceSecrets(db)), ...(await keysOfEndpointSecrets(db))])];
}

/** The metrics and traces of a process. */
export interface Telemetry extends Observe {
  readonly metrics: Metrics;
}

/** Starts metrics and traces of a process. The caller closes the traces. */
export async function startTelemetry(config: Config, logger: Logger): Promise<Telemetry> {
  // Loaded only here: commands have no metrics and must start quickly.
  const { createMetrics } = await import('./telemetry/metrics.ts');
  return { metrics: createMetrics(PROVIDER_NAMES), tracing: await startTracing(config, logger) };
}

export interface RuntimeOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly logger: Logger;
  /** A {@link DatabaseClock} shows the database's time from the first connection on. */
  readonly clock: Clock;
  /** The name of its connections in Postgres, such as `chokin-web`. */
  readonly name: string;
  readonly maxConnections: number;
  /** Whether pg-boss works on jobs here or only makes them, and its most connections. */
  readonly jobs?: { readonly works: boolean; readonly maxConnections: number };
  readonly observe?: Observe;
}

/**
 * Searches and lists have four connections besides those of the process, of which a merchant has two at most. One that is not done in
 * five seconds, with all of its statements, never is what a person wanted; whoever waits for longer is better off with an answer.
 */
const READING: Omit<ReadersOptions, 'pool'> = {
  ...{ who: 'merchant', atOnce: 4, atOnceEach: 2, waitingEach: 50, turnMs: 5_000, patienceMs: 6_000 },
};

/**
 * The operator's lists and the figures of the metrics have one more, so that they are seen while merchants flood the others. Figures
 * are six statements, for which those who collect metrics wait ten seconds.
 */
const OPERATING: Omit<ReadersOptions, 'pool'> = {
  ...{ who: 'operator', atOnce: 1, atOnceEach: 1, waitingEach: 20, turnMs: 9_000, patienceMs: 10_000 },
};

/** Of a merchant whom nobody waits behind, so many connections stay free, for the batches and for whoever comes. */
const LEFT_FOR_OTHERS = 4;

/**
 * So many requests of a merchant wait for the connections that it may have at once; what is beyond is refused. They wait for longer than
 * for a connection (pool.ts), so that an outage is told as one.
 */
const REQUESTS_WAITING = { waitingEach: 2_000, patienceMs: 8_000 };

/**
 * What web, worker and the command line share, each built once. Connections are opened when they are first needed, so a command
 * that only reads does not start pg-boss. All are closed in the reverse order of their opening.
 */
export class Runtime {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly observe: Observe;
  /** Encrypts stored secrets. */
  readonly box: SecretBox;
  readonly settings: LedgerSettings;
  readonly sources: SourceDirectory;
  readonly #options: RuntimeOptions;
  readonly #open: (() => Promise<unknown>)[] = [];
  #pool: Pool | null = null;
  #turns: Turns | null = null;
  #readers: Readers | null = null;
  #readiness: Readiness | null = null;
  #operatorReaders: Readers | null = null;
  #boss: Promise<PgBoss> | null = null;
  readonly #wakers = new Map<QueueName, Promise<Waker>>();
  #ledger: Promise<LedgerBatches> | null = null;

  constructor(options: RuntimeOptions) {
    const { config, databaseUrl, logger, clock, observe = UNOBSERVED } = options;
    this.#options = options;
    this.config = config;
    this.databaseUrl = databaseUrl;
    this.logger = logger;
    this.clock = clock;
    this.observe = observe;
    this.box = new SecretBox(config.ENCRYPTION_KEY);
    this.settings = ledgerSettings(config);
    this.sources = new SourceDirectory(config, this.box);
  }

  get pool(): Pool {
    const { name, maxConnections } = this.#options;
    this.#pool ??= this.#openPool({ applicationName: name, maxConnections });
    return this.#pool;
  }

  /** A pool of one connection without a limit on the time of a statement, for work that reads whole tables. */
  scanPool(applicationName: string = this.#options.name): Pool {
    const databaseUrl = this.#directUrl ?? this.databaseUrl;
    return this.#openPool({ applicationName, maxConnections: 1, statementTimeoutMs: 0, databaseUrl });
  }

  get #databaseClock(): DatabaseClock | null {
    return this.clock instanceof DatabaseClock ? this.clock : null;
  }

  /** Past a pooler, for what keeps its session for long or needs it whole. */
  get #directUrl(): string | undefined {
    return this.config.DATABASE_DIRECT_URL?.reveal();
  }

  /** The turns in which merchants use the pool, one by one: none has more than half of it. */
  get turns(): Turns {
    const atOnceEach = Math.ceil(this.#options.maxConnections / 2);
    const atOnceAlone = Math.max(atOnceEach, this.#options.maxConnections - LEFT_FOR_OTHERS);
    const busy = (merchantId: string) => new BatcherFullError('merchant', merchantId);
    this.#turns ??= new Turns({ atOnce: Number.POSITIVE_INFINITY, atOnceEach, atOnceAlone, ...REQUESTS_WAITING, busy });
    return this.#turns;
  }

  /** Where searches and lists are read, apart from the pool and fairly by owner. */
  get readers(): Readers {
    this.#readers ??= this.#openReaders('reads', READING);
    return this.#readers;
  }

  /** The same for what is read across merchants, on a connection that no merchant can take. */
  get operatorReaders(): Readers {
    this.#operatorReaders ??= this.#openReaders('operator', OPERATING);
    return this.#operatorReaders;
  }

  /** Whether this process could post now. */
  get readiness(): Readiness {
    this.#readiness ??= this.#openReadiness();
    return this.#readiness;
  }

  /**
   * For the start of a process: a database that it cannot work on is better found now than by each request.
   * @throws {Error} that says what to do, or why it cannot be reached
   */
  async requireUsableDatabase(): Promise<void> {
    const { readiness } = this;
    const clock = this.#databaseClock;
    if (clock !== null) this.onClose(keepReading(clock, () => readiness.ask()));
    const { problems, newerMigrations } = await firstFindings(readiness, this.pool);
    const [problem] = problems;
    if (problem !== undefined) throw new Error(sayUnready(problem));
    await this.#requireUsableWay();
    await requireEncoding(autocommit(this.pool));
    await requireBackend(autocommit(this.pool));
    await this.#requireKeys();
    if (newerMigrations !== null && newerMigrations.length > 0)
      this.logger.warn(
        { newerMigrations },
        'the database was migrated by a newer release, beside which this one runs until it is replaced',
      );
  }

  /** The ids of keys that stored secrets are sealed with and ENCRYPTION_KEY lacks. */
  async missingKeys(): Promise<readonly string[]> {
    return this.box.lacking(await usedKeys(autocommit(this.pool)));
  }

  /** pg-boss, started. */
  boss(): Promise<PgBoss> {
    this.#boss ??= this.#startBoss();
    return this.#boss;
  }

  /** Tells the worker that there is something to announce, or to do in another queue. */
  waker(queue: QueueName = 'announce-balance-changes'): Promise<Waker> {
    const waker = this.#wakers.get(queue) ?? this.#openWaker(queue);
    this.#wakers.set(queue, waker);
    return waker;
  }

  /** The ledger for all postings of the process. After a posting it wakes the worker, which announces it. */
  ledger(): Promise<LedgerBatches> {
    this.#ledger ??= this.#openLedger();
    return this.#ledger;
  }

  /** Adds something that `close` ends before everything that is open now. */
  onClose(close: () => Promise<unknown>): void {
    this.#open.push(close);
  }

  /** Finishes the work under way and closes every connection. */
  async close(): Promise<void> {
    for (const closeOne of this.#open.splice(0).reverse()) await closeOne();
  }

  #requireUsableWay(): Promise<void> {
    const { pool, databaseUrl, logger } = this;
    const applicationName = `${this.#options.name}-start`;
    return requireUsableWay({ pool, databaseUrl, directUrl: this.#directUrl, applicationName, logger });
  }

  /** A wrong key opens nothing. Where only some secrets do not open, the rest is served, and the worker warns of them. */
  async #requireKeys(): Promise<void> {
    const used = await usedKeys(autocommit(this.pool));
    const missing = this.box.lacking(used);
    if (missing.length > 0 && missing.length === used.length) throw new Error(sayMissingKeys(missing));
  }

  #openPool(pool: Omit<PoolOptions, 'databaseUrl' | 'logger'> & { readonly databaseUrl?: string }): Pool {
    const { databaseUrl, logger } = this;
    const opened = createPool({ databaseUrl, logger, clock: this.#databaseClock, ...pool });
    this.onClose(() => opened.end());
    return opened;
  }

  #openReaders(suffix: string, options: Omit<ReadersOptions, 'pool'>): Readers {
    const pool = this.#openPool({
      applicationName: `${this.#options.name}-${suffix}`,
      maxConnections: options.atOnce,
      statementTimeoutMs: options.turnMs,
    });
    return new Readers({ pool, ...options });
  }

  #openReadiness(): Readiness {
    const { pool, box } = this;
    const clock = this.#databaseClock?.own ?? this.clock;
    const onTime = (reading: TimeReading) => this.#databaseClock?.note(reading);
    const missingKeys = async (db: Queryable) => box.lacking(await usedKeys(db));
    const probe = this.#openPool({ applicationName: `${this.#options.name}-health`, maxConnections: 1 });
    return new Readiness({ probe, pool, clock, onTime, migrations: releaseMigrations(), missingKeys });
  }

  async #startBoss(): Promise<PgBoss> {
    const { databaseUrl, logger } = this;
    const { name, jobs = { works: false, maxConnections: 2 } } = this.#options;
    const directUrl = this.#directUrl;
    const boss = createBoss({ ...jobs, databaseUrl, directUrl, applicationName: `${name}-jobs`, logger });
    await boss.start();
    // In a worker pg-boss was stopped gracefully before, and this does nothing.
    this.onClose(() => boss.stop({ graceful: false }));
    return boss;
  }

  async #openWaker(queue: QueueName): Promise<Waker> {
    const waker = createWaker(await this.boss(), this.logger, queue);
    this.onClose(() => waker.close());
    return waker;
  }

  async #openLedger(): Promise<LedgerBatches> {
    const { pool, settings, clock, observe } = this;
    const waker = await this.waker();
    const topUpWaker = await this.waker('charge-top-ups');
    const wake = { onPosted: () => waker.wake(), onTopUpDue: () => topUpWaker.wake() };
    const knowing = { ...settings, topUpsInFlight: countInFlight };
    const ledger = new LedgerBatches({ pool, settings: knowing, clock, ...wake, tellOfPaid, observe });
    this.onClose(() => ledger.drain());
    return ledger;
  }
}
