import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import { resolveCustomers } from '../customers/resolve.ts';
import type { Pool } from '../db/pool.ts';
import type { Tx } from '../db/transaction.ts';
import { type ErrorCode, invariant, type Refusal } from '../errors.ts';
import { tallyOutcomes } from '../ledger/count-outcomes.ts';
import type { Posting } from '../ledger/entry.ts';
import { noteTraces } from '../ledger/posting-traces.ts';
import { type LedgerSettings, postBatch } from '../ledger/store.ts';
import type { Source } from '../merchants/source.ts';
import type { Sources } from '../merchants/sources.ts';
import { type CustomerResolution, evaluate, hasPostings, namedCustomer } from '../payments/decide.ts';
import type { Fact, ParkReason, PaymentFact, RefundFact } from '../payments/fact.ts';
import { intentOf } from '../payments/intent.ts';
import { type Payment, withoutPostings } from '../payments/payment.ts';
import type { DuePosting } from '../payments/settle.ts';
import { lockPayments, type PaymentKey, paymentKeyText } from '../payments/store.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics, PostingTally } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import type { LockedEvent, Verdict } from './events.ts';

export interface ApplyServices {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly sources: Sources;
  readonly settings: LedgerSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long an early refund waits for its payment. */
  readonly waitSeconds: number;
  /** Called after a commit that left something to announce. */
  readonly onPosted: () => void;
  readonly metrics?: Metrics;
  readonly tracing?: Tracing | null;
}

/** An event being applied: what its body says, and what has been decided about it so far. */
export interface Work {
  readonly event: LockedEvent;
  /** Null if it is not configured any more; then there are no facts either. */
  readonly source: Source | null;
  readonly facts: readonly Fact[];
  /** Of the span in which it is applied, if traces are collected. */
  readonly traceParent: string | null;
  verdict: Verdict;
}

/** The ledger refused a posting; everything posted with it is undone. */
class PostingRefused extends Error {
  readonly refusal: Refusal;

  constructor(refused: Refusal) {
    super(refused.code);
    this.name = 'PostingRefused';
    this.refusal = refused;
  }
}

export function park(reason: ParkReason, detail: string | null): Verdict {
  return { state: 'parked', reason, detail };
}

/** The source an event came in by, as the first half of a payment's key. */
export function sourceKey({ event }: Work): { merchantId: string; sourceId: string } {
  return { merchantId: event.merchantId, sourceId: event.sourceId };
}

interface Step {
  readonly work: Work;
  readonly source: Source;
  readonly fact: Fact;
  readonly key: PaymentKey;
}

interface Due {
  readonly work: Work;
  readonly payment: Payment;
  readonly posting: DuePosting;
}

/** The payments of a batch by their keys, before it and after. */
export interface Settled {
  readonly before: ReadonlyMap<string, Payment>;
  readonly after: ReadonlyMap<string, Payment>;
  readonly tallies: readonly PostingTally[];
}

/** Evaluates every fact in order and posts what is due in one batch. */
export async function settleFacts(
  services: ApplyServices,
  tx: Tx,
  works: readonly Work[],
  mode: 'together' | 'alone',
  now: Date,
): Promise<Settled> {
  const steps = works.flatMap((work) => {
    const { source, facts } = work;
    invariant(source !== null || facts.length === 0, 'facts without a source');
    if (source === null) return [];
    return facts.map((fact): Step => ({ work, source, fact, key: { ...sourceKey(work), paymentId: fact.paymentId } }));
  });
  const before = await lockPayments(
    tx,
    steps.map(({ source, key }) => ({ ...key, provider: source.provider, refunds: source.refunds })),
    now,
  );
  const customers = await findWhose(services, tx, steps, before, now);
  const { payments, due } = evaluateAll(services, steps, before, customers, now);
  try {
    // Alone behind its savepoint, an event whose posting is refused can still record its facts.
    const post = () => postDue(services, tx, due, now);
    const tallies = await (mode === 'alone' ? tx.savepoint(post) : post());
    return { before, after: payments, tallies };
  } catch (error) {
    const [work] = works;
    if (!(error instanceof PostingRefused) || mode === 'together' || work === undefined) throw error;
    work.verdict = park(PARK_REASON_OF[error.refusal.code] ?? 'apply_failed', error.refusal.message);
    const undone = [...payments].map(([keyText, payment]): [string, Payment] => [
      keyText,
      withoutPostings(payment, before.get(keyText) ?? payment),
    ]);
    return { before, after: new Map(undone), tallies: [] };
  }
}

/** Runs the facts through `evaluate`, each on the payment as the ones before it left it. */
function evaluateAll(
  services: ApplyServices,
  steps: readonly Step[],
  before: ReadonlyMap<string, Payment>,
  customers: readonly CustomerResolution[],
  now: Date,
): { payments: Map<string, Payment>; due: Due[] } {
  const payments = new Map(before);
  const due: Due[] = [];
  for (const [index, { work, source, fact, key }] of steps.entries()) {
    const payment = payments.get(paymentKeyText(key));
    const customer = customers[index];
    invariant(payment !== undefined && customer !== undefined, 'a fact without its payment');
    const waitIsOver = hasWaited(services, work, now);
    const evaluation = evaluate({
      payment,
      fact,
      source,
      customer,
      isAssigned: work.event.assignedCustomerId !== null,
      currencies: services.settings.currencies,
      waitIsOver,
    });
    payments.set(paymentKeyText(key), evaluation.payment);
    due.push(...evaluation.due.map((posting) => ({ work, payment: evaluation.payment, posting })));
    // Of several facts in one event, the first that cannot be applied speaks for the event.
    if (work.verdict.state === 'applied') work.verdict = { reason: null, detail: null, ...evaluation.verdict };
  }
  return { payments, due };
}

/** The wait begins when the event is first looked at: after a backlog, its payment may stand right behind it. */
function hasWaited({ waitSeconds }: ApplyServices, { event }: Work, now: Date): boolean {
  return event.waitingSince !== null && now.getTime() - event.waitingSince.getTime() >= waitSeconds * 1000;
}

async function postDue(
  { settings, tracing }: ApplyServices,
  tx: Tx,
  due: readonly Due[],
  now: Date,
): Promise<readonly PostingTally[]> {
  const postings = due.map(toPosting);
  const outcomes = await postBatch(tx, postings, settings, now);
  for (const outcome of outcomes) if (outcome.kind === 'refused') throw new PostingRefused(outcome.refusal);
  const traceParents = due.map(({ work }) => work.traceParent);
  if (tracing) await noteTraces(tx, postings, outcomes, traceParents);
  return tallyOutcomes(postings, outcomes);
}

/** Finds whose money each fact is about, for those that need to know. */
async function findWhose(
  services: ApplyServices,
  tx: Tx,
  steps: readonly Step[],
  payments: ReadonlyMap<string, Payment>,
  now: Date,
): Promise<CustomerResolution[]> {
  const wanted = steps.map(({ work, source, fact, key }) => {
    const payment = payments.get(paymentKeyText(key));
    const assigned = work.event.assignedCustomerId;
    invariant(payment !== undefined, 'a fact without its payment');
    const isKnown = payment.customerId !== null && (assigned === null || hasPostings(payment));
    const waitIsOver = hasWaited(services, work, now);
    if (isKnown || fact.kind === 'dispute' || !needsCustomer(payment, source, fact, waitIsOver)) return null;
    const namedCustomerId = assigned ?? namedCustomer(fact);
    const { merchantId, sourceId } = key;
    return { merchantId, sourceId, rule: source.customerLinkRule, namedCustomerId, provider: fact.customer };
  });
  const asked = wanted.filter((one) => one !== null);
  const resolved = await resolveCustomers(tx, asked, services.settings.currencies, now);
  const answers = new Map(asked.map((one, index) => [one, resolved[index]]));
  return wanted.map((one) => (one === null ? undefined : answers.get(one)) ?? { problem: 'no_customer' });
}

/** Customers are made only for money that is theirs: not for failed, free or unrelated payments, nor for refunds that wait. */
function needsCustomer(payment: Payment, source: Source, fact: RefundFact | PaymentFact, waitIsOver: boolean): boolean {
  if (fact.state !== 'succeeded') return false;
  if (fact.kind === 'refund') return waitIsOver;
  const intent = intentOf(payment, fact, source);
  return typeof intent !== 'string' && intent.purpose !== 'none' && fact.amountMinor !== 0;
}

function toPosting({ payment, posting, work }: Due): Posting {
  invariant(payment.customerId !== null && posting.currency !== null, 'a posting is due for nobody or in no currency');
  return {
    merchantId: payment.merchantId,
    customerId: payment.customerId,
    currency: posting.currency,
    amountMinor: posting.amountMinor,
    isCredit: posting.isCredit,
    eventType: posting.eventType,
    reason: `${work.event.provider} payment ${payment.paymentId}`,
    referenceObjectId: posting.referenceObjectId,
    metadata: null,
    // The source is part of the key: two accounts may use one payment id for two payments.
    idempotencyKey: `${payment.sourceId}:${posting.key}`,
  };
}

const PARK_REASON_OF: Partial<Record<ErrorCode, ParkReason>> = {
  UNSUPPORTED_CURRENCY: 'unsupported_currency',
  CUSTOMER_NOT_FOUND: 'unknown_customer',
  BALANCE_LIMIT_EXCEEDED: 'balance_limit',
};
