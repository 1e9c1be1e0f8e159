import { describe, expect, it } from 'vitest';
import { postingsDue } from '../../src/payments/due.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { isTriedAgain, record } from '../../src/payments/record.ts';
import { settle } from '../../src/payments/settle.ts';
import { disputeFact, happenings, newPayment, paymentFact, play, refundFact } from '../support/payments.ts';

const TOPUP = { purpose: 'topup', creditAmount: null } as const;
const lifeOf = (text: string): Payment => play(happenings(text), TOPUP, 'auto').payment;

describe('the life of a payment', () => {
  it.each([
    ['pending', 'pending'],
    ['failed', 'failed'],
    ['failed; pending', 'failed'],
    ['failed; paid 1000', 'succeeded'],
    ['paid 1000; failed', 'succeeded'],
    ['paid 1000; pending', 'succeeded'],
    ['refund a 400', 'unknown'],
  ])('%s is %s', (text, state) => {
    expect(lifeOf(text).state).toBe(state);
  });

  it.each([
    ['refund a 400 pending', 'pending'],
    ['refund a 400; refund a 400 pending', 'succeeded'],
    ['refund a 400; refund a 400 failed', 'failed'],
    ['refund a 400 failed; refund a 400', 'failed'],
    ['dispute a 400', 'open'],
    ['dispute a 400 lost; dispute a 400 open', 'lost'],
    ['dispute a 400 lost; dispute a 400 won', 'won'],
    ['dispute a 400 won; dispute a 400 lost', 'won'],
  ])('%s: the part is %s', (text, state) => {
    expect(lifeOf(text).parts.map((part) => part.state)).toEqual([state]);
  });

  it('keeps the largest amount it was told, of the payment and of each part', () => {
    const life = lifeOf('paid 700; paid 1000; paid 900; refund a all; refund a 5; refund a 3; refund a all');
    expect(life.amountPaid).toBe(1000);
    expect(life.parts.map((part) => part.amountMinor)).toEqual([5]);
  });

  const SECOND = 1_700_000_000_000;
  const tried = (state: 'pending' | 'failed', second: number | null) =>
    paymentFact({ state, occurredAt: second === null ? null : new Date(SECOND + second * 1000) });
  it.each([
    ['a try after its failure', [tried('failed', 0), tried('pending', 9)], true],
    ['a failure before its try that is told late', [tried('pending', 9), tried('failed', 0)], true],
    ['a try before its failure that is told late', [tried('failed', 9), tried('pending', 0)], false],
    ['a failure after its try', [tried('pending', 0), tried('failed', 9)], false],
    ['a failure of the second of its try', [tried('pending', 9), tried('failed', 9)], false],
    [
      'the newest of each, whatever is heard last',
      [tried('pending', 9), tried('failed', 5), tried('pending', 1)],
      true,
    ],
    ['a failure of unknown time', [tried('pending', 9), tried('failed', null)], false],
    ['a try after a failure of unknown time', [tried('failed', null), tried('pending', 9)], true],
    ['a try of unknown time', [tried('failed', 0), tried('pending', null)], false],
    ['a success', [tried('failed', 0), tried('pending', 9), paymentFact()], false],
    ['what asks for its payer', [tried('failed', 0), { ...tried('pending', 9), awaitsPayer: true as const }], false],
  ])('by %s it is known whether a payment that failed is being tried again', (_, facts, isAgain) => {
    expect(isTriedAgain(facts.reduce((life, fact) => record(life, fact, null), newPayment()))).toBe(isAgain);
  });

  it("keeps the first success's purpose and currency, and takes neither from an earlier attempt", () => {
    const pending = record(newPayment(), paymentFact({ state: 'pending', amountMinor: 5, currency: 'EUR' }), null);
    expect(pending).toMatchObject({ currency: 'EUR', purpose: null, amountPaid: null });
    const paid = record(pending, paymentFact(), { purpose: 'order', creditAmount: 7 });
    const again = record(paid, paymentFact({ currency: 'INR' }), TOPUP);
    expect(again).toMatchObject({ currency: 'USD', purpose: 'order', creditAmount: 7 });
  });

  it('tells a refund from a dispute of the same id', () => {
    const both = record(
      record(newPayment(), refundFact({ refundId: 'x' }), null),
      disputeFact({ disputeId: 'x' }),
      null,
    );
    expect(both.parts.map(({ kind, ordinal }) => [kind, ordinal])).toEqual([
      ['refund', 0],
      ['dispute', 1],
    ]);
  });

  it('lists its parts in the order in which they settled', () => {
    const order = (text: string) => lifeOf(text).parts.map(({ partId, ordinal }) => `${partId}${ordinal}`);
    expect(order('dispute d 9; refund a 9 pending; refund b 9')).toEqual(['d0', 'a1', 'b2']);
    expect(order('dispute d 9; refund a 9 pending; refund b 9; dispute d 9 lost')).toEqual(['a0', 'b1', 'd2']);
    expect(order('refund a 9; refund b 9; refund a 9 failed')).toEqual(['a0', 'b1']);
  });

  it('refuses a fact of another payment', () => {
    expect(() => record(newPayment(), refundFact({ paymentId: 'q' }), null)).toThrow('Invariant broken');
  });

  it('is paid, though for nothing, when its metadata is unusable: its refund moves nothing and waits for nothing', () => {
    const paid = record(newPayment(), paymentFact(), null);
    expect(paid).toMatchObject({ state: 'succeeded', purpose: null });
    const refunded = record(paid, refundFact(), null);
    expect(postingsDue(refunded, settle(refunded, 'auto')).due).toEqual([]);
    expect(record(paid, paymentFact(), { purpose: 'order', creditAmount: null }).purpose).toBe('order');
  });
});
