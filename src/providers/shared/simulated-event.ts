import { randomUUID } from 'node:crypto';
import {
  adyenDelivery,
  cashfreeDelivery,
  dodoDelivery,
  lemonSqueezyDelivery,
  paddleDelivery,
  polarDelivery,
  razorpayDelivery,
  stripeDelivery,
} from './signed-delivery.ts';
import { adyenItem, cashfreeData } from './simulated-gateways.ts';
import { MARK, type SimulatedEvent, type SimulatedMoney, simulatedMetadata } from './simulated-money.ts';
import { lemonSqueezyResource, paddleData, polarData } from './simulated-sellers.ts';

/*
 * Events of money that never moved, to try Chokin without an account at a provider. They hold what the provider's adapter
 * reads and are signed as the provider signs, so that they are handled like real ones. They name no account: the source would
 * take it for its own, and would then refuse real events as those of another account.
 *
 * | provider     | payment                  | refund                 | dispute open, lost, won                                   |
 * |--------------|--------------------------|------------------------|-----------------------------------------------------------|
 * | stripe       | payment_intent.succeeded | refund.created         | charge.dispute.created, charge.dispute.closed (lost, won) |
 * | dodo         | payment.succeeded        | refund.succeeded       | dispute.opened, dispute.lost, dispute.won                 |
 * | razorpay     | payment.captured         | refund.processed       | payment.dispute.created, .lost, .won                      |
 * | paddle       | transaction.completed    | adjustment.created     | adjustment.created of a chargeback, and of its reversal   |
 * | polar        | order.paid               | refund.created         | none: Polar refunds what is disputed                      |
 * | lemonsqueezy | order_created            | order_refunded         | none: Lemon Squeezy refunds what is disputed              |
 * | adyen        | AUTHORISATION            | REFUND                 | NOTIFICATION_OF_CHARGEBACK, CHARGEBACK, _REVERSED         |
 * | cashfree     | PAYMENT_SUCCESS_WEBHOOK  | REFUND_STATUS_WEBHOOK  | DISPUTE_CREATED, DISPUTE_CLOSED (lost, won)               |
 * | paypal       | none: only PayPal has the private key that its events are signed with                                          |
 */

/** The providers whose events can be simulated. */
export const SIMULATED_PROVIDERS = [
  'stripe',
  'dodo',
  'razorpay',
  'paddle',
  'polar',
  'lemonsqueezy',
  'adyen',
  'cashfree',
] as const;
export type SimulatedProvider = (typeof SIMULATED_PROVIDERS)[number];

/** The beginning of a simulated id at Lemon Squeezy, whose payments are numbers. No shop has so many orders. */
const NUMBERED = 'order_9999';

const newHex = (): string => randomUUID().replaceAll('-', '');
const newDigits = (): string => String(BigInt(`0x${newHex()}`) % 10n ** 16n).padStart(16, '0');

const PAYMENT_IDS: Readonly<Record<SimulatedProvider, () => string>> = {
  stripe: () => `pi_${MARK}${newHex()}`,
  dodo: () => `pay_${MARK}${newHex()}`,
  razorpay: () => `pay_${MARK}${newHex()}`,
  paddle: () => `txn_${MARK}${newHex()}`,
  polar: () => `${MARK}${newHex()}`,
  lemonsqueezy: () => `${NUMBERED}${newDigits()}`,
  adyen: () => `${MARK}${newHex()}`,
  cashfree: () => `${MARK}${newHex()}`,
};

/** The id of a new payment; its form shows that it is simulated. */
export function newSimulatedPaymentId(provider: SimulatedProvider): string {
  return PAYMENT_IDS[provider]();
}

/** Whether a payment was made by `npx chokin simulate`, by the form of its id. */
export function isSimulatedPaymentId(paymentId: string): boolean {
  return /^(?:(?:pi_|pay_|txn_)?simulated[0-9a-f]{32}|order_9999\d{16})$/.test(paymentId);
}

/** The id of a new refund; a payment may have several. */
export function newSimulatedRefundId(): string {
  return `re_${MARK}${newHex()}`;
}

/** The id of a payment's dispute. It is always the same, so that a dispute that was opened or lost can be won later. */
export function simulatedDisputeId(paymentId: string): string {
  return `du_${paymentId.slice(paymentId.indexOf('_') + 1)}`;
}

/**
 * The event as the provider would send it in test mode, signed with `secret` as of `now`.
 * @returns null where the provider has no such event
 */
export function simulatedEvent(
  provider: SimulatedProvider,
  money: SimulatedMoney,
  { secret, now }: { readonly secret: string; readonly now: Date },
): SimulatedEvent | null {
  return EVENTS[provider](money, secret, now);
}

const unixSeconds = (now: Date): number => Math.floor(now.getTime() / 1000);

const EVENTS: Readonly<
  Record<SimulatedProvider, (money: SimulatedMoney, secret: string, now: Date) => SimulatedEvent | null>
> = {
  stripe(money, secret, now) {
    const created = unixSeconds(now);
    const { type, object } = stripeObject(money);
    const livemode = false;
    const event = { id: `evt_${MARK}${newHex()}`, object: 'event', type, created, livemode };
    const data = { object: { ...object, created, livemode } };
    return { type, delivery: stripeDelivery({ event: { ...event, data }, secret, now }) };
  },

  dodo(money, secret, now) {
    const { type, data } = dodoData(money);
    const event = { type, timestamp: now.toISOString(), data };
    return { type, delivery: dodoDelivery({ event, secret, now, messageId: `msg_${MARK}${newHex()}` }) };
  },

  razorpay(money, secret, now) {
    const { type, payload } = razorpayPayload(money);
    const event = { entity: 'event', event: type, contains: Object.keys(payload), created_at: unixSeconds(now) };
    // Two equal events in one second, such as two refunds of the same sum, differ by their ids.
    return {
      type,
      delivery: razorpayDelivery({ event: { ...event, payload }, secret, eventId: newHex().slice(0, 14) }),
    };
  },

  paddle(money, secret, now) {
    const { type, data } = paddleData(money, newHex());
    const event = { event_id: `evt_${MARK}${newHex()}`, event_type: type, occurred_at: now.toISOString(), data };
    return { type, delivery: paddleDelivery({ event, secret, now }) };
  },

  polar(money, secret, now) {
    const made = polarData(money);
    if (made === null) return null;
    const event = { type: made.type, timestamp: now.toISOString(), data: made.data };
    const messageId = `msg_${MARK}${newHex()}`;
    return { type: made.type, delivery: polarDelivery({ event, secret, now, messageId }) };
  },

  lemonsqueezy(money, secret, now) {
    const made = lemonSqueezyResource(money, now);
    if (made === null) return null;
    const { type: eventName, custom_data, data } = made;
    const event = { meta: { event_name: eventName, test_mode: true, custom_data }, data };
    return { type: eventName, delivery: lemonSqueezyDelivery({ event, secret, eventName }) };
  },

  adyen(money, secret, now) {
    const item = adyenItem(money);
    return { type: item.eventCode, delivery: adyenDelivery(item, { secret, now, isLive: false }) };
  },

  cashfree(money, secret, now) {
    const { type, data } = cashfreeData(money);
    return { type, delivery: cashfreeDelivery({ event: { type, event_time: now.toISOString(), data }, secret, now }) };
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
        object: { ...intent, currency, ...customer, metadata: simulatedMetadata(money) },
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
      return { type: 'payment.succeeded', data: { ...payment, customer: null, metadata: simulatedMetadata(money) } };
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
  const payment = {
    entity: { id: paymentId, entity: 'payment', currency, captured: true, notes: simulatedMetadata(money) },
  };
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
