import { bigint, float } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

export interface ScheduleBacklog {
  /** Scheduled entries and grant schedules that are due, counted up to 10,000. */
  readonly schedulesDue: number;
  /** How long the first of them has been; 0 if none is. */
  readonly scheduleLateSeconds: number;
}

export async function scheduleBacklog(db: Queryable): Promise<ScheduleBacklog> {
  const { due, seconds } = await BACKLOG.one(db);
  return { schedulesDue: due, scheduleLateSeconds: Math.max(seconds, 0) };
}

/** Goes from merchant to merchant along the indexes, of each only as far as it is due. */
const BACKLOG = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { due: bigint, seconds: float },
  text: () => `
    with recursive merchants (merchant_id) as (
      (select merchant_id from scheduled_entry where due_at is not null order by merchant_id limit 1)
      union all
      select (select s.merchant_id from scheduled_entry s where s.due_at is not null and s.merchant_id > m.merchant_id
        order by s.merchant_id limit 1)
      from merchants m where m.merchant_id is not null),
    granting (merchant_id) as (
      (select merchant_id from grant_schedule where next_at is not null order by merchant_id limit 1)
      union all
      select (select s.merchant_id from grant_schedule s where s.next_at is not null and s.merchant_id > m.merchant_id
        order by s.merchant_id limit 1)
      from granting m where m.merchant_id is not null),
    due as (
      select d.at from merchants m
      cross join lateral (
        select s.due_at as at from scheduled_entry s
        where s.merchant_id = m.merchant_id and s.due_at <= now() order by s.due_at limit 10000) d
      union all
      select d.at from granting m
      cross join lateral (
        select s.next_at as at from grant_schedule s
        where s.merchant_id = m.merchant_id and s.next_at <= now() order by s.next_at limit 10000) d)
    select least(count(*), 10000) as due, coalesce(extract(epoch from now() - min(at)), 0)::float8 as seconds from due`,
});
