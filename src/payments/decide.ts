import { invariant } from '../errors.ts';
import { withBonus } from './bonus-rule.ts';
import { authorisedMinor, capturedMinor } from './captures.ts';
import { completionOf, readCheckout, withNamedCheckout } from './checkout.ts';
import { isForeign } from './counted.ts';
import type { CustomerResolution, DecideInput, Decision } from './decision.ts';
import { postingsDue } from './due.ts';
import type { Fact, MovementFact, ParkReason, PaymentFact, RefundFact, WalletMetadata } from './fact.ts';
import { grantsTooMuch } from './grant.ts';
import { handledBefore, handledCustomer, wholeOf } from './handled.ts';
import { endProblem, intentOf } from './intent.ts';
import { hasTouchedWallet, type Payment, type PaymentIntent } from './payment.ts';
import type { Purpose, RefundPolicy } from './purpose.ts';
import { hasAuthorisation, isOneTooMany, MOST_PARTS, movementOf, partOf, record } from './record.ts';
import { isUnsettleable, settle } from './settle.ts';
import { isUsedByAnother, type ObeyedToken, readToken, usesToken } from './token.ts';
import { readTopUp } from './top-up.ts';

const NOTHING_DUE = { due: [], holds: [] } as const;

/**
 * Decides what one fact does. Pure. A fact that is parked or waits changes nothing of the payment, except that it was heard
 * of. It is applied when the cause is removed, and nobody may be paid for it before.
 */
export function decide(input: DecideInput): Decision {
  const { fact, source, payment } = input;
  const handled = handledBefore(payment, fact);
  if (handled === 'alike') return { payment, ...NOTHING_DUE, verdict: { state: 'applied' } };
  if (handled === 'other') return parked(input, 'handled_by_hand', 'it was told otherwise when it was handled by hand');
  const problem = contradiction(payment, fact);
  if (problem !== null) return parked(input, ...problem);
  const token = readToken(input) ?? readCheckout(input) ?? readTopUp(input);
  if (token?.kind === 'refused') return parked(input, token.reason, token.detail);
  const intent =
    fact.kind === 'payment' && fact.state === 'succeeded' ? (token?.intent ?? intentOf(payment, fact, source)) : null;
  if (typeof intent === 'string') return parked(input, 'invalid_metadata', intent);
  const ends = intent === null ? null : endProblem(intent, input.paidExpiryMinDays);
  if (ends !== null) return parked(input, 'invalid_metadata', ends);
  if (namesNobodyThere(input)) return parked(input, 'unknown_customer', null);
  if (token === null && intent !== null && mayBeNamedYet(input, intent)) {
    return { payment, ...NOTHING_DUE, verdict: { state: 'waiting' } };
  }
  if (token === null && isContested(input)) {
    return parked(input, 'no_customer', 'another event names somebody for it and is parked; decide that one first');
  }
  const named = withNamedCheckout(
    token === null ? payment : decidedAnew(payment, token),
    fact,
    input.carried.checkout ?? null,
  );
  const heard = record(named, fact, intent);
  const completion = fact.kind === 'payment' || fact.kind === 'movement' ? completionOf(heard, input.carried) : null;
  if (completion?.kind === 'refused') return parked(input, completion.reason, completion.detail);
  const recorded = completion?.payment ?? heard;
  if (fact.kind !== 'payment' && isOfOtherCurrency(recorded, fact)) return parked(input, 'currency_mismatch', null);
  // Parked, since otherwise the next event would settle the payment with a customer that it does not name.
  const mismatch = mismatchOf(payment, fact, token);
  if (mismatch !== null) return parked(input, ...mismatch);
  if (needsPayment(fact, wholeOf(payment))) return decideEarly(recorded, input);
  if (isOvercaptured(wholeOf(recorded), fact)) return parked(input, 'overcaptured', null);
  const decision = settleKnown(withCustomer(withHandled(recorded), input), input);
  // If several payments were authorised with one token, the first that posts uses the token.
  const usesNow = !usesToken(payment) && usesToken(decision.payment);
  if (usesNow && input.carried.token !== null && isUsedByAnother(input.carried.token, payment)) {
    return parked(input, 'token_used', `the payment ${input.carried.token.usedPaymentId} used it`);
  }
  return decision;
}

/** A token decides all that a payment is for, and whose rule gave its bonus before, unless it lets that stand. */
function decidedAnew(payment: Payment, { keepsBonus = false }: ObeyedToken): Payment {
  const bonus = { bonusAmount: null, bonusDays: null, bonusRuleId: null, bonusPrice: null };
  return { ...payment, purpose: null, ...(keepsBonus ? {} : bonus) };
}

type Problem = readonly [reason: ParkReason, detail: string | null];

/** Why the fact cannot be true together with what is known, or counted beside it; null if it can. */
function contradiction(payment: Payment, fact: Fact): Problem | null {
  if (isOneTooMany(payment, fact))
    return ['manual_correction', `more than ${MOST_PARTS} refunds, disputes and captures`];
  const currency = currencyOf(payment, fact);
  if (currency !== null && fact.currency !== null && fact.currency !== currency) {
    return ['currency_changed', `it was ${currency} before, and now it is ${fact.currency}`];
  }
  if (fact.kind === 'payment') {
    const isLate =
      fact.state === 'failed' && fact.occurredAt !== null && fact.occurredAt.getTime() > movedSince(payment);
    return isLate ? ['contradictory', 'it failed after it succeeded or was refunded'] : null;
  }
  if (fact.kind === 'dispute' || fact.reason === undefined || fact.state !== 'succeeded') return null;
  const known = fact.kind === 'refund' ? partOf(payment, fact) : movementOf(payment, fact);
  const failures = known?.reports.filter(({ state }) => state === 'failed').map(({ at }) => at ?? 0) ?? [];
  const isAgain = failures.length > 0 && (fact.occurredAt?.getTime() ?? 0) > Math.max(...failures);
  if (!isAgain || stateAfter(payment, fact) === 'succeeded') return null;
  return ['contradictory', 'it succeeds after it failed, without a reason that says so'];
}

/** The currency of the entries that were posted for what the fact tells; null if there are none. */
function currencyOf(payment: Payment, fact: Fact): string | null {
  if (fact.kind === 'movement') return null;
  if (fact.kind === 'payment') {
    const isFixed = (payment.state === 'succeeded' && fact.state === 'succeeded') || hasTouchedWallet(payment);
    return isFixed ? payment.currency : null;
  }
  const part = partOf(payment, fact);
  return part === undefined || part.postings === 0 ? null : (part.currency ?? payment.currency);
}

/** Whether the fact, or what was told before of the same refund or dispute, is in another currency than the payment. */
function isOfOtherCurrency(payment: Payment, fact: Exclude<Fact, PaymentFact>): boolean {
  const part = fact.kind === 'movement' ? undefined : partOf(payment, fact);
  return isForeign(payment, fact) || (part !== undefined && part.postings === 0 && isForeign(payment, part));
}

/** The earliest time at which the payment is known to have succeeded or its money to have moved. */
function movedSince({ paidAt, parts }: Payment): number {
  const moved = parts.flatMap(({ reports }) =>
    reports.filter(({ state }) => state === 'succeeded' || state === 'lost'),
  );
  return Math.min(paidAt ?? Number.POSITIVE_INFINITY, ...moved.map(({ at }) => at ?? Number.POSITIVE_INFINITY));
}

function stateAfter(payment: Payment, fact: RefundFact | MovementFact): string | undefined {
  const after = record(payment, fact, null);
  return (fact.kind === 'refund' ? partOf(after, fact) : movementOf(after, fact))?.state;
}

/** Whether more was captured than was authorised. It is not cut, since a later adjustment may allow it. */
function isOvercaptured(payment: Payment, fact: Fact): boolean {
  const isCapture = fact.kind === 'movement' && fact.movement === 'capture' && fact.state === 'succeeded';
  return isCapture && capturedMinor(payment) > (authorisedMinor(payment) ?? 0);
}

/**
 * What is wrong where the fact names another customer than the payment has. A name that a payer may have written yields to
 * one that he cannot have; that one takes the payment over, but not from an operator, nor once entries stand.
 */
function mismatchOf(payment: Payment, fact: Fact, token: Pick<ObeyedToken, 'customerId'> | null): Problem | null {
  const { customerId, namedBy, moves } = payment;
  if (moves > 0 || customerId === null || fact.kind !== 'payment') return null;
  const isPaid = fact.state === 'succeeded';
  const named = fact.named?.customerId ?? (isPaid ? (token?.customerId ?? namedCustomer(fact)) : null);
  if (named === null || named === customerId) return null;
  const byOperator = namedBy === 'operator';
  if (fact.named === undefined) return namedBy === null || byOperator ? ['customer_mismatch', null] : null;
  // A token says whose its payment is, even where nothing is posted yet.
  return hasTouchedWallet(payment) || byOperator || payment.tokenHash !== null
    ? ['named_late', `it is ${named} who is named`]
    : null;
}

/** A trusted name that is wrong is said even where nothing is due: else nobody would learn of it. */
function namesNobodyThere({ fact, customer }: DecideInput): boolean {
  const isNamed = fact.kind === 'payment' && fact.named !== undefined;
  return isNamed && 'problem' in customer && customer.problem === 'unknown_customer';
}

/** Whether a payment that nobody is named for waits for news of its order or subscription, which may say whose it is. */
function mayBeNamedYet(input: DecideInput, { purpose }: PaymentIntent): boolean {
  const { payment, fact, customer, isAssigned, namingIsOver } = input;
  if (fact.kind !== 'payment' || namingIsOver || isAssigned) return false;
  if (fact.mayBeNamed !== true && payment.groupId === null) return false;
  if (payment.customerId !== null || namedCustomer(fact) !== null) return false;
  if (purpose === 'none' || fact.amountMinor === 0) return false;
  return 'problem' in customer || customer.isGuess === true;
}

/** Whether only a guess, a link or the payer would say whose the payment is, though its order or subscription named somebody. */
function isContested({ payment, fact, isAssigned, isContested: isTrue }: DecideInput): boolean {
  if (!isTrue || isAssigned || fact.kind !== 'payment' || fact.state !== 'succeeded') return false;
  return payment.purpose === null && payment.customerId === null && fact.named === undefined;
}

/** Whether the fact needs a payment that succeeded, and no success is known. */
function needsPayment(fact: Fact, payment: Payment): boolean {
  if (fact.kind === 'movement')
    return fact.movement !== 'end' && fact.state === 'succeeded' && !hasAuthorisation(payment);
  if (payment.state === 'succeeded') return false;
  return (fact.kind === 'refund' && payment.refunds !== 'ignore') || (fact.kind === 'dispute' && fact.state === 'lost');
}

/**
 * A refund or lost dispute waits until its payment is known to have succeeded. After the longest wait it is parked. But if the
 * source sells orders, the refund of a payment of which nothing was heard counts as the refund of an order.
 */
function decideEarly(recorded: Payment, input: DecideInput): Decision {
  const { fact, payment } = input;
  if (!input.waitIsOver) return { payment, ...NOTHING_DUE, verdict: { state: 'waiting' } };
  if (fact.kind !== 'refund' || fact.ofGroup || !countsAsOrders(input, fact))
    return parked(input, 'unknown_payment', null);
  if (fact.amountMinor === null || fact.currency === null) return parked(input, 'unknown_amount', null);
  const waitedOut = { ...recorded, waitedOut: true, currency: payment.currency ?? fact.currency };
  const decision = settleKnown(withCustomer(withHandled(waitedOut), input), input);
  const isNobodys = decision.verdict.state === 'parked' && decision.verdict.reason === 'no_customer';
  // The payment will name the customer. Before it comes, nobody is asked for one, since perhaps nothing was paid.
  return isNobodys ? parked(input, 'unknown_payment', 'nor does the refund say whose it is') : decision;
}

/** Whether a refund is credited although its payment is unknown. If it was, this stays so, whatever the source's settings are now. */
function countsAsOrders({ payment, source }: DecideInput, fact: RefundFact): boolean {
  const { state, heardOf, waitedOut, refunds } = payment;
  if (waitedOut && partOf(payment, fact) !== undefined) return true;
  if (state !== 'unknown' || heardOf) return false;
  const policies = { order: ['auto', 'credit'], topup: ['credit'], none: [] } as const satisfies Record<
    Purpose,
    readonly RefundPolicy[]
  >;
  return policies[source.defaultPurpose].some((policy) => policy === refunds);
}

/** A person's choice, or a name that no payer can write, replaces what was found before, as long as nothing was posted. */
function withCustomer(payment: Payment, { fact, customer, isAssigned }: DecideInput): Payment {
  if (!('customerId' in customer)) return payment;
  const { customerId } = customer;
  const trusted = isAssigned ? 'operator' : fact.kind === 'payment' ? (fact.named?.by ?? null) : null;
  const isReplaced = trusted !== null && !hasTouchedWallet(payment) && payment.moves === 0;
  if (payment.customerId !== null && payment.customerId !== customerId && !isReplaced) return payment;
  return {
    ...payment,
    customerId,
    namedBy: payment.namedBy === 'operator' ? 'operator' : (trusted ?? payment.namedBy),
  };
}

/** If the payment itself was handled by hand, its customer and currency are those of that handling. */
function withHandled(payment: Payment): Payment {
  const { customerId, currency } = payment;
  if (payment.handled.length === 0) return payment;
  return {
    ...payment,
    customerId: customerId ?? handledCustomer(payment),
    currency: currency ?? wholeOf(payment).currency,
  };
}

function settleKnown(known: Payment, input: DecideInput): Decision {
  const { customer, currencies, maxBonusRatio, payment, fact, offers } = input;
  const isOfPayment = fact.kind === 'payment' || fact.kind === 'movement';
  const recorded = isOfPayment ? withBonus(known, offers) : known;
  // What was granted by the rules of its time stays.
  const isBonusNew = payment.bonusAmount === null && recorded.bonusAmount !== null;
  const isDecidedNow = payment.postings === 0 || isBonusNew || payment.tokenHash !== recorded.tokenHash;
  if (isDecidedNow && grantsTooMuch(recorded, maxBonusRatio)) return parked(input, 'bonus_too_large', null);
  if (isUnsettleable(recorded, recorded.refunds)) {
    return parked(
      input,
      'handled_by_hand',
      'what it moves depends on what was handled by hand, whose amount is not known',
    );
  }
  const { due, holds, after } = postingsDue(recorded, settle(recorded, recorded.refunds));
  if (due.length === 0 && holds.length === 0) {
    const problem = orderWithoutCustomer(recorded, customer);
    const applied = { payment: recorded, ...NOTHING_DUE, verdict: { state: 'applied' } } as const;
    return problem === null ? applied : parked(input, problem, null);
  }
  if (recorded.customerId === null) {
    invariant('problem' in customer, 'a customer was found but not used');
    return parked(input, customer.problem, null);
  }
  if (recorded.currency === null) return parked(input, 'malformed', 'the event names no currency');
  if (!currencies.has(recorded.currency))
    return parked(input, 'unsupported_currency', `the currency is ${recorded.currency}`);
  return { payment: after, due, holds, verdict: { state: 'applied' } };
}

/** Why an order is parked for its customer. It moves no money, but its refund needs the customer, so a wrong one is reported now. */
function orderWithoutCustomer(payment: Payment, customer: CustomerResolution): ParkReason | null {
  const isOrder = payment.state === 'succeeded' && payment.purpose === 'order' && payment.amountPaid !== 0;
  return isOrder && payment.customerId === null && 'problem' in customer ? customer.problem : null;
}

/** Leaves the payment as it was. But if news of the payment itself is parked, its refunds wait for that news. */
function parked({ payment, fact }: DecideInput, reason: ParkReason, detail: string | null): Decision {
  const heardOf = payment.heardOf || fact.kind === 'payment';
  return { payment: { ...payment, heardOf }, ...NOTHING_DUE, verdict: { state: 'parked', reason, detail } };
}

/** The customer that the fact names: by what only the merchant can write, else by its metadata; or null. */
export function namedCustomer(fact: Fact): string | null {
  if (fact.kind === 'payment' && fact.named !== undefined) return fact.named.customerId;
  const metadata: WalletMetadata = fact.kind === 'payment' || fact.kind === 'refund' ? fact.metadata : {};
  return metadata.wallet_customer_id ?? null;
}
