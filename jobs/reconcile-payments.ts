import type { PgBoss } from 'pg-boss';
import { QUEUES } from '../src/db/queues.ts';
import { reconcileAll } from '../src/reconciliation/schedule.ts';
import type { ReconcileServices } from '../src/reconciliation/services.ts';

export interface ReconcileJobServices extends ReconcileServices {
  readonly lookbackHours: number;
  /** Aborted when the process stops: the present page is finished, and the next worker continues after it. */
  readonly signal: AbortSignal;
}

/** The wait before a run is continued that stopped because a provider does not answer or an event waits. */
const AGAIN_SECONDS = 5;

/** Reconciles with the providers: begins the runs of the schedule, and works on every run that is under way. */
export async function workReconcilePayments(boss: PgBoss, services: ReconcileJobServices): Promise<void> {
  const { payload } = QUEUES['reconcile-payments'];
  const polling = { pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 2 };
  await boss.work('reconcile-payments', { batchSize: 1, ...polling }, async ([job]) => {
    if (job === undefined) return;
    const lookbackHours = payload.parse(job.data).isScheduled ? services.lookbackHours : null;
    const signal = AbortSignal.any([services.signal, job.signal]);
    const unfinished = await reconcileAll(services, { lookbackHours, signal });
    if (unfinished === 0) return;
    await boss.send('reconcile-payments', {}, { startAfter: AGAIN_SECONDS, singletonKey: 'again' });
  });
}
