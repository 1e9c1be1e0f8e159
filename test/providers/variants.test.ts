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
import { interpret, summary, withData, withObject } from './reading.ts';

const withDispute = (body: string, values: object): object => {
  const event = JSON.parse(body);
  return { ...event, payload: { dispute: { entity: { ...event.payload.dispute.entity, ...values } } } };
};

describe('what providers also send', () => {
  const refundOf = (status: 'pending' | 'requires_action' | 'canceled') =>
    stripeRefund({ paymentId: 'pi_1', amount: 7, status });
  const closed = (status: string) => stripeDispute({ type: 'closed', paymentId: 'pi_1', amount: 7, status });
  const cases: readonly [string, ProviderName, string | object, string][] = [
    ['a pending refund', 'stripe', refundOf('pending'), 'refund pi_1 pending 7 USD'],
    ['a refund that waits for the customer', 'stripe', refundOf('requires_action'), 'refund pi_1 pending 7 USD'],
    ['a cancelled refund', 'stripe', refundOf('canceled'), 'refund pi_1 failed 7 USD'],
    [
      'a refund of an expired authorisation',
      'stripe',
      withObject(refundOf('pending'), { reason: 'expired_uncaptured_charge' }),
      'ignored',
    ],
    [
      'a refund of a charge without a PaymentIntent',
      'stripe',
      withObject(stripeRefund({ paymentId: null, amount: 7 }), { charge: 'ch_1' }),
      'refund ch_1 succeeded 7 USD',
    ],
    [
      'a refund of nothing',
      'stripe',
      withObject(stripeRefund({ paymentId: null }), { charge: null }),
      'parked malformed',
    ],
    [
      'a refund with its PaymentIntent expanded',
      'stripe',
      withObject(refundOf('pending'), { payment_intent: { id: 'pi_9' } }),
      'refund pi_9 pending 7 USD',
    ],
    [
      'a dispute of a charge without a PaymentIntent',
      'stripe',
      withObject(stripeDispute({ paymentId: null, amount: 7 }), { charge: 'ch_1' }),
      'dispute ch_1 open 7 USD',
    ],
    ['an inquiry', 'stripe', stripeDispute({ paymentId: 'pi_1', status: 'warning_needs_response' }), 'ignored'],
    ['an inquiry that closes', 'stripe', closed('warning_closed'), 'dispute pi_1 withdrawn 7 USD'],
    ['a dispute won', 'stripe', closed('won'), 'dispute pi_1 won 7 USD'],
    ['a dispute prevented', 'stripe', closed('prevented'), 'dispute pi_1 withdrawn 7 USD'],
    [
      'a dispute prevented by a block',
      'stripe',
      withObject(closed('prevented'), { payment_method_details: { card: { case_type: 'block' } } }),
      'dispute pi_1 withdrawn 7 USD',
    ],
    [
      'a dispute prevented by a resolution',
      'stripe',
      withObject(closed('prevented'), { payment_method_details: { card: { case_type: 'resolution' } } }),
      'dispute pi_1 lost 7 USD',
    ],
    [
      'a dispute prevented that took money',
      'stripe',
      withObject(closed('prevented'), { balance_transactions: [{ amount: -3 }] }),
      'dispute pi_1 lost 7 USD',
    ],
    [
      'a dispute prevented whose money came back',
      'stripe',
      withObject(closed('prevented'), { balance_transactions: [{ amount: -3 }, { amount: 3 }] }),
      'dispute pi_1 won 7 USD',
    ],
    ['a dispute closed in an unknown way', 'stripe', closed('forgotten'), 'parked malformed'],
    [
      'a late update of a lost dispute',
      'stripe',
      stripeDispute({ type: 'updated', paymentId: 'pi_1', amount: 7, status: 'lost' }),
      'dispute pi_1 lost 7 USD',
    ],
    [
      'money withdrawn in an inquiry',
      'stripe',
      stripeDispute({ type: 'funds_withdrawn', paymentId: 'pi_1', amount: 7, status: 'warning_under_review' }),
      'ignored',
    ],
    ['another event of a Connect account', 'stripe', { type: 'account.updated', account: 'acct_1' }, 'ignored'],
    ['a thin refund', 'stripe', { object: 'v2.core.event', type: 'refund.created' }, 'parked unsupported_payload'],
    [
      'a thin dispute',
      'stripe',
      { object: 'v2.core.event', type: 'v1.charge.dispute.closed' },
      'parked unsupported_payload',
    ],
    ['a payment of nothing', 'stripe', stripePayment({ paymentId: 'pi_1', amount: 0 }), 'payment pi_1 succeeded 0 USD'],
    [
      'a refund under review',
      'dodo',
      dodoRefund({ paymentId: 'p', amount: 7, status: 'review' }),
      'refund p pending 7 USD',
    ],
    [
      'a refund that failed before its success was delivered',
      'dodo',
      dodoRefund({ paymentId: 'p', amount: 7, status: 'failed' }),
      'refund p failed 7 USD',
    ],
    [
      'a refund without a status',
      'dodo',
      dodoRefund({ paymentId: 'p', amount: 7, status: null }),
      'refund p succeeded 7 USD',
    ],
    [
      'a failed refund without a status',
      'dodo',
      dodoRefund({ type: 'failed', paymentId: 'p', amount: 7, status: null }),
      'refund p failed 7 USD',
    ],
    [
      'a failed partial refund without an amount',
      'dodo',
      dodoRefund({ type: 'failed', paymentId: 'p', amount: null }),
      'refund p failed  USD',
    ],
    [
      'a refund that does not say whether it is partial',
      'dodo',
      withData(dodoRefund({ paymentId: 'p', amount: null }), { is_partial: null }),
      'parked unknown_amount',
    ],
    ['a partial capture', 'dodo', withData(dodoPayment(), { status: 'partially_captured' }), 'parked unknown_amount'],
    [
      'a payment without a customer',
      'dodo',
      withData(dodoPayment({ paymentId: 'p', amount: 7 }), { customer: null }),
      'payment p succeeded 7 USD',
    ],
    ['a disputed amount with a fraction', 'dodo', dodoDispute({ paymentId: 'p', amount: '47.20' }), 'parked malformed'],
    ['a disputed amount with a sign', 'dodo', dodoDispute({ paymentId: 'p', amount: '-4720' }), 'parked malformed'],
    [
      'a disputed amount past all money',
      'dodo',
      dodoDispute({ paymentId: 'p', amount: '9007199254740993' }),
      'parked malformed',
    ],
    [
      'a disputed amount as a number',
      'dodo',
      withData(dodoDispute({ paymentId: 'p' }), { amount: 47 }),
      'dispute p open 47 USD',
    ],
    [
      'a dispute closed that cost something',
      'razorpay',
      withDispute(razorpayDispute({ type: 'closed', paymentId: 'p', amount: 7 }), { amount_deducted: 7 }),
      'dispute p lost 7 INR',
    ],
    [
      'a lost dispute that took a part of the payment',
      'razorpay',
      withDispute(razorpayDispute({ type: 'lost', paymentId: 'p', amount: 500 }), { amount_deducted: 200 }),
      'dispute p lost 200 INR',
    ],
    [
      'a refund of a payment never captured',
      'razorpay',
      razorpayRefund({ paymentId: 'p', captured: false }),
      'ignored',
    ],
    ['an event named like a method of objects', 'razorpay', { event: 'constructor' }, 'ignored'],
  ];

  it.each(cases)('%s', (_name, provider, body, expected) => {
    expect(summary(interpret(provider, body))).toBe(expected);
  });
});

describe('the customer of a payment', () => {
  const customerOf = (provider: ProviderName, body: string | object) => {
    const interpretation = interpret(provider, body);
    const fact = interpretation.kind === 'facts' ? interpretation.facts[0] : undefined;
    return fact?.kind === 'payment' || fact?.kind === 'refund' ? fact.customer : undefined;
  };

  it.each<[string, ProviderName, string | object, object]>([
    ['none', 'stripe', stripePayment({ customer: null, email: null }), { id: null, email: null, name: null }],
    [
      'only an e-mail',
      'stripe',
      stripePayment({ customer: null, email: ' a@example.com ' }),
      { id: null, email: 'a@example.com', name: null },
    ],
    [
      'expanded',
      'stripe',
      withObject(stripePayment({ email: null }), { customer: { id: 'cus_1', email: 'x@example.com', name: 'X' } }),
      { id: 'cus_1', email: 'x@example.com', name: 'X' },
    ],
    [
      'a v2 account',
      'stripe',
      withObject(stripePayment({ customer: null }), { customer_account: 'acct_1' }),
      { id: 'acct_1', email: 'ada@example.com', name: null },
    ],
    [
      'with a line break in the name',
      'dodo',
      dodoPayment({ customer: { id: 'c', name: 'A\u0000\nB ' } }),
      { id: 'c', email: 'ravi@example.com', name: 'A  B' },
    ],
    [
      'with an e-mail that is none',
      'dodo',
      dodoPayment({ customer: { id: 'c', email: 'none', name: '' } }),
      { id: 'c', email: null, name: null },
    ],
    [
      'with an endless e-mail',
      'stripe',
      stripePayment({ customer: null, email: `${'a'.repeat(320)}@b.example` }),
      { id: null, email: null, name: null },
    ],
    [
      'with the placeholder e-mail',
      'razorpay',
      razorpayPayment({ customer: '', email: 'void@razorpay.com' }),
      { id: null, email: null, name: null },
    ],
  ])('%s', (_name, provider, body, expected) => {
    expect(customerOf(provider, body)).toEqual(expected);
  });
});
