import { createHmac } from 'node:crypto';
import { PROVIDERS } from '../../src/providers/index.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import {
  DODO_SECRET,
  dodoPayment,
  RAZORPAY_SECRET,
  razorpayPayment,
  type SignedHeaders,
  STRIPE_SECRET,
  signDodo,
  signRazorpay,
  signStripe,
  stripePaymentSucceeded,
} from '../support/signing.ts';
import {
  LEMONSQUEEZY_SECRET,
  lemonSqueezyOrder,
  PADDLE_SECRET,
  POLAR_SECRET,
  paddleTransaction,
  polarOrderPaid,
  signLemonSqueezy,
  signPaddle,
  signPolar,
} from '../support/signing-more.ts';
import {
  ADYEN_HEADERS,
  ADYEN_HMAC_KEY,
  adyenDelivery,
  CASHFREE_SECRET,
  cashfreePayment,
  PAYPAL_WEBHOOK_ID,
  paypalCapture,
  signCashfree,
  signPaypal,
  testPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';

/** Every provider in one table, for what must hold of all of them: a payment, its signature, and what that covers. */

export interface SignedProvider {
  readonly provider: ProviderName;
  /** A top-up of {@link PAID_MINOR} in `currency`, for a customer of ours. */
  payment(customerId: string, paymentId: string): string;
  readonly currency: 'USD' | 'INR';
  /** As the provider's own package signs; null where the signature is inside the body (Adyen). */
  readonly sign: ((body: string, atSeconds?: number) => SignedHeaders) | null;
  /** The same over any bytes, which no package takes; null where they cannot be signed. */
  readonly signBytes: ((body: Buffer) => SignedHeaders) | null;
  readonly secret: string;
  /** The headers of which no bit may change. */
  readonly covered: readonly string[];
  /** Headers that no signature covers; whatever they say, nothing may follow from it. */
  readonly uncovered: Readonly<Record<string, string>>;
}

export const PAID_MINOR = 700;

const JSON_TYPE = { 'content-type': 'application/json' };
const seconds = () => Math.floor(Date.now() / 1000);
const hmac = (secret: string | Buffer, encoding: 'hex' | 'base64', ...parts: readonly (string | Buffer)[]) => {
  const digest = createHmac('sha256', secret);
  for (const part of parts) digest.update(part);
  return digest.digest(encoding);
};

function standardWebhooks(secret: Buffer) {
  return (body: Buffer): SignedHeaders => {
    const id = `msg_${hmac('id', 'hex', body).slice(0, 24)}`;
    const at = String(seconds());
    const signature = `v1,${hmac(secret, 'base64', `${id}.${at}.`, body)}`;
    return { ...JSON_TYPE, 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature };
  };
}

const STANDARD_HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature'];

export const SIGNED_PROVIDERS: readonly SignedProvider[] = [
  {
    provider: 'stripe',
    payment: (customerId, paymentId) =>
      stripePaymentSucceeded({
        paymentId,
        amount: PAID_MINOR,
        currency: 'usd',
        metadata: { wallet_customer_id: customerId },
      }),
    currency: 'USD',
    sign: (body, at) => signStripe(body, STRIPE_SECRET, at),
    signBytes: (body) => {
      const at = seconds();
      return { ...JSON_TYPE, 'stripe-signature': `t=${at},v1=${hmac(STRIPE_SECRET, 'hex', `${at}.`, body)}` };
    },
    secret: STRIPE_SECRET,
    covered: ['stripe-signature'],
    uncovered: {},
  },
  {
    provider: 'dodo',
    payment: (customerId, paymentId) =>
      dodoPayment({
        paymentId,
        amount: PAID_MINOR,
        currency: 'USD',
        metadata: { wallet_customer_id: customerId },
      }),
    currency: 'USD',
    sign: (body, at) => signDodo(body, DODO_SECRET, at),
    signBytes: standardWebhooks(Buffer.from(DODO_SECRET.slice('whsec_'.length), 'base64')),
    secret: DODO_SECRET,
    covered: STANDARD_HEADERS,
    uncovered: {},
  },
  {
    provider: 'razorpay',
    payment: (customerId, paymentId) =>
      razorpayPayment({ paymentId, amount: PAID_MINOR, currency: 'INR', notes: { wallet_customer_id: customerId } }),
    currency: 'INR',
    sign: (body) => signRazorpay(body),
    signBytes: (body) => ({ ...JSON_TYPE, 'x-razorpay-signature': hmac(RAZORPAY_SECRET, 'hex', body) }),
    secret: RAZORPAY_SECRET,
    covered: ['x-razorpay-signature'],
    uncovered: { 'x-razorpay-event-id': 'another' },
  },
  {
    provider: 'paddle',
    payment: (customerId, paymentId) =>
      paddleTransaction({
        paymentId,
        amount: String(PAID_MINOR),
        currency: 'USD',
        customData: { wallet_customer_id: customerId },
      }),
    currency: 'USD',
    sign: (body, at) => signPaddle(body, PADDLE_SECRET, at),
    signBytes: (body) => {
      const at = seconds();
      return { ...JSON_TYPE, 'paddle-signature': `ts=${at};h1=${hmac(PADDLE_SECRET, 'hex', `${at}:`, body)}` };
    },
    secret: PADDLE_SECRET,
    covered: ['paddle-signature'],
    uncovered: {},
  },
  {
    provider: 'polar',
    payment: (customerId, paymentId) =>
      polarOrderPaid({
        paymentId,
        amount: PAID_MINOR,
        tax: 0,
        currency: 'usd',
        metadata: { wallet_customer_id: customerId },
      }),
    currency: 'USD',
    sign: (body, at) => signPolar(body, POLAR_SECRET, at),
    signBytes: standardWebhooks(Buffer.from(POLAR_SECRET)),
    secret: POLAR_SECRET,
    covered: STANDARD_HEADERS,
    uncovered: {},
  },
  {
    provider: 'lemonsqueezy',
    payment: (customerId, paymentId) =>
      lemonSqueezyOrder({
        resourceId: String(parseInt(hmac('id', 'hex', paymentId).slice(0, 10), 16)),
        amount: PAID_MINOR,
        currency: 'USD',
        customData: { wallet_customer_id: customerId },
        testMode: true,
      }),
    currency: 'USD',
    sign: (body) => signLemonSqueezy(body),
    signBytes: (body) => ({ ...JSON_TYPE, 'x-signature': hmac(LEMONSQUEEZY_SECRET, 'hex', body) }),
    secret: LEMONSQUEEZY_SECRET,
    covered: ['x-signature'],
    uncovered: { 'x-event-name': 'order_refunded' },
  },
  {
    provider: 'cashfree',
    payment: (customerId, paymentId) =>
      cashfreePayment({
        paymentId: String(parseInt(hmac('id', 'hex', paymentId).slice(0, 10), 16)),
        amount: PAID_MINOR / 100,
        currency: 'INR',
        tags: { wallet_customer_id: customerId },
      }),
    currency: 'INR',
    sign: (body, at) => signCashfree(body, CASHFREE_SECRET, at === undefined ? undefined : at * 1000),
    signBytes: (body) => {
      const at = String(Date.now());
      return {
        ...JSON_TYPE,
        'x-webhook-timestamp': at,
        'x-webhook-signature': hmac(CASHFREE_SECRET, 'base64', at, body),
      };
    },
    secret: CASHFREE_SECRET,
    covered: ['x-webhook-timestamp', 'x-webhook-signature'],
    uncovered: { 'x-webhook-attempt': '7', 'x-webhook-version': '1999-01-01', 'x-idempotency-key': 'another' },
  },
  {
    provider: 'paypal',
    payment: (customerId, paymentId) =>
      paypalCapture({ paymentId, value: '7.00', currency: 'USD', customId: customerId }),
    currency: 'USD',
    sign: (body, at) => signPaypal(body, PAYPAL_WEBHOOK_ID, at),
    signBytes: null,
    secret: PAYPAL_WEBHOOK_ID,
    covered: ['paypal-transmission-id', 'paypal-transmission-time', 'paypal-transmission-sig'],
    uncovered: {},
  },
  {
    provider: 'adyen',
    payment: (customerId, paymentId) =>
      adyenDelivery([
        {
          eventCode: 'AUTHORISATION',
          pspReference: paymentId.replaceAll('_', '').toUpperCase(),
          merchantReference: customerId,
          value: PAID_MINOR,
          currency: 'USD',
        },
      ]),
    currency: 'USD',
    sign: null,
    signBytes: null,
    secret: ADYEN_HMAC_KEY,
    covered: [],
    uncovered: {},
  },
];

export function providerOf(name: ProviderName): SignedProvider {
  const found = SIGNED_PROVIDERS.find(({ provider }) => provider === name);
  if (found === undefined) throw new Error(`${name} is missing from the table`);
  return found;
}

export const signed = ({ sign }: SignedProvider, body: string): SignedHeaders => sign?.(body) ?? ADYEN_HEADERS;

/** The environment that configures a default source of every provider. */
export const ALL_SOURCES: Record<string, string> = Object.fromEntries(
  SIGNED_PROVIDERS.map(({ provider, secret }) => [`${provider.toUpperCase()}_WEBHOOK_SECRET`, secret]),
);

/** The adapters, with PayPal's certificates in place of the network. */
export const ADAPTERS = { ...PROVIDERS, paypal: testPaypal() };
