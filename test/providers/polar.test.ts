import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { polarOrderPaid, polarRefund } from '../support/signing-more.ts';
import { ordersOf, received } from './lives.ts';
import { interpret, summary, withData } from './reading.ts';
import { describeFixtures, describeUnbendableAmounts } from './tables.ts';

const ORDER = '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d2c7b60';

describeFixtures('polar', {
  'order.paid': `payment ${ORDER} succeeded 5950 USD`,
  'order.paid.balance-applied': 'payment 6c2d0a1f-7e2b-4a7f-8b54-405f9e3d8c71 succeeded 4000 USD',
  'order.paid.free': 'payment 7d3e1b20-8f3c-4b80-9c65-516a0f4e9d82 succeeded 0 USD',
  'order.created': 'ignored',
  'order.updated': 'ignored',
  'order.refunded': 'ignored',
  'refund.created': `refund ${ORDER} succeeded 2380 USD`,
  'refund.created.pending': `refund ${ORDER} pending 2380 USD`,
  'refund.created.dispute-prevention': `refund ${ORDER} succeeded 5950 USD`,
  'refund.updated': `refund ${ORDER} succeeded 2380 USD`,
  'refund.updated.failed': `refund ${ORDER} failed 2380 USD`,
  'refund.updated.canceled': `refund ${ORDER} failed 2380 USD`,
  'checkout.updated': 'ignored',
  'subscription.active': 'ignored',
});

describe('what Polar also sends', () => {
  const refund = (amount: number, tax: number) => polarRefund({ paymentId: 'o', amount, tax });

  it.each<[string, string | object, string]>([
    [
      'an order in yen',
      polarOrderPaid({ paymentId: 'o', amount: 800, currency: 'jpy' }),
      'payment o succeeded 800 JPY',
    ],
    [
      'an order in ariary',
      polarOrderPaid({ paymentId: 'o', amount: 800, currency: 'mga' }),
      'payment o succeeded 80000 MGA',
    ],
    [
      'an order in krónur',
      polarOrderPaid({ paymentId: 'o', amount: 800, currency: 'isk' }),
      'payment o succeeded 8 ISK',
    ],
    ['an order in a currency of unknown unit', polarOrderPaid({ currency: 'ugx' }), 'parked unknown_currency'],
    ['an order in a currency that is none', polarOrderPaid({ currency: 'xyz' }), 'parked unknown_currency'],
    [
      'a refund in a currency that is none',
      polarRefund({ paymentId: 'o', currency: 'xyz' }),
      'parked unknown_currency',
    ],
    ['an order without its amount', withData(polarOrderPaid(), { due_amount: null }), 'parked malformed'],
    ['an order with a fraction', polarOrderPaid({ amount: 59.5 }), 'parked malformed'],
    ['an order below zero', polarOrderPaid({ amount: -1 }), 'parked malformed'],
    ['a refund without its tax', withData(refund(7, 0), { tax_amount: undefined }), 'parked malformed'],
    ['a refund of tax alone', refund(0, 7), 'refund o succeeded 7 USD'],
    ['a refund past all money', refund(2 ** 53 - 1, 1), 'parked malformed'],
    ['a refund of an unknown status', withData(refund(7, 0), { status: 'lost' }), 'parked malformed'],
    [
      'metadata that is not usable',
      withData(polarOrderPaid(), { metadata: { wallet_customer_id: {} } }),
      'parked invalid_metadata',
    ],
    [
      'metadata that cannot be made a text',
      withData(polarOrderPaid(), { metadata: { wallet_customer_id: { toString: null } } }),
      'parked invalid_metadata',
    ],
    [
      'an order without its customer',
      withData(polarOrderPaid({ paymentId: 'o' }), { customer: null }),
      'payment o succeeded 5950 USD',
    ],
    ['an event named like a method of objects', { type: 'constructor' }, 'ignored'],
  ])('%s', (_name, body, expected) => {
    expect(summary(interpret('polar', body))).toBe(expected);
  });

  it('a payment with its customer and the metadata of its checkout', () => {
    const metadata = { wallet_customer_id: 'cus_a', wallet_credit_amount: 7000, other: true };
    expect(interpret('polar', polarOrderPaid({ paymentId: 'o', customer: 'c', metadata }))).toEqual({
      kind: 'facts',
      eventType: 'order.paid',
      facts: [
        {
          kind: 'payment',
          paymentId: 'o',
          state: 'succeeded',
          amountMinor: 5950,
          currency: 'USD',
          customer: { id: 'c', email: 'ada@example.com', name: 'Ada Lovelace' },
          metadata: { wallet_customer_id: 'cus_a', wallet_credit_amount: '7000' },
          occurredAt: new Date('2026-10-28T09:30:00.123Z'),
          triedAt: new Date('2026-10-28T09:29:41.000Z'),
        },
      ],
    });
  });

  it('a refund with its own metadata', () => {
    const body = polarRefund({ paymentId: 'o', refundId: 'r', metadata: { wallet_purpose: 'order' } });
    expect(interpret('polar', body)).toMatchObject({
      facts: [{ refundId: 'r', metadata: { wallet_purpose: 'order' }, customer: { email: null, name: null } }],
    });
  });

  describeUnbendableAmounts(
    'polar',
    ['order.paid', 'refund.created', 'refund.updated'],
    ['data.due_amount', 'data.amount', 'data.tax_amount', 'data.currency'],
  );
});

describe('the life of a payment at Polar, in any order', () => {
  const paid = polarOrderPaid({ paymentId: 'o', amount: 5950, tax: 950, metadata: {} });
  const bonus = polarOrderPaid({ paymentId: 'o', amount: 5950, tax: 950, metadata: { wallet_credit_amount: 6000 } });
  const part = polarRefund({ paymentId: 'o', refundId: 'r1', amount: 2000, tax: 380 });
  const rest = polarRefund({ paymentId: 'o', refundId: 'r2', amount: 3000, tax: 570 });
  const failed = polarRefund({
    type: 'updated',
    paymentId: 'o',
    refundId: 'r1',
    amount: 2000,
    tax: 380,
    status: 'failed',
  });

  it.each<[string, string[], number]>([
    ['a part', [paid, part], 3570],
    ['the whole in two parts leaves nothing, for tax is refunded too', [paid, part, rest], 0],
    ['the whole of a bonus pack leaves nothing either', [bonus, part, rest], 0],
    ['a refund that fails after it succeeded', [paid, part, failed], 5950],
  ])('%s', (_name, bodies, expected) => {
    for (const order of ordersOf(bodies)) expect(received('polar', [...order, ...order])).toBe(expected);
  });

  it('a refund of an order becomes credit, never above what was paid', () => {
    for (const order of ordersOf([paid, part, rest])) expect(received('polar', order, 'order')).toBe(5950);
  });
});

describe('the key of a delivery of Polar', () => {
  it('is the webhook-id that Polar signed', () => {
    const headers = { 'webhook-id': 'msg_1' };
    expect(PROVIDERS.polar.deliveryKey({ rawBody: Buffer.from('{}'), headers })).toBe('msg_1');
    expect(() => PROVIDERS.polar.deliveryKey({ rawBody: Buffer.from('{}'), headers: {} })).toThrow('Invariant broken');
  });
});
