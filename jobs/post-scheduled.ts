import type { PgBoss } from 'pg-boss';
import type { Waker } from '../src/outgoing/wake-announcer.ts';
import type { DueServices } from '../src/schedules/due.ts';
import { postAllDue } from '../src/schedules/post-all.ts';

/** Posts what was scheduled for a time that has come. */
export async function workPostScheduled(
  boss: PgBoss,
  { topUps, ...services }: DueServices & { readonly topUps: Waker },
): Promise<void> {
  await boss.work('post-scheduled', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    // Some grants may be there to be charged, and nobody is to wait a minute for it.
    const posted = await postAllDue({ ...services, onGranted: () => topUps.wake() });
    services.logger.debug(posted, 'scheduled entries and grants were posted');
  });
}
