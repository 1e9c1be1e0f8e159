import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  checkSecrets,
  equalInConstantTime,
  hexSignatureProblem,
  hmacSha256,
  refused,
  singleHeader,
} from '../../crypto/signature.ts';
import type { Fact, PaymentFact, ProviderCustomer } from '../../payments/fact.ts';
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
  withoutAmounts,
} from '../shared/event-reading.ts';
import { currencyCode, lenientEmail, lenientIsoTime, lenientName, minorAmount, optionalId } from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import type { NamedPayment, Provider } from '../shared/provider.ts';

/*
 * Lemon Squeezy signs the bare body in hex, without a time or an event id; the same body is the same delivery.
 *
 * | event                          | fact                                                                              |
 * |--------------------------------|-----------------------------------------------------------------------------------|
 * | order_created                  | payment `order_…` of `total` (tax included), by `status`: paid, refunded and      |
 * |                                | partial_refund → succeeded; pending; failed, fraudulent → failed                  |
 * | order_refunded                 | refund succeeded, of `refunded_amount`                                            |
 * | subscription_payment_success   | payment `invoice_…` of `total`, by `status`: paid, refunded and partial_refund →  |
 * |                                | succeeded; pending; void → failed                                                 |
 * | subscription_payment_failed    | payment failed (it may still succeed: a renewal is tried again)                   |
 * | subscription_payment_refunded  | refund succeeded, of `refunded_amount`                                            |
 * | subscription_payment_* with    | ignored: the first payment of a subscription is its order's, and order_created    |
 * | `billing_reason` initial       | tells it. Its refund is that order's, which subscription_created names            |
 * | subscription_created           | no money: which order (`order_id`) began the subscription                         |
 * | subscription_payment_recovered | ignored: subscription_payment_success is sent beside it                           |
 * | other subscription_*, license_*| ignored: no money                                                                 |
 *
 * Fields lie in `data.attributes`, the merchant's metadata in `meta.custom_data`. Orders and subscription invoices are
 * numbered apart, hence the prefix of the payment's id. Refunds have no id, and each event tells the sum refunded so far:
 * so all refunds of a payment are one, named `total`, of which the largest amount heard of counts, in any order. That of a first
 * invoice and its order's count as one so, whichever is told. An invoice names its subscription (`subscription_id`), and a
 * subscription its order (docs.lemonsqueezy.com, the objects of a subscription invoice and a subscription).
 */

const WHOLE_REFUND_ID = 'total';

/** An id as JSON:API wants it, a number as text; in relations ids are plain numbers. */
const resourceId = z.string().regex(/^\d{1,20}$/, 'wants the digits of an id');
const relationId = z.union([z.int().nonnegative().transform(String), optionalId], 'wants an id');
/** The id of another resource that Chokin knows by its number. */
const relatedId = z.union([z.int().nonnegative().transform(String), resourceId], 'wants the digits of an id');

const ATTRIBUTES = {
  customer_id: relationId,
  user_email: lenientEmail,
  user_name: lenientName,
  currency: currencyCode,
  total: minorAmount,
  refunded_amount: minorAmount.nullish(),
  created_at: lenientIsoTime,
  refunded_at: lenientIsoTime,
};

const resource = <Type extends string, Attributes extends z.ZodRawShape>(type: Type, attributes: Attributes) =>
  z.object({
    meta: z.object({ custom_data: walletMetadata }),
    data: z.object({ type: z.literal(type), id: resourceId, attributes: z.object({ ...ATTRIBUTES, ...attributes }) }),
  });

const ORDER = resource('orders', {
  status: z.enum(['pending', 'failed', 'paid', 'refunded', 'partial_refund', 'fraudulent']),
});
const INVOICE = resource('subscription-invoices', {
  status: z.enum(['pending', 'paid', 'void', 'refunded', 'partial_refund']),
  billing_reason: z.string(),
  subscription_id: relatedId.nullish().catch(null),
});
const SUBSCRIPTION = z.object({
  data: z.object({
    type: z.literal('subscriptions'),
    id: resourceId,
    attributes: z.object({ order_id: relatedId.nullish() }),
  }),
});

type Order = z.infer<typeof ORDER>;
type Invoice = z.infer<typeof INVOICE>;

const PAYMENT_STATES = {
  pending: 'pending',
  failed: 'failed',
  fraudulent: 'failed',
  void: 'failed',
  paid: 'succeeded',
  // The payment did succeed; the refund events tell what was refunded.
  refunded: 'succeeded',
  partial_refund: 'succeeded',
} as const satisfies Record<(Order | Invoice)['data']['attributes']['status'], PaymentFact['state']>;

function isOrder({ data }: Order | Invoice): boolean {
  return data.type === 'orders';
}

function paymentIdOf(body: Order | Invoice): string {
  return `${isOrder(body) ? 'order' : 'invoice'}_${body.data.id}`;
}

function customerOf({ data }: Order | Invoice): ProviderCustomer {
  const { customer_id: id, user_email: email, user_name: name } = data.attributes;
  return { id, email, name };
}

function paymentReading(body: Order | Invoice, state: PaymentFact['state']): EventReading {
  const { currency, total, created_at: occurredAt } = body.data.attributes;
  const paymentId = paymentIdOf(body);
  const customer = customerOf(body);
  const metadata = body.meta.custom_data;
  // An invoice does not name the order that began its subscription, but both name the same customer.
  const series =
    customer.id === null
      ? {}
      : { seriesId: `customer_${customer.id}`, ...(isOrder(body) ? { startsSeries: true as const } : {}) };
  const payment = { kind: 'payment', paymentId, state, currency, customer, metadata, occurredAt, ...series } as const;
  if (state !== 'succeeded') return tell({ ...payment, amountMinor: null });
  return withAmount('data.attributes.total', minorFromInteger('lemonsqueezy', currency, total), (amountMinor) =>
    tell({ ...payment, amountMinor }),
  );
}

function refundReading(body: Order | Invoice): EventReading {
  const { currency, total, refunded_amount, status, refunded_at: occurredAt } = body.data.attributes;
  // Without a sum, the status is enough for a full refund; for a partial one the amount stays unknown.
  const refunded = refunded_amount || (status === 'refunded' ? total : null);
  const refund = {
    kind: 'refund',
    paymentId: paymentIdOf(body),
    refundId: WHOLE_REFUND_ID,
    state: 'succeeded',
  } as const;
  const who = { currency, customer: customerOf(body), metadata: body.meta.custom_data, occurredAt };
  const readingOf = (amountMinor: number) => tell({ ...refund, amountMinor, ...who });
  if (refunded === null) {
    const detail = 'data.attributes.refunded_amount: is missing or zero';
    return park('unknown_amount', detail, withoutAmounts(readingOf(0)));
  }
  const amount = minorFromInteger('lemonsqueezy', currency, refunded);
  return withAmount('data.attributes.refunded_amount', amount, readingOf);
}

const isFirstPayment = (invoice: Invoice): boolean => invoice.data.attributes.billing_reason === 'initial';

const readInvoice = (stateOf: (invoice: Invoice) => PaymentFact['state']) =>
  reader(INVOICE, (invoice) =>
    isFirstPayment(invoice)
      ? ignore('the first payment of a subscription, which order_created tells')
      : paymentReading(invoice, stateOf(invoice)),
  );

const groupOf = (subscriptionId: string): string => `subscription_${subscriptionId}`;

const readInvoiceRefund = reader(INVOICE, (invoice) => {
  if (!isFirstPayment(invoice)) return refundReading(invoice);
  const { subscription_id = null } = invoice.data.attributes;
  if (subscription_id === null)
    return park('manual_correction', 'refunds the first payment of a subscription; see that its order_refunded came');
  const reading = refundReading(invoice);
  if (reading.kind === 'ignored') return reading;
  const paymentId = groupOf(subscription_id);
  const facts = (reading.facts ?? []).map(
    (fact): Fact => (fact.kind === 'refund' ? { ...fact, paymentId, ofGroup: true } : fact),
  );
  return { ...reading, facts };
});

const readSubscription = reader(SUBSCRIPTION, ({ data: { id, attributes } }): EventReading => {
  const { order_id = null } = attributes;
  if (order_id === null) return ignore('it names no order');
  return { kind: 'facts', facts: [], ties: [{ groupId: groupOf(id), paymentId: `order_${order_id}` }] };
});

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['order_created', reader(ORDER, (order) => paymentReading(order, PAYMENT_STATES[order.data.attributes.status]))],
  ['order_refunded', reader(ORDER, refundReading)],
  ['subscription_payment_success', readInvoice((invoice) => PAYMENT_STATES[invoice.data.attributes.status])],
  ['subscription_payment_failed', readInvoice(() => 'failed')],
  ['subscription_payment_refunded', readInvoiceRefund],
  ['subscription_created', readSubscription],
]);

const IS_FIRST = z.object({ data: z.object({ attributes: z.object({ billing_reason: z.literal('initial') }) }) });

/** Which payment a parked event names. Orders and invoices are numbered apart, so the number alone is not enough. */
function namedIn(eventType: string, body: JsonObject): NamedPayment | null {
  const [isOrder, isInvoice] = [eventType.startsWith('order_'), eventType.startsWith('subscription_payment_')];
  const subscription = namedPayment(body, 'object', 'data.attributes.subscription_id');
  const found = namedPayment(body, eventType.endsWith('_refunded') ? 'movement' : 'payment', 'data.id');
  if (isInvoice && subscription !== null && IS_FIRST.safeParse(body).success)
    return { ...subscription, paymentId: groupOf(subscription.paymentId) };
  if (!(isOrder || isInvoice) || found === null || found.paymentId.length > 20) return null;
  return { ...found, paymentId: `${isOrder ? 'order' : 'invoice'}_${found.paymentId}` };
}

const testMode = z.object({ test_mode: z.boolean() });
const MODE_OF_ENVELOPE = z.object({ meta: testMode });
const MODE_OF_RESOURCE = z.object({ data: z.object({ attributes: testMode }) });

/** Reads the mode, which the envelope and the resource have. Null if neither has it, or if they contradict each other. */
function livemodeOf(body: unknown): boolean | null {
  const envelope = MODE_OF_ENVELOPE.safeParse(body);
  const inner = MODE_OF_RESOURCE.safeParse(body);
  const modes = new Set([
    ...(envelope.success ? [envelope.data.meta.test_mode] : []),
    ...(inner.success ? [inner.data.data.attributes.test_mode] : []),
  ]);
  const [isTest] = modes;
  return modes.size === 1 && isTest !== undefined ? !isTest : null;
}

export const lemonsqueezy: Provider = {
  name: 'lemonsqueezy',
  headersProblem: (headers) => hexSignatureProblem(headers, 'x-signature'),
  verify({ headers, rawBody }, secrets) {
    const signature = singleHeader(headers, 'x-signature') ?? '';
    const problem = hexSignatureProblem(headers, 'x-signature');
    if (problem !== null) return refused(problem);
    return checkSecrets(secrets, (secret) => equalInConstantTime(signature, hmacSha256(secret, [rawBody], 'hex')));
  },
  /** The digest of the body, since there is no id. */
  deliveryKey({ rawBody }) {
    return createHash('sha256').update(rawBody).digest('hex');
  },
  interpret: (rawBody) =>
    interpretBody(
      rawBody,
      'meta.event_name',
      namingPayments(namedIn, (eventType, body) => {
        const read = READERS.get(eventType);
        const livemode = livemodeOf(body);
        if (read !== undefined && livemode === null) return park('malformed', 'meta.test_mode: wants true or false');
        const outcome = read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
        return livemode === null ? outcome : { ...outcome, livemode };
      }),
    ),
};
