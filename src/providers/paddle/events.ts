import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  checkSecrets,
  equalInConstantTime,
  hmacSha256,
  parseTimestamp,
  refused,
  type SignatureCheck,
  singleHeader,
  timestampProblem,
} from '../../crypto/signature.ts';
import {
  type DisputeFact,
  type PaymentFact,
  type ProviderCustomer,
  type RefundFact,
  STAGES,
} from '../../payments/fact.ts';
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
} from '../shared/event-reading.ts';
import { besides, currencyCode, lenientId, lenientIsoTime, optionalId, providerId } from '../shared/fields.ts';
import { parseJson } from '../shared/json.ts';
import { walletMetadata } from '../shared/metadata.ts';
import type { Delivery, NamedPayment, Provider } from '../shared/provider.ts';

/*
 * Paddle Billing tells a payment by its transaction, and whatever happens to it later by adjustments of it.
 *
 * | event                                | fact                                                                         |
 * |--------------------------------------|------------------------------------------------------------------------------|
 * | transaction.completed                | payment succeeded, of `details.totals.grand_total` (tax included, credit     |
 * |                                      | applied)                                                                     |
 * | transaction.payment_failed, .past_due | payment failed (it may still succeed: a payment is tried again)             |
 * | adjustment.created, .updated, by their `action` and `status`:                                                       |
 * |   refund                             | refund, of `totals.total`: pending_approval → pending, as most are created;  |
 * |                                      | approved → succeeded; rejected, reversed → failed                            |
 * |   chargeback                         | a movement out, once approved; reversed once its status says so              |
 * |   chargeback_reverse                 | a movement back in, once approved                                            |
 * |   chargeback_warning(_reverse)       | a dispute that is open, or ended without a decision: no money moves          |
 * |   credit, credit_reverse             | ignored: they change an invoice or a balance at Paddle, no money moves       |
 * | transaction.paid and others          | ignored: transaction.completed tells the same money                          |
 *
 * All fields lie in `data`: the payment's id is `id` of a transaction and `transaction_id` of an adjustment. Amounts are
 * texts of minor units. A transaction names its customer by id alone; an adjustment carries no `custom_data`. A reversal
 * names the transaction but not the chargeback it reverses; that chargeback may become `reversed` as well, which tells the
 * same, so of the two sums the larger one counts. Source: developer.paddle.com, adjustments, `action` and `status`.
 */

const HEADER = /^[a-z]\w*=\w+(;[a-z]\w*=\w+)*$/;

/**
 * Paddle's package allows five seconds, compares in variable time and reads only the last of several `h1`, so that a slow network
 * or a rotated secret would lose events. So the check is written here, with the time window of the other schemes.
 */
/** The parts of the header that stand under `name`. */
function valuesOf(header: string, name: 'ts' | 'h1'): readonly string[] {
  return header.split(';').flatMap((part) => (part.startsWith(`${name}=`) ? [part.slice(3)] : []));
}

function headersProblem(headers: Delivery['headers'], now: Date): string | null {
  const header = singleHeader(headers, 'paddle-signature');
  if (header === null) return 'the paddle-signature header is missing or repeated';
  if (!HEADER.test(header)) return 'the paddle-signature header is malformed';
  const timestamps = valuesOf(header, 'ts');
  const timestampSeconds = timestamps.length === 1 ? parseTimestamp(timestamps[0] ?? '') : null;
  if (timestampSeconds === null) return 'the timestamp of the paddle-signature header is malformed';
  return timestampProblem(timestampSeconds, now);
}

function verify({ rawBody, headers }: Delivery, secrets: readonly string[], now: Date): SignatureCheck {
  const problem = headersProblem(headers, now);
  if (problem !== null) return refused(problem);
  const header = singleHeader(headers, 'paddle-signature') ?? '';
  const [timestamp] = valuesOf(header, 'ts');
  const signatures = valuesOf(header, 'h1');
  return checkSecrets(secrets, (secret) => {
    const expected = hmacSha256(secret, [`${timestamp}:`, rawBody], 'hex');
    return signatures.filter((signature) => equalInConstantTime(signature, expected)).length > 0;
  });
}

const IDENTIFIED = z.object({ event_id: providerId });

/** The event's id, which is signed and the same for all destinations and retries; without one, the digest of the body. */
function deliveryKey({ rawBody }: Delivery): string {
  const json = parseJson(rawBody);
  const event = IDENTIFIED.safeParse(json.ok ? json.value : null);
  return event.success ? event.data.event_id : createHash('sha256').update(rawBody).digest('hex');
}

const event = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ occurred_at: lenientIsoTime, data: z.object(fields) });

const TRANSACTION_FIELDS = {
  id: providerId,
  currency_code: currencyCode,
  customer_id: optionalId,
  custom_data: walletMetadata,
  subscription_id: lenientId,
};

const TRANSACTION = event(TRANSACTION_FIELDS);
const COMPLETED = event({
  ...TRANSACTION_FIELDS,
  details: z.object({ totals: z.object({ grand_total: z.string() }) }),
});

function customerOf(id: string | null): ProviderCustomer {
  return { id, email: null, name: null };
}

function paymentFact(
  { occurred_at: occurredAt, data }: z.infer<typeof TRANSACTION>,
  state: PaymentFact['state'],
  amountMinor: number | null,
): PaymentFact {
  const { id: paymentId, currency_code: currency, custom_data: metadata } = data;
  const customer = customerOf(data.customer_id);
  const extra = besides({ seriesId: data.subscription_id });
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer, metadata, occurredAt, ...extra };
}

const readCompleted = reader(COMPLETED, (completed) => {
  const { currency_code, details } = completed.data;
  const amount = minorFromInteger('paddle', currency_code, details.totals.grand_total);
  return withAmount('data.details.totals.grand_total', amount, (amountMinor) =>
    tell(paymentFact(completed, 'succeeded', amountMinor)),
  );
});

const readFailed = reader(TRANSACTION, (transaction) => tell(paymentFact(transaction, 'failed', null)));

const STATUS = z.enum(['pending_approval', 'approved', 'rejected', 'reversed']);
type Status = z.infer<typeof STATUS>;

const ADJUSTMENT = event({
  id: providerId,
  transaction_id: providerId,
  customer_id: optionalId,
  action: z.string(),
  status: STATUS,
  currency_code: currencyCode,
  totals: z.object({ total: z.string() }),
});

const REFUND_STATES = {
  pending_approval: 'pending',
  approved: 'succeeded',
  rejected: 'failed',
  reversed: 'failed',
} as const satisfies Record<Status, RefundFact['state']>;

/** The state of a chargeback by its status. One that was never approved took no money. */
const CHARGEBACK_STATES = {
  pending_approval: 'open',
  approved: 'lost',
  rejected: 'withdrawn',
  reversed: 'won',
} as const satisfies Record<Status, DisputeFact['state']>;

const WARNING_STATES = {
  pending_approval: 'open',
  approved: 'open',
  rejected: 'withdrawn',
  reversed: 'withdrawn',
} as const satisfies Record<Status, DisputeFact['state']>;

type Adjustment = z.infer<typeof ADJUSTMENT>;

function adjustmentReading(adjustment: Adjustment): EventReading {
  const { action, currency_code: currency, totals } = adjustment.data;
  if (action === 'credit' || action === 'credit_reverse') return ignore('a credit at Paddle, which moves no money');
  const readingOf = ACTIONS.get(action);
  if (readingOf === undefined) return park('malformed', 'data.action: is not one that is known');
  return withAmount('data.totals.total', minorFromInteger('paddle', currency, totals.total), (amountMinor) =>
    readingOf(adjustment, amountMinor),
  );
}

function refundReading({ occurred_at: occurredAt, data }: Adjustment, amountMinor: number): EventReading {
  return tell({
    kind: 'refund',
    paymentId: data.transaction_id,
    refundId: data.id,
    state: REFUND_STATES[data.status],
    amountMinor,
    currency: data.currency_code,
    customer: customerOf(data.customer_id),
    metadata: {},
    occurredAt,
  });
}

const disputeReading =
  (states: Readonly<Record<Status, DisputeFact['state']>>, extra: Pick<DisputeFact, 'role' | 'stage'>) =>
  ({ occurred_at: occurredAt, data }: Adjustment, amountMinor: number): EventReading => {
    const { transaction_id: paymentId, id: disputeId, status, currency_code: currency } = data;
    const state = states[status];
    return tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt, ...extra });
  };

function reversalReading({ occurred_at: occurredAt, data }: Adjustment, amountMinor: number): EventReading {
  const { transaction_id: paymentId, id: movementId, status, currency_code: currency } = data;
  if (status === 'pending_approval') return ignore('a reversal that is not approved, so the chargeback stands');
  const state = status === 'approved' ? 'succeeded' : 'failed';
  return tell({
    kind: 'movement',
    movement: 'reinstatement',
    paymentId,
    movementId,
    state,
    amountMinor,
    currency,
    occurredAt,
  });
}

const ACTIONS: ReadonlyMap<string, (adjustment: Adjustment, amountMinor: number) => EventReading> = new Map([
  ['refund', refundReading],
  ['chargeback', disputeReading(CHARGEBACK_STATES, { role: 'movement' })],
  ['chargeback_reverse', reversalReading],
  ['chargeback_warning', disputeReading(WARNING_STATES, { stage: STAGES.inquiry })],
  ['chargeback_warning_reverse', () => ignore('a warning that is taken back, which moved no money')],
]);

const readAdjustment = reader(ADJUSTMENT, adjustmentReading);

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['transaction.completed', readCompleted],
  ['transaction.payment_failed', readFailed],
  ['transaction.past_due', readFailed],
  ['adjustment.created', readAdjustment],
  ['adjustment.updated', readAdjustment],
]);

/** Which payment a parked event names. */
const namedIn = (eventType: string, body: JsonObject): NamedPayment | null =>
  eventType.startsWith('transaction.')
    ? namedPayment(body, 'payment', 'data.id')
    : namedPayment(body, 'movement', 'data.transaction_id');

export const paddle: Provider = {
  name: 'paddle',
  headersProblem,
  verify,
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
