import type { PgBoss } from 'pg-boss';
import { DUE_CHECKOUTS } from '../src/checkouts/expire.ts';
import { type DueServices, settleAllDue } from '../src/schedules/due.ts';

/** Ends checkouts that nobody has paid in time. */
export async function workExpireCheckouts(boss: PgBoss, services: DueServices): Promise<void> {
  await boss.work('expire-checkouts', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    const checkouts = await settleAllDue(services, DUE_CHECKOUTS);
    services.logger.debug({ checkouts }, 'checkouts that were not paid have ended');
  });
}
