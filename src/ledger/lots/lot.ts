import { createHash } from 'node:crypto';
import { type Entry, type LotTerms, placeInWallet, type WalletKey, walletKeyText } from '../entry.ts';

/**
 * A lot is credit with terms of its own: a kind, a priority, an end. What has no terms is the base, and no lot: a wallet without
 * lots pays nothing for them.
 */
export interface Lot extends WalletKey {
  /** Its place among the lots of its wallet: 1, 2, 3 … */
  readonly lotNo: number;
  readonly kind: LotTerms['kind'];
  readonly name: string | null;
  /** How the last of it went. */
  readonly state: 'open' | 'drained' | 'expired' | 'voided' | 'taken_back';
  /** 0 to 100; lower ones are spent first. */
  readonly priority: number;
  readonly amountMinor: number;
  /** What is left: the amount without what was spent, expired, voided or taken back. */
  readonly remaining: number;
  readonly spent: number;
  readonly expired: number;
  readonly voided: number;
  readonly takenBack: number;
  /** The end, exclusive; null for never. */
  readonly expiresAt: Date | null;
  /** It was last told of so many days before its end; 0 if it was not. */
  readonly notices: number;
  /** The entry that gave the credit. */
  readonly originSeq: number;
  /** Its key, if a payment did. */
  readonly originKey: string | null;
  /** How often its terms were changed. */
  readonly changes: number;
  /** How many of those were ends of pauses; counted only where it matters, of a lot that was changed often. */
  readonly changedByPauses?: number;
  readonly createdAt: Date;
  readonly closedAt: Date | null;
}

/** What of a lot is not the same for all new ones. */
export type NewLot = Pick<Lot, 'kind' | 'name' | 'priority' | 'amountMinor' | 'expiresAt' | 'originSeq' | 'originKey'>;

/** A lot of which nothing is left. */
interface ClosedLot extends Lot {
  readonly closedAt: Date;
}

/** What an entry put into a lot (above 0) or took out of it. */
export interface LotMovement extends WalletKey {
  /** The entry's. */
  readonly seq: number;
  readonly lotNo: number;
  readonly amountMinor: number;
}

/** How the terms of a lot were changed, and by whom. */
export interface LotChange extends WalletKey {
  readonly lotNo: number;
  /** 1, 2, 3 … within the lot. */
  readonly changeNo: number;
  readonly actor: string;
  readonly reason: string | null;
  readonly oldExpiresAt: Date | null;
  readonly newExpiresAt: Date | null;
  readonly oldPriority: number;
  readonly newPriority: number;
  readonly createdAt: Date;
}

/** What a batch changes about lots. */
export interface LotChanges {
  /** New and changed ones. */
  readonly open: readonly Lot[];
  readonly closed: readonly ClosedLot[];
  readonly movements: readonly LotMovement[];
  readonly changes: readonly LotChange[];
  /** Those that were opened just now, by {@link lotKeyText}: all others are in the database. */
  readonly opened: ReadonlySet<string>;
  /** Whether open ones have less in them than before, and nothing else of them is changed. */
  readonly isDrawn: boolean;
}

/** What an entry does to lots besides what follows from its type. */
export interface LotsOfEntry {
  readonly terms?: LotTerms | undefined;
  /** The only lot that it takes from. */
  readonly fromLot?: number | undefined;
  /** The entries that it undoes, or does again. */
  readonly undone?: readonly Entry[] | undefined;
  /** How much of what those took went back by other entries. */
  readonly restoredMinor?: number | undefined;
  /** The keys of the entries whose lots it takes back first. */
  readonly origins?: readonly string[] | undefined;
}

/** A wallet is given so many open lots by the API at most, since all of them are read at each debit. */
export const MAX_OPEN_LOTS = 100;

/** A lot is changed so often at most: each change is kept with its reason, and all of them are shown and erased at once. */
export const MOST_CHANGES = 100;

/** The priority of the base, and of a lot that is given none. */
export const BASE_PRIORITY = 50;

/** Names a lot by its wallet and number. */
export interface LotKey extends WalletKey {
  readonly lotNo: number;
}

/** Takes what is left of a lot away, or a part of it. */
export interface VoidLot extends LotKey {
  readonly op: 'void_lot';
  /** Null: what is left. */
  readonly amountMinor: number | null;
  readonly reason: string;
  readonly idempotencyKey: string;
}

/** Changes the terms of a lot; what is left out stays. */
export interface ChangeLot extends LotKey {
  readonly op: 'change_lot';
  /** `at` null: it never ends. */
  readonly end: { readonly at: Date | null } | null;
  readonly priority: number | null;
  readonly reason: string;
  readonly actor: string;
}

export type LotCommand = VoidLot | ChangeLot;

/** A lot's key in one text, for maps over the wallets of several merchants. */
export function lotKeyText(lot: LotKey): string {
  return `${walletKeyText(lot)}\0${lot.lotNo}`;
}

/** A lot's public id, made of its key like an entry's. */
export function lotId({ customerId, currency, lotNo }: LotKey): string {
  return `lot_${customerId}_${currency}_${lotNo}`;
}

/** What a {@link lotId} stands for, or null if it is no lot of that customer. */
export function parseLotId(id: string, customerId: string): { currency: string; lotNo: number } | null {
  const place = placeInWallet(id, `lot_${customerId}_`);
  return place === null ? null : { currency: place.currency, lotNo: place.number };
}

/** SHA-256, in hexadecimal, of all that a request to void asks for. */
export function voidFingerprint({ op, currency, lotNo, amountMinor, reason }: VoidLot): string {
  return createHash('sha256')
    .update(JSON.stringify([op, currency, lotNo, amountMinor, reason]))
    .digest('hex');
}

/** Whether it has ended by `now`. Such a lot is open as long as a hold needs it. */
export function isOver({ expiresAt }: Pick<Lot, 'expiresAt'>, now: Date): boolean {
  return expiresAt !== null && expiresAt <= now;
}

/** What is in them together. */
export function remainingIn(lots: readonly Lot[]): number {
  return lots.reduce((sum, { remaining }) => sum + remaining, 0);
}
