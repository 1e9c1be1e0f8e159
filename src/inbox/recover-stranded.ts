import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import { inTransactions, mayBeOfOneMerchant } from '../db/apart.ts';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, float, text, timestamptz } from '../db/codec.ts';
import { Failures } from '../db/failures.ts';
import type { Pool } from '../db/pool.ts';
import { deadLetterOf } from '../db/queues.ts';
import { isOutage } from '../db/sqlstate.ts';
import { statement } from '../db/statement.ts';
import { autocommit, type Tx, transaction } from '../db/transaction.ts';
import type { Logger } from '../telemetry/log.ts';
import { enqueue } from './enqueue.ts';
import { eventsWithJobs } from './event-jobs.ts';
import { parkEvent } from './event-work.ts';
import { EVENT_KEY, type EventKey, saveVerdicts } from './events.ts';

/** How long after its time an event without a job is left alone: enough for the transaction that makes the job. */
const GRACE_SECONDS = 60;
const MAX_PER_RUN = 500;
/** The job is given up after five minutes. */
const MOST_LOST_MS = 2 * 60_000;
const DEAD_QUEUE = deadLetterOf('apply-provider-event');

export interface StrandedServices {
  readonly pool: Pool;
  readonly boss: PgBoss;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly waitSeconds: number;
}

/**
 * Makes new jobs for events that should be applied and have none: the inbox is the truth and the queue only its work
 * list, so a lost or expired job loses nothing. An event whose job was given up without a word (its worker died on it
 * again and again) is parked instead, for a person to see.
 * Where they cannot be looked after together, those of each merchant are by themselves.
 * @returns how many events were enqueued again and how many parked
 * @throws {unknown} at the end, what failed first of a merchant's; at once if the database is away
 */
export async function requeueStranded(services: StrandedServices): Promise<Requeued> {
  const { pool, clock, logger, waitSeconds } = services;
  const now = clock.now();
  const overdue = { now, pendingSeconds: GRACE_SECONDS, waitingSeconds: waitSeconds + GRACE_SECONDS };
  const stranded = await FIND_STRANDED.all(autocommit(pool), { ...overdue, limit: MAX_PER_RUN });
  const failures = new Failures(MOST_LOST_MS);
  let result = NOTHING;
  for (const own of inTransactions(stranded, ({ merchantId }) => merchantId))
    if (own.length > 0) result = sumOf(result, await lookAfter(services, { stranded: own, overdue }, failures));
  if (result.enqueued + result.parked > 0) logger.warn(result, 'events had lost their jobs');
  failures.rethrow();
  return result;
}

interface Requeued {
  readonly enqueued: number;
  readonly parked: number;
}

const NOTHING: Requeued = { enqueued: 0, parked: 0 };

const sumOf = (one: Requeued, other: Requeued): Requeued => ({
  enqueued: one.enqueued + other.enqueued,
  parked: one.parked + other.parked,
});

interface Found {
  readonly stranded: readonly EventKey[];
  readonly overdue: { readonly now: Date; readonly pendingSeconds: number; readonly waitingSeconds: number };
}

/** Together, and if that fails those of each merchant by themselves. */
async function lookAfter(services: StrandedServices, found: Found, failures: Failures): Promise<Requeued> {
  const { pool, logger } = services;
  const inTransaction = (some: Found) => transaction(pool, (tx) => requeue(services, tx, some));
  try {
    return await inTransaction(found);
  } catch (error) {
    if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
    const events = found.stranded.length;
    logger.debug({ err: error, events }, 'events that lost their jobs are looked after merchant by merchant');
  }
  let result = NOTHING;
  for (const [merchantId, stranded] of Map.groupBy(found.stranded, (event) => event.merchantId)) {
    const warn = (err: unknown) =>
      logger.warn(
        { err, merchantId, events: stranded.length },
        'events that lost their jobs were left to the next run',
      );
    const own = await failures.outlive(() => inTransaction({ ...found, stranded }), warn);
    result = sumOf(result, own ?? NOTHING);
  }
  return result;
}

/** Whatever has become of them since they were found: only those that are overdue still, and free. */
async function requeue({ boss }: StrandedServices, tx: Tx, { stranded, overdue }: Found): Promise<Requeued> {
  const found = await ofEachMerchant(stranded, (merchantId, own) =>
    LOCK_STRANDED.all(tx, { ...overdue, merchantId, eventIds: own.map(({ eventId }) => eventId) }),
  );
  const buried = await BURIED.all(tx, { deadQueue: DEAD_QUEUE, eventIds: found.map(({ eventId }) => eventId) });
  const isBuried = new Set(buried.map(({ eventId }) => eventId));
  const lost = found.filter(({ eventId }) => !isBuried.has(eventId));
  const dead = found.filter(({ eventId }) => isBuried.has(eventId));
  await enqueue(boss, tx, { events: lost });
  const verdict = { ...parkEvent('apply_failed', 'its job was given up; the log says why'), paymentId: null };
  const verdicts = dead.map((event) => ({ ...verdict, ...event }));
  await saveVerdicts(tx, verdicts, overdue.now);
  return { enqueued: lost.length, parked: dead.length };
}

/** SQL for whether the event `e` should have been applied by now. */
const isOverdue = (p: { readonly now: string; readonly pendingSeconds: string; readonly waitingSeconds: string }) => `
  ((e.state = 'pending' and e.received_at < ${p.now}::timestamptz - make_interval(secs => ${p.pendingSeconds}))
    or (e.state = 'waiting' and e.waiting_since < ${p.now}::timestamptz - make_interval(secs => ${p.waitingSeconds})))`;

const OVERDUE = { now: timestamptz, pendingSeconds: float, waitingSeconds: float };

/**
 * Events and jobs are compared as sets,
 * which takes one reading of each: where Postgres does not know how many there are, it would join them by reading all jobs for each event.
 * Each merchant's oldest come first, so that as many of one as a run takes, which may fail again and again, leave room for others'.
 */
const FIND_STRANDED = statement({
  acrossMerchants: 'the sweep is over all of them',
  params: { ...OVERDUE, limit: bigint },
  row: EVENT_KEY,
  text: (p) => `
    with without_job as (
      select e.event_id from provider_event e where ${isOverdue(p)}
      except
      ${eventsWithJobs()})
    select e.merchant_id, e.event_id from provider_event e
    where e.event_id = any (array(select event_id from without_job)) and ${isOverdue(p)}
    order by row_number() over (partition by e.merchant_id order by e.received_at), e.received_at
    limit ${p.limit}`,
});

/** What another transaction has locked is being applied, or looked after by another sweep. */
const LOCK_STRANDED = statement({
  params: { ...OVERDUE, merchantId: text, eventIds: array(text) },
  row: EVENT_KEY,
  text: (p) => `
    select e.merchant_id, e.event_id from provider_event e
    where e.merchant_id = ${p.merchantId} and e.event_id = any (${p.eventIds}) and ${isOverdue(p)}
    order by e.event_id
    for update skip locked`,
});

/** Those whose job was given up. */
const BURIED = statement({
  params: { deadQueue: text, eventIds: array(text) },
  row: { eventId: text },
  text: ({ deadQueue, eventIds }) => `
    select distinct j.data ->> 'eventId' as event_id from pgboss.job j
    where j.name = ${deadQueue} and j.state = 'created' and j.data ->> 'eventId' = any (${eventIds})`,
});
