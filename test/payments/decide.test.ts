import { describe, expect, it } from 'vitest';
import type { Source } from '../../src/merchants/source.ts';
import { type CustomerResolution, type Evaluation, evaluate, namedCustomer } from '../../src/payments/decide.ts';
import type { Fact } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { disputeFact, entriesText, newPayment, paymentFact, refundFact } from '../support/payments.ts';

const SOURCE: Source = {
  merchantId: 'bus_default',
  sourceId: 'src_stripe',
  provider: 'stripe',
  mode: 'test',
  secrets: [],
  defaultPurpose: 'topup',
  metadata: 'all',
  refunds: 'auto',
  customerLinkRule: 'create',
  apiKey: null,
  enabled: true,
};

interface Circumstances {
  readonly source?: Partial<Source>;
  readonly customer?: CustomerResolution;
  readonly waitIsOver?: boolean;
  readonly isAssigned?: boolean;
}

/** Evaluates facts in order, each under the same circumstances; returns the last evaluation. */
function tell(facts: readonly Fact[], circumstances: Circumstances = {}, from: Payment = newPayment()): Evaluation {
  // As the store opens a payment: with its source's setting of that moment.
  let payment: Payment = { ...from, refunds: circumstances.source?.refunds ?? from.refunds };
  let last: Evaluation | null = null;
  for (const fact of facts) {
    last = evaluate({
      payment,
      fact,
      source: { ...SOURCE, ...circumstances.source },
      customer: circumstances.customer ?? { customerId: 'cus_a' },
      isAssigned: circumstances.isAssigned ?? false,
      currencies: new Set(['USD', 'INR', 'EUR']),
      waitIsOver: circumstances.waitIsOver ?? false,
    });
    payment = last.payment;
  }
  if (last === null) throw new Error('no facts');
  return last;
}

/** `applied +1000 payment`, `parked no_customer`, and so on. */
function said({ verdict, due }: Evaluation): string {
  const what = verdict.state === 'parked' ? `parked ${verdict.reason}` : verdict.state;
  return `${what} ${entriesText(due)}`.trim();
}

const paid = paymentFact();
const orderPaid = paymentFact({ metadata: { wallet_purpose: 'order' } });
const refund = refundFact({ amountMinor: 400 });
const lost = disputeFact();
const NO_CUSTOMER: CustomerResolution = { problem: 'no_customer' };
const UNKNOWN: CustomerResolution = { problem: 'unknown_customer' };

describe('evaluate', () => {
  it.each<[string, Fact[], Circumstances, string]>([
    ['a paid top-up', [paid], {}, 'applied +1000 payment'],
    ['the same event again', [paid, paid], {}, 'applied'],
    ['a bonus pack', [paymentFact({ metadata: { wallet_credit_amount: '1200' } })], {}, 'applied +1200 payment'],
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
      'applied',
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
    ['an early pending refund', [{ ...refund, state: 'pending' }], {}, 'applied'],
    ['an early refund that is ignored', [refund], { source: { refunds: 'ignore' } }, 'applied'],
    ['the payment of an early refund', [refund, paid], {}, 'applied +1000 payment; -400 payment_reversal'],
    ['the payment of an early dispute', [lost, paid], {}, 'applied +1000 payment; -1000 dispute'],
    ['an early refund that has waited', [refund], { waitIsOver: true }, 'applied +400 refund'],
    ['an early dispute that has waited', [lost], { waitIsOver: true }, 'parked unknown_payment'],
    ['one to be reversed', [refund], { waitIsOver: true, source: { refunds: 'reverse' } }, 'parked unknown_payment'],
    ['one without an amount', [{ ...refund, amountMinor: null }], { waitIsOver: true }, 'parked unknown_amount'],
    ['one without a currency', [{ ...refund, currency: null }], { waitIsOver: true }, 'parked unknown_amount'],
    [
      'one in a currency without wallets',
      [{ ...refund, currency: 'XTS' }],
      { waitIsOver: true },
      'parked unsupported_currency',
    ],
    ['one of nobody', [refund], { waitIsOver: true, customer: NO_CUSTOMER }, 'parked no_customer'],
    [
      'the payment, when it shows up after that',
      [refund, paid],
      { waitIsOver: true },
      'applied +1000 payment; -400 refund_reversal; -400 payment_reversal',
    ],
    [
      'the payment in another currency',
      [{ ...refund, currency: 'EUR' }, paid],
      { waitIsOver: true },
      'applied +1000 payment; -400 refund_reversal EUR',
    ],
    [
      'the payment, when it names another customer than its refund went to',
      [refund, paymentFact({ metadata: { wallet_customer_id: 'cus_b' } })],
      { waitIsOver: true },
      'parked customer_mismatch',
    ],
    [
      'the payment, when it names the customer that its refund went to',
      [refund, paymentFact({ metadata: { wallet_customer_id: 'cus_a' } })],
      { waitIsOver: true },
      'applied +1000 payment; -400 refund_reversal; -400 payment_reversal',
    ],
  ])('%s', (_, facts, circumstances, outcome) => {
    expect(said(tell(facts, circumstances))).toBe(outcome);
  });

  it('records a fact that cannot be applied, so that a replay or a later event settles it', () => {
    const parked = tell([paid, refund], { customer: NO_CUSTOMER });
    expect(said(parked)).toBe('parked no_customer');
    expect(parked.payment).toMatchObject({
      state: 'succeeded',
      postedCredit: 0,
      parts: [{ partId: 'a', postings: 0 }],
    });
    const replayed = tell([paid], {}, parked.payment);
    expect(said(replayed)).toBe('applied +1000 payment; -400 payment_reversal');
    expect(replayed.payment).toMatchObject({ customerId: 'cus_a', postedCredit: 1000 });
  });

  it('keeps the purpose and the bonus of a payment that were decided before its source obeyed less', () => {
    const bonus = paymentFact({ metadata: { wallet_credit_amount: '1200' } });
    const obeysLess: Circumstances = { source: { metadata: 'customer' } };
    expect(said(tell([bonus], obeysLess, tell([bonus]).payment))).toBe('applied');
    expect(said(tell([refund], obeysLess, tell([bonus]).payment))).toBe('applied -480 payment_reversal');
    expect(said(tell([orderPaid, refund], obeysLess, tell([orderPaid]).payment))).toBe('applied +400 refund');
    const nobodys = tell([bonus], { customer: NO_CUSTOMER }).payment;
    expect(said(tell([bonus], obeysLess, nobodys))).toBe('applied +1200 payment');
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
