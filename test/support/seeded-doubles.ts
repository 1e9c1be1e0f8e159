import { API_KEYS, ProviderApiServer } from './provider-api-server.ts';
import {
  LEMONSQUEEZY_API_KEY,
  PADDLE_API_KEY,
  POLAR_ACCESS_TOKEN,
  polarDispute,
  startLemonSqueezyApi,
  startPaddleApi,
  startPolarApi,
} from './provider-api-server-more.ts';
import { type JsonObject, within } from './provider-fixtures.ts';
import {
  lemonSqueezyInvoice,
  lemonSqueezyOrder,
  lemonSqueezyOrderRefund,
  paddleAdjustment,
  paddleTransaction,
  polarOrderPaid,
  polarRefund,
} from './signing-more.ts';

/** Our doubles of the providers' APIs, each with objects of every kind in every state that we know of. */

export type SeededName = 'stripe' | 'dodo' | 'razorpay' | 'paddle' | 'polar' | 'lemonsqueezy';

export interface SeededDouble {
  readonly name: SeededName;
  readonly apiKey: string;
  /** The header that it wants. */
  readonly authorization: string;
  start(): Promise<{ readonly url: string; close(): Promise<void> }>;
}

/** When all of them were made. */
export const SEEDED_AT = new Date('2026-10-28T09:30:00.123Z');

/** By https://docs.stripe.com/api, "The PaymentIntent object", "The Refund object" and "The Dispute object". */
const STRIPE_STATES = {
  payment: ['succeeded', 'processing', 'requires_action', 'requires_payment_method'],
  refund: ['pending', 'requires_action', 'succeeded', 'failed', 'canceled'],
  dispute: ['warning_needs_response', 'warning_closed', 'needs_response', 'under_review', 'won', 'lost', 'prevented'],
};
/** By the types of dodopayments 2.52.0: IntentStatus, RefundStatus and DisputeStatus. */
const DODO_STATES = {
  payment: ['succeeded', 'failed', 'cancelled', 'processing', 'partially_captured'],
  refund: ['succeeded', 'failed'],
  dispute: ['opened', 'expired', 'accepted', 'cancelled', 'challenged', 'won', 'lost'].map((end) => `dispute_${end}`),
};
/** By https://razorpay.com/docs/api, "Payments", "Refunds" and "Disputes". */
const RAZORPAY_STATES = {
  payment: ['captured', 'refunded', 'failed'],
  refund: ['pending', 'processed', 'failed'],
  dispute: ['open', 'under_review', 'won', 'lost', 'closed'],
};

const LISTED = { stripe: STRIPE_STATES, dodo: DODO_STATES, razorpay: RAZORPAY_STATES };

async function startListed(provider: keyof typeof LISTED): Promise<ProviderApiServer> {
  const server = await ProviderApiServer.start(provider);
  const states = LISTED[provider];
  const [paid] = states.payment;
  const made = { paymentId: `pay_${paid}`, amount: 1234, createdAt: SEEDED_AT };
  for (const status of states.payment) server.addPayment({ ...made, id: `pay_${status}`, status });
  for (const status of states.refund) server.addRefund({ ...made, id: `ref_${status}`, status });
  for (const status of states.dispute) server.addDispute({ ...made, id: `dis_${status}`, status });
  return server;
}

const objectOf = (body: string): JsonObject => within(JSON.parse(body) as JsonObject, 'data');
const madeNow = (body: string): JsonObject => ({ ...objectOf(body), created_at: SEEDED_AT.toISOString() });

function startPaddle() {
  const transactionId = 'txn_01hv8m0mnx3sj85e7gxc6kga03';
  const actions = ['refund', 'chargeback', 'chargeback_warning'];
  const adjustmentId = (index: number) => `adj_01hv8m0mnx3sj85e7gxc6kga${String(index).padStart(2, '0')}`;
  return startPaddleApi({
    transactions: [madeNow(paddleTransaction({ paymentId: transactionId }))],
    adjustments: actions.map((action, index) =>
      madeNow(paddleAdjustment({ paymentId: transactionId, adjustmentId: adjustmentId(index), action })),
    ),
  });
}

function startPolar() {
  const paymentId = '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000001';
  const refundId = '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000002';
  return startPolarApi({
    orders: [madeNow(polarOrderPaid({ paymentId }))],
    refunds: [madeNow(polarRefund({ paymentId, refundId }))],
    disputes: [
      polarDispute('5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000003', paymentId, { created_at: new Date().toISOString() }),
    ],
  });
}

function startLemonSqueezy() {
  const resourceOf = (body: string, id: string): JsonObject => {
    const resource = objectOf(body);
    const attributes = { ...within(resource, 'attributes'), created_at: SEEDED_AT.toISOString() };
    return { ...resource, id, attributes };
  };
  return startLemonSqueezyApi({
    orders: [
      resourceOf(lemonSqueezyOrder({}), '1'),
      resourceOf(lemonSqueezyOrderRefund({ resourceId: '2', refundedAmount: 100 }), '2'),
    ],
    invoices: [resourceOf(lemonSqueezyInvoice('success', { billingReason: 'renewal' }), '3')],
  });
}

const bearer = (apiKey: string) => ({ apiKey, authorization: `Bearer ${apiKey}` });
const razorpayKey = {
  apiKey: API_KEYS.razorpay,
  authorization: `Basic ${Buffer.from(API_KEYS.razorpay).toString('base64')}`,
};

export const SEEDED: readonly SeededDouble[] = [
  { name: 'stripe', ...bearer(API_KEYS.stripe), start: () => startListed('stripe') },
  { name: 'dodo', ...bearer(API_KEYS.dodo), start: () => startListed('dodo') },
  { name: 'razorpay', ...razorpayKey, start: () => startListed('razorpay') },
  { name: 'paddle', ...bearer(PADDLE_API_KEY), start: startPaddle },
  { name: 'polar', ...bearer(POLAR_ACCESS_TOKEN), start: startPolar },
  { name: 'lemonsqueezy', ...bearer(LEMONSQUEEZY_API_KEY), start: startLemonSqueezy },
];
