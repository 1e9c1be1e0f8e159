import { createHash } from 'node:crypto';
import { z } from 'zod';
import { singleHeader } from '../../crypto/signature.ts';
import { type DisputeFact, type PaymentFact, type RefundFact, STAGES, type Stage } from '../../payments/fact.ts';
import { type AmountProblem, minorFromDecimal } from '../shared/currency.ts';
import { type EventReading, ignore, interpretBody, park, type Reader, reader, tell } from '../shared/event-reading.ts';
import { besides, currencyCode, lenientId, lenientIsoTime, NO_CUSTOMER } from '../shared/fields.ts';
import type { Delivery, Provider, Verification } from '../shared/provider.ts';
import { walletText } from '../shared/wallet-text.ts';
import { type CertificateOptions, PaypalCertificates } from './certificate.ts';
import { transmissionProblem, transmissionVerifier } from './signature.ts';

/*
 * PayPal tells a payment by its capture; an order that is only approved has not been paid. A source's secret is the id of
 * its webhook, which PayPal signs with.
 *
 * | event                                | fact                                                                          |
 * |--------------------------------------|-------------------------------------------------------------------------------|
 * | PAYMENT.CAPTURE.COMPLETED            | payment succeeded, of `amount`                                                |
 * | PAYMENT.CAPTURE.PENDING              | payment pending                                                               |
 * | PAYMENT.CAPTURE.DENIED, .DECLINED    | payment failed                                                                |
 * | PAYMENT.CAPTURE.REFUNDED,            | refund, by its `status`: COMPLETED → succeeded, PENDING → pending, FAILED and |
 * | PAYMENT.REFUND.*                     | CANCELLED → failed; without one, by the event                                 |
 * | PAYMENT.CAPTURE.REVERSED             | a movement out, under its own id: PayPal or a bank took the money back        |
 * | CUSTOMER.DISPUTE.CREATED, .UPDATED   | dispute open                                                                  |
 * | CUSTOMER.DISPUTE.RESOLVED, by        | all disputes inform: refunds and reversals move their money, and what neither |
 * | `dispute_outcome.outcome_code`:      | tells counts by the dispute                                                   |
 * |   RESOLVED_SELLER_FAVOUR, DENIED,    | dispute won: what reversals took under it is given back, no refund is         |
 * |   RESOLVED_WITH_PAYOUT,              |                                                                               |
 * |   CANCELED_BY_BUYER                  |                                                                               |
 * |   RESOLVED_BUYER_FAVOUR, ACCEPTED    | dispute lost, of `amount_refunded`, else of `dispute_amount`; an INQUIRY that |
 * |                                      | names no refund has ended without a decision                                  |
 * |   NONE                               | parked: it does not say whose the money is                                    |
 * | PAYMENT.SALE.*                       | as PAYMENT.CAPTURE.*: captures of PayPal's older API, and subscriptions       |
 * | CHECKOUT.ORDER.* and others          | ignored                                                                       |
 *
 * Fields lie in `resource`. A refund or reversal names its capture in the link with `rel` `up` (an older one by
 * `sale_id`), a dispute in `disputed_transactions`. Amounts are decimal texts. The payer is not told, so whose wallet it
 * is stands in `custom_id` (see wallet-text.ts).
 */

/**
 * The transmission's id, which is signed. So one signature lets in only one body, even if another body has the same CRC-32. A
 * retry with another id is stored again but changes nothing, since it has the same facts.
 */
function deliveryKey({ rawBody, headers }: Delivery): string {
  return singleHeader(headers, 'paypal-transmission-id') ?? createHash('sha256').update(rawBody).digest('hex');
}

const plainId = z.string().regex(/^\w[\w-]{0,99}$/, 'wants an id of letters and digits');

/** An amount of either API. The older one has other field names, and a minus sign if money goes back. */
const AMOUNT = z.union(
  [
    z.object({ value: z.string(), currency_code: currencyCode }),
    z
      .object({ total: z.string(), currency: currencyCode })
      .transform(({ total, currency }) => ({ value: total.replace(/^-/, ''), currency_code: currency })),
  ],
  'wants a decimal value and its currency',
);

const event = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ create_time: lenientIsoTime, resource: z.object(fields) });

const CAPTURE = event({
  id: plainId,
  amount: AMOUNT,
  custom_id: walletText,
  custom: walletText,
  billing_agreement_id: lenientId,
  supplementary_data: z
    .object({ related_ids: z.object({ order_id: lenientId }) })
    .nullish()
    .catch(null),
  create_time: lenientIsoTime,
});

function paymentFact(
  { create_time: occurredAt, resource }: z.infer<typeof CAPTURE>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { id: paymentId, amount, custom_id, custom } = resource;
  const metadata = { ...custom, ...custom_id };
  const orderId = resource.supplementary_data?.related_ids.order_id ?? null;
  const extra = besides({ seriesId: resource.billing_agreement_id ?? orderId, triedAt: resource.create_time });
  return {
    kind: 'payment',
    paymentId,
    state,
    amountMinor,
    currency: amount.currency_code,
    customer: NO_CUSTOMER,
    metadata,
    occurredAt,
    ...extra,
  };
}

const readCompleted = reader(CAPTURE, (capture) =>
  withAmount('resource.amount', capture.resource.amount, (amountMinor) =>
    tell(paymentFact(capture, 'succeeded', amountMinor)),
  ),
);

const readPayment = (state: 'pending' | 'failed') =>
  reader(CAPTURE, (capture) => tell(paymentFact(capture, state, null)));

function withAmount(
  path: string,
  { value, currency_code }: z.infer<typeof AMOUNT>,
  readingOf: (amountMinor: number) => EventReading,
): EventReading {
  const amountMinor: number | AmountProblem = minorFromDecimal('paypal', currency_code, value);
  return typeof amountMinor === 'number'
    ? readingOf(amountMinor)
    : park(amountMinor.reason, `${path}: ${amountMinor.detail}`);
}

const REFUND_STATES: ReadonlyMap<string, RefundFact['state']> = new Map([
  ['COMPLETED', 'succeeded'],
  ['PENDING', 'pending'],
  ['FAILED', 'failed'],
  ['CANCELLED', 'failed'],
]);

const REFUND = event({
  id: plainId,
  amount: AMOUNT,
  status: z.string().nullish(),
  state: z.string().nullish(),
  custom_id: walletText,
  custom: walletText,
  sale_id: plainId.nullish(),
  links: z.array(z.object({ rel: z.string(), href: z.string() })).nullish(),
});
type Refund = z.infer<typeof REFUND>;

/** The capture whose money goes back, or null if the event does not name exactly one. */
function captureOf({ resource }: Refund): string | null {
  const links = (resource.links ?? []).filter((link) => link.rel === 'up');
  const ids = links.map((link) => /\/(?:captures|sale)\/([\w-]{1,100})$/.exec(link.href)?.[1]);
  const [id, ...others] = new Set([...ids, resource.sale_id ?? undefined].filter((one) => one !== undefined));
  return id === undefined || others.length > 0 ? null : id;
}

const NO_CAPTURE = park('malformed', 'resource.links: names no capture');

const readRefund = (byEvent: RefundFact['state']) =>
  reader(REFUND, (refund) => {
    const { id: refundId, amount, custom_id, custom } = refund.resource;
    const status = refund.resource.status ?? refund.resource.state;
    const state = status ? REFUND_STATES.get(status.toUpperCase()) : byEvent;
    if (state === undefined) return park('malformed', 'resource.status: is not a documented one');
    const paymentId = captureOf(refund);
    if (paymentId === null) return NO_CAPTURE;
    const metadata = { ...custom, ...custom_id };
    const who = { customer: NO_CUSTOMER, metadata, occurredAt: refund.create_time };
    return withAmount('resource.amount', amount, (amountMinor) =>
      tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency: amount.currency_code, ...who }),
    );
  });

const readReversal = reader(REFUND, (reversal) => {
  const paymentId = captureOf(reversal);
  if (paymentId === null) return NO_CAPTURE;
  const { id: disputeId, amount } = reversal.resource;
  return withAmount('resource.amount', amount, (amountMinor) =>
    tell({
      kind: 'dispute',
      paymentId,
      disputeId,
      state: 'lost',
      amountMinor,
      currency: amount.currency_code,
      occurredAt: reversal.create_time,
      role: 'movement',
    }),
  );
});

const DISPUTE_FIELDS = {
  dispute_id: plainId,
  disputed_transactions: z.array(z.object({ seller_transaction_id: plainId })).min(1),
  dispute_amount: AMOUNT,
  dispute_life_cycle_stage: z.string().nullish(),
  /** When the dispute was opened. */
  create_time: lenientIsoTime,
  update_time: lenientIsoTime,
};
const DISPUTE = event(DISPUTE_FIELDS);
const RESOLVED = event({
  ...DISPUTE_FIELDS,
  dispute_outcome: z.object({
    outcome_code: z.enum([
      'RESOLVED_SELLER_FAVOUR',
      'RESOLVED_WITH_PAYOUT',
      'CANCELED_BY_BUYER',
      'DENIED',
      'RESOLVED_BUYER_FAVOUR',
      'ACCEPTED',
      'NONE',
    ]),
    amount_refunded: AMOUNT.nullish(),
  }),
});

const SEVERAL = park('unknown_amount', 'resource.disputed_transactions: are several, and how much of each is not said');

const STAGE_OF: ReadonlyMap<string, Stage> = new Map([
  ['INQUIRY', STAGES.inquiry],
  ['CHARGEBACK', STAGES.chargeback],
  ['PRE_ARBITRATION', STAGES.preArbitration],
  ['ARBITRATION', STAGES.arbitration],
]);

type DisputeEvent = z.infer<typeof DISPUTE>;

/** A dispute has the role `informs`, since reversals and refunds with events of their own move its money. */
function disputeFact(
  { create_time, resource }: DisputeEvent,
  paymentId: string,
  news: Pick<DisputeFact, 'state' | 'amountMinor' | 'currency'>,
): DisputeFact {
  const { dispute_id: disputeId, create_time: opened, update_time, dispute_life_cycle_stage } = resource;
  const stage = STAGE_OF.get(dispute_life_cycle_stage ?? '') ?? STAGES.none;
  const occurredAt = update_time ?? create_time;
  // A time of opening that is later than this event is wrong and is left out.
  const openedAt = opened !== null && occurredAt !== null && opened > occurredAt ? null : opened;
  return { kind: 'dispute', paymentId, disputeId, ...news, occurredAt, stage, role: 'informs', openedAt };
}

/** A dispute that is open. Its amount is left out, since the result may be less. */
const readDispute = reader(DISPUTE, (dispute) => {
  const { disputed_transactions, dispute_amount } = dispute.resource;
  const news = { state: 'open', amountMinor: null, currency: dispute_amount.currency_code } as const;
  return tell(...disputed_transactions.map((one) => disputeFact(dispute, one.seller_transaction_id, news)));
});

const readResolved = reader(RESOLVED, (resolved) => {
  const { disputed_transactions, dispute_outcome, dispute_amount, dispute_life_cycle_stage } = resolved.resource;
  const { outcome_code: code, amount_refunded } = dispute_outcome;
  if (code === 'NONE') return park('manual_correction', 'the dispute is resolved without saying whose the money is');
  const [transaction, ...others] = disputed_transactions;
  if (transaction === undefined || others.length > 0) return SEVERAL;
  const paymentId = transaction.seller_transaction_id;
  const isForBuyer = code === 'RESOLVED_BUYER_FAVOUR' || code === 'ACCEPTED';
  // An inquiry takes no money by itself; if a refund was agreed, the event names its amount.
  const isInquiry = dispute_life_cycle_stage === 'INQUIRY' && !amount_refunded;
  const amount = isForBuyer ? (amount_refunded ?? dispute_amount) : dispute_amount;
  const state = !isForBuyer ? 'won' : isInquiry ? 'withdrawn' : 'lost';
  return withAmount('resource.dispute_outcome', amount, (amountMinor) =>
    tell(
      disputeFact(resolved, paymentId, {
        state,
        // A dispute that was won gives back whatever reversals took for it.
        amountMinor: isForBuyer ? amountMinor : null,
        currency: amount.currency_code,
      }),
    ),
  );
});

/** The events of payments, under the names of both APIs. */
const OF_PAYMENTS = ['CAPTURE', 'SALE'].flatMap((kind): [string, Reader][] => [
  [`PAYMENT.${kind}.COMPLETED`, readCompleted],
  [`PAYMENT.${kind}.PENDING`, readPayment('pending')],
  [`PAYMENT.${kind}.DENIED`, readPayment('failed')],
  [`PAYMENT.${kind}.DECLINED`, readPayment('failed')],
  [`PAYMENT.${kind}.REFUNDED`, readRefund('succeeded')],
  [`PAYMENT.${kind}.REVERSED`, readReversal],
]);

const READERS: ReadonlyMap<string, Reader> = new Map([
  ...OF_PAYMENTS,
  ['PAYMENT.REFUND.PENDING', readRefund('pending')],
  ['PAYMENT.REFUND.COMPLETED', readRefund('succeeded')],
  ['PAYMENT.REFUND.FAILED', readRefund('failed')],
  ['CUSTOMER.DISPUTE.CREATED', readDispute],
  ['CUSTOMER.DISPUTE.UPDATED', readDispute],
  ['CUSTOMER.DISPUTE.RESOLVED', readResolved],
]);

/** The adapter; tests give it other certificates than PayPal's. */
export function paypalProvider(options: CertificateOptions = {}): Provider<Promise<Verification>> {
  return {
    name: 'paypal',
    headersProblem: transmissionProblem,
    verify: transmissionVerifier(new PaypalCertificates(options)),
    deliveryKey,
    interpret: (rawBody) =>
      interpretBody(rawBody, 'event_type', (eventType, body) => {
        const read = READERS.get(eventType);
        return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
      }),
  };
}

export const paypal = paypalProvider();
