import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkSecrets, equalInConstantTime, hmacSha256, refused, singleHeader } from '../../crypto/signature.ts';
import type { DisputeFact, PaymentFact, ProviderCustomer, RefundFact } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import {
  currencyCode,
  lenientEmail,
  lenientUnixTime,
  minorAmount,
  NO_CUSTOMER,
  optionalId,
  providerId,
} from '../shared/fields.ts';
import { walletMetadata } from '../shared/metadata.ts';
import { ignore, interpretBody, type Reader, reader, tell, withAmount } from '../shared/outcome.ts';
import type { Provider } from '../shared/provider.ts';

/*
 * Razorpay signs the bare body in hex, without a time, so a captured request stays valid: what protects against it is
 * that the same body is the same delivery.
 *
 * | event                                              | fact                                                         |
 * |----------------------------------------------------|--------------------------------------------------------------|
 * | payment.captured                                   | payment succeeded, of `amount` (paise)                       |
 * | payment.failed                                     | payment failed (a late authorisation may still succeed)      |
 * | refund.created                                     | refund pending, whatever its `status`: processed follows     |
 * | refund.processed                                   | refund succeeded                                             |
 * | refund.failed                                      | refund failed                                                |
 * | payment.dispute.created, .under_review,            | dispute open                                                 |
 * | .action_required                                   |                                                              |
 * | payment.dispute.lost                               | dispute lost                                                 |
 * | payment.dispute.won                                | dispute won                                                  |
 * | payment.dispute.closed                             | lost if its `amount_deducted` is positive, else withdrawn    |
 * | payment.authorized                                 | ignored: not money yet                                       |
 * | order.paid                                         | ignored: the same money as payment.captured                  |
 * | refunds of a payment with `captured` false         | ignored: an automatic refund of money that never came        |
 * | refund.speed_changed and others                    | ignored                                                      |
 *
 * Fields lie in `payload.payment.entity`, `payload.refund.entity` and `payload.dispute.entity`. Refund events carry
 * their payment too, whose customer and notes say whose refund it is. `notes` is an empty array when there are none.
 */

/** What checkouts fill in where no e-mail is asked for; it must not become a customer shared by everybody. */
const PLACEHOLDER_EMAIL = 'void@razorpay.com';

const entity = <Fields extends z.ZodRawShape>(fields: Fields) => z.object({ entity: z.object(fields) });

const CUSTOMER_FIELDS = { customer_id: optionalId, email: lenientEmail, notes: walletMetadata };

const PAYMENT_FIELDS = { id: providerId, currency: currencyCode, ...CUSTOMER_FIELDS };

const event = <Payload extends z.ZodRawShape>(payload: Payload) =>
  z.object({ created_at: lenientUnixTime, payload: z.object(payload) });

const PAYMENT = event({ payment: entity(PAYMENT_FIELDS) });
const CAPTURED = event({ payment: entity({ ...PAYMENT_FIELDS, amount: minorAmount }) });

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
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer, metadata, occurredAt };
}

const readCaptured = reader(CAPTURED, (captured) => {
  const { amount, currency } = captured.payload.payment.entity;
  return withAmount('payload.payment.entity.amount', minorFromInteger('razorpay', currency, amount), (amountMinor) =>
    tell(paymentFact(captured, 'succeeded', amountMinor)),
  );
});

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
  }),
});

const readDispute = (byEvent: DisputeFact['state'] | 'closed') =>
  reader(DISPUTE, ({ created_at: occurredAt, payload }) => {
    const { id: disputeId, payment_id: paymentId, amount, currency, amount_deducted } = payload.dispute.entity;
    // A dispute is closed after any end; only one that was lost has cost something. Without a deduction it has ended for
    // nothing, which must not give back what an explicit loss took.
    const closedState = (amount_deducted ?? 0) > 0 ? 'lost' : 'withdrawn';
    const state = byEvent === 'closed' ? closedState : byEvent;
    return withAmount('payload.dispute.entity.amount', minorFromInteger('razorpay', currency, amount), (amountMinor) =>
      tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt }),
    );
  });

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['payment.captured', readCaptured],
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

export const razorpay: Provider = {
  name: 'razorpay',
  verify({ headers, rawBody }, secrets) {
    const signature = singleHeader(headers, 'x-razorpay-signature');
    if (signature === null) return refused('the x-razorpay-signature header is missing or repeated');
    return checkSecrets(secrets, (secret) => equalInConstantTime(signature, hmacSha256(secret, '', rawBody, 'hex')));
  },
  /** The body's own digest. The `x-razorpay-event-id` header is not signed: whoever replays a body can change it. */
  deliveryKey({ rawBody }) {
    return createHash('sha256').update(rawBody).digest('hex');
  },
  interpret: (rawBody) =>
    interpretBody(rawBody, 'event', (eventType, body) => {
      const read = READERS.get(eventType);
      return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
    }),
};
