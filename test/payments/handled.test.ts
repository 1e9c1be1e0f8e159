import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Fact, MovementFact } from '../../src/payments/fact.ts';
import { handledBefore, wholeOf } from '../../src/payments/handled.ts';
import type { Handled, Payment, PaymentIntent } from '../../src/payments/payment.ts';
import type { RefundPolicy } from '../../src/payments/purpose.ts';
import { record } from '../../src/payments/record.ts';
import { isUnsettleable, settle } from '../../src/payments/settle.ts';
import { leftByModel } from '../support/payment-model.ts';
import { disputeFact, movementFact, newPayment, paymentFact, refundFact, step } from '../support/payments.ts';

/* What was handled by hand: it never posts, and what else moves of its payment posts its own share alone. */

function handled(fact: Fact, more: Partial<Handled> = {}): Handled {
  const nothing = { intent: null, customerId: null, amountMinor: null, entryId: null, note: null };
  return { eventId: 'evt_a', fact, handledAt: new Date(0), ...nothing, ...more };
}

/** The balance after these facts, each told and posted in turn. */
function balanceOf(facts: readonly Fact[], from: Payment, intent: PaymentIntent, policy: RefundPolicy): number {
  let [payment, balance] = [from, 0];
  for (const fact of facts) {
    const next = step(payment, fact, intent, policy);
    payment = next.payment;
    for (const { isCredit, amountMinor } of next.due) balance += isCredit ? amountMinor : -amountMinor;
  }
  return balance;
}

const TOPUP: PaymentIntent = { purpose: 'topup', creditAmount: null };
const ORDER: PaymentIntent = { purpose: 'order', creditAmount: null };
const [a, b] = [refundFact({ refundId: 'a', amountMinor: 5000 }), refundFact({ refundId: 'b', amountMinor: 2000 })];

const movement = { kind: 'movement', paymentId: 'p', state: 'succeeded', currency: 'USD', occurredAt: null } as const;
const capture = (movementId: string, amountMinor: number): MovementFact => ({
  ...movement,
  movement: 'capture',
  movementId,
  amountMinor,
});
const reinstatement = (movementId: string, amountMinor: number): MovementFact => ({
  ...movement,
  movement: 'reinstatement',
  movementId,
  amountMinor,
});

describe('a movement that was handled by hand', () => {
  it.each([
    ['an order of 6000', ORDER, [a], [paymentFact({ amountMinor: 6000 }), b], 1000],
    ['an order that was refunded after it', ORDER, [a], [paymentFact({ amountMinor: 6000 }), b, a], 1000],
    ['a top-up of 6000', TOPUP, [a], [paymentFact({ amountMinor: 6000 }), b], 5000],
    [
      'a top-up, its chargeback',
      TOPUP,
      [disputeFact({ amountMinor: 6000 })],
      [paymentFact({ amountMinor: 6000 }), b],
      6000,
    ],
    ['a top-up, nothing else', TOPUP, [a], [paymentFact({ amountMinor: 6000 })], 6000],
  ])('leaves to the others of %s their own share', (_, intent, closed, told, balance) => {
    const payment = newPayment({ handled: closed.map((fact) => handled(fact)) });
    const isTold = (fact: Fact) => handledBefore(payment, fact) === null;
    expect(balanceOf(told.filter(isTold), payment, intent, 'auto')).toBe(balance);
  });

  it('is the same told again alike, and another thing told otherwise', () => {
    const payment = newPayment({ handled: [handled(a)] });
    const otherwise = [
      { ...a, amountMinor: 4000 },
      { ...a, state: 'failed' },
      { ...a, currency: 'EUR' },
    ] as const;
    expect([handledBefore(payment, a), handledBefore(payment, b)]).toEqual(['alike', null]);
    expect(otherwise.map((fact) => handledBefore(payment, fact))).toEqual(['other', 'other', 'other']);
  });

  it.each<[string, Fact, Fact, 'alike' | 'other' | null]>([
    ['a capture told again', capture('c1', 2000), capture('c1', 2000), 'alike'],
    ['a capture of another amount', capture('c1', 2000), capture('c1', 1500), 'other'],
    ['a capture that failed after all', capture('c1', 2000), { ...capture('c1', 2000), state: 'failed' }, 'other'],
    ['another capture', capture('c1', 2000), capture('c2', 2000), null],
    ['what is no capture, of its id', capture('c1', 2000), { ...capture('c1', 2000), movement: 'end' }, null],
    ['a dispute in another state', disputeFact({ state: 'won' }), disputeFact(), 'other'],
    ['a refund of the id of a dispute', disputeFact({ disputeId: 'a' }), a, null],
    ['its success in another amount', paymentFact({ amountMinor: 900 }), paymentFact(), 'other'],
    ['its success, of what had failed', paymentFact({ state: 'failed' }), paymentFact(), 'other'],
  ])('is known by its kind and id: %s', (_, closed, told, known) => {
    expect(handledBefore(newPayment({ handled: [handled(closed)] }), told)).toBe(known);
  });

  it('does not stop the success of a payment that posted by itself, but stops other news of its movement', () => {
    const paid = step(newPayment(), paymentFact({ amountMinor: 6000 }), TOPUP, 'auto').payment;
    const closed = [paymentFact({ amountMinor: 900 }), capture('c1', 2000)].map((fact) => handled(fact));
    const known = [paymentFact({ amountMinor: 6000 }), capture('c1', 1500)].map((fact) =>
      handledBefore({ ...paid, handled: closed }, fact),
    );
    expect(known).toEqual([null, 'other']);
  });

  it('leaves to a chargeback its own share, and to money that comes back what the chargeback took', () => {
    const [lost, back] = [disputeFact({ role: 'movement', amountMinor: 600 }), reinstatement('r1', 600)];
    const payment = newPayment({ handled: [handled(a)] });
    const paid = paymentFact({ amountMinor: 6000 });
    expect(balanceOf([paid, lost], payment, TOPUP, 'auto')).toBe(5400);
    expect(balanceOf([paid, lost, back], payment, TOPUP, 'auto')).toBe(6000);
  });

  it('that brought back money of a chargeback changes nothing for an order, of which chargebacks take nothing', () => {
    const payment = newPayment({ handled: [handled(reinstatement('r1', 600), { amountMinor: 0 })] });
    const lost = disputeFact({ role: 'movement', amountMinor: 600 });
    expect(balanceOf([paymentFact({ amountMinor: 6000 }), lost], payment, ORDER, 'auto')).toBe(0);
    expect(balanceOf([paymentFact({ amountMinor: 6000 }), lost, b], payment, ORDER, 'auto')).toBe(2000);
  });

  it.each([6000, 0, null])(
    'that brought back money of a chargeback does not give it back once more, handled as %s',
    (amountMinor) => {
      const payment = newPayment({ handled: [handled(reinstatement('r1', 6000), { amountMinor })] });
      const lost = disputeFact({ role: 'movement', amountMinor: 6000 });
      expect(balanceOf([paymentFact({ amountMinor: 6000 }), lost], payment, TOPUP, 'auto')).toBe(0);
    },
  );

  it.each([
    ['manual', 2000, 1000],
    ['manual', 0, 1000],
    ['automatic', 2000, 1000],
  ] as const)(
    'which was a capture (%s, handled as %s) leaves the next capture its own',
    (rule, amountMinor, balance) => {
      const authorised = paymentFact({ amountMinor: 6000, isAuthorisation: true });
      const closed = newPayment({
        capture: rule,
        handled: [handled(capture('c1', 2000), { amountMinor, intent: TOPUP })],
      });
      expect(balanceOf([authorised, capture('c2', 1000)], closed, TOPUP, 'auto')).toBe(balance);
    },
  );

  it('that ended an authorisation leaves nothing to be credited of it', () => {
    const end = handled({ ...capture('e1', 0), movement: 'end' }, { amountMinor: 0 });
    const authorised = paymentFact({ amountMinor: 6000, isAuthorisation: true });
    expect(balanceOf([authorised], newPayment({ capture: 'manual', handled: [end] }), TOPUP, 'auto')).toBe(0);
  });

  it('leaves what it had posted before as it was', () => {
    const paid = step(newPayment(), paymentFact({ amountMinor: 6000 }), ORDER, 'auto').payment;
    const { payment } = step(paid, b, ORDER, 'auto');
    const closed = { ...payment, handled: [handled({ ...b, currency: 'EUR' })] };
    expect(settle(closed, 'auto').parts).toEqual([{ credit: 2000, take: 0, bonusTake: 0 }]);
    expect([handledBefore(closed, b), wholeOf(closed).parts.length]).toEqual([null, 1]);
  });

  it('that a later victory would have to give back is left to a person', () => {
    const reversal = disputeFact({ disputeId: 'r', role: 'movement', amountMinor: 600 });
    const won = disputeFact({ disputeId: 'w', role: 'informs', state: 'won', amountMinor: 600 });
    const paid = step(newPayment({ handled: [handled(reversal)] }), paymentFact(), TOPUP, 'auto').payment;
    expect(isUnsettleable(paid, 'auto')).toBe(false);
    expect(isUnsettleable(step(paid, won, TOPUP, 'auto').payment, 'auto')).toBe(true);
  });
});

describe('a payment that was handled by hand', () => {
  const success = paymentFact({ amountMinor: 1000 });
  const half = refundFact({ amountMinor: 500 });
  const order = paymentFact({ amountMinor: 1000 });
  it.each([
    ['credited in full', handled(success, { amountMinor: 1000, intent: TOPUP }), -500, false],
    ['credited in half', handled(success, { amountMinor: 500, intent: TOPUP }), -250, false],
    ['of which nothing was owed', handled(success, { amountMinor: 0, intent: TOPUP }), 0, false],
    ['of unknown amount', handled(success, { intent: TOPUP }), -500, true],
    ['credited, though it asked for nothing that can be read', handled(success, { amountMinor: 1000 }), -500, false],
    ['of unknown amount and purpose', handled(success), 0, true],
    ['sold as an order', handled(order, { intent: ORDER }), 500, false],
  ])('%s, has its refund take its share of that', (_, one, balance, isUnclear) => {
    const payment = newPayment({ handled: [one], currency: 'USD' });
    expect(balanceOf([half], payment, TOPUP, 'auto')).toBe(balance);
    expect(isUnsettleable(step(payment, half, TOPUP, 'auto').payment, 'auto')).toBe(isUnclear);
  });
});

describe('a success that two events told', () => {
  const success = paymentFact({ amountMinor: 1000 });
  const refund = refundFact({ amountMinor: 1000 });
  it.each([
    ['one entry, named twice', [1000, 1000], ['ent_a', 'ent_a'], -1000],
    ['one amount, said twice', [1000, 1000], [null, null], -1000],
    ['an amount that only one of them was given', [null, 1000], [null, null], -1000],
  ])('counts once: %s', (_, amounts, entries, balance) => {
    const twice = amounts.map((amountMinor, index) =>
      handled(success, { eventId: `evt_${index}`, amountMinor, entryId: entries[index] ?? null, intent: TOPUP }),
    );
    const payment = newPayment({ handled: twice, currency: 'USD' });
    expect(balanceOf([refund], payment, TOPUP, 'auto')).toBe(balance);
    expect(isUnsettleable(step(payment, refund, TOPUP, 'auto').payment, 'auto')).toBe(false);
  });
});

describe('captures that one entry made good by hand', () => {
  it('count once, as what that entry credited', () => {
    const captures = ['a', 'b'].map((movementId) =>
      handled(movementFact({ movementId, amountMinor: 500 }), {
        ...{ eventId: `evt_${movementId}`, amountMinor: 1000, entryId: 'ent_a', customerId: 'cus_a' },
      }),
    );
    const authorised = record(newPayment(), paymentFact({ amountMinor: 1000, isAuthorisation: true }), TOPUP);
    const payment: Payment = { ...authorised, handled: captures, customerId: 'cus_a' };
    const { due } = step(payment, refundFact({ amountMinor: 500 }), TOPUP, 'auto');
    expect(due).toMatchObject([{ isCredit: false, eventType: 'payment_reversal', amountMinor: 500 }]);
  });
});

describe('a capture that was credited by hand, and taken back by hand when it failed', () => {
  it('leaves to a refund the share of the other captures', () => {
    const authorised = record(newPayment(), paymentFact({ amountMinor: 1000, isAuthorisation: true }), TOPUP);
    const handledOnes = [
      handled(movementFact({ movementId: 'a', amountMinor: 500 }), { amountMinor: 500 }),
      handled(movementFact({ movementId: 'a', amountMinor: 500, state: 'failed' }), { amountMinor: 500 }),
    ];
    const payment: Payment = { ...authorised, handled: handledOnes, customerId: 'cus_a' };
    const other = step(payment, movementFact({ movementId: 'b', amountMinor: 500 }), TOPUP, 'auto');
    const { due } = step(other.payment, refundFact({ amountMinor: 500 }), TOPUP, 'auto');
    expect(due).toMatchObject([{ isCredit: false, eventType: 'payment_reversal', amountMinor: 500 }]);
  });
});

const amount = fc.integer({ min: 0, max: 1500 });
const movements = fc
  .record({ refunds: fc.array(amount, { maxLength: 4 }), disputes: fc.array(amount, { maxLength: 2 }) })
  .map(({ refunds, disputes }) => [
    ...refunds.map((amountMinor, index) => refundFact({ refundId: `r${index}`, amountMinor })),
    ...disputes.map((amountMinor, index) => disputeFact({ disputeId: `d${index}`, amountMinor })),
  ])
  .filter((facts) => facts.length > 0);

describe('what was handled by hand', () => {
  it('makes the others post the target with it less the target with the closed ones alone, in any order', () => {
    const anyCase = movements.chain((facts) =>
      fc.record({
        facts: fc.constant(facts),
        closed: fc.subarray(facts),
        paid: fc.integer({ min: 1, max: 2000 }).map((amountMinor) => paymentFact({ amountMinor })),
        order: fc.array(fc.nat(), { minLength: facts.length + 1, maxLength: facts.length + 1 }),
        intent: fc.constantFrom(TOPUP, ORDER, { purpose: 'topup' as const, creditAmount: 1700 }),
        policy: fc.constantFrom('auto' as const, 'credit' as const, 'reverse' as const),
      }),
    );
    fc.assert(
      fc.property(anyCase, ({ facts, closed, paid, order, intent, policy }) => {
        const open: Fact[] = [paid, ...facts.filter((fact) => !closed.includes(fact))];
        const told = open.map((fact, index) => ({ fact, at: order[index] ?? 0 })).toSorted((x, y) => x.at - y.at);
        const left = (all: readonly Fact[]) => leftByModel([paid, ...all], { intent, policy, capture: 'automatic' });
        const payment = newPayment({ handled: closed.map((fact) => handled(fact)) });
        const balance = balanceOf(
          told.map(({ fact }) => fact),
          payment,
          intent,
          policy,
        );
        expect(BigInt(balance)).toBe(left(facts) - left(closed) + left([]));
      }),
      { numRuns: 1000 },
    );
  });
});
