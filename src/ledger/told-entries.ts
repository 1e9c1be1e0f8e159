import type { Queryable } from '../db/transaction.ts';
import type { WalletKey } from './entry.ts';
import { balanceAt } from './history.ts';

/** Entries that were announced, by when they were written: what an endpoint that was added later has missed. */

export interface ToldWallet extends WalletKey {
  /** How far it was announced; what comes after that is still on its way. */
  readonly toldVersion: number;
  /** When its newest entry was written; null if it has none. */
  readonly newestAt: Date | null;
}

/** The merchant's wallets from a place on, in the order of their keys. Each costs one look-up of its newest entry. */
export async function toldWallets(
  db: Queryable,
  merchantId: string,
  from: { readonly customerId: string; readonly currency: string },
  limit: number,
): Promise<readonly ToldWallet[]> {
  const { rows } = await db.query<{
    customer_id: string;
    currency: string;
    announced_version: number;
    newest_at: Date | null;
  }>(
    `select w.customer_id, w.currency, w.announced_version, (
       select e.created_at from entry e
       where e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency and e.seq = w.version
     ) as newest_at
     from wallet w
     where w.merchant_id = $1 and (w.customer_id, w.currency) >= ($2, $3)
     order by w.customer_id, w.currency
     limit $4`,
    [merchantId, from.customerId, from.currency, limit],
  );
  return rows.map((row) => ({
    merchantId,
    customerId: row.customer_id,
    currency: row.currency,
    toldVersion: row.announced_version,
    newestAt: row.newest_at,
  }));
}

/** The announced entries of a window of time: those after `from`, up to `to`. */
export async function toldRange(
  db: Queryable,
  wallet: ToldWallet,
  { since, until }: { readonly since: Date; readonly until: Date },
): Promise<{ readonly from: number; readonly to: number }> {
  const before = await balanceAt(db, wallet, justBefore(since));
  const last = await balanceAt(db, wallet, justBefore(until));
  return { from: before?.version ?? 0, to: Math.min(last?.version ?? 0, Math.max(wallet.toldVersion, 0)) };
}

/** `created_at` has milliseconds and no more. */
function justBefore(time: Date): Date {
  return new Date(time.getTime() - 1);
}
