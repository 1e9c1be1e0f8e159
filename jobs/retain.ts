import type { PgBoss } from 'pg-boss';
import { goOnErasing } from '../src/retention/anonymise.ts';
import { type RetainServices, retain } from '../src/retention/retain.ts';

/** Goes on with erasing customers' data, and forgets what is older than the settings say. */
export async function workRetain(boss: PgBoss, services: RetainServices): Promise<void> {
  await boss.work('retain', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await goOnErasing(services);
    await retain(services, { merchantId: null, isDryRun: false });
  });
}
