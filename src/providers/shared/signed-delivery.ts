import { hmacSha256 } from '../../crypto/signature.ts';
import { sign as signStandardWebhook } from '../../crypto/standard-webhooks.ts';
import type { Delivery } from './provider.ts';

/** Events that we make ourselves, for tests and simulations, delivered and signed with `secret` as each provider does it. */

interface Order {
  readonly event: object;
  readonly secret: string;
  readonly now: Date;
}

const unixSeconds = (now: Date): number => Math.floor(now.getTime() / 1000);

function delivery(body: string, headers: Readonly<Record<string, string>>): Delivery {
  return { rawBody: Buffer.from(body), headers: { 'content-type': 'application/json', ...headers } };
}

/** Stripe's scheme: HMAC in hexadecimal over the time and the body. */
export function stripeDelivery({ event, secret, now }: Order): Delivery {
  const body = JSON.stringify(event);
  const seconds = unixSeconds(now);
  const signature = hmacSha256(secret, [`${seconds}.`, body], 'hex');
  return delivery(body, { 'stripe-signature': `t=${seconds},v1=${signature}` });
}

/** By Standard Webhooks, as Dodo Payments does. */
export function dodoDelivery({ event, secret, now, messageId }: Order & { readonly messageId: string }): Delivery {
  const body = JSON.stringify(event);
  const seconds = unixSeconds(now);
  return delivery(body, {
    'webhook-id': messageId,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signStandardWebhook(secret, { messageId, timestampSeconds: seconds, body }),
  });
}

/** Polar signs with the text of the secret, so it is encoded in base64 for Standard Webhooks. */
export function polarDelivery({ secret, ...order }: Order & { readonly messageId: string }): Delivery {
  return dodoDelivery({ ...order, secret: Buffer.from(secret, 'utf8').toString('base64') });
}

/** Razorpay's scheme: HMAC in hexadecimal over the body alone. */
export function razorpayDelivery({ event, secret, eventId }: Omit<Order, 'now'> & { eventId: string }): Delivery {
  const body = JSON.stringify(event);
  return delivery(body, {
    'x-razorpay-event-id': eventId,
    'x-razorpay-signature': hmacSha256(secret, [body], 'hex'),
  });
}

/** Paddle's scheme: HMAC in hexadecimal over the time and the body. */
export function paddleDelivery({ event, secret, now }: Order): Delivery {
  const body = JSON.stringify(event);
  const seconds = unixSeconds(now);
  const signature = hmacSha256(secret, [`${seconds}:`, body], 'hex');
  return delivery(body, { 'paddle-signature': `ts=${seconds};h1=${signature}` });
}

/** Lemon Squeezy's scheme: HMAC in hexadecimal over the body alone. */
export function lemonSqueezyDelivery({
  event,
  secret,
  eventName,
}: Omit<Order, 'now'> & { readonly eventName: string }): Delivery {
  const body = JSON.stringify(event);
  return delivery(body, { 'x-event-name': eventName, 'x-signature': hmacSha256(secret, [body], 'hex') });
}

export interface AdyenItem {
  readonly eventCode: string;
  /** Of the event itself; `originalReference` names its payment. */
  readonly pspReference: string;
  readonly originalReference?: string;
  readonly merchantReference: string;
  readonly amount: { readonly value: number; readonly currency: string };
  readonly reason?: string;
}

/** A delivery of one item, which has its own signature. The key is hexadecimal. */
export function adyenDelivery(
  item: AdyenItem,
  { secret, now, isLive }: Omit<Order, 'event'> & { readonly isLive: boolean },
): Delivery {
  const { pspReference, originalReference = '', merchantReference, amount, eventCode } = item;
  // It names no merchant account, since the source would take that for its own.
  const [merchantAccountCode, success] = ['', 'true'];
  const references = [pspReference, originalReference, merchantAccountCode, merchantReference];
  const signed = [...references, amount.value, amount.currency, eventCode, success].join(':');
  const hmacSignature = hmacSha256(Buffer.from(secret, 'hex'), [signed], 'base64');
  const dated = { ...item, merchantAccountCode, success, eventDate: now.toISOString() };
  const NotificationRequestItem = { ...dated, additionalData: { hmacSignature } };
  return delivery(JSON.stringify({ live: String(isLive), notificationItems: [{ NotificationRequestItem }] }), {});
}

/** Cashfree's scheme: HMAC in base64 over the time and the body. */
export function cashfreeDelivery({ event, secret, now }: Order): Delivery {
  const body = JSON.stringify(event);
  const timestamp = String(now.getTime());
  return delivery(body, {
    'x-webhook-timestamp': timestamp,
    'x-webhook-signature': hmacSha256(secret, [timestamp, body], 'base64'),
  });
}
