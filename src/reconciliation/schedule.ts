import { UnreadableSecretError } from '../crypto/secret-box.ts';
import { autocommit } from '../db/transaction.ts';
import { RefusalError } from '../errors.ts';
import { adoptionsOf } from '../merchants/adoption-store.ts';
import type { Source } from '../merchants/source.ts';
import { reconcile } from './reconcile.ts';
import type { Run } from './run.ts';
import type { ReconcileServices } from './services.ts';
import { knowSource, sinceOf } from './source-state.ts';
import { latestUntil, startRun } from './start.ts';
import { deleteOldRuns, type RunKey, runningRuns } from './store.ts';

const HOUR_MS = 3_600_000;
const KEEP_DAYS = 90;
/** How many runs one worker works on at a time, so that one that waits for its provider does not hold up the others. */
const AT_ONCE = 4;
/** Short, since the next job takes the run up again some seconds later. */
const SETTLE_SECONDS = 5;

/**
 * Starts a run for every source whose provider has an API. Its window is the last `lookbackHours`, or longer if the source
 * was last compared before that; it never begins before Chokin knew the source.
 * @returns how many runs were started
 */
export async function startScheduledRuns(services: ReconcileServices, lookbackHours: number): Promise<number> {
  const { pool, sources, clock, logger } = services;
  await deleteOldRuns(autocommit(pool), KEEP_DAYS);
  let started = 0;
  const withApi = await sources.withApi(autocommit(pool));
  const adopted = new Set((await adoptionsOf(autocommit(pool), withApi)).map(({ sourceId }) => sourceId));
  for (const source of withApi) {
    const { merchantId, sourceId } = source;
    // Whoever adopted it has its payments, and compares them.
    if (adopted.has(sourceId)) continue;
    try {
      if (await startScheduledRun(services, source, lookbackHours)) started += 1;
    } catch (error) {
      // A source that cannot be compared must not keep the others from it.
      const isKnown = error instanceof RefusalError || error instanceof UnreadableSecretError;
      if (!isKnown) throw error;
      logger.error({ merchantId, sourceId, reason: error.message, at: clock.now() }, 'a source cannot be reconciled');
    }
  }
  return started;
}

async function startScheduledRun(services: ReconcileServices, source: Source, lookbackHours: number): Promise<boolean> {
  const now = services.clock.now();
  const until = latestUntil(now);
  const state = await knowSource(autocommit(services.pool), source, now);
  const since = sinceOf(state, new Date(until.getTime() - lookbackHours * HOUR_MS));
  // The source is so new that there is no window yet.
  if (since >= until) return false;
  const { merchantId, sourceId } = source;
  await startRun(services, { merchantId, sourceId, since, until, requestedBy: 'schedule', isDryRun: false });
  return true;
}

/**
 * Works on every run that is under way, four at a time; among them those whose process died.
 * @returns how many are still under way afterwards
 */
export async function workOnRuns(services: ReconcileServices, signal: AbortSignal): Promise<number> {
  const waiting = [...(await runningRuns(autocommit(services.pool)))];
  let unfinished = 0;
  const workOnSome = async () => {
    for (let key = waiting.shift(); key !== undefined && !signal.aborted; key = waiting.shift()) {
      const run = await reconcile(services, key, { signal, settleSeconds: SETTLE_SECONDS });
      if (run.state === 'running') unfinished += 1;
      else report(services, key, run);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, workOnSome));
  return unfinished + waiting.length;
}

function report({ logger }: ReconcileServices, key: RunKey, { state, listed, matched, outcomes, problem }: Run): void {
  logger.info({ ...key, state, listed, matched, ...outcomes, problem }, 'a reconciliation has ended');
}
