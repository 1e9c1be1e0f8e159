import { text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import type { SourceKey } from '../merchants/source.ts';
import { getEvent, type ProviderEvent } from './events.ts';

/** The event that a delivery of this key was stored as, or null if none was. */
export async function findDelivery(
  db: Queryable,
  { merchantId, sourceId }: SourceKey,
  deliveryKey: string,
): Promise<ProviderEvent | null> {
  const found = await FIND_DELIVERY.first(db, { merchantId, sourceId, deliveryKey });
  return found === null ? null : getEvent(db, merchantId, found.eventId);
}

const FIND_DELIVERY = statement({
  params: { merchantId: text, sourceId: text, deliveryKey: text },
  row: { eventId: text },
  text: ({ merchantId, sourceId, deliveryKey }) => `
    select event_id from provider_event
    where merchant_id = ${merchantId} and source_id = ${sourceId} and delivery_key = ${deliveryKey}`,
});
