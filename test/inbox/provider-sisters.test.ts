import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { signAdyen } from '../support/signing-paypal-adyen-cashfree.ts';

/*
 * Histories of the same kinds as the reported cases, of other providers, amounts and rounds. Each leaves of 100.00 what it says: in
 * this order, in the other one, with everything told twice, and all in one batch.
 */

interface Played {
  readonly customer: string;
  readonly id: string;
}
type History = readonly [provider: ProviderName, name: string, left: number, events: (of: Played) => readonly object[]];

let number = 0;
const at = (day: number) => `2026-11-${String(day).padStart(2, '0')}T10:00:00Z`;
const seconds = (day: number) => Date.parse(at(day)) / 1000;

const stripe = (type: string, day: number, object: object, more: object = {}) => ({
  ...{ id: `evt_${++number}`, object: 'event', type, created: seconds(day), livemode: false },
  ...{ api_version: '2026-10-28.endive', data: { object }, ...more },
});
const intent = ({ customer, id }: Played, amount = 10_000, type = 'succeeded', day = 1, more: object = {}) =>
  stripe(`payment_intent.${type}`, day, {
    ...{ id, currency: 'usd', amount, amount_received: amount, customer: null, created: seconds(1) },
    ...{ metadata: { wallet_customer_id: customer }, ...more },
  });
const stripeRefund = ({ id }: Played, name: string, amount: number, status: string, day: number, more: object = {}) =>
  stripe(
    'refund.updated',
    day,
    { id: `re_${name}_${id}`, amount, currency: 'usd', payment_intent: id, charge: `ch_${id}`, status, metadata: {} },
    more,
  );
const stripeDispute = ({ id }: Played, name: string, amount: number, status: string, day: number, more: object = {}) =>
  stripe('charge.dispute.closed', day, {
    ...{ id: `dp_${name}_${id}`, amount, currency: 'usd', payment_intent: id, charge: `ch_${id}`, status, ...more },
  });
const chargeRefunded = ({ id }: Played, amount_refunded: number, day: number, more: object = {}) =>
  stripe('charge.refunded', day, {
    ...{ id: `ch_${id}`, currency: 'usd', amount: 10_000, amount_captured: 10_000, amount_refunded, captured: true },
    ...{ payment_intent: id, metadata: {}, ...more },
  });

const usd = (value: string) => ({ value, currency_code: 'USD' });
const paypal = (event_type: string, day: number, resource: object) => ({
  ...{ id: `WH-${++number}`, event_type, create_time: at(day), resource },
});
const capture = ({ customer, id }: Played, type = 'COMPLETED', day = 1) =>
  paypal(`PAYMENT.CAPTURE.${type}`, day, { id, amount: usd('100.00'), custom_id: customer, create_time: at(1) });
const undone = ({ id }: Played, type: 'REFUNDED' | 'REVERSED', name: string, value: string, day: number) =>
  paypal(`PAYMENT.CAPTURE.${type}`, day, {
    ...{ id: `${type}${name}${id}`, amount: usd(value), status: 'COMPLETED' },
    links: [{ rel: 'up', href: `https://api.paypal.com/v2/payments/captures/${id}` }],
  });
const resolved = (
  { id }: Played,
  name: string,
  value: string,
  outcome_code: string,
  days: readonly [number | null, number],
) =>
  paypal('CUSTOMER.DISPUTE.RESOLVED', days[1], {
    ...{ dispute_id: `PP-${name}-${id}`, dispute_life_cycle_stage: 'CHARGEBACK', dispute_amount: usd(value) },
    ...{ create_time: days[0] === null ? null : at(days[0]), update_time: at(days[1]) },
    ...{ disputed_transactions: [{ seller_transaction_id: id }], dispute_outcome: { outcome_code } },
  });

const dodo = (type: string, day: number, data: object) => ({
  ...{ business_id: 'bus_sisters', type, timestamp: at(day), data },
});
const dodoPaid = ({ customer, id }: Played) =>
  dodo('payment.succeeded', 1, {
    ...{ payment_id: id, total_amount: 10_000, currency: 'USD', metadata: { wallet_customer_id: customer } },
    ...{ customer: null, created_at: at(1) },
  });
const dodoDispute = ({ id }: Played, state: string, amount: string, day: number, dispute_stage: string | null) =>
  dodo(`dispute.${state}`, day, { payment_id: id, dispute_id: `dis_${id}`, amount, currency: 'USD', dispute_stage });

const paddle = (event_type: string, day: number, data: object) => ({
  ...{ event_id: `evt_${++number}`, event_type, occurred_at: at(day), data },
});
const paddlePaid = ({ customer, id }: Played) =>
  paddle('transaction.completed', 1, {
    ...{ id, currency_code: 'USD', customer_id: null, custom_data: { wallet_customer_id: customer } },
    details: { totals: { grand_total: '10000' } },
  });
const adjustment = ({ id }: Played, name: string, action: string, total: string, status: string, day: number) =>
  paddle('adjustment.updated', day, {
    ...{ id: `adj_${name}_${id}`, transaction_id: id, customer_id: null, action, status },
    ...{ currency_code: 'USD', totals: { total } },
  });

const adyen = ({ customer, id }: Played, eventCode: string, value: number, day: number, more: object = {}) => ({
  live: 'false',
  notificationItems: [
    {
      NotificationRequestItem: {
        ...{
          eventCode,
          success: 'true',
          eventDate: at(day),
          merchantAccountCode: 'Sisters',
          merchantReference: customer,
        },
        ...{ pspReference: `${eventCode}${id}`, originalReference: id, amount: { value, currency: 'USD' }, ...more },
      },
    },
  ],
});
const authorised = (of: Played, value = 10_000) =>
  adyen(of, 'AUTHORISATION', value, 1, { pspReference: of.id, originalReference: '' });
const one = ({ id }: Played, name: string) => ({ pspReference: `${name}${id}` });

const razorpay = (event: string, day: number, payload: object) => ({
  ...{ entity: 'event', account_id: 'acc_sisters', event, created_at: seconds(day), payload },
});
const razorpayPayment = ({ customer, id }: Played, more: object = {}) => ({
  payment: {
    entity: {
      ...{ id, amount: 10_000, currency: 'INR', captured: true, email: null, customer_id: null, order_id: null },
      ...{ notes: { wallet_customer_id: customer }, created_at: seconds(1), ...more },
    },
  },
});
const razorpayDispute = (of: Played, state: string, phase: string, day: number, deducted: number, name = 'a') =>
  razorpay(`payment.dispute.${state}`, day, {
    dispute: {
      entity: {
        ...{ id: `disp_${name}_${of.id}`, payment_id: of.id, amount: 4000, amount_deducted: deducted },
        ...{ currency: 'INR', phase },
      },
    },
  });
const razorpayRefund = (of: Played, state: string, amount: number, day: number, more: object = {}) =>
  razorpay(`refund.${state}`, day, {
    refund: { entity: { id: `rfnd_${of.id}`, payment_id: of.id, amount, currency: 'INR', notes: [] } },
    ...razorpayPayment(of, more),
  });

const cashfree = (type: string, day: number, data: object) => ({ type, event_time: at(day), data });
const cashfreePaid = ({ customer, id }: Played) =>
  cashfree('PAYMENT_SUCCESS_WEBHOOK', 1, {
    ...{ order: { order_id: id, order_tags: { wallet_customer_id: customer } }, customer_details: null },
    payment: { cf_payment_id: id, payment_amount: 100, payment_currency: 'INR' },
  });
const cashfreeDispute = ({ id }: Played, dispute_type: string, end: string, day: number) =>
  cashfree(end === 'CREATED' ? 'DISPUTE_CREATED' : 'DISPUTE_CLOSED', day, {
    dispute: {
      ...{ dispute_id: `9${id.replace(/\D/g, '')}`, dispute_type, dispute_status: `${dispute_type}_${end}` },
      ...{ dispute_amount: 40, dispute_amount_currency: 'INR' },
    },
    order_details: { cf_payment_id: id, payment_currency: 'INR' },
  });
const cashfreeRefund = ({ id }: Played, refund_status: string, day: number, type = 'REFUND_STATUS_WEBHOOK') =>
  cashfree(type, day, {
    [type.startsWith('AUTO') ? 'auto_refund' : 'refund']: {
      ...{ cf_refund_id: `7${id}`, cf_payment_id: id, refund_amount: 30, refund_currency: 'INR', refund_status },
    },
  });

const polar = (type: string, day: number, data: object) => ({ type, timestamp: at(day), data });
const polarPaid = ({ customer, id }: Played) =>
  polar('order.paid', 1, {
    ...{ id, due_amount: 10_000, currency: 'usd', customer_id: null, customer: null, created_at: at(1) },
    metadata: { wallet_customer_id: customer },
  });
const polarRefund = ({ id }: Played, amount: number, tax_amount: number, status: string, day: number) =>
  polar('refund.updated', day, {
    ...{ id: `r_${id}`, order_id: id, amount, tax_amount, currency: 'usd', status, customer_id: null, metadata: {} },
  });
const polarDispute = ({ id }: Played, status: string, day: number) =>
  polar('dispute.listed', day, { id: `d_${id}`, order_id: id, amount: 3500, tax_amount: 500, currency: 'usd', status });

const squeezy = (event_name: string, type: string, { customer, id }: Played, attributes: object) => ({
  meta: { event_name, test_mode: true, custom_data: { wallet_customer_id: customer } },
  data: {
    ...{ type, id: id.replace(/\D/g, '') },
    attributes: {
      ...{ store_id: 7, customer_id: 9, user_email: 'a@example.com', user_name: 'A', currency: 'USD', total: 10_000 },
      ...{ created_at: at(1), ...attributes },
    },
  },
});
const order = (of: Played) => squeezy('order_created', 'orders', of, { status: 'paid' });
const orderRefunded = (of: Played, refunded_amount: number, day: number, status = 'partial_refund') =>
  squeezy('order_refunded', 'orders', of, { status, refunded_amount, refunded_at: at(day) });

const OLD = { api_version: '2024-06-20' };

/** How a refund that changed was told before API version 2024-10-28, by a charge's event. */
const refundOfOldCharge = (of: Played, name: string, amount: number, status: string, day: number) => ({
  ...stripeRefund(of, name, amount, status, day, OLD),
  type: 'charge.refund.updated',
});
const paypalRefund = ({ id }: Played, type: string, name: string, value: string, status: string, day: number) =>
  paypal(type, day, {
    ...{ id: `REFUNDED${name}${id}`, amount: usd(value), status },
    links: [{ rel: 'up', href: `https://api.paypal.com/v2/payments/captures/${id}` }],
  });
const sale = ({ customer, id }: Played) =>
  paypal('PAYMENT.SALE.COMPLETED', 1, {
    ...{ id, amount: { total: '100.00', currency: 'USD' }, custom: customer, create_time: at(1), state: 'completed' },
  });
const saleRefund = ({ id }: Played, name: string, total: string, day: number) =>
  paypal('PAYMENT.SALE.REFUNDED', day, {
    ...{ id: `R${name}${id}`, amount: { total, currency: 'USD' }, state: 'completed', sale_id: id },
  });
const dodoRefund = (
  { id }: Played,
  name: string,
  amount: number | null,
  status: string,
  day: number,
  more: object = {},
) =>
  dodo(`refund.${status === 'failed' ? 'failed' : 'succeeded'}`, day, {
    ...{ payment_id: id, refund_id: `ref_${name}_${id}`, amount, currency: 'USD', is_partial: true, status },
    ...{ customer: null, metadata: {}, ...more },
  });
const charged = ({ customer, id }: Played) =>
  cashfree('SUBSCRIPTION_PAYMENT_SUCCESS', 1, {
    ...{
      cf_payment_id: id,
      payment_type: 'CHARGE',
      payment_amount: 100,
      payment_currency: 'INR',
      customer_details: null,
    },
    subscription_details: { cf_subscription_id: `sub${id}`, subscription_tags: { wallet_customer_id: customer } },
  });
const chargeRefund = ({ id }: Played, refund_status: string, day: number) =>
  cashfree('SUBSCRIPTION_REFUND_STATUS', day, {
    ...{ cf_refund_id: `7${id}`, cf_payment_id: id, refund_amount: 30, refund_currency: 'INR', refund_status },
  });
const renewal = (of: Played, event_name: string, attributes: object) =>
  squeezy(event_name, 'subscription-invoices', of, { billing_reason: 'renewal', subscription_id: 4, ...attributes });

const HISTORIES: readonly History[] = [
  [
    'stripe',
    'two disputes, of which one is won',
    7000,
    (of) => [intent(of), stripeDispute(of, 'a', 3000, 'lost', 3), stripeDispute(of, 'b', 2000, 'won', 4)],
  ],
  [
    'stripe',
    'a refund, and a dispute that takes all',
    0,
    (of) => [intent(of), stripeRefund(of, 'a', 3000, 'succeeded', 2), stripeDispute(of, 'a', 10_000, 'lost', 4)],
  ],
  [
    'stripe',
    'a refund that is cancelled after it succeeded',
    10_000,
    (of) => [
      intent(of),
      stripeRefund(of, 'a', 3000, 'pending', 2),
      stripeRefund(of, 'a', 3000, 'succeeded', 3),
      stripeRefund(of, 'a', 3000, 'canceled', 4),
    ],
  ],
  [
    'stripe',
    'a sum of refunds of which one is told',
    6000,
    (of) => [intent(of), stripeRefund(of, 'a', 1000, 'succeeded', 2), chargeRefunded(of, 4000, 3)],
  ],
  [
    'stripe',
    'a first try that failed',
    10_000,
    (of) => [intent(of, 10_000, 'payment_failed', 1), { ...intent(of), created: seconds(2) }],
  ],
  [
    'stripe',
    'a prevented dispute, in another currency of settlement',
    7000,
    (of) => [intent(of), stripeDispute(of, 'a', 3000, 'prevented', 3, { balance_transactions: [{ amount: -2650 }] })],
  ],
  [
    'stripe',
    'an inquiry that was closed',
    10_000,
    (of) => [
      intent(of),
      stripeDispute(of, 'a', 3000, 'warning_needs_response', 2),
      stripeDispute(of, 'a', 3000, 'warning_closed', 3),
    ],
  ],
  [
    'stripe',
    'a part captured under an old version, and a refund of it',
    2000,
    (of) => [
      intent(of, 10_000, 'succeeded', 1, { amount_received: 3000 }),
      stripeRefund(of, 'release', 7000, 'succeeded', 1, OLD),
      stripeRefund(of, 'real', 1000, 'succeeded', 3, OLD),
    ],
  ],
  [
    'paypal',
    'a claim that was lost and then won',
    10_000,
    (of) => [
      capture(of),
      undone(of, 'REVERSED', 'a', '60.00', 3),
      resolved(of, 'a', '60.00', 'RESOLVED_BUYER_FAVOUR', [3, 5]),
      resolved(of, 'a', '60.00', 'RESOLVED_SELLER_FAVOUR', [3, 8]),
    ],
  ],
  [
    'paypal',
    'two claims that were lost, of which one is told as a reversal',
    4000,
    (of) => [
      capture(of),
      undone(of, 'REVERSED', 'a', '30.00', 3),
      resolved(of, 'a', '30.00', 'RESOLVED_BUYER_FAVOUR', [3, 5]),
      resolved(of, 'b', '30.00', 'RESOLVED_BUYER_FAVOUR', [4, 6]),
    ],
  ],
  [
    'paypal',
    'a claim whose opening is not told, and the refund that ended it',
    7000,
    (of) => [
      capture(of),
      undone(of, 'REFUNDED', 'a', '30.00', 2),
      resolved(of, 'a', '30.00', 'RESOLVED_BUYER_FAVOUR', [null, 5]),
    ],
  ],
  [
    'paypal',
    'a refund from before a claim of the rest',
    0,
    (of) => [
      capture(of),
      undone(of, 'REFUNDED', 'a', '30.00', 2),
      resolved(of, 'a', '70.00', 'RESOLVED_BUYER_FAVOUR', [4, 6]),
    ],
  ],
  ['paypal', 'a capture that was pending', 10_000, (of) => [capture(of, 'PENDING'), capture(of, 'COMPLETED', 2)]],
  [
    'dodo',
    'won as a dispute, lost in pre-arbitration',
    6000,
    (of) => [
      dodoPaid(of),
      dodoDispute(of, 'won', '4000', 3, 'dispute'),
      dodoDispute(of, 'lost', '4000', 5, 'pre_arbitration'),
    ],
  ],
  [
    'dodo',
    'lost in pre-arbitration, and the first round won is told later',
    6000,
    (of) => [
      dodoPaid(of),
      dodoDispute(of, 'lost', '4000', 3, 'pre_arbitration'),
      dodoDispute(of, 'won', '4000', 5, 'dispute'),
    ],
  ],
  [
    'dodo',
    'lost and won without a stage',
    10_000,
    (of) => [dodoPaid(of), dodoDispute(of, 'lost', '4000', 3, null), dodoDispute(of, 'won', '4000', 5, null)],
  ],
  [
    'paddle',
    'a chargeback that two events tell to be reversed',
    10_000,
    (of) => [
      paddlePaid(of),
      adjustment(of, 'a', 'chargeback', '4000', 'approved', 2),
      adjustment(of, 'a', 'chargeback', '4000', 'reversed', 4),
      adjustment(of, 'r', 'chargeback_reverse', '4000', 'approved', 4),
    ],
  ],
  [
    'paddle',
    'two chargebacks and one reversal of a part',
    6000,
    (of) => [
      paddlePaid(of),
      adjustment(of, 'a', 'chargeback', '3000', 'approved', 2),
      adjustment(of, 'r', 'chargeback_reverse', '2000', 'approved', 3),
      adjustment(of, 'b', 'chargeback', '3000', 'approved', 4),
    ],
  ],
  [
    'paddle',
    'a warning, a credit and a refund that was rejected',
    10_000,
    (of) => [
      paddlePaid(of),
      adjustment(of, 'w', 'chargeback_warning', '4000', 'approved', 2),
      adjustment(of, 'c', 'credit', '4000', 'approved', 2),
      adjustment(of, 'x', 'refund', '4000', 'pending_approval', 3),
      adjustment(of, 'x', 'refund', '4000', 'rejected', 4),
    ],
  ],
  [
    'adyen',
    'two captures of less',
    6000,
    (of) => [
      authorised(of),
      adyen(of, 'CAPTURE', 2500, 2, one(of, 'C1')),
      adyen(of, 'CAPTURE', 3500, 3, one(of, 'C2')),
    ],
  ],
  [
    'adyen',
    'an adjustment up, and the capture of it',
    12_000,
    (of) => [authorised(of), adyen(of, 'AUTHORISATION_ADJUSTMENT', 12_000, 2), adyen(of, 'CAPTURE', 12_000, 3)],
  ],
  [
    'adyen',
    'a capture of which a part is refunded, and its cancellation, which is late',
    3000,
    (of) => [
      authorised(of),
      adyen(of, 'CAPTURE', 4000, 2),
      adyen(of, 'REFUND', 1000, 3),
      adyen(of, 'CANCELLATION', 0, 4),
    ],
  ],
  ['adyen', 'a cancellation before any capture', 0, (of) => [authorised(of), adyen(of, 'TECHNICAL_CANCEL', 10_000, 2)]],
  [
    'adyen',
    'a refund that failed in the end',
    10_000,
    (of) => [
      authorised(of),
      adyen(of, 'REFUND', 4000, 2, one(of, 'R')),
      adyen(of, 'REFUND_FAILED', 4000, 5, one(of, 'R')),
    ],
  ],
  [
    'adyen',
    'a chargeback reversed, and lost again in arbitration with fees',
    6000,
    (of) => [
      authorised(of),
      adyen(of, 'CHARGEBACK', 4000, 2, one(of, 'D')),
      adyen(of, 'CHARGEBACK_REVERSED', 4000, 3, one(of, 'D')),
      adyen(of, 'SCHEME_ARBITRATION_LOST', 54_000, 9, one(of, 'D')),
    ],
  ],
  [
    'adyen',
    'a second chargeback that the issuer withdrew',
    10_000,
    (of) => [
      authorised(of),
      adyen(of, 'CHARGEBACK', 4000, 2, one(of, 'D')),
      adyen(of, 'CHARGEBACK_REVERSED', 4000, 3, one(of, 'D')),
      adyen(of, 'SECOND_CHARGEBACK', 4000, 4, one(of, 'D')),
      adyen(of, 'PREARBITRATION_ISSUER_WITHDRAWN', 4000, 5, one(of, 'D')),
    ],
  ],
  [
    'razorpay',
    'a chargeback lost, and won in arbitration',
    10_000,
    (of) => [
      razorpay('payment.captured', 1, razorpayPayment(of)),
      razorpayDispute(of, 'lost', 'chargeback', 3, 4000),
      razorpayDispute(of, 'won', 'arbitration', 6, 0),
    ],
  ],
  [
    'razorpay',
    'a dispute of which a part is deducted, and closed',
    7500,
    (of) => [
      razorpay('payment.captured', 1, razorpayPayment(of)),
      razorpayDispute(of, 'lost', 'chargeback', 3, 2500),
      razorpayDispute(of, 'closed', 'chargeback', 4, 2500),
    ],
  ],
  [
    'razorpay',
    'a fee of the payer, and a refund of half the price',
    5000,
    (of) => [
      razorpay(
        'payment.captured',
        1,
        razorpayPayment(of, { amount: 10_236, fee: 236, tax: 36, fee_bearer: 'customer' }),
      ),
      razorpayRefund(of, 'processed', 5000, 3),
    ],
  ],
  [
    'razorpay',
    'a refund that failed',
    10_000,
    (of) => [
      razorpay('payment.captured', 1, razorpayPayment(of)),
      razorpayRefund(of, 'processed', 4000, 2),
      razorpayRefund(of, 'failed', 4000, 3),
    ],
  ],
  [
    'cashfree',
    'a question of the bank, and a chargeback that is lost',
    6000,
    (of) => [
      cashfreePaid(of),
      cashfreeDispute(of, 'RETRIEVAL', 'CREATED', 2),
      cashfreeDispute(of, 'CHARGEBACK', 'MERCHANT_LOST', 4),
    ],
  ],
  [
    'cashfree',
    'a chargeback that is lost, and won in pre-arbitration',
    10_000,
    (of) => [
      cashfreePaid(of),
      cashfreeDispute(of, 'CHARGEBACK', 'MERCHANT_ACCEPTED', 2),
      cashfreeDispute(of, 'PRE_ARBITRATION', 'MERCHANT_WON', 4),
    ],
  ],
  [
    'cashfree',
    'a refund on hold that is made',
    7000,
    (of) => [cashfreePaid(of), cashfreeRefund(of, 'ONHOLD', 2), cashfreeRefund(of, 'SUCCESS', 3)],
  ],
  [
    'cashfree',
    'an automatic refund that is cancelled',
    10_000,
    (of) => [
      cashfreePaid(of),
      cashfreeRefund(of, 'SUCCESS', 2, 'AUTO_REFUND_STATUS_WEBHOOK'),
      cashfreeRefund(of, 'CANCELLED', 3, 'AUTO_REFUND_STATUS_WEBHOOK'),
    ],
  ],
  [
    'polar',
    'a refund with its tax',
    8800,
    (of) => [polarPaid(of), polarRefund(of, 1000, 200, 'pending', 2), polarRefund(of, 1000, 200, 'succeeded', 3)],
  ],
  ['polar', 'a dispute that is lost, tax included', 6000, (of) => [polarPaid(of), polarDispute(of, 'lost', 4)]],
  [
    'polar',
    'a dispute that a refund prevented',
    6000,
    (of) => [polarPaid(of), polarDispute(of, 'prevented', 3), polarRefund(of, 3500, 500, 'succeeded', 3)],
  ],
  [
    'lemonsqueezy',
    'two sums of refunds',
    2500,
    (of) => [order(of), orderRefunded(of, 2500, 2), orderRefunded(of, 7500, 3)],
  ],
  [
    'lemonsqueezy',
    'a sum of refunds that reaches all',
    0,
    (of) => [order(of), orderRefunded(of, 2500, 2), orderRefunded(of, 10_000, 3, 'refunded')],
  ],
  [
    'stripe',
    'a refund under an old version that its charge tells to have failed',
    10_000,
    (of) => [intent(of), chargeRefunded(of, 3000, 2, OLD), refundOfOldCharge(of, 'a', 3000, 'failed', 5)],
  ],
  [
    'stripe',
    'two refunds under an old version, of which one failed',
    6000,
    (of) => [
      intent(of),
      chargeRefunded(of, 3000, 2, OLD),
      chargeRefunded(of, 7000, 3, OLD),
      refundOfOldCharge(of, 'a', 3000, 'failed', 5),
    ],
  ],
  [
    'stripe',
    'two refunds under an old version, of which one failed, and a third one',
    5000,
    (of) => [
      intent(of),
      chargeRefunded(of, 3000, 2, OLD),
      chargeRefunded(of, 7000, 3, OLD),
      refundOfOldCharge(of, 'a', 3000, 'failed', 5),
      chargeRefunded(of, 5000, 6, OLD),
    ],
  ],
  [
    'stripe',
    'a refund that two kinds of events tell to be made',
    7000,
    (of) => [intent(of), stripeRefund(of, 'a', 3000, 'succeeded', 2), refundOfOldCharge(of, 'a', 3000, 'succeeded', 2)],
  ],
  [
    'stripe',
    'a sum of refunds that comes late',
    6000,
    (of) => [intent(of), chargeRefunded(of, 4000, 3, OLD), chargeRefunded(of, 2000, 2, OLD)],
  ],
  [
    'stripe',
    'a part captured under an old version, whose release its charge tells',
    3000,
    (of) => [
      intent(of, 10_000, 'succeeded', 1, { amount_received: 3000 }),
      stripe(
        'charge.refunded',
        1,
        {
          ...{ id: `ch_${of.id}`, currency: 'usd', amount: 10_000, amount_captured: 3000, amount_refunded: 7000 },
          ...{ captured: true, payment_intent: of.id, metadata: {} },
        },
        OLD,
      ),
    ],
  ],
  [
    'stripe',
    'a dispute that is won, and lost in a further round',
    7000,
    (of) => [intent(of), stripeDispute(of, 'a', 3000, 'won', 3), stripeDispute(of, 'a', 3000, 'lost', 6)],
  ],
  [
    'stripe',
    'a dispute that a refund prevented',
    7000,
    (of) => [
      intent(of),
      stripeRefund(of, 'a', 3000, 'succeeded', 2),
      stripeDispute(of, 'a', 3000, 'prevented', 3, {
        payment_method_details: { type: 'card', card: { case_type: 'block' } },
        balance_transactions: [],
      }),
    ],
  ],
  [
    'stripe',
    'a bank debit that was processed before it succeeded, and is disputed whole',
    0,
    (of) => [
      intent(of, 0, 'processing', 1, { amount: 10_000 }),
      intent(of, 10_000, 'succeeded', 4),
      stripeDispute(of, 'a', 10_000, 'lost', 6),
    ],
  ],
  [
    'paypal',
    'a refund that was pending',
    7000,
    (of) => [
      capture(of),
      paypalRefund(of, 'PAYMENT.CAPTURE.REFUNDED', 'a', '30.00', 'PENDING', 2),
      paypalRefund(of, 'PAYMENT.REFUND.COMPLETED', 'a', '30.00', 'COMPLETED', 3),
    ],
  ],
  [
    'paypal',
    'a refund that failed',
    10_000,
    (of) => [
      capture(of),
      paypalRefund(of, 'PAYMENT.CAPTURE.REFUNDED', 'a', '30.00', 'COMPLETED', 2),
      paypalRefund(of, 'PAYMENT.REFUND.FAILED', 'a', '30.00', 'FAILED', 4),
    ],
  ],
  [
    'paypal',
    'a sale of the older API, and two refunds of it',
    4500,
    (of) => [sale(of), saleRefund(of, 'a', '30.00', 2), saleRefund(of, 'b', '25.00', 3)],
  ],
  [
    'paypal',
    'a claim that PayPal paid itself',
    10_000,
    (of) => [
      capture(of),
      undone(of, 'REVERSED', 'a', '40.00', 3),
      resolved(of, 'a', '40.00', 'RESOLVED_WITH_PAYOUT', [3, 6]),
    ],
  ],
  [
    'dodo',
    'a refund of the whole, whose amount is not said',
    0,
    (of) => [dodoPaid(of), dodoRefund(of, 'a', null, 'succeeded', 3, { is_partial: false })],
  ],
  [
    'dodo',
    'a refund that failed after it was made, and another one',
    8000,
    (of) => [
      dodoPaid(of),
      dodoRefund(of, 'a', 3000, 'succeeded', 2),
      dodoRefund(of, 'a', 3000, 'failed', 4),
      dodoRefund(of, 'b', 2000, 'succeeded', 5),
    ],
  ],
  [
    'dodo',
    'a refund under review that is made',
    7000,
    (of) => [dodoPaid(of), dodoRefund(of, 'a', 3000, 'review', 2), dodoRefund(of, 'a', 3000, 'succeeded', 3)],
  ],
  [
    'dodo',
    'a dispute that was accepted after a refund of a part',
    3000,
    (of) => [
      dodoPaid(of),
      dodoRefund(of, 'a', 3000, 'succeeded', 2),
      dodoDispute(of, 'opened', '4000', 4, 'dispute'),
      dodoDispute(of, 'accepted', '4000', 6, 'dispute'),
    ],
  ],
  [
    'paddle',
    'a refund that was approved and reversed',
    10_000,
    (of) => [
      paddlePaid(of),
      adjustment(of, 'x', 'refund', '4000', 'pending_approval', 2),
      adjustment(of, 'x', 'refund', '4000', 'approved', 3),
      adjustment(of, 'x', 'refund', '4000', 'reversed', 5),
    ],
  ],
  [
    'paddle',
    'a refund, a chargeback of all, and its reversal',
    7000,
    (of) => [
      paddlePaid(of),
      adjustment(of, 'x', 'refund', '3000', 'approved', 2),
      adjustment(of, 'a', 'chargeback', '10000', 'approved', 4),
      adjustment(of, 'r', 'chargeback_reverse', '10000', 'approved', 6),
    ],
  ],
  [
    'paddle',
    'three chargebacks, of which two are reversed, one told by its status alone',
    7000,
    (of) => [
      paddlePaid(of),
      adjustment(of, 'a', 'chargeback', '3000', 'approved', 2),
      adjustment(of, 'b', 'chargeback', '3000', 'approved', 3),
      adjustment(of, 'c', 'chargeback', '3000', 'approved', 4),
      adjustment(of, 'a', 'chargeback', '3000', 'reversed', 5),
      adjustment(of, 'b', 'chargeback', '3000', 'reversed', 6),
      adjustment(of, 'r', 'chargeback_reverse', '3000', 'approved', 6),
    ],
  ],
  [
    'paddle',
    'a payment that was past due, and a warning that became a chargeback',
    6000,
    (of) => [
      { ...paddlePaid(of), event_type: 'transaction.past_due', event_id: `evt_${++number}`, occurred_at: at(1) },
      { ...paddlePaid(of), occurred_at: at(2) },
      adjustment(of, 'w', 'chargeback_warning', '4000', 'approved', 3),
      adjustment(of, 'a', 'chargeback', '4000', 'approved', 5),
    ],
  ],
  [
    'adyen',
    'a capture that failed though none was told',
    0,
    (of) => [authorised(of), adyen(of, 'CAPTURE_FAILED', 10_000, 3)],
  ],
  [
    'adyen',
    'two captures, of which one failed',
    2500,
    (of) => [
      authorised(of),
      adyen(of, 'CAPTURE', 2500, 2, one(of, 'C1')),
      adyen(of, 'CAPTURE', 3500, 3, one(of, 'C2')),
      adyen(of, 'CAPTURE_FAILED', 3500, 5, one(of, 'C2')),
    ],
  ],
  [
    'adyen',
    'a request to cancel or refund, which refunded a part',
    6000,
    (of) => [
      authorised(of),
      adyen(of, 'CANCEL_OR_REFUND', 4000, 3, { additionalData: { 'modification.action': 'refund' } }),
    ],
  ],
  [
    'adyen',
    'two refunds under references of their own, and one that was refused',
    4000,
    (of) => [
      authorised(of),
      adyen(of, 'REFUND', 3000, 2, one(of, 'R1')),
      adyen(of, 'REFUND', 3000, 3, one(of, 'R2')),
      adyen(of, 'REFUND', 2000, 4, { ...one(of, 'R3'), success: 'false' }),
    ],
  ],
  [
    'adyen',
    'pre-arbitration lost and scheme arbitration won',
    10_000,
    (of) => [
      authorised(of),
      adyen(of, 'CHARGEBACK', 4000, 2, one(of, 'D')),
      adyen(of, 'PREARBITRATION_LOST', 4000, 4, one(of, 'D')),
      adyen(of, 'SCHEME_ARBITRATION_WON', 4000, 8, one(of, 'D')),
    ],
  ],
  [
    'adyen',
    'two chargebacks of their own, of which one was reversed',
    7000,
    (of) => [
      authorised(of),
      adyen(of, 'NOTIFICATION_OF_CHARGEBACK', 3000, 1, one(of, 'D1')),
      adyen(of, 'CHARGEBACK', 3000, 2, one(of, 'D1')),
      adyen(of, 'CHARGEBACK', 4000, 3, one(of, 'D2')),
      adyen(of, 'CHARGEBACK_REVERSED', 4000, 5, one(of, 'D2')),
    ],
  ],
  [
    'razorpay',
    'a fee of the payer, and a refund of the whole price',
    0,
    (of) => [
      razorpay('payment.captured', 1, razorpayPayment(of, { amount: 10_236, fee: 236, fee_bearer: 'customer' })),
      razorpayRefund(of, 'processed', 10_000, 3),
    ],
  ],
  [
    'razorpay',
    'a dispute that was won, and lost in pre-arbitration by a part',
    7500,
    (of) => [
      razorpay('payment.captured', 1, razorpayPayment(of)),
      razorpayDispute(of, 'won', 'chargeback', 3, 0),
      razorpayDispute(of, 'lost', 'pre_arbitration', 6, 2500),
    ],
  ],
  [
    'razorpay',
    'a dispute that was lost, and closed without a word of what was deducted',
    6000,
    (of) => [
      razorpay('payment.captured', 1, razorpayPayment(of)),
      razorpayDispute(of, 'lost', 'chargeback', 3, 4000),
      razorpayDispute(of, 'closed', 'chargeback', 5, 0),
    ],
  ],
  [
    'razorpay',
    'a late authorisation after the first word was that it failed, and a refund told three times',
    6000,
    (of) => [
      razorpay('payment.failed', 1, razorpayPayment(of, { captured: false })),
      razorpay('payment.captured', 2, razorpayPayment(of)),
      razorpayRefund(of, 'created', 4000, 3),
      razorpayRefund(of, 'processed', 4000, 3),
      razorpayRefund(of, 'processed', 4000, 4),
    ],
  ],
  [
    'cashfree',
    'a charge of a subscription, and its refund, which was on hold',
    7000,
    (of) => [charged(of), chargeRefund(of, 'ONHOLD', 2), chargeRefund(of, 'SUCCESS', 3)],
  ],
  [
    'cashfree',
    'a refund that failed after it succeeded',
    10_000,
    (of) => [cashfreePaid(of), cashfreeRefund(of, 'SUCCESS', 2), cashfreeRefund(of, 'FAILED', 4)],
  ],
  [
    'cashfree',
    'a chargeback without enough evidence, closed so',
    6000,
    (of) => [
      cashfreePaid(of),
      cashfreeDispute(of, 'CHARGEBACK', 'CREATED', 2),
      cashfreeDispute(of, 'CHARGEBACK', 'INSUFFICIENT_EVIDENCE', 4),
    ],
  ],
  [
    'cashfree',
    'a chargeback won, pre-arbitration lost, arbitration won',
    10_000,
    (of) => [
      cashfreePaid(of),
      cashfreeDispute(of, 'CHARGEBACK', 'MERCHANT_WON', 2),
      cashfreeDispute(of, 'PRE_ARBITRATION', 'MERCHANT_LOST', 4),
      cashfreeDispute(of, 'ARBITRATION', 'MERCHANT_WON', 6),
    ],
  ],
  [
    'polar',
    'a refund that was cancelled, and a dispute that is lost and then won',
    10_000,
    (of) => [
      polarPaid(of),
      polarRefund(of, 1000, 200, 'pending', 2),
      polarRefund(of, 1000, 200, 'canceled', 3),
      polarDispute(of, 'lost', 5),
      polarDispute(of, 'won', 8),
    ],
  ],
  [
    'lemonsqueezy',
    'a sum of refunds that comes late',
    2500,
    (of) => [order(of), orderRefunded(of, 7500, 3), orderRefunded(of, 2500, 2)],
  ],
  [
    'lemonsqueezy',
    'a renewal, and a refund of a part of it',
    6000,
    (of) => [
      renewal(of, 'subscription_payment_success', { status: 'paid' }),
      renewal(of, 'subscription_payment_refunded', {
        status: 'partial_refund',
        refunded_amount: 4000,
        refunded_at: at(3),
      }),
    ],
  ],
];

let database: TestDatabase;
let inbox: TestInbox;
const PROVIDERS = [...new Set(HISTORIES.map(([provider]) => provider))];

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: PROVIDERS.map((provider) => testSource(provider)) });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

const WAYS: Readonly<Record<string, (bodies: readonly string[]) => readonly string[]>> = {
  'in order': (bodies) => bodies,
  reversed: (bodies) => bodies.toReversed(),
  twice: (bodies) => [...bodies, ...bodies],
  'at once': (bodies) => bodies,
};

describe.each(HISTORIES)('%s: %s', (provider, _name, left, eventsOf) => {
  it.each(Object.keys(WAYS))('leaves what it should, told %s', async (way) => {
    number += 1;
    const [customer = ''] = await makeCustomers(database.pool, [`sister${number}`]);
    const bodies = eventsOf({ customer, id: `${provider === 'paddle' ? 'txn' : 'P'}${70_000 + number}` }).map(
      (event) => (provider === 'adyen' ? signAdyen(Object(event)) : JSON.stringify(event)),
    );
    const told = WAYS[way]?.(bodies) ?? [];
    const source = testSource(provider);
    if (way === 'at once') {
      for (const body of told) await inbox.deliver(body, source);
      await inbox.settled();
    } else await inbox.play(told, source);
    const inRupees = provider === 'razorpay' || provider === 'cashfree';
    expect(await inbox.balance(customer, inRupees ? 'INR' : 'USD')).toBe(left);
  });
});
