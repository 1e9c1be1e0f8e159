import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import Stripe from 'stripe';
import { z } from 'zod';
import {
  checkSecrets,
  parseTimestamp,
  refused,
  type SignatureCheck,
  singleHeader,
  TOLERANCE_SECONDS,
  timestampProblem,
} from '../../crypto/signature.ts';
import { invariant } from '../../errors.ts';
import type { DisputeFact, PaymentFact, ProviderCustomer, RefundFact } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import {
  anything,
  currencyCode,
  lenientEmail,
  lenientName,
  lenientUnixTime,
  minorAmount,
  NO_CUSTOMER,
  optionalId,
  providerId,
} from '../shared/fields.ts';
import { parseJson } from '../shared/json.ts';
import { walletMetadata } from '../shared/metadata.ts';
import {
  ignore,
  interpretBody,
  type JsonObject,
  type Outcome,
  park,
  type Reader,
  reader,
  tell,
  withAmount,
} from '../shared/outcome.ts';
import type { Delivery, Provider } from '../shared/provider.ts';

/*
 * Stripe tells one payment in up to eight events; each fact is read from one family of them, the rest is ignored.
 *
 * | event                                             | fact                                                           |
 * |---------------------------------------------------|----------------------------------------------------------------|
 * | payment_intent.succeeded                          | payment succeeded, of `amount_received`                        |
 * | payment_intent.payment_failed                     | payment failed (it may still succeed: the intent can be retried) |
 * | payment_intent.processing, .requires_action       | payment pending                                                |
 * | refund.created, .updated, .failed                 | refund, by `status`: pending, requires_action → pending;       |
 * |                                                   | succeeded; failed, canceled → failed                           |
 * | charge.dispute.created, .updated, .funds_withdrawn | dispute open; lost or won once `status` says so; an inquiry   |
 * |                                                   | (`warning_…`) takes no money and is ignored                    |
 * | charge.dispute.funds_reinstated                   | dispute won                                                    |
 * | charge.dispute.closed                             | dispute lost, or won (won, prevented, warning_closed)          |
 * | charge.*, checkout.session.*, invoice*            | ignored: they tell the same money again, charges cumulatively  |
 * | refunds with reason expired_uncaptured_charge     | ignored: that money never came                                 |
 * | events of a Connect account                       | parked: their ids belong to another account                    |
 * | thin events (object v2.core.event)                | parked if about money, else ignored: they carry no data        |
 *
 * All fields lie in `data.object`: the payment's id is `id` of a PaymentIntent and `payment_intent` of a refund or
 * dispute. A refund does not carry its payment's metadata. Only fields that no API version has renamed are read. Amounts
 * count Stripe's own minor units (see currency.ts).
 */

const THIN_OBJECT = 'v2.core.event';
const THIN_MONEY = /^(v1\.)?(payment_intent\.succeeded|refund\..+|charge\.dispute\..+)$/;
const SIGNATURE_HEADER = /^[a-z]\w*=[^,\s]+(,[a-z]\w*=[^,\s]+)*$/;

function officialSignature() {
  const { signature } = Stripe.webhooks;
  invariant(signature !== null, 'the stripe package has no signature helper');
  return signature;
}

const SIGNATURE = officialSignature();

/**
 * `verifyHeader` is what `constructEvent` verifies with, before it parses the body and throws at thin events, although
 * Stripe signed them. It lets future timestamps and junk after their digits pass, and bytes that are no text: ours do not.
 */
function verify({ rawBody, headers }: Delivery, secrets: readonly string[], now: Date): SignatureCheck {
  const header = singleHeader(headers, 'stripe-signature');
  if (header === null) return refused('the stripe-signature header is missing or repeated');
  if (!SIGNATURE_HEADER.test(header)) return refused('the stripe-signature header is malformed');
  const timestamps = header.split(',').filter((item) => item.startsWith('t='));
  const timestampSeconds = timestamps.length === 1 ? parseTimestamp((timestamps[0] ?? '').slice(2)) : null;
  if (timestampSeconds === null) return refused('the timestamp of the stripe-signature header is malformed');
  const problem = timestampProblem(timestampSeconds, now);
  if (problem !== null) return refused(problem);
  if (!isExactText(rawBody)) return refused('the body is not the UTF-8 text that Stripe signs');
  return checkSecrets(secrets, (secret) => {
    try {
      return SIGNATURE.verifyHeader(rawBody, header, secret, TOLERANCE_SECONDS, undefined, now.getTime());
    } catch {
      return false;
    }
  });
}

/** Whether decoding loses nothing, so that no two bodies share a signature: valid UTF-8 without a byte-order mark. */
function isExactText(body: Buffer): boolean {
  return isUtf8(body) && !(body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf);
}

/** The event's id, which the signature covers; a body without one is its own key. */
function deliveryKey({ rawBody }: Delivery): string {
  const json = parseJson(rawBody);
  const event = z.object({ id: providerId }).safeParse(json.ok ? json.value : null);
  return event.success ? event.data.id : createHash('sha256').update(rawBody).digest('hex');
}

/** A customer or PaymentIntent by its id, or expanded. */
const expandable = z
  .union([
    providerId.transform((id) => ({ id, email: null, name: null })),
    z.object({ id: providerId, email: lenientEmail, name: lenientName }),
  ])
  .nullish()
  .transform((value): ProviderCustomer => value ?? NO_CUSTOMER);

const INTENT_FIELDS = {
  id: providerId,
  currency: currencyCode,
  customer: expandable,
  customer_account: optionalId,
  receipt_email: lenientEmail,
  metadata: walletMetadata,
};

const snapshot = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ created: lenientUnixTime, livemode: z.boolean(), data: z.object({ object: z.object(fields) }) });

const INTENT = snapshot(INTENT_FIELDS);
const PAID_INTENT = snapshot({ ...INTENT_FIELDS, amount_received: minorAmount });

function paymentFact(
  event: z.infer<typeof INTENT>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { id: paymentId, currency, customer, customer_account, receipt_email, metadata } = event.data.object;
  return {
    kind: 'payment',
    paymentId,
    state,
    amountMinor,
    currency,
    // Accounts of Stripe's v2 API stand where the customer is null.
    customer: { id: customer.id ?? customer_account, email: receipt_email ?? customer.email, name: customer.name },
    metadata,
    occurredAt: event.created,
  };
}

const readPaid = reader(PAID_INTENT, (event) => {
  const { currency, amount_received } = event.data.object;
  const amount = minorFromInteger('stripe', currency, amount_received);
  return withAmount('data.object.amount_received', amount, (amountMinor) =>
    tell(paymentFact(event, 'succeeded', amountMinor)),
  );
});

/** Refunds and disputes alike have their money in `amount`. */
function withMoneyOf(
  { amount, currency }: { readonly amount: number; readonly currency: string },
  outcomeOf: (amountMinor: number) => Outcome,
): Outcome {
  return withAmount('data.object.amount', minorFromInteger('stripe', currency, amount), outcomeOf);
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
  status: z.enum(['pending', 'requires_action', 'succeeded', 'failed', 'canceled']),
  reason: anything,
  metadata: walletMetadata,
});

const WITHOUT_INTENT = 'data.object.payment_intent: is null, so the payment cannot be told; only its charge is named';

const readRefund = reader(REFUND, ({ created, data: { object } }) => {
  if (object.reason === 'expired_uncaptured_charge') return ignore('the refund of a payment that was never captured');
  const { id: paymentId } = object.payment_intent;
  if (paymentId === null) return park('malformed', WITHOUT_INTENT);
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
    }),
  );
});

const DISPUTE = snapshot({
  id: providerId,
  amount: minorAmount,
  currency: currencyCode,
  payment_intent: expandable,
  status: z.string(),
});

/** `stateOf` gives null for an inquiry that takes no money, undefined for a status that is not known. */
const readDispute = (stateOf: (status: string) => DisputeFact['state'] | null | undefined): Reader =>
  reader(DISPUTE, ({ created, data: { object } }) => {
    const state = stateOf(object.status);
    if (state === null) return ignore('an inquiry, which takes no money');
    if (state === undefined) return park('malformed', 'data.object.status: is not how a dispute is closed');
    const { id: paymentId } = object.payment_intent;
    if (paymentId === null) return park('malformed', WITHOUT_INTENT);
    const { id: disputeId, currency } = object;
    return withMoneyOf(object, (amountMinor) =>
      tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt: created }),
    );
  });

function closedState(status: string): 'lost' | 'won' | undefined {
  if (status === 'lost') return 'lost';
  return status === 'won' || status === 'prevented' || status === 'warning_closed' ? 'won' : undefined;
}

const readOpenDispute = readDispute((status) =>
  status.startsWith('warning_') ? null : (closedState(status) ?? 'open'),
);

const readPending = reader(INTENT, (event) => tell(paymentFact(event, 'pending', null)));

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['payment_intent.succeeded', readPaid],
  ['payment_intent.payment_failed', reader(INTENT, (event) => tell(paymentFact(event, 'failed', null)))],
  ['payment_intent.processing', readPending],
  ['payment_intent.requires_action', readPending],
  ['refund.created', readRefund],
  ['refund.updated', readRefund],
  ['refund.failed', readRefund],
  ['charge.dispute.created', readOpenDispute],
  ['charge.dispute.updated', readOpenDispute],
  ['charge.dispute.funds_withdrawn', readDispute((status) => closedState(status) ?? 'open')],
  ['charge.dispute.funds_reinstated', readDispute(() => 'won')],
  ['charge.dispute.closed', readDispute(closedState)],
]);

function outcomeOf(eventType: string, body: JsonObject): Outcome {
  if (body.object === THIN_OBJECT) {
    return THIN_MONEY.test(eventType)
      ? park('unsupported_payload', 'a thin event; configure the endpoint for snapshot payloads, then resend it')
      : ignore('a thin event, which carries no data');
  }
  const read = READERS.get(eventType);
  if (read === undefined) return ignore('not an event that Chokin reads money from');
  if (body.account !== undefined && body.account !== null) {
    return park('unsupported_payload', 'an event of a Connect account; such events need a source of their own');
  }
  return read(body);
}

export const stripe: Provider = {
  name: 'stripe',
  verify,
  deliveryKey,
  interpret: (rawBody) =>
    interpretBody(rawBody, 'type', (eventType, body) => {
      const outcome = outcomeOf(eventType, body);
      return typeof body.livemode === 'boolean' ? { ...outcome, livemode: body.livemode } : outcome;
    }),
};
