import type { PgBoss } from 'pg-boss';
import { type AnnounceOptions, announce } from '../src/announcements/announce.ts';

/** Well below the queue's expiry, so that a run with much to say ends by itself and is followed by the next. */
const MAX_SECONDS = 40;

export type AnnounceServices = Pick<AnnounceOptions, 'pool' | 'publisher' | 'logger'>;

/** Tells merchants what changed; what could not be told now gets a job of its own for later. */
export async function workAnnounceBalanceChanges(boss: PgBoss, services: AnnounceServices): Promise<void> {
  await boss.work(
    'announce-balance-changes',
    { batchSize: 1, localConcurrency: 1, pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 10 },
    async ([job]) => {
      const result = await announce({ ...services, maxSeconds: MAX_SECONDS, ...(job && { signal: job.signal }) });
      services.logger.debug(result, 'balance changes were announced');
      if (result.unfinished) await boss.send('announce-balance-changes', {});
      // Under a key of its own: the queue holds one waiting job a key, and this one must not stand in a nudge's way.
      if (result.retryAfterSeconds !== null) {
        const startAfter = Math.ceil(result.retryAfterSeconds);
        await boss.send('announce-balance-changes', {}, { startAfter, singletonKey: 'retry' });
      }
    },
  );
}
