import type { PgBoss } from 'pg-boss';
import { QUEUES } from '../src/db/queues.ts';
import { applySharedJobs, type SharedJob } from '../src/inbox/apply-shared.ts';
import type { ApplyServices } from '../src/inbox/event-work.ts';
import { sharedEvents } from '../src/inbox/shared-jobs.ts';
import { workSharedEvents } from './event-queue.ts';

/** Turns the events of commits into wallet entries. */
export async function workApplyProviderEvents(boss: PgBoss, services: ApplyServices): Promise<void> {
  const { payload } = QUEUES['apply-provider-events'];
  await workSharedEvents<SharedJob>(boss, services.logger, {
    name: 'apply-provider-events',
    // One has a hundred events at most, and often few. What is claimed beyond the room of a batch is put back.
    batchSize: 25,
    claimOf: ({ id, retryCount, priority, data }) => {
      const read = payload.safeParse(data);
      return read.success ? { id, retryCount, ...sharedEvents(read.data, priority) } : null;
    },
    apply: (claims) => applySharedJobs(services, claims),
  });
}
