import { randomUUID } from 'node:crypto';
import type { ProviderName } from './names.ts';
import type { Delivery } from './provider.ts';
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

/*
 * Deliveries that show an operator that a source receives its provider's events. Each is of a type that the provider sends
 * and its adapter ignores, so it can move no money, and it is signed as the provider signs.
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
 * A harmless event of the provider, in the mode of its source and signed with `secret` at the time `now`. Each has its own
 * delivery key.
 * @returns null for PayPal, whose signature only PayPal can make
 */
export function signedTestEvent(
  provider: ProviderName,
  { mode, secret, now }: { readonly mode: 'test' | 'live'; readonly secret: string; readonly now: Date },
): Delivery | null {
  return DELIVERIES[provider]?.({ id: randomUUID().replaceAll('-', ''), mode, secret, now }) ?? null;
}

const NAME = 'Test delivery by Chokin';

const unixSeconds = (now: Date): number => Math.floor(now.getTime() / 1000);

const DELIVERIES: Readonly<Record<ProviderName, ((order: TestOrder) => Delivery) | null>> = {
  stripe({ id, mode, secret, now }) {
    const livemode = mode === 'live';
    const object = { id: `prod_${id}`, object: 'product', name: NAME, livemode };
    const event = { id: `evt_${id}`, object: 'event', type: 'product.created', created: unixSeconds(now), livemode };
    return stripeDelivery({ event: { ...event, data: { object } }, secret, now });
  },

  dodo({ id, secret, now }) {
    const data = { id: `lk_${id}`, status: 'active' };
    const event = { type: 'license_key.created', timestamp: now.toISOString(), data };
    return dodoDelivery({ event, secret, now, messageId: `msg_${id}` });
  },

  razorpay({ id, secret, now }) {
    const entity = { id: `inv_${id}`, entity: 'invoice', description: NAME };
    const payload = { invoice: { entity } };
    const event = { entity: 'event', event: 'invoice.expired', contains: ['invoice'], payload };
    return razorpayDelivery({ event: { ...event, created_at: unixSeconds(now) }, secret, eventId: id });
  },

  paddle({ id, secret, now }) {
    const data = { id: `pro_${id}`, name: NAME, tax_category: 'standard', status: 'active' };
    const event = { event_id: `evt_${id}`, event_type: 'product.created', notification_id: `ntf_${id}` };
    return paddleDelivery({ event: { ...event, occurred_at: now.toISOString(), data }, secret, now });
  },

  polar({ id, secret, now }) {
    const event = { type: 'product.created', timestamp: now.toISOString(), data: { id, name: NAME } };
    return polarDelivery({ event, secret, now, messageId: `msg_${id}` });
  },

  lemonsqueezy({ id, mode, secret }) {
    const meta = { event_name: 'license_key_created', test_mode: mode === 'test' };
    const attributes = { key: id, user_name: NAME, test_mode: mode === 'test' };
    const event = { meta, data: { type: 'license-keys', id: '1', attributes } };
    return lemonSqueezyDelivery({ event, secret, eventName: meta.event_name });
  },

  adyen({ id, mode, secret, now }) {
    // It has no payment, no merchant's reference and no money.
    const amount = { value: 0, currency: 'EUR' };
    const item = { eventCode: 'REPORT_AVAILABLE', pspReference: id, merchantReference: '', amount, reason: NAME };
    return adyenDelivery(item, { secret, now, isLive: mode === 'live' });
  },

  cashfree({ id, secret, now }) {
    const data = { order: { order_id: `order_${id}`, order_note: NAME }, payment: { payment_status: 'USER_DROPPED' } };
    const event = { type: 'PAYMENT_USER_DROPPED_WEBHOOK', event_time: now.toISOString(), data };
    return cashfreeDelivery({ event, secret, now });
  },

  paypal: null,
};
