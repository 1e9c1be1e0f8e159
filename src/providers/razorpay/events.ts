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
import {
  type DisputeFact,
  type PaymentFact,
  type ProviderCustomer,
  type RefundFact,
  STAGES,
  type Stage,
  type TrustedName,
  type WalletMetadata,
} from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import {
  type EventReading,
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
  lenientUnixTime,
  minorAmount,
  NO_CUSTOMER,
  optionalId,
  providerId,
  trustedWith,
} from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import type { NamedPayment, Provider } from '../shared/provider.ts';

/*
 * Razorpay signs the bare body in hex, without a time, so a captured request stays valid: what protects against it is
 * that the same body is the same delivery.
 *
 * | event                                              | fact                                                         |
 * |----------------------------------------------------|--------------------------------------------------------------|
 * | payment.captured                                   | payment succeeded, of `amount` (paise), less `fee` where the |
 * |                                                    | payer bears it (`fee_bearer` is customer): that is no price  |
 * | payment.failed                                     | payment failed (a late authorisation may still succeed)      |
 * | refund.created                                     | refund pending, whatever its `status`: processed follows     |
 * | refund.processed                                   | refund succeeded                                             |
 * | refund.failed                                      | refund failed                                                |
 * | payment.dispute.created, .under_review,            | dispute open                                                 |
 * | .action_required                                   |                                                              |
 * | payment.dispute.lost                               | dispute lost, of `amount_deducted`, else of `amount`         |
 * | payment.dispute.won                                | dispute won                                                  |
 * | payment.dispute.closed                             | lost if its `amount_deducted` is positive, else withdrawn    |
 * | payment.authorized                                 | ignored: not money yet                                       |
 * | order.paid, subscription.charged                   | the payment they hold, which succeeded, named by the notes   |
 * |                                                    | of the order or subscription, or by the token there; ignored |
 * |                                                    | where those have neither: payment.captured tells the same    |
 * | refunds of a payment with `captured` false         | ignored: an automatic refund of money that never came        |
 * | refund.speed_changed and others                    | ignored                                                      |
 *
 * Fields lie in `payload.payment.entity`, `payload.refund.entity` and `payload.dispute.entity`. Refund events carry
 * their payment too, whose customer and notes say whose refund it is. `notes` is an empty array when there are none.
 *
 * A payment's notes may come from the browser, those of an order or a subscription cannot: both are made with the secret key
 * (razorpay.com/docs, Orders API and Subscriptions API). Neither set is copied to the payment in Razorpay's own samples of
 * order.paid and subscription.charged, and the payment of a UPI subscription has no customer either. So a payment with an
 * `order_id` or `invoice_id` that names nobody may still be named by one of these two events.
 */

/** Checkouts use this if they ask for no e-mail address. It must not become a customer that all payers share. */
const PLACEHOLDER_EMAIL = 'void@razorpay.com';

const entity = <Fields extends z.ZodRawShape>(fields: Fields) => z.object({ entity: z.object(fields) });

const CUSTOMER_FIELDS = { customer_id: optionalId, email: lenientEmail, notes: walletMetadata };

const PAYMENT_FIELDS = { id: providerId, currency: currencyCode, created_at: lenientUnixTime, ...CUSTOMER_FIELDS };

const event = <Payload extends z.ZodRawShape>(payload: Payload) =>
  z.object({ created_at: lenientUnixTime, payload: z.object(payload) });

const PAYMENT = event({ payment: entity(PAYMENT_FIELDS) });
const CAPTURED_PAYMENT = entity({
  ...PAYMENT_FIELDS,
  amount: minorAmount,
  /** Includes `tax`. Null until it is known. */
  fee: minorAmount.nullish(),
  fee_bearer: z.string().nullish().catch(null),
  captured: z.boolean().nullish().catch(null),
  order_id: lenientId,
  invoice_id: lenientId,
});
const CAPTURED = event({ payment: CAPTURED_PAYMENT });

function customerOf(payment: { customer_id: string | null; email: string | null }): ProviderCustomer {
  const email = payment.email?.toLowerCase() === PLACEHOLDER_EMAIL ? null : payment.email;
  return { id: payment.customer_id, email, name: null };
}

function paymentFact(
  { created_at: occurredAt, payload }: z.infer<typeof PAYMENT>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { id: paymentId, currency, notes: metadata } = payload.payment.entity;
  const customer = customerOf(payload.payment.entity);
  const extra = besides({ triedAt: payload.payment.entity.created_at });
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer, metadata, occurredAt, ...extra };
}

/** The payment of an event that says it was captured, and what else the event says of it. */
function capturedReading(captured: z.infer<typeof CAPTURED>, besidesIt: Partial<PaymentFact>): EventReading {
  const { amount, currency, fee, fee_bearer } = captured.payload.payment.entity;
  const price = fee_bearer === 'customer' ? amount - (fee ?? 0) : amount;
  return withAmount('payload.payment.entity.amount', minorFromInteger('razorpay', currency, price), (amountMinor) =>
    tell({ ...paymentFact(captured, 'succeeded', amountMinor), ...besidesIt }),
  );
}

const readCaptured = reader(CAPTURED, (captured) => {
  const { order_id, invoice_id } = captured.payload.payment.entity;
  return capturedReading(captured, (order_id ?? invoice_id) === null ? {} : { mayBeNamed: true });
});

const NAMES_NOBODY = ignore('it names no customer, and payment.captured tells the same money');
const NOT_CAPTURED = ignore('its payment is not captured yet');

const namedReading = (
  captured: z.infer<typeof CAPTURED>,
  by: TrustedName['by'],
  { id, notes }: { readonly id: string | null; readonly notes: WalletMetadata },
): EventReading => {
  const trusted = trustedWith(by, notes);
  const { wallet_token } = notes;
  if (trusted.named === undefined && wallet_token === undefined) return NAMES_NOBODY;
  const { captured: isCaptured, notes: own } = captured.payload.payment.entity;
  if (isCaptured === false) return NOT_CAPTURED;
  // What the payer may have written stands behind what the merchant has.
  const { wallet_customer_id: _, ...rest } = own;
  const metadata = wallet_token === undefined ? own : { ...rest, wallet_token };
  return capturedReading(captured, { ...trusted, metadata, ...besides({ seriesId: id }) });
};

const OF_MERCHANT = entity({ id: lenientId, notes: walletMetadata });

const readOrderPaid = reader(event({ payment: CAPTURED_PAYMENT, order: OF_MERCHANT }), (paid) =>
  namedReading(paid, 'order', paid.payload.order.entity),
);
const readCharged = reader(event({ payment: CAPTURED_PAYMENT, subscription: OF_MERCHANT }), (charged) =>
  namedReading(charged, 'subscription', charged.payload.subscription.entity),
);

const REFUND = event({
  refund: entity({
    id: providerId,
    payment_id: providerId,
    amount: minorAmount,
    currency: currencyCode,
    notes: walletMetadata,
  }),
  payment: entity({ ...CUSTOMER_FIELDS, captured: z.boolean().nullish() }).nullish(),
});

const readRefund = (state: RefundFact['state']) =>
  reader(REFUND, ({ created_at: occurredAt, payload }) => {
    const payment = payload.payment?.entity;
    if (payment?.captured === false) return ignore('the automatic refund of a payment that was never captured');
    const { id: refundId, payment_id: paymentId, amount, currency, notes } = payload.refund.entity;
    const customer = payment ? customerOf(payment) : NO_CUSTOMER;
    const metadata = { ...payment?.notes, ...notes };
    return withAmount('payload.refund.entity.amount', minorFromInteger('razorpay', currency, amount), (amountMinor) =>
      tell({ kind: 'refund', paymentId, refundId, state, amountMinor, currency, customer, metadata, occurredAt }),
    );
  });

const DISPUTE = event({
  dispute: entity({
    id: providerId,
    payment_id: providerId,
    amount: minorAmount,
    amount_deducted: minorAmount.nullish(),
    currency: currencyCode,
    phase: z.string().nullish().catch(null),
  }),
});

/** The phases that a dispute goes through (razorpay.com/docs, disputes entity). */
const STAGE_OF: ReadonlyMap<string, Stage> = new Map([
  ['fraud', STAGES.inquiry],
  ['retrieval', STAGES.inquiry],
  ['chargeback', STAGES.chargeback],
  ['pre_arbitration', STAGES.preArbitration],
  ['arbitration', STAGES.arbitration],
]);

const readDispute = (byEvent: DisputeFact['state'] | 'closed') =>
  reader(DISPUTE, ({ created_at: occurredAt, payload }) => {
    const { id: disputeId, payment_id: paymentId, currency, amount_deducted } = payload.dispute.entity;
    // A dispute is closed after any end; only one that was lost has cost something. Without a deduction it has ended for
    // nothing, which must not give back what an explicit loss took.
    const closedState = (amount_deducted ?? 0) > 0 ? 'lost' : 'withdrawn';
    const state = byEvent === 'closed' ? closedState : byEvent;
    const amount = state === 'lost' && amount_deducted ? amount_deducted : payload.dispute.entity.amount;
    const stage = STAGE_OF.get(payload.dispute.entity.phase ?? '') ?? STAGES.none;
    return withAmount('payload.dispute.entity.amount', minorFromInteger('razorpay', currency, amount), (amountMinor) =>
      tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt, stage }),
    );
  });

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['payment.captured', readCaptured],
  ['order.paid', readOrderPaid],
  ['subscription.charged', readCharged],
  ['payment.failed', reader(PAYMENT, (payment) => tell(paymentFact(payment, 'failed', null)))],
  ['refund.created', readRefund('pending')],
  ['refund.processed', readRefund('succeeded')],
  ['refund.failed', readRefund('failed')],
  ['payment.dispute.created', readDispute('open')],
  ['payment.dispute.under_review', readDispute('open')],
  ['payment.dispute.action_required', readDispute('open')],
  ['payment.dispute.lost', readDispute('lost')],
  ['payment.dispute.won', readDispute('won')],
  ['payment.dispute.closed', readDispute('closed')],
]);

/** Which payment a parked event names. */
function namedIn(eventType: string, body: JsonObject): NamedPayment | null {
  if (eventType.startsWith('refund.')) return namedPayment(body, 'movement', 'payload.refund.entity.payment_id');
  if (eventType.startsWith('payment.dispute.'))
    return namedPayment(body, 'movement', 'payload.dispute.entity.payment_id');
  return namedPayment(body, 'payment', 'payload.payment.entity.id');
}

export const razorpay: Provider = {
  name: 'razorpay',
  headersProblem: (headers) => hexSignatureProblem(headers, 'x-razorpay-signature'),
  verify({ headers, rawBody }, secrets) {
    const signature = singleHeader(headers, 'x-razorpay-signature') ?? '';
    const problem = hexSignatureProblem(headers, 'x-razorpay-signature');
    if (problem !== null) return refused(problem);
    return checkSecrets(secrets, (secret) => equalInConstantTime(signature, hmacSha256(secret, [rawBody], 'hex')));
  },
  /** The digest of the body. The `x-razorpay-event-id` header is not signed, so whoever sends a body again can change it. */
  deliveryKey({ rawBody }) {
    return createHash('sha256').update(rawBody).digest('hex');
  },
  interpret: (rawBody) =>
    interpretBody(
      rawBody,
      'event',
      namingPayments(namedIn, (eventType, body) => {
        const read = READERS.get(eventType);
        return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
      }),
    ),
};
