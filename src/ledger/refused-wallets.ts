import type { Queryable } from '../db/transaction.ts';

/**
 * Lets wallets be announced now whose next try was put off by more than `seconds`; what they are going to say stays fixed. Only a
 * refusal puts one off for long, and a new release or a mended setting may be what ends it.
 */
export async function retryRefusedWallets(db: Queryable, seconds: number): Promise<void> {
  await db.query('update unannounced_wallet set retry_at = null where retry_at > now() + make_interval(secs => $1)', [
    seconds,
  ]);
}
