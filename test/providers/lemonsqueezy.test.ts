import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { type JsonObject, providerFixture } from '../support/provider-fixtures.ts';
import { lemonSqueezyInvoice, lemonSqueezyOrder, lemonSqueezyOrderRefund } from '../support/signing-more.ts';
import { ordersOf, received } from './lives.ts';
import { interpret, summary } from './reading.ts';
import { changed, describeFixtures, describeUnbendableAmounts } from './tables.ts';

// The order and the invoice of the fixtures have the same number.
describeFixtures('lemonsqueezy', {
  order_created: 'payment order_3104512 succeeded 5000 USD',
  'order_created.test-mode': 'payment order_3104513 succeeded 5000 USD',
  'order_created.pending': 'payment order_3104512 pending  USD',
  'order_created.fraudulent': 'payment order_3104512 failed  USD',
  'order_refunded.partial': 'refund order_3104512 succeeded 2000 USD',
  order_refunded: 'refund order_3104512 succeeded 5000 USD',
  subscription_payment_success: 'payment invoice_3104512 succeeded 1199 USD',
  'subscription_payment_success.initial': 'ignored',
  subscription_payment_failed: 'payment invoice_3104512 failed  USD',
  subscription_payment_recovered: 'ignored',
  subscription_payment_refunded: 'refund invoice_3104512 succeeded 1199 USD',
  'subscription_payment_refunded.initial': 'refund subscription_902177 succeeded 1199 USD',
  subscription_created: 'order_3104512 is of subscription_902177',
  license_key_created: 'ignored',
});

/** An event with other values at some paths; undefined takes a place away. */
const altered = (body: string, changes: Readonly<Record<string, unknown>>): object =>
  Object.entries(changes).reduce(
    (event, [path, value]) => changed(event, path.split('.'), value),
    JSON.parse(body) as JsonObject,
  );

describe('what Lemon Squeezy also sends', () => {
  const order = (status: string) => lemonSqueezyOrder({ resourceId: '1', amount: 7, status });
  const refund = (refundedAmount: number | null, status: string) =>
    lemonSqueezyOrderRefund({ resourceId: '1', amount: 7, refundedAmount, status });
  const invoice = (status: string, billingReason = 'renewal') =>
    lemonSqueezyInvoice('success', { resourceId: '1', amount: 7, status, billingReason });

  it.each<[string, string | object, string]>([
    ['an order of nothing', lemonSqueezyOrder({ resourceId: '1', amount: 0 }), 'payment order_1 succeeded 0 USD'],
    ['an order that failed', order('failed'), 'payment order_1 failed  USD'],
    ['an order sent again after its refund', order('refunded'), 'payment order_1 succeeded 7 USD'],
    ['an order sent again after a refund of a part', order('partial_refund'), 'payment order_1 succeeded 7 USD'],
    ['an order of an unknown status', order('lost'), 'parked malformed'],
    ['an order with a fraction', lemonSqueezyOrder({ amount: 0.5 }), 'parked malformed'],
    ['an order in euro', lemonSqueezyOrder({ resourceId: '1', currency: 'EUR' }), 'payment order_1 succeeded 5000 EUR'],
    [
      'an order in a currency whose unit is not documented',
      lemonSqueezyOrder({ currency: 'JPY' }),
      'parked unknown_currency',
    ],
    [
      'a refund in such a currency',
      lemonSqueezyOrderRefund({ refundedAmount: 7, currency: 'JPY' }),
      'parked unknown_currency',
    ],
    ['an order in a currency that is none', lemonSqueezyOrder({ currency: 'XYZ' }), 'parked unknown_currency'],
    [
      'a pending order in a currency that is none',
      lemonSqueezyOrder({ resourceId: '1', currency: 'XYZ', status: 'pending' }),
      'payment order_1 pending  XYZ',
    ],
    [
      'an order whose resource is another',
      altered(order('paid'), { 'data.type': 'subscriptions' }),
      'parked malformed',
    ],
    ['an order whose id is no number', altered(order('paid'), { 'data.id': 'a1' }), 'parked malformed'],
    ['an order whose id is endless', altered(order('paid'), { 'data.id': '1'.repeat(200) }), 'parked malformed'],
    [
      'custom data that is not usable',
      lemonSqueezyOrder({ customData: { wallet_customer_id: [] } }),
      'parked invalid_metadata',
    ],
    ['a refund of everything without its sum', refund(null, 'refunded'), 'refund order_1 succeeded 7 USD'],
    ['a refund of everything with a sum of zero', refund(0, 'refunded'), 'refund order_1 succeeded 7 USD'],
    ['a refund of a part without its sum', refund(null, 'partial_refund'), 'parked unknown_amount'],
    ['a refund of nothing', refund(0, 'paid'), 'parked unknown_amount'],
    ['an invoice of a changed plan', invoice('paid', 'updated'), 'payment invoice_1 succeeded 7 USD'],
    ['an invoice that is void', invoice('void'), 'payment invoice_1 failed  USD'],
    ['an invoice that is not settled', invoice('pending'), 'payment invoice_1 pending  USD'],
    [
      'an invoice that does not say why',
      altered(invoice('paid'), { 'data.attributes.billing_reason': undefined }),
      'parked malformed',
    ],
    ['a first payment that failed', lemonSqueezyInvoice('failed', { billingReason: 'initial' }), 'ignored'],
    ['an event named like a method of objects', { meta: { event_name: 'constructor', test_mode: true } }, 'ignored'],
    ['an event that names itself beside its envelope', { event_name: 'order_created' }, 'parked malformed'],
  ])('%s', (_name, body, expected) => {
    expect(summary(interpret('lemonsqueezy', body))).toBe(expected);
  });

  it('a payment with its customer and custom data, values as text', () => {
    const customData = { wallet_customer_id: 'cus_a', wallet_credit_amount: 7000, other: { deep: 1 } };
    expect(interpret('lemonsqueezy', lemonSqueezyOrder({ resourceId: '1', customer: 25, customData }))).toEqual({
      kind: 'facts',
      eventType: 'order_created',
      livemode: true,
      facts: [
        {
          kind: 'payment',
          paymentId: 'order_1',
          state: 'succeeded',
          amountMinor: 5000,
          currency: 'USD',
          customer: { id: '25', email: 'ada@example.com', name: 'Ada Lovelace' },
          metadata: { wallet_customer_id: 'cus_a', wallet_credit_amount: '7000' },
          occurredAt: new Date('2026-10-28T09:29:58.000Z'),
          seriesId: 'customer_25',
          startsSeries: true,
        },
      ],
    });
  });

  it.each<[number | string | null, string | null]>([
    ['25', '25'],
    ['', null],
    [null, null],
  ])('a customer %j', (customer, id) => {
    expect(interpret('lemonsqueezy', lemonSqueezyOrder({ customer }))).toMatchObject({ facts: [{ customer: { id } }] });
  });

  it('a refund with all that its payment carries', () => {
    expect(interpret('lemonsqueezy', providerFixture('lemonsqueezy', 'order_refunded.partial'))).toMatchObject({
      facts: [
        {
          refundId: 'total',
          customer: { id: '5570913', email: 'ada@example.com' },
          metadata: { wallet_customer_id: 'cus_ada' },
          occurredAt: new Date('2026-10-29T11:02:44.000Z'),
        },
      ],
    });
  });

  describeUnbendableAmounts(
    'lemonsqueezy',
    [
      'order_created',
      'order_refunded',
      'order_refunded.partial',
      'subscription_payment_success',
      'subscription_payment_refunded',
    ],
    ['data.attributes.total', 'data.attributes.refunded_amount', 'data.attributes.currency'],
  );
});

describe('the mode of an event of Lemon Squeezy', () => {
  const modeOf = (body: object) => interpret('lemonsqueezy', body).livemode;
  const live = lemonSqueezyOrder({ testMode: false });
  const test = lemonSqueezyOrder({ testMode: true });

  it.each<[string, object, boolean]>([
    ['live', JSON.parse(live), true],
    ['test', JSON.parse(test), false],
    ['by its resource alone', altered(test, { 'meta.test_mode': undefined }), false],
    ['by its envelope alone', altered(test, { 'data.attributes.test_mode': undefined }), false],
    ['though it is ignored', altered(test, { 'meta.event_name': 'license_key_created' }), false],
    ['though it is parked', altered(test, { 'data.attributes.total': null }), false],
  ])('%s', (_name, body, expected) => expect(modeOf(body)).toBe(expected));

  it.each<[string, object]>([
    ['of two minds', altered(live, { 'meta.test_mode': true })],
    ['silent', altered(live, { 'meta.test_mode': undefined, 'data.attributes.test_mode': undefined })],
    ['not told by a boolean', altered(live, { 'meta.test_mode': 'false', 'data.attributes.test_mode': null })],
  ])('%s: parked', (_name, body) => {
    expect(interpret('lemonsqueezy', body)).toMatchObject({ kind: 'parked', reason: 'malformed' });
    expect(modeOf(body)).toBe(undefined);
  });
});

describe('the life of a payment at Lemon Squeezy, in any order', () => {
  const paid = lemonSqueezyOrder({ resourceId: '1', amount: 5000, customData: {} });
  const refundedSoFar = (refundedAmount: number) => lemonSqueezyOrderRefund({ resourceId: '1', refundedAmount });

  it('refunds are told by their sum, and the largest counts', () => {
    for (const order of ordersOf([paid, refundedSoFar(2000), refundedSoFar(3500)])) {
      expect(received('lemonsqueezy', [...order, ...order])).toBe(1500);
    }
    for (const order of ordersOf([paid, refundedSoFar(2000), refundedSoFar(5000)])) {
      expect(received('lemonsqueezy', [...order, ...order])).toBe(0);
    }
  });

  it('the same for any refunds in any order', () => {
    const refunds = fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(refunds, fc.infiniteStream(fc.nat()), (parts, random) => {
        let sum = 0;
        const sums = parts.map((part) => (sum = Math.min(5000, sum + part)));
        const bodies = [paid, ...sums.map(refundedSoFar)]
          .map((body) => ({ body, rank: random.next().value ?? 0 }))
          .sort((a, b) => a.rank - b.rank)
          .map(({ body }) => body);
        expect(received('lemonsqueezy', bodies)).toBe(5000 - sum);
        expect(received('lemonsqueezy', bodies, 'order')).toBe(sum);
      }),
      { numRuns: 50 },
    );
  });

  it('the first payment of a subscription is credited once, a renewal beside it', () => {
    const first = lemonSqueezyInvoice('success', { resourceId: '1', amount: 5000, billingReason: 'initial' });
    for (const order of ordersOf([paid, first])) expect(received('lemonsqueezy', order)).toBe(5000);
    const renewal = lemonSqueezyInvoice('success', { resourceId: '1', amount: 1199, customData: {} });
    const failed = lemonSqueezyInvoice('failed', { resourceId: '1', amount: 1199, status: 'pending', customData: {} });
    for (const order of ordersOf([renewal, failed])) expect(received('lemonsqueezy', order)).toBe(1199);
  });
});

describe('the key of a delivery of Lemon Squeezy', () => {
  it('is the digest of its body', () => {
    const key = (id: string) =>
      PROVIDERS.lemonsqueezy.deliveryKey({ rawBody: Buffer.from('{}'), headers: { 'x-event-id': id } });
    expect(key('1')).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
    expect(key('2')).toBe(key('1'));
  });
});
