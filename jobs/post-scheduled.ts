import type { PgBoss } from 'pg-boss';
import type { Waker } from '../src/outgoing/wake-announcer.ts';
import { type DueServices, settleAllDue } from '../src/schedules/due.ts';
import { DUE_ENTRIES } from '../src/schedules/post-entries.ts';
import { DUE_GRANTS } from '../src/schedules/post-grants.ts';

/** Posts what was scheduled for a time that has come. */
export async function workPostScheduled(
  boss: PgBoss,
  { topUps, ...services }: DueServices & { readonly topUps: Waker },
): Promise<void> {
  await boss.work('post-scheduled', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    const entries = await settleAllDue(services, DUE_ENTRIES);
    const grants = await settleAllDue(services, DUE_GRANTS);
    // Some of them may be there to be charged, and nobody is to wait a minute for it.
    if (grants > 0) topUps.wake();
    services.logger.debug({ entries, grants }, 'scheduled entries and grants were posted');
  });
}
