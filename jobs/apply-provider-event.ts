import type { PgBoss } from 'pg-boss';
import { BOUNDED_FETCH, QUEUES } from '../src/db/queues.ts';
import { applyEvents } from '../src/inbox/apply.ts';
import type { ApplyJob, ApplyResult } from '../src/inbox/apply-jobs.ts';
import type { ApplyServices } from '../src/inbox/event-work.ts';

/** Turns stored provider events into wallet entries, one batch in each transaction. */
export async function workApplyProviderEvent(boss: PgBoss, services: ApplyServices): Promise<void> {
  const { payload } = QUEUES['apply-provider-event'];
  await boss.work(
    'apply-provider-event',
    {
      // A batch is one transaction: a hundred events cost little more than one, and an event that fails is soon found. Those of
      // large bodies are of fewer events (src/inbox/apply-jobs.ts).
      batchSize: 250,
      localConcurrency: 2,
      burstWhenBatchFull: true,
      ...BOUNDED_FETCH,
      perJobResults: true,
      includeMetadata: true,
      pollingIntervalSeconds: 2,
      // No notification comes when a retry becomes due, so the queue is looked at this often.
      notifyPollingIntervalSeconds: 2,
    },
    async (jobs) => {
      const claims: ApplyJob[] = [];
      const unreadable: ApplyResult[] = [];
      for (const { id, retryCount, retryLimit, priority, data } of jobs) {
        const read = payload.safeParse(data);
        if (read.success) claims.push({ id, retryCount, retryLimit, priority, ...read.data });
        else {
          // Another release made the job, and may still read it. The other jobs of the batch must not fail with it.
          services.logger.error({ jobId: id, retryCount }, 'a job of apply-provider-event cannot be read');
          unreadable.push({ id, status: 'failed', output: { error: 'unreadable payload' } });
        }
      }
      return [...unreadable, ...(await applyEvents(services, claims))];
    },
  );
}
