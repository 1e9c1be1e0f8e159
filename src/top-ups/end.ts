import type { Tx } from '../db/transaction.ts';
import { type CustomerKey, type Wallet, type WalletKey, walletKeyText } from '../ledger/entry.ts';
import { lockWallets } from '../ledger/store.ts';
import { removeTopUpDue, setTopUpBelow, setTopUpDue } from '../ledger/top-up-due.ts';
import { endRefills, readRefills } from './refills.ts';
import type { TopUpRule } from './rule.ts';
import { lockRule, ruledCurrencies, saveRule } from './store.ts';

/** Ends the rules of all wallets of a customer. */
export async function endTopUpRulesOf(tx: Tx, { merchantId, customerId }: CustomerKey, now: Date): Promise<void> {
  for (const currency of await ruledCurrencies(tx, { merchantId, customerId })) {
    await endTopUpRule(tx, { merchantId, customerId, currency }, now);
  }
}

interface Watched {
  readonly rule: TopUpRule;
  readonly wallet: Wallet;
  readonly now: Date;
}

/** Lets debits put the wallet on the work list, or not any more, as its rule wants; what is below now is looked at now. */
export async function watch(tx: Tx, { rule, wallet, now }: Watched): Promise<void> {
  const { merchantId, customerId, currency, enabled, threshold } = rule;
  const topUpBelow = enabled ? threshold : null;
  if (topUpBelow !== wallet.topUpBelow) await setTopUpBelow(tx, { merchantId, customerId, currency, topUpBelow });
  if (!enabled) await removeTopUpDue(tx, rule);
  else if (wallet.balance < threshold || rule.suspendedReason !== null || (await isRefilled(tx, rule, now))) {
    await setTopUpDue(tx, [{ merchantId, customerId, currency, since: now, retryAt: now }]);
  }
}

async function isRefilled(tx: Tx, rule: TopUpRule, now: Date): Promise<boolean> {
  return (await readRefills(tx, rule, now)).wanted.length > 0;
}

/** Ends the rule of a wallet, also for whoever closes it or erases its customer. @returns null if there is no rule */
export async function endTopUpRule(tx: Tx, key: WalletKey, now: Date): Promise<TopUpRule | null> {
  const rule = await lockRule(tx, key);
  if (rule === null || rule.endedAt !== null) return null;
  // The provider's name of the customer is not kept without need; that he agreed is.
  const ended: TopUpRule = { ...rule, enabled: false, payment: null, endedAt: now, updatedAt: now };
  await saveRule(tx, ended);
  await endRefills(tx, key, now);
  const wallets = await lockWallets(tx, [key], { currencies: new Set([key.currency]), now });
  const wallet = wallets.get(walletKeyText(key));
  if (wallet !== undefined) await watch(tx, { rule: ended, wallet, now });
  return rule;
}
