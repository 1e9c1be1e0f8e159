import { countAuditRuns, forgetAuditRuns } from '../audit/run.ts';
import type { Clock } from '../clock.ts';
import { Failures } from '../db/failures.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import { countIgnored, forgetIgnored } from '../inbox/ignored-events.ts';
import { type BodyPlace, takeOldBodies } from '../inbox/old-bodies.ts';
import { countAlerts, forgetAlerts } from '../ledger/low-balance/old-alerts.ts';
import { listMerchants } from '../merchants/merchant-store.ts';
import { countMessages, countRecoveries, forgetMessages, forgetRecoveries } from '../outgoing/embedded/old-messages.ts';
import { countRuns, forgetRuns, RUNS_AT_ONCE } from '../reconciliation/old-runs.ts';
import type { Logger } from '../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../telemetry/observe.ts';
import { FORGETTABLE, type Forgettable, forgottenBefore, type RetentionRule } from './rule.ts';

export interface RetainServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rule: RetentionRule;
  /** Ends the run after the batch under way; what is left, the next run does. */
  readonly signal?: AbortSignal;
  readonly observe?: Pick<Observe, 'metrics'>;
}

export interface RetainRequest {
  /** Null for all merchants, and for what belongs to none. */
  readonly merchantId: string | null;
  /** Counts what would be forgotten, and forgets nothing. */
  readonly isDryRun: boolean;
}

/** What a run did to one kind of things of one merchant. */
export interface Retained {
  /** Null for what belongs to no merchant. */
  readonly merchantId: string | null;
  readonly what: Forgettable;
  /** How many were forgotten, or would be in a dry run. */
  readonly count: number;
  /** How many are old enough and stay for now, since something of theirs is open. */
  readonly kept: number;
  /** False if there may be more, which the next run takes. */
  readonly isDone: boolean;
}

/** One batch is one statement, and one transaction: small, so that nobody waits for its locks. */
const BATCH = 500;
/** The job, which also goes on with erasures, is given up after an hour. */
const MOST_LOST_MS = 30 * 60_000;
/** So many of one kind and merchant are forgotten in a run, so that no merchant's past holds up the others'. */
export const MOST_PER_RUN = 10_000;

/**
 * Forgets what is older than the rule says, in small batches, merchant by merchant. It may be interrupted after any statement and run
 * again, or twice at once: each batch looks for what is left. What fails of one merchant or kind keeps no other from it.
 * @throws {unknown} at the end, what failed first; at once if the database is away
 */
export async function retain(services: RetainServices, request: RetainRequest): Promise<readonly Retained[]> {
  const { pool, logger, observe: { metrics } = UNOBSERVED, signal } = services;
  const db = autocommit(pool);
  const results: Retained[] = [];
  const failures = new Failures(MOST_LOST_MS);
  for await (const merchantId of owners(db, request)) {
    for (const what of FORGETTABLE.filter((one) => (one === 'audit_runs') === (merchantId === null))) {
      const { isDryRun } = request;
      const warn = (err: unknown) =>
        logger.warn({ err, merchantId, what }, 'old data were not forgotten and are tried again');
      const result = await failures.outlive(() => retainOne(services, { merchantId, what, isDryRun }), warn);
      if (result === null) continue;
      results.push(result);
      if (result.count > 0) logger.info({ ...result, isDryRun }, 'old data were forgotten');
      if (!isDryRun) metrics.countForgotten(what, result.count);
      if (signal?.aborted) return results;
    }
  }
  failures.rethrow();
  return results;
}

/** The merchants, and null for what belongs to none of them. */
async function* owners(db: Queryable, { merchantId }: RetainRequest): AsyncGenerator<string | null> {
  if (merchantId !== null) {
    yield merchantId;
    return;
  }
  const pageSize = 500;
  for (let pageNumber = 0; ; pageNumber += 1) {
    const page = await listMerchants(db, { pageSize, pageNumber });
    for (const merchant of page) yield merchant.merchantId;
    if (page.length < pageSize) break;
  }
  yield null;
}

interface One {
  readonly merchantId: string | null;
  readonly what: Forgettable;
  readonly isDryRun: boolean;
}

/** @returns null if these things are kept for ever */
async function retainOne(services: RetainServices, one: One): Promise<Retained | null> {
  const { merchantId, what, isDryRun } = one;
  const before = forgottenBefore(services.rule, what, services.clock.now());
  if (before === null) return null;
  const db = autocommit(services.pool);
  if (what === 'event_bodies') return retainBodies(services, { db, merchantId: merchantId ?? '', before, isDryRun });
  const { forget, count, batch = BATCH } = BY_AGE[what];
  const named = { merchantId: merchantId ?? '', before };
  if (isDryRun) {
    const found = await count(db, { ...named, limit: MOST_PER_RUN });
    return { merchantId, what, count: found, kept: 0, isDone: found < MOST_PER_RUN };
  }
  let forgotten = 0;
  let last = batch;
  while (last === batch && forgotten < MOST_PER_RUN && !services.signal?.aborted) {
    last = await forget(db, { ...named, limit: batch });
    forgotten += last;
  }
  return { merchantId, what, count: forgotten, kept: 0, isDone: last < batch };
}

type ByAge = (
  db: Queryable,
  oldest: { readonly merchantId: string; readonly before: Date; readonly limit: number },
) => Promise<number>;

/** What is deleted by nothing but its age, and how much of it there is. */
const BY_AGE: Readonly<
  Record<
    Exclude<Forgettable, 'event_bodies'>,
    { readonly forget: ByAge; readonly count: ByAge; readonly batch?: number }
  >
> = {
  ignored_events: { forget: forgetIgnored, count: countIgnored },
  messages: { forget: forgetMessages, count: countMessages },
  recoveries: { forget: forgetRecoveries, count: countRecoveries },
  alerts: { forget: forgetAlerts, count: countAlerts },
  reconciliations: { forget: forgetRuns, count: countRuns, batch: RUNS_AT_ONCE },
  audit_runs: { forget: forgetAuditRuns, count: countAuditRuns },
};

interface Bodies {
  readonly db: Queryable;
  readonly merchantId: string;
  readonly before: Date;
  readonly isDryRun: boolean;
}

async function retainBodies(
  { signal }: RetainServices,
  { db, merchantId, before, isDryRun }: Bodies,
): Promise<Retained> {
  let count = 0;
  let kept = 0;
  let place: BodyPlace | null = null;
  do {
    const page = await takeOldBodies(db, merchantId, { before, place, isDryRun });
    count += page.taken;
    kept += page.left;
    place = page.place;
  } while (place !== null && count < MOST_PER_RUN && !signal?.aborted);
  return { merchantId, what: 'event_bodies', count, kept, isDone: place === null };
}
