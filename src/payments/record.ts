import { invariant } from '../errors.ts';
import { paidByCaptures } from './captures.ts';
import type { DisputeFact, Fact, MovementFact, PaymentFact, RefundFact } from './fact.ts';
import type { Movement, PartRole, Payment, PaymentIntent, PaymentPart } from './payment.ts';
import {
  addReport,
  type PartState,
  type Report,
  type Resolved,
  resolveDispute,
  resolveTotal,
  resolveTransfer,
} from './report.ts';

/**
 * The state of a payment that is told in one piece only moves up these ranks: a first try may have failed before another one
 * succeeded, and the news of the failure may be late.
 */
const PAYMENT_RANK = { unknown: 0, pending: 1, failed: 2, succeeded: 3 } as const;

/** A payment without the fields that depend on when and how often it was told. */
export function withoutTimes(timed: Payment) {
  const { paidAt: _, failedAt: _failedAt, pendingAt: _pendingAt, isUnread: _isUnread, ...payment } = timed;
  return {
    ...payment,
    parts: payment.parts.map(({ reports: _reports, openedAt: _openedAt, ...part }) => part),
    movements: payment.movements.map(({ reports: _reports, ...movement }) => movement),
  };
}

/** So many refunds, disputes and other movements of a payment count: each event of it reads all of them. */
export const MOST_PARTS = 1_000;

/** Whether the fact tells of another refund, dispute or movement than those that are known, and they are as many as count. */
export function isOneTooMany(payment: Payment, fact: Fact): boolean {
  if (fact.kind === 'payment' || payment.parts.length + payment.movements.length < MOST_PARTS) return false;
  return (fact.kind === 'movement' ? movementOf(payment, fact) : partOf(payment, fact)) === undefined;
}

/** The payment after a fact. To record a fact twice, or facts in another order, gives the same amounts. */
export function record(payment: Payment, fact: Fact, intent: PaymentIntent | null): Payment {
  invariant(fact.paymentId === payment.paymentId, 'a fact recorded on another payment');
  switch (fact.kind) {
    case 'payment':
      return recordPayment({ ...payment, groupId: payment.groupId ?? fact.groupId ?? null }, fact, intent);
    case 'refund':
      return {
        ...payment,
        parts: recordPart(payment.parts, fact),
        movements: withUncaptured(payment.movements, fact),
      };
    case 'dispute':
      return { ...payment, parts: recordPart(payment.parts, fact) };
    case 'movement':
      return recordMovement(payment, fact);
  }
}

function recordPayment(payment: Payment, fact: PaymentFact, intent: PaymentIntent | null): Payment {
  if (fact.isAuthorisation && fact.state === 'succeeded') return recordAuthorisation(payment, fact, intent);
  if (fact.state !== 'succeeded') return recordTry(payment, fact);
  if (PAYMENT_RANK[fact.state] < PAYMENT_RANK[payment.state]) return payment;
  const amountPaid = Math.max(fact.amountMinor ?? 0, payment.amountPaid ?? 0);
  return {
    ...withIntent(payment, intent),
    state: 'succeeded',
    amountPaid,
    paidAt: earliest(payment.paidAt, millis(fact.occurredAt)),
    currency: payment.state === 'succeeded' ? payment.currency : fact.currency,
    movements: withUncaptured(payment.movements, fact),
  };
}

/** The payment after news of a try that has not succeeded. Of several, the newest is known by its time, in whatever order they are heard of. */
function recordTry(payment: Payment, { state, occurredAt, currency, awaitsPayer }: PaymentFact): Payment {
  if (payment.state === 'succeeded') return payment;
  const at = millis(occurredAt);
  if (state === 'failed') {
    // Whatever was tried before a failure of unknown time has failed by it.
    const pendingAt = at === null ? null : payment.pendingAt;
    return {
      ...payment,
      ...{ state, pendingAt, failedAt: latest(payment.failedAt, at), currency: currency ?? payment.currency },
    };
  }
  const pendingAt = awaitsPayer === true ? payment.pendingAt : latest(payment.pendingAt, at);
  if (PAYMENT_RANK[state] < PAYMENT_RANK[payment.state]) return { ...payment, pendingAt };
  return { ...payment, state, pendingAt, currency: currency ?? payment.currency };
}

/** Whether a payment that has failed is being tried once more since: its failure was told late, or its payer chose another card. */
export function isTriedAgain({ state, failedAt, pendingAt }: Payment): boolean {
  return state === 'failed' && pendingAt !== null && (failedAt === null || pendingAt > failedAt);
}

/** Sets what the payment is for, by the first news of its success. Before that, nothing moves. */
function withIntent(payment: Payment, intent: PaymentIntent | null): Payment {
  return payment.purpose !== null || intent === null ? payment : { ...payment, ...intent };
}

function withUncaptured(movements: readonly Movement[], fact: PaymentFact | RefundFact): readonly Movement[] {
  if (fact.uncapturedMinor === undefined || fact.uncapturedMinor === 0) return movements;
  const { paymentId: movementId, currency, uncapturedMinor: amountMinor } = fact;
  const report = toReport({ state: 'succeeded', occurredAt: fact.occurredAt, amountMinor });
  return addMovement(movements, { kind: 'uncaptured', movementId, currency }, report);
}

function recordAuthorisation(payment: Payment, fact: PaymentFact, intent: PaymentIntent | null): Payment {
  const { paymentId: movementId, currency, amountMinor, occurredAt } = fact;
  const report = toReport({ state: 'succeeded', occurredAt, amountMinor: amountMinor ?? 0 });
  const movements = addMovement(payment.movements, { kind: 'authorisation', movementId, currency }, report);
  const known = withIntent(payment, intent);
  const currencyNow = hasAuthorisation(payment) ? payment.currency : currency;
  return asCaptured({
    ...known,
    movements,
    currency: currencyNow,
    paidAt: earliest(payment.paidAt, millis(occurredAt)),
  });
}

export function hasAuthorisation({ state, movements }: Payment): boolean {
  return state === 'succeeded' || movements.some(({ kind }) => kind === 'authorisation');
}

function recordMovement(payment: Payment, fact: MovementFact): Payment {
  const { movement: kind, movementId, currency, state, occurredAt, amountMinor, reason } = fact;
  const report = toReport({ state, occurredAt, amountMinor, reason: reason ?? null });
  const before = kind === 'reinstatement' ? payment.movements : withPaidAsAuthorised(payment);
  return asCaptured({ ...payment, movements: addMovement(before, { kind, movementId, currency }, report) });
}

/** The movements of a payment that was told as paid at once, with an authorisation of the amount paid. */
function withPaidAsAuthorised(payment: Payment): readonly Movement[] {
  const { paymentId: movementId, currency, amountPaid, movements, state } = payment;
  if (state !== 'succeeded' || movements.some(({ kind }) => kind === 'authorisation')) return movements;
  const report = toReport({ state: 'succeeded', occurredAt: null, amountMinor: amountPaid ?? 0 });
  return addMovement(movements, { kind: 'authorisation', movementId, currency }, report);
}

/** The payment with the state and amount that follow from its authorisation, captures and end. */
function asCaptured(payment: Payment): Payment {
  const paid = paidByCaptures(payment);
  return paid === null ? payment : { ...payment, ...paid };
}

function addMovement(
  movements: readonly Movement[],
  { kind, movementId, currency }: Pick<Movement, 'kind' | 'movementId' | 'currency'>,
  report: Report,
): readonly Movement[] {
  const known = movements.find((one) => one.kind === kind && one.movementId === movementId);
  const reports = addReport(known?.reports ?? [], report);
  const { state, amountMinor } = resolveTransfer(reports);
  const next: Movement = {
    kind,
    movementId,
    state,
    amountMinor: amountMinor ?? 0,
    currency: known?.currency ?? currency,
    reports,
  };
  return known === undefined ? [...movements, next] : movements.map((one) => (one === known ? next : one));
}

interface Saying {
  readonly state: PartState;
  readonly occurredAt: Date | null;
  readonly amountMinor: number | null;
  readonly stage?: number;
  readonly reason?: string | null;
  readonly mark?: Report['mark'];
}

function toReport({ state, occurredAt, amountMinor, stage = 0, reason = null, mark = null }: Saying): Report {
  return { state, at: millis(occurredAt), stage, amountMinor, reason, mark };
}

function millis(time: Date | null): number | null {
  return time === null ? null : time.getTime();
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

function latest(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}

/**
 * Whether the fact tells that its payment is being tried, be it once more after a card was declined. What is told late of a try that has
 * failed since keeps nobody waiting.
 */
export function isBeingTried(fact: Fact, { state, failedAt }: Payment): boolean {
  if (fact.kind !== 'payment' || fact.state !== 'pending' || state === 'succeeded') return false;
  if (state !== 'failed' || failedAt === null) return true;
  return fact.occurredAt !== null && fact.occurredAt.getTime() > failedAt;
}

/** The part of the payment that a refund or dispute is told of, if it is known. */
export function partOf({ parts }: Payment, fact: RefundFact | DisputeFact): PaymentPart | undefined {
  const partId = fact.kind === 'refund' ? fact.refundId : fact.disputeId;
  return parts.find((part) => part.kind === fact.kind && part.partId === partId);
}

/** The movement that a fact is told of, if it is known. */
export function movementOf({ movements }: Payment, fact: MovementFact): Movement | undefined {
  return movements.find((one) => one.kind === fact.movement && one.movementId === fact.movementId);
}

const NEW_PART = {
  ...{ postedCredit: 0, postedTake: 0, postings: 0, postedBonusTake: 0, bonusPostings: 0 },
  ...{ holdWanted: 0, holdNo: null, holds: 0, lifted: null },
} as const;

function recordPart(parts: readonly PaymentPart[], fact: RefundFact | DisputeFact): PaymentPart[] {
  const { kind, state } = fact;
  const partId = kind === 'refund' ? fact.refundId : fact.disputeId;
  const known = parts.find((part) => part.kind === kind && part.partId === partId);
  const currency = currencyOf(known, fact);
  const reports = addReport(reportsIn(known, currency), kind === 'refund' ? refundReport(fact) : disputeReport(fact));
  const role = known?.role ?? fact.role ?? 'object';
  const openedAt = earliest(known?.openedAt ?? null, kind === 'dispute' ? millis(fact.openedAt ?? null) : null);
  const report = { kind, partId, role, openedAt, currency, reports, ...resolvePart(kind, role, reports) };
  if (known === undefined)
    return [
      ...parts.map((part) => (mayBeSameAs(part, fact) ? asFormer(part) : part)),
      { ...NEW_PART, ...report, ordinal: parts.length, state: report.state ?? state },
    ];
  const next: PaymentPart = { ...known, ...report };
  // Sorted by when they settled: a dispute that is lost after a refund of the same money has nothing left to take.
  const settlesNow = !isSettled(known.state) && isSettled(next.state);
  const inOrder = settlesNow
    ? [...parts.filter((part) => part !== known), next]
    : parts.map((part) => (part === known ? next : part));
  return inOrder.map((part, ordinal) => ({ ...part, ordinal }));
}

/** A part has the currency of its first entry; until it has one, the currency that was told last. */
function currencyOf(known: PaymentPart | undefined, fact: RefundFact | DisputeFact): string | null {
  return known !== undefined && known.postings > 0
    ? (known.currency ?? fact.currency)
    : (fact.currency ?? known?.currency ?? null);
}

/** The reports of a part, without the amounts in another currency than it has now. */
function reportsIn(known: PaymentPart | undefined, currency: string | null): readonly Report[] {
  if (known === undefined) return [];
  const isOther = known.currency !== null && known.currency !== currency;
  return isOther ? known.reports.map((one) => ({ ...one, amountMinor: null })) : known.reports;
}

/** Ids that the former release made up: for all chargebacks of a payment, for its reversal, or for a round of a dispute. */
const FORMER_ID = /^chargeback(?:_warning)?$|_(?:reversal|second|dispute|chargeback|pre_arbitration|arbitration)$/;

export function isFormerId({ kind, role, partId }: PaymentPart): boolean {
  return kind === 'dispute' && role === 'object' && FORMER_ID.test(partId);
}

/** Whether a new fact may tell the same as a part with a made-up id: it is alike, and was not decided later. */
function mayBeSameAs(part: PaymentPart, fact: RefundFact | DisputeFact): boolean {
  const since = Math.max(...part.reports.map(({ at }) => at ?? 0));
  const isEarlier = fact.occurredAt === null || fact.occurredAt.getTime() <= since;
  return isFormerId(part) && fact.kind === 'dispute' && part.amountMinor === fact.amountMinor && isEarlier;
}

/** The part as one that counts nothing by itself: its entries stand for the parts that now tell its money. */
export function asFormer(part: PaymentPart): PaymentPart {
  const report = toReport({ state: 'withdrawn', occurredAt: null, amountMinor: 0 });
  return { ...part, role: 'informs', state: 'withdrawn', amountMinor: 0, reports: [report] };
}

/** The result of all reports of a part. */
export function resolvePart(kind: PaymentPart['kind'], role: PartRole, reports: readonly Report[]): Resolved {
  if (kind === 'dispute') return resolveDispute(reports);
  return role === 'total' || role === 'informs' ? resolveTotal(reports) : resolveTransfer(reports);
}

function refundReport({ state, occurredAt, amountMinor, reason, mayBeRelease }: RefundFact): Report {
  return toReport({ state, occurredAt, amountMinor, reason: reason ?? null, mark: mayBeRelease ? 'release' : null });
}

function disputeReport({ state, occurredAt, amountMinor, stage, isCap }: DisputeFact): Report {
  return toReport({ state, occurredAt, amountMinor, stage: stage ?? 0, mark: isCap ? 'cap' : null });
}

function isSettled(state: PartState): boolean {
  return state !== 'pending' && state !== 'open' && state !== 'withdrawn';
}
