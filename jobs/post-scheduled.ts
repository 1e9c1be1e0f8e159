import type { PgBoss } from 'pg-boss';
import { type DueServices, settleAllDue } from '../src/schedules/due.ts';
import { DUE_ENTRIES } from '../src/schedules/post-entries.ts';

/** Posts what was scheduled for a time that has come. */
export async function workPostScheduled(boss: PgBoss, services: DueServices): Promise<void> {
  await boss.work('post-scheduled', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    services.logger.debug({ postings: await settleAllDue(services, DUE_ENTRIES) }, 'scheduled entries were posted');
  });
}
