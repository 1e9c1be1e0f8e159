import type { PgBoss } from 'pg-boss';
import { BOUNDED_FETCH, QUEUES } from '../src/db/queues.ts';
import { type ApplyJob, type ApplyResult, applyEvents } from '../src/inbox/apply.ts';
import type { ApplyServices } from '../src/inbox/settle-facts.ts';

/** Turns stored provider events into wallet entries, a batch in a transaction. */
export async function workApplyProviderEvent(boss: PgBoss, services: ApplyServices): Promise<void> {
  const { payload } = QUEUES['apply-provider-event'];
  await boss.work(
    'apply-provider-event',
    {
      // One transaction a batch: a hundred events cost little more than one, and a poison one is found soon.
      batchSize: 250,
      localConcurrency: 2,
      burstWhenBatchFull: true,
      ...BOUNDED_FETCH,
      perJobResults: true,
      includeMetadata: true,
      pollingIntervalSeconds: 2,
      // Nothing announces a retry that falls due: it waits for the next look.
      notifyPollingIntervalSeconds: 2,
    },
    async (jobs) => {
      const claims: ApplyJob[] = [];
      const unreadable: ApplyResult[] = [];
      for (const { id, retryCount, retryLimit, data } of jobs) {
        const read = payload.safeParse(data);
        if (read.success) claims.push({ id, retryCount, retryLimit, ...read.data });
        else {
          // Another release made it, which may be the one that reads it, too. Its neighbours are not to fail with it.
          services.logger.error({ jobId: id, retryCount }, 'a job of apply-provider-event cannot be read');
          unreadable.push({ id, status: 'failed', output: { error: 'unreadable payload' } });
        }
      }
      return [...unreadable, ...(await applyEvents(services, claims))];
    },
  );
}
