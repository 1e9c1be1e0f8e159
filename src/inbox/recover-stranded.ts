import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import { bigint, boolean, float, text, timestamptz } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { deadLetterOf } from '../db/queues.ts';
import { statement } from '../db/statement.ts';
import { transaction } from '../db/transaction.ts';
import type { Logger } from '../telemetry/log.ts';
import { enqueue } from './enqueue.ts';
import { parkEvent } from './event-work.ts';
import { saveVerdicts } from './events.ts';

/** How long after its time an event without a job is left alone: enough for the transaction that makes the job. */
const GRACE_SECONDS = 60;
const MAX_PER_RUN = 500;

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
 * @returns how many events were enqueued again and how many parked
 */
export async function requeueStranded(services: StrandedServices): Promise<{ enqueued: number; parked: number }> {
  const { pool, boss, clock, logger, waitSeconds } = services;
  const now = clock.now();
  const result = await transaction(pool, async (tx) => {
    const found = await FIND_STRANDED.all(tx, {
      now,
      pendingSeconds: GRACE_SECONDS,
      waitingSeconds: waitSeconds + GRACE_SECONDS,
      deadQueue: deadLetterOf('apply-provider-event'),
      limit: MAX_PER_RUN,
    });
    const idsOf = (buried: boolean) => found.filter((one) => one.buried === buried).map(({ eventId }) => eventId);
    const [lost, dead] = [idsOf(false), idsOf(true)];
    await enqueue(boss, tx, { eventIds: lost });
    const verdict = { ...parkEvent('apply_failed', 'its job was given up; the log says why'), paymentId: null };
    await saveVerdicts(
      tx,
      dead.map((eventId) => ({ ...verdict, eventId })),
      now,
    );
    return { enqueued: lost.length, parked: dead.length };
  });
  if (result.enqueued + result.parked > 0) logger.warn(result, 'events had lost their jobs');
  return result;
}

/**
 * Payloads of pg-boss are its own business, but a job of ours can only be known by what we put into it. Events and jobs are compared as sets,
 * which takes one reading of each: where Postgres does not know how many there are, it would join them by reading all jobs for each event.
 */
const FIND_STRANDED = statement({
  acrossMerchants: 'the sweep is over all of them',
  params: { now: timestamptz, pendingSeconds: float, waitingSeconds: float, deadQueue: text, limit: bigint },
  row: { eventId: text, buried: boolean },
  text: (p) => {
    const isOverdue = `
      ((e.state = 'pending' and e.received_at < ${p.now}::timestamptz - make_interval(secs => ${p.pendingSeconds}))
        or (e.state = 'waiting' and e.waiting_since < ${p.now}::timestamptz - make_interval(secs => ${p.waitingSeconds})))`;
    return `
    with without_job as (
      select e.event_id from provider_event e where ${isOverdue}
      except
      select j.data ->> 'eventId' from pgboss.job j
      where j.name = 'apply-provider-event' and j.state in ('created', 'retry', 'active')),
    found as materialized (
      select e.event_id from provider_event e
      where e.event_id = any (array(select event_id from without_job)) and ${isOverdue}
      order by e.received_at
      limit ${p.limit}
      for update skip locked),
    buried as (
      select event_id from found
      intersect
      select j.data ->> 'eventId' from pgboss.job j where j.name = ${p.deadQueue} and j.state = 'created')
    select f.event_id, b.event_id is not null as buried from found f left join buried b using (event_id)`;
  },
});
