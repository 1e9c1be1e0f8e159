import type { PgBoss } from 'pg-boss';
import { BOUNDED_FETCH } from '../src/db/queues.ts';
import { Announcer, type AnnouncerOptions } from '../src/outgoing/announcer.ts';

/**
 * Tells merchants what changed: when a posting's job wakes it, and by itself when something is due. The job is only the wake-up;
 * what there is to tell is in the work lists.
 */
export async function workAnnounceBalanceChanges(boss: PgBoss, options: AnnouncerOptions): Promise<Announcer> {
  const announcer = new Announcer(options);
  await boss.work(
    'announce-balance-changes',
    { batchSize: 1, localConcurrency: 1, ...BOUNDED_FETCH, pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 2 },
    () => announcer.wake(),
  );
  return announcer;
}
