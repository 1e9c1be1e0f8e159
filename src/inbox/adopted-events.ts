import type { Tx } from '../db/transaction.ts';
import { adoptionsOf, shareSources } from '../merchants/adoption-store.ts';
import { rehomeEvents } from './adopt-events.ts';
import { type EventKey, type LockedEvent, saveVerdicts } from './events.ts';

/** What may be applied of a batch's events. */
interface Homecoming {
  /** With the source they belong to now. */
  readonly events: readonly LockedEvent[];
  /** Those whose source is just being adopted, to be applied later. */
  readonly later: readonly EventKey[];
}

/**
 * Gives events of sources that were adopted to those that adopted them, which have their payments, and puts off what is of
 * a source that is just being adopted: applied now, a payment might be posted at the one while it is moved to the other.
 */
export async function bringHome(tx: Tx, events: readonly LockedEvent[], now: Date): Promise<Homecoming> {
  const busy = await shareSources(
    tx,
    events.map(({ sourceId }) => sourceId),
  );
  const ready = events.filter(({ sourceId }) => !busy.has(sourceId));
  const adopted = new Map((await adoptionsOf(tx, ready)).map((one) => [one.sourceId, one.intoSourceId]));
  if (adopted.size === 0) return { events: ready, later: eventsOf(events, busy) };
  // The events belong to the adopting source now, which in its turn may be adopting another one or being adopted.
  const busyToo = await shareSources(tx, [...adopted.values()]);
  const moves = ready.flatMap(({ merchantId, eventId, sourceId }) => {
    const intoSourceId = adopted.get(sourceId);
    return intoSourceId === undefined || busyToo.has(intoSourceId) ? [] : [{ merchantId, eventId, intoSourceId }];
  });
  const moved = await rehomeEvents(tx, moves);
  const twins = moves.filter(({ eventId }) => !moved.has(eventId));
  const verdicts = twins.map(({ merchantId, eventId, intoSourceId }) => ({
    ...{ merchantId, eventId, paymentId: null, state: 'ignored' as const, reason: null, effect: null },
    detail: `received by ${intoSourceId} as well`,
  }));
  await saveVerdicts(tx, verdicts, now);
  const put = new Map(moves.map(({ eventId, intoSourceId }) => [eventId, intoSourceId]));
  const home = ready.flatMap((event) => {
    const into = put.get(event.eventId);
    if (into === undefined) return adopted.has(event.sourceId) ? [] : [event];
    return moved.has(event.eventId) ? [{ ...event, sourceId: into }] : [];
  });
  const waits = ready.filter(({ eventId, sourceId }) => adopted.has(sourceId) && !put.has(eventId));
  return { events: home, later: [...eventsOf(events, busy), ...waits] };
}

function eventsOf(events: readonly LockedEvent[], sources: ReadonlySet<string>): readonly EventKey[] {
  return events.filter(({ sourceId }) => sources.has(sourceId));
}
