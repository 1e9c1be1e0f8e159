import { describe, expect, it } from 'vitest';
import type { BonusRule } from '../../src/payments/bonus-rule.ts';
import { hashToken, type PaymentToken } from '../../src/payments/token.ts';
import { said, tell } from '../support/deciding.ts';
import { movementFact, newPayment, paymentFact } from '../support/payments.ts';

/** What of a bonus is decided after something was posted. */

const rule: BonusRule = {
  ...{ merchantId: 'bus_default', ruleId: 'r', currency: 'USD', minPaid: 1, maxPaid: null, basisPoints: null },
  ...{ fixed: 500, maxBonus: null, expiresInDays: 30, firstTopUpOnly: false, perCustomerLimit: null, startsAt: null },
  ...{ endsAt: null, sources: null, priority: 1, actor: 'x', createdAt: new Date(), updatedAt: new Date() },
};
const offering = (more: Partial<BonusRule> = {}) => ({
  offers: { rules: [{ ...rule, ...more }], historyOf: () => ({ hasOther: false, uses: new Map() }), now: new Date() },
});

const TOKEN = `wt_${'a'.repeat(32)}`;
const carrying = (terms: Partial<PaymentToken>) => ({
  carried: {
    token: {
      ...{ merchantId: 'bus_default', tokenHash: hashToken(TOKEN), customerId: 'cus_a', purpose: 'topup' as const },
      ...{ currency: 'USD', amount: 1000, creditAmount: null, expiresAt: new Date(Date.now() + 1e9), revokedAt: null },
      ...{ usedSourceId: null, usedPaymentId: null, seriesId: null, isFollowed: false, ...terms },
    },
  },
});
const late = paymentFact({ amountMinor: 1000, metadata: { wallet_token: TOKEN }, tokenBy: 'order' });

describe('a token that comes after a rule gave a bonus', () => {
  const first = tell([paymentFact({ amountMinor: 1000 })], offering()).payment;

  it.each([
    ['nothing of a bonus', {}],
    ['only for how long one can be spent', { bonusDays: 10 }],
  ])('leaves the bonus as it is where it says %s', (_, terms) => {
    const { payment, ...decision } = tell([late], carrying(terms), first);
    expect(said({ payment, ...decision })).toBe('applied');
    expect(payment).toMatchObject({ bonusAmount: 500, bonusRuleId: 'r', bonusDays: 30, bonusPrice: 1000 });
  });

  it.each([
    ['another bonus', { bonusAmount: 800 }, 800],
    ['a total', { creditAmount: 1800 }, 0],
  ])('is not the rule’s any more where it says %s', (_, terms, bonusAmount) => {
    const { payment, ...decision } = tell([late], carrying(terms), first);
    expect(said({ payment, ...decision })).toBe('applied +300 bonus');
    expect(payment).toMatchObject({ bonusAmount, bonusRuleId: null, bonusPrice: null });
  });

  it('takes nothing away: a person decides', () => {
    expect(said(tell([late], carrying({ creditAmount: 1200 }), first))).toBe('parked named_late');
    expect(said(tell([late], carrying({ bonusAmount: 400 }), first))).toBe('parked named_late');
  });
});

it('a bonus of a rule is judged with its last capture as with a payment at once', () => {
  const authorised = paymentFact({ amountMinor: 1000, isAuthorisation: true });
  const captured = (movementId: string) => movementFact({ movement: 'capture', movementId, amountMinor: 500 });
  const tooMuch = offering({ fixed: 100_000 });
  expect(said(tell([paymentFact({ amountMinor: 1000 })], tooMuch))).toBe('parked bonus_too_large');
  const circumstances = { ...tooMuch, source: { capture: 'manual' as const } };
  const decision = tell([authorised, captured('a'), captured('b')], circumstances, newPayment({ capture: 'manual' }));
  expect(said(decision)).toBe('parked bonus_too_large');
});

it('a rule that asks for what else was paid fits nobody of whom that is not known', () => {
  const offers = { rules: [{ ...rule, firstTopUpOnly: true }], historyOf: () => null, now: new Date() };
  expect(said(tell([paymentFact({ amountMinor: 1000 })], { offers }))).toBe('applied +1000 payment');
});
