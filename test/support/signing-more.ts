import { createHash, createHmac, randomBytes, randomInt } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { type JsonObject, providerFixture, within } from './provider-fixtures.ts';
import type { SignedHeaders } from './signing.ts';

/** Events of Paddle, Polar and Lemon Squeezy as they send them: see signing.ts. */

export const PADDLE_SECRET = 'pdl_ntfset_01k8v5testPaddleSecret_0123456789abcdef';
export const POLAR_SECRET = 'polar_whs_testPolarSecret0123456789abcdef';
export const LEMONSQUEEZY_SECRET = 'a-lemon-squeezy-test-secret';

const nowSeconds = (): number => Math.floor(Date.now() / 1000);
const newId = (prefix: string): string => `${prefix}_${randomBytes(13).toString('hex')}`;
const newNumber = (): string => String(randomInt(1_000_000, 100_000_000));

/** Puts the given values in; what is undefined stays as the fixture has it. */
function put(target: JsonObject, values: JsonObject): void {
  for (const [name, value] of Object.entries(values)) if (value !== undefined) target[name] = value;
}

export function signPaddle(body: string, secret = PADDLE_SECRET, atSeconds = nowSeconds()): SignedHeaders {
  const h1 = createHmac('sha256', secret).update(`${atSeconds}:${body}`).digest('hex');
  return { 'content-type': 'application/json', 'paddle-signature': `ts=${atSeconds};h1=${h1}` };
}

/** As Polar's server does: with the package of Standard Webhooks, and the text of the secret in base64 for it. */
export function signPolar(
  body: string,
  secret = POLAR_SECRET,
  atSeconds = nowSeconds(),
  messageId = `msg_${createHash('sha256').update(body).digest('hex').slice(0, 24)}`,
): SignedHeaders {
  const key = Buffer.from(secret, 'utf8').toString('base64');
  return {
    'content-type': 'application/json',
    'webhook-id': messageId,
    'webhook-timestamp': String(atSeconds),
    'webhook-signature': new Webhook(key).sign(messageId, new Date(atSeconds * 1000), body),
  };
}

export function signLemonSqueezy(body: string, secret = LEMONSQUEEZY_SECRET): SignedHeaders {
  return {
    'content-type': 'application/json',
    'x-event-name': 'order_created',
    'x-signature': createHmac('sha256', secret).update(body).digest('hex'),
  };
}

function paddleEvent(fixture: string, data: JsonObject, totals: JsonObject, ...path: readonly string[]): string {
  const event = providerFixture('paddle', fixture);
  put(event, { event_id: newId('evt'), notification_id: newId('ntf') });
  put(within(event, 'data'), data);
  put(within(event, 'data', ...path), totals);
  return JSON.stringify(event);
}

export interface PaddleTransaction {
  readonly type?: 'completed' | 'payment_failed' | 'past_due' | 'paid';
  readonly paymentId?: string;
  /** Minor units as text, as Paddle sends them. */
  readonly amount?: string;
  readonly currency?: string;
  readonly customer?: string | null;
  readonly customData?: Readonly<Record<string, unknown>> | null;
}

export function paddleTransaction({ type = 'completed', paymentId, ...rest }: PaddleTransaction = {}): string {
  const data = {
    id: paymentId ?? newId('txn'),
    currency_code: rest.currency,
    customer_id: rest.customer,
    custom_data: rest.customData,
  };
  const totals = { grand_total: rest.amount, currency_code: rest.currency };
  return paddleEvent(`transaction.${type}`, data, totals, 'details', 'totals');
}

export interface PaddleAdjustment {
  readonly type?: 'created' | 'updated';
  readonly paymentId: string;
  readonly adjustmentId?: string;
  readonly action?: string;
  readonly status?: 'pending_approval' | 'approved' | 'rejected' | 'reversed';
  /** Minor units as text. */
  readonly amount?: string;
  readonly currency?: string;
  readonly customer?: string | null;
}

export function paddleAdjustment({ type = 'created', paymentId, ...rest }: PaddleAdjustment): string {
  const data = {
    id: rest.adjustmentId ?? newId('adj'),
    transaction_id: paymentId,
    action: rest.action,
    status: rest.status ?? 'approved',
    currency_code: rest.currency,
    customer_id: rest.customer,
  };
  const totals = { total: rest.amount, currency_code: rest.currency };
  const event = JSON.parse(paddleEvent('adjustment.created', data, totals, 'totals')) as JsonObject;
  return JSON.stringify({ ...event, event_type: `adjustment.${type}` });
}

function polarEvent(fixture: string, data: JsonObject): string {
  const event = providerFixture('polar', fixture);
  put(within(event, 'data'), data);
  return JSON.stringify(event);
}

export interface PolarOrder {
  readonly paymentId?: string;
  /** Minor units; what was charged, tax included. */
  readonly amount?: number;
  /** How much of it is tax. */
  readonly tax?: number;
  /** Lower case, as Polar sends it. */
  readonly currency?: string;
  readonly customer?: string | null;
  readonly metadata?: Readonly<Record<string, string | number | boolean>>;
}

export function polarOrderPaid({ paymentId, amount = 5950, tax = 950, ...rest }: PolarOrder = {}): string {
  return polarEvent('order.paid', {
    id: paymentId ?? newId('ord'),
    subtotal_amount: amount - tax,
    net_amount: amount - tax,
    tax_amount: tax,
    total_amount: amount,
    due_amount: amount,
    currency: rest.currency,
    customer_id: rest.customer,
    metadata: rest.metadata,
  });
}

export interface PolarRefund {
  readonly type?: 'created' | 'updated';
  readonly paymentId: string;
  readonly refundId?: string;
  /** Minor units without the tax. */
  readonly amount?: number;
  readonly tax?: number;
  readonly currency?: string;
  readonly status?: 'pending' | 'succeeded' | 'failed' | 'canceled';
  readonly metadata?: Readonly<Record<string, string>>;
}

export function polarRefund({ type = 'created', paymentId, refundId, ...rest }: PolarRefund): string {
  return polarEvent(`refund.${type}`, {
    id: refundId ?? newId('ref'),
    order_id: paymentId,
    amount: rest.amount,
    tax_amount: rest.tax,
    currency: rest.currency,
    status: rest.status,
    metadata: rest.metadata,
  });
}

interface LemonSqueezyResource {
  /** The number of the order or invoice, without the prefix of our payment id. */
  readonly resourceId?: string;
  /** Minor units, tax included. */
  readonly amount?: number;
  readonly currency?: string;
  readonly customer?: number | string | null;
  readonly customData?: Readonly<Record<string, unknown>> | null;
  readonly testMode?: boolean;
}

export interface LemonSqueezyOrder extends LemonSqueezyResource {
  readonly status?: string;
}

export interface LemonSqueezyRefund extends LemonSqueezyOrder {
  /** The sum refunded so far. */
  readonly refundedAmount?: number | null;
}

export interface LemonSqueezyInvoice extends LemonSqueezyRefund {
  readonly billingReason?: string;
}

function lemonSqueezyEvent(fixture: string, { testMode, ...rest }: LemonSqueezyInvoice): string {
  const event = providerFixture('lemonsqueezy', fixture);
  put(within(event, 'meta'), { custom_data: rest.customData, test_mode: testMode });
  put(within(event, 'data'), { id: rest.resourceId ?? newNumber() });
  put(within(event, 'data', 'attributes'), {
    total: rest.amount,
    currency: rest.currency,
    customer_id: rest.customer,
    status: rest.status,
    refunded_amount: rest.refundedAmount,
    billing_reason: rest.billingReason,
    test_mode: testMode,
  });
  return JSON.stringify(event);
}

export const lemonSqueezyOrder = (options: LemonSqueezyOrder = {}): string =>
  lemonSqueezyEvent('order_created', options);

/** With the status that goes with the amounts, unless another is given. */
export function lemonSqueezyOrderRefund(options: LemonSqueezyRefund): string {
  const isWhole = options.refundedAmount === (options.amount ?? 5000);
  return lemonSqueezyEvent(isWhole ? 'order_refunded' : 'order_refunded.partial', options);
}

export const lemonSqueezyInvoice = (
  type: 'success' | 'failed' | 'refunded',
  options: LemonSqueezyInvoice = {},
): string => lemonSqueezyEvent(`subscription_payment_${type}`, options);
