import type { PgBoss } from 'pg-boss';
import { ofEachMerchant } from '../db/by-merchant.ts';
import { bytea, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, table } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import { enqueueTogether } from './enqueue.ts';

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
  /** Whether the provider sent it, or reconciliation read it from the provider's API. */
  readonly origin: 'webhook' | 'reconciliation';
  /** The span of its delivery, so that applying it goes on with the same trace. */
  readonly traceParent?: string | null;
}

/**
 * The one door into the inbox: stores events that are not there yet and enqueues their application, in the caller's
 * transaction.
 * @returns the ids of those stored; the others were there already, under the same delivery key
 */
export async function storeEvents(boss: PgBoss, tx: Tx, events: readonly NewEvent[]): Promise<ReadonlySet<string>> {
  const rows = events.map((event) => ({
    ...event,
    eventType: event.eventType.slice(0, 200),
    traceParent: event.traceParent ?? null,
  }));
  const ids = await ofEachMerchant(rows, (merchantId, own) => STORE_EVENTS.all(tx, { merchantId, events: own }));
  const stored = new Set(ids.map(({ eventId }) => eventId));
  const pending = events.filter((event) => event.state === 'pending' && stored.has(event.eventId));
  const due = pending.map(({ merchantId, eventId, body }) => ({ merchantId, eventId, bytes: body.length }));
  await enqueueTogether(boss, tx, due);
  return stored;
}

const NEW_EVENT = table('provider_event', {
  eventId: text,
  sourceId: text,
  provider: text,
  deliveryKey: text,
  eventType: text,
  body: bytea,
  state: text,
  detail: nullable(text),
  receivedAt: timestamptz,
  origin: text,
  traceParent: nullable(text),
});

const STORE_EVENTS = statement({
  name: 'store-events',
  params: { merchantId: text, events: rowsOf(NEW_EVENT.shape) },
  row: { eventId: text },
  text: ({ merchantId, events }) => `
    insert into provider_event (merchant_id, ${columns(NEW_EVENT.shape)}, settled_at)
    select ${merchantId}, ${columns(NEW_EVENT.shape, 'n')}, case when n.state = 'ignored' then n.received_at end
    from ${events('n')}
    order by n.source_id, n.delivery_key
    on conflict (merchant_id, source_id, delivery_key) do nothing
    returning event_id`,
});
