import { createHash, createHmac, randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { type JsonObject, providerFixture, within } from './provider-fixtures.ts';

/**
 * Provider events as the providers send them: bodies of the documented shape (the fixtures, with values put in) and
 * headers signed for real, by the official packages where there is one.
 */

export const STRIPE_SECRET = 'whsec_testStripeSecret0123456789abcdef';
export const DODO_SECRET = `whsec_${Buffer.from('a dodo test secret of 32 bytes !').toString('base64')}`;
export const RAZORPAY_SECRET = 'a-razorpay-test-secret';

export type SignedHeaders = Readonly<Record<string, string>>;

const nowSeconds = (): number => Math.floor(Date.now() / 1000);
const digest = (body: string): string => createHash('sha256').update(body).digest('hex').slice(0, 24);

export function signStripe(body: string, secret = STRIPE_SECRET, atSeconds = nowSeconds()): SignedHeaders {
  const signature = Stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: atSeconds });
  return { 'content-type': 'application/json', 'stripe-signature': signature };
}

/** Without a message id, the same body gets the same id, as a redelivery does. */
export function signDodo(
  body: string,
  secret = DODO_SECRET,
  atSeconds = nowSeconds(),
  messageId = `msg_${digest(body)}`,
): SignedHeaders {
  return {
    'content-type': 'application/json',
    'webhook-id': messageId,
    'webhook-timestamp': String(atSeconds),
    'webhook-signature': new Webhook(secret).sign(messageId, new Date(atSeconds * 1000), body),
  };
}

export function signRazorpay(body: string, secret = RAZORPAY_SECRET): SignedHeaders {
  return {
    'content-type': 'application/json',
    'x-razorpay-event-id': digest(body).slice(0, 14),
    'x-razorpay-signature': createHmac('sha256', secret).update(body).digest('hex'),
  };
}

const newProviderId = (prefix: string): string => `${prefix}_${randomBytes(9).toString('hex')}`;

/** Puts the given values in; what is undefined stays as the fixture has it. */
function put(target: JsonObject, values: JsonObject): void {
  for (const [name, value] of Object.entries(values)) if (value !== undefined) target[name] = value;
}

interface StripeEnvelope {
  readonly eventId?: string;
  readonly livemode?: boolean;
  readonly createdSeconds?: number;
}

function stripeEvent(fixture: string, envelope: StripeEnvelope, object: JsonObject): string {
  const event = providerFixture('stripe', fixture);
  const { eventId = newProviderId('evt'), livemode, createdSeconds } = envelope;
  put(event, { id: eventId, livemode, created: createdSeconds });
  put(within(event, 'data', 'object'), { ...object, livemode });
  return JSON.stringify(event);
}

export interface StripePayment extends StripeEnvelope {
  readonly type?: 'succeeded' | 'payment_failed' | 'processing' | 'requires_action';
  readonly paymentId?: string;
  /** Minor units; what was captured. */
  readonly amount?: number;
  /** Lower case, as Stripe sends it. */
  readonly currency?: string;
  readonly customer?: string | null;
  readonly email?: string | null;
  readonly metadata?: Readonly<Record<string, string>>;
}

export function stripePayment({ type = 'succeeded', paymentId, amount = 5000, ...rest }: StripePayment = {}): string {
  return stripeEvent(`payment_intent.${type}`, rest, {
    id: paymentId ?? newProviderId('pi'),
    amount,
    amount_received: type === 'succeeded' ? amount : 0,
    currency: rest.currency,
    customer: rest.customer,
    receipt_email: rest.email,
    metadata: rest.metadata,
  });
}

export const stripePaymentSucceeded = (options: Omit<StripePayment, 'type'> = {}): string =>
  stripePayment({ ...options, type: 'succeeded' });

export interface StripeRefund extends StripeEnvelope {
  readonly type?: 'created' | 'updated' | 'failed';
  readonly paymentId: string | null;
  readonly refundId?: string;
  readonly amount?: number;
  readonly currency?: string;
  readonly status?: 'pending' | 'requires_action' | 'succeeded' | 'failed' | 'canceled';
  readonly metadata?: Readonly<Record<string, string>>;
}

export function stripeRefund({ type = 'created', paymentId, refundId, ...rest }: StripeRefund): string {
  return stripeEvent(`refund.${type}`, rest, {
    id: refundId ?? newProviderId('re'),
    payment_intent: paymentId,
    amount: rest.amount,
    currency: rest.currency,
    status: rest.status,
    metadata: rest.metadata,
  });
}

/** A minute after the last of the documented events of a dispute. */
const WON_AT_SECONDS = 1_793_188_884;

export interface StripeDispute extends StripeEnvelope {
  readonly type?: 'created' | 'updated' | 'funds_withdrawn' | 'funds_reinstated' | 'closed';
  readonly paymentId: string | null;
  readonly disputeId?: string;
  readonly amount?: number;
  readonly currency?: string;
  readonly status?: string;
}

/** A dispute is won after everything else that happens in it, unless said otherwise. */
export function stripeDispute({ type = 'created', paymentId, disputeId, ...rest }: StripeDispute): string {
  const createdSeconds = rest.createdSeconds ?? (rest.status === 'won' ? WON_AT_SECONDS : undefined);
  const envelope = createdSeconds === undefined ? rest : { ...rest, createdSeconds };
  return stripeEvent(`charge.dispute.${type}`, envelope, {
    id: disputeId ?? newProviderId('du'),
    payment_intent: paymentId,
    amount: rest.amount,
    currency: rest.currency,
    status: rest.status,
  });
}

interface ProviderCustomerInput {
  readonly id?: string;
  readonly email?: string;
  readonly name?: string;
}

function dodoEvent(fixture: string, data: JsonObject, customer: ProviderCustomerInput | undefined): string {
  const event = providerFixture('dodo', fixture);
  put(within(event, 'data'), data);
  if (customer) {
    const { id, email, name } = customer;
    put(within(event, 'data', 'customer'), { customer_id: id, email, name });
  }
  return JSON.stringify(event);
}

export interface DodoPayment {
  readonly type?: 'succeeded' | 'failed' | 'cancelled' | 'processing';
  readonly paymentId?: string;
  /** Minor units, tax included. */
  readonly amount?: number;
  readonly subscriptionId?: string | null;
  readonly currency?: string;
  readonly customer?: ProviderCustomerInput;
  readonly metadata?: Readonly<Record<string, string | number | boolean>>;
  readonly isUpdatePaymentMethod?: boolean;
}

export function dodoPayment({ type = 'succeeded', paymentId, amount = 5000, ...rest }: DodoPayment = {}): string {
  const data = {
    payment_id: paymentId ?? newProviderId('pay'),
    total_amount: amount,
    currency: rest.currency,
    metadata: rest.metadata,
    is_update_payment_method: rest.isUpdatePaymentMethod,
    subscription_id: rest.subscriptionId,
  };
  return dodoEvent(`payment.${type}`, data, rest.customer);
}

export interface DodoRefund {
  readonly type?: 'succeeded' | 'failed';
  readonly paymentId: string;
  readonly refundId?: string;
  readonly amount?: number | null;
  readonly currency?: string | null;
  readonly isPartial?: boolean;
  readonly status?: 'succeeded' | 'failed' | 'pending' | 'review' | null;
  readonly customer?: ProviderCustomerInput;
  readonly metadata?: Readonly<Record<string, string>>;
}

export function dodoRefund({ type = 'succeeded', paymentId, refundId, ...rest }: DodoRefund): string {
  const data = {
    payment_id: paymentId,
    refund_id: refundId ?? newProviderId('ref'),
    amount: rest.amount,
    currency: rest.currency,
    is_partial: rest.isPartial,
    status: rest.status,
    metadata: rest.metadata,
  };
  return dodoEvent(`refund.${type}`, data, rest.customer);
}

export interface DodoDispute {
  readonly type?: 'opened' | 'challenged' | 'accepted' | 'expired' | 'lost' | 'won' | 'cancelled';
  readonly paymentId: string;
  readonly disputeId?: string;
  /** Dodo sends disputed amounts as text. */
  readonly amount?: string;
  readonly currency?: string;
  readonly stage?: 'pre_dispute' | 'dispute' | 'pre_arbitration';
}

export function dodoDispute({ type = 'opened', paymentId, disputeId, stage, ...money }: DodoDispute): string {
  const id = disputeId ?? newProviderId('dis');
  const data = { payment_id: paymentId, dispute_id: id, dispute_stage: stage, ...money };
  return dodoEvent(`dispute.${type}`, data, undefined);
}

type RazorpayNotes = Readonly<Record<string, string | number>> | readonly [];

function razorpayEvent(
  fixture: string,
  createdSeconds: number | undefined,
  entities: Readonly<Record<string, JsonObject>>,
): string {
  const event = providerFixture('razorpay', fixture);
  put(event, { created_at: createdSeconds });
  for (const [name, values] of Object.entries(entities)) put(within(event, 'payload', name, 'entity'), values);
  return JSON.stringify(event);
}

export interface RazorpayPayment {
  readonly type?: 'captured' | 'failed' | 'authorized';
  readonly paymentId?: string;
  /** Paise. */
  readonly amount?: number;
  readonly currency?: string;
  readonly customer?: string | null;
  readonly email?: string | null;
  readonly notes?: RazorpayNotes;
  readonly createdSeconds?: number;
}

export function razorpayPayment({
  type = 'captured',
  paymentId,
  amount = 50_000,
  ...rest
}: RazorpayPayment = {}): string {
  const payment = {
    id: paymentId ?? newProviderId('pay'),
    amount,
    base_amount: amount,
    currency: rest.currency,
    customer_id: rest.customer,
    email: rest.email,
    notes: rest.notes,
  };
  return razorpayEvent(`payment.${type}`, rest.createdSeconds, { payment });
}

export interface RazorpayRefund {
  readonly type?: 'created' | 'processed' | 'failed';
  readonly paymentId: string;
  readonly refundId?: string;
  readonly amount?: number;
  readonly currency?: string;
  readonly notes?: RazorpayNotes;
  readonly customer?: string | null;
  readonly email?: string | null;
  readonly paymentNotes?: RazorpayNotes;
  /** False for the refund of a payment that was authorised and never captured. */
  readonly captured?: boolean;
  readonly createdSeconds?: number;
}

export function razorpayRefund({ type = 'processed', paymentId, refundId, ...rest }: RazorpayRefund): string {
  const { amount, currency } = rest;
  return razorpayEvent(`refund.${type}`, rest.createdSeconds, {
    refund: { id: refundId ?? newProviderId('rfnd'), payment_id: paymentId, amount, currency, notes: rest.notes },
    payment: {
      id: paymentId,
      currency,
      captured: rest.captured,
      customer_id: rest.customer,
      email: rest.email,
      notes: rest.paymentNotes,
    },
  });
}

export interface RazorpayDispute {
  readonly type?: 'created' | 'under_review' | 'action_required' | 'won' | 'lost' | 'closed';
  readonly paymentId: string;
  readonly disputeId?: string;
  readonly amount?: number;
  readonly currency?: string;
  readonly createdSeconds?: number;
}

export function razorpayDispute({ type = 'created', paymentId, disputeId, ...rest }: RazorpayDispute): string {
  const { createdSeconds, ...values } = rest;
  const deducted = type === 'lost' && values.amount !== undefined ? { amount_deducted: values.amount } : {};
  const dispute = { id: disputeId ?? newProviderId('disp'), payment_id: paymentId, ...deducted, ...values };
  const payment = { id: paymentId, currency: values.currency };
  return razorpayEvent(`payment.dispute.${type}`, createdSeconds, { dispute, payment });
}
