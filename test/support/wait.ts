import { setTimeout as delay } from 'node:timers/promises';

/**
 * Resolves with the first value of `probe` that is not null, undefined or false; asks again shortly until then.
 * @throws after `deadlineMs`, naming what was waited for
 */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | null | undefined | false> | T | null | undefined | false,
  deadlineMs = 30_000,
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
 * Waits until a batch of postings stands in the middle of its transaction, at the lock of its wallets. The announcer waits
 * for the same rows when a wallet is held, so the statement is asked for, not just any wait. To be asked outside of a
 * transaction: within one, Postgres shows the same picture of its activity again and again.
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
