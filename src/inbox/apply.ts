import { ClaimLostError, completeJobs } from '../db/queues.ts';
import { isHeldUp, isOutage } from '../db/sqlstate.ts';
import { type Tx, transaction } from '../db/transaction.ts';
import type { Source } from '../merchants/source.ts';
import type { Payment } from '../payments/payment.ts';
import { paymentKeyText, savePayments } from '../payments/store.ts';
import { PROVIDERS } from '../providers/index.ts';
import { ApplyTrace } from './apply-trace.ts';
import { enqueue, type LockedEvent, lockEvents, saveVerdicts, wakeEvents } from './events.ts';
import { noteOldNews } from './old-news.ts';
import { type ApplyServices, park, type Settled, settleFacts, sourceKey, type Work } from './settle-facts.ts';

/** A fetched job: the event to apply, and the claim under which it may be completed. */
export interface ApplyJob {
  readonly id: string;
  readonly retryCount: number;
  readonly retryLimit: number;
  readonly eventId: string;
}

export interface ApplyResult {
  readonly id: string;
  readonly status: 'completed' | 'failed' | 'deadletter';
  readonly output?: { readonly error: string };
}

/**
 * Applies events: records their facts, posts what is due, says what became of each event and completes the jobs, all in
 * one transaction. If a batch fails, each event is tried in a transaction of its own, so that a poison event fails by
 * itself; once its retries are used up it is parked, and its job dead-lettered.
 * @throws if the database is away; pg-boss then retries every job
 */
export async function applyEvents(services: ApplyServices, jobs: readonly ApplyJob[]): Promise<readonly ApplyResult[]> {
  const run: Run = { services, lockTimeoutMs: null };
  const fresh = jobs.filter((job) => job.retryCount === 0);
  const results = fresh.length === 0 ? [] : [...(await applyBatch(run, fresh))];
  // A job that failed before may be one that ends the process; its neighbours must not share its fate again.
  for (const job of jobs) if (job.retryCount > 0) results.push(...(await applyBatch(run, [job])));
  return results;
}

interface Run {
  readonly services: ApplyServices;
  /** Null for what the connection says. */
  lockTimeoutMs: number | null;
}

/**
 * Somebody holds a wallet for long, and this run has waited for it once. A batch may be full of events of that wallet:
 * if each waited anew, the others would be late and the jobs expire. They come again by themselves.
 */
const HURRIED_LOCK_TIMEOUT_MS = 50;

async function applyBatch(run: Run, jobs: readonly ApplyJob[]): Promise<readonly ApplyResult[]> {
  try {
    await applyAll(run, jobs, 'together');
    return jobs.map(({ id }) => ({ id, status: 'completed' }));
  } catch (error) {
    if (isOutage(error)) throw error;
    if (isHeldUp(error)) run.lockTimeoutMs = HURRIED_LOCK_TIMEOUT_MS;
    const { logger } = run.services;
    logger.debug({ err: error, jobs: jobs.length }, 'a batch of events failed and is applied one by one');
    const results: ApplyResult[] = [];
    for (const job of jobs) results.push(await applyAlone(run, job));
    return results;
  }
}

/** A transaction for one event: it locks its payments and wallets in order, whatever the events before it locked. */
async function applyAlone(run: Run, job: ApplyJob): Promise<ApplyResult> {
  try {
    await applyAll(run, [job], 'alone');
    return { id: job.id, status: 'completed' };
  } catch (error) {
    if (isOutage(error)) throw error;
    return fail(run.services, job, error);
  }
}

/** One transaction, and what is told of it once it is committed. */
async function applyAll(run: Run, jobs: readonly ApplyJob[], mode: 'together' | 'alone'): Promise<void> {
  const { services, lockTimeoutMs } = run;
  const { pool, metrics, tracing } = services;
  const trace = tracing ? new ApplyTrace(tracing) : null;
  const onCommit = (seconds: number) => metrics?.observeCommit('apply', seconds);
  const apply = async (tx: Tx) => {
    if (lockTimeoutMs !== null) await tx.query(`set local lock_timeout = ${lockTimeoutMs}`);
    return applyInTransaction(services, tx, jobs, mode, trace);
  };
  try {
    const { works, tallies } = await transaction(pool, apply, onCommit);
    services.onPosted();
    trace?.applied(works);
    for (const { event, verdict } of works) metrics?.countEvent(event.provider, verdict.state, verdict.reason ?? '');
    metrics?.countPostings('event', tallies);
  } catch (error) {
    trace?.failed(error);
    throw error;
  }
}

async function fail(
  { pool, clock, logger, metrics }: ApplyServices,
  job: ApplyJob,
  error: unknown,
): Promise<ApplyResult> {
  const name = error instanceof Error ? error.name : 'Error';
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? ` ${error.code}` : '';
  const output = { error: `${name}${code}` };
  if (error instanceof ClaimLostError || job.retryCount < job.retryLimit) {
    metrics?.countEventFailure('retried');
    logger.warn(
      { err: error, eventId: job.eventId, retryCount: job.retryCount },
      'an event could not be applied and is retried',
    );
    return { id: job.id, status: 'failed', output };
  }
  logger.error({ err: error, eventId: job.eventId }, 'an event failed again and again and is parked');
  const verdict = { ...park('apply_failed', output.error), eventId: job.eventId, paymentId: null };
  await transaction(pool, (tx) => saveVerdicts(tx, [verdict], clock.now()));
  metrics?.countEventFailure('parked');
  return { id: job.id, status: 'deadletter', output };
}

async function applyInTransaction(
  services: ApplyServices,
  tx: Tx,
  jobs: readonly ApplyJob[],
  mode: 'together' | 'alone',
  trace: ApplyTrace | null,
): Promise<{ readonly works: readonly Work[]; readonly tallies: Settled['tallies'] }> {
  const now = services.clock.now();
  const events = await lockEvents(
    tx,
    jobs.map((job) => job.eventId),
  );
  // An event that is settled already was applied by an earlier run of the same job, whose completion was lost.
  const open = events.filter((event) => event.state === 'pending' || event.state === 'waiting');
  const sources = await findSources(services, tx, open);
  trace?.begin(open);
  const works = open.map(
    (event): Work => ({
      event,
      ...read(event, sources.get(event.sourceId) ?? null),
      traceParent: trace?.traceParent(event.eventId) ?? null,
    }),
  );
  const settled = await settleFacts(services, tx, works, mode, now);
  noteOldNews(works, settled);
  await savePayments(tx, [...settled.after.values()], now);
  await saveVerdicts(
    tx,
    works.map(({ event, facts, verdict }) => ({
      ...verdict,
      eventId: event.eventId,
      paymentId: facts[0]?.paymentId ?? null,
    })),
    now,
  );
  await followUp(services, tx, works, settled, now);
  await completeJobs(services.boss, tx, 'apply-provider-event', jobs);
  return { works, tallies: settled.tallies };
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

function read(event: LockedEvent, source: Source | null): Pick<Work, 'source' | 'facts' | 'verdict'> {
  if (source === null) return { source, facts: [], verdict: park('source_missing', event.sourceId) };
  const interpretation = PROVIDERS[source.provider].interpret(event.body);
  const base = { source };
  if (interpretation.livemode !== undefined && interpretation.livemode !== (source.mode === 'live')) {
    return {
      ...base,
      facts: [],
      verdict: park(
        'wrong_mode',
        `the event is ${interpretation.livemode ? 'live' : 'test'}, the source is ${source.mode}`,
      ),
    };
  }
  switch (interpretation.kind) {
    case 'ignored':
      return { ...base, facts: [], verdict: { state: 'ignored', reason: null, detail: interpretation.reason } };
    case 'parked':
      return { ...base, facts: [], verdict: park(interpretation.reason, interpretation.detail) };
    case 'facts':
      return { ...base, facts: interpretation.facts, verdict: { state: 'applied', reason: null, detail: null } };
  }
}

/** Wakes what waited for the payments now applied, and sets the alarm for what waits from now on. */
async function followUp(
  { boss, waitSeconds }: ApplyServices,
  tx: Tx,
  works: readonly Work[],
  { before }: Settled,
  now: Date,
): Promise<void> {
  const applied = works.filter((work) => work.verdict.state === 'applied');
  const keys = applied.flatMap((work) =>
    work.facts
      .filter((fact) => fact.kind === 'payment')
      .map((fact) => ({ ...sourceKey(work), paymentId: fact.paymentId })),
  );
  const waiting = works.filter((work) => work.verdict.state === 'waiting');
  // A refund may stand before its payment in this very batch, which had not been heard of then.
  const waitedFor = new Set(
    waiting.flatMap((work) =>
      work.facts.map((fact) => paymentKeyText({ ...sourceKey(work), paymentId: fact.paymentId })),
    ),
  );
  const heardOf = keys.filter((key) => {
    const text = paymentKeyText(key);
    return waitedFor.has(text) || wasHeardOf(before.get(text));
  });
  const except = applied.map((work) => work.event.eventId);
  const woken = new Set(await wakeEvents(tx, heardOf, except));
  await enqueue(boss, tx, [...woken]);
  const asleep = waiting.map((work) => work.event.eventId).filter((eventId) => !woken.has(eventId));
  await enqueue(boss, tx, asleep, new Date(now.getTime() + waitSeconds * 1000));
}

/** Most payments are news; only what was heard of before can have events that wait for it. */
function wasHeardOf(payment: Payment | undefined): boolean {
  return payment !== undefined && (payment.state !== 'unknown' || payment.parts.length > 0);
}
