import { describe, expect, it } from 'vitest';
import { originsOfBonus } from '../../src/payments/due.ts';
import type { PaymentPart } from '../../src/payments/payment.ts';
import { tell } from '../support/deciding.ts';
import { newPayment, paymentFact, refundFact } from '../support/payments.ts';

describe('the keys under which a bonus came to its wallets', () => {
  const whose = { customerId: 'cus_a', currency: 'USD' };

  it('have the first of many, by which most of it was given', () => {
    const keys = originsOfBonus(newPayment({ ...whose, bonusPostings: 150 }));
    expect([keys.length, keys[0]]).toEqual([150, 'src_stripe:bonus:p']);
  });

  it('have those of the payment and its moves, however many parts gave back', () => {
    const [one] = tell([paymentFact({ amountMinor: 9000 }), refundFact({ amountMinor: 1 })]).payment.parts;
    const parts = Array.from({ length: 120 }, (_, index): PaymentPart[] =>
      one === undefined ? [] : [{ ...one, partId: `re_${index}`, bonusPostings: 3 }],
    ).flat();
    const keys = originsOfBonus(newPayment({ ...whose, bonusPostings: 1, moves: 1, parts }));
    expect(keys.slice(0, 2)).toEqual(['src_stripe:bonus:p', 'src_stripe:moved_bonus:p']);
    expect([keys.length, keys.at(-1)]).toEqual([102, 'src_stripe:bonus_refund:p:re_119#3']);
  });
});
