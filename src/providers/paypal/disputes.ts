import { z } from 'zod';
import { type DisputeFact, STAGES, type Stage } from '../../payments/fact.ts';
import { park, reader, tell, withoutAmounts } from '../shared/event-reading.ts';
import { lenientIsoTime } from '../shared/fields.ts';
import { AMOUNT, event, plainId, withDecimal } from './objects.ts';

const DISPUTE_FIELDS = {
  dispute_id: plainId,
  disputed_transactions: z.array(z.object({ seller_transaction_id: plainId })).min(1),
  dispute_amount: AMOUNT,
  dispute_life_cycle_stage: z.string().nullish(),
  /** When the dispute was opened. */
  create_time: lenientIsoTime,
  update_time: lenientIsoTime,
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

const SEVERAL = 'resource.disputed_transactions: are several, and how much of each is not said';

const STAGE_OF: ReadonlyMap<string, Stage> = new Map([
  ['INQUIRY', STAGES.inquiry],
  ['CHARGEBACK', STAGES.chargeback],
  ['PRE_ARBITRATION', STAGES.preArbitration],
  ['ARBITRATION', STAGES.arbitration],
]);

type DisputeEvent = z.infer<typeof DISPUTE>;

/** A dispute has the role `informs`, since reversals and refunds with events of their own move its money. */
function disputeFact(
  { create_time, resource }: DisputeEvent,
  paymentId: string,
  news: Pick<DisputeFact, 'state' | 'amountMinor' | 'currency'>,
): DisputeFact {
  const { dispute_id: disputeId, create_time: opened, update_time, dispute_life_cycle_stage } = resource;
  const stage = STAGE_OF.get(dispute_life_cycle_stage ?? '') ?? STAGES.none;
  const occurredAt = update_time ?? create_time;
  // A time of opening that is later than this event is wrong and is left out.
  const openedAt = opened !== null && occurredAt !== null && opened > occurredAt ? null : opened;
  return { kind: 'dispute', paymentId, disputeId, ...news, occurredAt, stage, role: 'informs', openedAt };
}

/** A dispute that is open. Its amount is left out, since the result may be less. */
export const readOpenDispute = reader(DISPUTE, (dispute) => {
  const { disputed_transactions, dispute_amount } = dispute.resource;
  const news = { state: 'open', amountMinor: null, currency: dispute_amount.currency_code } as const;
  return tell(...disputed_transactions.map((one) => disputeFact(dispute, one.seller_transaction_id, news)));
});

export const readResolved = reader(RESOLVED, (resolved) => {
  const { disputed_transactions, dispute_outcome, dispute_amount, dispute_life_cycle_stage } = resolved.resource;
  const { outcome_code: code, amount_refunded } = dispute_outcome;
  const [transaction, ...others] = disputed_transactions;
  const withState = (state: DisputeFact['state']) =>
    withoutAmounts(
      tell(
        ...disputed_transactions.map((one) =>
          disputeFact(resolved, one.seller_transaction_id, {
            state,
            amountMinor: null,
            currency: dispute_amount.currency_code,
          }),
        ),
      ),
    );
  if (code === 'NONE') {
    return park(
      'manual_correction',
      'the dispute is resolved without saying whose the money is',
      withState('withdrawn'),
    );
  }
  const isForBuyer = code === 'RESOLVED_BUYER_FAVOUR' || code === 'ACCEPTED';
  // An inquiry takes no money by itself; if a refund was agreed, the event names its amount.
  const isInquiry = dispute_life_cycle_stage === 'INQUIRY' && !amount_refunded;
  const amount = isForBuyer ? (amount_refunded ?? dispute_amount) : dispute_amount;
  const state = !isForBuyer ? 'won' : isInquiry ? 'withdrawn' : 'lost';
  if (transaction === undefined || others.length > 0) return park('unknown_amount', SEVERAL, withState(state));
  return withDecimal('resource.dispute_outcome', amount, (amountMinor) =>
    tell(
      disputeFact(resolved, transaction.seller_transaction_id, {
        state,
        // A dispute that was won gives back what reversals took for it, and that is no more than it claims.
        amountMinor,
        currency: amount.currency_code,
      }),
    ),
  );
});
