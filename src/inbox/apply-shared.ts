import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, text } from '../db/codec.ts';
import { HeldUp } from '../db/held-up.ts';
import { ClaimLostError, completeJobs, keepClaim } from '../db/queues.ts';
import { isOutage } from '../db/sqlstate.ts';
import { statement } from '../db/statement.ts';
import { type Tx, transaction } from '../db/transaction.ts';
import { UNOBSERVED } from '../telemetry/observe.ts';
import { type ApplyRun, applyAll } from './apply.ts';
import { applyApart, byItself } from './apply-apart.ts';
import { type ApplyResult, putBack } from './apply-jobs.ts';
import { enqueue } from './enqueue.ts';
import type { ApplyServices } from './event-work.ts';
import { EVENT_KEY, type EventKey } from './events.ts';
import { insertSharedJobs, MAX_BODY_BYTES, nextThatFit, type SharedEvents } from './shared-jobs.ts';

/** A fetched job of many events, and the claim under which it may be completed. */
export interface SharedJob extends SharedEvents {
  readonly id: string;
  readonly retryCount: number;
}

const QUEUE = 'apply-provider-events';

/** For so long a run goes on with the next batch of what it has claimed: what came meanwhile with a better place waits for it. */
const RUN_MS = 500;
/** What is claimed beyond four batches is put back at once. */
const MOST_OF_A_RUN = { events: 1_000, bytes: 4 * MAX_BODY_BYTES };

/** When an event is tried again that failed among others. From then on it has the retries of a job of its own. */
const FIRST_RETRY_MS = 2_000;

/**
 * Applies the events of jobs that hold many: batch after batch, of those of the jobs that are next, as many as their bodies allow, in one transaction that also
 * completes their jobs. Jobs for which the run has no room or no time go back to the queue. If a transaction fails, each of its jobs is tried by itself, and
 * then each of its events under the claim of the job; those that fail again go on as jobs of one event. The events of a job whose run ended without a word
 * are taken apart before any of them is looked at, since one of them may be what ends the process.
 * @param runMs for how long it begins another batch
 * @throws {Error} if the database is away; pg-boss then retries every job
 */
export async function applySharedJobs(
  services: ApplyServices,
  jobs: readonly SharedJob[],
  { runMs = RUN_MS }: { readonly runMs?: number } = {},
): Promise<readonly ApplyResult[]> {
  const run: ApplyRun = { services, queue: QUEUE, heldUp: new HeldUp() };
  const endsMs = performance.now() + runMs;
  const fresh = jobs.filter(({ retryCount }) => retryCount === 0);
  const ofRun = nextThatFit(fresh, MOST_OF_A_RUN);
  const results = [...(await putBackJobs(services, ofRun.left))];
  for (let rest = ofRun.batch; rest.length > 0; ) {
    const { batch, left } = nextThatFit(rest);
    results.push(...(await applyApart(run, batch, { merchantOf, apply: applyBatch })));
    const isOver = performance.now() >= endsMs;
    if (isOver) results.push(...(await putBackJobs(services, left)));
    rest = isOver ? [] : left;
  }
  for (const job of jobs.filter(({ retryCount }) => retryCount > 0)) {
    results.push(...(await byItself(services, [job], async () => [await takeApart(services, job)])));
  }
  return results;
}

/** Lets whoever is free take them up. */
function putBackJobs(services: ApplyServices, jobs: readonly SharedJob[]): Promise<readonly ApplyResult[]> {
  return putBack(services, { name: QUEUE, jobs, insert: (tx) => insertSharedJobs(services.boss, tx, jobs) });
}

/** Whose the events of a job are. One that was made before the tables were spread may be of several merchants: it is by itself. */
function merchantOf({ id, events }: SharedJob): string {
  const merchants = new Set(events.map(({ merchantId }) => merchantId));
  const [merchant = id] = merchants;
  return merchants.size === 1 ? merchant : id;
}

async function applyBatch(run: ApplyRun, jobs: readonly SharedJob[]): Promise<readonly ApplyResult[]> {
  const { boss, logger } = run.services;
  const events = jobs.flatMap((job) => job.events);
  const settleJobs = (tx: Tx) => completeJobs(boss, tx, { name: QUEUE, jobs });
  try {
    await applyAll(run, { events, mode: 'together', settleJobs });
    return jobs.map(({ id }) => ({ id, status: 'completed' }));
  } catch (error) {
    if (isOutage(error)) throw error;
    const [first, ...others] = jobs;
    if (error instanceof ClaimLostError && first !== undefined && others.length === 0) return [lost(first, error)];
    run.heldUp.note(error, events);
    logger.debug({ err: error, events: events.length }, 'a batch of events failed and is applied in parts');
    const results: ApplyResult[] = [];
    // First by job, so that only the neighbours of what is bad are applied one by one.
    const ofMerchants = jobs.map((job) => ({ job, merchantId: merchantOf(job) }));
    for (const { job } of run.heldUp.last(ofMerchants)) {
      const isWhole = others.length > 0 && job.events.length > 1;
      results.push(...(isWhole ? await applyBatch(run, [job]) : [await applyOneByOne(run, job)]));
    }
    return results;
  }
}

/**
 * Applies the events of a job one after another, each in a transaction that commits only while the job is this run's. The last one completes
 * it, unless some have failed: those go on with jobs of their own. What was applied stays so if the job is lost in the middle: the next
 * run does not look at it again.
 */
async function applyOneByOne(run: ApplyRun, job: SharedJob): Promise<ApplyResult> {
  const { services } = run;
  const { boss, clock, logger, observe: { metrics } = UNOBSERVED } = services;
  const failed: EventKey[] = [];
  let left = job.events.length;
  for (const event of run.heldUp.last(job.events)) {
    left -= 1;
    const isDone = left === 0 && failed.length === 0;
    const settleJobs = (tx: Tx) =>
      isDone ? completeJobs(boss, tx, { name: QUEUE, jobs: [job] }) : keepClaim(boss, tx, { name: QUEUE, job });
    try {
      await applyAll(run, { events: [event], mode: 'alone', settleJobs });
    } catch (error) {
      if (isOutage(error)) throw error;
      if (error instanceof ClaimLostError) return lost(job, error);
      run.heldUp.note(error, [event]);
      metrics.countEventFailure('retried');
      const { retryCount } = job;
      logger.warn({ err: error, eventId: event.eventId, retryCount }, 'an event could not be applied and is retried');
      failed.push(event);
    }
  }
  if (failed.length === 0) return { id: job.id, status: 'completed' };
  const startAfter = new Date(clock.now().getTime() + FIRST_RETRY_MS);
  return end(services, job, (tx) => enqueue(boss, tx, { events: failed, startAfter }));
}

/** Gives each event of a job that was not applied yet a job of its own, and reads none of them. */
function takeApart(services: ApplyServices, job: SharedJob): Promise<ApplyResult> {
  return end(services, job, async (tx) => {
    const events = await ofEachMerchant(job.events, (merchantId, own) =>
      STILL_PENDING.all(tx, { merchantId, eventIds: own.map(({ eventId }) => eventId) }),
    );
    await enqueue(services.boss, tx, { events });
  });
}

const STILL_PENDING = statement({
  params: { merchantId: text, eventIds: array(text) },
  row: EVENT_KEY,
  text: ({ merchantId, eventIds }) => `
    select merchant_id, event_id from provider_event
    where merchant_id = ${merchantId} and event_id = any (${eventIds}) and state = 'pending'
    order by event_id`,
});

/** Completes a job in the transaction that makes jobs of what is left of it. */
async function end(
  { pool, boss }: ApplyServices,
  job: SharedJob,
  makeJobs: (tx: Tx) => Promise<void>,
): Promise<ApplyResult> {
  try {
    await transaction(pool, async (tx) => {
      await makeJobs(tx);
      await completeJobs(boss, tx, { name: QUEUE, jobs: [job] });
    });
    return { id: job.id, status: 'completed' };
  } catch (error) {
    if (error instanceof ClaimLostError) return lost(job, error);
    throw error;
  }
}

/** It belongs to another worker meanwhile, whose run counts; pg-boss finds nothing to fail. */
const lost = ({ id }: SharedJob, { name }: ClaimLostError): ApplyResult => {
  return { id, status: 'failed', output: { error: name } };
};
