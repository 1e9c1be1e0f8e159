import type { EventType } from '../ledger/entry.ts';
import { proportionMinor } from '../money.ts';
import type { Payment, PaymentPart } from './payment.ts';
import type { Purpose, RefundPolicy } from './purpose.ts';

/** What the wallet should have received from a payment, by what caused it. All amounts are zero or more. */
export interface Target {
  readonly credit: number;
  /** One for each part of the payment, in the same order. */
  readonly parts: readonly { readonly credit: number; readonly take: number }[];
}

/**
 * Says what a wallet should have received from a payment, given all that is known of it. A pure function of the facts:
 * the job posts the difference to what it has posted, so any order of the same facts ends in the same balance and a
 * repeated fact changes nothing. README.md beside this file has the table in words.
 *
 * Refunds and lost disputes of the same money are netted: together they never undo more than was paid, and undoing all
 * of it takes exactly what was granted.
 */
export function settle(payment: Payment, policy: RefundPolicy): Target {
  const isPaid = payment.state === 'succeeded';
  const paid = isPaid ? (payment.amountPaid ?? 0) : 0;
  const granted = isPaid && payment.purpose === 'topup' && paid > 0 ? (payment.creditAmount ?? paid) : 0;
  // The amount of a payment that never showed up is unknown, and so is no bound.
  const undoable = isPaid ? paid : payment.waitedOut && payment.state === 'unknown' ? Number.MAX_SAFE_INTEGER : 0;
  const effects = payment.parts.map((part) => effectOf(payment, part, policy));
  const parts = payment.parts.map(() => ({ credit: 0, take: 0 }));
  let undone = 0;
  // Credits come first, each kind in the order in which its parts settled: so the sum does not depend on which arrived
  // before which, and what one part took is not shifted to another by later news.
  for (const kind of ['credit', 'take'] as const) {
    for (const [index, part] of payment.parts.entries()) {
      if (effects[index] !== kind) continue;
      const amount = Math.min(part.amountMinor ?? paid, undoable - undone);
      const before = undone;
      undone += amount;
      const take = kind === 'take' ? takenBack(granted, undone, paid) - takenBack(granted, before, paid) : 0;
      parts[index] = { credit: kind === 'credit' ? amount : 0, take };
    }
  }
  return { credit: granted, parts };
}

/** How much of `granted` is to be taken back once `undone` of `paid` is undone: in proportion, rounded for the customer. */
function takenBack(granted: number, undone: number, paid: number): number {
  return paid === 0 ? 0 : proportionMinor(granted, undone, paid);
}

function effectOf(payment: Payment, part: PaymentPart, policy: RefundPolicy): 'none' | 'credit' | 'take' {
  const isSettled = payment.state === 'succeeded' || (payment.state === 'unknown' && payment.waitedOut);
  if (!isSettled || isForeign(payment, part)) return 'none';
  const purpose: Purpose = payment.state === 'unknown' ? 'order' : (payment.purpose ?? 'none');
  if (part.kind === 'dispute') return part.state === 'lost' && purpose === 'topup' ? 'take' : 'none';
  if (part.state !== 'succeeded' || purpose === 'none') return 'none';
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

/** A part in another currency than its payment cannot be set off against it; its event is parked instead. */
export function isForeign(payment: Payment, part: Pick<PaymentPart, 'currency'>): boolean {
  return part.currency !== null && payment.currency !== null && part.currency !== payment.currency;
}

/** One entry to write on account of a payment. */
export interface DuePosting {
  /** The index of the part that causes it, or null for the payment itself. */
  readonly part: number | null;
  readonly isCredit: boolean;
  readonly eventType: EventType;
  readonly amountMinor: number;
  /** The part's own where it has one: what a refund gave before its payment showed up in another is undone in the same. */
  readonly currency: string | null;
  /** Follows the payment's id, so that the ledger's unique key refuses a second posting of the same thing. */
  readonly key: string;
  readonly referenceObjectId: string;
}

/**
 * The entries that lead from what was posted to `target`, and the payment as it is once they are written. A target
 * already reached gives none.
 */
export function postingsDue(payment: Payment, target: Target): { due: readonly DuePosting[]; after: Payment } {
  const due: DuePosting[] = [];
  let postings = payment.postings;
  const delta = target.credit - payment.postedCredit;
  if (delta !== 0) {
    const key = numbered(`payment_${payment.paymentId}`, postings);
    postings += 1;
    due.push({
      part: null,
      ...signed(delta, 'payment', 'payment_reversal'),
      currency: payment.currency,
      key,
      referenceObjectId: payment.paymentId,
    });
  }
  const parts = payment.parts.map((part, index) => {
    const goal = target.parts[index] ?? { credit: 0, take: 0 };
    const base = `${part.kind}_${payment.paymentId}_${part.partId}`;
    let count = part.postings;
    const add = (change: number, up: EventType, down: EventType) => {
      if (change === 0) return;
      due.push({
        part: index,
        ...signed(change, up, down),
        currency: part.currency ?? payment.currency,
        key: numbered(base, count),
        referenceObjectId: part.partId,
      });
      count += 1;
    };
    add(goal.credit - part.postedCredit, 'refund', 'refund_reversal');
    const [giveBack, take]: [EventType, EventType] =
      part.kind === 'dispute' ? ['dispute_reversal', 'dispute'] : ['payment', 'payment_reversal'];
    add(part.postedTake - goal.take, giveBack, take);
    return { ...part, postedCredit: goal.credit, postedTake: goal.take, postings: count };
  });
  return { due, after: { ...payment, postedCredit: target.credit, postings, parts } };
}

function signed(change: number, up: EventType, down: EventType) {
  return { isCredit: change > 0, eventType: change > 0 ? up : down, amountMinor: Math.abs(change) };
}

/** The first entry has the plain key; what undoes or adds to it later is numbered from 2, by a mark that ids do not have. */
function numbered(base: string, count: number): string {
  return count === 0 ? base : `${base}#${count + 1}`;
}

/** The keys of all entries a payment has caused so far. */
export function postedKeys(payment: Payment): string[] {
  const keys = (base: string, count: number) => Array.from({ length: count }, (_, index) => numbered(base, index));
  const own = keys(`payment_${payment.paymentId}`, payment.postings);
  return [
    ...own,
    ...payment.parts.flatMap((part) => keys(`${part.kind}_${payment.paymentId}_${part.partId}`, part.postings)),
  ];
}
