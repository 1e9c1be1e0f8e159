import { setTimeout as delay } from 'node:timers/promises';
import { waitingForLocks } from './lock-waits.ts';

/** How many times as long as on one Postgres is waited on Citus, where a transaction has many times as many round trips. vitest.config.ts has it too. */
const PATIENCE = process.env.CITUS_URL ? 4 : 1;

/**
 * Resolves with the first value of `probe` that is not null, undefined or false; asks again shortly until then.
 * @throws {Error} after `deadlineMs`, or a few times as long on Citus, naming what was waited for
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  deadlineMs = 60_000,
): Promise<T> {
  const waitMs = deadlineMs * PATIENCE;
  const deadline = performance.now() + waitMs;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${waitMs} ms in vain for ${what}`);
    await delay(10);
  }
}

/**
 * Waits until a batch of postings waits in the middle of its transaction for the lock of its wallets. The announcer may wait for
 * the same rows, so this looks for the statement and not for any wait. Call it outside of a transaction, since inside one
 * Postgres always shows the same picture of its activity.
 */
export async function postingsToWait(db: Parameters<typeof waitingForLocks>[0]): Promise<void> {
  await eventually('a batch of postings to wait for its wallets', async () => {
    return (await waitingForLocks(db, '%w.alerts_armed%for update of w%')) > 0;
  });
}
