import { hash } from 'node:crypto';
import { type Tx, transaction } from '../db/transaction.ts';
import { newId } from '../ids.ts';
import { withDecisionTimes } from '../inbox/reread.ts';
import type { NewEvent } from '../inbox/store-events.ts';
import type { Source } from '../merchants/source.ts';
import type { Fact } from '../payments/fact.ts';
import type { Payment } from '../payments/payment.ts';
import { confirmPayments, readPayments } from '../payments/store.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { withCheckouts } from '../payments/with-checkouts.ts';
import type { Listed, ProviderApi } from '../providers/shared/api.ts';
import { type Comparison, compare } from './compare.ts';
import { type EventInHand, eventsByKeys, eventsInHand, insertItems, takenPayments } from './item-store.ts';
import { takeNames } from './names.ts';
import { type Reading, read } from './reading.ts';
import type { Item, Phase, Run } from './run.ts';
import type { ReconcileServices } from './services.ts';
import { advance, type RunLease } from './store.ts';
import { storeInParts } from './store-parts.ts';

/** A run that is being worked on, under a lease. */
export interface LeasedRun {
  readonly run: Run;
  readonly source: Source;
  readonly api: ProviderApi;
  readonly leasedBy: string;
}

/** The lease under which the work on a run is done. */
export function leaseOf({ run: { merchantId, runId }, leasedBy }: LeasedRun): RunLease {
  return { merchantId, runId, leasedBy };
}

/** What to compare in one transaction, and where the run goes on after it. */
export interface PageToTake {
  readonly listed: readonly Listed[];
  /** Ids of payments that are recorded here and that the provider does not know. */
  readonly unknown: readonly string[];
  readonly phase: Phase;
  readonly cursor: string | null;
  /** What the API did not let us read. */
  readonly notice?: string;
}

/** Another process holds the run now. What this one did since is rolled back. */
export class LeaseLostError extends Error {
  constructor() {
    super('another process took the reconciliation over');
    this.name = 'LeaseLostError';
  }
}

const RESEND =
  "no webhook told of it, and the API does not say its metadata: send its webhook again from the provider's dashboard";
const WITHOUT_PAYMENT =
  'the success of its payment is not known here: compare from when that was made, or correct it by hand';

/**
 * Compares a page with what is recorded here. What is missing is stored as events, the same way as webhooks are; what
 * differs is noted; and the run moves on to the next page. All of it is one transaction, so that an interruption neither
 * loses a page nor counts one twice.
 * @throws {LeaseLostError} if another process works on the run by now
 */
export async function takePage(services: ReconcileServices, work: LeasedRun, page: PageToTake): Promise<void> {
  const all = page.listed.map((listed) => read(work.source, listed)).filter((reading) => reading !== null);
  const readings = all.filter(({ isNaming }) => !isNaming);
  const now = services.clock.now();
  await transaction(services.pool, async (tx) => {
    const verdicts = await judge(tx, work, { readings, now });
    const readingsOf = (kind: Comparison['kind']) =>
      verdicts.filter(({ comparison }) => comparison.kind === kind).map(({ reading }) => reading);
    const missing = readingsOf('missing');
    // Before the payments, which wait for their names only for a while.
    if (!work.run.isDryRun) await takeNames(services, tx, { source: work.source, readings: all, now });
    const taken = work.run.isDryRun ? NOTHING_TAKEN : await takeIn(services, tx, { work, missing, now });
    const items = verdicts.flatMap((one) => toItem({ ...one, eventId: taken.get(one.reading) ?? one.eventId }));
    const unknown = page.unknown.map(unknownItem);
    await insertItems(tx, work.run, { items: [...items, ...unknown], now });
    const matched = readingsOf('matched');
    const confirmed = matched.filter(({ listed }) => listed.kind === 'payment');
    await confirmPayments(tx, paymentKeys(work, confirmed), now);
    const compared = verdicts.filter(({ comparison }) => comparison.kind !== 'nothing').length;
    const { phase, cursor } = page;
    const step = { phase, cursor, listed: compared + unknown.length, matched: matched.length, now };
    if (!(await advance(tx, leaseOf(work), step))) throw new LeaseLostError();
  });
}

const NOTHING_TAKEN: ReadonlyMap<Reading, string> = new Map();

interface Judged {
  readonly reading: Reading;
  readonly comparison: Comparison;
  /** A parked event that says why it differs, or the one that it was taken in as. */
  readonly eventId: string | null;
}

async function judge(
  tx: Tx,
  work: LeasedRun,
  { readings, now }: { readonly readings: readonly Reading[]; readonly now: Date },
): Promise<readonly Judged[]> {
  const keys = paymentKeys(work, readings);
  const paymentIds = keys.map((key) => key.paymentId);
  const context: Context = {
    payments: await withCheckouts(tx, await readPayments(tx, keys)),
    taken: await takenPayments(tx, work.run, paymentIds),
    inHand: await eventsInHand(tx, work.source, paymentIds),
  };
  return readings.map((reading): Judged => {
    const { problem } = reading;
    const facts = withDecisionTimes({ origin: 'reconciliation', receivedAt: now }, reading.facts);
    if (problem !== null) return { reading, comparison: { kind: 'differing', reason: problem }, eventId: null };
    const comparison = worstOf(facts.map((fact) => compareFact(work, context, fact)));
    const event = facts.map((fact) => context.inHand.get(fact.paymentId)).find((one) => one !== undefined);
    // A parked event told of this payment already. To take the same news in again would only park it again.
    const isInHand = event !== undefined && facts.every((fact) => isHeardOf(work, context, fact));
    return withEventInHand({ reading, comparison: isInHand ? { kind: 'matched' } : comparison, eventId: null }, event);
  });
}

function isHeardOf({ source: { merchantId, sourceId } }: LeasedRun, { payments }: Context, fact: Fact): boolean {
  const payment = payments.get(paymentKeyText({ merchantId, sourceId, paymentId: fact.paymentId }));
  return fact.kind === 'payment' && payment?.state === 'unknown' && payment.heardOf;
}

interface Context {
  readonly payments: ReadonlyMap<string, Payment>;
  /** Payments that this run has taken in already; they may not be applied yet. */
  readonly taken: ReadonlySet<string>;
  readonly inHand: ReadonlyMap<string, EventInHand>;
}

/**
 * Compares one fact, and leaves two cases to a person, because to take them in would be a guess: a payment whose metadata
 * only its webhook has, and a refund or dispute of a payment that is not known here. Such a refund would wait for its
 * payment in vain, and then count as an order's.
 */
function compareFact({ api, source }: LeasedRun, { payments, taken }: Context, fact: Fact): Comparison {
  const { merchantId, sourceId } = source;
  const { paymentId } = fact;
  const payment = payments.get(paymentKeyText({ merchantId, sourceId, paymentId })) ?? null;
  const comparison = compare(payment, fact);
  if (comparison.kind === 'nothing' || payment?.state === 'succeeded') return comparison;
  if (fact.kind === 'payment') {
    const isGuess = comparison.kind === 'missing' && api.omitsMetadata === true;
    return isGuess ? { kind: 'differing', reason: RESEND } : comparison;
  }
  return taken.has(paymentId) ? comparison : { kind: 'differing', reason: WITHOUT_PAYMENT };
}

/** A payment with a parked event is reported, even if all else matches. One whose event was dismissed is not: a person has handled it. */
function withEventInHand(judged: Judged, event: EventInHand | undefined): Judged {
  const { comparison } = judged;
  if (event === undefined || comparison.kind === 'missing' || comparison.kind === 'nothing') return judged;
  if (event.state === 'dismissed') {
    const isSettled = comparison.kind === 'differing' && comparison.isStuck === true;
    return isSettled ? { ...judged, comparison: { kind: 'matched' } } : judged;
  }
  const what =
    comparison.kind === 'differing' ? `${comparison.reason}; an event of it is parked` : 'an event of it is parked';
  return { ...judged, comparison: { kind: 'differing', reason: `${what}: ${event.reason}` }, eventId: event.eventId };
}

/** An object is missing if any of its facts is; what else differs is found by the next run. */
function worstOf(all: readonly Comparison[]): Comparison {
  const inOrder = (['missing', 'differing', 'matched'] as const).map((kind) => all.find((one) => one.kind === kind));
  return inOrder.find((one) => one !== undefined) ?? { kind: 'nothing' };
}

/**
 * Stores what is missing as events. If an earlier run took the same thing in, the event is there already and is kept; its
 * state says why the thing is still missing.
 * @returns the id of each reading's event
 */
async function takeIn(
  { boss }: ReconcileServices,
  tx: Tx,
  { work, missing, now }: { readonly work: LeasedRun; readonly missing: readonly Reading[]; readonly now: Date },
): Promise<ReadonlyMap<Reading, string>> {
  const { merchantId, sourceId, provider } = work.source;
  const events = missing.map(
    ({ listed, eventType, facts }): NewEvent => ({
      eventId: newId('event'),
      merchantId,
      sourceId,
      provider,
      deliveryKey: `reconciled:${hash('sha256', JSON.stringify([listed.kind, listed.objectId, facts]))}`,
      eventType,
      body: listed.body,
      state: 'pending',
      detail: null,
      receivedAt: now,
      origin: 'reconciliation',
    }),
  );
  await storeInParts(boss, tx, events);
  const ids = await eventsByKeys(
    tx,
    work.source,
    events.map((event) => event.deliveryKey),
  );
  return new Map(missing.map((reading, index) => [reading, ids.get(events[index]?.deliveryKey ?? '') ?? '']));
}

function toItem({ reading, comparison, eventId }: Judged): Item[] {
  if (comparison.kind !== 'missing' && comparison.kind !== 'differing') return [];
  const { kind, objectId } = reading.listed;
  const paymentId = reading.facts[0]?.paymentId ?? null;
  const reason = comparison.kind === 'differing' ? comparison.reason : null;
  return [{ kind, objectId, paymentId, outcome: comparison.kind, reason, eventId }];
}

function unknownItem(paymentId: string): Item {
  const reason = 'the provider has no payment of this id, or none that was ever paid';
  return { kind: 'payment', objectId: paymentId, paymentId, outcome: 'unknown', reason, eventId: null };
}

function paymentKeys(work: LeasedRun, readings: readonly Reading[]): readonly PaymentKey[] {
  const ids = new Set(readings.flatMap((reading) => reading.facts.map((fact) => fact.paymentId)));
  return [...ids].sort().map((paymentId) => keyOf(work, paymentId));
}

function keyOf({ source: { merchantId, sourceId } }: LeasedRun, paymentId: string): PaymentKey {
  return { merchantId, sourceId, paymentId };
}
