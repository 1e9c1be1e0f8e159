import { bigint, float } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

export interface DeliveryBacklog {
  /** Deliveries of the embedded sender that are not finished, those that wait for their next try included. */
  readonly pendingDeliveries: number;
  /** Deliveries that were given up: the endpoint is disabled, or every try failed. */
  readonly failedDeliveries: number;
  /** For how long the most overdue delivery has been due; 0 if none is overdue. */
  readonly overdueSeconds: number;
  /** Messages that belong to no wallet and were not handed over yet. */
  readonly unsentMessages: number;
  readonly oldestUnsentSeconds: number;
}

/** What waits on its way to merchants, for all merchants together. Counts stop at 10,000, so that the query stays cheap. */
export async function deliveryBacklog(db: Queryable): Promise<DeliveryBacklog> {
  const { pending, failed, overdueSeconds, unsent, unsentSeconds } = await BACKLOG.one(db);
  return {
    pendingDeliveries: pending,
    failedDeliveries: failed,
    overdueSeconds: Math.max(overdueSeconds, 0),
    unsentMessages: unsent,
    oldestUnsentSeconds: Math.max(unsentSeconds, 0),
  };
}

const BACKLOG = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { pending: bigint, failed: bigint, overdueSeconds: float, unsent: bigint, unsentSeconds: float },
  text: () => `
    select
      (select count(*) from (select 1 from webhook_delivery where state = 'pending' limit 10000) p) as pending,
      (select count(*) from (select 1 from webhook_delivery where state = 'failed' limit 10000) f) as failed,
      (select coalesce(extract(epoch from now() - min(next_attempt_at)), 0)::float8 from webhook_delivery where state = 'pending') as overdue_seconds,
      (select count(*) from (select 1 from unsent_message limit 10000) u) as unsent,
      (select coalesce(extract(epoch from now() - min(since)), 0)::float8 from unsent_message) as unsent_seconds`,
});
