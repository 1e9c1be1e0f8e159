import type { PgBoss } from 'pg-boss';
import { applyEvents } from '../src/inbox/apply.ts';
import type { ApplyServices } from '../src/inbox/settle-facts.ts';
import { BOUNDED_FETCH, QUEUES } from '../src/queues.ts';

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
      notifyPollingIntervalSeconds: 10,
    },
    async (jobs) => {
      const claims = jobs.map(({ id, retryCount, retryLimit, data }) => ({
        id,
        retryCount,
        retryLimit,
        ...payload.parse(data),
      }));
      return [...(await applyEvents(services, claims))];
    },
  );
}
