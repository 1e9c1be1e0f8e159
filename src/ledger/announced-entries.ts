import { bigint, nullable, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import type { WalletKey } from './entry.ts';
import { balanceAt } from './history.ts';
import { OWN_KEY } from './tables.ts';

/** Entries that were announced, by when they were written: what an endpoint that was added later has missed. */

export interface AnnouncedWallet extends WalletKey {
  /** How far it was announced; what comes after that is still on its way. */
  readonly announcedVersion: number;
  /** When its newest entry was written; null if it has none. */
  readonly newestAt: Date | null;
}

/** The merchant's wallets from this one on, in the order of their keys. Each costs one look-up of its newest entry. */
export async function announcedWallets(
  db: Queryable,
  from: WalletKey,
  limit: number,
): Promise<readonly AnnouncedWallet[]> {
  const wallets = await ANNOUNCED_WALLETS.all(db, { ...from, limit });
  return wallets.map((wallet) => ({ merchantId: from.merchantId, ...wallet }));
}

const ANNOUNCED_WALLETS = statement({
  params: { merchantId: text, ...OWN_KEY, limit: bigint },
  row: { ...OWN_KEY, announcedVersion: bigint, newestAt: nullable(timestamptz) },
  text: ({ merchantId, customerId, currency, limit }) => `
    select w.customer_id, w.currency, w.announced_version as announced_version, (
      select e.created_at from entry e
      where e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency and e.seq = w.version
    ) as newest_at
    from wallet w
    where w.merchant_id = ${merchantId} and (w.customer_id, w.currency) >= (${customerId}, ${currency})
    order by w.customer_id, w.currency
    limit ${limit}`,
});

/** The announced entries of a window of time: those after `from`, up to `to`. */
export async function announcedRange(
  db: Queryable,
  wallet: AnnouncedWallet,
  { since, until }: { readonly since: Date; readonly until: Date },
): Promise<{ readonly from: number; readonly to: number }> {
  const before = await balanceAt(db, wallet, justBefore(since));
  const last = await balanceAt(db, wallet, justBefore(until));
  return { from: before?.version ?? 0, to: Math.min(last?.version ?? 0, Math.max(wallet.announcedVersion, 0)) };
}

/** `created_at` has milliseconds and no more. */
function justBefore(time: Date): Date {
  return new Date(time.getTime() - 1);
}
