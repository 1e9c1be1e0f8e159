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
import { headOf, nextHash, startOfChain } from './hash-chain.ts';
import {
  type ClosedHold,
  type Hold,
  type HoldCapture,
  type HoldKey,
  holdId,
  holdKeyText,
  remainingOf,
} from './holds/hold.ts';
import { decideLowBalance, type LowBalanceRule, raise } from './low-balance/rule.ts';

export interface PostInput {
  /** The locked state of every wallet the commands touch, by {@link walletKeyText}; a wallet that does not exist is absent. */
  readonly wallets: ReadonlyMap<string, Wallet>;
  /** Entries already in the books under the commands' idempotency keys, by {@link idempotencyText}. */
  readonly known: ReadonlyMap<string, Entry>;
  /**
   * All open holds of wallets where one ends by now ({@link isDue}), which may lack their texts, and then those that commands name by
   * number or key.
   */
  readonly holds: readonly Hold[];
  readonly currencies: ReadonlySet<string>;
  readonly rule: LowBalanceRule;
  readonly now: Date;
}

/** What a batch changes about holds. */
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
  /** Null if nothing about holds changes. */
  readonly holds: HoldChanges | null;
}

/** A debit or credit that is decided: `fingerprint` is that of the request made under its key. */
type Decided = Posting & Pick<Entry, 'fingerprint'>;

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

  constructor(input: PostInput) {
    this.#before = input;
    this.#wallets = new Map(input.wallets);
    this.#known = new Map(input.known);
    for (const hold of input.holds) this.#see(hold);
  }

  get currencies(): ReadonlySet<string> {
    return this.#before.currencies;
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

  /** Writes an entry. `changes`: what becomes of the wallet's holds by it. */
  write(posting: Decided, wallet: Wallet, changes: Partial<Wallet> = {}): { entry: Entry; wallet: Wallet } {
    const entry = makeEntry(posting, wallet, this.momentIn(wallet));
    const next = advance({ ...wallet, ...changes }, entry, this.#before.rule);
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

  /** Changes what a wallet says of its holds. */
  changeWallet(wallet: Wallet): void {
    this.#set(wallet);
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
    return { wallets, entries: this.#entries, alerts: this.#alerts, holds: this.#holdChanges(wallets) };
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

  /** Ends the wallet's holds that are over, and finds anew when the next one ends. */
  #lapse(wallet: Wallet): Wallet {
    const now = this.momentIn(wallet);
    const open = [...(this.#holds.get(walletKeyText(wallet))?.values() ?? [])].filter(({ state }) => state === 'open');
    invariant(open.length === wallet.openHolds, 'a wallet in which something ends came without its open holds');
    const over = open.filter(({ expiresAt }) => expiresAt !== null && expiresAt <= now);
    const ends = open.flatMap(({ expiresAt }) => (expiresAt !== null && expiresAt > now ? [expiresAt.getTime()] : []));
    const after = {
      ...wallet,
      held: wallet.held - over.reduce((sum, hold) => sum + remainingOf(hold), 0),
      openHolds: wallet.openHolds - over.length,
      dueAt: ends.length === 0 ? null : new Date(Math.min(...ends)),
    };
    for (const hold of over) {
      this.put({ ...hold, state: 'expired', released: remainingOf(hold), closedAt: now });
    }
    const next = this.#tellOfExpired(after, over);
    this.#set(next);
    return next;
  }

  #tellOfExpired(wallet: Wallet, over: readonly Hold[]): Wallet {
    const available = availableOf(wallet);
    let next = wallet;
    for (let from = 0; from < over.length; from += HOLDS_AN_ALERT) {
      const details = { available, holds: over.slice(from, from + HOLDS_AN_ALERT).map(expiredHold) };
      next = this.alert(next, { kind: 'hold_expired', details });
    }
    return next;
  }

  #holdChanges(wallets: readonly Wallet[]): HoldChanges | null {
    const before = this.#before.wallets;
    const isMoved = wallets.some((wallet) => !hasSameHolds(wallet, before.get(walletKeyText(wallet))));
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

function hasSameHolds(one: Wallet, other: Wallet | undefined): boolean {
  return (
    other !== undefined &&
    one.held === other.held &&
    one.openHolds === other.openHolds &&
    one.holdSeq === other.holdSeq &&
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

function makeEntry(posting: Decided, wallet: Wallet, createdAt: Date): Entry {
  const afterBalance = posting.isCredit ? wallet.balance + posting.amountMinor : wallet.balance - posting.amountMinor;
  const entry = { ...posting, seq: wallet.version + 1, beforeBalance: wallet.balance, afterBalance, createdAt };
  return { ...entry, hash: nextHash(headOf(wallet) ?? startOfChain(wallet), entry) };
}

function advance(wallet: Wallet, entry: Entry, rule: LowBalanceRule): { wallet: Wallet; alerts: WalletAlert[] } {
  invariant(
    entry.seq === wallet.version + 1 && entry.beforeBalance === wallet.balance,
    'an entry does not follow its wallet',
  );
  const { afterBalance: balance, seq: version, createdAt: updatedAt } = entry;
  const now = { balance, isDebit: !entry.isCredit, now: updatedAt };
  const decision = decideLowBalance(rule, wallet, now);
  const chain = { head: entry.hash, headVersion: version };
  return raise({ ...wallet, balance, version, updatedAt, ...chain }, decision, updatedAt);
}
