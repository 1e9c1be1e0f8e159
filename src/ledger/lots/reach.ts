import { type Wallet, walletKeyText } from '../entry.ts';
import type { LedgerCommand } from '../post.ts';
import { isDue } from '../working-books.ts';

/** Which of its open lots a batch may have to do with in a wallet that is merely debited. Pure. */

/** Fewer are read as quickly as the first of them are found. */
const FEW_LOTS = 3;

export interface ReachedWallet extends Wallet {
  /** What all debits of the batch take together, at most as much as a number may say. */
  readonly debited: number;
}

/**
 * Debits take of the lots that are spent first, as much as they take at most. All others matter to everything else: to what gives back,
 * ends, or is kept by a hold, so it is nothing but debits of a merchant in an active wallet in which nothing is held, and nothing ends.
 */
export function reachOf(
  wallets: readonly Wallet[],
  commands: readonly LedgerCommand[],
  now: Date,
): { readonly reached: readonly ReachedWallet[]; readonly others: readonly Wallet[] } {
  const debited = new Map<string, number>();
  for (const command of commands) {
    const text = walletKeyText(command);
    const before = debited.get(text) ?? 0;
    debited.set(text, Math.min(before + debitedBy(command), Number.MAX_SAFE_INTEGER + 1));
  }
  const reached: ReachedWallet[] = [];
  const others: Wallet[] = [];
  for (const wallet of wallets) {
    const amount = debited.get(walletKeyText(wallet)) ?? Number.POSITIVE_INFINITY;
    const isStill = wallet.status === 'active' && wallet.openHolds === 0 && !isDue(wallet, now);
    if (wallet.openLots > FEW_LOTS && isStill && amount <= Number.MAX_SAFE_INTEGER)
      reached.push({ ...wallet, debited: amount });
    else others.push(wallet);
  }
  return { reached, others };
}

/** What a debit takes; beyond all numbers of anything else. */
function debitedBy(command: LedgerCommand): number {
  const isDebit =
    !('op' in command) &&
    !command.isCredit &&
    command.eventType === 'merchant_adjustment' &&
    command.restores === undefined &&
    command.origins === undefined;
  return isDebit ? command.amountMinor : Number.POSITIVE_INFINITY;
}
