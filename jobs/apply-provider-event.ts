import type { PgBoss } from 'pg-boss';
import { QUEUES } from '../src/db/queues.ts';
import { applyEvents } from '../src/inbox/apply.ts';
import type { ApplyJob } from '../src/inbox/apply-jobs.ts';
import type { ApplyServices } from '../src/inbox/event-work.ts';
import { workEvents } from './event-queue.ts';

/** Turns stored provider events into wallet entries, one batch in each transaction. */
export async function workApplyProviderEvent(boss: PgBoss, services: ApplyServices): Promise<void> {
  const { payload } = QUEUES['apply-provider-event'];
  await workEvents<ApplyJob>(boss, services.logger, {
    name: 'apply-provider-event',
    // A batch is one transaction: a hundred events cost little more than one, and an event that fails is soon found. Those of
    // large bodies are of fewer events (src/inbox/apply-jobs.ts).
    batchSize: 250,
    claimOf: ({ id, retryCount, retryLimit, priority, data }) => {
      const read = payload.safeParse(data);
      return read.success ? { id, retryCount, retryLimit, priority, ...read.data } : null;
    },
    apply: (claims) => applyEvents(services, claims),
  });
}
