import { randomUUID } from 'node:crypto';
import { hmacSha256 } from '../../crypto/signature.ts';
import { sign as signStandardWebhook } from '../../crypto/standard-webhooks.ts';
import type { Purpose } from '../../payments/purpose.ts';
import type { Delivery } from './provider.ts';

/*
 * Events of money that never moved, for trying Chokin without an account at a provider. They hold what the provider's
 * adapter reads and are signed as the provider signs, so that they go the whole way of real ones.
 *
 * | provider | payment                  | refund           | dispute open, lost, won                                    |
 * |----------|--------------------------|------------------|------------------------------------------------------------|
 * | stripe   | payment_intent.succeeded | refund.created   | charge.dispute.created, charge.dispute.closed (lost, won)  |
 * | dodo     | payment.succeeded        | refund.succeeded | dispute.opened, dispute.lost, dispute.won                  |
 * | razorpay | payment.captured         | refund.processed | payment.dispute.created, .lost, .won                       |
 */

/** Whose events can be simulated. */
export const SIMULATED_PROVIDERS = ['stripe', 'dodo', 'razorpay'] as const;
export type SimulatedProvider = (typeof SIMULATED_PROVIDERS)[number];

export const DISPUTE_OUTCOMES = ['open', 'lost', 'won'] as const;

interface Money {
  readonly paymentId: string;
  /** Minor units of the currency, in which the provider counts it too. */
  readonly amountMinor: number;
  /** Upper-case ISO 4217. */
  readonly currency: string;
  /** Ours, `cus_…`. */
  readonly customerId: string;
}

export type SimulatedMoney =
  /** A purpose of null leaves the decision to the source. */
  | (Money & { readonly kind: 'payment'; readonly purpose: Purpose | null })
  | (Money & { readonly kind: 'refund'; readonly refundId: string })
  | (Money & {
      readonly kind: 'dispute';
      readonly disputeId: string;
      readonly state: (typeof DISPUTE_OUTCOMES)[number];
    });

export interface SimulatedEvent {
  /** The provider's name for it. */
  readonly type: string;
  readonly delivery: Delivery;
}

const MARK = 'simulated';
const PAYMENT_PREFIX = { stripe: 'pi', dodo: 'pay', razorpay: 'pay' } as const;

const newHex = (): string => randomUUID().replaceAll('-', '');

/** The id of a new payment, by which it is known again as a simulated one. */
export function newSimulatedPaymentId(provider: SimulatedProvider): string {
  return `${PAYMENT_PREFIX[provider]}_${MARK}${newHex()}`;
}

export function isSimulatedPaymentId(paymentId: string): boolean {
  return /^pi_simulated[0-9a-f]{32}$|^pay_simulated[0-9a-f]{32}$/.test(paymentId);
}

/** A new refund: a payment may have several. */
export function newSimulatedRefundId(): string {
  return `re_${MARK}${newHex()}`;
}

/** Always the same dispute of a payment, so that one that was opened or lost can be won later. */
export function simulatedDisputeId(paymentId: string): string {
  return `du_${paymentId.slice(paymentId.indexOf('_') + 1)}`;
}

/** The event as the provider would send it in test mode, signed with `secret` as of `now`. */
export function simulatedEvent(
  provider: SimulatedProvider,
  money: SimulatedMoney,
  secret: string,
  now: Date,
): SimulatedEvent {
  return EVENTS[provider](money, secret, now);
}

const unixSeconds = (now: Date): number => Math.floor(now.getTime() / 1000);

/** What says whose payment it is and what for. */
function metadataOf(money: SimulatedMoney): Readonly<Record<string, string>> {
  const purpose = money.kind === 'payment' ? money.purpose : null;
  return { wallet_customer_id: money.customerId, ...(purpose === null ? {} : { wallet_purpose: purpose }) };
}

function delivery(body: string, headers: Readonly<Record<string, string>>): Delivery {
  return { rawBody: Buffer.from(body), headers: { 'content-type': 'application/json', ...headers } };
}

const EVENTS: Readonly<
  Record<SimulatedProvider, (money: SimulatedMoney, secret: string, now: Date) => SimulatedEvent>
> = {
  stripe(money, secret, now) {
    const created = unixSeconds(now);
    const { type, object } = stripeObject(money);
    const livemode = false;
    const event = { id: `evt_${MARK}${newHex()}`, object: 'event', type, created, livemode };
    const body = JSON.stringify({ ...event, data: { object: { ...object, created, livemode } } });
    const signature = hmacSha256(secret, `${created}.`, body, 'hex');
    return { type, delivery: delivery(body, { 'stripe-signature': `t=${created},v1=${signature}` }) };
  },

  dodo(money, secret, now) {
    const { type, data } = dodoData(money);
    const body = JSON.stringify({ business_id: `bus_${MARK}`, type, timestamp: now.toISOString(), data });
    const [messageId, seconds] = [`msg_${MARK}${newHex()}`, unixSeconds(now)];
    return {
      type,
      delivery: delivery(body, {
        'webhook-id': messageId,
        'webhook-timestamp': String(seconds),
        'webhook-signature': signStandardWebhook(secret, messageId, seconds, body),
      }),
    };
  },

  razorpay(money, secret, now) {
    const { type, payload } = razorpayPayload(money);
    const event = { entity: 'event', event: type, contains: Object.keys(payload), created_at: unixSeconds(now) };
    // Two alike in one second, such as two refunds of the same sum, differ by their ids.
    const body = JSON.stringify({ ...event, payload });
    const headers = {
      'x-razorpay-event-id': newHex().slice(0, 14),
      'x-razorpay-signature': hmacSha256(secret, '', body, 'hex'),
    };
    return { type, delivery: delivery(body, headers) };
  },
};

function stripeObject(money: SimulatedMoney): { type: string; object: Readonly<Record<string, unknown>> } {
  const { paymentId, amountMinor: amount } = money;
  const currency = money.currency.toLowerCase();
  const ofPayment = { amount, currency, payment_intent: paymentId };
  switch (money.kind) {
    case 'payment': {
      const intent = { id: paymentId, object: 'payment_intent', status: 'succeeded', amount, amount_received: amount };
      const customer = { customer: null, receipt_email: null };
      return {
        type: 'payment_intent.succeeded',
        object: { ...intent, currency, ...customer, metadata: metadataOf(money) },
      };
    }
    case 'refund': {
      const refund = { id: money.refundId, object: 'refund', status: 'succeeded', reason: 'requested_by_customer' };
      return { type: 'refund.created', object: { ...refund, ...ofPayment, metadata: {} } };
    }
    case 'dispute': {
      const isOpen = money.state === 'open';
      const status = isOpen ? 'needs_response' : money.state;
      const dispute = { id: money.disputeId, object: 'dispute', status, reason: 'fraudulent' };
      return {
        type: isOpen ? 'charge.dispute.created' : 'charge.dispute.closed',
        object: { ...dispute, ...ofPayment, metadata: {} },
      };
    }
  }
}

const DODO_DISPUTES = { open: 'dispute.opened', lost: 'dispute.lost', won: 'dispute.won' } as const;

function dodoData(money: SimulatedMoney): { type: string; data: Readonly<Record<string, unknown>> } {
  const { paymentId: payment_id, amountMinor: amount, currency } = money;
  switch (money.kind) {
    case 'payment': {
      const payment = { payload_type: 'Payment', payment_id, status: 'succeeded', total_amount: amount, currency };
      return { type: 'payment.succeeded', data: { ...payment, customer: null, metadata: metadataOf(money) } };
    }
    case 'refund': {
      const refund = { payload_type: 'Refund', refund_id: money.refundId, payment_id, status: 'succeeded' };
      return {
        type: 'refund.succeeded',
        data: { ...refund, amount, currency, is_partial: true, customer: null, metadata: {} },
      };
    }
    case 'dispute': {
      // Dodo writes a disputed amount as text.
      const dispute = {
        payload_type: 'Dispute',
        dispute_id: money.disputeId,
        payment_id,
        amount: String(amount),
        currency,
      };
      return { type: DODO_DISPUTES[money.state], data: dispute };
    }
  }
}

const RAZORPAY_DISPUTES = {
  open: 'payment.dispute.created',
  lost: 'payment.dispute.lost',
  won: 'payment.dispute.won',
} as const;

function razorpayPayload(money: SimulatedMoney): { type: string; payload: Readonly<Record<string, unknown>> } {
  const { paymentId, amountMinor: amount, currency } = money;
  const ofPayment = { payment_id: paymentId, amount, currency };
  const payment = { entity: { id: paymentId, entity: 'payment', currency, captured: true, notes: metadataOf(money) } };
  switch (money.kind) {
    case 'payment':
      return {
        type: 'payment.captured',
        payload: { payment: { entity: { ...payment.entity, amount, status: 'captured' } } },
      };
    case 'refund': {
      const refund = { entity: { id: money.refundId, entity: 'refund', ...ofPayment, status: 'processed', notes: [] } };
      return { type: 'refund.processed', payload: { refund, payment } };
    }
    case 'dispute': {
      const deducted = money.state === 'lost' ? amount : 0;
      const dispute = { entity: { id: money.disputeId, entity: 'dispute', ...ofPayment, amount_deducted: deducted } };
      return { type: RAZORPAY_DISPUTES[money.state], payload: { dispute, payment } };
    }
  }
}
