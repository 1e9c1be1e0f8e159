import { z } from 'zod';
import type { Queryable } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { eventsOfPayment, MOST_EVENTS_SHOWN, type ProviderEvent } from '../inbox/events.ts';
import { holdId } from '../ledger/holds/hold.ts';
import { objectIdOf } from '../payments/fact.ts';
import { type PaymentLife, paymentLife } from '../payments/life.ts';
import type { Handled, PaymentPart } from '../payments/payment.ts';
import type { PartState } from '../payments/report.ts';
import { entryResponse, entryShape } from './entry.ts';
import { EXAMPLE_EVENT, eventResponse, eventShape } from './event.ts';
import { EXAMPLE, EXAMPLE_ENTRY } from './examples.ts';
import { minorUnits, timestamp } from './fields.ts';

const part = {
  amount: minorUnits.nullable().meta({ description: 'Minor units; null for all that is left of the payment.' }),
  currency: z.string().nullable(),
  credited: minorUnits.meta({
    description: 'What the wallet was credited on its account, net of what was taken back.',
  }),
  taken: minorUnits.meta({ description: 'What was taken from the wallet on its account, net of what was given back.' }),
  bonus_taken: minorUnits.meta({ description: "What was taken of the payment's bonus on its account, likewise." }),
};

const EXAMPLE_REFUND_ID = 're_3Q4xTcA1b2C3d4E5';
/** A top-up of which a part was refunded. */
const EXAMPLE_PAYMENT = {
  payment_id: EXAMPLE.paymentId,
  source_id: EXAMPLE.sourceId,
  business_id: EXAMPLE.merchantId,
  status: 'succeeded',
  purpose: 'topup',
  customer_id: EXAMPLE.customerId,
  currency: EXAMPLE.currency,
  amount_paid: 2000,
  credit_amount: null,
  credited: 2000,
  bonus: 0,
  bonus_rule_id: null,
  refunds: [
    {
      refund_id: EXAMPLE_REFUND_ID,
      status: 'succeeded',
      amount: 500,
      currency: 'USD',
      credited: 0,
      taken: 500,
      bonus_taken: 0,
    },
  ],
  disputes: [],
  captures: [],
  reinstatements: [],
  moves: [],
  entries: [
    exampleEntry(1, EXAMPLE.paymentId, {
      amount: 2000,
      is_credit: true,
      event_type: 'payment',
      before_balance: 0,
      after_balance: 2000,
    }),
    exampleEntry(2, EXAMPLE_REFUND_ID, {
      amount: 500,
      is_credit: false,
      event_type: 'payment_reversal',
      before_balance: 2000,
      after_balance: 1500,
    }),
  ],
  handled_by_hand: [],
  events: [EXAMPLE_EVENT],
} as const;

function exampleEntry(seq: number, referenceObjectId: string, money: object) {
  const id = EXAMPLE.entryId.replace(/\d+$/, String(seq));
  const reason = `stripe payment ${EXAMPLE.paymentId}`;
  const own = { reason, reference_object_id: referenceObjectId, metadata: null, idempotency_key: null };
  return { ...EXAMPLE_ENTRY, entry_id: id, id, seq, ...money, ...own };
}

const movement = {
  status: z.enum(['succeeded', 'failed']),
  amount: minorUnits,
  currency: z.string().nullable(),
};

export const paymentShape = z
  .strictObject({
    payment_id: z.string(),
    source_id: z.string(),
    business_id: z.string(),
    status: z.enum(['unknown', 'pending', 'failed', 'succeeded']).meta({
      description: 'unknown: only refunds or disputes of it have arrived so far.',
    }),
    purpose: z.enum(['topup', 'order', 'none', 'checkout']).nullable(),
    customer_id: z.string().nullable(),
    currency: z.string().nullable(),
    amount_paid: minorUnits.nullable(),
    credit_amount: minorUnits.nullable().meta({ description: 'What a top-up grants where it is not the amount paid.' }),
    credited: minorUnits.meta({ description: 'What the wallet holds of the payment itself, by the entries written.' }),
    bonus: minorUnits.meta({ description: 'What it was given on top of what was paid, likewise.' }),
    bonus_rule_id: z.string().nullable().meta({ description: 'The rule that gave the bonus, if one did.' }),
    refunds: z.array(
      z.strictObject({ refund_id: z.string(), status: z.enum(['pending', 'succeeded', 'failed']), ...part }),
    ),
    disputes: z.array(
      z.strictObject({
        dispute_id: z.string(),
        status: z.enum(['open', 'withdrawn', 'lost', 'won']),
        ...part,
        hold_id: z
          .string()
          .nullable()
          .meta({ description: 'The hold in the wallet while it is open, if there is one.' }),
        hold_wanted: minorUnits.meta({
          description: 'What losing it would take besides, which is held as far as it was there when it was opened.',
        }),
      }),
    ),
    captures: z.array(z.strictObject({ capture_id: z.string(), ...movement })).meta({
      description: 'What was captured of an authorisation, where the provider tells it; `amount_paid` is their sum.',
    }),
    reinstatements: z
      .array(z.strictObject({ reinstatement_id: z.string(), ...movement }))
      .meta({ description: 'Money of a chargeback that came back under an id of its own.' }),
    moves: z
      .array(
        z.strictObject({
          from_customer_id: z.string(),
          to_customer_id: z.string(),
          amount: minorUnits.meta({
            description:
              'What went along: what the payment had left in the wallet. Negative where it had taken more than it gave.',
          }),
          bonus: minorUnits.meta({ description: 'What went along of its bonus.' }),
          currency: z.string().nullable(),
          actor: z.enum(['api', 'cli']).meta({ description: 'Where it was asked for.' }),
          reason: z.string(),
          created_at: timestamp,
        }),
      )
      .meta({ description: 'When it was given to another customer by hand, oldest first.' }),
    handled_by_hand: z
      .array(
        z.strictObject({
          event_id: z.string(),
          kind: z.enum(['payment', 'refund', 'dispute', 'capture', 'adjustment', 'end', 'reinstatement']),
          object_id: z.string().meta({ description: "The provider's id of it." }),
          status: z.string(),
          amount_told: minorUnits.nullable().meta({ description: 'What the provider told, in minor units.' }),
          currency: z.string().nullable(),
          amount: minorUnits.nullable().meta({
            description: 'What was credited or debited by hand, in minor units; 0: nothing was owed; null: not told.',
          }),
          entry_id: z.string().nullable(),
          note: z.string().nullable(),
          handled_at: timestamp,
        }),
      )
      .meta({ description: 'What dismissed events told: it was handled by hand and never posts.' }),
    entries: z.array(entryShape).meta({ description: 'Every entry it caused, oldest first.' }),
    events: z
      .array(eventShape)
      .meta({ description: `Every event about it, in the order of arrival; the newest ${MOST_EVENTS_SHOWN} of more.` }),
  })
  .meta({ id: 'PaymentLife', examples: [EXAMPLE_PAYMENT] });

export type PaymentResponse = z.output<typeof paymentShape>;

function toResponse({ payment: one, entries, moves }: PaymentLife, events: readonly ProviderEvent[]): PaymentResponse {
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
    bonus: one.postedBonus,
    bonus_rule_id: one.bonusRuleId,
    refunds: one.parts.flatMap(({ kind, partId, state, ...rest }) => {
      const isRefund = kind === 'refund' && (state === 'pending' || state === 'succeeded' || state === 'failed');
      return isRefund ? [{ refund_id: partId, status: state, ...partResponse(rest) }] : [];
    }),
    disputes: one.parts.flatMap(({ kind, partId, state, ...rest }) => {
      const isDispute = kind === 'dispute' && isDisputeState(state);
      if (!isDispute) return [];
      return [{ dispute_id: partId, status: state, ...partResponse(rest), ...holdResponseOf(one, rest) }];
    }),
    captures: movementsOf(one, 'capture').map(({ id, ...rest }) => ({ capture_id: id, ...rest })),
    reinstatements: movementsOf(one, 'reinstatement').map(({ id, ...rest }) => ({ reinstatement_id: id, ...rest })),
    moves: moves.map((each) => ({
      from_customer_id: each.fromCustomerId,
      to_customer_id: each.toCustomerId,
      amount: each.net,
      bonus: each.bonus,
      currency: each.currency,
      actor: each.actor,
      reason: each.reason,
      created_at: each.createdAt.toISOString(),
    })),
    handled_by_hand: one.handled.map(handledResponse),
    entries: entries.map(entryResponse),
    events: events.map(eventResponse),
  };
}

function handledResponse({ eventId, fact, amountMinor, entryId, note, handledAt }: Handled) {
  return {
    event_id: eventId,
    kind: fact.kind === 'movement' ? fact.movement : fact.kind,
    object_id: objectIdOf(fact),
    status: fact.state,
    amount_told: fact.amountMinor,
    currency: fact.currency,
    amount: amountMinor,
    entry_id: entryId,
    note,
    handled_at: handledAt.toISOString(),
  };
}

function movementsOf({ movements }: PaymentLife['payment'], wanted: 'capture' | 'reinstatement') {
  return movements.flatMap(({ kind, movementId: id, state, amountMinor: amount, currency }) => {
    const isShown = kind === wanted && (state === 'succeeded' || state === 'failed');
    return isShown ? [{ id, status: state, amount, currency }] : [];
  });
}

function holdResponseOf(
  { customerId, currency, merchantId }: PaymentLife['payment'],
  { holdNo, holdWanted }: Pick<PaymentPart, 'holdNo' | 'holdWanted'>,
) {
  const isHeld = holdNo !== null && customerId !== null && currency !== null;
  return { hold_id: isHeld ? holdId({ merchantId, customerId, currency, holdNo }) : null, hold_wanted: holdWanted };
}

const DISPUTE_STATES = ['open', 'withdrawn', 'lost', 'won'] as const;

function isDisputeState(state: PartState): state is (typeof DISPUTE_STATES)[number] {
  return DISPUTE_STATES.some((known) => known === state);
}

function partResponse(
  one: Pick<PaymentPart, 'amountMinor' | 'currency' | 'postedCredit' | 'postedTake' | 'postedBonusTake'>,
) {
  const { amountMinor: amount, currency, postedCredit: credited, postedTake: taken, postedBonusTake } = one;
  return { amount, currency, credited, taken, bonus_taken: postedBonusTake };
}

/**
 * The payment with its history, once for each of the merchant's sources that knows the id.
 * @throws {RefusalError} NO_SUCH_PAYMENT if none does
 */
export async function describePayment(
  db: Queryable,
  merchantId: string,
  paymentId: string,
): Promise<PaymentResponse[]> {
  const lives = await paymentLife(db, merchantId, paymentId);
  if (lives.length === 0) refuse({ code: 'NO_SUCH_PAYMENT' });
  const items: PaymentResponse[] = [];
  for (const life of lives) items.push(toResponse(life, await eventsOfPayment(db, life.payment)));
  return items;
}
