import type { Queryable } from '../db/transaction.ts';
import type { SourceKey } from '../merchants/source-store.ts';
import { getEvent, type ProviderEvent } from './events.ts';

/** The event that a delivery of this key was stored as, or null if none was. */
export async function findDelivery(
  db: Queryable,
  { merchantId, sourceId }: SourceKey,
  deliveryKey: string,
): Promise<ProviderEvent | null> {
  const { rows } = await db.query<{ event_id: string }>(
    'select event_id from provider_event where merchant_id = $1 and source_id = $2 and delivery_key = $3',
    [merchantId, sourceId, deliveryKey],
  );
  return rows[0] === undefined ? null : getEvent(db, merchantId, rows[0].event_id);
}
