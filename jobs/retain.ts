import type { PgBoss } from 'pg-boss';
import { eraseAndRetain } from '../src/retention/erase-and-retain.ts';
import type { RetainServices } from '../src/retention/retain.ts';

/** Goes on with erasing customers' data, and forgets what is older than the settings say. */
export async function workRetain(boss: PgBoss, services: RetainServices): Promise<void> {
  await boss.work('retain', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await eraseAndRetain(services);
  });
}
