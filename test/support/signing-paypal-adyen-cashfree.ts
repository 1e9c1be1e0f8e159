import { createHash, createHmac, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { paypalProvider } from '../../src/providers/paypal/events.ts';
import { type JsonObject, providerFixture, within } from './provider-fixtures.ts';
import type { SignedHeaders } from './signing.ts';

/** Events of PayPal, Adyen and Cashfree as they send them: see signing.ts. */

/** PayPal signs with the id of the webhook, and for all to check: this is no secret, only ours. */
export const PAYPAL_WEBHOOK_ID = '8PT597110X687430LKGECATA';
/** A key as Adyen's Customer Area makes them. */
export const ADYEN_HMAC_KEY = '44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056';
export const CASHFREE_SECRET = 'cfsk_ma_test_0123456789abcdef0123456789abcdef_01234567';

export const PAYPAL_CERTIFICATE_URL =
  'https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77';

/** `paypal.pem`, `root.pem` … of the certificates that only tests trust. */
export function paypalCertificate(file: string): string {
  return readFileSync(new URL(`../fixtures/paypal-certificates/${file}`, import.meta.url), 'utf8');
}

/** PayPal's adapter, with the test authority in place of the public ones and its certificates in place of the network. */
export function testPaypal(file = 'paypal.pem') {
  const fetched = async () => new Response(paypalCertificate(file));
  return paypalProvider({ trustedRoots: [paypalCertificate('root.pem')], fetch: fetched });
}

export function signPaypal(
  body: string,
  webhookId = PAYPAL_WEBHOOK_ID,
  atSeconds = Math.floor(Date.now() / 1000),
  transmissionId = `${createHash('sha256').update(body).digest('hex').slice(0, 8)}-d8f6-11f0-9d2c-b7a3c1e0f001`,
): SignedHeaders {
  const time = new Date(atSeconds * 1000).toISOString().replace('.000', '');
  const signed = Buffer.from(`${transmissionId}|${time}|${webhookId}|${crc32(body)}`);
  return {
    'content-type': 'application/json',
    'paypal-transmission-id': transmissionId,
    'paypal-transmission-time': time,
    'paypal-transmission-sig': sign('RSA-SHA256', signed, paypalCertificate('paypal.key')).toString('base64'),
    'paypal-cert-url': PAYPAL_CERTIFICATE_URL,
    'paypal-auth-algo': 'SHA256withRSA',
  };
}

export function signCashfree(body: string, secret = CASHFREE_SECRET, atMs = Date.now()): SignedHeaders {
  return {
    'content-type': 'application/json',
    'x-webhook-version': '2025-01-01',
    'x-webhook-attempt': '1',
    'x-webhook-timestamp': String(atMs),
    'x-webhook-signature': createHmac('sha256', secret).update(`${atMs}${body}`).digest('base64'),
  };
}

/** Puts the given values in; what is undefined stays as the fixture has it. */
function put(target: JsonObject, values: JsonObject): void {
  for (const [name, value] of Object.entries(values)) if (value !== undefined) target[name] = value;
}

const captureLink = (paymentId: string) => [
  { rel: 'up', href: `https://api.paypal.com/v2/payments/captures/${paymentId}`, method: 'GET' },
];

function paypalEvent(fixture: string, resource: JsonObject, amount: JsonObject): string {
  const event = providerFixture('paypal', fixture);
  put(within(event, 'resource'), resource);
  if ('amount' in within(event, 'resource')) put(within(event, 'resource', 'amount'), amount);
  return JSON.stringify(event);
}

export interface PaypalCapture {
  readonly type?: 'COMPLETED' | 'PENDING' | 'DENIED' | 'DECLINED';
  readonly paymentId?: string;
  /** Major units as text, as PayPal sends them. */
  readonly value?: string;
  readonly currency?: string;
  readonly customId?: string | null;
}

export function paypalCapture({
  type = 'COMPLETED',
  paymentId,
  value,
  currency,
  customId,
}: PaypalCapture = {}): string {
  const resource = { id: paymentId, custom_id: customId };
  return paypalEvent(`PAYMENT.CAPTURE.${type}`, resource, { value, currency_code: currency });
}

export interface PaypalRefund {
  readonly type?: 'CAPTURE.REFUNDED' | 'CAPTURE.REVERSED' | 'REFUND.PENDING' | 'REFUND.FAILED';
  readonly paymentId: string;
  readonly refundId?: string;
  readonly value?: string;
  readonly currency?: string;
  readonly status?: string;
  readonly customId?: string | null;
}

export function paypalRefund({ type = 'CAPTURE.REFUNDED', paymentId, refundId, ...rest }: PaypalRefund): string {
  const { value, currency, status, customId } = rest;
  const resource = { id: refundId, status, custom_id: customId, links: captureLink(paymentId) };
  return paypalEvent(`PAYMENT.${type}`, resource, { value, currency_code: currency });
}

export interface PaypalDispute {
  readonly type?: 'CREATED' | 'UPDATED' | 'RESOLVED';
  readonly paymentIds: readonly string[];
  readonly disputeId?: string;
  readonly outcome?: string;
  readonly stage?: 'INQUIRY' | 'CHARGEBACK';
  /** Of US dollars. */
  readonly refunded?: string;
  readonly claimed?: string;
}

export function paypalDispute({ type = 'RESOLVED', paymentIds, disputeId, outcome, stage, ...amounts }: PaypalDispute) {
  const { refunded, claimed } = amounts;
  const money = refunded === undefined ? {} : { amount_refunded: { currency_code: 'USD', value: refunded } };
  const resource = {
    dispute_id: disputeId,
    dispute_life_cycle_stage: stage,
    disputed_transactions: paymentIds.map((id) => ({ seller_transaction_id: id })),
    dispute_amount: claimed === undefined ? undefined : { currency_code: 'USD', value: claimed },
    dispute_outcome: outcome === undefined ? undefined : { outcome_code: outcome, ...money },
  };
  return paypalEvent(`CUSTOMER.DISPUTE.${type}`, resource, {});
}

export interface AdyenItem {
  readonly eventCode: string;
  readonly pspReference?: string;
  readonly originalReference?: string;
  readonly merchantReference?: string;
  readonly merchantAccountCode?: string;
  /** Adyen's minor units. */
  readonly value?: number;
  readonly currency?: string;
  readonly success?: 'true' | 'false';
  readonly eventDate?: string;
}

/** Items under one envelope, each signed by itself. */
export function adyenDelivery(
  items: readonly AdyenItem[],
  key = ADYEN_HMAC_KEY,
  live: 'true' | 'false' = 'false',
): string {
  const notificationItems = items.map(({ value, currency, ...values }) => {
    const item = within(providerFixture('adyen', 'AUTHORISATION'), 'notificationItems', '0', 'NotificationRequestItem');
    put(item, values);
    put(within(item, 'amount'), { value, currency });
    return { NotificationRequestItem: item };
  });
  return signAdyen({ live, notificationItems }, key);
}

/** Signs every item of a delivery anew, field by field as Adyen documents it. */
export function signAdyen(delivery: JsonObject, key = ADYEN_HMAC_KEY): string {
  const copy = structuredClone(delivery);
  for (const holder of copy.notificationItems as JsonObject[]) {
    const item = within(holder, 'NotificationRequestItem');
    const { value, currency } = within(item, 'amount');
    const { pspReference, originalReference, merchantAccountCode, merchantReference, eventCode, success } = item;
    const text = [
      pspReference,
      originalReference,
      merchantAccountCode,
      merchantReference,
      value,
      currency,
      eventCode,
      success,
    ].join(':');
    const hmacSignature = createHmac('sha256', Buffer.from(key, 'hex')).update(text).digest('base64');
    item.additionalData = { ...(item.additionalData as JsonObject), hmacSignature };
  }
  return JSON.stringify(copy);
}

/** Adyen signs inside the body. */
export const ADYEN_HEADERS: SignedHeaders = { 'content-type': 'application/json' };

function cashfreeEvent(fixture: string, parts: Readonly<Record<string, JsonObject>>): string {
  const event = providerFixture('cashfree', fixture);
  for (const [name, values] of Object.entries(parts)) put(within(event, 'data', name), values);
  return JSON.stringify(event);
}

export interface CashfreePayment {
  readonly type?: 'SUCCESS' | 'FAILED' | 'USER_DROPPED';
  readonly paymentId?: string | number;
  /** Rupees, as Cashfree sends them. */
  readonly amount?: number;
  readonly currency?: string;
  readonly customer?: string;
  readonly tags?: Readonly<Record<string, string>> | null;
}

export function cashfreePayment({
  type = 'SUCCESS',
  paymentId,
  amount,
  currency,
  ...rest
}: CashfreePayment = {}): string {
  return cashfreeEvent(`PAYMENT_${type}_WEBHOOK`, {
    payment: { cf_payment_id: paymentId, payment_amount: amount, payment_currency: currency },
    order: { order_amount: amount, order_tags: rest.tags },
    customer_details: { customer_id: rest.customer },
  });
}

export interface CashfreeRefund {
  readonly paymentId: string | number;
  readonly refundId?: string | number;
  readonly amount?: number;
  readonly status?: string;
}

export function cashfreeRefund({ paymentId, refundId, amount, status }: CashfreeRefund): string {
  const refund = { cf_payment_id: paymentId, cf_refund_id: refundId, refund_amount: amount, refund_status: status };
  return cashfreeEvent('REFUND_STATUS_WEBHOOK', { refund });
}

export interface CashfreeDispute {
  readonly type?: 'CREATED' | 'UPDATED' | 'CLOSED';
  readonly paymentId: string | number;
  readonly disputeId?: string | number;
  readonly stage?: 'DISPUTE' | 'RETRIEVAL' | 'CHARGEBACK' | 'PRE_ARBITRATION' | 'ARBITRATION';
  /** Follows the stage in the status: `MERCHANT_LOST`. */
  readonly outcome?: string;
  readonly amount?: number;
}

export function cashfreeDispute({ type = 'CLOSED', paymentId, disputeId, ...rest }: CashfreeDispute): string {
  const { stage = 'CHARGEBACK', outcome = 'MERCHANT_LOST', amount } = rest;
  return cashfreeEvent(`DISPUTE_${type}`, {
    dispute: {
      dispute_id: disputeId,
      dispute_type: stage,
      dispute_status: `${stage}_${outcome}`,
      dispute_amount: amount,
    },
    order_details: { cf_payment_id: paymentId },
  });
}
