import { describe, expect, it } from 'vitest';
import type { Source } from '../../src/merchants/source.ts';
import { namedCustomer } from '../../src/payments/decide.ts';
import type { CustomerResolution } from '../../src/payments/decision.ts';
import type { Fact } from '../../src/payments/fact.ts';
import { MOST_PARTS } from '../../src/payments/record.ts';
import { type Circumstances, said, tell } from '../support/deciding.ts';
import { disputeFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';

/** What an early refund meets, once it has waited, at a source that sells orders or is set otherwise. */
function sold(source: Partial<Source> = {}): Circumstances {
  return { waitIsOver: true, source: { defaultPurpose: 'order', ...source } };
}
const SOLD = sold();

const topup = paymentFact({ metadata: { wallet_purpose: 'topup' } });
const paid = paymentFact();
const orderPaid = paymentFact({ metadata: { wallet_purpose: 'order' } });
const refund = refundFact({ amountMinor: 400 });
const lost = disputeFact();
const NO_CUSTOMER: CustomerResolution = { problem: 'no_customer' };
const UNKNOWN: CustomerResolution = { problem: 'unknown_customer' };

describe('decide', () => {
  it.each<[string, Fact[], Circumstances, string]>([
    ['a paid top-up', [paid], {}, 'applied +1000 payment'],
    ['the same event again', [paid, paid], {}, 'applied'],
    [
      'a bonus pack',
      [paymentFact({ metadata: { wallet_credit_amount: '1200' } })],
      {},
      'applied +1000 payment; +200 bonus',
    ],
    [
      'a bonus as large as may be',
      [paymentFact({ metadata: { wallet_credit_amount: '2000' } })],
      {},
      'applied +1000 payment; +1000 bonus',
    ],
    ['a larger one', [paymentFact({ metadata: { wallet_credit_amount: '2001' } })], {}, 'parked bonus_too_large'],
    [
      'a larger one of a payment that a person gave to somebody',
      [paymentFact({ metadata: { wallet_credit_amount: '2001' } })],
      { isAssigned: true },
      'parked bonus_too_large',
    ],
    ['the purpose of the metadata', [orderPaid, refund], {}, 'applied +400 refund'],
    ['the purpose of the source', [paid, refund], { source: { defaultPurpose: 'order' } }, 'applied +400 refund'],
    ['the refunds setting of the source', [paid, refund], { source: { refunds: 'credit' } }, 'applied +400 refund'],
    ['a failed payment', [paymentFact({ state: 'failed', amountMinor: null })], { customer: NO_CUSTOMER }, 'applied'],
    ['a free payment', [paymentFact({ amountMinor: 0 })], { customer: NO_CUSTOMER }, 'applied'],
    [
      'a bonus that a payer may have written',
      [paymentFact({ metadata: { wallet_credit_amount: '1200' } })],
      { source: { metadata: 'customer' } },
      'parked invalid_metadata',
    ],
    [
      'a purpose that a payer may have written, and its refund',
      [orderPaid, refund],
      { source: { metadata: 'customer' } },
      'waiting',
    ],
    ['unusable metadata', [paymentFact({ metadata: { wallet_purpose: 'x' } })], {}, 'parked invalid_metadata'],
    [
      'unusable metadata of a failed attempt',
      [paymentFact({ state: 'failed', metadata: { wallet_purpose: 'x' } })],
      {},
      'applied',
    ],
    // Whose money it is.
    ['a top-up of nobody', [paid], { customer: NO_CUSTOMER }, 'parked no_customer'],
    ['a top-up of an unknown customer', [paid], { customer: UNKNOWN }, 'parked unknown_customer'],
    ['an order of an unknown customer', [orderPaid], { customer: UNKNOWN }, 'parked unknown_customer'],
    ['a free order of an unknown customer', [{ ...orderPaid, amountMinor: 0 }], { customer: UNKNOWN }, 'applied'],
    [
      'a payment that is none of our business',
      [paymentFact({ metadata: { wallet_purpose: 'none' } })],
      { customer: UNKNOWN },
      'applied',
    ],
    // Currencies.
    ['a top-up in a currency without wallets', [paymentFact({ currency: 'XTS' })], {}, 'parked unsupported_currency'],
    ['an order in a currency without wallets', [{ ...orderPaid, currency: 'XTS' }], {}, 'applied'],
    [
      'its refund',
      [
        { ...orderPaid, currency: 'XTS' },
        { ...refund, currency: 'XTS' },
      ],
      {},
      'parked unsupported_currency',
    ],
    ['a top-up in no currency', [paymentFact({ currency: null })], {}, 'parked malformed'],
    [
      'a refund in another currency than its payment',
      [paid, { ...refund, currency: 'INR' }],
      {},
      'parked currency_mismatch',
    ],
    [
      'a dispute in another currency than its payment',
      [paid, { ...lost, currency: 'INR' }],
      {},
      'parked currency_mismatch',
    ],
    // A payment that is not known yet.
    ['an early refund', [refund], {}, 'waiting'],
    ['an early lost dispute', [lost], {}, 'waiting'],
    ['an early open dispute', [disputeFact({ state: 'open' })], {}, 'applied'],
    ['an early won dispute', [disputeFact({ state: 'won' })], {}, 'applied'],
    ['an early pending refund', [{ ...refund, state: 'pending' }], {}, 'waiting'],
    ['an early failed refund', [{ ...refund, state: 'failed' }], {}, 'waiting'],
    ['an early refund that is ignored', [refund], { source: { refunds: 'ignore' } }, 'applied'],
    ['the payment of an early refund', [refund, paid], {}, 'applied +1000 payment'],
    ['that refund once more', [refund, paid, refund], {}, 'applied -400 payment_reversal'],
    ['the early dispute of a payment, once more', [lost, paid, lost], {}, 'applied -1000 dispute'],
    ['an early refund of a top-up that has waited', [refund], { waitIsOver: true }, 'parked unknown_payment'],
    ['one where nothing is sold', [refund], sold({ defaultPurpose: 'none' }), 'parked unknown_payment'],
    [
      'one where nothing is sold, whatever refunds do',
      [refund],
      sold({ defaultPurpose: 'none', refunds: 'credit' }),
      'parked unknown_payment',
    ],
    [
      'one where all refunds become credit',
      [refund],
      sold({ defaultPurpose: 'topup', refunds: 'credit' }),
      'applied +400 refund',
    ],
    ['one whose payment failed', [paymentFact({ state: 'failed' }), refund], SOLD, 'parked unknown_payment'],
    ['one whose payment is under way', [paymentFact({ state: 'pending' }), refund], SOLD, 'parked unknown_payment'],
    [
      'one whose payment is parked',
      [paymentFact({ metadata: { wallet_purpose: '?' } }), refund],
      SOLD,
      'parked unknown_payment',
    ],
    [
      'a second one, once its payment is parked',
      [refund, paymentFact({ metadata: { wallet_purpose: '?' } }), refundFact({ refundId: 're_2' })],
      SOLD,
      'parked unknown_payment',
    ],
    [
      'the failure of a credited one, once its payment is parked',
      [refund, paymentFact({ metadata: { wallet_purpose: '?' } }), { ...refund, state: 'failed' }],
      SOLD,
      'applied -400 refund_reversal',
    ],
    ['an early refund that has waited', [refund], SOLD, 'applied +400 refund'],
    ['a failed one that has waited', [{ ...refund, state: 'failed' }], SOLD, 'applied'],
    ['its stale success', [{ ...refund, state: 'failed' }, refund], SOLD, 'applied'],
    ['an early dispute that has waited', [lost], SOLD, 'parked unknown_payment'],
    [
      'one to be reversed',
      [refund],
      { ...SOLD, source: { ...SOLD.source, refunds: 'reverse' } },
      'parked unknown_payment',
    ],
    ['one without an amount', [{ ...refund, amountMinor: null }], SOLD, 'parked unknown_amount'],
    ['one without a currency', [{ ...refund, currency: null }], SOLD, 'parked unknown_amount'],
    ['one in a currency without wallets', [{ ...refund, currency: 'XTS' }], SOLD, 'parked unsupported_currency'],
    ['one of nobody', [refund], { ...SOLD, customer: NO_CUSTOMER }, 'parked unknown_payment'],
    [
      'the payment, when it shows up after that',
      [refund, topup],
      SOLD,
      'applied +1000 payment; -400 refund_reversal; -400 payment_reversal',
    ],
    ['the payment in another currency', [{ ...refund, currency: 'EUR' }, paid], SOLD, 'parked currency_changed'],
    [
      'the payment, when it names another customer than its refund went to',
      [refund, paymentFact({ metadata: { wallet_customer_id: 'cus_b' } })],
      SOLD,
      'parked customer_mismatch',
    ],
    [
      'the payment, when it names the customer that its refund went to',
      [refund, paymentFact({ metadata: { wallet_customer_id: 'cus_a', wallet_purpose: 'topup' } })],
      SOLD,
      'applied +1000 payment; -400 refund_reversal; -400 payment_reversal',
    ],
  ])('%s', (_, facts, circumstances, outcome) => {
    expect(said(tell(facts, circumstances))).toBe(outcome);
  });

  it('learns nothing from what is parked or waits but that the payment was heard of', () => {
    const parked = tell([paid, refund], { customer: NO_CUSTOMER });
    expect(said(parked)).toBe('waiting');
    expect(parked.payment).toEqual({ ...newPayment(), heardOf: true });
    const over: Circumstances = { customer: NO_CUSTOMER, waitIsOver: true };
    expect(said(tell([refund], over, parked.payment))).toBe('parked unknown_payment');
    const replayed = tell([paid], {}, parked.payment);
    expect(said(replayed)).toBe('applied +1000 payment');
    expect(said(tell([refund], {}, replayed.payment))).toBe('applied -400 payment_reversal');
  });

  it('keeps the purpose and the bonus of a payment that were decided before its source obeyed less', () => {
    const bonus = paymentFact({ metadata: { wallet_credit_amount: '1200' } });
    const obeysLess: Circumstances = { source: { metadata: 'customer' } };
    expect(said(tell([bonus], obeysLess, tell([bonus]).payment))).toBe('applied');
    expect(said(tell([refund], obeysLess, tell([bonus]).payment))).toBe(
      'applied -80 bonus_reversal; -400 payment_reversal',
    );
    expect(said(tell([orderPaid, refund], obeysLess, tell([orderPaid]).payment))).toBe('applied +400 refund');
  });

  it('never moves a payment to another customer', () => {
    const { payment } = tell([refund], { customer: { customerId: 'cus_b' } }, tell([paid]).payment);
    expect(payment.customerId).toBe('cus_a');
  });

  it('never gives a payment that has entries to the customer that a person chose', () => {
    const chosen: Circumstances = { customer: { customerId: 'cus_b' }, isAssigned: true };
    expect(tell([paid], chosen, tell([paid]).payment).payment.customerId).toBe('cus_a');
    const ofRefund = tell([orderPaid, refund]).payment;
    expect(tell([orderPaid], chosen, ofRefund).payment.customerId).toBe('cus_a');
    // An order without entries is still open.
    expect(tell([orderPaid], chosen, tell([orderPaid]).payment).payment.customerId).toBe('cus_b');
  });

  it('counts a thousand refunds and disputes of a payment, goes on with those, and leaves one more to a person', () => {
    const small = (refundId: string, state: 'succeeded' | 'failed' = 'succeeded') =>
      refundFact({ refundId, amountMinor: 1, state });
    const refunds = Array.from({ length: MOST_PARTS }, (_, n) => small(`re_${n}`));
    const { payment } = tell([paymentFact({ amountMinor: 2 * MOST_PARTS }), ...refunds]);
    for (const fact of [small('re_more'), disputeFact({ disputeId: 'du_more' })])
      expect(said(tell([fact], {}, payment))).toBe('parked manual_correction');
    expect(said(tell([small('re_7')], {}, payment))).toBe('applied');
    expect(said(tell([small('re_7', 'failed')], {}, payment))).toMatch(/^applied \+1 /);
  });

  it('says which metadata value is not usable', () => {
    const { verdict } = tell([paymentFact({ metadata: { wallet_credit_amount: '10.00' } })]);
    expect(verdict).toMatchObject({ state: 'parked', detail: expect.stringContaining('wallet_credit_amount') });
  });
});

describe('namedCustomer', () => {
  it.each<[Fact, string | null]>([
    [paymentFact({ metadata: { wallet_customer_id: 'cus_x' } }), 'cus_x'],
    [refundFact({ metadata: { wallet_customer_id: 'cus_x' } }), 'cus_x'],
    [paid, null],
    [lost, null],
  ])('%#', (fact, customerId) => {
    expect(namedCustomer(fact)).toBe(customerId);
  });
});

it('leaves what was granted by the ratio of its day when more is told of it', () => {
  const granted = newPayment({
    ...{ state: 'succeeded', purpose: 'topup', customerId: 'cus_a', currency: 'USD', amountPaid: 1000 },
    ...{ creditAmount: 2500, postedCredit: 2500, postings: 1, bonusSplit: false },
  });
  expect(said(tell([refund], {}, granted))).toBe('applied -1000 payment_reversal');
});
