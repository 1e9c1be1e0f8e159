import { z } from 'zod';
import { type SignatureCheck, singleHeader } from '../../crypto/signature.ts';
import { signedHeadersProblem, verify as verifyStandardWebhook } from '../../crypto/standard-webhooks.ts';
import { invariant } from '../../errors.ts';
import { type DisputeFact, type ProviderCustomer, type RefundFact, STAGES } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import {
  ignore,
  interpretBody,
  type JsonObject,
  namedPayment,
  namingPayments,
  type Reader,
  reader,
  tell,
  withAmount,
} from '../shared/event-reading.ts';
import {
  besides,
  currencyCode,
  lenientEmail,
  lenientId,
  lenientIsoTime,
  lenientName,
  minorAmount,
  optionalId,
  providerId,
} from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import type { Delivery, NamedPayment, Provider } from '../shared/provider.ts';

/*
 * Polar signs with Standard Webhooks, under the text of the secret.
 *
 * | event                               | fact                                                                          |
 * |-------------------------------------|-------------------------------------------------------------------------------|
 * | order.paid                          | payment succeeded, of `due_amount`: what was charged, tax included, after the |
 * |                                     | customer's balance at Polar was applied                                       |
 * | refund.created, .updated            | refund, by `status`: pending; succeeded; failed, canceled → failed. Its money |
 * |                                     | is `amount`, which is without tax, and `tax_amount`                           |
 * | dispute.listed                      | no event of Polar's: reconciliation reads disputes and tells them by it.      |
 * |                                     | lost takes `amount` and `tax_amount`; prevented takes nothing, since a refund |
 * |                                     | tells its money                                                               |
 * | order.created, .updated, .refunded  | ignored: not paid yet, or the same money again, cumulatively                  |
 * | checkout.*, subscription.* …        | ignored: a renewal's money comes as its own order.paid                        |
 *
 * All fields lie in `data`: the payment's id is `id` of an order and `order_id` of a refund. An order has the metadata of
 * its checkout, a refund its own. All that may be refunded of an order is its `due_amount`, so a full refund is exact.
 * Polar has no event of a failed payment and none of disputes: without an API key a lost one is never heard of.
 */

/**
 * Polar's servers sign with the UTF-8 bytes of the secret, but its documentation once called the secret base64, as in Standard
 * Webhooks. Like Polar's own package, this accepts both.
 */
function verify({ headers, rawBody }: Delivery, secrets: readonly string[], now: Date): SignatureCheck {
  const readings = secrets.flatMap((secret) => [
    secret.trim() === '' ? '' : Buffer.from(secret, 'utf8').toString('base64'),
    secret,
  ]);
  const check = verifyStandardWebhook({ headers, rawBody }, readings, now);
  return check.ok ? { ok: true, secretIndex: Math.floor(check.secretIndex / 2) } : check;
}

const event = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ timestamp: lenientIsoTime, data: z.object(fields) });

const ORDER = event({
  id: providerId,
  due_amount: minorAmount,
  currency: currencyCode,
  customer_id: optionalId,
  customer: z.object({ email: lenientEmail, name: lenientName }).nullish(),
  metadata: walletMetadata,
  subscription_id: lenientId,
  created_at: lenientIsoTime,
});

const readPaid = reader(ORDER, ({ timestamp: occurredAt, data }) => {
  const { id: paymentId, currency, metadata } = data;
  const customer: ProviderCustomer = {
    id: data.customer_id,
    email: data.customer?.email ?? null,
    name: data.customer?.name ?? null,
  };
  const who = { customer, metadata, ...besides({ seriesId: data.subscription_id, triedAt: data.created_at }) };
  return withAmount('data.due_amount', minorFromInteger('polar', currency, data.due_amount), (amountMinor) =>
    tell({ kind: 'payment', paymentId, state: 'succeeded', amountMinor, currency, occurredAt, ...who }),
  );
});

const withTax = ({ currency, amount, tax_amount }: { currency: string; amount: number; tax_amount: number }) =>
  minorFromInteger('polar', currency, amount + tax_amount);

const REFUND_STATES = {
  pending: 'pending',
  succeeded: 'succeeded',
  failed: 'failed',
  canceled: 'failed',
} as const satisfies Record<string, RefundFact['state']>;

const REFUND = event({
  id: providerId,
  order_id: providerId,
  amount: minorAmount,
  tax_amount: minorAmount,
  currency: currencyCode,
  status: z.enum(['pending', 'succeeded', 'failed', 'canceled']),
  customer_id: optionalId,
  metadata: walletMetadata,
});

const readRefund = reader(REFUND, ({ timestamp: occurredAt, data }) => {
  const { id: refundId, order_id: paymentId, currency, metadata } = data;
  const state = REFUND_STATES[data.status];
  const customer: ProviderCustomer = { id: data.customer_id, email: null, name: null };
  return withAmount('data.amount', withTax(data), (amountMinor) =>
    tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency, customer, metadata, occurredAt }),
  );
});

/** `prevented`: Polar refunded before the bank decided, and its refund tells that money. */
const DISPUTE_STATES = {
  early_warning: 'open',
  needs_response: 'open',
  under_review: 'open',
  prevented: 'withdrawn',
  won: 'won',
  lost: 'lost',
} as const satisfies Record<string, DisputeFact['state']>;

const DISPUTE = event({
  id: providerId,
  order_id: providerId,
  amount: minorAmount,
  tax_amount: minorAmount,
  currency: currencyCode,
  status: z.enum(['early_warning', 'needs_response', 'under_review', 'prevented', 'won', 'lost']),
});

const readDispute = reader(DISPUTE, ({ timestamp: occurredAt, data }) => {
  const { id: disputeId, order_id: paymentId, currency } = data;
  const state = DISPUTE_STATES[data.status];
  // A warning claims no money yet.
  const stage = data.status === 'early_warning' ? STAGES.inquiry : STAGES.chargeback;
  return withAmount('data.amount', withTax(data), (amountMinor) =>
    tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt, stage }),
  );
});

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['order.paid', readPaid],
  ['refund.created', readRefund],
  ['refund.updated', readRefund],
  ['dispute.listed', readDispute],
]);

/** Which payment a parked event names. */
const namedIn = (eventType: string, body: JsonObject): NamedPayment | null =>
  eventType.startsWith('order.')
    ? namedPayment(body, 'payment', 'data.id')
    : namedPayment(body, 'movement', 'data.order_id');

export const polar: Provider = {
  name: 'polar',
  headersProblem: signedHeadersProblem,
  verify,
  /** The `webhook-id`: the same over all retries of an event, and covered by the signature. */
  deliveryKey({ headers }) {
    const messageId = singleHeader(headers, 'webhook-id');
    invariant(messageId !== null, 'a verified delivery without its webhook-id');
    return messageId;
  },
  interpret: (rawBody) =>
    interpretBody(
      rawBody,
      'type',
      namingPayments(namedIn, (eventType, body) => {
        const read = READERS.get(eventType);
        return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
      }),
    ),
};
