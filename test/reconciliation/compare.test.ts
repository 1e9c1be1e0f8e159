import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { postingsDue } from '../../src/payments/due.ts';
import { type Fact, STAGES, type Stage } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { record } from '../../src/payments/record.ts';
import { settle } from '../../src/payments/settle.ts';
import { compare } from '../../src/reconciliation/compare.ts';
import { disputeFact, happenings, newPayment, play } from '../support/payments.ts';

const INTENT = { purpose: 'topup', creditAmount: null } as const;

const factOf = (text: string): Fact => {
  const [fact] = happenings(text);
  if (fact === undefined || fact === 'waited') throw new Error(`no fact: ${text}`);
  return fact;
};

/** The payment after what happened to it, with its entries; null if nothing did. */
const known = (text: string): Payment | null => (text === '' ? null : play(happenings(text), INTENT, 'auto').payment);

describe('compare', () => {
  it.each([
    // what we know, what the provider says, the comparison
    ['', 'paid 1000', 'missing'],
    ['pending', 'paid 1000', 'missing'],
    ['failed', 'paid 1000', 'missing'],
    ['refund a 400', 'paid 1000', 'missing'],
    ['paid 1000', 'paid 1000', 'matched'],
    ['paid 1000', 'paid 1200', 'missing'],
    ['paid 1000', 'paid 900', 'is 1000 here and 900 at the provider, in minor units'],
    ['paid 1000', 'paid 1000 INR', 'is in USD here and in INR at the provider'],
    ['paid 1000', 'pending', 'is succeeded here and pending at the provider'],
    ['', 'pending', 'nothing'],
    ['', 'failed', 'nothing'],
    ['', 'paid 0', 'nothing'],
    ['', 'refund a 400', 'missing'],
    ['paid 1000', 'refund a 400', 'missing'],
    ['paid 1000; refund a 400 pending', 'refund a 400', 'missing'],
    ['paid 1000; refund a 400', 'refund a 400', 'matched'],
    ['paid 1000; refund a 400', 'refund a 600', 'missing'],
    ['paid 1000; refund a 400', 'refund a 300', 'is 400 here and 300 at the provider, in minor units'],
    ['paid 1000; refund a 400', 'refund a 400 failed', 'missing'],
    ['paid 1000; refund a 400 failed', 'refund a 400', 'is failed here and succeeded at the provider'],
    ['paid 1000', 'refund a 400 pending', 'nothing'],
    ['paid 1000', 'refund a 400 failed', 'nothing'],
    ['paid 1000; refund a all', 'refund a 1000', 'missing'],
    ['paid 1000', 'dispute d 1000', 'missing'],
    ['paid 1000; dispute d 1000', 'dispute d 1000', 'matched'],
    ['paid 1000; dispute d 1000', 'dispute d 1000 lost', 'missing'],
    ['paid 1000; dispute d 1000 lost', 'dispute d 1000 won', 'missing'],
    ['paid 1000; dispute d 1000 won', 'dispute d 1000 lost', 'is won here and lost at the provider'],
  ])('of "%s" with "%s" is %s', (before, says, expected) => {
    const comparison = compare(known(before), factOf(says));
    expect(comparison.kind === 'differing' ? comparison.reason : comparison.kind).toBe(expected);
  });

  it('of a dispute that was won before and is won again, is missing as long as a later round of it is open', () => {
    const round = (state: 'open' | 'won', stage: Stage, day: number) =>
      disputeFact({ state, stage, occurredAt: new Date(Date.UTC(2026, 1, day)) });
    const open = [
      round('open', STAGES.chargeback, 1),
      round('won', STAGES.chargeback, 2),
      round('open', STAGES.arbitration, 3),
    ];
    const payment = play([...happenings('paid 1000'), ...open], INTENT, 'auto').payment;
    expect(payment.parts[0]?.state).toBe('won');
    expect(compare(payment, round('won', STAGES.arbitration, 4))).toEqual({ kind: 'missing' });
    const recorded = record(payment, round('won', STAGES.arbitration, 4), null);
    const { after } = postingsDue(recorded, settle(recorded, 'auto'));
    expect(compare(after, round('won', STAGES.arbitration, 4))).toEqual({ kind: 'matched' });
  });

  it('tells what is recorded but not posted, as when its event is parked', () => {
    const stuck = record(newPayment(), factOf('paid 1000'), INTENT);
    expect(compare(stuck, factOf('paid 1000'))).toMatchObject({ kind: 'differing' });
  });

  it('never says missing of what was taken in, whatever else happened before', () => {
    const amount = fc.integer({ min: 1, max: 2000 });
    const words = fc.oneof(
      fc.record({ n: amount }).map(({ n }) => `paid ${n}`),
      fc.constantFrom('pending', 'failed'),
      fc
        .tuple(fc.constantFrom('a', 'b'), amount, fc.constantFrom('pending', 'succeeded', 'failed'))
        .map(([id, n, state]) => `refund ${id} ${n} ${state}`),
      fc
        .tuple(fc.constantFrom('d', 'e'), amount, fc.constantFrom('open', 'lost', 'won'))
        .map(([id, n, state]) => `dispute ${id} ${n} ${state}`),
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 8 }), words, (before, says) => {
        const payment =
          before.length === 0 ? newPayment() : play(happenings(before.join('; ')), INTENT, 'auto').payment;
        const fact = factOf(says);
        const recorded = record(payment, fact, INTENT);
        const { after } = postingsDue(recorded, settle(recorded, 'auto'));
        const comparison = compare(after, fact);
        expect(comparison.kind).not.toBe('missing');
        // What it says of a payment that it would not change is not taken in.
        if (compare(payment, fact).kind === 'matched') expect(comparison.kind).toBe('matched');
      }),
      { numRuns: 2000 },
    );
  });
});
