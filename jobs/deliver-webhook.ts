import type { PgBoss } from 'pg-boss';
import { BOUNDED_FETCH, QUEUES } from '../src/db/queues.ts';
import type { Outgoing } from '../src/outgoing/index.ts';

/** Tries deliveries of the embedded sender. Each completes or fails its own job, independent of the others of its batch. */
export async function workDeliverWebhook(boss: PgBoss, outgoing: Pick<Outgoing, 'deliver'>): Promise<void> {
  const { payload } = QUEUES['deliver-webhook'];
  await boss.work(
    'deliver-webhook',
    {
      // A delivery mostly waits for the receiver, so many at once cost little; payloads of 256 KiB each are 64 MiB. A batch ends with its
      // slowest delivery: there are far more of them than a merchant's failing endpoints may hold up (src/outgoing/embedded/slots.ts).
      batchSize: 16,
      localConcurrency: 16,
      burstWhenBatchFull: true,
      ...BOUNDED_FETCH,
      pollingIntervalSeconds: 2,
      // A notification comes when a job is made, not when a retry becomes due, so the queue is looked at this often.
      notifyPollingIntervalSeconds: 2,
    },
    async (jobs) => {
      const tries = await Promise.allSettled(jobs.map(async (job) => outgoing.deliver(job, payload.parse(job.data))));
      for (const one of tries) if (one.status === 'rejected') throw one.reason;
    },
  );
}
