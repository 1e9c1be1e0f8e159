import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hasTermsOfRequest, LotReplay } from '../../../src/audit/lot-replay.ts';
import {
  type Entry,
  idempotencyText,
  type Wallet,
  type WalletAlert,
  walletKeyText,
} from '../../../src/ledger/entry.ts';
import { type Hold, holdId } from '../../../src/ledger/holds/hold.ts';
import { inDrainOrder } from '../../../src/ledger/lots/drain.ts';
import { isOver, type Lot, type LotChange, type LotMovement, lotId } from '../../../src/ledger/lots/lot.ts';
import { isStill, merelyDebited } from '../../../src/ledger/lots/reach.ts';
import { type CommandResult, type LedgerCommand, post } from '../../../src/ledger/post.ts';
import type { StatusChange } from '../../../src/ledger/status/status.ts';
import { isDue } from '../../../src/ledger/working-books.ts';
import { inLotWords, LotModel, type LotStep, lotSteps } from '../../support/lot-model.ts';
import { NOW, postInput, wallet } from '../../support/wallets.ts';

/**
 * Aim: lots, holds and entries of any batches decide as if each command had come alone, also when the clock jumps. Method: the naive
 * model, which takes one command after another, beside `post`, which is given of lots and holds only what the store would find.
 */

const CUSTOMERS = ['cus_a', 'cus_b'];
const RUNS = { numRuns: 1500 };

/** The tables, without a database. */
class Books {
  readonly wallets: Map<string, Wallet>;
  readonly entries: Entry[] = [];
  readonly alerts: WalletAlert[] = [];
  readonly movements: LotMovement[] = [];
  readonly changes: LotChange[] = [];
  readonly holds = new Map<string, Hold>();
  /** The newest change of each wallet's status. */
  readonly statuses = new Map<string, StatusChange>();
  readonly statusChanges: StatusChange[] = [];
  readonly lots = new Map<string, Lot>();

  constructor() {
    const wallets = CUSTOMERS.map((customerId) => wallet({ customerId, updatedAt: NOW }));
    this.wallets = new Map(wallets.map((one) => [walletKeyText(one), one]));
  }

  run(commands: readonly LedgerCommand[], now: Date): readonly CommandResult[] {
    const known = new Map(
      this.entries.flatMap((entry) =>
        entry.idempotencyKey === null ? [] : [[idempotencyText(entry), entry] as const],
      ),
    );
    const isNamed = (key: 'holdNo' | 'lotNo', one: Hold | Lot) =>
      commands.some(
        (command) =>
          walletKeyText(command) === walletKeyText(one) &&
          key in command &&
          Reflect.get(command, key) === Reflect.get(one, key),
      );
    const holds = [...this.holds.values()].filter((hold) => {
      const own = this.wallets.get(walletKeyText(hold));
      return (hold.state === 'open' && own !== undefined && isDue(own, now)) || isNamed('holdNo', hold);
    });
    // The store reads those of restored entries, and their lots.
    const { movements } = this;
    const lots = [...this.lots.values()].filter(
      (lot) => lot.state === 'open' || isNamed('lotNo', lot) || movements.some((one) => lotId(one) === lotId(lot)),
    );
    const { statuses } = this;
    const read = this.#inReach(lots, commands, now);
    const input = { known, holds, ...read, movements, now, statuses };
    const result = post(commands, postInput([...this.wallets.values()], input));
    for (const one of result.wallets) this.wallets.set(walletKeyText(one), one);
    this.statusChanges.push(...result.statuses);
    for (const one of result.statuses) this.statuses.set(walletKeyText(one), one);
    this.entries.push(...result.entries);
    this.alerts.push(...result.alerts);
    for (const hold of [...(result.holds?.open ?? []), ...(result.holds?.closed ?? [])]) {
      this.holds.set(holdId(hold), hold);
    }
    for (const lot of [...(result.lots?.open ?? []), ...(result.lots?.closed ?? [])]) {
      expect(this.lots.get(lotId(lot))?.state ?? 'open').toBe('open');
      this.lots.set(lotId(lot), lot);
    }
    this.movements.push(...(result.lots?.movements ?? []));
    this.changes.push(...(result.lots?.changes ?? []));
    return result.outcomes;
  }

  /** Of wallets that a batch merely debits, as FIRST_LOTS finds them: those that are spent first, until there is as much in them as is taken. */
  #inReach(lots: readonly Lot[], commands: readonly LedgerCommand[], now: Date) {
    const debits = merelyDebited(commands);
    const unread = new Map<string, number>();
    const before = new Map<string, number>();
    const read = [...lots].sort(inDrainOrder).filter((lot) => {
      const text = walletKeyText(lot);
      const own = this.wallets.get(text);
      const taken = debits.get(text);
      if (lot.state !== 'open' || own === undefined || taken === undefined || !isStill(own, now)) return true;
      const passed = before.get(text) ?? 0;
      before.set(text, passed + lot.remaining);
      if (passed < taken.debited) return true;
      // Nothing of it may have to end.
      expect(isOver(lot, now)).toBe(false);
      unread.set(text, (unread.get(text) ?? 0) + 1);
      return false;
    });
    return { lots: read, unread };
  }
}

/** Runs steps in the model and in the books, and compares every outcome. */
function runBoth(steps: readonly LotStep[]): { model: LotModel; books: Books; now: Date } {
  const model = new LotModel(CUSTOMERS, NOW.getTime());
  const books = new Books();
  let clock = NOW.getTime();
  for (const { seconds, commands } of steps) {
    clock += seconds * 1000;
    const expected = commands.map((command) => model.do(command, clock));
    expect(books.run(commands, new Date(clock)).map(inLotWords)).toEqual(expected);
  }
  return { model, books, now: new Date(clock) };
}

const rowOf = (lot: Lot) =>
  [
    ...[lot.lotNo, lot.kind, lot.state, lot.remaining, lot.spent, lot.expired, lot.voided, lot.takenBack],
    ...[lot.priority, lot.expiresAt?.getTime() ?? Infinity],
  ].join(' ');

describe('lots', () => {
  it('decide every batch as the model does, and leave lots, movements and notices as it does', () => {
    fc.assert(
      fc.property(lotSteps(CUSTOMERS), (steps) => {
        const { model, books } = runBoth(steps);
        for (const customerId of CUSTOMERS) {
          const own = books.wallets.get(walletKeyText(wallet({ customerId })));
          expect([own?.balance, own?.version]).toEqual([
            model.balanceOf(customerId),
            model.wallets.get(customerId)?.entries,
          ]);
          const lots = [...books.lots.values()].filter((lot) => lot.customerId === customerId);
          expect(lots.sort((one, other) => one.lotNo - other.lotNo).map(rowOf)).toEqual(model.lotsOf(customerId));
        }
        const moved = books.movements.map(({ customerId, seq, lotNo, amountMinor }) =>
          [customerId, seq, lotNo, amountMinor].join(' '),
        );
        expect(moved).toEqual(model.movements);
        const told = books.alerts.flatMap(({ customerId, details }) =>
          details !== null && 'noticeDays' in details
            ? details.lots.map((lot) => [customerId, lot.lotId.split('_').at(-1), details.noticeDays].join(' '))
            : [],
        );
        expect(told.sort()).toEqual(model.notices.sort());
      }),
      RUNS,
    );
  });

  it('keep the invariants: what is in lots adds up and is covered, nothing ends unseen, each expiry is told once', () => {
    fc.assert(
      fc.property(lotSteps(CUSTOMERS), (steps) => {
        const { books, now } = runBoth(steps);
        for (const own of books.wallets.values()) {
          const lots = [...books.lots.values()].filter((lot) => lot.customerId === own.customerId);
          const open = lots.filter(({ state }) => state === 'open');
          expect([own.inLots, own.openLots, own.lotSeq]).toEqual([
            open.reduce((sum, { remaining }) => sum + remaining, 0),
            open.length,
            lots.length,
          ]);
          expect(own.status).toBe(books.statuses.get(walletKeyText(own))?.newStatus ?? 'active');
          if (own.openLots > 0) expect(own.balance).toBeGreaterThanOrEqual(own.inLots);
          for (const lot of lots) {
            const { amountMinor, remaining, spent, expired, voided, takenBack } = lot;
            expect(remaining + spent + expired + voided + takenBack).toBe(amountMinor);
            expect(remaining > 0).toBe(lot.state === 'open');
            const own = books.movements.filter((one) => lotId(one) === lotId(lot));
            expect(own.reduce((sum, one) => sum + one.amountMinor, 0)).toBe(remaining);
          }
          const holds = [...books.holds.values()].filter(
            (one) => one.customerId === own.customerId && one.state === 'open',
          );
          // A hold of a dispute has no end.
          const endOfHolds = Math.min(
            ...holds.map(({ expiresAt }) => expiresAt?.getTime() ?? Number.POSITIVE_INFINITY),
          );
          for (const lot of open) {
            if (lot.expiresAt === null || books.statuses.get(walletKeyText(own))?.pauseExpiry) continue;
            // One that is over may be kept by what is held, until the first of those holds ends. No entry says so: the clock does.
            const isKept = isOver(lot, now) && own.balance <= own.held;
            const latest = Math.max(lot.expiresAt.getTime(), isKept ? endOfHolds : 0);
            expect(own.dueAt?.getTime()).toBeLessThanOrEqual(latest);
          }
          const alerts = books.alerts.filter(({ customerId }) => customerId === own.customerId);
          expect(alerts.map(({ alertSeq }) => alertSeq)).toEqual(alerts.map((_, index) => index + 1));
          const told = alerts.flatMap(({ kind, details }) => {
            if (kind !== 'credit_expired' || details === null || !('lots' in details)) return [];
            return details.lots.map((one) => ('amount' in one ? one.amount : 0));
          });
          expect(told.reduce((sum, one) => sum + one, 0)).toBe(lots.reduce((sum, { expired }) => sum + expired, 0));
        }
        for (const { eventType, afterBalance } of books.entries)
          if (eventType === 'hold_captured' || eventType === 'credit_expired' || eventType === 'credit_voided')
            expect(afterBalance).toBeGreaterThanOrEqual(0);
      }),
      RUNS,
    );
  });

  it('come to the same wherever batches are cut', () => {
    fc.assert(
      fc.property(lotSteps(CUSTOMERS), (steps) => {
        const whole = runBoth(steps).books;
        const cut = runBoth(
          steps.flatMap(({ seconds, commands }) =>
            commands.map((command, index) => ({ seconds: index === 0 ? seconds : 0, commands: [command] })),
          ),
        ).books;
        expect(cut.entries).toEqual(whole.entries);
        expect(cut.alerts).toEqual(whole.alerts);
        expect(cut.lots).toEqual(whole.lots);
        expect(cut.statuses).toEqual(whole.statuses);
        expect(cut.movements).toEqual(whole.movements);
      }),
      { numRuns: 500 },
    );
  });

  it('are found by the audit to have moved as their order says, with the terms that were asked for', () => {
    fc.assert(
      fc.property(lotSteps(CUSTOMERS), (steps) => {
        const { books } = runBoth(steps);
        const replays = new Map(CUSTOMERS.map((customerId) => [customerId, new LotReplay()]));
        for (const entry of books.entries) {
          const moved = movedBy(books, entry);
          expect(replays.get(entry.customerId)?.take(entry, moved, pausesAt(books, entry))).toBeNull();
          for (const { lot } of moved)
            if (entry.isCredit && lot.originSeq === entry.seq) expect(hasTermsOfRequest(entry, lot)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** What the audit would find of pauses when the entry was written. */
function pausesAt({ statusChanges }: Books, entry: Entry) {
  const name = walletKeyText(entry);
  const last = statusChanges.findLast((one) => walletKeyText(one) === name && one.createdAt <= entry.createdAt);
  return new Map(last?.pauseExpiry ? [[name, last.createdAt]] : []);
}

function movedBy({ movements, lots, changes }: Books, entry: Entry) {
  return movements
    .filter(({ customerId, seq }) => customerId === entry.customerId && seq === entry.seq)
    .flatMap((movement) => {
      const lot = lots.get(lotId(movement));
      const own = changes.filter((one) => lotId(one) === lotId(movement));
      return lot === undefined ? [] : [{ lot: { ...lot, changes: own }, amount: movement.amountMinor }];
    });
}
