import { setTimeout as delay } from 'node:timers/promises';

/**
 * Resolves with the first value of `probe` that is not null, undefined or false; asks again shortly until then.
 * @throws {Error} after `deadlineMs`, naming what was waited for
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  deadlineMs = 60_000,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${deadlineMs} ms in vain for ${what}`);
    await delay(10);
  }
}

/**
 * Waits until a batch of postings waits in the middle of its transaction for the lock of its wallets. The announcer may wait for
 * the same rows, so this looks for the statement and not for any wait. Call it outside of a transaction, since inside one
 * Postgres always shows the same picture of its activity.
 */
export async function postingsToWait(db: { query(text: string): Promise<{ rowCount: number | null }> }): Promise<void> {
  await eventually('a batch of postings to wait for its wallets', async () => {
    const { rowCount } = await db.query(
      `select 1 from pg_stat_activity
       where wait_event_type = 'Lock' and datname = current_database() and query like '%w.alerts_armed%for update of w%'`,
    );
    return rowCount !== null && rowCount > 0;
  });
}
