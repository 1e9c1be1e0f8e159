import { invariant } from '../errors.ts';
import type { Entry, Posting, Wallet, WalletAlert } from './entry.ts';
import { headOf, nextHash, startOfChain } from './hash-chain.ts';
import { decideLowBalance, type LowBalanceRule, raise } from './low-balance/rule.ts';

/** What one entry makes of a wallet. Pure. */

export function makeEntry(posting: Posting & Pick<Entry, 'fingerprint'>, wallet: Wallet, createdAt: Date): Entry {
  const afterBalance = posting.isCredit ? wallet.balance + posting.amountMinor : wallet.balance - posting.amountMinor;
  const place = { seq: wallet.version + 1, beforeBalance: wallet.balance, afterBalance, createdAt };
  const entry = { ...posting, ...place, effectiveAt: posting.effectiveAt ?? null };
  return { ...entry, hash: nextHash(headOf(wallet) ?? startOfChain(wallet), entry) };
}

/** The wallet after its next entry, with what is to be said of its balance. */
export function afterEntry(
  wallet: Wallet,
  entry: Entry,
  rule: LowBalanceRule,
): { wallet: Wallet; alerts: readonly WalletAlert[] } {
  invariant(
    entry.seq === wallet.version + 1 && entry.beforeBalance === wallet.balance,
    'an entry does not follow its wallet',
  );
  const { afterBalance: balance, seq: version, createdAt: updatedAt } = entry;
  const now = { balance, isDebit: !entry.isCredit, now: updatedAt };
  const decision = decideLowBalance(rule, wallet, now);
  const chain = { head: entry.hash, headVersion: version };
  return raise({ ...wallet, balance, version, updatedAt, ...chain }, decision, updatedAt);
}
