import { describe, expect, it } from 'vitest';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import {
  dodoDispute,
  dodoPayment,
  dodoRefund,
  razorpayDispute,
  razorpayPayment,
  razorpayRefund,
  stripeDispute,
  stripePayment,
  stripeRefund,
} from '../support/signing.ts';
import { interpret, summary, withData } from './reading.ts';

interface Money {
  readonly currency: string;
  readonly amount: number;
}

/** A payment, a refund and a dispute over the same number in the same currency, all of the payment `p`. */
const EVENTS: Readonly<Record<'stripe' | 'dodo' | 'razorpay', (money: Money) => readonly string[]>> = {
  stripe: (money) => [
    stripePayment({ paymentId: 'p', ...money }),
    stripeRefund({ paymentId: 'p', ...money }),
    stripeDispute({ paymentId: 'p', ...money }),
  ],
  dodo: ({ currency, amount }) => [
    dodoPayment({ paymentId: 'p', currency, amount }),
    dodoRefund({ paymentId: 'p', currency, amount }),
    dodoDispute({ paymentId: 'p', currency, amount: String(amount) }),
  ],
  razorpay: (money) => [
    razorpayPayment({ paymentId: 'p', ...money }),
    razorpayRefund({ paymentId: 'p', ...money }),
    razorpayDispute({ paymentId: 'p', ...money }),
  ],
};
type First = keyof typeof EVENTS;

describe('the number of a payment, a refund and a dispute counts the unit of its provider', () => {
  it.each<[First, string, number, number | string]>([
    ['stripe', 'usd', 5000, 5000],
    ['stripe', 'isk', 5000, 50],
    ['stripe', 'isk', 5050, 'malformed'],
    ['stripe', 'ugx', 5000, 50],
    ['stripe', 'ugx', 5001, 'malformed'],
    ['stripe', 'mga', 5000, 500_000],
    ['stripe', 'jpy', 5000, 5000],
    ['stripe', 'kwd', 5000, 5000],
    ['stripe', 'xyz', 5000, 'unknown_currency'],
    ['dodo', 'USD', 5000, 5000],
    ['dodo', 'JPY', 5000, 5000],
    ['dodo', 'KWD', 5000, 5000],
    ['dodo', 'XYZ', 5000, 'unknown_currency'],
    ['razorpay', 'INR', 5000, 5000],
    ['razorpay', 'JPY', 5000, 5000],
    ['razorpay', 'KWD', 5000, 5000],
    ['razorpay', 'XYZ', 5000, 'unknown_currency'],
  ])('%s, %s %i → %s', (provider, currency, amount, expected) => {
    const told = EVENTS[provider]({ currency, amount }).map((body) => summary(interpret(provider, body)));
    const money = `${expected} ${currency.toUpperCase()}`;
    expect(told).toEqual(
      typeof expected === 'string'
        ? Array.from({ length: 3 }, () => `parked ${expected}`)
        : [`payment p succeeded ${money}`, `refund p succeeded ${money}`, `dispute p open ${money}`],
    );
  });

  it.each<[First, readonly [string, string, string]]>([
    ['stripe', ['data.object.amount_received', 'data.object.amount', 'data.object.amount']],
    ['dodo', ['data.total_amount', 'data.amount', 'data.amount']],
    ['razorpay', ['payload.payment.entity.amount', 'payload.refund.entity.amount', 'payload.dispute.entity.amount']],
  ])('%s: what is parked names the path and the currency', (provider, paths) => {
    const details = EVENTS[provider]({ currency: 'xyz', amount: 5000 }).map((body) => interpret(provider, body));
    expect(details).toMatchObject(paths.map((path) => ({ detail: `${path}: XYZ is not a currency of ISO 4217` })));
  });
});

describe('what carries no amount is read in any currency', () => {
  it.each<[ProviderName, string | object, string]>([
    ['stripe', stripePayment({ type: 'payment_failed', paymentId: 'p', currency: 'xyz' }), 'payment p failed  XYZ'],
    ['stripe', stripePayment({ type: 'processing', paymentId: 'p', currency: 'xyz' }), 'payment p pending  XYZ'],
    ['stripe', stripePayment({ type: 'requires_action', paymentId: 'p', currency: 'xyz' }), 'payment p pending  XYZ'],
    ['stripe', stripeDispute({ paymentId: 'p', currency: 'xyz', status: 'warning_under_review' }), 'ignored'],
    ['dodo', dodoPayment({ type: 'failed', paymentId: 'p', currency: 'XYZ' }), 'payment p failed  XYZ'],
    ['dodo', dodoPayment({ type: 'processing', paymentId: 'p', currency: 'XYZ' }), 'payment p pending  XYZ'],
    [
      'dodo',
      dodoRefund({ paymentId: 'p', amount: null, isPartial: false, currency: 'XYZ' }),
      'refund p succeeded  XYZ',
    ],
    [
      'dodo',
      dodoRefund({ type: 'failed', paymentId: 'p', amount: null, status: null, currency: 'XYZ' }),
      'refund p failed  XYZ',
    ],
    ['razorpay', razorpayPayment({ type: 'failed', paymentId: 'p', currency: 'XYZ' }), 'payment p failed  XYZ'],
    ['razorpay', razorpayRefund({ paymentId: 'p', currency: 'XYZ', captured: false }), 'ignored'],
  ])('%s: %#', (provider, body, expected) => {
    expect(summary(interpret(provider, body))).toBe(expected);
  });

  it('a refund of Dodo that names no currency is in the one of its payment', () => {
    const body = withData(dodoRefund({ paymentId: 'p', amount: 300 }), { currency: null });
    expect(summary(interpret('dodo', body))).toBe('refund p succeeded 300 ');
  });
});
