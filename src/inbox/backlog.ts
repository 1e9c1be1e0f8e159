import { bigint, float } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** How much is waiting to be applied, over all merchants. Counts stop at 10,000: by then the number is no news. */
export async function eventBacklog(
  db: Queryable,
): Promise<{ parkedEvents: number; waitingEvents: number; oldestPendingEventSeconds: number }> {
  const { parked, waiting, pendingSeconds } = await BACKLOG.one(db);
  return { parkedEvents: parked, waitingEvents: waiting, oldestPendingEventSeconds: Math.max(pendingSeconds, 0) };
}

const BACKLOG = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { parked: bigint, waiting: bigint, pendingSeconds: float },
  text: () => `
    select
      (select count(*) from (select 1 from provider_event where state = 'parked' limit 10000) p) as parked,
      (select count(*) from (select 1 from provider_event where state = 'waiting' limit 10000) w) as waiting,
      (select coalesce(extract(epoch from now() - min(received_at)), 0)::float8 from provider_event where state = 'pending') as pending_seconds`,
});
