import { z } from 'zod';
import { autocommit, type Queryable } from '../../db/transaction.ts';
import { refuse } from '../../errors.ts';
import { eventsOfPayment, type ProviderEvent } from '../../inbox/events.ts';
import { type PaymentLife, paymentLife } from '../../payments/life.ts';
import type { PartState, PaymentPart } from '../../payments/payment.ts';
import { entryResponse, entryShape } from '../../views/entry.ts';
import { idParams, itemsOf, minorUnits } from '../../views/fields.ts';
import { refuseDodoSdk } from '../kit/dodo.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { eventResponse, eventShape } from './events.ts';

const part = {
  amount: minorUnits.nullable().meta({ description: 'Minor units; null for all that is left of the payment.' }),
  currency: z.string().nullable(),
  credited: minorUnits.meta({
    description: 'What the wallet was credited on its account, net of what was taken back.',
  }),
  taken: minorUnits.meta({ description: 'What was taken from the wallet on its account, net of what was given back.' }),
};

const payment = z
  .strictObject({
    payment_id: z.string(),
    source_id: z.string(),
    business_id: z.string(),
    status: z.enum(['unknown', 'pending', 'failed', 'succeeded']).meta({
      description: 'unknown: only refunds or disputes of it have arrived so far.',
    }),
    purpose: z.enum(['topup', 'order', 'none']).nullable(),
    customer_id: z.string().nullable(),
    currency: z.string().nullable(),
    amount_paid: minorUnits.nullable(),
    credit_amount: minorUnits.nullable().meta({ description: 'What a top-up grants where it is not the amount paid.' }),
    credited: minorUnits.meta({ description: 'What the wallet holds of the payment itself, by the entries written.' }),
    refunds: z.array(
      z.strictObject({ refund_id: z.string(), status: z.enum(['pending', 'succeeded', 'failed']), ...part }),
    ),
    disputes: z.array(
      z.strictObject({ dispute_id: z.string(), status: z.enum(['open', 'withdrawn', 'lost', 'won']), ...part }),
    ),
    entries: z.array(entryShape).meta({ description: 'Every entry it caused, oldest first.' }),
    events: z.array(eventShape).meta({ description: 'Every event about it, in the order of arrival.' }),
  })
  .meta({ id: 'PaymentLife' });

export type PaymentResponse = z.output<typeof payment>;

function toResponse({ payment: one, entries }: PaymentLife, events: readonly ProviderEvent[]): PaymentResponse {
  return {
    payment_id: one.paymentId,
    source_id: one.sourceId,
    business_id: one.merchantId,
    status: one.state,
    purpose: one.purpose,
    customer_id: one.customerId,
    currency: one.currency,
    amount_paid: one.amountPaid,
    credit_amount: one.creditAmount,
    credited: one.postedCredit,
    refunds: one.parts.flatMap(({ kind, partId, state, ...rest }) => {
      const isOurs = kind === 'refund' && (state === 'pending' || state === 'succeeded' || state === 'failed');
      return isOurs ? [{ refund_id: partId, status: state, ...partResponse(rest) }] : [];
    }),
    disputes: one.parts.flatMap(({ kind, partId, state, ...rest }) => {
      const isOurs = kind === 'dispute' && isDisputeState(state);
      return isOurs ? [{ dispute_id: partId, status: state, ...partResponse(rest) }] : [];
    }),
    entries: entries.map(entryResponse),
    events: events.map(eventResponse),
  };
}

const DISPUTE_STATES = ['open', 'withdrawn', 'lost', 'won'] as const;

function isDisputeState(state: PartState): state is (typeof DISPUTE_STATES)[number] {
  return DISPUTE_STATES.some((known) => known === state);
}

function partResponse(one: Pick<PaymentPart, 'amountMinor' | 'currency' | 'postedCredit' | 'postedTake'>) {
  return { amount: one.amountMinor, currency: one.currency, credited: one.postedCredit, taken: one.postedTake };
}

/**
 * The life of a payment at each of the merchant's sources that knows the id.
 * @throws {RefusalError} NOT_FOUND if none does
 */
export async function describePayment(
  db: Queryable,
  merchantId: string,
  paymentId: string,
): Promise<PaymentResponse[]> {
  const lives = await paymentLife(db, merchantId, paymentId);
  if (lives.length === 0) refuse('NOT_FOUND', 'No event about a payment of this id has arrived.');
  const events = await Promise.all(lives.map(({ payment: one }) => eventsOfPayment(db, one)));
  return lives.map((life, index) => toResponse(life, events[index] ?? []));
}

const retrieve = merchantRoute({
  method: 'get',
  path: '/payments/{payment_id}',
  scope: 'read',
  tag: 'Payments',
  summary: "The life of a provider's payment and every ledger entry it caused",
  params: idParams('payment_id'),
  response: { description: 'One item for each source that knows a payment of this id.', schema: itemsOf(payment) },
  errors: ['NOT_SERVED_HERE'],
  async handle({ services: { pool }, merchantId, params, headers }) {
    refuseDodoSdk(headers, 'the life of a payment at Chokin');
    return { items: await describePayment(autocommit(pool), merchantId, params.payment_id) };
  },
});

export const paymentRoutes: readonly Route[] = [retrieve];
