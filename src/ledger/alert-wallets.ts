import type { Tx } from '../db/transaction.ts';
import { type Wallet, type WalletAlert, type WalletKey, walletKeyText } from './entry.ts';
import type { WalletOpening } from './open-wallets.ts';
import { lockWallets, write } from './store.ts';

/** What is to be said of a wallet. */
export type NewAlert = WalletKey & Pick<WalletAlert, 'kind' | 'details'>;

/** Tells of what did not happen to wallets, so that no entry says it. In the caller's transaction; what it has locked stays so. */
export async function alertWallets(tx: Tx, news: readonly NewAlert[], opening: WalletOpening): Promise<void> {
  if (news.length === 0) return;
  const wallets = await lockWallets(tx, news, opening);
  const changed = new Map<string, Wallet>();
  const alerts = news.flatMap(({ kind, details, ...key }): WalletAlert[] => {
    const name = walletKeyText(key);
    const wallet = changed.get(name) ?? wallets.get(name);
    if (wallet === undefined) return [];
    const { merchantId, customerId, currency, balance, version, updatedAt } = wallet;
    const alertSeq = wallet.alertSeq + 1;
    changed.set(name, { ...wallet, alertSeq });
    // Within a wallet, nothing is dated before an earlier entry.
    const createdAt = opening.now < updatedAt ? updatedAt : opening.now;
    const own = { merchantId, customerId, currency, alertSeq, balance, version, createdAt };
    return [{ ...own, reminder: false, threshold: null, kind, details }];
  });
  const nothing = { entries: [], holds: null, lots: null, statuses: [], checkouts: [] };
  await write(tx, { ...nothing, wallets: [...changed.values()], alerts });
}
