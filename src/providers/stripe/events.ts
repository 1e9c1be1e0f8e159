import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { RefundFact } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import {
  type EventReading,
  ignore,
  interpretBody,
  type JsonObject,
  namedPayment,
  namingPayments,
  park,
  type Reader,
  reader,
  tell,
  withAmount,
} from '../shared/event-reading.ts';
import { anything, currencyCode, minorAmount, NO_CUSTOMER, providerId } from '../shared/fields.ts';
import { parseJson } from '../shared/json.ts';
import { walletMetadata } from '../shared/metadata.ts';
import type { Delivery, NamedPayment, Provider } from '../shared/provider.ts';
import { readDispute } from './disputes.ts';
import { readInvoicePaid, readInvoicePayment } from './invoices.ts';
import {
  expandable,
  INTENT,
  INTENT_FIELDS,
  mayBeRelease,
  paymentFact,
  paymentOf,
  snapshot,
  uncaptured,
  WITHOUT_PAYMENT,
  withMoneyOf,
} from './objects.ts';
import { readAttachedMethod, readUpdatedCustomer } from './payers.ts';
import { isCaptured, readCharge, readPaid } from './payments.ts';
import { stripeHeadersProblem, verifyStripe } from './signature.ts';

/*
 * Stripe tells one payment in up to eight events; each fact is read from one family of them, the rest is ignored.
 *
 * | event                                             | fact                                                           |
 * |---------------------------------------------------|----------------------------------------------------------------|
 * | payment_intent.succeeded                          | payment succeeded, of `amount_received`                        |
 * | payment_intent.payment_failed                     | payment failed (it may still succeed: the intent can be retried) |
 * | payment_intent.processing, .requires_action,      | payment pending                                                |
 * | .amount_capturable_updated                        |                                                                |
 * | payment_intent.canceled                           | payment failed: nothing was captured                           |
 * | charge.succeeded, .captured, .failed of a charge  | the payment of an older integration, under the charge's id; of |
 * | without a PaymentIntent                           | any other, ignored: its PaymentIntent tells the same           |
 * | refund.created, .updated, .failed,                | refund, by `status`: pending, requires_action → pending;       |
 * | charge.refund.updated                             | succeeded; failed, canceled → failed. Before API version       |
 * |                                                   | 2024-10-28 only the last one tells that a refund failed        |
 * | charge.refunded                                   | the sum of refunds, `amount_refunded`: it informs, and counts  |
 * |                                                   | only what no refund.* tells                                    |
 * | charge.dispute.*, by `status`                     | dispute lost, won or open. An inquiry (`warning_…`) takes no   |
 * |                                                   | money. `prevented`: lost if its `case_type` is resolution, or  |
 * |                                                   | if its balance transactions took money; else no money moves    |
 * | invoice.paid, invoice_payment.paid                | no money, but whose it is: see below                           |
 * | checkout.session.*, other invoice*, charge.*      | ignored: they tell the same money again                        |
 * | refunds with reason expired_uncaptured_charge     | ignored: that money never came                                 |
 * | payment_method.attached, customer.updated of what | no money, but whose means of payment may be others: see        |
 * | the customer pays with                            | payers.ts                                                      |
 * | events of a Connect account                       | parked unless the source names it: see shared/account.ts       |
 * | thin events (object v2.core.event)                | parked if about money, until the event of the same type and    |
 * |                                                   | object comes with its data; else ignored: they carry no data   |
 *
 * Before API version 2025-03-31 the release of what was not captured is a refund, too (docs.stripe.com/changelog/basil,
 * "Partially capturing or canceling payments no longer creates a Refund"): so refunds told under such a version may be
 * that of `amount` less `amount_received`, or `amount_captured` of a charge.
 *
 * An invoice names the customer in the metadata of its subscription: `parent.subscription_details.metadata`, before
 * 2025-03-31 `subscription_details.metadata` (docs.stripe.com/changelog/basil). It names Stripe's customer, and in the older
 * versions its payment, by `payment_intent`; in the newer ones invoice_payment.paid does. A PaymentIntent of an invoice says so by `invoice` in the older versions, and by
 * `payment_details.order_reference` in the newer ones (recorded events of zulip/zulip, corporate/tests).
 *
 * All fields lie in `data.object`: the payment's id is `id` of a PaymentIntent and `payment_intent` of a refund or
 * dispute. A refund does not carry its payment's metadata. Only fields that no API version has renamed are read. Amounts
 * count Stripe's own minor units (see currency.ts).
 */

const THIN_OBJECT = 'v2.core.event';
const THIN_MONEY = /^(v1\.)?(payment_intent\.succeeded|refund\..+|charge\.dispute\..+)$/;

const IDENTIFIED = z.object({ id: providerId });

/** The event's id, which is signed; for a body without one, the digest of the body. */
function deliveryKey({ rawBody }: Delivery): string {
  const json = parseJson(rawBody);
  const event = IDENTIFIED.safeParse(json.ok ? json.value : null);
  return event.success ? event.data.id : createHash('sha256').update(rawBody).digest('hex');
}

const REFUND_STATES = {
  pending: 'pending',
  requires_action: 'pending',
  succeeded: 'succeeded',
  failed: 'failed',
  canceled: 'failed',
} as const satisfies Record<string, RefundFact['state']>;

const REFUND = snapshot({
  id: providerId,
  amount: minorAmount,
  currency: currencyCode,
  payment_intent: expandable,
  charge: expandable,
  status: z.enum(['pending', 'requires_action', 'succeeded', 'failed', 'canceled']),
  reason: anything,
  metadata: walletMetadata,
});

const readRefund = reader(REFUND, ({ created, api_version, data: { object } }) => {
  if (object.reason === 'expired_uncaptured_charge') return ignore('the refund of a payment that was never captured');
  const paymentId = paymentOf(object);
  if (paymentId === null) return WITHOUT_PAYMENT;
  return withMoneyOf(object, (amountMinor) =>
    tell({
      kind: 'refund',
      paymentId,
      refundId: object.id,
      state: REFUND_STATES[object.status],
      amountMinor,
      currency: object.currency,
      customer: NO_CUSTOMER,
      metadata: object.metadata,
      occurredAt: created,
      ...mayBeRelease(api_version),
    }),
  );
});

const REFUNDED_CHARGE = snapshot({
  id: providerId,
  currency: currencyCode,
  amount: minorAmount,
  amount_captured: minorAmount.nullish(),
  amount_refunded: minorAmount,
  captured: z.boolean().nullish(),
  payment_intent: expandable,
  metadata: walletMetadata,
});

/** The sum refunded so far; it includes refunds that have events of their own. */
const readRefunded = reader(REFUNDED_CHARGE, ({ created, api_version, data: { object } }) => {
  if (object.captured === false) return ignore('the release of what was never captured');
  const { id: chargeId, currency, amount, amount_captured, amount_refunded, metadata } = object;
  const paymentId = object.payment_intent.id ?? chargeId;
  const total = minorFromInteger('stripe', currency, amount_refunded);
  const rest = uncaptured(currency, amount, amount_captured ?? amount);
  return withAmount('data.object.amount_refunded', total, (amountMinor) =>
    tell({
      kind: 'refund',
      paymentId,
      refundId: chargeId,
      state: 'succeeded',
      amountMinor,
      currency,
      customer: NO_CUSTOMER,
      metadata,
      occurredAt: created,
      role: 'informs',
      ...mayBeRelease(api_version),
      ...rest,
    }),
  );
});

const readPending = reader(INTENT, (event) => tell(paymentFact(event, 'pending', null)));

/** The other actions are vouchers and transfers, which take days. Source: docs.stripe.com/api/payment_intents/object, next_action. */
const AT_ONCE: ReadonlySet<string> = new Set(['redirect_to_url', 'use_stripe_sdk']);
const WAITING_INTENT = snapshot({
  ...INTENT_FIELDS,
  next_action: z.object({ type: z.string() }).nullish().catch(null),
});

const readWaiting = reader(WAITING_INTENT, (event) => {
  const awaitsPayer = AT_ONCE.has(event.data.object.next_action?.type ?? '');
  return tell({ ...paymentFact(event, 'pending', null), ...(awaitsPayer ? { awaitsPayer } : {}) });
});

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['payment_intent.succeeded', readPaid],
  ['payment_intent.payment_failed', reader(INTENT, (event) => tell(paymentFact(event, 'failed', null)))],
  ['payment_intent.processing', readPending],
  ['payment_intent.requires_action', readWaiting],
  ['payment_intent.amount_capturable_updated', readPending],
  ['payment_intent.canceled', reader(INTENT, (event) => tell(paymentFact(event, 'failed', null)))],
  ['refund.created', readRefund],
  ['refund.updated', readRefund],
  ['refund.failed', readRefund],
  ['charge.refunded', readRefunded],
  ['charge.refund.updated', readRefund],
  ['invoice.paid', readInvoicePaid],
  ['invoice_payment.paid', readInvoicePayment],
  ['charge.succeeded', readCharge((charge) => (isCaptured(charge) ? 'succeeded' : 'pending'))],
  ['charge.captured', readCharge(() => 'succeeded')],
  ['charge.failed', readCharge(() => 'failed')],
  ['payment_method.attached', readAttachedMethod],
  ['customer.updated', readUpdatedCustomer],
  ['charge.dispute.created', readDispute],
  ['charge.dispute.updated', readDispute],
  ['charge.dispute.funds_withdrawn', readDispute],
  ['charge.dispute.funds_reinstated', readDispute],
  ['charge.dispute.closed', readDispute],
]);

function readingOf(eventType: string, body: JsonObject): EventReading {
  if (body.object === THIN_OBJECT) {
    return THIN_MONEY.test(eventType)
      ? park('unsupported_payload', 'a thin event; configure the endpoint for snapshot payloads, then resend it')
      : ignore('a thin event, which carries no data');
  }
  const read = READERS.get(eventType);
  if (read === undefined) return ignore('not an event that Chokin reads money from');
  return read(body);
}

/** Which payment a parked event names. A thin event of a refund or dispute names only that. */
function namedIn(eventType: string, body: JsonObject): NamedPayment | null {
  if (body.object === THIN_OBJECT) {
    return namedPayment(body, eventType.includes('payment_intent.') ? 'payment' : 'object', 'related_object.id');
  }
  const paths = ['data.object.payment_intent', 'data.object.payment.payment_intent'];
  if (eventType.startsWith('payment_intent.')) return namedPayment(body, 'payment', 'data.object.id');
  if (eventType === 'charge.refunded') return namedPayment(body, 'movement', ...paths, 'data.object.id');
  if (/^charge\.(?!dispute\.|refund\.)/.test(eventType))
    return namedPayment(body, 'payment', ...paths, 'data.object.id');
  return namedPayment(body, 'movement', ...paths, 'data.object.charge');
}

const readNaming = namingPayments(namedIn, readingOf);

export const stripe: Provider = {
  name: 'stripe',
  headersProblem: stripeHeadersProblem,
  verify: verifyStripe,
  deliveryKey,
  interpret: (rawBody) =>
    interpretBody(rawBody, 'type', (eventType, body) => {
      const outcome = readNaming(eventType, body);
      return typeof body.livemode === 'boolean' ? { ...outcome, livemode: body.livemode } : outcome;
    }),
};
