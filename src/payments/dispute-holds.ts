import type { DisputedAmount } from '../ledger/holds/hold.ts';
import { disputeHoldKey } from '../ledger/keys.ts';
import { isOfPart } from './handled.ts';
import type { LiftedRound, Payment, PaymentPart } from './payment.ts';
import { isLaterRound, newestRound, openRound } from './report.ts';

/**
 * Far more than a payment ever has open at once. Each costs one more look at the whole payment, and whoever has a webhook secret can sign any
 * number: 300 open beside 300 handled by hand took 18 s of a worker.
 */
const MOST_THAT_HOLD = 10;

/**
 * What the open disputes of a payment may take, so that it is held until they are decided: what losing each of them now would take,
 * besides what is taken already and after the disputes that were opened before it. Together they never come to more than what the
 * payment granted. Only the {@link MOST_THAT_HOLD} that were opened first hold. Where that is unclear until a person decides, all that are open keep what they want held.
 * @param takenOf what all parts of a payment take; null where that is unclear
 * @returns an amount for each part, in the same order
 */
export function disputedAmounts(payment: Payment, takenOf: (life: Payment) => number | null): readonly number[] {
  const amounts = payment.parts.map(() => 0);
  // What was bought is the merchant's to lose; of credit that was bought with it there is little.
  if (payment.purpose === 'checkout') return amounts;
  if (payment.disputes === 'record' || payment.customerId === null || payment.currency === null) return amounts;
  const open = payment.parts.flatMap((part, index) => {
    const lost = isHandled(payment, part) ? null : asLost(part);
    return lost === null ? [] : [{ lost, index }];
  });
  if (open.length === 0) return amounts;
  const before = new Map(open.map(({ lost, index }) => [index, lost.holdWanted]));
  const asBefore = payment.parts.map((_, index) => before.get(index) ?? 0);
  let life = payment;
  let taken = takenOf(payment);
  if (taken === null) return asBefore;
  const first = open.toSorted((a, b) => byOpening(a.lost, b.lost)).slice(0, MOST_THAT_HOLD);
  for (const { lost, index } of first) {
    const next = { ...life, parts: life.parts.with(index, lost) };
    const takenThen = takenOf(next);
    if (takenThen === null) return asBefore;
    if (takenThen <= taken) continue;
    amounts[index] = takenThen - taken;
    life = next;
    taken = takenThen;
  }
  return amounts;
}

function isHandled({ handled }: Payment, part: PaymentPart): boolean {
  return handled.some(({ fact }) => isOfPart(fact, part));
}

/** The dispute as if its newest round, which is open, were lost; null if that is not open. */
function asLost(part: PaymentPart): PaymentPart | null {
  const round = part.kind === 'dispute' && !isLifted(part) && openRound(part.reports);
  return round === false ? null : { ...part, state: 'lost', amountMinor: round.amountMinor };
}

/** Whether an operator lifted the hold of its newest round. */
function isLifted({ lifted, reports }: PaymentPart): boolean {
  return lifted !== null && !isLaterRound(reports, lifted);
}

/** The payment whose dispute holds nothing any more in the round in which it is. */
export function withLifted(
  payment: Payment,
  part: PaymentPart,
  { actor, now }: { readonly actor: LiftedRound['actor']; readonly now: Date },
): Payment {
  const { stage, at } = newestRound(part.reports);
  const lifted = { stage, at: at ?? now.getTime(), actor, liftedAt: now.getTime() };
  return { ...payment, parts: payment.parts.map((one) => (one === part ? { ...one, lifted } : one)) };
}

/** The one that was opened first; those without a time come last, in a fixed order. */
function byOpening(a: PaymentPart, b: PaymentPart): number {
  return openingOf(a) - openingOf(b) || (a.partId < b.partId ? -1 : 1);
}

function openingOf({ openedAt, reports }: PaymentPart): number {
  const times = reports.flatMap(({ state, at }) => (state === 'open' && at !== null ? [at] : []));
  return openedAt ?? Math.min(...times, Number.MAX_SAFE_INTEGER);
}

/** The payment after its holds changed: `holdNos` are those of `disputes`, in the same order. */
export function withHoldNos(
  payment: Payment,
  disputes: readonly DisputedAmount[],
  holdNos: readonly (number | null)[],
): Payment {
  const numbers = new Map(disputes.map(({ disputeId }, index) => [disputeId, holdNos[index] ?? null]));
  const parts = payment.parts.map((part) => {
    const holdNo = part.kind === 'dispute' ? numbers.get(part.partId) : undefined;
    return holdNo === undefined ? part : { ...part, holdNo };
  });
  return { ...payment, parts };
}

/** What a payment that goes to another wallet has held in the one, and wants held in the other. */
export interface MovedHolds {
  readonly released: readonly DisputedAmount[];
  readonly placed: readonly DisputedAmount[];
  /** The payment with holds that are placed anew, whose numbers are not known yet. */
  readonly after: Payment;
}

/** @param wanted what is to be held in the other wallet; one for each part of the payment, in the same order */
export function movedHolds(payment: Payment, wanted: readonly number[]): MovedHolds {
  const held = payment.parts.filter(({ holdWanted }) => holdWanted > 0);
  const parts = payment.parts.map((part, index) => {
    const holdWanted = wanted[index] ?? 0;
    if (part.holdWanted === 0 && holdWanted === 0) return part;
    return { ...part, holdWanted, holdNo: null, holds: part.holds + (holdWanted > 0 ? 1 : 0) };
  });
  return {
    released: held.map((part) => disputedAmount(payment, part, { before: part.holdWanted, wanted: 0 })),
    placed: parts.flatMap((part) =>
      part.holdWanted === 0 ? [] : [disputedAmount(payment, part, { before: 0, wanted: part.holdWanted })],
    ),
    after: { ...payment, parts },
  };
}

export interface HoldsDue {
  /** The disputes that have a hold or want one; none if nothing about them changes. */
  readonly holds: readonly DisputedAmount[];
  /** The payment once that is done. */
  readonly after: Payment;
}

/** What is to be held so that each part of the payment has `wanted` held. */
export function holdsDue(payment: Payment, wanted: readonly number[]): HoldsDue {
  const parts = payment.parts.map((part, index) => {
    const holdWanted = wanted[index] ?? 0;
    const isAnew = part.holdWanted === 0 && holdWanted > 0;
    return { ...part, holdWanted, holds: isAnew ? part.holds + 1 : part.holds };
  });
  const all = parts.flatMap((part, index) => {
    const amounts = { before: payment.parts[index]?.holdWanted ?? 0, wanted: part.holdWanted };
    return amounts.before === 0 && amounts.wanted === 0 ? [] : [disputedAmount(payment, part, amounts)];
  });
  return { holds: all.some((one) => one.before !== one.wanted) ? all : [], after: { ...payment, parts } };
}

/** What one dispute wants held, under the key of its newest hold. */
function disputedAmount(
  { keySource, sourceId, paymentId }: Pick<Payment, 'keySource' | 'sourceId' | 'paymentId'>,
  { partId, holds }: Pick<PaymentPart, 'partId' | 'holds'>,
  amounts: Pick<DisputedAmount, 'before' | 'wanted'>,
): DisputedAmount {
  const idempotencyKey = disputeHoldKey(keySource ?? sourceId, { paymentId, partId }, holds);
  return { disputeId: partId, idempotencyKey, ...amounts };
}
