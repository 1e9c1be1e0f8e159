import { type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import type { LedgerCommand } from '../post.ts';
import { isDue } from '../working-books.ts';

/** Which of its open lots a batch may have to do with in a wallet that is merely debited. Pure. */

/** Up to so many are read as quickly as it is found which of them are first. */
export const FEW_LOTS = 3;

/** A wallet that a batch does nothing to but take debits out of it. */
export interface Debited extends WalletKey {
  /** What all debits of the batch take together. */
  readonly debited: number;
}

/** The wallets to which a batch does nothing but take debits out of them, by {@link walletKeyText}. */
export function merelyDebited(commands: readonly LedgerCommand[]): ReadonlyMap<string, Debited> {
  const all = new Map<string, Debited>();
  for (const command of commands) {
    const text = walletKeyText(command);
    const { merchantId, customerId, currency } = command;
    const debited = (all.get(text)?.debited ?? 0) + debitedBy(command);
    all.set(text, { merchantId, customerId, currency, debited });
  }
  for (const [text, { debited }] of all) if (debited > Number.MAX_SAFE_INTEGER) all.delete(text);
  return all;
}

/** What a merchant's debit takes; beyond all numbers of anything else. */
function debitedBy(command: LedgerCommand): number {
  const isDebit =
    !('op' in command) &&
    !command.isCredit &&
    command.eventType === 'merchant_adjustment' &&
    command.restores === undefined &&
    command.origins === undefined;
  return isDebit ? command.amountMinor : Number.POSITIVE_INFINITY;
}

/**
 * Whether debits have to do only with the lots that are spent first, as many as they take at most: where nothing ends, is held, or stands
 * still. All others may have to end once something is set free.
 */
export function isStill(wallet: Wallet, now: Date): boolean {
  return wallet.status === 'active' && wallet.openHolds === 0 && !isDue(wallet, now);
}
