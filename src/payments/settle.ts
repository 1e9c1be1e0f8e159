import type { EventType } from '../ledger/entry.ts';
import { type PostingCause, paymentKey } from '../ledger/keys.ts';
import { exceeds, proportionMinor, type Rate } from '../money.ts';
import { authorisedAtFirst, authorisedMinor, awaitsCaptures } from './captures.ts';
import { countedAmounts, isForeign } from './counted.ts';
import { disputedAmounts, type HoldsDue, holdsDue } from './dispute-holds.ts';
import { type Net, netOfHandled } from './handled.ts';
import type { HeldTarget, Payment, PaymentPart, Target } from './payment.ts';
import type { Purpose, RefundPolicy } from './purpose.ts';

/**
 * Says what a wallet should have received from a payment, given all that is known of it. A pure function of the facts:
 * the job posts the difference to what it has posted, so any order of the same facts ends in the same balance and a
 * repeated fact changes nothing. docs/payments.md has the rules in words.
 *
 * What is taken back is, of what was granted, the share of `taken` in what was paid:
 * taken = min(paid, refunds + max(0, chargebacks and reversals - reinstatements)).
 * What open disputes may take besides is held (dispute-holds.ts).
 */
export function settle(payment: Payment, policy: RefundPolicy): HeldTarget {
  const { target } = netOf(payment, policy);
  const holds = disputedAmounts(payment, (life) => {
    const { target, isUnclear } = netOf(life, policy);
    return isUnclear ? null : target.parts.reduce((sum, { take }) => sum + take, 0);
  });
  return { ...target, holds };
}

function netOf(payment: Payment, policy: RefundPolicy): Net {
  return payment.handled.length === 0
    ? { target: targetOf(payment, policy), isUnclear: false }
    : netOfHandled(payment, (life, granted) => targetOf(life, policy, granted));
}

/** Whether it is unclear what to post beside what was handled by hand, so that a person must decide. */
export function isUnsettleable(payment: Payment, policy: RefundPolicy): boolean {
  return netOf(payment, policy).isUnclear;
}

/** @param given what was granted, if that differs from what the payment tells */
function targetOf(payment: Payment, policy: RefundPolicy, given?: number): Target {
  const isPaid = payment.state === 'succeeded';
  const paid = isPaid ? (payment.amountPaid ?? 0) : 0;
  const granted = given ?? (isPaid && payment.purpose === 'topup' ? grantedBy(payment, paid) : 0);
  // A payment that never arrived has no known amount, so it sets no limit.
  const bound = isPaid ? paid : payment.waitedOut ? Number.MAX_SAFE_INTEGER : 0;
  const amounts = countedAmounts(payment, paid);
  const effects = payment.parts.map((part) => effectOf(payment, part, policy));
  const left = { credit: bound, take: bound };
  // In the order in which the parts settled, so that later news does not shift what one part took to another.
  const parts = payment.parts.map((_, index) => {
    const effect = effects[index] ?? 'none';
    if (effect === 'none') return { credit: 0, take: 0 };
    const amount = Math.min(amounts[index] ?? 0, left[effect]);
    const undone = bound - left[effect];
    left[effect] -= amount;
    if (effect === 'credit') return { credit: amount, take: 0 };
    return { credit: 0, take: takenBack(granted, undone + amount, paid) - takenBack(granted, undone, paid) };
  });
  return handedOver(payment, { credit: granted, parts });
}

/** What a top-up grants for what was paid. Of a bonus pack it is the same share as was captured of what was authorised. */
function grantedBy(payment: Payment, paid: number): number {
  const { agreedAmount, creditAmount } = payment;
  // By the terms of a token there is one price: nothing is granted for a part of it while more captures may come.
  if (agreedAmount !== null && paid < agreedAmount && awaitsCaptures(payment)) return 0;
  if (paid === 0 || creditAmount === null) return paid;
  return proportionMinor(creditAmount, paid, priceOf(payment, paid));
}

/** The price for which the whole `creditAmount` is granted: what was authorised, of which less may be captured. */
function priceOf(payment: Payment, paid: number): number {
  return Math.max(authorisedAtFirst(payment) ?? 0, authorisedMinor(payment) ?? 0, paid);
}

/** Whether a top-up would grant more than `most` times its price. */
export function grantsTooMuch(payment: Payment, most: Rate): boolean {
  const { amountPaid, creditAmount, purpose } = payment;
  if (amountPaid === null || amountPaid === 0 || creditAmount === null || purpose !== 'topup') return false;
  return exceeds(creditAmount, priceOf(payment, amountPaid), most);
}

/** How much of `granted` is to be taken back once `undone` of `paid` is undone: in proportion, rounded for the customer. */
function takenBack(granted: number, undone: number, paid: number): number {
  return paid === 0 ? 0 : proportionMinor(granted, undone, paid);
}

/**
 * If two families of events tell the same money, what the first one posted stays posted: the entries of a part that informs
 * pass to the part that takes its place. So no customer gets money back and loses it again at the same moment.
 */
function handedOver(payment: Payment, target: Target): Target {
  const parts = target.parts.map((part) => ({ ...part }));
  for (const side of ['credit', 'take'] as const) {
    const posted = payment.parts.map((part) => (side === 'credit' ? part.postedCredit : part.postedTake));
    const excess = (index: number) => (posted[index] ?? 0) - (parts[index]?.[side] ?? 0);
    for (const [from, informing] of parts.entries()) {
      if (payment.parts[from]?.role !== 'informs') continue;
      for (const [to, moving] of parts.entries()) {
        if (payment.parts[to]?.role === 'informs') continue;
        const shift = Math.max(0, Math.min(excess(from), -excess(to)));
        informing[side] += shift;
        moving[side] -= shift;
      }
    }
  }
  return { ...target, parts };
}

function effectOf(payment: Payment, part: PaymentPart, policy: RefundPolicy): 'none' | 'credit' | 'take' {
  const isPaid = payment.state === 'succeeded';
  if (!(isPaid || payment.waitedOut) || isForeign(payment, part)) return 'none';
  const purpose: Purpose = isPaid ? (payment.purpose ?? 'none') : 'order';
  if (part.kind === 'dispute') return purpose === 'topup' ? 'take' : 'none';
  if (purpose === 'none') return 'none';
  switch (policy) {
    case 'ignore':
      return 'none';
    case 'credit':
      return 'credit';
    case 'reverse':
      return purpose === 'topup' ? 'take' : 'none';
    case 'auto':
      return purpose === 'topup' ? 'take' : 'credit';
  }
}

/** One entry to write on account of a payment. */
export interface DuePosting {
  /** The index of the part that causes it, or null for the payment itself. */
  readonly part: number | null;
  readonly isCredit: boolean;
  readonly eventType: EventType;
  readonly amountMinor: number;
  /** The part's own currency if it has one: what a refund gave before its payment arrived is taken back in the same currency. */
  readonly currency: string | null;
  /** The entry's idempotency key, by which the ledger refuses a second posting of the same thing. */
  readonly key: string;
  /** The keys of its own entries before, or of its part's, which this one undoes or does again: credit goes back to where it was taken from. */
  readonly restores?: readonly string[];
  readonly referenceObjectId: string;
}

interface Due extends HoldsDue {
  readonly due: readonly DuePosting[];
}

/**
 * The entries that lead from what was posted to `target`, what is to be held of the wallet after them, and the payment as it is
 * then. A target already reached gives none.
 */
export function postingsDue(payment: Payment, target: HeldTarget): Due {
  const due: DuePosting[] = [];
  let postings = payment.postings;
  const delta = target.credit - payment.postedCredit;
  if (delta !== 0) {
    postings += 1;
    const keyOf = (number: number) => paymentKey(payment.keyVersion, causeOf(payment), number);
    due.push({
      part: null,
      ...signed(delta, 'payment', 'payment_reversal'),
      currency: payment.currency,
      key: keyOf(postings),
      ...restoring(keyOf, postings),
      referenceObjectId: payment.paymentId,
    });
  }
  const parts = payment.parts.map((part, index) => {
    const goal = target.parts[index] ?? { credit: 0, take: 0 };
    let count = part.postings;
    const keyOf = (number: number) => paymentKey(payment.keyVersion, causeOf(payment, part), number);
    const add = (change: number, up: EventType, down: EventType) => {
      if (change === 0) return;
      count += 1;
      due.push({
        part: index,
        ...signed(change, up, down),
        currency: part.currency ?? payment.currency,
        key: keyOf(count),
        ...restoring(keyOf, count),
        referenceObjectId: part.partId,
      });
    };
    add(goal.credit - part.postedCredit, 'refund', 'refund_reversal');
    const [giveBack, take]: [EventType, EventType] =
      part.kind === 'dispute' ? ['dispute_reversal', 'dispute'] : ['payment', 'payment_reversal'];
    add(part.postedTake - goal.take, giveBack, take);
    // The currency of its first entry is the part's own from now on.
    const currency = count > part.postings ? (part.currency ?? payment.currency) : part.currency;
    return { ...part, currency, postedCredit: goal.credit, postedTake: goal.take, postings: count };
  });
  return { due, ...holdsDue({ ...payment, postedCredit: target.credit, postings, parts }, target.holds) };
}

/** So many earlier entries are looked at to find where credit goes back to; what others took goes to the base. */
const MOST_RESTORED = 200;

/** The keys of the entries before this one, the newest of them if they are many: news without end must not cost ever more. */
function restoring(keyOf: (number: number) => string, count: number): Pick<DuePosting, 'restores'> {
  const first = Math.max(1, count - MOST_RESTORED);
  return count > 1 ? { restores: Array.from({ length: count - first }, (_, index) => keyOf(first + index)) } : {};
}

function signed(change: number, up: EventType, down: EventType) {
  return { isCredit: change > 0, eventType: change > 0 ? up : down, amountMinor: Math.abs(change) };
}

function causeOf({ sourceId: ownSource, keySource, paymentId }: Payment, part?: PaymentPart): PostingCause {
  const sourceId = keySource ?? ownSource;
  if (part === undefined) return { sourceId, kind: 'payment', paymentId };
  return { sourceId, kind: part.kind, paymentId, partId: part.partId };
}

/**
 * The keys of all entries a payment has caused so far.
 * @param version given if it differs from the payment's, for entries that a process of the former release may have posted
 */
export function postedKeys(payment: Payment, version = payment.keyVersion): string[] {
  const keys = (postings: number, part?: PaymentPart) =>
    Array.from({ length: postings }, (_, index) => paymentKey(version, causeOf(payment, part), index + 1));
  return [...keys(payment.postings), ...payment.parts.flatMap((part) => keys(part.postings, part))];
}
