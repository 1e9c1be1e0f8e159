/** The ledger's nouns. README.md beside this file has the invariants they obey. */

import type { CustomerKey, WalletKey } from './wallet-key.ts';
import type { ChainState, HoldState, LotState } from './wallet-state.ts';

export { type CustomerKey, type WalletKey, walletKeyText } from './wallet-key.ts';

/**
 * Dodo Payments' event types, in Dodo's spelling, and ours: `hold_captured` (holds/hold.ts), what becomes of lots (lots/lot.ts), what payments
 * give beside the money that was paid, and what goes back of a checkout's part (checkouts/).
 */
export const EVENT_TYPES = [
  'payment',
  'payment_reversal',
  'refund',
  'refund_reversal',
  'dispute',
  'dispute_reversal',
  'merchant_adjustment',
  'hold_captured',
  'credit_expired',
  'credit_voided',
  'bonus',
  'bonus_reversal',
  'checkout_refunded',
  'checkout_refund_reversal',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/**
 * The other side of each entry. A wallet entry and its contra account make the pair of double entry bookkeeping
 * without a second row to lock: the trial balance adds both sides up and must come to zero.
 */
export const CONTRA_ACCOUNTS: Readonly<Record<EventType, string>> = {
  payment: 'payments_received',
  payment_reversal: 'payments_received',
  refund: 'refunds_to_wallet',
  refund_reversal: 'refunds_to_wallet',
  dispute: 'disputes',
  dispute_reversal: 'disputes',
  merchant_adjustment: 'merchant_adjustments',
  hold_captured: 'spending',
  credit_expired: 'breakage',
  credit_voided: 'voided_credits',
  bonus: 'promotions',
  bonus_reversal: 'promotions',
  checkout_refunded: 'spending',
  checkout_refund_reversal: 'spending',
};

/** Event types that take back credit which may already be spent, and so may leave a debt. The CHECK on `entry` agrees. */
export const MAY_OVERDRAW: ReadonlySet<EventType> = new Set<EventType>([
  'payment_reversal',
  'refund_reversal',
  'dispute',
  'bonus_reversal',
  'checkout_refund_reversal',
]);

/** What the merchant has been told about a low balance, and what decides the next alert. */
export interface AlertState {
  /** The wallet's own threshold in minor units; null means the currency's default. */
  readonly lowThreshold: number | null;
  /** The wallet has reached its threshold or been spent from: only then can it be low. */
  readonly alertsArmed: boolean;
  /** Set while a low balance was told of and not yet its recovery. */
  readonly lowSince: Date | null;
  /** Set while the last word was that nothing is left. */
  readonly depletedSince: Date | null;
  readonly lowAlertedAt: Date | null;
  readonly depletedAlertedAt: Date | null;
  readonly alertSeq: number;
}

export const WALLET_STATUSES = ['active', 'frozen', 'closed'] as const;

/** What may happen in a wallet (see status/rules.ts). */
export type WalletStatus = (typeof WALLET_STATUSES)[number];

/** What a debit or a new hold may take. */
export function availableOf({ balance, held }: Pick<Wallet, 'balance' | 'held'>): number {
  return Math.max(balance - held, 0);
}

export interface Wallet extends WalletKey, AlertState, ChainState, HoldState, LotState {
  readonly status: WalletStatus;
  readonly balance: number;
  readonly version: number;
  /** A debit that leaves less is to be looked at by the wallet's top-up rule. Null: it has none, or not now. */
  readonly topUpBelow: number | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Where its row stands, if it was locked just now: it is found there again without a look for its key. */
  readonly at?: string;
}

export type Metadata = Readonly<Record<string, string | number | boolean>>;

export interface Entry extends WalletKey {
  readonly seq: number;
  readonly amountMinor: number;
  readonly isCredit: boolean;
  readonly eventType: EventType;
  readonly beforeBalance: number;
  readonly afterBalance: number;
  readonly reason: string | null;
  readonly referenceObjectId: string | null;
  readonly metadata: Metadata | null;
  readonly idempotencyKey: string | null;
  /** SHA-256 of the request made under the key, hexadecimal; null exactly when the key is. */
  readonly fingerprint: string | null;
  readonly createdAt: Date;
  /** Its date of account, where that is another: no balance goes by it (see effective-at.ts). */
  readonly effectiveAt: Date | null;
  /** Binds the entry to all before it (see hash-chain.ts), hexadecimal; null in entries of releases that knew of none. */
  readonly hash: string | null;
}

/** What credit with terms was given for. */
export const LOT_KINDS = ['promo', 'paid', 'refund', 'adjustment'] as const;

/** The terms of a credit that is to be a lot. */
export interface LotTerms {
  readonly kind: (typeof LOT_KINDS)[number];
  readonly name: string | null;
  readonly priority: number;
  /** Null: it never ends. Days count from when it is given. */
  readonly end: { readonly at: Date } | { readonly days: number } | null;
}

/** A request to write one entry. */
export interface Posting extends WalletKey {
  readonly amountMinor: number;
  readonly isCredit: boolean;
  readonly eventType: EventType;
  readonly reason: string | null;
  readonly referenceObjectId: string | null;
  readonly metadata: Metadata | null;
  readonly idempotencyKey: string | null;
  readonly effectiveAt?: Date | null;
  /** Of a credit that joins no base. */
  readonly terms?: LotTerms;
  /** From when the least days of paid credit count, where it is written later than it was due; no part of its fingerprint. */
  readonly termsSince?: Date;
  /**
   * The keys of earlier entries that it undoes, or does again: what they took from lots goes back there. They follow from its own key,
   * so they are no part of its fingerprint.
   */
  readonly restores?: readonly string[];
  /** How much of what those took went back already, by entries that are not among them. */
  readonly restoredMinor?: number;
  /** Of what takes back: the keys of the entries that gave it. Lots that come of those are taken from first; no part of its fingerprint either. */
  readonly origins?: readonly string[];
}

export const BALANCE_WORDS = ['low', 'recovered', 'depleted'] as const;

/** What can be said of a balance. */
export type BalanceWord = (typeof BALANCE_WORDS)[number];

/** SQL for the kinds of alerts that say something of the balance. */
export const OF_BALANCE = BALANCE_WORDS.map((word) => `'${word}'`).join(', ');

/** Holds of one wallet that ended unused at one time. */
export interface ExpiredHolds {
  readonly available: number;
  readonly holds: readonly {
    readonly holdId: string;
    readonly amount: number;
    readonly captured: number;
    readonly expired: number;
    readonly referenceObjectId: string | null;
  }[];
}

/** What is held for an open dispute, after that became more or less. */
interface DisputeHoldNews {
  readonly available: number;
  readonly holdId: string;
  readonly paymentId: string;
  readonly disputeId: string;
  /** What losing the dispute now would take. */
  readonly wanted: number;
  readonly held: number;
}

/** Lots of one wallet that will end in so many days unless they are spent. */
interface ExpiringCredit {
  readonly noticeDays: number;
  readonly lots: readonly {
    readonly lotId: string;
    readonly kind: LotTerms['kind'];
    readonly remaining: number;
    readonly expiresAt: string;
  }[];
}

/** What was taken out of lots at one time, because they ended or were voided. */
export interface LapsedCredit {
  readonly lots: readonly { readonly lotId: string; readonly amount: number }[];
}

/** A scheduled entry that was due and was not posted. */
interface SkippedEntry {
  readonly scheduledEntryId: string;
  readonly amount: number;
  readonly isCredit: boolean;
  readonly postAt: string;
  /** Why the ledger refused it. */
  readonly code: string;
}

/** Periods of a grant schedule, one after another, for which nothing was granted. */
export interface SkippedGrants {
  readonly scheduleId: string;
  readonly amount: number;
  readonly fromPeriod: number;
  readonly toPeriod: number;
  readonly firstDueAt: string;
  readonly lastDueAt: string;
  /**
   * `too_old`: more were missed than are made up, or it waited for too long to be paid; `expired`: the credit would have ended by now;
   * `superseded`, `called_off`, `no_top_up_rule`: nobody was charged; else why the ledger refused it.
   */
  readonly reason: string;
}

/** How the status of a wallet was changed. Its reason is left out, since an alert is never changed, and a reason may have to be. */
type StatusNews = Readonly<Record<'status' | 'previousStatus', WalletStatus> & { pauseExpiry: boolean; actor: string }>;

/** News of a wallet beside its entries, numbered by wallet. */
export interface WalletAlert extends WalletKey {
  readonly alertSeq: number;
  readonly kind:
    | BalanceWord
    | 'hold_expired'
    | 'hold_placed'
    | 'hold_lifted'
    | 'credit_expiring'
    | 'credit_expired'
    | 'credit_voided'
    | 'scheduled_entry_skipped'
    | 'grant_skipped'
    | 'status_changed';
  readonly reminder: boolean;
  readonly balance: number;
  readonly threshold: number | null;
  readonly version: number;
  readonly createdAt: Date;
  /** Of what is not of the balance alone, each kind its own. */
  readonly details:
    | ExpiredHolds
    | DisputeHoldNews
    | ExpiringCredit
    | LapsedCredit
    | SkippedEntry
    | SkippedGrants
    | StatusNews
    | null;
}

/** An entry's public id. It is made of the entry's key, so finding an entry by its id needs no index of its own. */
export function entryId(entry: WalletKey & { readonly seq: number }): string {
  return `ent_${entry.customerId}_${entry.currency}_${entry.seq}`;
}

/** The key within a customer's wallets that an {@link entryId} stands for, or null if it is not an entry of that customer. */
export function parseEntryId(id: string, customerId: string): { currency: string; seq: number } | null {
  const place = placeInWallet(id, `ent_${customerId}_`);
  return place === null ? null : { currency: place.currency, seq: place.number };
}

/** What stands behind a prefix in the id of something that is numbered within its wallet; null if it is no such id. */
export function placeInWallet(id: string, prefix: string): { currency: string; number: number } | null {
  if (!id.startsWith(prefix)) return null;
  const match = /^([A-Z]{3})_([1-9]\d{0,15})$/.exec(id.slice(prefix.length));
  const number = Number(match?.[2]);
  return match?.[1] !== undefined && Number.isSafeInteger(number) ? { currency: match[1], number } : null;
}

/** Where an idempotency key is one key: within a customer of a merchant. */
export function idempotencyText({
  merchantId,
  customerId,
  idempotencyKey,
}: CustomerKey & { readonly idempotencyKey: string | null }): string {
  return `${merchantId}\0${customerId}\0${idempotencyKey}`;
}
