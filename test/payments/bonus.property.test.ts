import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Entry } from '../../src/ledger/entry.ts';
import { type Lot, type LotMovement, lotId } from '../../src/ledger/lots/lot.ts';
import { type LedgerCommand, post } from '../../src/ledger/post.ts';
import { type DuePosting, originsOfBonus, postingsDue } from '../../src/payments/due.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { record } from '../../src/payments/record.ts';
import { settle } from '../../src/payments/settle.ts';
import { LOT_RULE, MERCHANT, posting } from '../support/ledger.ts';
import { disputeFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';
import { postInput, wallet } from '../support/wallets.ts';

/**
 * A payment with a bonus, its refunds and disputes in any order and each told twice, while the clock jumps and the customer spends: the rules
 * of settling and the ledger together, against a model that knows no parts, no lots and no keys.
 */

const KEY = { merchantId: MERCHANT, customerId: 'cus_a', currency: 'USD' };
const START = Date.parse('2026-01-01T00:00:00Z');
const DAYS = 30;

type Step =
  | { readonly what: 'refund'; readonly id: string; readonly amount: number; readonly hasFailed: boolean }
  | { readonly what: 'dispute'; readonly id: string; readonly amount: number; readonly isLost: boolean }
  | { readonly what: 'spend' | 'void' | 'promo' | 'credit'; readonly amount: number }
  | { readonly what: 'wait'; readonly days: number };

/** The wallet, its lots and entries. */
class Books {
  #wallet = wallet({ balance: 0 });
  #now = START;
  #keys = 0;
  readonly #known = new Map<string, Entry>();
  readonly #lots = new Map<string, Lot>();
  readonly #movements: LotMovement[] = [];
  readonly entries: Entry[] = [];

  wait(days: number): void {
    this.#now += days * 86_400_000;
  }

  get balance(): number {
    return this.#wallet.balance;
  }

  get lots(): readonly Lot[] {
    return [...this.#lots.values()];
  }

  do(command: LedgerCommand): void {
    const given = { known: this.#known, lots: this.lots, movements: this.#movements, lotRule: LOT_RULE };
    const result = post([command], postInput([this.#wallet], { ...given, now: new Date(this.#now) }));
    this.#wallet = result.wallets[0] ?? this.#wallet;
    for (const lot of [...(result.lots?.open ?? []), ...(result.lots?.closed ?? [])]) this.#lots.set(lotId(lot), lot);
    this.#movements.push(...(result.lots?.movements ?? []));
    for (const entry of result.entries) this.#known.set(`${MERCHANT}\0cus_a\0${entry.idempotencyKey}`, entry);
    this.entries.push(...result.entries);
  }

  sweep(): void {
    this.do({ ...KEY, op: 'sweep' });
  }

  voidOf(payment: Payment, amount: number): void {
    const lot = this.lotsOf(payment).find(({ state }) => state === 'open');
    if (lot === undefined) return;
    this.#keys += 1;
    const amountMinor = Math.min(amount, lot.remaining);
    this.do({
      ...KEY,
      op: 'void_lot',
      lotNo: lot.lotNo,
      amountMinor,
      reason: 'x',
      idempotencyKey: `api:${this.#keys}`,
    });
  }

  lotsOf(payment: Payment): readonly Lot[] {
    const origins = new Set(originsOfBonus(payment));
    return this.lots.filter(({ originKey }) => originKey !== null && origins.has(originKey));
  }

  lostOf(payment: Payment): number {
    return this.lotsOf(payment).reduce((sum, { expired, voided }) => sum + expired + voided, 0);
  }

  /** What the entries of this type come to, with the sign of what they do. */
  sumOf(eventType: Entry['eventType']): number {
    const own = this.entries.filter((entry) => entry.eventType === eventType);
    return own.reduce((sum, { isCredit, amountMinor }) => sum + (isCredit ? amountMinor : -amountMinor), 0);
  }
}

function toPosting({ amountMinor, isCredit, eventType, key, restores, origins, terms, referenceObjectId }: DuePosting) {
  return posting({
    ...{ amountMinor, isCredit, eventType, referenceObjectId, idempotencyKey: key },
    ...(restores === undefined ? {} : { restores }),
    ...(origins === undefined ? {} : { origins }),
    ...(terms === undefined ? {} : { terms }),
  });
}

/** What of the bonus is taken, by a rule that knows nothing but sums. */
class Model {
  readonly #refunds = new Map<string, number>();
  readonly #lost = new Map<string, number>();
  #undone = 0;
  taken = 0;

  readonly paid: number;
  readonly bonus: number;

  constructor(paid: number, bonus: number) {
    this.paid = paid;
    this.bonus = bonus;
  }

  tell(step: Step, lost: number): void {
    if (step.what === 'refund' && this.#refunds.get(step.id) !== 0)
      this.#refunds.set(step.id, step.hasFailed ? 0 : Math.max(step.amount, this.#refunds.get(step.id) ?? 0));
    if (step.what === 'dispute') this.#lost.set(step.id, step.isLost ? step.amount : 0);
    const all = [...this.#refunds.values(), ...this.#lost.values()].reduce((sum, one) => sum + one, 0);
    const undone = Math.min(this.paid, all);
    const share = Number((BigInt(this.bonus) * BigInt(undone)) / BigInt(this.paid));
    const wanted = Math.max(0, share - lost);
    this.taken = undone < this.#undone ? wanted : Math.max(this.taken, wanted);
    this.#undone = undone;
  }

  get takenOfPaid(): number {
    return this.#undone;
  }
}

const amount = fc.integer({ min: 1, max: 120 });
const id = fc.constantFrom('a', 'b', 'c');
const steps = fc.array(
  fc.oneof(
    fc.record({
      what: fc.constant('refund' as const),
      id,
      amount: fc.constantFrom(10, 33, 50, 90, 100),
      hasFailed: fc.boolean(),
    }),
    fc.record({
      what: fc.constant('dispute' as const),
      id,
      amount: fc.constantFrom(10, 33, 50, 90, 100),
      isLost: fc.boolean(),
    }),
    fc.record({
      what: fc.constantFrom('spend' as const, 'void' as const, 'promo' as const, 'credit' as const),
      amount,
    }),
    fc.record({ what: fc.constant('wait' as const), days: fc.integer({ min: 1, max: 40 }) }),
  ),
  { maxLength: 14 },
);

it('takes of a bonus what its rule says, from its own lot first, and never what was lost', () => {
  fc.assert(
    fc.property(fc.constantFrom(90, 100, 7), fc.constantFrom(10, 9, 100), steps, (paid, bonus, all) => {
      const books = new Books();
      const model = new Model(paid, bonus);
      const intent = { purpose: 'topup', creditAmount: null, bonusAmount: bonus, bonusDays: DAYS } as const;
      let payment = newPayment({ customerId: 'cus_a', currency: 'USD', disputes: 'record' });
      const apply = (fact: Parameters<typeof record>[1]) => {
        books.sweep();
        const told = record({ ...payment, bonusLost: books.lostOf(payment) }, fact, intent);
        const { due, after } = postingsDue(told, settle(told, 'auto'));
        for (const one of due) books.do(toPosting(one));
        payment = after;
        // Settled again as the audit does it, and told again, nothing is due.
        expect(postingsDue(payment, settle(payment, 'auto')).due).toEqual([]);
        const again = record(payment, fact, intent);
        expect(postingsDue(again, settle(again, 'auto')).due).toEqual([]);
        // Whatever is lost later, nothing of it is posted by itself.
        expect(
          postingsDue({ ...payment, bonusLost: bonus }, settle({ ...payment, bonusLost: bonus }, 'auto')).due,
        ).toEqual([]);
      };
      apply(paymentFact({ amountMinor: paid }));
      for (const step of all) {
        switch (step.what) {
          case 'refund': {
            const state = step.hasFailed ? 'failed' : 'succeeded';
            apply(refundFact({ refundId: step.id, amountMinor: step.amount, state }));
            model.tell(step, books.lostOf(payment));
            break;
          }
          case 'dispute': {
            const at = { occurredAt: new Date(START + books.entries.length * 1000 + all.indexOf(step) * 60_000) };
            apply(
              disputeFact({ disputeId: step.id, amountMinor: step.amount, state: step.isLost ? 'lost' : 'won', ...at }),
            );
            model.tell(step, books.lostOf(payment));
            break;
          }
          case 'spend':
            books.do(posting({ amountMinor: step.amount, isCredit: false }));
            break;
          case 'credit':
            books.do(posting({ amountMinor: step.amount }));
            break;
          case 'promo':
            books.do(
              posting({
                amountMinor: step.amount,
                terms: { kind: 'promo', name: null, priority: 50, end: { days: 400 } },
              }),
            );
            break;
          case 'void':
            books.voidOf(payment, step.amount);
            break;
          case 'wait':
            books.wait(step.days);
        }
        const taken = payment.parts.reduce((sum, { postedBonusTake }) => sum + postedBonusTake, 0);
        expect(taken).toBe(model.taken);
        expect(books.sumOf('bonus') + books.sumOf('bonus_reversal')).toBe(bonus - taken);
        expect(
          books.sumOf('payment') +
            books.sumOf('payment_reversal') +
            books.sumOf('dispute') +
            books.sumOf('dispute_reversal'),
        ).toBe(paid - model.takenOfPaid);
        expect(taken + books.lostOf(payment)).toBeLessThanOrEqual(bonus);
        // No promotional money is left that was taken back.
        const left = books.lotsOf(payment).reduce((sum, { remaining }) => sum + remaining, 0);
        expect(left).toBeLessThanOrEqual(bonus - taken - books.lostOf(payment));
      }
    }),
    { numRuns: 400 },
  );
});
