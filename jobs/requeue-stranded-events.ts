import type { PgBoss } from 'pg-boss';
import { requeueStranded, type StrandedServices } from '../src/inbox/recover-stranded.ts';

/** Finds stored events that lost their job and enqueues them again. */
export async function workRequeueStrandedEvents(boss: PgBoss, services: StrandedServices): Promise<void> {
  await boss.work('requeue-stranded-events', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await requeueStranded(services);
  });
}
