import { invariant } from '../errors.ts';
import {
  availableOf,
  type Entry,
  type ExpiredHolds,
  idempotencyText,
  type Posting,
  type Wallet,
  type WalletAlert,
  type WalletKey,
  walletKeyText,
} from './entry.ts';
import {
  type ClosedHold,
  type Hold,
  type HoldCapture,
  type HoldKey,
  holdId,
  holdKeyText,
  remainingOf,
} from './holds/hold.ts';
import { earlierOf } from './lots/ends.ts';
import { expireLots, noticeLots } from './lots/lapse.ts';
import type { Lot, LotChanges, LotMovement, LotsOfEntry } from './lots/lot.ts';
import { type LotRule, nextDue } from './lots/notices.ts';
import { WorkingLots } from './lots/working-lots.ts';
import type { LowBalanceRule } from './low-balance/rule.ts';
import { afterEntry, makeEntry } from './next-entry.ts';

export interface PostInput {
  /** The locked state of every wallet the commands touch, by {@link walletKeyText}; a wallet that does not exist is absent. */
  readonly wallets: ReadonlyMap<string, Wallet>;
  /** Entries already in the books under the commands' idempotency keys, by {@link idempotencyText}. */
  readonly known: ReadonlyMap<string, Entry>;
  /** All open holds of wallets where one ends by now ({@link isDue}), which may lack their texts, then those that commands name. */
  readonly holds: readonly Hold[];
  /** All open lots of the wallets, and those that commands name by number. */
  readonly lots: readonly Lot[];
  /** Those of entries that commands restore; their lots are among the lots, and they are known. */
  readonly movements: readonly LotMovement[];
  readonly currencies: ReadonlySet<string>;
  readonly rule: LowBalanceRule;
  readonly lotRule: LotRule;
  readonly now: Date;
}

/** What a batch changes about holds, and of wallets beside their balances. */
export interface HoldChanges {
  /** New and changed ones. */
  readonly open: readonly Hold[];
  readonly closed: readonly ClosedHold[];
  /** Those of them that were placed just now, by {@link holdKeyText}: the texts of the others are in the database alone. */
  readonly placed: ReadonlySet<string>;
  readonly captures: readonly HoldCapture[];
  /** Wallets in which something ends sooner than it did. */
  readonly due: readonly (WalletKey & { readonly dueAt: Date })[];
  /** The wallets that have nothing to tell, by {@link walletKeyText}: what the merchant asked of holds is not told. */
  readonly quiet: ReadonlySet<string>;
}

/** What a batch changes in the books. */
export interface BookChanges {
  /** The wallets that changed, in their new state. */
  readonly wallets: readonly Wallet[];
  readonly entries: readonly Entry[];
  readonly alerts: readonly WalletAlert[];
  /** Null if nothing about holds or lots changes. */
  readonly holds: HoldChanges | null;
  /** Null if nothing about lots changes. */
  readonly lots: LotChanges | null;
}

/** A debit or credit that is decided: `fingerprint` is that of the request made under its key. */
type Decided = Posting & Pick<Entry, 'fingerprint'> & Pick<LotsOfEntry, 'fromLot'>;

/** The moment of a command on a wallet. Clocks of processes differ; within a wallet, nothing is dated before an earlier entry. */
function momentIn({ updatedAt }: Pick<Wallet, 'updatedAt'>, now: Date): Date {
  return now < updatedAt ? updatedAt : now;
}

/** Whether something in the wallet ends by `now`. */
export function isDue(wallet: Pick<Wallet, 'dueAt' | 'updatedAt'>, now: Date): boolean {
  return wallet.dueAt !== null && wallet.dueAt <= momentIn(wallet, now);
}

/** An alert tells of so many holds; of more, another one does. */
const HOLDS_AN_ALERT = 100;

/** The books as the commands of a batch find and leave them, one after another. Pure: it begins with what was read. */
export class WorkingBooks {
  readonly #before: PostInput;
  readonly #wallets: Map<string, Wallet>;
  readonly #known: Map<string, Entry>;
  readonly #holds = new Map<string, Map<number, Hold>>();
  readonly #numbers = new Map<string, number>();
  readonly #changedWallets = new Set<string>();
  readonly #changedHolds = new Map<string, HoldKey>();
  readonly #entries: Entry[] = [];
  readonly #alerts: WalletAlert[] = [];
  readonly #captures: HoldCapture[] = [];
  readonly lots: WorkingLots;

  constructor(input: PostInput) {
    this.#before = input;
    this.#wallets = new Map(input.wallets);
    this.#known = new Map(input.known);
    this.lots = new WorkingLots(input.lots, input.movements, input.lotRule);
    for (const hold of input.holds) this.#see(hold);
  }

  get currencies(): ReadonlySet<string> {
    return this.#before.currencies;
  }

  get lotRule(): LotRule {
    return this.#before.lotRule;
  }

  /** The wallet as a command finds it: what is due by then has ended. */
  wallet(key: WalletKey): Wallet | null {
    const wallet = this.#wallets.get(walletKeyText(key)) ?? null;
    return wallet !== null && isDue(wallet, this.#before.now) ? this.#lapse(wallet) : wallet;
  }

  momentIn(wallet: Wallet): Date {
    return momentIn(wallet, this.#before.now);
  }

  /** The entry that was written under the key. */
  entryUnder(posting: Parameters<typeof idempotencyText>[0]): Entry | null {
    return posting.idempotencyKey === null ? null : (this.#known.get(idempotencyText(posting)) ?? null);
  }

  hold(key: HoldKey): Hold | null {
    return this.#holds.get(walletKeyText(key))?.get(key.holdNo) ?? null;
  }

  holdUnder(key: WalletKey & Pick<Hold, 'idempotencyKey'>): Hold | null {
    const holdNo = this.#numbers.get(`${walletKeyText(key)}\0${key.idempotencyKey}`);
    return holdNo === undefined ? null : this.hold({ ...key, holdNo });
  }

  /** Writes an entry, which drains or opens lots. `changes`: what becomes of the wallet's holds by it. */
  write(decided: Decided, wallet: Wallet, changes: Partial<Wallet> = {}): { entry: Entry; wallet: Wallet } {
    const { terms, fromLot, restores, origins, ...posting } = decided;
    const entry = makeEntry(posting, wallet, this.momentIn(wallet));
    const undone = restores === undefined ? [] : this.#entriesUnder(restores, posting);
    const moved = this.lots.follow(entry, { ...wallet, ...changes }, { terms, fromLot, undone, origins });
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

  #entriesUnder(keys: readonly string[], { merchantId, customerId, currency }: WalletKey): readonly Entry[] {
    const found = keys.flatMap((idempotencyKey) => this.entryUnder({ merchantId, customerId, idempotencyKey }) ?? []);
    return found.filter((entry) => entry.currency === currency);
  }

  /** Changes what a wallet says of its holds, or of when something is due. */
  changeWallet(wallet: Wallet): void {
    this.#set(wallet);
  }

  /** The wallet once a command is done: a lot that was over and kept by a hold ends as far as the hold needs it no more. */
  settled(wallet: Wallet): Wallet {
    if (wallet.openLots === 0 || availableOf(wallet) === 0) return wallet;
    const next = expireLots(this, wallet);
    if (next !== wallet) this.#set(next);
    return next;
  }

  /** Places or changes a hold. */
  put(hold: Hold): void {
    this.#see(hold);
    this.#changedHolds.set(holdKeyText(hold), hold);
  }

  /** Notes what an entry captured. `hold` is as it is afterwards; one that had expired stays as it is stored. */
  capture(row: HoldCapture, hold: Hold): void {
    this.#captures.push(row);
    if (row.fromHold > 0) this.put(hold);
    else this.#see(hold);
  }

  changes(): BookChanges {
    const wallets = [...this.#wallets].filter(([text]) => this.#changedWallets.has(text)).map(([, wallet]) => wallet);
    const lots = this.lots.changes();
    const beside = { holds: this.#holdChanges(wallets, lots !== null), lots };
    return { wallets, entries: this.#entries, alerts: this.#alerts, ...beside };
  }

  #see(hold: Hold): void {
    const text = walletKeyText(hold);
    const own = this.#holds.get(text) ?? new Map<number, Hold>();
    own.set(hold.holdNo, hold);
    this.#holds.set(text, own);
    this.#numbers.set(`${text}\0${hold.idempotencyKey}`, hold.holdNo);
  }

  #set(wallet: Wallet): void {
    const text = walletKeyText(wallet);
    this.#wallets.set(text, wallet);
    this.#changedWallets.add(text);
  }

  /** Ends the wallet's holds and lots that are over, tells of those that soon will be, and finds anew when something is due next. */
  #lapse(wallet: Wallet): Wallet {
    const now = this.momentIn(wallet);
    const open = [...(this.#holds.get(walletKeyText(wallet))?.values() ?? [])].filter(({ state }) => state === 'open');
    invariant(open.length === wallet.openHolds, 'a wallet in which something ends came without its open holds');
    const over = open.filter(({ expiresAt }) => expiresAt !== null && expiresAt <= now);
    for (const hold of over) {
      this.put({ ...hold, state: 'expired', released: remainingOf(hold), closedAt: now });
    }
    const held = wallet.held - over.reduce((sum, hold) => sum + remainingOf(hold), 0);
    const freed = { ...wallet, held, openHolds: wallet.openHolds - over.length };
    // What they kept ends before they are told of: their alert says what is available then.
    const ended = this.#tellOfExpired(freed.openLots === 0 ? freed : expireLots(this, freed), over);
    const after = ended.openLots === 0 ? ended : noticeLots(this, ended);
    const ends = open.flatMap(({ expiresAt }) => (expiresAt !== null && expiresAt > now ? [expiresAt] : []));
    const dues = this.lots.open(after).map((lot) => nextDue(lot, this.lotRule, now));
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

  #holdChanges(wallets: readonly Wallet[], isOfLots: boolean): HoldChanges | null {
    const before = this.#before.wallets;
    const isMoved = isOfLots || wallets.some((wallet) => !isSameBeside(wallet, before.get(walletKeyText(wallet))));
    if (!isMoved && this.#changedHolds.size === 0 && this.#captures.length === 0) return null;
    const holds = [...this.#changedHolds.values()].flatMap((key) => this.hold(key) ?? []);
    const quiet = wallets.filter((wallet) => {
      const was = before.get(walletKeyText(wallet));
      return was !== undefined && was.version === wallet.version && was.alertSeq === wallet.alertSeq;
    });
    return {
      open: holds.filter(({ state }) => state === 'open'),
      closed: holds.flatMap((hold) => (hold.closedAt === null ? [] : [{ ...hold, closedAt: hold.closedAt }])),
      placed: new Set(
        holds.filter((hold) => hold.holdNo > (before.get(walletKeyText(hold))?.holdSeq ?? 0)).map(holdKeyText),
      ),
      captures: this.#captures,
      due: wallets.flatMap((wallet) => {
        const was = before.get(walletKeyText(wallet))?.dueAt ?? null;
        const { merchantId, customerId, currency, dueAt } = wallet;
        return dueAt === null || (was !== null && was <= dueAt) ? [] : [{ merchantId, customerId, currency, dueAt }];
      }),
      quiet: new Set(quiet.map(walletKeyText)),
    };
  }
}

/** Whether nothing changed that only {@link HoldChanges} write. */
function isSameBeside(one: Wallet, other: Wallet | undefined): boolean {
  return (
    other !== undefined &&
    one.held === other.held &&
    one.openHolds === other.openHolds &&
    one.holdSeq === other.holdSeq &&
    one.inLots === other.inLots &&
    one.openLots === other.openLots &&
    one.lotSeq === other.lotSeq &&
    one.dueAt?.getTime() === other.dueAt?.getTime()
  );
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
