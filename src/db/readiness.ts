import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import { array, bigint, boolean, text } from './codec.ts';
import type { TimeReading } from './database-clock.ts';
import { opened, type Pool } from './pool.ts';
import { answeredLately, refusesWrites } from './pool-health.ts';
import { isReadOnly } from './sqlstate.ts';
import { statement } from './statement.ts';
import { autocommit, type Queryable } from './transaction.ts';

export const UNREADY = [
  'draining',
  'database_unreachable',
  'database_read_only',
  'schema_older',
  'schema_unreadable',
  'writes_refused',
  'no_connection',
] as const satisfies readonly Unready['why'][];

/** Why a process could not post now. What only makes it slow is not among them: a fleet must not leave its balancer together. */
export type Unready =
  | { readonly why: 'draining' }
  | { readonly why: 'database_unreachable' }
  | { readonly why: 'database_read_only' }
  | { readonly why: 'schema_older'; readonly missing: readonly string[] }
  | { readonly why: 'schema_unreadable' }
  | { readonly why: 'writes_refused' }
  | { readonly why: 'no_connection' };

export interface Findings {
  /** Empty if the process could post now. */
  readonly problems: readonly Unready[];
  /** Migrations in the database that this release does not know; null if it could not be asked. */
  readonly newerMigrations: readonly string[] | null;
  /** By how much this process's clock is ahead of the database's, negative if behind; null if it could not be asked. */
  readonly clockAheadMs: number | null;
  /** Of keys that stored secrets are sealed with and this process lacks, the ids, as of a minute ago. The rest is served. */
  readonly missingKeys: readonly string[];
}

export interface ReadinessOptions {
  /** A pool of one connection for this alone, so that a busy pool keeps nobody from asking. */
  readonly probe: Pool;
  /** The pool that requests and jobs work with. */
  readonly pool: Pool;
  /** The process's own. */
  readonly clock: Clock;
  /** Is told of the database's time, whenever the database was asked. */
  readonly onTime?: (reading: TimeReading) => void;
  /** The migrations of this release. */
  readonly migrations: readonly string[];
  /** The ids of keys that stored secrets are sealed with and this process lacks. */
  readonly missingKeys: (db: Queryable) => Promise<readonly string[]>;
}

/** All who ask within this time share one answer, since anybody may ask, and as often as he likes. */
const SHARED_FOR_MS = 1_000;
const ANSWER_WITHIN_MS = 2_000;
/** A request waits for a connection so long (pool.ts): if nobody was given one for longer, nobody will be. */
const NO_CONNECTION_FOR_MS = 5_000;
/** Stored secrets are looked through now and then, as another process may have sealed one with a key of its own. */
const KEYS_EVERY_MS = 60_000;

/** Knows whether this process could post now, by one short statement a second at most. */
export class Readiness {
  readonly #options: ReadinessOptions;
  #isDraining = false;
  #shared: { readonly untilMs: number; readonly findings: Promise<Findings> } | null = null;
  /** Since when somebody is seen to wait for a connection while none is handed out. */
  #starvedSinceMs: number | null = null;
  #missingKeys: readonly string[] = [];
  #keysLookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReadinessOptions) {
    this.#options = options;
    options.pool.on('acquire', () => {
      this.#starvedSinceMs = null;
    });
  }

  /** From now on the process is not ready, so that a balancer sends nobody more. */
  drain(): void {
    this.#isDraining = true;
  }

  /** What is in the way, as of a second ago at most. Never throws. */
  async ask(): Promise<Findings> {
    const nowMs = performance.now();
    if (this.#shared === null || this.#shared.untilMs <= nowMs)
      this.#shared = { untilMs: nowMs + SHARED_FOR_MS, findings: this.#look() };
    const findings = await this.#shared.findings;
    const own = this.#ownProblems();
    return own.length === 0 ? findings : { ...findings, problems: [...own, ...findings.problems] };
  }

  /** What needs no question. */
  #ownProblems(): readonly Unready[] {
    const { pool } = this.#options;
    if (pool.waitingCount === 0) this.#starvedSinceMs = null;
    else this.#starvedSinceMs ??= performance.now();
    const isStarved = this.#starvedSinceMs !== null && performance.now() - this.#starvedSinceMs > NO_CONNECTION_FOR_MS;
    return [
      ...(this.#isDraining ? [{ why: 'draining' } as const] : []),
      ...(isStarved ? [{ why: 'no_connection' } as const] : []),
      ...(refusesWrites(pool) ? [{ why: 'writes_refused' } as const] : []),
    ];
  }

  async #look(): Promise<Findings> {
    const late = Promise.withResolvers<Findings>();
    const timer = setTimeout(() => late.resolve(this.#unanswered()), ANSWER_WITHIN_MS);
    try {
      return await Promise.race([this.#askDatabase(), late.promise]);
    } catch (error) {
      return isReadOnly(error) ? this.#found([{ why: 'database_read_only' }]) : this.#unanswered();
    } finally {
      clearTimeout(timer);
    }
  }

  async #askDatabase(): Promise<Findings> {
    const { probe, clock, migrations, onTime } = this.#options;
    const db = autocommit(probe);
    const [beforeMs, askedAtMs] = [clock.now().getTime(), performance.now()];
    const state = await STATE.one(db);
    const [afterMs, answeredAtMs] = [clock.now().getTime(), performance.now()];
    onTime?.({ askedAtMs, answeredAtMs, databaseMs: state.nowMs });
    const problems: Unready[] = [];
    if (state.isReadOnly) problems.push({ why: 'database_read_only' });
    const applied = state.mayReadMigrations ? (await APPLIED.one(db)).names : null;
    const missing = applied === null ? [] : migrations.filter((name) => !applied.includes(name));
    if (applied === null) problems.push({ why: 'schema_unreadable' });
    else if (missing.length > 0) problems.push({ why: 'schema_older', missing });
    else void this.#lookAtKeys(db);
    return {
      ...this.#found(problems),
      newerMigrations: applied?.filter((name) => !migrations.includes(name)) ?? null,
      clockAheadMs: Math.round((beforeMs + afterMs) / 2 - state.nowMs),
    };
  }

  #found(problems: readonly Unready[]): Findings {
    return { problems, newerMigrations: null, clockAheadMs: null, missingKeys: this.#missingKeys };
  }

  /** A database that is slow to tell this, or has no session left for it, may go on to serve the sessions that are there. */
  #unanswered(): Findings {
    return this.#found(answeredLately(this.#options.pool) ? [] : [{ why: 'database_unreachable' }]);
  }

  /** Beside the answer, since it reads every stored secret. Never throws. */
  async #lookAtKeys(db: Queryable): Promise<void> {
    if (performance.now() - this.#keysLookedAtMs < KEYS_EVERY_MS) return;
    this.#keysLookedAtMs = performance.now();
    this.#missingKeys = await this.#options.missingKeys(db).catch(() => this.#missingKeys);
  }
}

/** So long the start of a process waits for a database that only reads or is slow to answer, and so often it looks. */
const FIRST_WAIT_MS = 20_000;
const FIRST_LOOK_MS = 1_000;

/**
 * What is found at the start of a process. It waits for a while where the database only reads, since a failover may be under way, and
 * where it does not answer in time and is there all the same: what was never looked at must not count as good.
 * @throws {Error} that tells why it cannot be reached
 */
export async function firstFindings(readiness: Readiness, pool: Pool): Promise<Findings> {
  const untilMs = performance.now() + FIRST_WAIT_MS;
  for (;;) {
    const findings = await readiness.ask();
    const isUnreachable = findings.problems.some(({ why }) => why === 'database_unreachable');
    const mayPass = isUnreachable || findings.problems.some(({ why }) => why === 'database_read_only');
    if (!mayPass || performance.now() > untilMs) return findings;
    if (isUnreachable) await opened(pool);
    await delay(FIRST_LOOK_MS);
  }
}

const STATE = statement({
  params: {},
  row: { isReadOnly: boolean, mayReadMigrations: boolean, nowMs: bigint },
  text: () => `
    select current_setting('transaction_read_only') = 'on' as is_read_only,
      coalesce(has_table_privilege(to_regclass('schema_migration'), 'select'), false) as may_read_migrations,
      (extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms`,
});

/** Some forty names. */
const APPLIED = statement({
  params: {},
  row: { names: array(text) },
  text: () => "select coalesce(array_agg(name::text), '{}') as names from schema_migration",
});
