import { invariant } from '../errors.ts';
import type { DisputeFact, Fact, PaymentFact, RefundFact } from './fact.ts';
import type { Purpose, RefundPolicy } from './purpose.ts';

/**
 * The life of one payment: everything its events said, whatever the order they came in, and what the wallet has
 * received on its account so far.
 */
export interface Payment {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly paymentId: string;
  /** `unknown`: only refunds or disputes of it have arrived so far. */
  readonly state: 'unknown' | 'pending' | 'failed' | 'succeeded';
  readonly purpose: Purpose | null;
  readonly customerId: string | null;
  /** What its refunds do, as its source had it when the payment was first heard of. */
  readonly refunds: RefundPolicy;
  readonly currency: string | null;
  readonly amountPaid: number | null;
  /** What a top-up grants where the metadata says other than the amount paid. */
  readonly creditAmount: number | null;
  /** The wait for the payment of an early refund is over; the refund counts as an order's. */
  readonly waitedOut: boolean;
  /** What the wallet holds of the payment itself, net, by entries written. */
  readonly postedCredit: number;
  /** How many entries the payment itself has caused; it numbers their keys. */
  readonly postings: number;
  /** Refunds and disputes in the order in which they settled; what is pending or open keeps its place until it settles. */
  readonly parts: readonly PaymentPart[];
}

export interface PaymentPart {
  readonly kind: 'refund' | 'dispute';
  readonly partId: string;
  readonly ordinal: number;
  readonly state: PartState;
  /** Null for a refund of all that is left. */
  readonly amountMinor: number | null;
  readonly currency: string | null;
  /** Credited to the wallet on its account, net of what was taken back again. */
  readonly postedCredit: number;
  /** Taken from the wallet on its account, net of what was given back again. */
  readonly postedTake: number;
  readonly postings: number;
}

export type PartState = 'pending' | 'succeeded' | 'failed' | 'open' | 'withdrawn' | 'lost' | 'won';

/** What the payment's metadata asks for; null where it is silent. */
export interface PaymentIntent {
  readonly purpose: Purpose;
  readonly creditAmount: number | null;
}

/**
 * States only move up these ranks. Providers reorder and repeat, and their timestamps are no tie-breaker: a refund that
 * failed after it succeeded stays failed when the news of its success arrives late.
 */
const PAYMENT_RANK = { unknown: 0, pending: 1, failed: 2, succeeded: 3 } as const;
const PART_RANK = { pending: 0, open: 0, withdrawn: 1, succeeded: 2, lost: 2, failed: 3, won: 3 } as const;

/** The payment after a fact about it. Recording a fact twice, or facts in another order, ends in the same amounts. */
export function record(payment: Payment, fact: Fact, intent: PaymentIntent | null): Payment {
  invariant(fact.paymentId === payment.paymentId, 'a fact recorded on another payment');
  if (fact.kind === 'payment') return recordPayment(payment, fact, intent);
  return { ...payment, parts: recordPart(payment.parts, fact) };
}

function recordPayment(payment: Payment, fact: PaymentFact, intent: PaymentIntent | null): Payment {
  if (PAYMENT_RANK[fact.state] < PAYMENT_RANK[payment.state]) return payment;
  if (fact.state !== 'succeeded') {
    return { ...payment, state: fact.state, currency: fact.currency ?? payment.currency };
  }
  const amountPaid = Math.max(fact.amountMinor ?? 0, payment.amountPaid ?? 0);
  // What the first news of the success said the payment is for, counts; without that, nothing moves.
  const meant = payment.purpose !== null || intent === null ? {} : intent;
  return {
    ...payment,
    ...meant,
    state: 'succeeded',
    amountPaid,
    currency: payment.state === 'succeeded' ? payment.currency : fact.currency,
  };
}

function recordPart(parts: readonly PaymentPart[], fact: RefundFact | DisputeFact): PaymentPart[] {
  const partId = fact.kind === 'refund' ? fact.refundId : fact.disputeId;
  const known = parts.find((part) => part.kind === fact.kind && part.partId === partId);
  if (known === undefined) {
    const { kind, state, amountMinor, currency } = fact;
    const ordinal = parts.length;
    return [
      ...parts,
      { kind, partId, ordinal, state, amountMinor, currency, postedCredit: 0, postedTake: 0, postings: 0 },
    ];
  }
  const next: PaymentPart = {
    ...known,
    state: PART_RANK[fact.state] > PART_RANK[known.state] ? fact.state : known.state,
    amountMinor: largest(known.amountMinor, fact.amountMinor),
    currency: known.currency ?? fact.currency,
  };
  // A dispute lost after a refund of the same money has nothing left to take, however long ago it was opened.
  const settlesNow = PART_RANK[known.state] < PART_RANK.lost && PART_RANK[next.state] >= PART_RANK.lost;
  const inOrder = settlesNow
    ? [...parts.filter((part) => part !== known), next]
    : parts.map((part) => (part === known ? next : part));
  return inOrder.map((part, ordinal) => ({ ...part, ordinal }));
}

function largest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}

/** `after` as if nothing had been posted since `before`: what was learned stays, what was posted does not count. */
export function withoutPostings(after: Payment, before: Payment): Payment {
  const parts = after.parts.map((part) => {
    const earlier = before.parts.find((one) => one.kind === part.kind && one.partId === part.partId);
    const { postedCredit, postedTake, postings } = earlier ?? { postedCredit: 0, postedTake: 0, postings: 0 };
    return { ...part, postedCredit, postedTake, postings };
  });
  return { ...after, parts, postedCredit: before.postedCredit, postings: before.postings };
}
