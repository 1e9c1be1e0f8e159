import { invariant } from '../errors.ts';
import type { Fact, ParkReason, WalletMetadata } from './fact.ts';
import { type IntentRules, intentOf } from './intent.ts';
import { type Payment, record } from './payment.ts';
import { type DuePosting, isForeign, postingsDue, settle } from './settle.ts';

/** Whose payment a fact is about, as far as could be told. */
export type CustomerResolution =
  | { readonly customerId: string }
  | { readonly problem: 'unknown_customer' | 'no_customer' };

export interface EvaluateInput {
  readonly payment: Payment;
  readonly fact: Fact;
  readonly source: IntentRules;
  readonly customer: CustomerResolution;
  readonly currencies: ReadonlySet<string>;
  /** The customer was chosen by a person at a replay. */
  readonly isAssigned: boolean;
  /** The event has waited for its payment as long as events wait. */
  readonly waitIsOver: boolean;
}

/** The entries that are due, the payment as it is once they are written, and what to say of the event. */
export interface Evaluation {
  readonly payment: Payment;
  readonly due: readonly DuePosting[];
  readonly verdict:
    | { readonly state: 'applied' | 'waiting' }
    | { readonly state: 'parked'; readonly reason: ParkReason; readonly detail: string | null };
}

/**
 * Decides what one fact does. Pure. The fact is recorded on the payment whatever becomes of the event, so that the
 * payment's life is complete and a later event or a replay settles what this one could not.
 */
export function evaluate(input: EvaluateInput): Evaluation {
  const { fact, source } = input;
  const intent = fact.kind === 'payment' && fact.state === 'succeeded' ? intentOf(input.payment, fact, source) : null;
  // It is paid all the same: its refund must not wait for it in vain and then count as an order's.
  if (typeof intent === 'string') return parked(record(input.payment, fact, null), 'invalid_metadata', intent);
  const recorded = record(input.payment, fact, intent);
  if (fact.kind !== 'payment' && isForeign(recorded, fact)) return parked(recorded, 'currency_mismatch', null);
  // Not recorded: else the next event of the payment would settle it with the customer it does not name.
  if (isSomebodyElses(recorded, fact)) return parked(input.payment, 'customer_mismatch', null);
  if (recorded.state !== 'succeeded' && needsPayment(fact, recorded)) return evaluateEarly(recorded, input);
  return settleKnown(withCustomer(recorded, input), input);
}

/** Whether the payment names another customer than the one that its refund, which came first, was credited to. */
function isSomebodyElses({ customerId }: Payment, fact: Fact): boolean {
  const named = fact.kind === 'payment' && fact.state === 'succeeded' ? namedCustomer(fact) : null;
  return customerId !== null && named !== null && named !== customerId;
}

/** Whether the fact moves money in a way that depends on the payment it belongs to. */
function needsPayment(fact: Fact, { refunds }: Payment): boolean {
  return (
    (fact.kind === 'refund' && fact.state === 'succeeded' && refunds !== 'ignore') ||
    (fact.kind === 'dispute' && fact.state === 'lost')
  );
}

/**
 * A refund or lost dispute whose payment has not succeeded, as far as we know, waits for it. After that, the refund of a
 * payment nothing was heard of counts as an order's; what contradicts the known state of its payment is parked.
 */
function evaluateEarly(payment: Payment, input: EvaluateInput): Evaluation {
  const { fact } = input;
  if (!input.waitIsOver) return { payment, due: [], verdict: { state: 'waiting' } };
  const isOrders = fact.kind === 'refund' && payment.state === 'unknown' && payment.refunds !== 'reverse';
  if (!isOrders) return parked(payment, 'unknown_payment', null);
  if (fact.amountMinor === null || fact.currency === null) return parked(payment, 'unknown_amount', null);
  const waitedOut = { ...payment, waitedOut: true, currency: payment.currency ?? fact.currency };
  return settleKnown(withCustomer(waitedOut, input), input);
}

/** A person's choice replaces what was found before, for as long as nothing was posted. */
function withCustomer(payment: Payment, { customer, isAssigned }: EvaluateInput): Payment {
  if (!('customerId' in customer)) return payment;
  const isOpen = payment.customerId === null || (isAssigned && !hasPostings(payment));
  return isOpen ? { ...payment, customerId: customer.customerId } : payment;
}

/** Whether the payment has moved money yet; from then on it belongs to its customer. */
export function hasPostings({ postings, parts }: Payment): boolean {
  return postings > 0 || parts.some((part) => part.postings > 0);
}

function settleKnown(payment: Payment, { customer, currencies }: EvaluateInput): Evaluation {
  const { due, after } = postingsDue(payment, settle(payment, payment.refunds));
  if (due.length === 0)
    return orderWithoutCustomer(payment, customer) ?? { payment, due, verdict: { state: 'applied' } };
  if (payment.customerId === null) {
    invariant('problem' in customer, 'a customer was found but not used');
    return parked(payment, customer.problem, null);
  }
  if (payment.currency === null) return parked(payment, 'malformed', 'the event names no currency');
  if (!currencies.has(payment.currency))
    return parked(payment, 'unsupported_currency', `the currency is ${payment.currency}`);
  return { payment: after, due, verdict: { state: 'applied' } };
}

/** An order moves no money yet, but its refund will need the customer, so a customer that does not exist is said now. */
function orderWithoutCustomer(payment: Payment, customer: CustomerResolution): Evaluation | null {
  const isOrder = payment.state === 'succeeded' && payment.purpose === 'order' && payment.amountPaid !== 0;
  if (!isOrder || payment.customerId !== null || !('problem' in customer)) return null;
  return parked(payment, customer.problem, null);
}

function parked(payment: Payment, reason: ParkReason, detail: string | null): Evaluation {
  return { payment, due: [], verdict: { state: 'parked', reason, detail } };
}

/** The customer that the fact's metadata names, or null. */
export function namedCustomer(fact: Fact): string | null {
  const metadata: WalletMetadata = fact.kind === 'dispute' ? {} : fact.metadata;
  return metadata.wallet_customer_id ?? null;
}
