import type { DisputeFact } from '../../payments/fact.ts';

/**
 * What a decision in a later round of a dispute says. A dispute that was won stays won, so that old news cannot undo it;
 * yet some providers let the customer's bank try again under the same id, and then the merchant loses after all. So every
 * round is a dispute of its own, and a decision withdraws the rounds before it: whatever arrives first, the money is
 * taken once or not at all.
 * @param earlierIds the ids that the rounds before this one have
 */
export function decidedAfter(earlierIds: readonly string[], decision: DisputeFact): readonly DisputeFact[] {
  if (decision.state === 'open') return [decision];
  return [...earlierIds.map((disputeId): DisputeFact => ({ ...decision, disputeId, state: 'won' })), decision];
}
