import type { Checkout } from './checkouts/checkout.ts';
import { type Entry, type Wallet, type WalletAlert, type WalletKey, walletKeyText } from './entry.ts';
import type { ClosedHold, Hold, HoldCapture, HoldKey } from './holds/hold.ts';
import type { Lot, LotChanges, LotMovement } from './lots/lot.ts';
import type { LotRule } from './lots/notices.ts';
import type { LowBalanceRule } from './low-balance/rule.ts';
import type { InFlight, StatusChange } from './status/status.ts';

/** What a batch is decided on, and what it changes in the books. */

export interface PostInput {
  /** The locked state of every wallet the commands touch, by {@link walletKeyText}; a wallet that does not exist is absent. */
  readonly wallets: ReadonlyMap<string, Wallet>;
  /** Entries already in the books under the commands' idempotency keys, by {@link idempotencyText}. */
  readonly known: ReadonlyMap<string, Entry>;
  /** All open holds of wallets where one ends by now ({@link isDue}), which may lack their texts, then those that commands name. */
  readonly holds: readonly Hold[];
  /** All open lots of the wallets but the {@link unread}, and those that commands name by number. */
  readonly lots: readonly Lot[];
  /** How many lots of each wallet its debits cannot reach, by {@link walletKeyText}; none of those is over. Absent: none. */
  readonly unread?: ReadonlyMap<string, number>;
  /** Those of entries that commands restore; their lots are among the lots, and they are known. */
  readonly movements: readonly LotMovement[];
  /** The newest change of the status of each wallet that is not active, or whose status a command changes, by {@link walletKeyText}. */
  readonly statuses: ReadonlyMap<string, StatusChange>;
  /** Those that were opened before under the keys of the commands, by {@link idempotencyText}. */
  readonly checkouts: ReadonlyMap<string, Checkout>;
  /** Of wallets that a command closes, by {@link walletKeyText}; absent where there is no such command. */
  readonly inFlight?: ReadonlyMap<string, InFlight>;
  readonly currencies: ReadonlySet<string>;
  readonly rule: LowBalanceRule;
  readonly lotRule: LotRule;
  readonly now: Date;
}

/** What a batch changes about holds, and of wallets beside their balances. */
export interface HoldChanges {
  /** Whether holds were placed, and nothing else happened to any wallet. */
  readonly arePlaced: boolean;
  /** New and changed ones. */
  readonly open: readonly Hold[];
  readonly closed: readonly ClosedHold[];
  /** Whether one of them was placed just now: the texts of the others are in the database alone. */
  readonly isPlaced: (hold: HoldKey) => boolean;
  readonly captures: readonly HoldCapture[];
  /** Wallets in which something ends sooner than it did. */
  readonly due: readonly (WalletKey & { readonly dueAt: Date })[];
  /** Wallets that a debit took below what their top-up rule wants, or that were closed, which ends the rule, with when that is to be looked at. */
  readonly fallen: readonly (WalletKey & { readonly since: Date; readonly retryAt: Date })[];
  /** The wallets that have nothing to tell, by {@link walletKeyText}: what the merchant asked of holds is not told. */
  readonly quiet: ReadonlySet<string>;
}

/** What a batch changes in the books. */
export interface BookChanges {
  /** The wallets that changed, in their new state. */
  readonly wallets: readonly Wallet[];
  readonly entries: readonly Entry[];
  readonly alerts: readonly WalletAlert[];
  /** Null if nothing about holds changes, and nothing about lots but what entries drew on open ones. */
  readonly holds: HoldChanges | null;
  /** Null if nothing about lots changes. */
  readonly lots: LotChanges | null;
  readonly statuses: readonly StatusChange[];
  /** New ones. */
  readonly checkouts: readonly Checkout[];
}

/** A wallet that changed, its {@link walletKeyText}, and how it was. */
export interface Moved {
  readonly text: string;
  readonly wallet: Wallet;
  readonly was: Wallet;
}

interface HoldsMoved {
  readonly before: ReadonlyMap<string, Wallet>;
  readonly moved: readonly Moved[];
  /** New and changed ones. */
  readonly holds: readonly Hold[];
  readonly captures: readonly HoldCapture[];
  readonly lots: LotChanges | null;
  readonly statuses: readonly StatusChange[];
  readonly now: Date;
}

/** What is to be written about holds, and of wallets beside their balances; null if nothing is. */
export function holdChanges({
  before,
  moved: moves,
  holds,
  captures,
  lots,
  statuses,
  now,
}: HoldsMoved): HoldChanges | null {
  const closed = new Set(statuses.flatMap((one) => (one.newStatus === 'closed' ? [walletKeyText(one)] : [])));
  const isStill = moves.every(({ wallet, was }) => isSameBeside(wallet, was));
  const fallen = moves.flatMap(({ wallet, text, was }) =>
    fallenBelow(wallet, was, { isClosed: closed.has(text), now }),
  );
  const isMoved = !isStill || holds.length + captures.length + fallen.length > 0;
  if (!isMoved && lots === null) return null;
  const quiet = moves.filter(({ wallet, was }) => was.version === wallet.version && was.alertSeq === wallet.alertSeq);
  if (!isMoved && quiet.length === 0 && lots?.isDrawn === true) return null;
  // All that were placed are among the holds, and each has a number of its own.
  const countPlaced = moves.reduce((count, { wallet, was }) => count + wallet.holdSeq - was.holdSeq, 0);
  const areOpen = countPlaced === holds.length && holds.every(({ state }) => state === 'open');
  const nothingElse = lots === null && captures.length + statuses.length + fallen.length === 0;
  return {
    arePlaced: areOpen && nothingElse && quiet.length === moves.length,
    open: holds.filter(({ state }) => state === 'open'),
    closed: holds.flatMap((hold) => (hold.closedAt === null ? [] : [{ ...hold, closedAt: hold.closedAt }])),
    isPlaced: (hold) => hold.holdNo > (before.get(walletKeyText(hold))?.holdSeq ?? 0),
    captures,
    due: moves.flatMap(({ wallet, was }) => {
      const { merchantId, customerId, currency, dueAt } = wallet;
      const last = was.dueAt;
      return dueAt === null || (last !== null && last.getTime() <= dueAt.getTime())
        ? []
        : [{ merchantId, customerId, currency, dueAt }];
    }),
    fallen,
    quiet: new Set(quiet.map(({ text }) => text)),
  };
}

/**
 * A wallet that a debit took below what its top-up rule wants, or that was closed, whatever came after that, and has a rule. One that was below before stands on the
 * list already: it is taken off under its lock, and only while it is not below, and a rule that wants more puts it there.
 */
function fallenBelow(
  wallet: Wallet,
  before: Wallet,
  { isClosed, now }: { readonly isClosed: boolean; readonly now: Date },
): HoldChanges['fallen'] {
  const { merchantId, customerId, currency, balance, topUpBelow } = wallet;
  if (topUpBelow === null) return [];
  const isFallen = balance < topUpBelow && before.balance >= topUpBelow;
  return isFallen || isClosed ? [{ merchantId, customerId, currency, since: now, retryAt: now }] : [];
}

/** Whether nothing changed that only {@link HoldChanges} write, but for what lots hold. */
function isSameBeside(one: Wallet, other: Wallet): boolean {
  return (
    one.held === other.held &&
    one.openHolds === other.openHolds &&
    one.holdSeq === other.holdSeq &&
    one.openLots === other.openLots &&
    one.lotSeq === other.lotSeq &&
    one.status === other.status &&
    one.dueAt?.getTime() === other.dueAt?.getTime()
  );
}
