import type { PgBoss } from 'pg-boss';
import { requeueStranded, type StrandedServices } from '../src/inbox/recover-stranded.ts';
import { requeueDeliveries } from '../src/outgoing/embedded/requeue.ts';

/** Finds stored events and deliveries that lost their job and enqueues them again. */
export async function workRequeueStrandedEvents(boss: PgBoss, services: StrandedServices): Promise<void> {
  await boss.work('requeue-stranded-events', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await requeueStranded(services);
    const deliveries = await requeueDeliveries(services.pool, boss);
    if (deliveries > 0) services.logger.warn({ deliveries }, 'deliveries had lost their jobs');
  });
}
