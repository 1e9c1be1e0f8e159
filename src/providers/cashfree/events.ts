import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkSecrets, equalInConstantTime, hmacSha256, refused, singleHeader } from '../../crypto/signature.ts';
import type { DisputeFact, PaymentFact, ProviderCustomer, RefundFact } from '../../payments/fact.ts';
import { type AmountProblem, minorFromDecimal } from '../shared/currency.ts';
import { decidedAfter } from '../shared/dispute-rounds.ts';
import { currencyCode, lenientEmail, lenientIsoTime, lenientName, NO_CUSTOMER, optionalId } from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import { ignore, interpretBody, type Outcome, park, type Reader, reader, tell } from '../shared/outcome.ts';
import type { Delivery, Provider, Verification } from '../shared/provider.ts';

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
 * | PAYMENT_USER_DROPPED_WEBHOOK, others | ignored                                                                        |
 *
 * Fields lie in `data`: `order` (its `order_tags` are the metadata), `payment`, `customer_details`; `refund`, or
 * `auto_refund` for one that Cashfree makes by itself; `dispute` and `order_details`. Ids are numbers or texts, and the
 * provider's own are taken (`cf_payment_id`, `cf_refund_id`). A refund names neither customer nor tags.
 *
 * An automatic refund may be of a payment that Cashfree never reported as a success. Its fact waits for that payment
 * like any other, and is parked if it never comes; to ignore it would leave the credit of one that was reported.
 */

/**
 * Retries are planned by the merchant, the last of ten some hours after the first, and whether each is signed anew is not
 * documented. A body posted again within the window is the same delivery, so a wide one costs nothing.
 */
const OLDEST_MS = 2 * 24 * 3_600_000;
const FUTURE_MS = 300_000;

function verify({ rawBody, headers }: Delivery, secrets: readonly string[], now: Date): Verification {
  const signature = singleHeader(headers, 'x-webhook-signature');
  const timestamp = singleHeader(headers, 'x-webhook-timestamp');
  if (signature === null) return refused('the x-webhook-signature header is missing or repeated');
  if (timestamp === null) return refused('the x-webhook-timestamp header is missing or repeated');
  // Nothing stands between time and body under the signature; the fixed length keeps digits from moving over.
  if (!/^\d{13}$/.test(timestamp)) return refused('the x-webhook-timestamp header is malformed');
  const ageMs = now.getTime() - Number(timestamp);
  if (ageMs > OLDEST_MS) return refused('the timestamp is too old');
  if (ageMs < -FUTURE_MS) return refused('the timestamp is in the future');
  return checkSecrets(secrets, (secret) =>
    equalInConstantTime(signature, hmacSha256(secret, timestamp, rawBody, 'base64')),
  );
}

/** The names under which a number is money, an id or the merchant's: those must be read as they were written. */
const EXACT = /_id$|_amount$|^wallet_/;

/** Keeps numbers as text, so that 170.10 is not a float and an id past 2^53 is not rounded. */
function exactNumbers(key: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' && EXACT.test(key) ? plainDecimal(context?.source ?? '') : value;
}

/** `1.0E7`, as some writers put ten million, without its exponent; anything else as it is. */
function plainDecimal(source: string): string {
  const match = /^(\d{1,16})(?:\.(\d{1,16}))?[eE]\+?(\d{1,2})$/.exec(source);
  if (match === null) return source;
  const shift = Number(match[3]);
  const fraction = (match[2] ?? '').padEnd(shift, '0');
  const rest = fraction.slice(shift).replace(/0+$/, '');
  return `${match[1]}${fraction.slice(0, shift)}${rest === '' ? '' : `.${rest}`}`;
}

/** A number or a text of the JSON alike, by now. */
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
  const amountMinor = minorFromDecimal('cashfree', payment_currency, payment_amount ?? '');
  if (typeof amountMinor !== 'number') return parkAmount('data.payment.payment_amount', amountMinor);
  return tell(paymentFact(payment, 'succeeded', amountMinor));
});

function parkAmount(path: string, { reason, detail }: AmountProblem): Outcome {
  return park(reason, `${path}: ${detail}`);
}

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

function refundOutcome(path: string, refund: z.infer<typeof REFUND>, occurredAt: Date | null): Outcome {
  const { cf_payment_id: paymentId, cf_refund_id: refundId, refund_currency: currency } = refund;
  const amountMinor = minorFromDecimal('cashfree', currency, refund.refund_amount);
  if (typeof amountMinor !== 'number') return parkAmount(`${path}.refund_amount`, amountMinor);
  const state = REFUND_STATES[refund.refund_status];
  const nobody = { customer: NO_CUSTOMER, metadata: {} };
  return tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency, ...nobody, occurredAt });
}

const readRefund = reader(event({ refund: REFUND }), ({ event_time, data }) =>
  refundOutcome('data.refund', data.refund, event_time),
);
const readAutoRefund = reader(event({ auto_refund: REFUND }), ({ event_time, data }) =>
  refundOutcome('data.auto_refund', data.auto_refund, event_time),
);

/** The rounds that a dispute can go through under one id, in order. */
const ROUNDS = ['DISPUTE', 'CHARGEBACK', 'PRE_ARBITRATION', 'ARBITRATION'] as const;

const DISPUTE = event({
  dispute: z.object({
    dispute_id: exactId,
    dispute_type: z.enum([...ROUNDS, 'RETRIEVAL']),
    dispute_status: z.string().max(100),
    dispute_amount: decimal,
    dispute_amount_currency: currencyCode.nullish(),
  }),
  order_details: z.object({ cf_payment_id: exactId, payment_currency: currencyCode.nullish() }),
});

/** Evidence that does not suffice may be replaced until the dispute is closed. */
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
    const amountMinor = minorFromDecimal('cashfree', currency, dispute.dispute_amount);
    if (typeof amountMinor !== 'number') return parkAmount('data.dispute.dispute_amount', amountMinor);
    const idOf = (round: string) => `${dispute_id}_${round.toLowerCase()}`;
    const earlierIds = ROUNDS.slice(0, ROUNDS.indexOf(dispute_type)).map(idOf);
    const disputeId = idOf(dispute_type);
    const paymentId = order_details.cf_payment_id;
    return tell(
      ...decidedAfter(earlierIds, { kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt }),
    );
  });

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['PAYMENT_SUCCESS_WEBHOOK', readSuccess],
  ['PAYMENT_FAILED_WEBHOOK', reader(PAYMENT, (payment) => tell(paymentFact(payment, 'failed', null)))],
  ['REFUND_STATUS_WEBHOOK', readRefund],
  ['AUTO_REFUND_STATUS_WEBHOOK', readAutoRefund],
  ['DISPUTE_CREATED', readDispute(false)],
  ['DISPUTE_UPDATED', readDispute(false)],
  ['DISPUTE_CLOSED', readDispute(true)],
]);

export const cashfree: Provider = {
  name: 'cashfree',
  verify,
  /** The body's own digest. The `x-idempotency-key` header is not signed and is not always sent. */
  deliveryKey({ rawBody }) {
    return createHash('sha256').update(rawBody).digest('hex');
  },
  interpret: (rawBody) =>
    interpretBody(
      rawBody,
      'type',
      (eventType, body) => {
        const read = READERS.get(eventType);
        return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
      },
      exactNumbers,
    ),
};
