import { UnreadableSecretError } from '../crypto/secret-box.ts';
import { Failures, HeldUpTooLongError } from '../db/failures.ts';
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
/** Of the six hours after which the job is given up. */
const MOST_LOST_MS = 30 * 60_000;
/** Short, since the next job takes the run up again some seconds later. */
const SETTLE_SECONDS = 5;

/**
 * Starts a run for every source whose provider has an API. Its window is the last `lookbackHours`, or longer if the source
 * was last compared before that; it never begins before Chokin knew the source.
 * A source whose run cannot be started is logged, and is left to the next tick.
 * @returns how many runs were started
 * @throws {Error} if the database is away
 */
export async function startScheduledRuns(services: ReconcileServices, lookbackHours: number): Promise<number> {
  const { pool, sources, clock, logger } = services;
  const failures = new Failures(MOST_LOST_MS);
  await failures.outlive(
    () => deleteOldRuns(autocommit(pool), KEEP_DAYS),
    (err) => logger.warn({ err }, 'old reconciliations were not deleted'),
  );
  let started = 0;
  const withApi = await sources.withApi(autocommit(pool));
  const adopted = new Set((await adoptionsOf(autocommit(pool), withApi)).map(({ sourceId }) => sourceId));
  // Whoever adopted one has its payments, and compares them.
  for (const source of withApi.filter(({ sourceId }) => !adopted.has(sourceId))) {
    const { merchantId, sourceId } = source;
    // A source that cannot be compared must not keep the others from it. The next tick tries again; before that, all others would be compared once more.
    const warn = (err: unknown) =>
      logger.warn({ err, merchantId, sourceId }, 'the reconciliation of a source could not be started');
    const start = async () => {
      try {
        return await startScheduledRun(services, source, lookbackHours);
      } catch (error) {
        const isKnown = error instanceof RefusalError || error instanceof UnreadableSecretError;
        if (!isKnown) throw error;
        logger.error({ merchantId, sourceId, reason: error.message, at: clock.now() }, 'a source cannot be reconciled');
        return false;
      }
    };
    try {
      if ((await failures.outlive(start, warn)) === true) started += 1;
    } catch (error) {
      if (!(error instanceof HeldUpTooLongError)) throw error;
      logger.error({ err: error, started }, 'the remaining reconciliations were left to the next tick');
      break;
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

export interface StillUnderWay {
  /** How many wait for their provider or for an event, or were left since the process stops. */
  readonly waiting: number;
  /** How many could not go on; the log says why. */
  readonly failed: number;
}

/**
 * Works on every run that is under way, four at a time; among them those whose process died. One that cannot go on keeps no other from it, and is logged.
 * @returns how many are still under way afterwards
 * @throws {Error} if the database is away
 */
export async function workOnRuns(services: ReconcileServices, signal: AbortSignal): Promise<StillUnderWay> {
  const waiting = [...(await runningRuns(autocommit(services.pool)))];
  const underWay: string[] = [];
  let unfinished = 0;
  let failed = 0;
  const failures = new Failures(MOST_LOST_MS);
  /** Of a merchant with the fewest under way: a provider that answers slowly, or a long window, keeps a run for minutes. */
  const next = (): RunKey | undefined => {
    const ofSame = ({ merchantId }: RunKey) => underWay.filter((id) => id === merchantId).length;
    const fewest = Math.min(...waiting.map(ofSame));
    const place = signal.aborted ? -1 : waiting.findIndex((key) => ofSame(key) === fewest);
    return place < 0 ? undefined : waiting.splice(place, 1)[0];
  };
  const workOn = async (key: RunKey) => {
    const work = () => reconcile(services, key, { signal, settleSeconds: SETTLE_SECONDS });
    const tell = (err: unknown) => {
      failed += 1;
      services.logger.error({ err, ...key }, 'a reconciliation could not go on');
    };
    const run = await failures.outlive(work, tell);
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
  return { waiting: unfinished + waiting.length, failed };
}

function report({ logger }: ReconcileServices, key: RunKey, { state, listed, matched, outcomes, problem }: Run): void {
  logger.info({ ...key, state, listed, matched, ...outcomes, problem }, 'a reconciliation has ended');
}
