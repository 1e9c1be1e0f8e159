import type { PgBoss } from 'pg-boss';
import { BOUNDED_FETCH, QUEUES } from '../src/db/queues.ts';
import type { Outgoing } from '../src/outgoing/index.ts';

/** Tries deliveries of the embedded sender; each settles its own job, whatever becomes of the others of its batch. */
export async function workDeliverWebhook(boss: PgBoss, outgoing: Pick<Outgoing, 'deliver'>): Promise<void> {
  const { payload } = QUEUES['deliver-webhook'];
  await boss.work(
    'deliver-webhook',
    {
      // Mostly waiting for other people's servers: many at once cost little, and a slow one holds up one of four loops.
      batchSize: 16,
      localConcurrency: 4,
      burstWhenBatchFull: true,
      ...BOUNDED_FETCH,
      pollingIntervalSeconds: 2,
      // A notification tells of a job that is made, not of a retry that becomes due: those are found by looking.
      notifyPollingIntervalSeconds: 2,
    },
    async (jobs) => {
      const tries = await Promise.allSettled(jobs.map(async (job) => outgoing.deliver(job, payload.parse(job.data))));
      for (const one of tries) if (one.status === 'rejected') throw one.reason;
    },
  );
}
