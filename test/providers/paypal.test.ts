import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import type { JsonObject } from '../support/provider-fixtures.ts';
import { paypalCapture, paypalDispute, paypalRefund } from '../support/signing-paypal-adyen-cashfree.ts';
import { ordersOf, received } from './lives.ts';
import { interpret, summary } from './reading.ts';
import { describeFixtures, describeUnbendableAmounts } from './tables.ts';

const PAYMENT = '3C679366HH908993F';
const SALE = '2FY57107YS3937627';

describeFixtures('paypal', {
  'PAYMENT.CAPTURE.COMPLETED': `payment ${PAYMENT} succeeded 5000 USD`,
  'PAYMENT.CAPTURE.COMPLETED.yen': `payment ${PAYMENT} succeeded 5000 JPY`,
  'PAYMENT.CAPTURE.COMPLETED.forint': `payment ${PAYMENT} succeeded 500000 HUF`,
  'PAYMENT.CAPTURE.PENDING': `payment ${PAYMENT} pending  USD`,
  'PAYMENT.CAPTURE.DENIED': `payment ${PAYMENT} failed  USD`,
  'PAYMENT.CAPTURE.DECLINED': `payment ${PAYMENT} failed  USD`,
  'PAYMENT.CAPTURE.REFUNDED': `refund ${PAYMENT} succeeded 2000 USD`,
  'PAYMENT.REFUND.PENDING': `refund ${PAYMENT} pending 2000 USD`,
  'PAYMENT.REFUND.FAILED': `refund ${PAYMENT} failed 2000 USD`,
  'PAYMENT.CAPTURE.REVERSED': `dispute ${PAYMENT} lost 5000 USD`,
  'CUSTOMER.DISPUTE.CREATED': `dispute ${PAYMENT} open  USD`,
  'CUSTOMER.DISPUTE.UPDATED': `dispute ${PAYMENT} open  USD`,
  'CUSTOMER.DISPUTE.RESOLVED': `dispute ${PAYMENT} won 5000 USD`,
  'CUSTOMER.DISPUTE.RESOLVED.buyer-favour': `dispute ${PAYMENT} lost 3000 USD`,
  'CUSTOMER.DISPUTE.RESOLVED.inquiry': `dispute ${PAYMENT} lost 3000 USD`,
  'CUSTOMER.DISPUTE.RESOLVED.none': 'parked manual_correction',
  'PAYMENT.SALE.COMPLETED': `payment ${SALE} succeeded 2000 USD`,
  'PAYMENT.SALE.REFUNDED': `refund ${SALE} succeeded 500 USD`,
  'CHECKOUT.ORDER.APPROVED': 'ignored',
});

const withResource = (body: string, values: object): JsonObject => {
  const event = JSON.parse(body);
  return { ...event, resource: { ...event.resource, ...values } };
};
const capture = (value: string, currency = 'USD') => paypalCapture({ paymentId: 'p', value, currency });
const up = (...hrefs: readonly string[]) =>
  withResource(paypalRefund({ paymentId: 'p', value: '0.07' }), { links: hrefs.map((href) => ({ rel: 'up', href })) });
const CAPTURES = 'https://api.paypal.com/v2/payments/captures';

describe('what PayPal also sends', () => {
  it.each<[string, string | object, string]>([
    ['cents', capture('0.07'), 'payment p succeeded 7 USD'],
    ['no decimals', capture('7'), 'payment p succeeded 700 USD'],
    ['one decimal', capture('7.5'), 'payment p succeeded 750 USD'],
    ['a sum that floats cannot hold', capture('90071992547409.91'), 'payment p succeeded 9007199254740991 USD'],
    ['a sum past all money', capture('90071992547409.92'), 'parked malformed'],
    ['three decimals', capture('7.005'), 'parked malformed'],
    ['new Taiwan dollars', capture('7', 'TWD'), 'payment p succeeded 700 TWD'],
    ['decimals of a currency that has none here', capture('7.50', 'HUF'), 'parked malformed'],
    ['a currency that is none', capture('7', 'XYZ'), 'parked unknown_currency'],
    [
      'an amount as a number',
      withResource(capture('7'), { amount: { value: 7, currency_code: 'USD' } }),
      'parked malformed',
    ],
    ['an amount below zero', capture('-7'), 'parked malformed'],
    ['an exponent', capture('7e2'), 'parked malformed'],
  ])('%s', (_name, body, expected) => {
    expect(summary(interpret('paypal', body))).toBe(expected);
  });

  it.each<[string, string | object, string]>([
    ['one capture', up(`${CAPTURES}/p`), 'refund p succeeded 7 USD'],
    ['one capture twice', up(`${CAPTURES}/p`, `${CAPTURES}/p`), 'refund p succeeded 7 USD'],
    ['two captures', up(`${CAPTURES}/p`, `${CAPTURES}/q`), 'parked malformed'],
    ['an order', up('https://api.paypal.com/v2/checkout/orders/o'), 'parked malformed'],
    ['a capture and what is below it', up(`${CAPTURES}/p/refund`), 'parked malformed'],
    ['nothing', up(), 'parked malformed'],
  ])('a refund whose links name %s', (_name, body, expected) => {
    expect(summary(interpret('paypal', body))).toBe(expected);
  });

  it.each<[string | null, string]>([
    ['COMPLETED', 'succeeded'],
    ['completed', 'succeeded'],
    ['PENDING', 'pending'],
    ['FAILED', 'failed'],
    ['CANCELLED', 'failed'],
    [null, 'succeeded'],
  ])('a refund with the status %s is %s', (status, state) => {
    const body = withResource(paypalRefund({ paymentId: 'p', value: '0.07' }), { status });
    expect(summary(interpret('paypal', body))).toBe(`refund p ${state} 7 USD`);
  });

  it.each<[string, string | object, string]>([
    ['a refund of an unknown status', paypalRefund({ paymentId: 'p', status: 'ODD' }), 'parked malformed'],
    [
      'a reversal of no capture',
      withResource(paypalRefund({ type: 'CAPTURE.REVERSED', paymentId: 'p' }), { links: [] }),
      'parked malformed',
    ],
    ['an unknown outcome', paypalDispute({ paymentIds: ['p'], outcome: 'ODD' }), 'parked malformed'],
    [
      'a dispute of two payments',
      paypalDispute({ type: 'CREATED', paymentIds: ['p', 'q'] }),
      'dispute p open  USD, dispute q open  USD',
    ],
    [
      'its end, without a word on either',
      paypalDispute({ paymentIds: ['p', 'q'], outcome: 'RESOLVED_BUYER_FAVOUR' }),
      'parked unknown_amount',
    ],
    ['a dispute of nothing', paypalDispute({ type: 'CREATED', paymentIds: [] }), 'parked malformed'],
    ['an event named like a method of objects', { event_type: 'constructor' }, 'ignored'],
  ])('%s', (_name, body, expected) => {
    expect(summary(interpret('paypal', body))).toBe(expected);
  });

  it('a payment, and in custom_id whose it is', () => {
    const customId = 'wallet_customer_id=cus_ada&wallet_purpose=order';
    expect(interpret('paypal', paypalCapture({ paymentId: 'p', value: '7.00', customId }))).toEqual({
      kind: 'facts',
      eventType: 'PAYMENT.CAPTURE.COMPLETED',
      facts: [
        {
          kind: 'payment',
          paymentId: 'p',
          state: 'succeeded',
          amountMinor: 700,
          currency: 'USD',
          customer: { id: null, email: null, name: null },
          metadata: { wallet_customer_id: 'cus_ada', wallet_purpose: 'order' },
          occurredAt: new Date('2026-10-28T09:30:05.118Z'),
          triedAt: new Date('2026-10-28T09:30:01.000Z'),
          seriesId: '5O190127TN364715T',
        },
      ],
    });
  });

  it.each<[string | null, object]>([
    ['cus_ada', { facts: [{ metadata: { wallet_customer_id: 'cus_ada' } }] }],
    ['order-7', { facts: [{ metadata: {} }] }],
    [null, { facts: [{ metadata: {} }] }],
    ['wallet_a=1&wallet_a=2', { kind: 'parked', reason: 'invalid_metadata' }],
  ])('the custom_id %j', (customId, expected) => {
    expect(interpret('paypal', withResource(paypalCapture(), { custom_id: customId }))).toMatchObject(expected);
    expect(interpret('paypal', paypalRefund({ paymentId: 'p', customId }))).toMatchObject(
      customId === null ? {} : expected,
    );
  });

  describeUnbendableAmounts(
    'paypal',
    [
      'PAYMENT.CAPTURE.COMPLETED',
      'PAYMENT.CAPTURE.COMPLETED.yen',
      'PAYMENT.CAPTURE.REFUNDED',
      'PAYMENT.CAPTURE.REVERSED',
      'PAYMENT.SALE.COMPLETED',
      'PAYMENT.SALE.REFUNDED',
    ],
    ['resource.amount.value', 'resource.amount.currency_code', 'resource.amount.total', 'resource.amount.currency'],
  );
});

describe('the life of a payment at PayPal, in any order', () => {
  const paid = paypalCapture({ paymentId: 'p', value: '100.00', customId: null });
  const refund = (refundId: string, value: string, status = 'COMPLETED') =>
    paypalRefund({ paymentId: 'p', refundId, value, status });
  const reversed = paypalRefund({ type: 'CAPTURE.REVERSED', paymentId: 'p', value: '60.00' });
  const opened = paypalDispute({ type: 'CREATED', paymentIds: ['p'], disputeId: 'd', stage: 'INQUIRY' });
  const resolved = (outcome: string, stage: 'INQUIRY' | 'CHARGEBACK' = 'CHARGEBACK', disputeId = 'd') =>
    paypalDispute({ paymentIds: ['p'], disputeId, outcome, stage, refunded: '60.00', claimed: '60.00' });
  const reversedTwice = [
    paypalRefund({ type: 'CAPTURE.REVERSED', paymentId: 'p', refundId: 'v', value: '30.00' }),
    paypalRefund({ type: 'CAPTURE.REVERSED', paymentId: 'p', refundId: 'w', value: '40.00' }),
  ];
  const ended = (disputeId: string, claimed: string, outcome: string) =>
    paypalDispute({ paymentIds: ['p'], disputeId, outcome, stage: 'CHARGEBACK', refunded: claimed, claimed });
  const openedToo = paypalDispute({ type: 'CREATED', paymentIds: ['p'], disputeId: 'e', stage: 'CHARGEBACK' });

  /** After the dispute of the fixtures was opened. */
  const late = (body: string) => JSON.stringify({ ...JSON.parse(body), create_time: '2026-10-29T12:00:00.000Z' });

  it.each<[string, string[], number]>([
    ['pending, then paid', [paypalCapture({ type: 'PENDING', paymentId: 'p' }), paid], 10_000],
    ['two refunds', [paid, refund('a', '30.00'), refund('b', '20.05')], 4_995],
    ['a refund that is pending, then done', [paid, refund('a', '30.00', 'PENDING'), refund('a', '30.00')], 7_000],
    ['a refund that fails after all', [paid, refund('a', '30.00'), refund('a', '30.00', 'FAILED')], 10_000],
    ['a reversal by a bank, without a dispute', [paid, reversed], 4_000],
    ['a dispute that is open takes nothing', [paid, opened], 10_000],
    ['a dispute that is lost', [paid, opened, resolved('RESOLVED_BUYER_FAVOUR')], 4_000],
    ['a dispute that is lost, and its reversal', [paid, opened, reversed, resolved('ACCEPTED')], 4_000],
    ['a dispute that is won after its reversal', [paid, reversed, resolved('RESOLVED_SELLER_FAVOUR')], 10_000],
    [
      'two reversals, and a dispute of the one that is won',
      [paid, ...reversedTwice, ended('d', '30.00', 'RESOLVED_SELLER_FAVOUR')],
      6_000,
    ],
    [
      'two reversals, a dispute of the one that is won, and one of the other that is open',
      [paid, ...reversedTwice, openedToo, ended('d', '30.00', 'RESOLVED_SELLER_FAVOUR')],
      6_000,
    ],
    [
      'two reversals, a dispute of the one that is won, and one of the other that is lost',
      [paid, ...reversedTwice, ended('d', '30.00', 'RESOLVED_SELLER_FAVOUR'), ended('e', '40.00', 'ACCEPTED')],
      6_000,
    ],
    [
      'two reversals, and disputes of both that are won',
      [paid, ...reversedTwice, ended('d', '30.00', 'DENIED'), ended('e', '40.00', 'RESOLVED_SELLER_FAVOUR')],
      10_000,
    ],
    ['a dispute that is paid by PayPal', [paid, reversed, resolved('RESOLVED_WITH_PAYOUT')], 10_000],
    [
      'a dispute that is won, and another that is lost',
      [paid, resolved('DENIED'), resolved('RESOLVED_BUYER_FAVOUR', 'CHARGEBACK', 'e')],
      4_000,
    ],
    [
      'an inquiry that ends by a refund',
      [paid, opened, late(refund('a', '60.00')), resolved('RESOLVED_BUYER_FAVOUR', 'INQUIRY')],
      4_000,
    ],
    [
      'a refund before the dispute, and what it was lost for',
      [paid, opened, refund('a', '30.00'), resolved('ACCEPTED')],
      1_000,
    ],
    [
      'two disputes lost, and one reversal',
      [paid, reversed, resolved('ACCEPTED'), resolved('ACCEPTED', 'CHARGEBACK', 'e')],
      0,
    ],
    ['an inquiry that is withdrawn', [paid, opened, resolved('CANCELED_BY_BUYER', 'INQUIRY')], 10_000],
  ])('%s', (_name, bodies, expected) => {
    for (const order of ordersOf(bodies)) expect(received('paypal', [...order, ...order])).toBe(expected);
  });
});

describe('the key of a delivery of PayPal', () => {
  const key = (body: string, id?: string) =>
    PROVIDERS.paypal.deliveryKey({ rawBody: Buffer.from(body), headers: { 'paypal-transmission-id': id } });

  it('is the id of its transmission, which is signed, whatever the body', () => {
    expect(key('{}', 'a1')).toBe('a1');
    expect(key('{"id":"WH-1"}', 'a1')).toBe('a1');
  });

  it('or the digest of the body', () => expect(key('{}')).toMatch(/^[0-9a-f]{64}$/));
});
