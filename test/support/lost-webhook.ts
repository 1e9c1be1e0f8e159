import { randomInt, randomUUID } from 'node:crypto';
import { API_KEYS, ProviderApiServer } from './provider-api-server.ts';
import {
  LEMONSQUEEZY_API_KEY,
  PADDLE_API_KEY,
  POLAR_ACCESS_TOKEN,
  startLemonSqueezyApi,
  startPaddleApi,
  startPolarApi,
} from './provider-api-server-more.ts';
import { type JsonObject, within } from './provider-fixtures.ts';
import { dodoPayment, razorpayPayment, stripePaymentSucceeded } from './signing.ts';
import { lemonSqueezyOrder, lemonSqueezyOrderRefund, paddleTransaction, polarOrderPaid } from './signing-more.ts';

/** A provider's API that knows of something whose webhook was lost. */
export interface LostWebhook {
  readonly url: string;
  /** The webhook that did arrive, where the lost one wants one before it. */
  readonly earlier: string | null;
  readonly lost: string;
  /** What the customer's wallet holds in USD once all is applied, in minor units. */
  readonly owedMinor: number;
  close(): Promise<void>;
}

const AMOUNT = 5_000;
const REFUNDED = 2_000;

const PAYER = { amount: AMOUNT, currency: 'USD' };

/** For every provider whose payments can be listed: the key of its API, and an API with a loss, made at `createdAt`. */
export const LOST_WEBHOOKS = {
  stripe: {
    apiKey: API_KEYS.stripe,
    serve: (customerId: string, createdAt: Date) => listed('stripe', customerId, createdAt),
  },
  dodo: {
    apiKey: API_KEYS.dodo,
    serve: (customerId: string, createdAt: Date) => listed('dodo', customerId, createdAt),
  },
  razorpay: {
    apiKey: API_KEYS.razorpay,
    serve: (customerId: string, createdAt: Date) => listed('razorpay', customerId, createdAt),
  },
  paddle: {
    apiKey: PADDLE_API_KEY,
    async serve(customerId: string, createdAt: Date): Promise<LostWebhook> {
      const customData = { wallet_customer_id: customerId };
      const lost = paddleTransaction({ ...PAYER, paymentId: 'txn_lost', amount: String(AMOUNT), customData });
      const transactions = [{ ...dataOf(lost), created_at: createdAt.toISOString() }];
      return lossAt(await startPaddleApi({ transactions, adjustments: [] }), lost);
    },
  },
  polar: {
    apiKey: POLAR_ACCESS_TOKEN,
    async serve(customerId: string, createdAt: Date): Promise<LostWebhook> {
      const paymentId = '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000001';
      const metadata = { wallet_customer_id: customerId };
      const lost = ofNewAccount()(polarOrderPaid({ paymentId, amount: AMOUNT, tax: 0, currency: 'usd', metadata }));
      const orders = [{ ...dataOf(lost), created_at: createdAt.toISOString() }];
      return lossAt(await startPolarApi({ orders, refunds: [] }), lost);
    },
  },
  lemonsqueezy: {
    apiKey: LEMONSQUEEZY_API_KEY,
    /** Its API does not tell whose a payment is, so what can be healed is the refund of one that is known. */
    async serve(customerId: string, createdAt: Date): Promise<LostWebhook> {
      const customData = { wallet_customer_id: customerId };
      const order = { ...PAYER, resourceId: '1001', customData, testMode: true };
      const ofAccount = ofNewAccount();
      const lost = ofAccount(lemonSqueezyOrderRefund({ ...order, refundedAmount: REFUNDED }));
      const resource = dataOf(lost);
      const madeAt = createdAt.toISOString();
      const attributes = { ...within(resource, 'attributes'), created_at: madeAt, refunded_at: madeAt };
      const api = await startLemonSqueezyApi({ orders: [{ ...resource, attributes }], invoices: [] });
      return { ...lossAt(api, lost), earlier: ofAccount(lemonSqueezyOrder(order)), owedMinor: AMOUNT - REFUNDED };
    },
  },
};

/** Puts bodies into an account that no other source has, since one account is one source. */
function ofNewAccount(): (body: string) => string {
  const [organisation, store] = [randomUUID(), randomInt(1_000_000)];
  return (body) =>
    body
      .replaceAll(/"organization_id":"[^"]*"/g, `"organization_id":"${organisation}"`)
      .replaceAll(/"store_id":\d+/g, `"store_id":${store}`);
}

const WEBHOOKS = {
  stripe: (paymentId: string, metadata: Record<string, string>) =>
    stripePaymentSucceeded({ ...PAYER, paymentId, currency: 'usd', metadata }),
  dodo: (paymentId: string, metadata: Record<string, string>) => dodoPayment({ ...PAYER, paymentId, metadata }),
  razorpay: (paymentId: string, notes: Record<string, string>) => razorpayPayment({ ...PAYER, paymentId, notes }),
};

async function listed(provider: keyof typeof WEBHOOKS, customerId: string, createdAt: Date): Promise<LostWebhook> {
  const metadata = { wallet_customer_id: customerId };
  const api = await ProviderApiServer.start(provider);
  api.addPayment({ id: 'pay_lost', ...PAYER, metadata, createdAt });
  return lossAt(api, WEBHOOKS[provider]('pay_lost', metadata));
}

function lossAt(api: { readonly url: string; close(): Promise<void> }, lost: string): LostWebhook {
  return { url: api.url, earlier: null, lost, owedMinor: AMOUNT, close: () => api.close() };
}

function dataOf(body: string): JsonObject {
  return within(JSON.parse(body) as JsonObject, 'data');
}
