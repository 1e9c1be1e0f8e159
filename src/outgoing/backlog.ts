import type { Queryable } from '../db/transaction.ts';
import { invariant } from '../errors.ts';

export interface DeliveryBacklog {
  /** To merchants' endpoints, by the embedded sender; those that wait for their next try too. */
  readonly pendingDeliveries: number;
  /** Given up: the endpoint is disabled, or every try failed. */
  readonly failedDeliveries: number;
  /** How long ago the delivery that is the most overdue should have been tried; 0 if none is. */
  readonly overdueSeconds: number;
  /** Messages that belong to no wallet and were not handed over yet. */
  readonly unsentMessages: number;
  readonly oldestUnsentSeconds: number;
}

/** What waits on its way to merchants, over all of them. Counts stop at 10,000: by then the number is no news. */
export async function deliveryBacklog(db: Queryable): Promise<DeliveryBacklog> {
  const { rows } = await db.query<{
    pending: number;
    failed: number;
    overdue_seconds: number;
    unsent: number;
    unsent_seconds: number;
  }>(`
    select
      (select count(*) from (select 1 from webhook_delivery where state = 'pending' limit 10000) p) as pending,
      (select count(*) from (select 1 from webhook_delivery where state = 'failed' limit 10000) f) as failed,
      (select coalesce(extract(epoch from now() - min(next_attempt_at)), 0)::float8 from webhook_delivery where state = 'pending') as overdue_seconds,
      (select count(*) from (select 1 from unsent_message limit 10000) u) as unsent,
      (select coalesce(extract(epoch from now() - min(since)), 0)::float8 from unsent_message) as unsent_seconds`);
  const [row] = rows;
  invariant(row !== undefined, 'a count without a row');
  return {
    pendingDeliveries: row.pending,
    failedDeliveries: row.failed,
    overdueSeconds: Math.max(row.overdue_seconds, 0),
    unsentMessages: row.unsent,
    oldestUnsentSeconds: Math.max(row.unsent_seconds, 0),
  };
}
