import { createHash } from 'node:crypto';
import { z } from 'zod';
import { singleHeader } from '../../crypto/signature.ts';
import type { DisputeFact, PaymentFact, RefundFact } from '../../payments/fact.ts';
import { type AmountProblem, minorFromDecimal } from '../shared/currency.ts';
import { decidedAfter } from '../shared/dispute-rounds.ts';
import { currencyCode, lenientIsoTime, NO_CUSTOMER } from '../shared/fields.ts';
import { ignore, interpretBody, type Outcome, park, type Reader, reader, tell } from '../shared/outcome.ts';
import type { Delivery, Provider, Verification } from '../shared/provider.ts';
import { walletText } from '../shared/wallet-text.ts';
import { type CertificateOptions, PaypalCertificates } from './certificate.ts';
import { verifyTransmission } from './signature.ts';

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
 * | PAYMENT.CAPTURE.REVERSED             | dispute lost, of the capture's own: PayPal or a bank took the money back      |
 * | CUSTOMER.DISPUTE.CREATED, .UPDATED   | dispute open                                                                  |
 * | CUSTOMER.DISPUTE.RESOLVED, by        |                                                                               |
 * | `dispute_outcome.outcome_code`:      |                                                                               |
 * |   RESOLVED_SELLER_FAVOUR, DENIED,    | dispute won, reversal withdrawn                                               |
 * |   RESOLVED_WITH_PAYOUT,              |                                                                               |
 * |   CANCELED_BY_BUYER                  |                                                                               |
 * |   RESOLVED_BUYER_FAVOUR, ACCEPTED    | dispute lost, reversal withdrawn since it took the same money; won while it   |
 * |                                      | is an INQUIRY, which ends by a refund that has an event of its own            |
 * |   NONE                               | parked: it does not say whose the money is                                    |
 * | PAYMENT.SALE.*                       | as PAYMENT.CAPTURE.*: captures of PayPal's older API, and subscriptions       |
 * | CHECKOUT.ORDER.* and others          | ignored                                                                       |
 *
 * Fields lie in `resource`. A refund or reversal names its capture in the link with `rel` `up` (an older one by
 * `sale_id`), a dispute in `disputed_transactions`. Amounts are decimal texts. The payer is not told, so whose wallet it
 * is stands in `custom_id` (see wallet-text.ts).
 */

/**
 * The transmission's id, which is signed. So a signature lets in one body and no second, though the second have the same
 * CRC-32. A retry under another id is stored again and changes nothing, being the same facts.
 */
function deliveryKey({ rawBody, headers }: Delivery): string {
  return singleHeader(headers, 'paypal-transmission-id') ?? createHash('sha256').update(rawBody).digest('hex');
}

const plainId = z.string().regex(/^\w[\w-]{0,99}$/, 'wants an id of letters and digits');

/** The older API's amounts have other names, and a sign where money goes back. */
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

const CAPTURE = event({ id: plainId, amount: AMOUNT, custom_id: walletText, custom: walletText });

function paymentFact(
  { create_time: occurredAt, resource }: z.infer<typeof CAPTURE>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { id: paymentId, amount, custom_id, custom } = resource;
  const metadata = { ...custom, ...custom_id };
  const currency = amount.currency_code;
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer: NO_CUSTOMER, metadata, occurredAt };
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
  outcomeOf: (amountMinor: number) => Outcome,
): Outcome {
  const amountMinor: number | AmountProblem = minorFromDecimal('paypal', currency_code, value);
  return typeof amountMinor === 'number'
    ? outcomeOf(amountMinor)
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

/** The capture that money goes back from, or null if the event does not name exactly one. */
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

/** The reversal of a capture has one name, so that the dispute it belongs to can withdraw it. */
const reversalOf = (paymentId: string) => `${paymentId}_reversal`;

const readReversal = reader(REFUND, (reversal) => {
  const paymentId = captureOf(reversal);
  if (paymentId === null) return NO_CAPTURE;
  const { amount } = reversal.resource;
  return withAmount('resource.amount', amount, (amountMinor) =>
    tell({
      kind: 'dispute',
      paymentId,
      disputeId: reversalOf(paymentId),
      state: 'lost',
      amountMinor,
      currency: amount.currency_code,
      occurredAt: reversal.create_time,
    }),
  );
});

const DISPUTE_FIELDS = {
  dispute_id: plainId,
  disputed_transactions: z.array(z.object({ seller_transaction_id: plainId })).min(1),
  dispute_amount: AMOUNT,
  dispute_life_cycle_stage: z.string().nullish(),
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

/** Opened over an amount of which the outcome may be less; a fact's amount only grows, so here it is left open too. */
const readDispute = reader(DISPUTE, ({ create_time: occurredAt, resource }) => {
  const { dispute_id: disputeId, disputed_transactions, dispute_amount } = resource;
  const currency = dispute_amount.currency_code;
  return tell(
    ...disputed_transactions.map(
      ({ seller_transaction_id: paymentId }): DisputeFact => ({
        kind: 'dispute',
        paymentId,
        disputeId,
        state: 'open',
        amountMinor: null,
        currency,
        occurredAt,
      }),
    ),
  );
});

const readResolved = reader(RESOLVED, ({ create_time: occurredAt, resource }) => {
  const { dispute_id: disputeId, disputed_transactions, dispute_outcome } = resource;
  const { outcome_code: code, amount_refunded } = dispute_outcome;
  if (code === 'NONE') return park('manual_correction', 'the dispute is resolved without saying whose the money is');
  const [transaction, ...others] = disputed_transactions;
  if (transaction === undefined || others.length > 0) return SEVERAL;
  const paymentId = transaction.seller_transaction_id;
  const isInquiry = resource.dispute_life_cycle_stage === 'INQUIRY';
  const isLost = !isInquiry && (code === 'RESOLVED_BUYER_FAVOUR' || code === 'ACCEPTED');
  const amount = amount_refunded ?? resource.dispute_amount;
  return withAmount('resource.dispute_outcome', amount, (amountMinor) =>
    tell(
      ...decidedAfter(isInquiry ? [] : [reversalOf(paymentId)], {
        kind: 'dispute',
        paymentId,
        disputeId,
        state: isLost ? 'lost' : 'won',
        amountMinor: isLost ? amountMinor : null,
        currency: amount.currency_code,
        occurredAt,
      }),
    ),
  );
});

/** Both kinds of payment, under both names. */
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

/** The adapter, with other certificates than PayPal's for tests. */
export function paypalProvider(options: CertificateOptions = {}): Provider<Promise<Verification>> {
  const certificates = new PaypalCertificates(options);
  return {
    name: 'paypal',
    verify: (delivery, secrets, now) => verifyTransmission(delivery, secrets, now, certificates),
    deliveryKey,
    interpret: (rawBody) =>
      interpretBody(rawBody, 'event_type', (eventType, body) => {
        const read = READERS.get(eventType);
        return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
      }),
  };
}

export const paypal = paypalProvider();
