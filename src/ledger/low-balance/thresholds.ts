import { statement } from '../../db/statement.ts';
import { pick } from '../../db/table.ts';
import type { Tx } from '../../db/transaction.ts';
import { type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import { type LedgerMoment, lockWallets } from '../store.ts';
import { WALLET } from '../tables.ts';
import { effectiveThreshold, type LowBalanceRule, reachesThreshold } from './rule.ts';

/** The balance below which a wallet counts as low, in minor units, and where that setting comes from. */
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
 * Gives a wallet a threshold of its own, or with null the currency's default again, and has it watched if it holds that
 * much. An alert that is due by the new threshold is raised by the next entry or the next scheduled scan, whichever comes
 * first.
 * @returns the threshold in force, or null if there is no such wallet
 */
export async function setThreshold(
  tx: Tx,
  wanted: WalletKey & Pick<Wallet, 'lowThreshold'>,
  moment: LedgerMoment,
): Promise<Threshold | null> {
  const wallets = await lockWallets(tx, [wanted], moment);
  const wallet = wallets.get(walletKeyText(wanted));
  if (wallet === undefined) return null;
  const next = thresholdOf(moment.rule, wanted);
  const alertsArmed = wallet.alertsArmed || reachesThreshold(wallet.balance, next.threshold);
  await SET_THRESHOLD.run(tx, { ...wanted, alertsArmed });
  return next;
}

const SET_THRESHOLD = statement({
  params: pick(WALLET.shape, 'merchantId', 'customerId', 'currency', 'lowThreshold', 'alertsArmed'),
  text: ({ merchantId, customerId, currency, lowThreshold, alertsArmed }) => `
    update wallet set low_threshold = ${lowThreshold}, alerts_armed = ${alertsArmed}
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency}`,
});
