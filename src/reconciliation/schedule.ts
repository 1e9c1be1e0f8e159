import { UnreadableSecretError } from '../crypto/secret-box.ts';
import { autocommit } from '../db/transaction.ts';
import { RefusalError } from '../errors.ts';
import type { Source } from '../merchants/source.ts';
import { reconcile } from './reconcile.ts';
import type { Run } from './run.ts';
import type { ReconcileServices } from './services.ts';
import { knowSource, sinceOf } from './source-state.ts';
import { latestUntil, startRun } from './start.ts';
import { deleteOldRuns, type RunKey, runningRuns } from './store.ts';

const HOUR_MS = 3_600_000;
const KEEP_DAYS = 90;
/** Of different sources, mostly of different providers and accounts: one that waits must not hold up the others. */
const AT_ONCE = 4;
/** What is not applied by then is settled when the run is taken up again, some seconds later. */
const SETTLE_SECONDS = 5;

/**
 * Begins a run for every source whose provider can be asked: over the last `lookbackHours`, or since the time up to which
 * it was compared where that is longer ago, but nothing from before Chokin knew the source.
 * @returns how many
 */
export async function startScheduledRuns(services: ReconcileServices, lookbackHours: number): Promise<number> {
  const { pool, sources, clock, logger } = services;
  await deleteOldRuns(autocommit(pool), KEEP_DAYS);
  let started = 0;
  for (const source of await sources.withApi(autocommit(pool))) {
    const { merchantId, sourceId } = source;
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
  // It has only just been told of.
  if (since >= until) return false;
  const { merchantId, sourceId } = source;
  await startRun(services, { merchantId, sourceId, since, until, requestedBy: 'schedule', isDryRun: false });
  return true;
}

/**
 * Works on every run that is under way, some at a time, also on those that an earlier process was interrupted in.
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
