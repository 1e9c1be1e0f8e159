import type { PgBoss } from 'pg-boss';
import { type AnnounceOptions, announce } from '../src/announcements/announce.ts';

/** Well below the queue's expiry, so that a run with much to say ends by itself and is followed by the next. */
const MAX_SECONDS = 40;
/** What is due later than this is left to the schedule, which makes a job every minute. */
const SCHEDULE_SECONDS = 60;

/** `signal` is the process's shutdown: the wallets under way are finished, no other is begun. */
export type AnnounceServices = Pick<AnnounceOptions, 'pool' | 'publisher' | 'logger' | 'metrics' | 'tracing'> & {
  readonly signal?: AbortSignal;
};

/** Tells merchants what changed; what could not be told now gets a job of its own for later. */
export async function workAnnounceBalanceChanges(boss: PgBoss, services: AnnounceServices): Promise<void> {
  const { signal: shutdown = new AbortController().signal, ...needed } = services;
  await boss.work(
    'announce-balance-changes',
    // A notification tells of a job that is made, not of one that becomes due: those are found by looking.
    { batchSize: 1, localConcurrency: 1, pollingIntervalSeconds: 2, notifyPollingIntervalSeconds: 2 },
    async (jobs) => {
      const signal = AbortSignal.any([shutdown, ...jobs.map((job) => job.signal)]);
      const result = await announce({ ...needed, maxSeconds: MAX_SECONDS, signal });
      services.logger.debug(result, 'balance changes were announced');
      if (result.unfinished) await boss.send('announce-balance-changes', {});
      // Under a key of its own: one job a key may wait, and this one must not stand in a nudge's way.
      if (result.retryAfterSeconds !== null && result.retryAfterSeconds < SCHEDULE_SECONDS) {
        const startAfter = Math.ceil(result.retryAfterSeconds);
        await boss.send('announce-balance-changes', {}, { startAfter, singletonKey: 'retry' });
      }
    },
  );
}
