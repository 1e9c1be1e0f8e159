import type { PgBoss } from 'pg-boss';
import { QUEUES } from '../src/db/queues.ts';
import { startScheduledRuns, workOnRuns } from '../src/reconciliation/schedule.ts';
import type { ReconcileServices } from '../src/reconciliation/services.ts';

export interface ReconcileJobServices extends ReconcileServices {
  readonly lookbackHours: number;
  /** Aborted when the process stops: the present page is finished, and the next worker continues after it. */
  readonly signal: AbortSignal;
}

/** The wait before a run is continued that stopped because a provider does not answer or an event waits. */
const AGAIN_SECONDS = 5;
/** That before one which could not go on is tried again, if no other waits. */
const FAILED_AGAIN_SECONDS = 60;

/**
 * Reconciles with the providers: begins the runs of the schedule, and works on every run that is under way. Whatever becomes of those is no failure of
 * the schedule's job, which would begin with every source once more when it is tried again: it leaves them to another job.
 */
export async function workReconcilePayments(boss: PgBoss, services: ReconcileJobServices): Promise<void> {
  const { payload } = QUEUES['reconcile-payments'];
  const polling = { pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 2 };
  const again = (startAfter: number) => boss.send('reconcile-payments', {}, { startAfter, singletonKey: 'again' });
  await boss.work('reconcile-payments', { batchSize: 1, ...polling }, async ([job]) => {
    if (job === undefined) return;
    if (payload.parse(job.data).isScheduled) {
      await startScheduledRuns(services, services.lookbackHours);
      await boss.send('reconcile-payments', {});
      return;
    }
    const { waiting, failed } = await workOnRuns(services, AbortSignal.any([services.signal, job.signal]));
    if (waiting > 0) await again(AGAIN_SECONDS);
    else if (failed > 0) await again(FAILED_AGAIN_SECONDS);
  });
}
