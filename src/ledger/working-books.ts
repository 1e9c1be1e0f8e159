import { invariant } from '../errors.ts';
import { type BookChanges, holdChanges, type Moved, type PostInput } from './book-changes.ts';
import type { Checkout } from './checkouts/checkout.ts';
import {
  availableOf,
  CONTRA_ACCOUNTS,
  type Entry,
  type ExpiredHolds,
  idempotencyText,
  type Posting,
  type Wallet,
  type WalletAlert,
  type WalletKey,
  walletKeyText,
} from './entry.ts';
import { type Hold, type HoldCapture, type HoldKey, holdId, remainingOf } from './holds/hold.ts';
import { HoldsOfWallet } from './holds/holds-of-wallet.ts';
import { earlierOf } from './lots/ends.ts';
import { expireLots, noticeLots } from './lots/lapse.ts';
import type { LotsOfEntry } from './lots/lot.ts';
import { type LotRule, nextDue } from './lots/notices.ts';
import type { Pauses } from './lots/pauses.ts';
import { WorkingLots } from './lots/working-lots.ts';
import { afterEntry, makeEntry } from './next-entry.ts';
import type { InFlight, StatusChange } from './status/status.ts';

/** A debit or credit that is decided: `fingerprint` is that of the request made under its key. */
type Decided = Posting & Pick<Entry, 'fingerprint'> & Pick<LotsOfEntry, 'fromLot'>;

/** The moment of a command on a wallet. Clocks of processes differ; within a wallet, nothing is dated before an earlier entry. */
export function momentIn({ updatedAt }: Pick<Wallet, 'updatedAt'>, now: Date): Date {
  return now.getTime() < updatedAt.getTime() ? updatedAt : now;
}

/** Whether something in the wallet ends by `now`. */
export function isDue(wallet: Pick<Wallet, 'dueAt' | 'updatedAt'>, now: Date): boolean {
  return wallet.dueAt !== null && wallet.dueAt.getTime() <= momentIn(wallet, now).getTime();
}

/** An alert tells of so many holds; of more, another one does. */
const HOLDS_AN_ALERT = 100;

/** The books as the commands of a batch find and leave them, one after another. Pure: it begins with what was read. */
export class WorkingBooks {
  readonly #before: PostInput;
  /** Those that changed, as they are now. */
  readonly #wallets = new Map<string, Wallet>();
  readonly #known: Map<string, Entry>;
  readonly #holds = new Map<string, HoldsOfWallet>();
  readonly #entries: Entry[] = [];
  readonly #alerts: WalletAlert[] = [];
  readonly #captures: HoldCapture[] = [];
  readonly #statuses: Map<string, StatusChange>;
  readonly #statusChanges: StatusChange[] = [];
  readonly #pauses: Pauses = new Map();
  readonly #checkouts: Map<string, Checkout>;
  readonly #opened: Checkout[] = [];
  readonly lots: WorkingLots;

  constructor(input: PostInput) {
    this.#before = input;
    this.#known = new Map(input.known);
    this.#statuses = new Map(input.statuses);
    this.#checkouts = new Map(input.checkouts);
    for (const [text, { newStatus, pauseExpiry, createdAt }] of this.#statuses) {
      if (newStatus === 'frozen' && pauseExpiry) this.#pauses.set(text, createdAt);
    }
    this.lots = new WorkingLots(input, this.#pauses);
    for (const hold of input.holds) this.#keep(hold, false);
  }

  get currencies(): ReadonlySet<string> {
    return this.#before.currencies;
  }

  get lotRule(): LotRule {
    return this.#before.lotRule;
  }

  /** The wallet as a command finds it: what is due by then has ended. */
  wallet(key: WalletKey): Wallet | null {
    const text = walletKeyText(key);
    const wallet = this.#wallets.get(text) ?? this.#before.wallets.get(text) ?? null;
    return wallet !== null && isDue(wallet, this.#before.now) ? this.#lapse(wallet) : wallet;
  }

  momentIn(wallet: Wallet): Date {
    return momentIn(wallet, this.#before.now);
  }

  /** The entry that was written under the key. */
  entryUnder(posting: Parameters<typeof idempotencyText>[0]): Entry | null {
    return posting.idempotencyKey === null ? null : (this.#known.get(idempotencyText(posting)) ?? null);
  }

  /** The checkout that was opened under the key. */
  checkoutUnder(command: Parameters<typeof idempotencyText>[0]): Checkout | null {
    return this.#checkouts.get(idempotencyText(command)) ?? null;
  }

  addCheckout(checkout: Checkout): void {
    this.#checkouts.set(idempotencyText(checkout), checkout);
    this.#opened.push(checkout);
  }

  hold(key: HoldKey): Hold | null {
    return this.#holds.get(walletKeyText(key))?.find(key.holdNo) ?? null;
  }

  holdUnder(key: WalletKey & Pick<Hold, 'idempotencyKey'>): Hold | null {
    return this.#holds.get(walletKeyText(key))?.find(key.idempotencyKey) ?? null;
  }

  /** Writes an entry, which drains or opens lots. `changes`: what becomes of the wallet's holds by it. */
  write(decided: Decided, wallet: Wallet, changes: Partial<Wallet> = {}): { entry: Entry; wallet: Wallet } {
    const { terms, termsSince: _, fromLot, restores, restoredMinor, origins, ...posting } = decided;
    const entry = makeEntry(posting, wallet, this.momentIn(wallet));
    const undone = restores === undefined ? [] : this.#undoneBy(posting, restores);
    const moved = this.lots.follow(
      entry,
      { ...wallet, ...changes },
      { terms, fromLot, undone, restoredMinor, origins },
    );
    const next = afterEntry(moved, entry, this.#before.rule);
    this.#set(next.wallet);
    if (entry.idempotencyKey !== null) this.#known.set(idempotencyText(entry), entry);
    this.#entries.push(entry);
    this.#alerts.push(...next.alerts);
    return { entry, wallet: next.wallet };
  }

  /** Raises an alert of a wallet that is about to change. @returns the wallet with the alert's number */
  alert(wallet: Wallet, news: Pick<WalletAlert, 'kind' | 'details'>): Wallet {
    const { merchantId, customerId, currency, balance, version } = wallet;
    const alertSeq = wallet.alertSeq + 1;
    const rest = { reminder: false, threshold: null, createdAt: this.momentIn(wallet) };
    this.#alerts.push({ merchantId, customerId, currency, alertSeq, balance, version, ...rest, ...news });
    return { ...wallet, alertSeq };
  }

  /** One key may stand for entries of several accounts; each undoes those of its own. */
  #undoneBy({ merchantId, customerId, currency, eventType }: Posting, keys: readonly string[]): readonly Entry[] {
    const found = keys.flatMap((idempotencyKey) => this.entryUnder({ merchantId, customerId, idempotencyKey }) ?? []);
    const account = CONTRA_ACCOUNTS[eventType];
    return found.filter((entry) => entry.currency === currency && CONTRA_ACCOUNTS[entry.eventType] === account);
  }

  /** Changes what a wallet says of its holds, or of when something is due. */
  changeWallet(wallet: Wallet): void {
    this.#set(wallet);
  }

  /** Since when the wallet's credit does not come to its end; null where it does. */
  pausedSince(wallet: WalletKey): Date | null {
    return this.#pauses.get(walletKeyText(wallet)) ?? null;
  }

  /** What was under way before, and the checkouts that commands before have opened. */
  inFlightIn(wallet: WalletKey): InFlight {
    const text = walletKeyText(wallet);
    const { checkouts, topUps } = this.#before.inFlight?.get(text) ?? { checkouts: 0, topUps: 0 };
    const opened = this.#opened.filter((one) => one.state === 'open' && walletKeyText(one) === text);
    return { checkouts: checkouts + opened.length, topUps };
  }

  lastStatusChange(wallet: WalletKey): StatusChange | null {
    return this.#statuses.get(walletKeyText(wallet)) ?? null;
  }

  /** Changes what may happen in a wallet, and tells of it. */
  setStatus(wallet: Wallet, asked: Pick<StatusChange, 'newStatus' | 'pauseExpiry' | 'reason' | 'actor'>): Wallet {
    const { merchantId, customerId, currency, status: oldStatus } = wallet;
    const { newStatus: status, pauseExpiry, actor } = asked;
    const [text, before, now] = [walletKeyText(wallet), this.lastStatusChange(wallet), this.momentIn(wallet)];
    const createdAt = before !== null && now < before.createdAt ? before.createdAt : now;
    const changeNo = (before?.changeNo ?? 0) + 1;
    const change = { merchantId, customerId, currency, changeNo, oldStatus, ...asked, createdAt };
    this.#statuses.set(text, change);
    this.#statusChanges.push(change);
    if (pauseExpiry) this.#pauses.set(text, createdAt);
    else this.#pauses.delete(text);
    const details = { status, previousStatus: oldStatus, pauseExpiry, actor };
    const next = { ...this.alert(wallet, { kind: 'status_changed', details }), status };
    this.#set(next);
    return next;
  }

  /** The wallet once a command is done: a lot that was over and kept by a hold ends as far as the hold needs it no more. */
  settled(wallet: Wallet): Wallet {
    if (wallet.openLots === 0 || availableOf(wallet) === 0 || this.pausedSince(wallet) !== null) return wallet;
    const next = expireLots(this, wallet);
    if (next !== wallet) this.#set(next);
    return next;
  }

  /** Places or changes a hold. */
  put(hold: Hold): void {
    this.#keep(hold, true);
  }

  /** Notes what an entry captured. `hold` is as it is afterwards; one that had expired stays as it is stored. */
  capture(row: HoldCapture, hold: Hold): void {
    this.#captures.push(row);
    this.#keep(hold, row.fromHold > 0);
  }

  changes(): BookChanges {
    const moved: Moved[] = [];
    const changed: Hold[] = [];
    // In the order in which they were locked, which is that of their keys: so neighbours in an index are written one after another.
    for (const [text, was] of this.#before.wallets) {
      const wallet = this.#wallets.get(text);
      if (wallet !== undefined) moved.push({ text, wallet, was });
      for (const hold of this.#holds.get(text)?.changed() ?? []) changed.push(hold);
    }
    const lots = this.lots.changes();
    const holds = holdChanges({
      ...{ before: this.#before.wallets, moved, captures: this.#captures, lots },
      ...{ holds: changed, statuses: this.#statusChanges, now: this.#before.now },
    });
    const wallets = moved.map(({ wallet }) => wallet);
    const rest = { alerts: this.#alerts, statuses: this.#statusChanges, checkouts: this.#opened };
    return { wallets, entries: this.#entries, holds, lots, ...rest };
  }

  #keep(hold: Hold, isChanged: boolean): void {
    const text = walletKeyText(hold);
    let own = this.#holds.get(text);
    if (own === undefined) {
      own = new HoldsOfWallet();
      this.#holds.set(text, own);
    }
    own.set(hold, isChanged);
  }

  #set(wallet: Wallet): void {
    this.#wallets.set(walletKeyText(wallet), wallet);
  }

  /** Ends the wallet's holds and lots that are over, tells of those that soon will be, and finds anew when something is due next. */
  #lapse(wallet: Wallet): Wallet {
    const now = this.momentIn(wallet);
    const known = this.#holds.get(walletKeyText(wallet))?.all() ?? [];
    const open = known.filter(({ state }) => state === 'open');
    invariant(open.length === wallet.openHolds, 'a wallet in which something ends came without its open holds');
    const over = open.filter(({ expiresAt }) => expiresAt !== null && expiresAt <= now);
    for (const hold of over) {
      this.put({ ...hold, state: 'expired', released: remainingOf(hold), closedAt: now });
    }
    const held = wallet.held - over.reduce((sum, hold) => sum + remainingOf(hold), 0);
    const freed = { ...wallet, held, openHolds: wallet.openHolds - over.length };
    // What they kept ends before they are told of: their alert says what is available then.
    const isOfLots = freed.openLots > 0 && this.pausedSince(freed) === null;
    const ended = this.#tellOfExpired(isOfLots ? expireLots(this, freed) : freed, over);
    const after = isOfLots && ended.openLots > 0 ? noticeLots(this, ended) : ended;
    const ends = open.flatMap(({ expiresAt }) => (expiresAt !== null && expiresAt > now ? [expiresAt] : []));
    const dues = isOfLots ? this.lots.open(after).map((lot) => nextDue(lot, this.lotRule, now)) : [];
    const next = { ...after, dueAt: [...ends, ...dues].reduce(earlierOf, null) };
    this.#set(next);
    return next;
  }

  #tellOfExpired(wallet: Wallet, over: readonly Hold[]): Wallet {
    const available = availableOf(wallet);
    let next = wallet;
    for (let from = 0; from < over.length; from += HOLDS_AN_ALERT) {
      const holds = over.slice(from, from + HOLDS_AN_ALERT).map(expiredHold);
      next = this.alert(next, { kind: 'hold_expired', details: { available, holds } });
    }
    return next;
  }
}

function expiredHold(hold: Hold): ExpiredHolds['holds'][number] {
  const { amountMinor, captured, referenceObjectId } = hold;
  return {
    holdId: holdId(hold),
    amount: amountMinor,
    captured,
    expired: remainingOf(hold),
    referenceObjectId,
  };
}
