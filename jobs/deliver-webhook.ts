import type { PgBoss } from 'pg-boss';
import { BOUNDED_FETCH } from '../src/db/queues.ts';
import type { Outgoing } from '../src/outgoing/index.ts';

/** Delivers what the embedded sender has to: by itself, and when another process says that there is something. */
export async function workDeliverWebhook(boss: PgBoss, { deliverer }: Pick<Outgoing, 'deliverer'>): Promise<void> {
  deliverer.start();
  await boss.work(
    'deliver-webhook',
    {
      batchSize: 100,
      localConcurrency: 1,
      ...BOUNDED_FETCH,
      pollingIntervalSeconds: 2,
      notifyPollingIntervalSeconds: 2,
    },
    async () => deliverer.wake(),
  );
}
