import { HeldUp } from '../db/held-up.ts';
import { ClaimLostError, completeJobs, type QueueName } from '../db/queues.ts';
import { isOutage } from '../db/sqlstate.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import type { Source } from '../merchants/source.ts';
import { savePayments } from '../payments/store.ts';
import { type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { UNOBSERVED } from '../telemetry/observe.ts';
import { learnAccounts, parkForeignEvents } from './accounts.ts';
import { bringHome } from './adopted-events.ts';
import { applyApart, byItself } from './apply-apart.ts';
import { type ApplyJob, type ApplyResult, firstThatFit, type OwnedJob, putBack } from './apply-jobs.ts';
import { ApplyTrace } from './apply-trace.ts';
import { adviseManualCapture } from './capture-advice.ts';
import { enqueue, insertApplyJobs } from './enqueue.ts';
import { type ApplyServices, type ApplyTransaction, type EventWork, parkEvent, sourceKey } from './event-work.ts';
import { type EventKey, type LockedEvent, lockEvents, saveVerdicts, wakeEvents } from './events.ts';
import { joinGroups, namesGroup, saveGroupNames } from './groups.ts';
import { wakePayers } from './payers.ts';
import { readEvent } from './read-event.ts';
import { type Settled, settleFacts } from './settle-facts.ts';
import { ignoreSupersededThinEvents } from './thin-events.ts';
import { withMerchants } from './whose-events.ts';

/**
 * Applies events: records their facts, posts what is due, says what became of each event and completes the jobs, all in
 * one transaction; what would make that too large goes back to the queue at once. If a batch fails, each event is tried in a
 * transaction of its own, so that a poison event fails by itself; once its retries are used up it is parked, and its job
 * dead-lettered.
 * @throws {Error} if the database is away; pg-boss then retries every job
 */
export async function applyEvents(
  services: ApplyServices,
  fetched: readonly ApplyJob[],
): Promise<readonly ApplyResult[]> {
  const run: ApplyRun = { services, queue: QUEUE, heldUp: new HeldUp() };
  const jobs = await withMerchants(autocommit(services.pool), fetched);
  const fresh = jobs.filter((job) => job.retryCount === 0);
  const { batch, left } = await firstThatFit(services, fresh);
  const insert = (tx: Tx) => insertApplyJobs(services.boss, tx, { jobs: left.map(again), release: 'closed' });
  const results = [...(await putBack(services, { name: QUEUE, jobs: left, insert }))];
  const merchantOf = ({ merchantId }: OwnedJob) => merchantId;
  if (batch.length > 0) results.push(...(await applyApart(run, batch, { merchantOf, apply: applyBatch })));
  // A job that failed before may be one that ends the process; its neighbours must not share its fate again.
  for (const job of run.heldUp.last(jobs.filter(({ retryCount }) => retryCount > 0))) {
    results.push(...(await byItself(services, [job], async () => [await applyAlone(run, job)])));
  }
  return results;
}

const QUEUE = 'apply-provider-event';

const again = ({ merchantId, eventId, priority = 0 }: OwnedJob) => ({ merchantId, eventId, priority });

function keyOf({ merchantId, eventId }: EventKey): EventKey {
  return { merchantId, eventId };
}

/** What the transactions that apply what was claimed together have in common. */
export interface ApplyRun {
  readonly services: ApplyServices;
  /** From which the jobs come. */
  readonly queue: QueueName;
  /** What fails by a wallet that is held is tried again by its own job. */
  readonly heldUp: HeldUp;
}

/** Events that are applied in one transaction. */
interface Attempt {
  readonly events: readonly EventKey[];
  readonly mode: 'together' | 'alone';
  /** What the transaction does at last with the jobs that they came by. */
  readonly settleJobs: (tx: Tx) => Promise<void>;
}

function attemptOf({ services }: ApplyRun, jobs: readonly OwnedJob[], mode: Attempt['mode']): Attempt {
  const settleJobs = (tx: Tx) => completeJobs(services.boss, tx, { name: QUEUE, jobs });
  return { events: jobs, mode, settleJobs };
}

async function applyBatch(run: ApplyRun, jobs: readonly OwnedJob[]): Promise<readonly ApplyResult[]> {
  try {
    await applyAll(run, attemptOf(run, jobs, 'together'));
    return jobs.map(({ id }) => ({ id, status: 'completed' }));
  } catch (error) {
    if (isOutage(error)) throw error;
    run.heldUp.note(error, jobs);
    const { logger } = run.services;
    logger.debug({ err: error, jobs: jobs.length }, 'a batch of events failed and is applied one by one');
    const results: ApplyResult[] = [];
    for (const job of run.heldUp.last(jobs)) results.push(await applyAlone(run, job));
    return results;
  }
}

/** A transaction for one event: it locks its payments and wallets in order, whatever the events before it locked. */
async function applyAlone(run: ApplyRun, job: OwnedJob): Promise<ApplyResult> {
  try {
    await applyAll(run, attemptOf(run, [job], 'alone'));
    return { id: job.id, status: 'completed' };
  } catch (error) {
    if (isOutage(error)) throw error;
    run.heldUp.note(error, [job]);
    return fail(run.services, job, error);
  }
}

/** One transaction; metrics, traces and the announcer hear of it only once it is committed. */
export async function applyAll(run: ApplyRun, attempt: Attempt): Promise<void> {
  const { services, heldUp } = run;
  const { pool, observe = UNOBSERVED } = services;
  const { metrics } = observe;
  const trace = new ApplyTrace(observe.tracing, run.queue);
  const onCommit = (seconds: number) => metrics.observeCommit('apply', seconds);
  const lockTimeoutMs = heldUp.lockTimeoutMs(attempt.events);
  const apply = async (tx: Tx) => {
    if (lockTimeoutMs !== null) await tx.setLockTimeout(lockTimeoutMs);
    return applyInTransaction({ services, tx, now: services.clock.now() }, { ...attempt, trace });
  };
  try {
    const { works, postingCounts, woken } = await transaction(pool, apply, { onCommit });
    services.onPosted();
    if (woken > 0) services.onTopUpDue?.();
    adviseManualCapture(services, works);
    trace.applied(works);
    for (const { event, verdict } of works) metrics.countEvent(event.provider, verdict.state, verdict.reason ?? '');
    metrics.countPostings('event', postingCounts);
  } catch (error) {
    trace.failed(error);
    throw error;
  }
}

async function fail(
  { pool, clock, logger, observe: { metrics } = UNOBSERVED }: ApplyServices,
  job: OwnedJob,
  error: unknown,
): Promise<ApplyResult> {
  const name = error instanceof Error ? error.name : 'Error';
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? ` ${error.code}` : '';
  const output = { error: `${name}${code}` };
  if (error instanceof ClaimLostError || job.retryCount < job.retryLimit) {
    metrics.countEventFailure('retried');
    logger.warn(
      { err: error, eventId: job.eventId, retryCount: job.retryCount },
      'an event could not be applied and is retried',
    );
    return { id: job.id, status: 'failed', output };
  }
  logger.error({ err: error, eventId: job.eventId }, 'an event failed again and again and is parked');
  const verdict = { ...parkEvent('apply_failed', output.error), ...keyOf(job), paymentId: null };
  await transaction(pool, (tx) => saveVerdicts(tx, [verdict], clock.now()));
  metrics.countEventFailure('parked');
  return { id: job.id, status: 'deadletter', output };
}

/** How long events are put off whose source is being adopted by another one at this moment. */
const ADOPTION_WAIT_MS = 2_000;

async function applyInTransaction(
  batch: ApplyTransaction,
  { events: asked, mode, settleJobs, trace }: Attempt & { readonly trace: ApplyTrace },
): Promise<{
  readonly works: readonly EventWork[];
  readonly postingCounts: Settled['postingCounts'];
  /** How many wallets are to be looked at that may be filled up again. */
  readonly woken: number;
}> {
  const { services, tx, now } = batch;
  const events = await lockEvents(tx, asked);
  // An event that is settled already was applied by an earlier run of the same job, whose completion was lost.
  const unsettled = events.filter((event) => event.state === 'pending' || event.state === 'waiting');
  const { events: open, later } = await bringHome(tx, unsettled, now);
  await enqueue(services.boss, tx, { events: later, startAfter: new Date(now.getTime() + ADOPTION_WAIT_MS) });
  const sources = await findSources(services, tx, open);
  trace.begin(open);
  const read = open.map(
    (event): EventWork => ({
      event,
      ...readEvent(event, sources.get(event.sourceId) ?? null),
      traceParent: trace.traceParent(event.eventId),
    }),
  );
  const accounts = await parkForeignEvents(tx, read, now);
  const { works } = accounts;
  await joinGroups(tx, works, now);
  const settled = await settleFacts(batch, works, mode);
  await ignoreSupersededThinEvents(tx, works);
  await saveGroupNames(tx, works);
  await learnAccounts(tx, accounts, now);
  await savePayments(tx, [...settled.after.values()], now);
  await saveVerdicts(
    tx,
    works.map(({ event, paymentId, verdict }) => ({ ...verdict, ...keyOf(event), paymentId })),
    now,
  );
  await followUp(batch, works, settled);
  // Last, since it locks rows of wallets that are not locked here.
  const woken = await wakePayers(tx, works, now);
  await settleJobs(tx);
  return { works, postingCounts: settled.postingCounts, woken };
}

/** The sources of a batch's events by id; ids of sources are unique over all merchants. */
async function findSources(
  { sources }: ApplyServices,
  tx: Tx,
  events: readonly LockedEvent[],
): Promise<Map<string, Source>> {
  const found = new Map<string, Source>();
  for (const { merchantId, sourceId } of events) {
    if (found.has(sourceId)) continue;
    const source = await sources.find(tx, merchantId, sourceId);
    if (source !== null) found.set(sourceId, source);
  }
  return found;
}

/** Wakes what waited for the payments now applied or named, and sets the alarm for what waits from now on. */
async function followUp(
  { services, tx, now }: ApplyTransaction,
  works: readonly EventWork[],
  { opened }: Settled,
): Promise<void> {
  const { boss } = services;
  const news = works.filter((work) => work.verdict.state === 'applied' || namesGroup(work));
  const waiting = works.filter((work) => work.verdict.state === 'waiting');
  // A refund may stand before its payment in this very batch, which had not been heard of then.
  const waitedFor = new Set(
    works.flatMap((work) =>
      (work.verdict.state === 'waiting' ? work.facts : work.unread).map(({ paymentId }) =>
        paymentKeyText({ ...sourceKey(work), paymentId }),
      ),
    ),
  );
  const heardOf = news.flatMap((work) => awaitedIds(work, waitedFor, opened));
  const except = news.map((work) => work.event.eventId);
  const events = await wakeEvents(tx, heardOf, except);
  const woken = new Set(events.map(({ eventId }) => eventId));
  await enqueue(boss, tx, { events });
  const asleep = Map.groupBy(
    waiting.filter(({ event }) => !woken.has(event.eventId)),
    (work) => waitOf(services, work),
  );
  for (const [seconds, own] of asleep) {
    const events = own.map(({ event }) => event);
    await enqueue(boss, tx, { events, startAfter: new Date(now.getTime() + seconds * 1000) });
  }
}

/** A payment waits for its name, everything else for its payment. */
function waitOf({ waitSeconds, namingWaitSeconds }: ApplyServices, { facts }: EventWork): number {
  return facts.some(({ kind }) => kind === 'payment') ? namingWaitSeconds : waitSeconds;
}

/**
 * What other events may be waiting for and is there now. What is of a group waits under the group's id. Nothing can wait for a
 * payment that this batch is the first to hear of, as most payments are.
 */
function awaitedIds(
  work: EventWork,
  waitedFor: ReadonlySet<string>,
  opened: ReadonlySet<string>,
): readonly PaymentKey[] {
  const groups = work.ties.map(({ groupId }) => ({ ...sourceKey(work), paymentId: groupId }));
  const payments = work.facts.flatMap((fact): PaymentKey[] => {
    // Events that name a refund or dispute where the payment's id should be wait under that id.
    if (fact.kind === 'refund') return [{ ...sourceKey(work), paymentId: fact.refundId }];
    if (fact.kind === 'dispute') return [{ ...sourceKey(work), paymentId: fact.disputeId }];
    const key = { ...sourceKey(work), paymentId: fact.paymentId };
    const text = paymentKeyText(key);
    return waitedFor.has(text) || !opened.has(text) ? [key] : [];
  });
  return [...groups, ...payments];
}
