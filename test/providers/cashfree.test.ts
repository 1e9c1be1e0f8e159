import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { cashfreeDispute, cashfreePayment, cashfreeRefund } from '../support/signing-paypal-adyen-cashfree.ts';
import { ordersOf, received } from './lives.ts';
import { interpret, summary } from './reading.ts';
import { describeFixtures, describeUnbendableAmounts } from './tables.ts';

const PAYMENT = '5114920441728';

describeFixtures('cashfree', {
  PAYMENT_SUCCESS_WEBHOOK: `payment ${PAYMENT} succeeded 17010 INR`,
  'PAYMENT_SUCCESS_WEBHOOK.number-id': `payment ${PAYMENT} succeeded 100 INR`,
  PAYMENT_FAILED_WEBHOOK: `payment ${PAYMENT} failed  INR`,
  PAYMENT_USER_DROPPED_WEBHOOK: 'ignored',
  PAYMENT_CHARGES_WEBHOOK: 'ignored',
  REFUND_STATUS_WEBHOOK: `refund ${PAYMENT} succeeded 7005 INR`,
  'REFUND_STATUS_WEBHOOK.pending': `refund ${PAYMENT} pending 7005 INR`,
  'REFUND_STATUS_WEBHOOK.onhold': `refund ${PAYMENT} pending 7005 INR`,
  'REFUND_STATUS_WEBHOOK.cancelled': `refund ${PAYMENT} failed 7005 INR`,
  'REFUND_STATUS_WEBHOOK.failed': `refund ${PAYMENT} failed 7005 INR`,
  AUTO_REFUND_STATUS_WEBHOOK: `refund ${PAYMENT} succeeded 17010 INR`,
  DISPUTE_CREATED: `dispute ${PAYMENT} open 17010 INR`,
  'DISPUTE_CREATED.retrieval': 'ignored',
  DISPUTE_UPDATED: `dispute ${PAYMENT} open 17010 INR`,
  'DISPUTE_UPDATED.pre-arbitration': `dispute ${PAYMENT} open 17010 INR`,
  DISPUTE_CLOSED: `dispute ${PAYMENT} lost 17010 INR`,
  'DISPUTE_CLOSED.won': `dispute ${PAYMENT} won 17010 INR`,
  'DISPUTE_CLOSED.accepted': `dispute ${PAYMENT} lost 17010 INR`,
  'DISPUTE_CLOSED.insufficient': `dispute ${PAYMENT} lost 17010 INR`,
  'DISPUTE_CLOSED.pre-arbitration': `dispute ${PAYMENT} lost 17010 INR`,
});

/** A payment of which the amount stands in the text just so. */
const withAmount = (source: string, currency = 'INR') =>
  cashfreePayment({ paymentId: 'p', amount: 12345, currency }).replace(
    '"payment_amount":12345',
    `"payment_amount":${source}`,
  );
const withId = (source: string) =>
  cashfreePayment({ paymentId: 'here', amount: 1 }).replace('"cf_payment_id":"here"', `"cf_payment_id":${source}`);

describe('a JSON number is read as it was written', () => {
  it.each<[string, string]>([
    ['170', 'payment p succeeded 17000 INR'],
    ['170.1', 'payment p succeeded 17010 INR'],
    ['170.10', 'payment p succeeded 17010 INR'],
    ['0.29', 'payment p succeeded 29 INR'],
    ['1.15', 'payment p succeeded 115 INR'],
    ['"170.10"', 'payment p succeeded 17010 INR'],
    ['0', 'payment p succeeded 0 INR'],
    ['90071992547409.91', 'payment p succeeded 9007199254740991 INR'],
    ['90071992547409.92', 'parked malformed'],
    ['1.0E7', 'payment p succeeded 1000000000 INR'],
    ['1.234567891E7', 'payment p succeeded 1234567891 INR'],
    ['1.23456789E6', 'payment p succeeded 123456789 INR'],
    ['1.23456789E5', 'parked malformed'],
    ['12e+2', 'payment p succeeded 120000 INR'],
    ['17010E-2', 'parked malformed'],
    ['1e300', 'parked malformed'],
    ['-1', 'parked malformed'],
    ['-0', 'parked malformed'],
    ['170.105', 'parked malformed'],
    ['null', 'parked malformed'],
    ['true', 'parked malformed'],
    ['[170]', 'parked malformed'],
    ['"1,700"', 'parked malformed'],
  ])('an amount of %s', (source, expected) => {
    expect(summary(interpret('cashfree', withAmount(source)))).toBe(expected);
  });

  it('every amount of rupees and paise', () => {
    const paise = fc.nat({ max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(paise, (amount) => {
        const digits = String(amount).padStart(3, '0');
        const source = `${digits.slice(0, -2)}.${digits.slice(-2)}`;
        expect(interpret('cashfree', withAmount(source))).toMatchObject({ facts: [{ amountMinor: amount }] });
      }),
      { numRuns: 1_000 },
    );
  });

  it.each<[string, string]>([
    ['9007199254740993', '9007199254740993'],
    ['"9007199254740993"', '9007199254740993'],
    ['123456789012345678901234567890', '123456789012345678901234567890'],
  ])('an id of %s', (source, paymentId) => {
    expect(interpret('cashfree', withId(source))).toMatchObject({ facts: [{ paymentId }] });
  });

  it.each(['null', '-5', '1.5', '""', '"a b"', '{}'])('not an id: %s', (source) => {
    expect(summary(interpret('cashfree', withId(source)))).toBe('parked malformed');
  });

  it('nor is a number among the tags rounded', () => {
    const body = cashfreePayment({ tags: { wallet_customer_id: 'here' } }).replace('"here"', '9007199254740993');
    expect(interpret('cashfree', body)).toMatchObject({
      facts: [{ metadata: { wallet_customer_id: '9007199254740993' } }],
    });
  });
});

describe('what Cashfree also sends', () => {
  it.each<[string, string | object, string]>([
    ['an amount without decimals', withAmount('800', 'JPY'), 'payment p succeeded 800 JPY'],
    ['decimals of a currency that has none', withAmount('800.50', 'JPY'), 'parked malformed'],
    ['three decimals', withAmount('1.234', 'KWD'), 'payment p succeeded 1234 KWD'],
    ['a currency that is none', withAmount('1', 'XYZ'), 'parked unknown_currency'],
    ['tags that are not usable', cashfreePayment({ tags: { wallet_purpose: '\n' } }), 'parked invalid_metadata'],
    ['an unknown status of a refund', cashfreeRefund({ paymentId: 1, status: 'LATER' }), 'parked malformed'],
    ['an unknown status of a dispute', cashfreeDispute({ paymentId: 1, outcome: 'LATER' }), 'parked malformed'],
    [
      'evidence that does not suffice yet',
      cashfreeDispute({ paymentId: 1, type: 'UPDATED', stage: 'DISPUTE', outcome: 'INSUFFICIENT_EVIDENCE', amount: 2 }),
      'dispute 1 open 200 INR',
    ],
    ['the test of its dashboard', { data: { test_object: { test_key: 'test_value' } }, type: 'WEBHOOK' }, 'ignored'],
    ['an event named like a method of objects', { type: 'constructor' }, 'ignored'],
  ])('%s', (_name, body, expected) => {
    expect(summary(interpret('cashfree', body))).toBe(expected);
  });

  it('a payment with its customer and its tags, from the bytes as they came', () => {
    const file = new URL('../fixtures/providers/cashfree/PAYMENT_SUCCESS_WEBHOOK.json', import.meta.url);
    expect(PROVIDERS.cashfree.interpret(readFileSync(file))).toEqual({
      kind: 'facts',
      eventType: 'PAYMENT_SUCCESS_WEBHOOK',
      facts: [
        {
          kind: 'payment',
          paymentId: PAYMENT,
          state: 'succeeded',
          amountMinor: 17010,
          currency: 'INR',
          customer: { id: '7112AAA812234', email: 'ravi@example.com', name: 'Ravi Kumar' },
          metadata: { wallet_customer_id: 'cus_ravi' },
          occurredAt: new Date('2026-10-28T09:30:05Z'),
          mayBeNamed: true,
        },
      ],
    });
  });

  it('a refund under the id that Cashfree gave it', () => {
    const body = cashfreeRefund({ paymentId: 1, refundId: 77, amount: 1, status: 'SUCCESS' });
    expect(interpret('cashfree', body)).toMatchObject({
      facts: [{ refundId: '77', customer: { id: null, email: null, name: null }, metadata: {} }],
    });
  });

  describeUnbendableAmounts(
    'cashfree',
    ['PAYMENT_SUCCESS_WEBHOOK', 'REFUND_STATUS_WEBHOOK', 'AUTO_REFUND_STATUS_WEBHOOK', 'DISPUTE_CLOSED'],
    [
      'data.payment.payment_amount',
      'data.payment.payment_currency',
      'data.refund.refund_amount',
      'data.refund.refund_currency',
      'data.auto_refund.refund_amount',
      'data.auto_refund.refund_currency',
      'data.dispute.dispute_amount',
      'data.dispute.dispute_amount_currency',
      // Other rounds of a dispute withdraw those before them, by as many facts.
      'data.dispute.dispute_type',
    ],
  );
});

describe('the life of a payment at Cashfree, in any order', () => {
  const paid = cashfreePayment({ paymentId: 1, amount: 100, tags: {} });
  const refund = (status: string) => cashfreeRefund({ paymentId: '1', refundId: 7, amount: 40.5, status });
  const dispute = (stage: 'DISPUTE' | 'CHARGEBACK' | 'PRE_ARBITRATION' | 'ARBITRATION', outcome: string, amount = 60) =>
    cashfreeDispute({ paymentId: 1, disputeId: 9, stage, outcome, amount });

  it.each<[string, string[], number]>([
    ['a failed attempt and then a success', [paid, cashfreePayment({ type: 'FAILED', paymentId: 1 })], 10_000],
    ['a refund on hold takes nothing', [paid, refund('ONHOLD')], 10_000],
    ['and is taken once it succeeds', [paid, refund('ONHOLD'), refund('SUCCESS')], 5_950],
    ['and given back if it is cancelled after all', [paid, refund('SUCCESS'), refund('CANCELLED')], 10_000],
    [
      'a chargeback that is lost',
      [paid, dispute('CHARGEBACK', 'CREATED'), dispute('CHARGEBACK', 'MERCHANT_LOST')],
      4_000,
    ],
    [
      'a chargeback that is won, and lost in the next round',
      [paid, dispute('CHARGEBACK', 'MERCHANT_WON'), dispute('PRE_ARBITRATION', 'MERCHANT_LOST')],
      4_000,
    ],
    [
      'a chargeback that is lost in every round, and taken once',
      [paid, dispute('CHARGEBACK', 'MERCHANT_LOST'), dispute('PRE_ARBITRATION', 'MERCHANT_LOST')],
      4_000,
    ],
    [
      'a chargeback that is lost, and won in the last round',
      [paid, dispute('CHARGEBACK', 'MERCHANT_LOST'), dispute('ARBITRATION', 'MERCHANT_WON')],
      10_000,
    ],
  ])('%s', (_name, bodies, expected) => {
    for (const order of ordersOf(bodies)) expect(received('cashfree', [...order, ...order])).toBe(expected);
  });
});

it('the key of a delivery of Cashfree is the digest of its body', () => {
  const key = (id: string) =>
    PROVIDERS.cashfree.deliveryKey({ rawBody: Buffer.from('{}'), headers: { 'x-idempotency-key': id } });
  expect(key('1')).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
  expect(key('2')).toBe(key('1'));
});
