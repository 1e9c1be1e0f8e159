import { UnreadableSecretError } from '../crypto/secret-box.ts';
import { Failures } from '../db/failures.ts';
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
/** So many of them may be of one merchant: a provider that answers slowly, or a long window, keeps a run for minutes. */
const AT_ONCE_EACH = 2;
/** Short, since the next job takes the run up again some seconds later. */
const SETTLE_SECONDS = 5;

/**
 * Starts a run for every source whose provider has an API. Its window is the last `lookbackHours`, or longer if the source
 * was last compared before that; it never begins before Chokin knew the source.
 * @returns how many runs were started
 * @throws {Error} if the database is away
 */
async function startScheduledRuns(services: ReconcileServices, lookbackHours: number): Promise<number> {
  const { pool, sources, clock, logger } = services;
  const failures = new Failures(null);
  await failures.outlive(
    () => deleteOldRuns(autocommit(pool), KEEP_DAYS),
    (err) => logger.warn({ err }, 'old reconciliations were not deleted'),
  );
  let started = 0;
  const withApi = await sources.withApi(autocommit(pool));
  const adopted = new Set((await adoptionsOf(autocommit(pool), withApi)).map(({ sourceId }) => sourceId));
  for (const source of withApi) {
    const { merchantId, sourceId } = source;
    // Whoever adopted it has its payments, and compares them.
    if (adopted.has(sourceId)) continue;
    // A source that cannot be compared must not keep the others from it. The next tick tries again; before that, all others would be compared once more.
    const warn = (err: unknown) =>
      logger.warn({ err, merchantId, sourceId }, 'the reconciliation of a source could not be started');
    const isStarted = await failures.outlive(async () => {
      try {
        return await startScheduledRun(services, source, lookbackHours);
      } catch (error) {
        const isKnown = error instanceof RefusalError || error instanceof UnreadableSecretError;
        if (!isKnown) throw error;
        logger.error({ merchantId, sourceId, reason: error.message, at: clock.now() }, 'a source cannot be reconciled');
        return false;
      }
    }, warn);
    if (isStarted === true) started += 1;
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
 * @throws {unknown} when the others have been worked on, what failed first
 */
async function workOnRuns(services: ReconcileServices, signal: AbortSignal): Promise<number> {
  const waiting = [...(await runningRuns(autocommit(services.pool)))];
  const underWay: string[] = [];
  let unfinished = 0;
  const failures = new Failures(null);
  /** Where none may begin, those who have their share under way go on with what is left. */
  const next = (): RunKey | undefined => {
    const mayBegin = (key: RunKey) => underWay.filter((id) => id === key.merchantId).length < AT_ONCE_EACH;
    const place = signal.aborted ? -1 : waiting.findIndex(mayBegin);
    return place < 0 ? undefined : waiting.splice(place, 1)[0];
  };
  const workOn = async (key: RunKey) => {
    const work = () => reconcile(services, key, { signal, settleSeconds: SETTLE_SECONDS });
    const warn = (err: unknown) => services.logger.warn({ err, ...key }, 'a reconciliation could not go on');
    const run = await failures.outlive(work, warn);
    if (run?.state === 'running') unfinished += 1;
    else if (run !== null) report(services, key, run);
  };
  const workOnSome = async () => {
    for (let key = next(); key !== undefined; key = next()) {
      underWay.push(key.merchantId);
      await workOn(key);
      underWay.splice(underWay.indexOf(key.merchantId), 1);
    }
  };
  // All are waited for: what goes on after its job has failed would be beside the next one.
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, workOnSome));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
  failures.rethrow();
  return unfinished + waiting.length;
}

interface Asked {
  /** Begins the runs of the schedule first; else it works on those that are under way alone. */
  readonly lookbackHours: number | null;
  readonly signal: AbortSignal;
}

/** What a job of the worker does. @returns how many runs are still under way */
export async function reconcileAll(services: ReconcileServices, { lookbackHours, signal }: Asked): Promise<number> {
  if (lookbackHours !== null) await startScheduledRuns(services, lookbackHours);
  return workOnRuns(services, signal);
}

function report({ logger }: ReconcileServices, key: RunKey, { state, listed, matched, outcomes, problem }: Run): void {
  logger.info({ ...key, state, listed, matched, ...outcomes, problem }, 'a reconciliation has ended');
}
