import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Entry,
  idempotencyText,
  type Wallet,
  type WalletAlert,
  walletKeyText,
} from '../../../src/ledger/entry.ts';
import { type Hold, type HoldCapture, holdId, remainingOf } from '../../../src/ledger/holds/hold.ts';
import { type CommandResult, type LedgerCommand, post } from '../../../src/ledger/post.ts';
import type { StatusChange } from '../../../src/ledger/status/status.ts';
import { isDue } from '../../../src/ledger/working-books.ts';
import { HoldModel, type HoldStep, holdSteps, inModelWords } from '../../support/hold-model.ts';
import { NOW, postInput, wallet } from '../../support/wallets.ts';

/**
 * Aim: holds and entries of any batches decide as if each command had come alone, also when the clock jumps. Method: the naive
 * model, which takes one command after another, beside `post`, which is given of the holds only what the store would find.
 */

const CUSTOMERS = ['cus_a', 'cus_b'];
const RUNS = { numRuns: 1500 };

/** The keys by which a command looks for holds. */
function keysOf(command: LedgerCommand): readonly string[] {
  if (!('op' in command)) return [];
  if (command.op === 'place') return [command.idempotencyKey];
  return command.op === 'hold_disputes' ? command.disputes.map(({ idempotencyKey }) => idempotencyKey) : [];
}

/** The tables, without a database. */
class Books {
  readonly wallets: Map<string, Wallet>;
  readonly entries: Entry[] = [];
  readonly alerts: WalletAlert[] = [];
  readonly captures: HoldCapture[] = [];
  readonly holds = new Map<string, Hold>();
  /** The newest change of each wallet's status. */
  readonly statuses = new Map<string, StatusChange>();
  /** The work list. */
  readonly due = new Map<string, Date>();

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
    const isDueIn = (hold: Hold) => {
      const own = this.wallets.get(walletKeyText(hold));
      return hold.state === 'open' && own !== undefined && isDue(own, now);
    };
    const holds = [...this.holds.values()].filter(
      (hold) =>
        isDueIn(hold) ||
        commands.some(
          (command) =>
            walletKeyText(command) === walletKeyText(hold) &&
            (('holdNo' in command && command.holdNo === hold.holdNo) || keysOf(command).includes(hold.idempotencyKey)),
        ),
    );
    const { statuses } = this;
    const input = { known, holds, now, statuses };
    const result = post(commands, postInput([...this.wallets.values()], input));
    for (const one of result.wallets) this.wallets.set(walletKeyText(one), one);
    for (const one of result.statuses) this.statuses.set(walletKeyText(one), one);
    this.entries.push(...result.entries);
    this.alerts.push(...result.alerts);
    for (const hold of [...(result.holds?.open ?? []), ...(result.holds?.closed ?? [])]) {
      expect(this.holds.get(holdId(hold))?.state ?? 'open').toBe('open');
      this.holds.set(holdId(hold), hold);
    }
    this.captures.push(...(result.holds?.captures ?? []));
    for (const row of result.holds?.captures ?? []) {
      const hold = this.holds.get(holdId(row));
      const own = this.captures.filter((one) => holdId(one) === holdId(row));
      // The store adds these up when it reads.
      const beyond = own.reduce((sum, one) => sum + one.beyond, 0);
      const lateDebits = own.filter(({ fromHold }) => fromHold === 0).length;
      if (hold !== undefined) this.holds.set(holdId(row), { ...hold, beyond, lateDebits });
    }
    for (const one of result.holds?.due ?? []) {
      const text = walletKeyText(one);
      this.due.set(text, new Date(Math.min(one.dueAt.getTime(), this.due.get(text)?.getTime() ?? Infinity)));
    }
    return result.outcomes;
  }
}

/** Runs steps in the model and in the books, and compares every outcome. */
function runBoth(steps: readonly HoldStep[]): { model: HoldModel; books: Books } {
  const model = new HoldModel(CUSTOMERS, NOW.getTime());
  const books = new Books();
  let clock = NOW.getTime();
  for (const { seconds, commands } of steps) {
    clock += seconds * 1000;
    const expected = commands.map((command) => model.do(command, clock));
    expect(books.run(commands, new Date(clock)).map(inModelWords)).toEqual(expected);
  }
  return { model, books };
}

describe('holds', () => {
  it('decide every batch as the model does, and leave the wallets as it does', () => {
    fc.assert(
      fc.property(holdSteps(CUSTOMERS), (steps) => {
        const { model, books } = runBoth(steps);
        for (const customerId of CUSTOMERS) {
          const own = books.wallets.get(walletKeyText(wallet({ customerId })));
          const expected = model.wallets.get(customerId);
          expect([own?.balance, own?.version, own?.holdSeq]).toEqual([
            expected?.balance,
            expected?.entries,
            expected?.holds.length,
          ]);
          expect(own?.held).toBe(model.heldIn(customerId));
        }
      }),
      RUNS,
    );
  });

  it('keep the invariants: held is what is left of open holds, nothing ends unseen, each expiry is told once', () => {
    fc.assert(
      fc.property(holdSteps(CUSTOMERS), (steps) => {
        const { model, books } = runBoth(steps);
        for (const own of books.wallets.values()) {
          const holds = [...books.holds.values()].filter((hold) => hold.customerId === own.customerId);
          const open = holds.filter(({ state }) => state === 'open');
          expect([own.held, own.openHolds]).toEqual([
            open.reduce((sum, one) => sum + remainingOf(one), 0),
            open.length,
          ]);
          expect(own.status).toBe(books.statuses.get(walletKeyText(own))?.newStatus ?? 'active');
          if (own.status === 'closed') expect([own.balance, open]).toEqual([0, []]);
          for (const { expiresAt, kind } of open) {
            expect(expiresAt === null).toBe(kind === 'dispute');
            if (expiresAt === null) continue;
            expect(own.dueAt?.getTime()).toBeLessThanOrEqual(expiresAt.getTime());
            expect(books.due.get(walletKeyText(own))?.getTime()).toBeLessThanOrEqual(expiresAt.getTime());
          }
          for (const one of holds) {
            if (one.state !== 'open') expect(one.captured + one.released).toBe(one.amountMinor);
          }
          const told = books.alerts.filter((alert) => alert.customerId === own.customerId);
          expect(told.map(({ alertSeq }) => alertSeq)).toEqual(told.map((_, index) => index + 1));
          const expired = told.flatMap(({ details }) => (details !== null && 'holds' in details ? details.holds : []));
          expect(expired).toHaveLength(model.wallets.get(own.customerId)?.expired ?? -1);
          expect(new Set(expired.map((one) => one.holdId)).size).toBe(expired.length);
        }
        // A capture never leaves a debt, whatever was clawed back before.
        for (const entry of books.entries)
          if (entry.eventType === 'hold_captured') expect(entry.afterBalance).toBeGreaterThanOrEqual(0);
      }),
      RUNS,
    );
  });

  it('come to the same wherever batches are cut', () => {
    fc.assert(
      fc.property(holdSteps(CUSTOMERS), (steps) => {
        const whole = runBoth(steps).books;
        const cut = runBoth(
          steps.flatMap(({ seconds, commands }) =>
            commands.map((command, index) => ({ seconds: index === 0 ? seconds : 0, commands: [command] })),
          ),
        ).books;
        expect(cut.entries).toEqual(whole.entries);
        expect(cut.alerts).toEqual(whole.alerts);
        expect(cut.holds).toEqual(whole.holds);
        expect(cut.statuses).toEqual(whole.statuses);
      }),
      { numRuns: 500 },
    );
  });
});
