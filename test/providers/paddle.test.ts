import { describe, expect, it } from 'vitest';
import { PROVIDERS } from '../../src/providers/index.ts';
import { paddleAdjustment, paddleTransaction } from '../support/signing-more.ts';
import { ordersOf, received } from './lives.ts';
import { interpret, summary, withData } from './reading.ts';
import { describeFixtures, describeUnbendableAmounts } from './tables.ts';

const PAYMENT = 'txn_01k8v5q2m7a9x4c6e8g0j1n3pr';

describeFixtures('paddle', {
  'transaction.completed': `payment ${PAYMENT} succeeded 5000 USD`,
  'transaction.completed.yen': 'payment txn_01k8v5yen2m7a9x4c6e8g0j1n3 succeeded 800 JPY',
  'transaction.completed.credit-applied': 'payment txn_01k8v5crd2m7a9x4c6e8g0j1n3 succeeded 3800 USD',
  'transaction.payment_failed': `payment ${PAYMENT} failed  USD`,
  'transaction.past_due': `payment ${PAYMENT} failed  USD`,
  'transaction.paid': 'ignored',
  'transaction.created': 'ignored',
  'adjustment.created': `refund ${PAYMENT} pending 2000 USD`,
  'adjustment.created.approved': `refund ${PAYMENT} succeeded 2000 USD`,
  'adjustment.updated.approved': `refund ${PAYMENT} succeeded 2000 USD`,
  'adjustment.updated.rejected': `refund ${PAYMENT} failed 2000 USD`,
  'adjustment.updated.reversed': `refund ${PAYMENT} failed 2000 USD`,
  'adjustment.created.chargeback': `dispute ${PAYMENT} lost 5000 USD`,
  'adjustment.updated.chargeback-reversed': `dispute ${PAYMENT} won 5000 USD`,
  'adjustment.created.chargeback-reverse': `reinstatement ${PAYMENT} succeeded 5000 USD`,
  'adjustment.created.chargeback-warning': `dispute ${PAYMENT} open 5000 USD`,
  'adjustment.created.chargeback-warning-reverse': 'ignored',
  'adjustment.created.credit': 'ignored',
  'adjustment.created.credit-reverse': 'ignored',
  'customer.updated': 'ignored',
});

const totals = (grandTotal: unknown) => ({ details: { totals: { grand_total: grandTotal } } });

describe('what Paddle also sends', () => {
  const adjustment = (action: string, status: 'pending_approval' | 'approved' | 'rejected' | 'reversed') =>
    paddleAdjustment({ paymentId: 'txn_1', action, status, amount: '7' });

  it.each<[string, string | object, string]>([
    ['a payment of nothing', paddleTransaction({ paymentId: 'txn_1', amount: '0' }), 'payment txn_1 succeeded 0 USD'],
    [
      'a currency without decimals',
      paddleTransaction({ paymentId: 't', amount: '7', currency: 'KRW' }),
      'payment t succeeded 7 KRW',
    ],
    ['a currency that is none', paddleTransaction({ currency: 'XYZ' }), 'parked unknown_currency'],
    [
      'an adjustment in a currency that is none',
      paddleAdjustment({ paymentId: 't', currency: 'XYZ' }),
      'parked unknown_currency',
    ],
    [
      'no custom data',
      paddleTransaction({ paymentId: 't', amount: '7', customData: null }),
      'payment t succeeded 7 USD',
    ],
    [
      'custom data that is not usable',
      paddleTransaction({ customData: { wallet_customer_id: [] } }),
      'parked invalid_metadata',
    ],
    ['an amount as a number', withData(paddleTransaction(), totals(5000)), 'parked malformed'],
    ['an amount in major units', withData(paddleTransaction(), totals('50.00')), 'parked malformed'],
    ['an amount below zero', withData(paddleTransaction(), totals('-5000')), 'parked malformed'],
    ['an amount past all money', withData(paddleTransaction(), totals('9007199254740993')), 'parked malformed'],
    ['no totals', withData(paddleTransaction(), { details: null }), 'parked malformed'],
    ['a refund of an amount that is none', paddleAdjustment({ paymentId: 't', amount: '' }), 'parked malformed'],
    ['an unknown action', adjustment('goodwill', 'approved'), 'parked malformed'],
    ['an unknown status', withData(adjustment('refund', 'approved'), { status: 'lost' }), 'parked malformed'],
    ['a chargeback that is not decided', adjustment('chargeback', 'pending_approval'), 'dispute txn_1 open 7 USD'],
    ['a chargeback that is refused', adjustment('chargeback', 'rejected'), 'dispute txn_1 withdrawn 7 USD'],
    ['a reversal that is not decided', adjustment('chargeback_reverse', 'pending_approval'), 'ignored'],
    ['a reversal that is refused', adjustment('chargeback_reverse', 'rejected'), 'reinstatement txn_1 failed 7 USD'],
    ['a warning that is withdrawn', adjustment('chargeback_warning', 'reversed'), 'dispute txn_1 withdrawn 7 USD'],
    ['an event named like a method of objects', { event_type: 'constructor' }, 'ignored'],
  ])('%s', (_name, body, expected) => {
    expect(summary(interpret('paddle', body))).toBe(expected);
  });

  it('a payment names its customer by id alone', () => {
    const body = paddleTransaction({
      paymentId: 'txn_1',
      customer: 'ctm_1',
      customData: { wallet_purpose: 'order', a: {} },
    });
    expect(interpret('paddle', body)).toEqual({
      kind: 'facts',
      eventType: 'transaction.completed',
      facts: [
        {
          kind: 'payment',
          paymentId: 'txn_1',
          state: 'succeeded',
          amountMinor: 5000,
          currency: 'USD',
          customer: { id: 'ctm_1', email: null, name: null },
          metadata: { wallet_purpose: 'order' },
          occurredAt: new Date('2026-10-28T09:30:00.123Z'),
        },
      ],
    });
  });

  it('a refund has its own id, and its customer, and no metadata', () => {
    const body = paddleAdjustment({ paymentId: 'txn_1', adjustmentId: 'adj_1', action: 'refund', customer: 'ctm_1' });
    expect(interpret('paddle', body)).toMatchObject({
      facts: [{ refundId: 'adj_1', customer: { id: 'ctm_1', email: null, name: null }, metadata: {} }],
    });
  });

  describeUnbendableAmounts(
    'paddle',
    [
      'transaction.completed',
      'transaction.completed.yen',
      'adjustment.updated.approved',
      'adjustment.created.chargeback',
    ],
    ['data.details.totals.grand_total', 'data.totals.total', 'data.currency_code'],
  );
});

describe('the life of a payment at Paddle, in any order', () => {
  const paid = paddleTransaction({ paymentId: 'txn_1', amount: '5000', customData: {} });
  const adjustment = (
    adjustmentId: string,
    action: string,
    status: 'pending_approval' | 'approved' | 'rejected' | 'reversed',
    amount = '5000',
  ) => paddleAdjustment({ paymentId: 'txn_1', adjustmentId, action, status, amount });
  const refund = adjustment('adj_1', 'refund', 'approved', '2000');

  it.each<[string, string[], number]>([
    ['a refund that waits for approval takes nothing', [paid, adjustment('adj_1', 'refund', 'pending_approval')], 5000],
    ['and is taken once approved', [paid, adjustment('adj_1', 'refund', 'pending_approval', '2000'), refund], 3000],
    [
      'but not when rejected',
      [paid, adjustment('adj_1', 'refund', 'pending_approval'), adjustment('adj_1', 'refund', 'rejected')],
      5000,
    ],
    ['two refunds', [paid, refund, adjustment('adj_2', 'refund', 'approved', '3000')], 0],
    ['a chargeback', [paid, adjustment('adj_3', 'chargeback', 'approved')], 0],
    [
      'a chargeback beside a refund of the same money',
      [paid, refund, adjustment('adj_3', 'chargeback', 'approved')],
      0,
    ],
    [
      'a chargeback that Paddle wins, though the reversal has an id of its own',
      [paid, adjustment('adj_3', 'chargeback', 'approved'), adjustment('adj_4', 'chargeback_reverse', 'approved')],
      5000,
    ],
    [
      'a chargeback whose reversal is told by its status and by an id of its own, and another chargeback',
      [
        paid,
        adjustment('adj_3', 'chargeback', 'approved', '2000'),
        adjustment('adj_3', 'chargeback', 'reversed', '2000'),
        adjustment('adj_4', 'chargeback_reverse', 'approved', '2000'),
        adjustment('adj_7', 'chargeback', 'approved', '1500'),
      ],
      3500,
    ],
    [
      'a warning, and a chargeback after all',
      [
        paid,
        adjustment('adj_5', 'chargeback_warning', 'approved'),
        adjustment('adj_6', 'chargeback_warning_reverse', 'approved'),
        adjustment('adj_3', 'chargeback', 'approved'),
      ],
      0,
    ],
  ])('%s', (_name, bodies, expected) => {
    for (const order of ordersOf(bodies)) expect(received('paddle', [...order, ...order])).toBe(expected);
  });
});

describe('the key of a delivery of Paddle', () => {
  const key = (body: string) => PROVIDERS.paddle.deliveryKey({ rawBody: Buffer.from(body), headers: {} });

  it('is the event id that Paddle signed', () => expect(key('{"event_id": "evt_1"}')).toBe('evt_1'));

  it.each(['not JSON', '{"event_id": 7}', `{"event_id": "${'x'.repeat(300)}"}`])('or the digest of %s', (body) => {
    expect(key(body)).toMatch(/^[0-9a-f]{64}$/);
  });
});
