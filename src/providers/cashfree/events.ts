import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  type DisputeFact,
  type PaymentFact,
  type ProviderCustomer,
  type RefundFact,
  STAGES,
} from '../../payments/fact.ts';
import { minorFromDecimal } from '../shared/currency.ts';
import {
  type EventReading,
  ignore,
  interpretJson,
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
import {
  besides,
  currencyCode,
  lenientEmail,
  lenientId,
  lenientIsoTime,
  lenientName,
  NO_CUSTOMER,
  optionalId,
  trustedWith,
} from '../shared/fields.ts';
import { parseJson } from '../shared/json.ts';
import { walletMetadata } from '../shared/metadata.ts';
import type { NamedPayment, Provider } from '../shared/provider.ts';
import { exactNumbers } from './exact-numbers.ts';
import { cashfreeHeadersProblem, verifyCashfree } from './signature.ts';

/*
 * Cashfree signs the time and the body, with the API's own secret, and writes rupees as JSON numbers.
 *
 * | event                                | fact                                                                           |
 * |--------------------------------------|--------------------------------------------------------------------------------|
 * | PAYMENT_SUCCESS_WEBHOOK              | payment succeeded, of `payment.payment_amount`                                 |
 * | PAYMENT_FAILED_WEBHOOK               | payment failed (each attempt at an order is a payment of its own)              |
 * | REFUND_STATUS_WEBHOOK,               | refund, by `refund_status`: SUCCESS → succeeded; PENDING, ONHOLD → pending;    |
 * | AUTO_REFUND_STATUS_WEBHOOK           | CANCELLED, FAILED → failed                                                     |
 * | DISPUTE_CREATED, _UPDATED, _CLOSED,  | dispute, by the end of `dispute_status`: MERCHANT_WON → won; MERCHANT_LOST and |
 * | by `dispute_type`                    | MERCHANT_ACCEPTED → lost; INSUFFICIENT_EVIDENCE → lost once closed; else open  |
 * |   RETRIEVAL                          | ignored: a bank's question, which takes no money                               |
 * | SUBSCRIPTION_PAYMENT_SUCCESS,        | payment of `payment_amount` for a CHARGE; of nothing for an AUTH, by which a   |
 * | SUBSCRIPTION_PAYMENT_FAILED          | mandate is tried. `subscription_tags` are the metadata, and name the customer  |
 * | SUBSCRIPTION_REFUND_STATUS           | refund, by `refund_status`                                                     |
 * | PAYMENT_USER_DROPPED_WEBHOOK, others | ignored                                                                        |
 *
 * Fields lie in `data`: `order` (its `order_tags` are the metadata), `payment`, `customer_details`; `refund`, or
 * `auto_refund` for one that Cashfree makes by itself; `dispute` and `order_details`. Ids are numbers or texts, and the
 * provider's own are taken (`cf_payment_id`, `cf_refund_id`). A refund names neither customer nor tags.
 *
 * An automatic refund may be of a payment that Cashfree never reported as a success. Its fact waits for that payment
 * like any other, and is parked if it never comes; to ignore it would leave the credit of one that was reported.
 *
 * `subscription_tags` are written with the API secret when the subscription is made (cashfree.com/docs, Create Subscription), so
 * no payer can have named the customer there. A payment of an order that names nobody may be a subscription's, whose own event
 * is still to come. `cf_subscription_id` is the series: each charge carries the same tags.
 */

/** An id. Numbers of the JSON are texts here already. */
const exactId = z.string('wants an id').regex(/^\w[\w-]{0,99}$/, 'wants an id of letters and digits');
const decimal = z.string('wants a decimal number');

const event = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ event_time: lenientIsoTime, data: z.object(fields) });

const CUSTOMER = z
  .object({ customer_id: optionalId, customer_email: lenientEmail, customer_name: lenientName })
  .nullish()
  .transform((customer): ProviderCustomer => {
    if (!customer) return NO_CUSTOMER;
    return { id: customer.customer_id, email: customer.customer_email, name: customer.customer_name };
  });

const PAYMENT = event({
  order: z.object({ order_tags: walletMetadata }).nullish(),
  payment: z.object({ cf_payment_id: exactId, payment_amount: decimal.nullish(), payment_currency: currencyCode }),
  customer_details: CUSTOMER,
});

function paymentFact(
  { event_time: occurredAt, data }: z.infer<typeof PAYMENT>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { cf_payment_id: paymentId, payment_currency: currency } = data.payment;
  const metadata = data.order?.order_tags ?? {};
  const customer = data.customer_details;
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer, metadata, occurredAt };
}

const readSuccess = reader(PAYMENT, (payment) => {
  const { payment_amount, payment_currency } = payment.data.payment;
  const amount = minorFromDecimal('cashfree', payment_currency, payment_amount ?? '');
  const mayBeNamed = payment.data.order ? { mayBeNamed: true as const } : {};
  return withAmount('data.payment.payment_amount', amount, (amountMinor) =>
    tell({ ...paymentFact(payment, 'succeeded', amountMinor), ...mayBeNamed }),
  );
});

const REFUND_STATES = {
  SUCCESS: 'succeeded',
  PENDING: 'pending',
  ONHOLD: 'pending',
  CANCELLED: 'failed',
  FAILED: 'failed',
} as const satisfies Record<string, RefundFact['state']>;

const REFUND = z.object({
  cf_refund_id: exactId,
  cf_payment_id: exactId,
  refund_amount: decimal,
  refund_currency: currencyCode,
  refund_status: z.enum(['SUCCESS', 'PENDING', 'ONHOLD', 'CANCELLED', 'FAILED']),
});

function refundReading(path: string, refund: z.infer<typeof REFUND>, occurredAt: Date | null): EventReading {
  const { cf_payment_id: paymentId, cf_refund_id: refundId, refund_currency: currency } = refund;
  const amount = minorFromDecimal('cashfree', currency, refund.refund_amount);
  const state = REFUND_STATES[refund.refund_status];
  const nobody = { customer: NO_CUSTOMER, metadata: {} };
  return withAmount(`${path}.refund_amount`, amount, (amountMinor) =>
    tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency, ...nobody, occurredAt }),
  );
}

const readRefund = reader(event({ refund: REFUND }), ({ event_time, data }) =>
  refundReading('data.refund', data.refund, event_time),
);
const readAutoRefund = reader(event({ auto_refund: REFUND }), ({ event_time, data }) =>
  refundReading('data.auto_refund', data.auto_refund, event_time),
);

/** The rounds that a dispute can go through under one id. */
const STAGE_OF = {
  DISPUTE: STAGES.inquiry,
  CHARGEBACK: STAGES.chargeback,
  PRE_ARBITRATION: STAGES.preArbitration,
  ARBITRATION: STAGES.arbitration,
} as const;

const DISPUTE = event({
  dispute: z.object({
    dispute_id: exactId,
    dispute_type: z.enum(['DISPUTE', 'CHARGEBACK', 'PRE_ARBITRATION', 'ARBITRATION', 'RETRIEVAL']),
    dispute_status: z.string().max(100),
    dispute_amount: decimal,
    dispute_amount_currency: currencyCode.nullish(),
  }),
  order_details: z.object({ cf_payment_id: exactId, payment_currency: currencyCode.nullish() }),
});

/** The state of a dispute by its status. Insufficient evidence may be replaced until the dispute is closed. */
function disputeState(status: string, isClosed: boolean): DisputeFact['state'] | null {
  if (/_MERCHANT_WON$/.test(status)) return 'won';
  if (/_MERCHANT_(LOST|ACCEPTED)$/.test(status)) return 'lost';
  if (/_INSUFFICIENT_EVIDENCE$/.test(status)) return isClosed ? 'lost' : 'open';
  return /_(CREATED|DOCS_RECEIVED|UNDER_REVIEW)$/.test(status) ? 'open' : null;
}

const readDispute = (isClosed: boolean) =>
  reader(DISPUTE, ({ event_time: occurredAt, data: { dispute, order_details } }) => {
    const { dispute_id, dispute_type, dispute_status } = dispute;
    if (dispute_type === 'RETRIEVAL') return ignore('a question of the bank, which takes no money');
    const state = disputeState(dispute_status, isClosed);
    if (state === null) return park('malformed', 'data.dispute.dispute_status: is not a documented one');
    const currency = dispute.dispute_amount_currency ?? order_details.payment_currency ?? null;
    if (currency === null) return park('malformed', 'data.dispute.dispute_amount_currency: is missing');
    const amount = minorFromDecimal('cashfree', currency, dispute.dispute_amount);
    const paymentId = order_details.cf_payment_id;
    const stage = STAGE_OF[dispute_type];
    return withAmount('data.dispute.dispute_amount', amount, (amountMinor) =>
      tell({ kind: 'dispute', paymentId, disputeId: dispute_id, state, amountMinor, currency, occurredAt, stage }),
    );
  });

/** What a customer pays for a subscription, and when its mandate is authorised. */
const SUBSCRIPTION_PAYMENT = z.object({
  event_time: lenientIsoTime,
  data: z.object({
    cf_payment_id: exactId,
    payment_type: z.string().max(100),
    payment_amount: decimal,
    payment_currency: currencyCode.nullish(),
    cf_subscription_id: lenientId,
    subscription_details: z.object({ cf_subscription_id: lenientId, subscription_tags: walletMetadata }).nullish(),
    authorization_details: z.object({ authorization_amount_refund: z.boolean().nullish() }).nullish(),
    customer_details: CUSTOMER,
  }),
});

/** Subscriptions are charged in rupees (cashfree.com/docs, subscription webhooks). */
const SUBSCRIPTION_CURRENCY = 'INR';

function subscriptionReading(
  { event_time: occurredAt, data }: z.infer<typeof SUBSCRIPTION_PAYMENT>,
  state: PaymentFact['state'],
): EventReading {
  const currency = data.payment_currency ?? SUBSCRIPTION_CURRENCY;
  const amount = minorFromDecimal('cashfree', currency, data.payment_amount);
  const paymentId = data.cf_payment_id;
  const metadata = data.subscription_details?.subscription_tags ?? {};
  const series = besides({
    seriesId: data.cf_subscription_id ?? data.subscription_details?.cf_subscription_id ?? null,
  });
  const who = { customer: data.customer_details, metadata, ...series };
  const shared = { kind: 'payment', paymentId, currency, ...who, occurredAt } as const;
  const readingOf = (amountMinor: number) => {
    if (state !== 'succeeded') return tell({ ...shared, state, amountMinor: null });
    return tell({ ...shared, state, amountMinor, ...trustedWith('subscription', metadata) });
  };
  if (data.payment_type === 'CHARGE') return withAmount('data.payment_amount', amount, readingOf);
  if (data.payment_type !== 'AUTH') return park('malformed', 'data.payment_type: is not a documented one');
  if (data.authorization_details?.authorization_amount_refund === false) {
    const detail = 'the sum that authorises a mandate is kept: decide by hand what it was paid for';
    return park('manual_correction', detail, withoutAmounts(readingOf(0)));
  }
  // The small sum that tests a mandate is given back and buys nothing.
  return tell({ ...shared, state, amountMinor: state === 'succeeded' ? 0 : null });
}

const readSubscriptionPayment = (state: PaymentFact['state']) =>
  reader(SUBSCRIPTION_PAYMENT, (payment) => subscriptionReading(payment, state));

const SUBSCRIPTION_REFUND = event({
  cf_refund_id: exactId,
  cf_payment_id: exactId,
  refund_amount: decimal,
  refund_currency: currencyCode.nullish(),
  refund_status: z.enum(['SUCCESS', 'PENDING', 'ONHOLD', 'CANCELLED', 'FAILED']),
});

const readSubscriptionRefund = reader(SUBSCRIPTION_REFUND, ({ event_time, data }) => {
  const refund_currency = data.refund_currency ?? SUBSCRIPTION_CURRENCY;
  return refundReading('data', { ...data, refund_currency }, event_time);
});

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['PAYMENT_SUCCESS_WEBHOOK', readSuccess],
  ['PAYMENT_FAILED_WEBHOOK', reader(PAYMENT, (payment) => tell(paymentFact(payment, 'failed', null)))],
  ['REFUND_STATUS_WEBHOOK', readRefund],
  ['AUTO_REFUND_STATUS_WEBHOOK', readAutoRefund],
  ['SUBSCRIPTION_PAYMENT_SUCCESS', readSubscriptionPayment('succeeded')],
  ['SUBSCRIPTION_PAYMENT_FAILED', readSubscriptionPayment('failed')],
  ['SUBSCRIPTION_REFUND_STATUS', readSubscriptionRefund],
  ['DISPUTE_CREATED', readDispute(false)],
  ['DISPUTE_UPDATED', readDispute(false)],
  ['DISPUTE_CLOSED', readDispute(true)],
]);

/** Which payment a parked event names. */
function namedIn(eventType: string, body: JsonObject): NamedPayment | null {
  const isOwn = /^(SUBSCRIPTION_)?PAYMENT_/.test(eventType);
  const paths = ['data.payment', 'data.refund', 'data.auto_refund', 'data.order_details', 'data'];
  return namedPayment(body, isOwn ? 'payment' : 'movement', ...paths.map((path) => `${path}.cf_payment_id`));
}

export const cashfree: Provider = {
  name: 'cashfree',
  headersProblem: cashfreeHeadersProblem,
  verify: verifyCashfree,
  /** The digest of the body. The `x-idempotency-key` header is not signed and not always sent. */
  deliveryKey({ rawBody }) {
    return createHash('sha256').update(rawBody).digest('hex');
  },
  interpret: (rawBody) =>
    interpretJson(
      parseJson(rawBody, exactNumbers),
      'type',
      namingPayments(namedIn, (eventType, body) => {
        const read = READERS.get(eventType);
        return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
      }),
    ),
};
