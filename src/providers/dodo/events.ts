import { z } from 'zod';
import { singleHeader } from '../../crypto/signature.ts';
import { signedHeadersProblem, verify as verifyStandardWebhook } from '../../crypto/standard-webhooks.ts';
import { invariant } from '../../errors.ts';
import {
  type DisputeFact,
  type PaymentFact,
  type ProviderCustomer,
  type RefundFact,
  STAGES,
} from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
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
  minorAmount,
  NO_CUSTOMER,
  optionalId,
  providerId,
} from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import type { NamedPayment, Provider } from '../shared/provider.ts';
import { declineOf } from './declines.ts';

/*
 * Dodo Payments signs with Standard Webhooks and renders a body when it is delivered, not when the event happened.
 *
 * | event                                 | fact                                                                         |
 * |---------------------------------------|------------------------------------------------------------------------------|
 * | payment.succeeded                     | payment succeeded, of `total_amount` (tax included, the customer's currency); |
 * |                                       | of 0 if it only changed the payment method (`is_update_payment_method`)      |
 * | payment.failed, .cancelled            | payment failed, for `error_code` (declines.ts)                               |
 * | payment.processing                    | payment pending                                                              |
 * | refund.succeeded, .failed             | refund, by `status` (review → pending), else by the event. A null `amount`   |
 * |                                       | is all that is left if not `is_partial`, and parked if it is                 |
 * | dispute.opened, .challenged           | dispute open                                                                 |
 * | dispute.lost, .accepted, .expired     | dispute lost; where `is_resolved_by_rdr`, it informs of a refund with an      |
 * |                                       | event of its own, and counts only if that is not told                        |
 * | dispute.won, .cancelled               | dispute won                                                                  |
 * | subscription.*, credit.*, dunning.* … | ignored: a renewal's money comes as its own payment.succeeded                |
 *
 * All fields lie in `data`: `payment_id`, `refund_id`, `dispute_id`, `currency`, `customer`, `metadata` (a refund's is its
 * own). A disputed amount is a text of minor units. A dispute's customer is not read: it is its payment's. Its
 * `dispute_stage` orders the rounds that it has under one id (docs.dodopayments.com, webhooks, dispute).
 */

const CUSTOMER = z
  .object({ customer_id: optionalId, email: lenientEmail, name: lenientName })
  .nullish()
  .transform((customer): ProviderCustomer => {
    return customer ? { id: customer.customer_id, email: customer.email, name: customer.name } : NO_CUSTOMER;
  });

const event = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ timestamp: lenientIsoTime, data: z.object(fields) });

const PAYMENT_FIELDS = {
  payment_id: providerId,
  currency: currencyCode,
  customer: CUSTOMER,
  metadata: walletMetadata,
  subscription_id: lenientId,
  created_at: lenientIsoTime,
};

const ANY_PAYMENT = event(PAYMENT_FIELDS);

const PAYMENT = event({
  ...PAYMENT_FIELDS,
  status: z.string().nullish().catch(null),
  error_code: z.string().nullish().catch(null),
});

const PAID = event({
  ...PAYMENT_FIELDS,
  total_amount: minorAmount,
  is_update_payment_method: z.boolean().nullish(),
  status: z.string().nullish(),
});

function paymentFact(
  { timestamp, data }: z.infer<typeof ANY_PAYMENT>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { payment_id: paymentId, currency, customer, metadata } = data;
  const extra = besides({ seriesId: data.subscription_id, triedAt: data.created_at });
  return {
    kind: 'payment',
    paymentId,
    state,
    amountMinor,
    currency,
    customer,
    metadata,
    occurredAt: timestamp,
    ...extra,
  };
}

const readPaid = reader(PAID, (paid) => {
  const { currency, total_amount, is_update_payment_method } = paid.data;
  const amount = minorFromInteger('dodo', currency, is_update_payment_method === true ? 0 : total_amount);
  const readingOf = (amountMinor: number) => tell(paymentFact(paid, 'succeeded', amountMinor));
  // `total_amount` is what was asked for; the event does not tell how much of it was captured.
  if (paid.data.status?.startsWith('partially_captured'))
    return park('unknown_amount', 'data.status: partially captured', withoutAmounts(readingOf(0)));
  return withAmount('data.total_amount', amount, readingOf);
});

const readPayment = (state: 'failed' | 'pending') =>
  reader(PAYMENT, (payment) => {
    const fact = paymentFact(payment, state, null);
    const { status, error_code } = payment.data;
    return tell(state === 'failed' && error_code ? { ...fact, decline: declineOf(status, error_code) } : fact);
  });

const REFUND_STATES = {
  succeeded: 'succeeded',
  failed: 'failed',
  pending: 'pending',
  review: 'pending',
} as const satisfies Record<string, RefundFact['state']>;

const REFUND = event({
  payment_id: providerId,
  refund_id: providerId,
  amount: minorAmount.nullish(),
  currency: currencyCode.nullish(),
  is_partial: z.boolean().nullish(),
  status: z.enum(['succeeded', 'failed', 'pending', 'review']).nullish(),
  customer: CUSTOMER,
  metadata: walletMetadata,
});

const readRefund = (byEvent: 'succeeded' | 'failed') =>
  reader(REFUND, ({ timestamp: occurredAt, data }) => {
    const state = data.status ? REFUND_STATES[data.status] : byEvent;
    const amount = data.amount ?? null;
    const { payment_id: paymentId, refund_id: refundId, customer, metadata } = data;
    const currency = data.currency ?? null;
    const tellOf = (amountMinor: number | null) =>
      tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency, customer, metadata, occurredAt });
    // A refund that is pending or failed moves nothing, so its amount may be unknown.
    if (state === 'succeeded' && amount === null && data.is_partial !== false) {
      const detail = 'data.amount: is null, and the refund is not said to be of the whole payment';
      return park('unknown_amount', detail, withoutAmounts(tellOf(null)));
    }
    // A refund without a currency has the currency of its payment. Dodo's minor units are ours in every currency.
    if (amount === null || currency === null) return tellOf(amount);
    return withAmount('data.amount', minorFromInteger('dodo', currency, amount), tellOf);
  });

/**
 * Digits in a text, as documented; a plain number is accepted too, since it means the same. A fraction would mean major units,
 * and is refused instead of guessed.
 */
const DISPUTED_AMOUNT = z.union(
  [z.string().regex(/^\d{1,16}$/), minorAmount],
  'wants a whole number of minor units as text',
);

const DISPUTE = event({
  payment_id: providerId,
  dispute_id: providerId,
  amount: DISPUTED_AMOUNT,
  currency: currencyCode,
  dispute_stage: z.enum(['pre_dispute', 'dispute', 'pre_arbitration']).nullish().catch(null),
  is_resolved_by_rdr: z.boolean().nullish().catch(null),
  created_at: lenientIsoTime,
});

const STAGE_OF = {
  pre_dispute: STAGES.inquiry,
  dispute: STAGES.chargeback,
  pre_arbitration: STAGES.preArbitration,
} as const;

const readDispute = (state: DisputeFact['state']) =>
  reader(DISPUTE, ({ timestamp, data }) => {
    const { payment_id: paymentId, dispute_id: disputeId, amount, currency } = data;
    const stage = data.dispute_stage ? STAGE_OF[data.dispute_stage] : STAGES.none;
    const role = data.is_resolved_by_rdr ? ({ role: 'informs', openedAt: data.created_at } as const) : {};
    return withAmount('data.amount', minorFromInteger('dodo', currency, amount), (amountMinor) =>
      tell({
        kind: 'dispute',
        paymentId,
        disputeId,
        state,
        amountMinor,
        currency,
        occurredAt: timestamp,
        stage,
        ...role,
      }),
    );
  });

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['payment.succeeded', readPaid],
  ['payment.failed', readPayment('failed')],
  ['payment.cancelled', readPayment('failed')],
  ['payment.processing', readPayment('pending')],
  ['refund.succeeded', readRefund('succeeded')],
  ['refund.failed', readRefund('failed')],
  ['dispute.opened', readDispute('open')],
  ['dispute.challenged', readDispute('open')],
  ['dispute.lost', readDispute('lost')],
  ['dispute.accepted', readDispute('lost')],
  ['dispute.expired', readDispute('lost')],
  ['dispute.won', readDispute('won')],
  ['dispute.cancelled', readDispute('won')],
]);

/** Which payment a parked event names. */
const namedIn = (eventType: string, body: JsonObject): NamedPayment | null =>
  namedPayment(body, eventType.startsWith('payment.') ? 'payment' : 'movement', 'data.payment_id');

export const dodo: Provider = {
  name: 'dodo',
  headersProblem: signedHeadersProblem,
  verify: verifyStandardWebhook,
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
