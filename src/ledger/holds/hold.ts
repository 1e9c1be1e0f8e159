import { hash } from 'node:crypto';
import { type Metadata, placeInWallet, type WalletKey, walletKeyText } from '../entry.ts';

/**
 * A hold sets money of a wallet aside without moving it: it lowers what is available, never the balance. Only a capture writes
 * an entry.
 */
export interface Hold extends WalletKey {
  /** Its place among the holds of its wallet: 1, 2, 3 … */
  readonly holdNo: number;
  /** Who decides about it: the merchant by the API, a checkout (../checkouts), or an open dispute of a payment (disputes.ts). */
  readonly kind: 'api' | 'checkout' | 'dispute';
  /** How it ended. `captured` says how much of it was taken, whatever the state. */
  readonly state: 'open' | 'captured' | 'released' | 'expired';
  readonly amountMinor: number;
  /** What captures took out of it. */
  readonly captured: number;
  /** What captures took beyond it, and what was debited for it after it had expired. */
  readonly beyond: number;
  /** What was not captured when it closed; 0 while it is open. */
  readonly released: number;
  /** Debits for it after it had ended: one at most, of a checkout two. */
  readonly lateDebits: number;
  readonly expiresAt: Date | null;
  readonly reason: string | null;
  readonly releaseReason: string | null;
  readonly referenceObjectId: string | null;
  readonly metadata: Metadata | null;
  readonly idempotencyKey: string;
  /** SHA-256 of the request made under the key, hexadecimal. */
  readonly fingerprint: string;
  readonly createdAt: Date;
  readonly closedAt: Date | null;
}

/** A hold that has ended. */
export interface ClosedHold extends Hold {
  readonly closedAt: Date;
}

/** Which entry took how much out of a hold, and beyond it; a debit after it had expired takes all beyond it. */
export interface HoldCapture extends WalletKey {
  /** The entry's. */
  readonly seq: number;
  readonly holdNo: number;
  readonly fromHold: number;
  readonly beyond: number;
}

/** What is left to capture; nothing of one that is closed. */
export function remainingOf({ state, amountMinor, captured }: Hold): number {
  return state === 'open' ? amountMinor - captured : 0;
}

/** A wallet has this many open holds at most, since all of them are read when one ends. */
export const MAX_OPEN_HOLDS = 1000;

export interface PlaceHold extends WalletKey {
  readonly op: 'place';
  readonly amountMinor: number;
  /** Hold what is available if that is less. */
  readonly partial: boolean;
  readonly expiresInSeconds: number;
  readonly reason: string | null;
  readonly referenceObjectId: string | null;
  readonly metadata: Metadata | null;
  readonly idempotencyKey: string;
}

/** Names a hold by its wallet and number. */
export interface HoldKey extends WalletKey {
  readonly holdNo: number;
}

/** Whose hold a command may be about: the merchant's by the API, unless it says that it comes of a checkout. */
interface ForOwner {
  readonly owner?: 'checkout';
}

export interface CaptureHold extends HoldKey, ForOwner {
  readonly op: 'capture';
  /** Null: what is left. */
  readonly amountMinor: number | null;
  /** Release what is not captured. */
  readonly isFinal: boolean;
  /** What to do if more is asked for than is left: refuse, take it all or nothing, take what there is. */
  readonly beyond: 'refuse' | 'take' | 'up_to_balance';
  /** What to do if the hold has expired, or of a checkout has ended: refuse, or debit what is available. */
  readonly late: 'refuse' | 'debit';
  readonly reason: string | null;
  readonly metadata: Metadata | null;
  readonly idempotencyKey: string | null;
}

export interface ReleaseHold extends HoldKey, ForOwner {
  readonly op: 'release';
  readonly reason: string | null;
}

export interface ChangeHold extends HoldKey, ForOwner {
  readonly op: 'change';
  /** The new total; null: as it is. */
  readonly amountMinor: number | null;
  /** From now; null: as it is. */
  readonly expiresInSeconds: number | null;
  /** When it ends instead, though that be over. */
  readonly expiresAt?: Date;
}

/** What losing one open dispute would take from the wallet, as it was before the news and as it is now. */
export interface DisputedAmount {
  readonly disputeId: string;
  /** The key of its hold. One that is placed anew has another one. */
  readonly idempotencyKey: string;
  /** 0: it has no hold yet. */
  readonly before: number;
  /** 0: it is decided, or nothing is left of the payment to lose. */
  readonly wanted: number;
}

/** Sets aside what open disputes of one payment may take. Never refused for want of money: it holds what there is. */
export interface HoldDisputes extends WalletKey {
  readonly op: 'hold_disputes';
  readonly paymentId: string;
  readonly reason: string;
  /** Why those that end are released, where that is no news of the dispute. */
  readonly releaseReason?: string;
  /** What the same news gave back of the payment's own money, by which a hold may grow too. */
  readonly returned: number;
  /** All disputes of the payment that have a hold or want one. */
  readonly disputes: readonly DisputedAmount[];
}

/** Ends what is due in a wallet, as every other command does on its way. Where nothing is due, it changes nothing. */
interface Sweep extends WalletKey {
  readonly op: 'sweep';
}

export type HoldCommand = PlaceHold | CaptureHold | ReleaseHold | ChangeHold | HoldDisputes | Sweep;

/** A hold's key in one text, for maps over the wallets of several merchants. */
export function holdKeyText(hold: HoldKey): string {
  return `${walletKeyText(hold)}\0${hold.holdNo}`;
}

/** A hold's public id, made of its key like an entry's. */
export function holdId({ customerId, currency, holdNo }: HoldKey): string {
  return `hold_${customerId}_${currency}_${holdNo}`;
}

/** What a {@link holdId} stands for, or null if it is no hold of that customer. */
export function parseHoldId(id: string, customerId: string): { currency: string; holdNo: number } | null {
  const place = placeInWallet(id, `hold_${customerId}_`);
  return place === null ? null : { currency: place.currency, holdNo: place.number };
}

/** SHA-256, in hexadecimal, of all that a request to place or to capture asks for; metadata counts in any order of its keys. */
export function holdFingerprint(command: PlaceHold | CaptureHold): string {
  const { op, currency, amountMinor, reason, metadata } = command;
  const pairs = metadata === null ? null : Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  const own =
    op === 'place'
      ? [command.partial, command.expiresInSeconds, command.referenceObjectId]
      : [command.holdNo, command.isFinal, command.beyond, command.late];
  const text = JSON.stringify([op, currency, amountMinor, reason, pairs, ...own]);
  return hash('sha256', text, 'hex');
}
