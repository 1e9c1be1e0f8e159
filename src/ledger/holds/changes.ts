import type { Wallet } from '../entry.ts';
import { earlierOf } from '../lots/ends.ts';
import { type Hold, remainingOf } from './hold.ts';

/** What becomes of a wallet by its holds. */

/** The wallet after one of its open holds became another one, or ended. */
export function afterHold(wallet: Wallet, before: Hold, after: Hold): Wallet {
  const openHolds = after.state === 'open' ? wallet.openHolds : wallet.openHolds - 1;
  return {
    ...wallet,
    held: wallet.held + remainingOf(after) - remainingOf(before),
    openHolds,
    // Where the earliest one ended, it stays as a bound that is too low, and the next lapse finds it anew.
    dueAt: openHolds === 0 && wallet.openLots === 0 ? null : earlierOf(wallet.dueAt, after.expiresAt),
  };
}

/** The wallet with one hold more. */
export function withHold(wallet: Wallet, hold: Hold): Wallet {
  return {
    ...wallet,
    held: wallet.held + remainingOf(hold),
    openHolds: wallet.openHolds + 1,
    holdSeq: hold.holdNo,
    dueAt: earlierOf(wallet.dueAt, hold.expiresAt),
  };
}

/** Clocks of processes differ, and a hold never ends before it begins. */
export function closeHold(hold: Hold, state: 'captured' | 'released', now: Date): Hold {
  const closedAt = now < hold.createdAt ? hold.createdAt : now;
  return { ...hold, state, released: hold.amountMinor - hold.captured, closedAt };
}
