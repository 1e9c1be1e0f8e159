import { invariant } from '../../errors.ts';
import {
  type Entry,
  type EventType,
  type LotTerms,
  MAY_OVERDRAW,
  type Wallet,
  type WalletKey,
  walletKeyText,
} from '../entry.ts';
import { drain, inDrainOrder, type LotPart } from './drain.ts';
import { type ClosedLot, type Lot, type LotChange, type LotKey, type LotMovement, lotKeyText } from './lot.ts';
import { daysAfter, type LotRule, nextDue } from './notices.ts';

/** What a batch changes about lots. */
export interface LotChanges {
  /** New and changed ones. */
  readonly open: readonly Lot[];
  readonly closed: readonly ClosedLot[];
  readonly movements: readonly LotMovement[];
  readonly changes: readonly LotChange[];
}

/** What an entry does to lots besides what follows from its type. */
export interface LotsOfEntry {
  readonly terms?: LotTerms | undefined;
  /** The only lot that it takes from. */
  readonly fromLot?: number | undefined;
}

/** Of what a lot lost, where each type of debit is counted, and how the lot ends if it was the last of it. */
const WAYS = {
  spent: 'drained',
  expired: 'expired',
  voided: 'voided',
  takenBack: 'taken_back',
} as const;

function wayOf(eventType: EventType): keyof typeof WAYS {
  if (eventType === 'credit_expired') return 'expired';
  if (eventType === 'credit_voided') return 'voided';
  return MAY_OVERDRAW.has(eventType) ? 'takenBack' : 'spent';
}

/** The lots as the commands of a batch find and leave them. Pure. */
export class WorkingLots {
  readonly #rule: LotRule;
  readonly #lots = new Map<string, Lot>();
  /** Of each wallet, in the order in which they are spent. */
  readonly #open = new Map<string, Lot[]>();
  readonly #changed = new Map<string, LotKey>();
  readonly #movements: LotMovement[] = [];
  readonly #changes: LotChange[] = [];

  constructor(lots: readonly Lot[], rule: LotRule) {
    this.#rule = rule;
    for (const lot of lots) this.#see(lot);
    for (const open of this.#open.values()) open.sort(inDrainOrder);
  }

  /** A wallet's open lots in the order in which they are spent. */
  open(wallet: Wallet): readonly Lot[] {
    const open = this.#open.get(walletKeyText(wallet)) ?? [];
    invariant(open.length === wallet.openLots, 'a wallet came without its open lots');
    return open;
  }

  lot(key: LotKey): Lot | null {
    return this.#lots.get(lotKeyText(key)) ?? null;
  }

  /**
   * Opens and drains lots as an entry wants it.
   * @param wallet as it is before the entry, but for its holds
   * @returns it with its lots as they are after the entry
   */
  follow(entry: Entry, wallet: Wallet, { terms, fromLot }: LotsOfEntry): Wallet {
    if (terms !== undefined) return this.#give(entry, wallet, terms);
    if (entry.isCredit || wallet.openLots === 0) return wallet;
    return this.#take(entry, wallet, this.#partsOf(entry, wallet, fromLot));
  }

  /** Changes an open lot without moving money. */
  put(lot: Lot, change: LotChange | null = null): void {
    const open = this.#openOf(lot);
    open.splice(
      open.findIndex(({ lotNo }) => lotNo === lot.lotNo),
      1,
      lot,
    );
    open.sort(inDrainOrder);
    this.#note(lot);
    if (change !== null) this.#changes.push(change);
  }

  /** Null if nothing about lots changes. */
  changes(): LotChanges | null {
    if (this.#changed.size === 0) return null;
    const lots = [...this.#changed.values()].flatMap((key) => this.lot(key) ?? []);
    return {
      open: lots.filter(({ state }) => state === 'open'),
      closed: lots.flatMap((lot) => (lot.closedAt === null ? [] : [{ ...lot, closedAt: lot.closedAt }])),
      movements: this.#movements,
      changes: this.#changes,
    };
  }

  /** What repays a debt is no part of the lot. */
  #give(entry: Entry, wallet: Wallet, terms: LotTerms): Wallet {
    const amountMinor = Math.min(entry.amountMinor, entry.afterBalance);
    if (amountMinor <= 0) return wallet;
    const { merchantId, customerId, currency, seq, createdAt } = entry;
    const { kind, name, priority } = terms;
    const lot: Lot = {
      ...{ merchantId, customerId, currency, lotNo: wallet.lotSeq + 1, kind, name, state: 'open', priority },
      ...{ amountMinor, remaining: amountMinor, spent: 0, expired: 0, voided: 0, takenBack: 0 },
      ...{ expiresAt: endOf(terms, createdAt), notices: 0, originSeq: seq, originKey: null },
      ...{ changes: 0, createdAt, closedAt: null },
    };
    const open = this.#openOf(lot);
    open.push(lot);
    open.sort(inDrainOrder);
    this.#note(lot);
    this.#move(entry, lot, amountMinor);
    return {
      ...wallet,
      inLots: wallet.inLots + amountMinor,
      openLots: wallet.openLots + 1,
      lotSeq: lot.lotNo,
      dueAt: earlierOf(wallet.dueAt, nextDue(lot, this.#rule, createdAt)),
    };
  }

  #partsOf({ amountMinor, eventType }: Entry, wallet: Wallet, fromLot: number | undefined): readonly LotPart[] {
    const lots = this.open(wallet);
    if (fromLot !== undefined) {
      const lot = lots.find(({ lotNo }) => lotNo === fromLot);
      invariant(lot !== undefined && lot.remaining >= amountMinor, 'a lot has not what is taken out of it');
      return [{ lot, amount: amountMinor }];
    }
    const base = wallet.balance - wallet.inLots;
    return drain(lots, { base, amount: amountMinor, isBaseFirst: MAY_OVERDRAW.has(eventType) });
  }

  #take(entry: Entry, wallet: Wallet, parts: readonly LotPart[]): Wallet {
    const way = wayOf(entry.eventType);
    const open = this.#openOf(wallet);
    let { inLots, openLots } = wallet;
    for (const { lot, amount } of parts) {
      const remaining = lot.remaining - amount;
      const taken = { ...lot, remaining, [way]: lot[way] + amount };
      const next: Lot = remaining > 0 ? taken : { ...taken, state: WAYS[way], closedAt: entry.createdAt };
      const place = open.indexOf(lot);
      if (remaining > 0) open[place] = next;
      else {
        open.splice(place, 1);
        openLots -= 1;
      }
      this.#note(next);
      this.#move(entry, lot, -amount);
      inLots -= amount;
    }
    const dueAt = openLots === 0 && wallet.openHolds === 0 ? null : wallet.dueAt;
    return { ...wallet, inLots, openLots, dueAt };
  }

  #move({ seq }: Entry, { merchantId, customerId, currency, lotNo }: Lot, amountMinor: number): void {
    this.#movements.push({ merchantId, customerId, currency, seq, lotNo, amountMinor });
  }

  #see(lot: Lot): void {
    this.#lots.set(lotKeyText(lot), lot);
    if (lot.state === 'open') this.#openOf(lot).push(lot);
  }

  #note(lot: Lot): void {
    const text = lotKeyText(lot);
    this.#lots.set(text, lot);
    this.#changed.set(text, lot);
  }

  #openOf(wallet: WalletKey): Lot[] {
    const text = walletKeyText(wallet);
    const open = this.#open.get(text) ?? [];
    this.#open.set(text, open);
    return open;
  }
}

/** When credit with these terms ends if it is given now. */
export function endOf({ end }: LotTerms, now: Date): Date | null {
  if (end === null) return null;
  return 'at' in end ? end.at : daysAfter(now, end.days);
}

/** The earlier of two times, of which null is never. */
export function earlierOf(one: Date | null, other: Date | null): Date | null {
  if (one === null || other === null) return one ?? other;
  return one < other ? one : other;
}
