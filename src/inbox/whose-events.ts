import { array, text } from '../db/codec.ts';
import { merchantWalk } from '../db/merchant-walk.ts';
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

/**
 * Looks them up at each merchant, along the key of the events, which begins with him: by their ids alone, Postgres before 18 would read the
 * whole index, of as many events as there ever were. The merchants are found along it too. Only for an hour or two after an upgrade.
 */
const WHOSE_EVENTS = statement({
  acrossMerchants: 'a job of a release before names its event alone',
  params: { eventIds: array(text) },
  row: EVENT_KEY,
  text: ({ eventIds }) => `
    with recursive ${merchantWalk('merchants', 'provider_event')}
    select e.merchant_id, e.event_id
    from merchants m
    cross join lateral (
      select x.merchant_id, x.event_id from provider_event x
      where x.merchant_id = m.merchant_id and x.event_id = any (${eventIds})
      offset 0) e`,
  textOnCitus: ({ eventIds }) => `select merchant_id, event_id from provider_event where event_id = any (${eventIds})`,
});
