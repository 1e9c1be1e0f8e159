import { bigint, float, timestamptz } from '../db/codec.ts';
import { waitingMerchants } from '../db/merchant-walk.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { nextDueAt } from './grant-schedule.ts';
import { GRANT_SCHEDULE, WAITING_ENTRIES, WAITING_GRANTS } from './tables.ts';

export interface ScheduleBacklog {
  /** Scheduled entries and grant schedules that are due, those too that are put off, counted up to some 10,000. */
  readonly schedulesDue: number;
  /** How long the first of them has been; 0 if none is. */
  readonly scheduleLateSeconds: number;
}

export async function scheduleBacklog(db: Queryable): Promise<ScheduleBacklog> {
  const { due, seconds } = await BACKLOG.one(db);
  const soon = await SOON.all(db);
  const late = soon.flatMap(({ readAt, ...schedule }) => {
    const dueAt = nextDueAt(schedule);
    return dueAt === null || dueAt > readAt
      ? []
      : [{ schedule, readAt, seconds: (readAt.getTime() - dueAt.getTime()) / 1000 }];
  });
  // The others are counted already.
  const putOff = late.filter(({ schedule, readAt }) => schedule.nextAt !== null && schedule.nextAt > readAt).length;
  return {
    schedulesDue: due + putOff,
    scheduleLateSeconds: late.reduce((most, one) => Math.max(most, one.seconds), Math.max(seconds, 0)),
  };
}

const GRANTING = waitingMerchants('granting', WAITING_GRANTS);

/**
 * Goes from merchant to merchant along the indexes, of each only as far as it is due. What the service could not post is put off by an
 * hour at most, so an entry that was is found among those of the next hour, by the time for which it was scheduled.
 */
const BACKLOG = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { due: bigint, seconds: float },
  text: () => `
    with recursive ${waitingMerchants('merchants', WAITING_ENTRIES)},
    ${GRANTING},
    due as (
      select d.at from merchants m
      cross join lateral (
        select case when s.tries = 0 then s.post_at else s.due_at end as at from scheduled_entry s
        where s.merchant_id = m.merchant_id and s.due_at <= now() + interval '1 hour'
          and (s.due_at <= now() or (s.tries = 0 and s.post_at <= now()))
        order by s.due_at limit 10000) d
      union all
      select d.at from granting m
      cross join lateral (
        select s.next_at as at from grant_schedule s
        where s.merchant_id = m.merchant_id and s.next_at <= now() order by s.next_at limit 10000) d)
    select least(count(*), 10000) as due, coalesce(extract(epoch from now() - min(at)), 0)::float8 as seconds from due`,
  textOnCitus: () => `
    with due as (
      select case when tries = 0 then post_at else due_at end as at from scheduled_entry
      where due_at <= now() + interval '1 hour' and (due_at <= now() or (tries = 0 and post_at <= now()))
      union all
      select next_at as at from grant_schedule where next_at <= now())
    select least(count(*), 10000) as due, coalesce(extract(epoch from now() - min(at)), 0)::float8 as seconds from due`,
});

/** Schedules among which those are that are put off, of a merchant only some: their time by the calendar is computed here. */
const SOON = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { ...GRANT_SCHEDULE.shape, readAt: timestamptz },
  text: () => `
    with recursive ${GRANTING}
    select ${columns(GRANT_SCHEDULE.shape, 'd')}, now() as read_at from granting m
    cross join lateral (
      select ${columns(GRANT_SCHEDULE.shape, 's')} from grant_schedule s
      where s.merchant_id = m.merchant_id and s.next_at <= now() + interval '1 hour' order by s.next_at limit 200) d
    limit 2000`,
  textOnCitus: () => `
    select ${columns(GRANT_SCHEDULE.shape)}, now() as read_at from grant_schedule
    where next_at <= now() + interval '1 hour' order by next_at limit 2000`,
});
