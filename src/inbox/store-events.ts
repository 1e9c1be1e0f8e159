import type { PgBoss } from 'pg-boss';
import type { Tx } from '../db/transaction.ts';
import { enqueue } from './events.ts';

/** An event to be taken in. */
export interface NewEvent {
  readonly eventId: string;
  readonly merchantId: string;
  readonly sourceId: string;
  readonly provider: string;
  /** What makes a repetition of it the same; of at most 200 characters. */
  readonly deliveryKey: string;
  readonly eventType: string;
  readonly body: Buffer;
  readonly state: 'pending' | 'ignored';
  readonly detail: string | null;
  readonly receivedAt: Date;
  /** By which way it came. */
  readonly origin: 'webhook' | 'reconciliation';
  /** By which its application goes on with the trace of its delivery. */
  readonly traceParent?: string | null;
}

/**
 * The one door into the inbox: stores events that are not there yet and enqueues their application, in the caller's
 * transaction.
 * @returns the ids of those stored; the others were there already, under the same delivery key
 */
export async function storeEvents(boss: PgBoss, tx: Tx, events: readonly NewEvent[]): Promise<ReadonlySet<string>> {
  if (events.length === 0) return new Set();
  const { rows } = await tx.query<{ event_id: string }>(STORE_EVENTS, [
    events.map((event) => event.eventId),
    events.map((event) => event.merchantId),
    events.map((event) => event.sourceId),
    events.map((event) => event.provider),
    events.map((event) => event.deliveryKey),
    events.map((event) => event.eventType.slice(0, 200)),
    events.map((event) => event.body),
    events.map((event) => event.state),
    events.map((event) => event.detail),
    events.map((event) => event.receivedAt.toISOString()),
    events.map((event) => event.origin),
    events.map((event) => event.traceParent ?? null),
  ]);
  const stored = new Set(rows.map((row) => row.event_id));
  const pending = events.filter((event) => event.state === 'pending' && stored.has(event.eventId));
  await enqueue(
    boss,
    tx,
    pending.map((event) => event.eventId),
  );
  return stored;
}

const STORE_EVENTS = {
  name: 'store-events',
  text: `
    insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, detail,
      received_at, settled_at, origin, trace_parent)
    select event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, detail, received_at,
      case when state = 'ignored' then received_at end, origin, trace_parent
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::text[],
      $10::timestamptz[], $11::text[], $12::text[])
      as n (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, detail, received_at, origin,
        trace_parent)
    order by merchant_id, source_id, delivery_key
    on conflict (merchant_id, source_id, delivery_key) do nothing
    returning event_id`,
};
