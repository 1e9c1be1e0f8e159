import type { Queryable } from '../db/transaction.ts';
import { invariant } from '../errors.ts';

/** How much is waiting to be applied, over all merchants. Counts stop at 10,000: by then the number is no news. */
export async function eventBacklog(
  db: Queryable,
): Promise<{ parkedEvents: number; waitingEvents: number; oldestPendingEventSeconds: number }> {
  const { rows } = await db.query<{ parked: number; waiting: number; pending_seconds: number }>(`
    select
      (select count(*) from (select 1 from provider_event where state = 'parked' limit 10000) p) as parked,
      (select count(*) from (select 1 from provider_event where state = 'waiting' limit 10000) w) as waiting,
      (select coalesce(extract(epoch from now() - min(received_at)), 0)::float8 from provider_event where state = 'pending') as pending_seconds`);
  const [row] = rows;
  invariant(row !== undefined, 'a count without a row');
  return {
    parkedEvents: row.parked,
    waitingEvents: row.waiting,
    oldestPendingEventSeconds: Math.max(row.pending_seconds, 0),
  };
}
