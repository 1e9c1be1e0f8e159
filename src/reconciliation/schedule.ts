import { autocommit } from '../db/transaction.ts';
import { RefusalError } from '../errors.ts';
import { ProviderApiError } from '../provider-apis/api.ts';
import { UnreadableSecretError } from '../secret-box.ts';
import { type ReconcileServices, reconcile } from './reconcile.ts';
import { latestUntil, startRun } from './start.ts';
import { runningRuns } from './store.ts';

const HOUR_MS = 3_600_000;

/** Begins a run for every source whose provider can be asked, over the last `lookbackHours`. @returns how many */
export async function startScheduledRuns(services: ReconcileServices, lookbackHours: number): Promise<number> {
  const until = latestUntil(services.clock.now());
  const since = new Date(until.getTime() - lookbackHours * HOUR_MS);
  let started = 0;
  for (const { merchantId, sourceId } of await services.sources.withApi(autocommit(services.pool))) {
    try {
      await startRun(services, { merchantId, sourceId, since, until, requestedBy: 'schedule' });
      started += 1;
    } catch (error) {
      // A source that cannot be compared must not keep the others from it.
      const isKnown = [RefusalError, ProviderApiError, UnreadableSecretError].some((known) => error instanceof known);
      if (!(error instanceof Error) || !isKnown) throw error;
      services.logger.warn({ merchantId, sourceId, reason: error.message }, 'a source cannot be reconciled');
    }
  }
  return started;
}

/**
 * Works on every run that is under way, one after another, also on those that an earlier process was interrupted in.
 * @returns how many are still under way afterwards
 */
export async function workOnRuns(services: ReconcileServices, signal: AbortSignal): Promise<number> {
  let unfinished = 0;
  for (const key of await runningRuns(autocommit(services.pool))) {
    if (signal.aborted) break;
    const run = await reconcile(services, key, { signal });
    if (run.state === 'running') unfinished += 1;
    else
      services.logger.info(
        { ...key, ...run.outcomes, state: run.state, listed: run.listed, matched: run.matched },
        'a reconciliation has ended',
      );
  }
  return unfinished;
}
