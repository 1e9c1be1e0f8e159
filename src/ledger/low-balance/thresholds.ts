import type { Tx } from '../../db/transaction.ts';
import { type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import { type LedgerSettings, lockWallets } from '../store.ts';
import { effectiveThreshold, type LowBalanceRule } from './rule.ts';

/** The line below which a wallet counts as low, in minor units, and whose word that is. */
export interface Threshold {
  readonly threshold: number | null;
  readonly source: 'wallet' | 'default' | 'none';
}

export function thresholdOf(rule: LowBalanceRule, wallet: Pick<Wallet, 'currency' | 'lowThreshold'>): Threshold {
  if (wallet.lowThreshold !== null) return { threshold: wallet.lowThreshold, source: 'wallet' };
  const threshold = effectiveThreshold(rule, wallet.currency, null);
  return { threshold, source: threshold === null ? 'none' : 'default' };
}

/**
 * Gives a wallet a threshold of its own, or with null the currency's default again. An alert that is due by the new
 * threshold is raised by the next entry or the next scheduled scan, whichever comes first.
 * @returns the threshold in force, or null if there is no such wallet
 */
export async function setThreshold(
  tx: Tx,
  key: WalletKey,
  lowThreshold: number | null,
  settings: LedgerSettings,
  now: Date,
): Promise<Threshold | null> {
  const wallets = await lockWallets(tx, [key], settings, now);
  if (!wallets.has(walletKeyText(key))) return null;
  await tx.query('update wallet set low_threshold = $4 where merchant_id = $1 and customer_id = $2 and currency = $3', [
    key.merchantId,
    key.customerId,
    key.currency,
    lowThreshold,
  ]);
  return thresholdOf(settings.rule, { currency: key.currency, lowThreshold });
}
