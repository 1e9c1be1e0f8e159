import { invariant } from '../errors.ts';
import { MAX_AMOUNT_MINOR, proportionMinor } from '../money.ts';
import { authorisedMinor, awaitsCaptures } from './captures.ts';
import { countedAmounts, isForeign } from './counted.ts';
import type { CheckoutTerms, PartTarget, Payment, Target } from './payment.ts';

/**
 * What the payment of a checkout moves in the wallet once it has completed it. Pure. All of it follows from sums, so any order of the
 * same news ends alike:
 * x = refunds, and what fell of the payment's captures, less what was paid beyond what was accepted;
 * the wallet's part goes back in proportion: floor(captured * min(x, order) / order);
 * what goes beyond the order takes back credit that was bought with it: min(max(0, x + lost - order), bought).
 */

/** What of a payment counts against its checkout. */
interface Accepted {
  /** What was paid for the purchase itself. */
  readonly order: number;
  /** What was paid for credit that was bought with it. */
  readonly bought: number;
  /** What was paid beyond both: it goes back first. */
  readonly surplus: number;
  /** What of both is not paid any more, since captures failed. */
  readonly fallen: number;
  readonly paid: number;
}

function acceptedOf(payment: Payment): Accepted {
  const { agreedAmount, creditAmount, amountPaid, state } = payment;
  const agreed = agreedAmount ?? 0;
  const bought = creditAmount ?? 0;
  const paid = state === 'succeeded' ? (amountPaid ?? 0) : 0;
  // What may still be captured has not failed.
  const expected = awaitsCaptures(payment) ? (authorisedMinor(payment) ?? 0) : 0;
  return {
    order: agreed - bought,
    bought,
    surplus: Math.max(0, paid - agreed),
    fallen: Math.max(0, agreed - Math.max(paid, expected)),
    paid,
  };
}

/** What was paid is first for the purchase; of less than was agreed on, less credit is bought. */
export function acceptedParts(
  paid: number,
  { paymentPart, creditBought }: { readonly paymentPart: number; readonly creditBought: number },
): { readonly order: number; readonly bought: number } {
  const order = Math.min(paid, paymentPart);
  return { order, bought: Math.min(paid - order, creditBought) };
}

const NONE: PartTarget = { credit: 0, take: 0, bonusTake: 0 };

/** @returns what leaves a wallet as it is for a payment that has completed no checkout */
export function checkoutTarget(payment: Payment): Target {
  const { parts, checkout, agreedAmount } = payment;
  const shared = { bonus: 0, undone: 0, paid: 0 };
  if (checkout === undefined || agreedAmount === null)
    return { ...shared, credit: 0, returned: 0, parts: parts.map(() => NONE) };
  const { order, bought, surplus, fallen, paid } = acceptedOf(payment);
  const amounts = countedAmounts(payment, paid);
  const sums = { refunded: 0, lost: 0 };
  let before = { returned: 0, taken: 0 };
  // One after another, so that each has its share of the sums.
  const share = (fall: number) => {
    const undone = Math.max(0, sums.refunded - surplus) + fall;
    const now = {
      returned: returnedBy(checkout, order, undone),
      taken: Math.min(Math.max(0, undone + sums.lost - order), bought),
    };
    const own = { ...NONE, credit: now.returned - before.returned, take: now.taken - before.taken };
    before = now;
    return own;
  };
  const ofParts = parts.map((part, index) => {
    if (isForeign(payment, part)) return NONE;
    sums[part.kind === 'refund' ? 'refunded' : 'lost'] += at(amounts, index);
    return share(0);
  });
  const own = share(fallen);
  const target = { ...shared, credit: bought - own.take, returned: own.credit, parts: ofParts };
  return keepingPosted(payment, bought, checkout.captured === null ? unreturned(payment, target) : target);
}

/** @param undone how much of what was paid went back; more than the order returns no more */
function returnedBy({ captured, refunds }: CheckoutTerms, order: number, undone: number): number {
  if (captured === null || refunds === 'manual' || order === 0) return 0;
  return proportionMinor(captured, Math.min(undone, order), order);
}

/** While it is not known yet what could be captured, nothing is returned. */
function unreturned(payment: Payment, target: Target): Target {
  const parts = target.parts.map((part, index) => ({ ...part, credit: payment.parts[index]?.postedCredit ?? 0 }));
  return { ...target, returned: payment.postedReturn, parts };
}

/**
 * What one piece of news has moved already is not moved again for another that says the same or came in between: only the sums count.
 * So nothing goes to the wallet and leaves it again at the same moment.
 */
function keepingPosted(payment: Payment, bought: number, target: Target): Target {
  // By itself, what was paid has nothing to be moved to or from.
  if (payment.parts.length === 0) return target;
  const credits = keep(
    [...target.parts.map(({ credit }) => credit), target.returned],
    [...payment.parts.map(({ postedCredit }) => postedCredit), payment.postedReturn],
  );
  // Before it has posted, nothing is taken back of the credit that was bought, but it may be given in part only.
  const isPosted = payment.postings > 0;
  const takes = keep(
    [...target.parts.map(({ take }) => take), bought - target.credit],
    [...payment.parts.map(({ postedTake }) => postedTake), isPosted ? bought - payment.postedCredit : 0],
  );
  const parts = target.parts.map((part, index) => ({
    ...part,
    credit: at(credits, index),
    take: at(takes, index),
  }));
  return { ...target, parts, returned: at(credits, parts.length), credit: bought - at(takes, parts.length) };
}

/** The goals, with what is posted too much of one kept in place of what is missing of another. */
function keep(goals: readonly number[], posted: readonly number[]): readonly number[] {
  const kept = [...goals];
  const excess = (index: number) => at(posted, index) - at(kept, index);
  for (const from of kept.keys()) {
    for (const to of kept.keys()) {
      const shift = Math.max(0, Math.min(excess(from), -excess(to)));
      kept[from] = at(kept, from) + shift;
      kept[to] = at(kept, to) - shift;
    }
  }
  return kept;
}

function at(amounts: readonly number[], index: number): number {
  const amount = amounts[index];
  invariant(amount !== undefined, 'a part of a payment has no amount');
  return amount;
}

/** What the payment of a checkout has come to. */
export interface CheckoutSums {
  /** What of it went back to the payer, and what of its captures fell. */
  readonly refunded: number;
  /** The same without what was paid beyond what was accepted, which goes back first. */
  readonly undone: number;
  /** What of that was for the purchase. */
  readonly orderRefunded: number;
  /** What was accepted for the purchase. */
  readonly order: number;
  /** What went back to the wallet by its refunds. */
  readonly returned: number;
}

export function checkoutSums(payment: Payment): CheckoutSums {
  const { order, surplus, fallen, paid } = acceptedOf(payment);
  const amounts = countedAmounts(payment, paid);
  const refunds = payment.parts.reduce(
    (sum, part, index) => (part.kind !== 'refund' || isForeign(payment, part) ? sum : sum + at(amounts, index)),
    0,
  );
  const undone = Math.max(0, refunds - surplus) + fallen;
  return {
    refunded: Math.min(refunds + fallen, MAX_AMOUNT_MINOR),
    undone,
    orderRefunded: Math.min(undone, order),
    order,
    returned: payment.parts.reduce((sum, { postedCredit }) => sum + postedCredit, payment.postedReturn),
  };
}
