import type { DisputeFact, Fact, MovementFact, PaymentFact, RefundFact } from '../../src/payments/fact.ts';
import type { PaymentIntent } from '../../src/payments/payment.ts';
import type { CaptureRule, RefundPolicy } from '../../src/payments/purpose.ts';

interface Rules {
  readonly intent: PaymentIntent;
  readonly policy: RefundPolicy;
  readonly capture: CaptureRule;
}

/**
 * What a wallet has in the end from all facts of a payment. It is written from the rules in docs/payments.md alone, over the set
 * of facts without any order, as simply as possible. All facts are of the payment's currency.
 */
export function leftByModel(facts: readonly Fact[], { intent, policy, capture }: Rules): bigint {
  const { paid, price } = paidByModel(facts, capture);
  if (paid === null) return 0n;
  const refunded = refundsOf(facts).reduce((sum, one) => sum + (one.isLasting ? (one.amount ?? paid) : 0), 0);
  const chargedBack = Math.max(0, disputesOf(facts, paid));
  if (intent.purpose === 'none') return 0n;
  const credits = policy === 'credit' || (policy === 'auto' && intent.purpose === 'order');
  const credit = credits ? Math.min(paid, refunded) : 0;
  if (intent.purpose === 'order') return BigInt(credit);
  const takes = policy === 'auto' || policy === 'reverse';
  const taken = Math.min(paid, (takes ? refunded : 0) + chargedBack);
  const granted =
    paid === 0 ? 0n : intent.creditAmount === null ? BigInt(paid) : shareOf(intent.creditAmount, paid, price);
  // What was paid and the bonus are taken back each by itself, rounded for the customer.
  const ofPaid = granted < BigInt(paid) ? granted : BigInt(paid);
  const backOf = (whole: bigint) => (paid === 0 ? 0n : (whole * BigInt(taken)) / BigInt(paid));
  const back = backOf(ofPaid) + backOf(granted - ofPaid);
  // Sums are exact: they may pass a safe integer.
  return BigInt(credit) + granted - back;
}

const shareOf = (whole: number, part: number, of: number): bigint => (BigInt(whole) * BigInt(part)) / BigInt(of);

interface Paid {
  /** Null if nothing was paid. */
  readonly paid: number | null;
  /** What was to be paid, for which a pack grants all. */
  readonly price: number;
}

/** What was paid: at once; or what was authorised, unless it ended or captures show that those are the money. */
export function paidByModel(facts: readonly Fact[], capture: CaptureRule): Paid {
  const payments = facts.filter((fact): fact is PaymentFact => fact.kind === 'payment' && fact.state === 'succeeded');
  if (payments.length === 0) return { paid: null, price: 0 };
  const first = Math.max(...payments.map(({ amountMinor }) => amountMinor ?? 0));
  if (payments.every(({ isAuthorisation }) => isAuthorisation !== true)) return { paid: first, price: first };
  const movements = facts.filter((fact): fact is MovementFact => fact.kind === 'movement');
  const ofKind = (kind: MovementFact['movement']) =>
    [
      ...Map.groupBy(
        movements.filter(({ movement }) => movement === kind),
        (one) => one.movementId,
      ).values(),
    ].map((own) => ({
      lasts: lasts(own),
      amount: newestAmount(own) ?? 0,
      at: Math.max(...own.map((fact) => at(fact))),
    }));
  const adjustment = ofKind('adjustment')
    .filter((one) => one.lasts)
    .toSorted((a, b) => a.at - b.at || a.amount - b.amount)
    .at(-1);
  const authorised = adjustment?.amount ?? first;
  const captures = ofKind('capture');
  const captured = captures.reduce((sum, { lasts, amount }) => sum + (lasts ? amount : 0), 0);
  const isByHand =
    capture === 'manual' || movements.some(({ movement, state }) => movement === 'capture' && state === 'succeeded');
  const isOver = ofKind('end').some((one) => one.lasts) || captures.some((one) => !one.lasts);
  const paid = isByHand ? captured || null : isOver ? null : authorised;
  return { paid, price: Math.max(first, authorised, paid ?? 0) };
}

/** Whether it succeeded and did not fail, or succeeded again later with a reason that says so. */
function lasts(own: readonly MovementFact[]): boolean {
  const failures = own.filter(({ state }) => state === 'failed');
  if (failures.length === 0) return own.some(({ state }) => state === 'succeeded');
  return own.some((one) => one.state === 'succeeded' && one.reason && failures.every((failed) => at(one) > at(failed)));
}

const at = ({ occurredAt }: { readonly occurredAt: Date | null }) => occurredAt?.getTime() ?? Number.NEGATIVE_INFINITY;

/** The amount of the newest of them that has one; of equally new ones the larger. */
function newestAmount(facts: readonly (RefundFact | DisputeFact | MovementFact)[]): number | null {
  const known = facts.filter(({ amountMinor }) => amountMinor !== null);
  const sorted = known.toSorted((a, b) => at(a) - at(b) || (a.amountMinor ?? 0) - (b.amountMinor ?? 0));
  return sorted.at(-1)?.amountMinor ?? null;
}

interface Refund {
  readonly isLasting: boolean;
  readonly amount: number | null;
  /** When it first was done. */
  readonly at: number;
}

function refundsOf(facts: readonly Fact[]): Refund[] {
  const refunds = facts.filter((fact): fact is RefundFact => fact.kind === 'refund');
  return [...Map.groupBy(refunds, ({ refundId }) => refundId).values()].map((own): Refund => {
    const done = own.filter(({ state }) => state === 'succeeded');
    const isLasting = done.length > 0 && own.every(({ state }) => state !== 'failed');
    const amount = newestAmount(done) ?? newestAmount(own);
    return { isLasting, amount, at: Math.min(...done.map((fact) => at(fact)).filter(Number.isFinite)) };
  });
}

interface Dispute {
  readonly id: string;
  readonly role: DisputeFact['role'];
  readonly verdict: 'lost' | 'won' | null;
  readonly amount: number;
  readonly openedAt: number | null;
  readonly endedAt: number;
}

/** The rounds in order: by stage, then by time. A missing time counts for the customer, and at equal times won beats lost. */
function isAfter(a: DisputeFact, b: DisputeFact): boolean {
  const timeOf = (one: DisputeFact) => one.occurredAt?.getTime() ?? (one.state === 'won' ? Infinity : -Infinity);
  if (a.stage !== b.stage) return (a.stage ?? 0) > (b.stage ?? 0);
  if (timeOf(a) !== timeOf(b)) return timeOf(a) > timeOf(b);
  return a.state === 'won' && b.state === 'lost';
}

function disputeOf(id: string, own: readonly DisputeFact[], paid: number): Dispute {
  const decided = own.filter(({ state }) => state === 'lost' || state === 'won');
  const last = decided.find((one) => !decided.some((other) => isAfter(other, one)));
  const same = decided.filter((one) => one.state === last?.state && one.stage === last?.stage);
  const opened = own.flatMap(({ openedAt }) => (openedAt ? [openedAt.getTime()] : []));
  return {
    id,
    role: own[0]?.role,
    verdict: last === undefined ? null : last.state === 'won' ? 'won' : 'lost',
    amount:
      newestAmount(same) ?? newestAmount(own.filter(({ state }) => state === last?.state)) ?? newestAmount(own) ?? paid,
    openedAt: opened.length === 0 ? null : Math.min(...opened),
    endedAt: Math.max(...own.filter(({ state }) => state === last?.state).map((fact) => at(fact))),
  };
}

/** Chargebacks and reversals, less what was reinstated. */
function disputesOf(facts: readonly Fact[], paid: number): number {
  const all = facts.filter((fact): fact is DisputeFact => fact.kind === 'dispute');
  const disputes = [...Map.groupBy(all, ({ disputeId }) => disputeId)].map(([id, own]) => disputeOf(id, own, paid));
  const objects = disputes.filter(({ role, verdict }) => role === undefined && verdict === 'lost');
  const movements = disputes.filter(({ role, verdict }) => role === 'movement' && verdict !== null);
  const reversals = facts.filter(
    (fact): fact is MovementFact => fact.kind === 'movement' && fact.movement === 'reinstatement',
  );
  const reinstated = [...Map.groupBy(reversals, ({ movementId }) => movementId).values()]
    .filter((own) => own.every(({ state }) => state === 'succeeded'))
    .reduce((sum, own) => sum + (newestAmount(own) ?? 0), 0);
  const reversed = movements.filter(({ verdict }) => verdict === 'won').reduce((sum, { amount }) => sum + amount, 0);
  const [informed, returned] = informingOf(disputes, movements, refundsOf(facts), paid);
  const out = [...objects, ...movements].reduce((sum, { amount }) => sum + amount, 0);
  return out + informed - returned - Math.max(reinstated, reversed);
}

const DAY_MS = 24 * 3_600_000;

/** What informing disputes count for by themselves, and what they give back. */
function informingOf(
  disputes: readonly Dispute[],
  reversals: readonly Dispute[],
  refunds: readonly Refund[],
  paid: number,
): [number, number] {
  const age = (one: Dispute) => one.openedAt ?? (Number.isFinite(one.endedAt) ? one.endedAt : Number.MAX_SAFE_INTEGER);
  let reversed = reversals.reduce((sum, { amount }) => sum + amount, 0);
  const left = refunds
    .filter(({ isLasting }) => isLasting)
    .toSorted((a, b) => a.at - b.at)
    .map((one) => ({ ...one, left: one.amount ?? paid }));
  let [counted, returned] = [0, 0];
  const informing = disputes.filter(({ role, verdict }) => role === 'informs' && verdict !== null);
  for (const one of informing.toSorted((a, b) => age(a) - age(b) || (a.id < b.id ? -1 : 1))) {
    const byReversals = Math.min(one.amount, reversed);
    reversed -= byReversals;
    if (one.verdict === 'won') {
      returned += byReversals;
      continue;
    }
    let rest = one.amount - byReversals;
    for (const refund of left) {
      const hasTimes = one.openedAt !== null && Number.isFinite(refund.at);
      const isBefore = hasTimes && refund.at < (one.openedAt ?? 0);
      const isAfterwards = hasTimes && Number.isFinite(one.endedAt) && refund.at > one.endedAt + DAY_MS;
      if (isBefore || isAfterwards) continue;
      const used = Math.min(rest, refund.left);
      refund.left -= used;
      rest -= used;
    }
    counted += rest;
  }
  return [counted, returned];
}
