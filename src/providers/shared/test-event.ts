import { randomUUID } from 'node:crypto';
import { hmacSha256 } from '../../crypto/signature.ts';
import { sign as signStandardWebhook } from '../../crypto/standard-webhooks.ts';
import type { ProviderName } from './names.ts';
import type { Delivery } from './provider.ts';

/*
 * Deliveries by which an operator sees that a source takes its provider's events in. Each is of a type that the
 * provider sends and its adapter ignores, so that it can move no money, and signed as the provider signs.
 *
 * | provider     | event                         | how it is told from another                   |
 * |--------------|-------------------------------|-----------------------------------------------|
 * | stripe       | product.created               | the event's id                                |
 * | dodo         | license_key.created           | the webhook-id                                |
 * | razorpay     | invoice.expired               | the body: it names a new invoice              |
 * | paddle       | product.created               | the event's id                                |
 * | polar        | product.created               | the webhook-id                                |
 * | lemonsqueezy | license_key_created           | the body: it names a new key                  |
 * | adyen        | REPORT_AVAILABLE              | the item's pspReference, which is signed      |
 * | cashfree     | PAYMENT_USER_DROPPED_WEBHOOK  | the body: it names a new order                |
 * | paypal       | none: only PayPal has the private key that its events are signed with                       |
 */

interface TestOrder {
  /** Letters and digits, new for every test. */
  readonly id: string;
  readonly mode: 'test' | 'live';
  readonly secret: string;
  readonly now: Date;
}

/**
 * A harmless event of the provider, in the mode of its source and signed with `secret` as of `now`. Every one has a
 * delivery key of its own.
 * @returns null for a provider whose signature nobody else can make (PayPal)
 */
export function signedTestEvent(
  provider: ProviderName,
  mode: 'test' | 'live',
  secret: string,
  now: Date,
): Delivery | null {
  return DELIVERIES[provider]?.({ id: randomUUID().replaceAll('-', ''), mode, secret, now }) ?? null;
}

const NAME = 'Test delivery by Chokin';

const unixSeconds = (now: Date): number => Math.floor(now.getTime() / 1000);

function delivery(body: string, headers: Readonly<Record<string, string>>): Delivery {
  return { rawBody: Buffer.from(body), headers: { 'content-type': 'application/json', ...headers } };
}

const DELIVERIES: Readonly<Record<ProviderName, ((order: TestOrder) => Delivery) | null>> = {
  stripe({ id, mode, secret, now }) {
    const created = unixSeconds(now);
    const livemode = mode === 'live';
    const object = { id: `prod_${id}`, object: 'product', name: NAME, livemode };
    const event = { id: `evt_${id}`, object: 'event', type: 'product.created', created, livemode, data: { object } };
    const body = JSON.stringify(event);
    return delivery(body, { 'stripe-signature': `t=${created},v1=${hmacSha256(secret, `${created}.`, body, 'hex')}` });
  },

  dodo({ id, secret, now }) {
    const data = { id: `lk_${id}`, status: 'active' };
    return standardWebhook(`msg_${id}`, secret, now, {
      type: 'license_key.created',
      timestamp: now.toISOString(),
      data,
    });
  },

  razorpay({ id, secret, now }) {
    const entity = { id: `inv_${id}`, entity: 'invoice', description: NAME };
    const payload = { invoice: { entity } };
    const event = { entity: 'event', event: 'invoice.expired', contains: ['invoice'], payload };
    const body = JSON.stringify({ ...event, created_at: unixSeconds(now) });
    return delivery(body, { 'x-razorpay-event-id': id, 'x-razorpay-signature': hmacSha256(secret, '', body, 'hex') });
  },

  paddle({ id, secret, now }) {
    const data = { id: `pro_${id}`, name: NAME, tax_category: 'standard', status: 'active' };
    const event = { event_id: `evt_${id}`, event_type: 'product.created', notification_id: `ntf_${id}` };
    const body = JSON.stringify({ ...event, occurred_at: now.toISOString(), data });
    const ts = unixSeconds(now);
    return delivery(body, { 'paddle-signature': `ts=${ts};h1=${hmacSha256(secret, `${ts}:`, body, 'hex')}` });
  },

  polar({ id, secret, now }) {
    // Polar signs with the text of the secret, which Standard Webhooks takes in base64.
    const key = Buffer.from(secret, 'utf8').toString('base64');
    const data = { id, name: NAME };
    return standardWebhook(`msg_${id}`, key, now, { type: 'product.created', timestamp: now.toISOString(), data });
  },

  lemonsqueezy({ id, mode, secret }) {
    const meta = { event_name: 'license_key_created', test_mode: mode === 'test' };
    const attributes = { key: id, user_name: NAME, test_mode: mode === 'test' };
    const body = JSON.stringify({ meta, data: { type: 'license-keys', id: '1', attributes } });
    return delivery(body, { 'x-event-name': meta.event_name, 'x-signature': hmacSha256(secret, '', body, 'hex') });
  },

  adyen({ id, mode, secret, now }) {
    const [pspReference, merchantAccountCode, eventCode] = [id, 'ChokinTest', 'REPORT_AVAILABLE'];
    // Without original reference and merchant's reference, and of no money.
    const signed = `${pspReference}::${merchantAccountCode}::0:EUR:${eventCode}:true`;
    const item = {
      pspReference,
      merchantAccountCode,
      merchantReference: '',
      amount: { value: 0, currency: 'EUR' },
      eventCode,
      eventDate: now.toISOString(),
      success: 'true',
      reason: NAME,
      additionalData: { hmacSignature: hmacSha256(Buffer.from(secret, 'hex'), '', signed, 'base64') },
    };
    const live = String(mode === 'live');
    return delivery(JSON.stringify({ live, notificationItems: [{ NotificationRequestItem: item }] }), {});
  },

  cashfree({ id, secret, now }) {
    const timestamp = String(now.getTime());
    const data = { order: { order_id: `order_${id}`, order_note: NAME }, payment: { payment_status: 'USER_DROPPED' } };
    const event = { type: 'PAYMENT_USER_DROPPED_WEBHOOK', event_time: now.toISOString(), data };
    const body = JSON.stringify(event);
    return delivery(body, {
      'x-webhook-timestamp': timestamp,
      'x-webhook-signature': hmacSha256(secret, timestamp, body, 'base64'),
    });
  },

  paypal: null,
};

function standardWebhook(messageId: string, secret: string, now: Date, event: object): Delivery {
  const seconds = unixSeconds(now);
  const body = JSON.stringify(event);
  return delivery(body, {
    'webhook-id': messageId,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signStandardWebhook(secret, messageId, seconds, body),
  });
}
