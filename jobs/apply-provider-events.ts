import type { PgBoss } from 'pg-boss';
import { BOUNDED_FETCH, QUEUES } from '../src/db/queues.ts';
import type { ApplyResult } from '../src/inbox/apply-jobs.ts';
import { applySharedJobs, type SharedJob } from '../src/inbox/apply-shared.ts';
import type { ApplyServices } from '../src/inbox/event-work.ts';
import { sharedEvents } from '../src/inbox/shared-jobs.ts';

/** Turns the events of commits into wallet entries. */
export async function workApplyProviderEvents(boss: PgBoss, services: ApplyServices): Promise<void> {
  const { payload } = QUEUES['apply-provider-events'];
  await boss.work(
    'apply-provider-events',
    {
      // One has a hundred events at most, and often few. What is claimed beyond the room of a batch is put back.
      batchSize: 25,
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
      const claims: SharedJob[] = [];
      const unreadable: ApplyResult[] = [];
      for (const { id, retryCount, priority, data } of jobs) {
        const read = payload.safeParse(data);
        if (read.success) claims.push({ id, retryCount, ...sharedEvents(read.data, priority) });
        else {
          services.logger.error({ jobId: id, retryCount }, 'a job of apply-provider-events cannot be read');
          unreadable.push({ id, status: 'failed', output: { error: 'unreadable payload' } });
        }
      }
      return [...unreadable, ...(await applySharedJobs(services, claims))];
    },
  );
}
