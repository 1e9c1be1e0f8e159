import { invariant } from '../../errors.ts';
import { type Entry, type LotTerms, MAY_OVERDRAW, type Wallet, type WalletKey, walletKeyText } from '../entry.ts';
import { SERVICE } from '../status/status.ts';
import { drain, inDrainOrder, isBeforeBase, type LotPart } from './drain.ts';
import { earlierOf, endOf, restOfLife } from './ends.ts';
import {
  isOver,
  type Lot,
  type LotChange,
  type LotChanges,
  type LotKey,
  type LotMovement,
  type LotsOfEntry,
  lotKeyText,
  type NewLot,
  remainingIn,
} from './lot.ts';
import { LotMovements } from './movements.ts';
import { type LotRule, nextDue } from './notices.ts';
import { afterPause, type Pauses, timeOfLot } from './pauses.ts';
import { followTraces, type Traces, withoutLast } from './traces.ts';
import { WAYS, wayOf } from './ways.ts';

/** What was read of lots. */
interface ReadLots {
  readonly lots: readonly Lot[];
  readonly unread?: ReadonlyMap<string, number>;
  /** Of entries that are undone. */
  readonly movements: readonly LotMovement[];
  readonly lotRule: LotRule;
}

/** The lots as the commands of a batch find and leave them. Pure. */
export class WorkingLots {
  readonly #rule: LotRule;
  readonly #pauses: Pauses;
  readonly #lots = new Map<string, Lot>();
  /** Of each wallet, in the order in which they are spent. */
  readonly #open = new Map<string, Lot[]>();
  readonly #unread: ReadonlyMap<string, number>;
  readonly #changed = new Map<string, LotKey>();
  readonly #opened = new Set<string>();
  readonly #movements: LotMovements;
  readonly #changes: LotChange[] = [];
  /** Nothing but to take out of lots. One that opens or closes shows in the numbers of its wallet. */
  #isDrawn = true;

  /** @param pauses of whoever changes them */
  constructor({ lots, unread = new Map(), movements, lotRule }: ReadLots, pauses: Pauses) {
    this.#rule = lotRule;
    this.#unread = unread;
    this.#pauses = pauses;
    this.#movements = new LotMovements(movements);
    for (const lot of lots) this.#see(lot);
    for (const open of this.#open.values()) open.sort(inDrainOrder);
  }

  /** A wallet's open lots in the order in which they are spent, without those that are not read. */
  open(wallet: Wallet): readonly Lot[] {
    const text = walletKeyText(wallet);
    const open = this.#open.get(text) ?? [];
    invariant(open.length + (this.#unread.get(text) ?? 0) === wallet.openLots, 'a wallet came without its open lots');
    return open;
  }

  lot(key: LotKey): Lot | null {
    return this.#lots.get(lotKeyText(key)) ?? null;
  }

  /** The time by which the lot comes to its end. */
  timeOf(lot: WalletKey & Pick<Lot, 'createdAt'>, now: Date): Date {
    return timeOfLot(this.#pauses, lot, now);
  }

  /**
   * Opens and drains lots as an entry wants it.
   * @param wallet as it is before the entry, but for its holds
   * @returns it with its lots as they are after the entry
   */
  follow(
    entry: Entry,
    wallet: Wallet,
    { terms, fromLot, undone = [], restoredMinor, origins = [] }: LotsOfEntry,
  ): Wallet {
    if (entry.isCredit) {
      const back =
        undone.length === 0
          ? { wallet, left: entry.amountMinor }
          : this.#giveBack(entry, wallet, { undone, restoredMinor });
      return terms === undefined ? back.wallet : this.#give(entry, back.wallet, { terms, most: back.left });
    }
    if (wallet.openLots === 0) return wallet;
    const parts =
      fromLot === undefined
        ? this.#partsOf(entry, wallet, { undone, origins: new Set(origins) })
        : this.#partOf(entry, wallet, fromLot);
    return this.#take(entry, wallet, parts);
  }

  /** Changes an open lot without moving money. */
  put(lot: Lot, change: LotChange | null = null): void {
    this.#isDrawn = false;
    const open = this.#openOf(lot);
    open[open.findIndex(({ lotNo }) => lotNo === lot.lotNo)] = lot;
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
      movements: this.#movements.made,
      changes: this.#changes,
      opened: this.#opened,
      isDrawn: this.#isDrawn,
    };
  }

  /** What repays a debt is no part of the lot. */
  #give(entry: Entry, wallet: Wallet, { terms, most }: { terms: LotTerms; most: number }): Wallet {
    const amountMinor = Math.min(most, entry.afterBalance - wallet.inLots);
    if (amountMinor <= 0) return wallet;
    const isByPayment = entry.eventType === 'payment' || entry.eventType === 'bonus';
    const origin = { originSeq: entry.seq, originKey: isByPayment ? entry.idempotencyKey : null };
    return this.#openLot(entry, wallet, { ...terms, ...origin, amountMinor, expiresAt: endOf(terms, entry.createdAt) });
  }

  /**
   * What was taken last goes back first: into its lot, or, where that is closed, into one that follows it. A debt is repaid before.
   * @returns also how much of the entry gives back nothing that was taken
   */
  #giveBack(entry: Entry, wallet: Wallet, { undone = [], restoredMinor = 0 }: LotsOfEntry) {
    let room = Math.max(entry.afterBalance - wallet.inLots, 0);
    let left = entry.amountMinor;
    let next = wallet;
    const { taken } = this.#tracesOf(undone);
    for (const { lotNo, amount, entry: took } of withoutLast(taken, restoredMinor).toReversed()) {
      const back = Math.min(amount, left);
      left -= back;
      if (lotNo === null) continue;
      const amountMinor = Math.min(back, room);
      room -= amountMinor;
      if (amountMinor > 0) next = this.#refill(entry, next, { lotNo, amountMinor, took });
    }
    return { wallet: next, left };
  }

  #refill(
    entry: Entry,
    wallet: Wallet,
    { lotNo, amountMinor, took }: { lotNo: number; amountMinor: number; took: Entry },
  ) {
    const { merchantId, customerId, currency } = wallet;
    const lot = this.lot({ merchantId, customerId, currency, lotNo });
    invariant(lot !== null, 'a lot is not there that was taken from');
    // What is over, and open only as far as a hold needs it, would be lost again at once.
    // An earlier one that follows the same lot is not filled up: it has an end of its own, and no lot has more than it was given with.
    if (lot.state !== 'open' || isOver(lot, this.timeOf(lot, entry.createdAt))) {
      const { kind, name, priority, originSeq, originKey } = lot;
      const terms = { kind, name, priority, originSeq, originKey, amountMinor };
      return this.#openLot(entry, wallet, { ...terms, expiresAt: restOfLife(lot, took.createdAt, entry.createdAt) });
    }
    const way = wayOf(took.eventType);
    this.put({ ...lot, remaining: lot.remaining + amountMinor, [way]: lot[way] - amountMinor });
    this.#movements.add(entry, lot, amountMinor);
    return { ...wallet, inLots: wallet.inLots + amountMinor };
  }

  #openLot(entry: Entry, wallet: Wallet, given: NewLot): Wallet {
    const { merchantId, customerId, currency, createdAt } = entry;
    const { kind, name, priority, amountMinor, expiresAt, originSeq, originKey } = given;
    const lot: Lot = {
      ...{ merchantId, customerId, currency, lotNo: wallet.lotSeq + 1, kind, name, state: 'open', priority },
      ...{ amountMinor, remaining: amountMinor, spent: 0, expired: 0, voided: 0, takenBack: 0 },
      ...{ expiresAt, notices: 0, originSeq, originKey, changes: 0, createdAt, closedAt: null },
    };
    const open = this.#openOf(lot);
    open.push(lot);
    open.sort(inDrainOrder);
    this.#opened.add(lotKeyText(lot));
    this.#note(lot);
    this.#movements.add(entry, lot, amountMinor);
    return {
      ...wallet,
      inLots: wallet.inLots + amountMinor,
      openLots: wallet.openLots + 1,
      lotSeq: lot.lotNo,
      dueAt: this.#pauses.has(walletKeyText(lot))
        ? wallet.dueAt
        : earlierOf(wallet.dueAt, nextDue(lot, this.#rule, createdAt)),
    };
  }

  #partOf({ amountMinor }: Entry, wallet: Wallet, fromLot: number): readonly LotPart[] {
    const lot = this.open(wallet).find(({ lotNo }) => lotNo === fromLot);
    invariant(lot !== undefined && lot.remaining >= amountMinor, 'a lot has not what is taken out of it');
    return [{ lot, amount: amountMinor }];
  }

  /**
   * What was given back leaves first from where it was put, what takes back takes first of its own lots, and a capture takes first what is
   * over and was kept for it; the rest as always.
   */
  #partsOf(
    { amountMinor, eventType, createdAt }: Entry,
    wallet: Wallet,
    { undone, origins }: { readonly undone: readonly Entry[]; readonly origins: ReadonlySet<string> },
  ): readonly LotPart[] {
    const lots = this.open(wallet);
    const again = new Map<number, number>();
    let left = amountMinor;
    const take = (lot: Lot, most: number) => {
      const before = again.get(lot.lotNo) ?? 0;
      const taken = Math.min(most, left, lot.remaining - before);
      again.set(lot.lotNo, before + taken);
      left -= taken;
    };
    for (const { lotNo, amount } of undone.length === 0 ? [] : this.#tracesOf(undone).given.toReversed()) {
      const lot = lots.find((one) => one.lotNo === lotNo);
      if (lot !== undefined) take(lot, amount);
    }
    const isOwn = (one: Lot) => one.originKey !== null && origins.has(one.originKey);
    const ended = (one: Lot) => isOver(one, this.timeOf(one, createdAt));
    for (const lot of lots.filter(eventType === 'hold_captured' ? ended : isOwn)) take(lot, left);
    const base = wallet.balance - wallet.inLots;
    const draining = { base, amount: left, isBaseFirst: MAY_OVERDRAW.has(eventType) };
    const isInReach = !this.#unread.get(walletKeyText(wallet)) || amountMinor <= remainingIn(lots);
    invariant(isInReach, 'a debit reaches lots that were not read');
    if (again.size === 0) return drain(lots, draining);
    const rest = lots.map((lot) => ({ ...lot, remaining: lot.remaining - (again.get(lot.lotNo) ?? 0) }));
    for (const { lot, amount } of drain(rest, draining)) again.set(lot.lotNo, (again.get(lot.lotNo) ?? 0) + amount);
    return lots.flatMap((lot) => {
      const amount = again.get(lot.lotNo) ?? 0;
      return amount === 0 ? [] : [{ lot, amount }];
    });
  }

  #tracesOf(undone: readonly Entry[]): Traces {
    return followTraces(undone, (entry) => {
      const parts = this.#movements.of(entry).flatMap((movement) => {
        const lot = this.lot(movement);
        const amount = Math.abs(movement.amountMinor);
        return lot === null ? [] : [{ lot, lotNo: movement.lotNo, amount, isBeforeBase: isBeforeBase(lot) }];
      });
      return parts.sort((one, other) => inDrainOrder(one.lot, other.lot));
    });
  }

  #take(entry: Entry, wallet: Wallet, parts: readonly LotPart[]): Wallet {
    const way = wayOf(entry.eventType);
    const open = this.#openOf(wallet);
    let { inLots, openLots } = wallet;
    for (const { lot, amount } of parts) {
      const remaining = lot.remaining - amount;
      const taken = { ...lot, remaining, [way]: lot[way] + amount };
      const next: Lot =
        remaining > 0 ? taken : { ...this.#resumed(taken, entry), state: WAYS[way], closedAt: entry.createdAt };
      open.splice(open.indexOf(lot), 1, ...(remaining > 0 ? [next] : []));
      if (remaining === 0) openLots -= 1;
      this.#note(next);
      this.#movements.add(entry, lot, -amount);
      inLots -= amount;
    }
    const dueAt = openLots === 0 && wallet.openHolds === 0 ? null : wallet.dueAt;
    return { ...wallet, inLots, openLots, dueAt };
  }

  /** A lot that closes in a pause has had its share of it: what is given back of it later has as much time as was left. */
  #resumed(lot: Lot, { createdAt: now }: Entry): Lot {
    const moved = afterPause(lot, { now, lotTime: this.timeOf(lot, now), actor: SERVICE, rule: this.#rule });
    if (moved === null) return lot;
    this.#changes.push(moved.change);
    return moved.lot;
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
