import { array, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { EVENT_KEY, type EventKey } from './events.ts';

/** What a job says of its event. */
interface NamedEvent {
  /** Missing in a job that a release before made: it named its event alone. */
  readonly merchantId?: string | null | undefined;
  readonly eventId: string;
}

/** Adds the merchant to events that are named without. One that is not there is nobody's, and its merchant the empty text. */
export async function withMerchants<Event extends NamedEvent>(
  db: Queryable,
  events: readonly Event[],
): Promise<readonly (Event & EventKey)[]> {
  const eventIds = events.flatMap(({ merchantId, eventId }) => (merchantId ? [] : [eventId]));
  const found = eventIds.length === 0 ? [] : await WHOSE_EVENTS.all(db, { eventIds });
  const merchants = new Map(found.map(({ merchantId, eventId }) => [eventId, merchantId]));
  return events.map((event) => ({ ...event, merchantId: event.merchantId || (merchants.get(event.eventId) ?? '') }));
}

/** Reads the whole index of the events, since no index begins with their ids; only for an hour or two after an upgrade. */
const WHOSE_EVENTS = statement({
  acrossMerchants: 'a job of a release before names its event alone',
  params: { eventIds: array(text) },
  row: EVENT_KEY,
  text: ({ eventIds }) => `select merchant_id, event_id from provider_event where event_id = any (${eventIds})`,
});
