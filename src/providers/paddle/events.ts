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
import type { DisputeFact, PaymentFact, ProviderCustomer, RefundFact } from '../../payments/fact.ts';
import { minorFromInteger } from '../shared/currency.ts';
import { currencyCode, lenientIsoTime, optionalId, providerId } from '../shared/fields.ts';
import { parseJson } from '../shared/json.ts';
import { walletMetadata } from '../shared/metadata.ts';
import { ignore, interpretBody, type Outcome, park, type Reader, reader, tell } from '../shared/outcome.ts';
import type { Delivery, Provider } from '../shared/provider.ts';

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
 * |   chargeback                         | dispute lost; open while pending_approval; won once rejected or reversed     |
 * |   chargeback_reverse                 | dispute won, once approved                                                   |
 * |   chargeback_warning                 | dispute open, since no money is taken yet; won once rejected or reversed     |
 * |   chargeback_warning_reverse         | dispute won, once approved                                                   |
 * |   credit, credit_reverse             | ignored: they change an invoice or a balance at Paddle, no money moves       |
 * | transaction.paid and others          | ignored: transaction.completed tells the same money                          |
 *
 * All fields lie in `data`: the payment's id is `id` of a transaction and `transaction_id` of an adjustment. Amounts are
 * texts of minor units. A transaction names its customer by id alone; an adjustment carries no `custom_data`. A reversal
 * names the transaction but not the chargeback it reverses, and the chargeback itself sends no update; so the
 * chargebacks of a transaction are one dispute, and its warnings are another.
 */

const HEADER = /^[a-z]\w*=\w+(;[a-z]\w*=\w+)*$/;

/**
 * The package allows five seconds, compares in variable time and looks at the last of several `h1` only; a slow network
 * or a rotated secret would lose events. So the few lines are here, with the window of the other schemes.
 */
function verify({ rawBody, headers }: Delivery, secrets: readonly string[], now: Date): SignatureCheck {
  const header = singleHeader(headers, 'paddle-signature');
  if (header === null) return refused('the paddle-signature header is missing or repeated');
  if (!HEADER.test(header)) return refused('the paddle-signature header is malformed');
  const valuesOf = (name: string) =>
    header.split(';').flatMap((part) => (part.startsWith(name) ? [part.slice(3)] : []));
  const timestamps = valuesOf('ts=');
  const timestampSeconds = timestamps.length === 1 ? parseTimestamp(timestamps[0] ?? '') : null;
  if (timestampSeconds === null) return refused('the timestamp of the paddle-signature header is malformed');
  const problem = timestampProblem(timestampSeconds, now);
  if (problem !== null) return refused(problem);
  const signatures = valuesOf('h1=');
  return checkSecrets(secrets, (secret) => {
    const expected = hmacSha256(secret, `${timestamps[0]}:`, rawBody, 'hex');
    return signatures.filter((signature) => equalInConstantTime(signature, expected)).length > 0;
  });
}

/** The event's id, the same for all destinations and retries and covered by the signature; else the body's digest. */
function deliveryKey({ rawBody }: Delivery): string {
  const json = parseJson(rawBody);
  const event = z.object({ event_id: providerId }).safeParse(json.ok ? json.value : null);
  return event.success ? event.data.event_id : createHash('sha256').update(rawBody).digest('hex');
}

const event = <Fields extends z.ZodRawShape>(fields: Fields) =>
  z.object({ occurred_at: lenientIsoTime, data: z.object(fields) });

const TRANSACTION_FIELDS = {
  id: providerId,
  currency_code: currencyCode,
  customer_id: optionalId,
  custom_data: walletMetadata,
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
  return { kind: 'payment', paymentId, state, amountMinor, currency, customer, metadata, occurredAt };
}

const readCompleted = reader(COMPLETED, (completed) => {
  const { currency_code, details } = completed.data;
  const amountMinor = minorFromInteger('paddle', currency_code, details.totals.grand_total);
  if (typeof amountMinor !== 'number') {
    return park(amountMinor.reason, `data.details.totals.grand_total: ${amountMinor.detail}`);
  }
  return tell(paymentFact(completed, 'succeeded', amountMinor));
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

/** What an adjustment of this action says about a dispute, by its status; null where that is nothing yet. */
interface DisputeAction {
  /** Which of the transaction's two disputes; see above. */
  readonly disputeId: 'chargeback' | 'chargeback_warning';
  readonly states: Readonly<Record<Status, DisputeFact['state'] | null>>;
}

const REVERSAL_STATES = { pending_approval: null, approved: 'won', rejected: null, reversed: null } as const;

const DISPUTE_ACTIONS: ReadonlyMap<string, DisputeAction> = new Map<string, DisputeAction>([
  [
    'chargeback',
    {
      disputeId: 'chargeback',
      states: { pending_approval: 'open', approved: 'lost', rejected: 'won', reversed: 'won' },
    },
  ],
  ['chargeback_reverse', { disputeId: 'chargeback', states: REVERSAL_STATES }],
  [
    'chargeback_warning',
    {
      disputeId: 'chargeback_warning',
      states: { pending_approval: 'open', approved: 'open', rejected: 'won', reversed: 'won' },
    },
  ],
  ['chargeback_warning_reverse', { disputeId: 'chargeback_warning', states: REVERSAL_STATES }],
]);

function adjustmentOutcome({ occurred_at: occurredAt, data }: z.infer<typeof ADJUSTMENT>): Outcome {
  const { transaction_id: paymentId, action, status, currency_code: currency } = data;
  if (action === 'credit' || action === 'credit_reverse') return ignore('a credit at Paddle, which moves no money');
  const dispute = DISPUTE_ACTIONS.get(action);
  if (action !== 'refund' && dispute === undefined) return park('malformed', 'data.action: is not one that is known');
  const amountMinor = minorFromInteger('paddle', currency, data.totals.total);
  if (typeof amountMinor !== 'number') return park(amountMinor.reason, `data.totals.total: ${amountMinor.detail}`);
  if (dispute === undefined) {
    return tell({
      kind: 'refund',
      paymentId,
      refundId: data.id,
      state: REFUND_STATES[status],
      amountMinor,
      currency,
      customer: customerOf(data.customer_id),
      metadata: {},
      occurredAt,
    });
  }
  const { disputeId } = dispute;
  const state = dispute.states[status];
  if (state === null) return ignore('a reversal that is not approved, so the chargeback stands');
  return tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt });
}

const readAdjustment = reader(ADJUSTMENT, adjustmentOutcome);

const READERS: ReadonlyMap<string, Reader> = new Map([
  ['transaction.completed', readCompleted],
  ['transaction.payment_failed', readFailed],
  ['transaction.past_due', readFailed],
  ['adjustment.created', readAdjustment],
  ['adjustment.updated', readAdjustment],
]);

export const paddle: Provider = {
  name: 'paddle',
  verify,
  deliveryKey,
  interpret: (rawBody) =>
    interpretBody(rawBody, 'event_type', (eventType, body) => {
      const read = READERS.get(eventType);
      return read === undefined ? ignore('not an event that Chokin reads money from') : read(body);
    }),
};
