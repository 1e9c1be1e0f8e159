import { z } from 'zod';
import { type DisputeFact, STAGES } from '../../payments/fact.ts';
import { ignore, park, reader, tell } from '../shared/event-reading.ts';
import { currencyCode, minorAmount, providerId } from '../shared/fields.ts';
import { expandable, paymentOf, snapshot, WITHOUT_PAYMENT, withMoneyOf } from './objects.ts';

const DISPUTE = snapshot({
  id: providerId,
  amount: minorAmount,
  currency: currencyCode,
  payment_intent: expandable,
  charge: expandable,
  status: z.string(),
  payment_method_details: z
    .object({ card: z.object({ case_type: z.string().nullish() }).nullish() })
    .nullish()
    .catch(null),
  balance_transactions: z
    .array(z.object({ amount: z.number() }))
    .nullish()
    .catch(null),
});
type Dispute = z.infer<typeof DISPUTE>['data']['object'];

/**
 * The state of a dispute by its status, whatever event tells it. Money that Stripe gives back while the dispute is still lost
 * (the refunded part of a disputed charge) does not belong to the wallet. Undefined for an unknown status.
 */
function disputeState(dispute: Dispute): DisputeFact['state'] | undefined {
  const { status } = dispute;
  switch (status) {
    case 'lost':
    case 'won':
      return status;
    case 'prevented':
      return preventedState(dispute);
    case 'warning_closed':
      return 'withdrawn';
    default:
      return /^(?:needs_response|under_review|charge_refunded|warning_\w+|\w*appeal\w*)$/.test(status)
        ? 'open'
        : undefined;
  }
}

/**
 * The state of a prevented dispute. If it was prevented by resolution, the money was taken by the dispute's own balance
 * transactions, without a refund. These are in the currency of settlement, so only their sign is of use here.
 */
function preventedState({ payment_method_details, balance_transactions }: Dispute): DisputeFact['state'] {
  const caseType = payment_method_details?.card?.case_type;
  const transactions = balance_transactions ?? [];
  const net = transactions.reduce((sum, { amount }) => sum + amount, 0);
  if (net < 0) return 'lost';
  if (transactions.length > 0) return 'won';
  return caseType === 'resolution' ? 'lost' : 'withdrawn';
}

export const readDispute = reader(DISPUTE, ({ created, data: { object } }) => {
  const state = disputeState(object);
  if (state === undefined) return park('malformed', 'data.object.status: is not one of a dispute');
  if (state === 'open' && object.status.startsWith('warning_')) return ignore('an inquiry, which takes no money');
  const paymentId = paymentOf(object);
  if (paymentId === null) return WITHOUT_PAYMENT;
  const { id: disputeId, currency } = object;
  const stage = object.status.startsWith('warning_') ? STAGES.inquiry : STAGES.chargeback;
  return withMoneyOf(object, (amountMinor) =>
    tell({ kind: 'dispute', paymentId, disputeId, state, amountMinor, currency, occurredAt: created, stage }),
  );
});
