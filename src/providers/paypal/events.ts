import { createHash } from 'node:crypto';
import { z } from 'zod';
import { singleHeader } from '../../crypto/signature.ts';
import type { PaymentFact, RefundFact } from '../../payments/fact.ts';
import {
  ignore,
  interpretBody,
  type JsonObject,
  namedPayment,
  namingPayments,
  park,
  type Reader,
  reader,
  tell,
} from '../shared/event-reading.ts';
import { besides, lenientId, lenientIsoTime, NO_CUSTOMER } from '../shared/fields.ts';
import type { Delivery, NamedPayment, Provider, Verification } from '../shared/provider.ts';
import { walletText } from '../shared/wallet-text.ts';
import { type CertificateOptions, PaypalCertificates } from './certificate.ts';
import { readOpenDispute, readResolved } from './disputes.ts';
import { AMOUNT, event, plainId, withDecimal } from './objects.ts';
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
 * |   RESOLVED_SELLER_FAVOUR, DENIED,    | dispute won: what reversals took under it is given back, up to                |
 * |   RESOLVED_WITH_PAYOUT,              | `dispute_amount`; no refund is                                                |
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
  withDecimal('resource.amount', capture.resource.amount, (amountMinor) =>
    tell(paymentFact(capture, 'succeeded', amountMinor)),
  ),
);

const readPayment = (state: 'pending' | 'failed') =>
  reader(CAPTURE, (capture) => tell(paymentFact(capture, state, null)));

const REFUND_STATES: ReadonlyMap<string, RefundFact['state']> = new Map([
  ['COMPLETED', 'succeeded'],
  ['PENDING', 'pending'],
  ['FAILED', 'failed'],
  ['CANCELLED', 'failed'],
]);

const OF_CAPTURE = {
  sale_id: plainId.nullish(),
  links: z.array(z.object({ rel: z.string(), href: z.string() })).nullish(),
};
const REFUND = event({
  id: plainId,
  amount: AMOUNT,
  status: z.string().nullish(),
  state: z.string().nullish(),
  custom_id: walletText,
  custom: walletText,
  ...OF_CAPTURE,
});
const UNDONE = z.object({ resource: z.object(OF_CAPTURE) });

/** The capture whose money goes back, or null if the event does not name exactly one. */
function captureOf({ resource }: z.infer<typeof UNDONE>): string | null {
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
    return withDecimal('resource.amount', amount, (amountMinor) =>
      tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency: amount.currency_code, ...who }),
    );
  });

const readReversal = reader(REFUND, (reversal) => {
  const paymentId = captureOf(reversal);
  if (paymentId === null) return NO_CAPTURE;
  const { id: disputeId, amount } = reversal.resource;
  return withDecimal('resource.amount', amount, (amountMinor) =>
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
  ['CUSTOMER.DISPUTE.CREATED', readOpenDispute],
  ['CUSTOMER.DISPUTE.UPDATED', readOpenDispute],
  ['CUSTOMER.DISPUTE.RESOLVED', readResolved],
]);

/** Which payment a parked event names. */
function namedIn(eventType: string, body: JsonObject): NamedPayment | null {
  if (/^PAYMENT\.(CAPTURE|SALE)\.(?!REFUNDED|REVERSED)/.test(eventType))
    return namedPayment(body, 'payment', 'resource.id');
  const disputed = DISPUTED.safeParse(body);
  if (disputed.success)
    return { paymentId: disputed.data.resource.disputed_transactions[0].seller_transaction_id, of: 'movement' };
  const undone = UNDONE.safeParse(body);
  const paymentId = undone.success ? captureOf(undone.data) : null;
  return paymentId === null ? null : { paymentId, of: 'movement' };
}

const DISPUTED = z.object({
  resource: z.object({ disputed_transactions: z.tuple([z.object({ seller_transaction_id: plainId })], z.unknown()) }),
});

/** The adapter; tests give it other certificates than PayPal's. */
export function paypalProvider(options: CertificateOptions = {}): Provider<Promise<Verification>> {
  return {
    name: 'paypal',
    headersProblem: transmissionProblem,
    verify: transmissionVerifier(new PaypalCertificates(options)),
    deliveryKey,
    interpret: (rawBody) =>
      interpretBody(
        rawBody,
        'event_type',
        namingPayments(namedIn, (eventType, body) => {
          const read = READERS.get(eventType);
          return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
        }),
      ),
  };
}

export const paypal = paypalProvider();
