import { hash } from 'node:crypto';
import { array, bigint, hex, json, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, pick } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { groupsOfPayments, paymentsInDispute } from '../payments/lookups.ts';
import { OWN_PAYMENT_KEY, type PaymentKey, paymentKeyText } from '../payments/tables.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import { BODY, EVENT, type LockedEvent } from './events.ts';
import { type KeptFacts, NOTHING_KEPT, toKeep } from './kept-facts.ts';

/** Takes away the bodies of events that were applied, and keeps what they told. */

/** A place among the merchant's applied events that have their bodies, in the order in which they were applied. */
export interface BodyPlace {
  /** Microseconds since 1970, as the database has them. */
  readonly settledUs: number;
  readonly eventId: string;
}

/** An event that is done with and still has its body, which is not read here. */
interface OldEvent extends BodyPlace, Pick<LockedEvent, 'sourceId' | 'paymentId'> {
  readonly bytes: number;
}

export interface BodyPage {
  /** How many bodies were taken away; in a dry run, how many would be. */
  readonly taken: number;
  /** How many stay for now: of what is open or disputed, or what cannot be read. */
  readonly left: number;
  /** Where the next page begins; null if this was the last. */
  readonly place: BodyPlace | null;
}

/** Few enough that large bodies are no burden, and that no row is locked for long. */
const MAX_EVENTS = 200;
const MAX_BYTES = 8 * 1024 * 1024;

/** Of a page of the events that were applied before `before`, takes away the bodies of those that may lose them. */
export async function takeOldBodies(
  db: Queryable,
  merchantId: string,
  { before, place, isDryRun }: { readonly before: Date; readonly place: BodyPlace | null; readonly isDryRun: boolean },
): Promise<BodyPage> {
  const after = place ?? { settledUs: 0, eventId: '' };
  const found = await OLD_EVENTS.all(db, { merchantId, before, ...after, limit: MAX_EVENTS });
  const page = found.slice(0, countWithin(found));
  const { taken, left } = await takeBodies(db, merchantId, { events: page, payers: 'named', isDryRun });
  const last = page.at(-1);
  const isLast = last === undefined || (found.length < MAX_EVENTS && page.length === found.length);
  return { taken, left, place: isLast ? null : { settledUs: last.settledUs, eventId: last.eventId } };
}

/** How many of the events have bodies that may be in memory together; at least one. */
function countWithin(events: readonly Pick<OldEvent, 'bytes'>[]): number {
  let bytes = 0;
  const beyond = events.findIndex((event) => {
    bytes += event.bytes;
    return bytes > MAX_BYTES;
  });
  return beyond === -1 ? events.length : Math.max(beyond, 1);
}

/**
 * Takes away the bodies of all settled events that are noted with these payments, and what is kept of who paid. What is in dispute or
 * waits for a person stays whole.
 */
export async function eraseBodies(
  db: Queryable,
  merchantId: string,
  payments: readonly PaymentKey[],
): Promise<{ readonly taken: number; readonly left: number }> {
  const total = { taken: 0, left: 0 };
  // An invoice that was told before its payment names the payer too.
  const keys = [...payments, ...(await groupsOfPayments(db, payments))];
  const found = await NAMING_PAYERS.all(db, { merchantId, keys });
  for (let at = 0; at < found.length; ) {
    const rest = found.slice(at, at + MAX_EVENTS);
    const events = rest.slice(0, countWithin(rest));
    const { taken, left } = await takeBodies(db, merchantId, { events, payers: 'nobody', isDryRun: false });
    total.taken += taken;
    total.left += left;
    at += events.length;
  }
  const unsettled = await UNSETTLED.one(db, { merchantId, keys });
  return { taken: total.taken, left: total.left + unsettled.count };
}

interface Taking {
  readonly events: readonly Pick<OldEvent, 'eventId' | 'sourceId' | 'paymentId'>[];
  readonly payers: 'named' | 'nobody';
  readonly isDryRun: boolean;
}

/**
 * Takes away the bodies of these settled events, but not of those that tell of a payment with an open dispute or with an event
 * that is not finished or waits for a person.
 */
async function takeBodies(
  db: Queryable,
  merchantId: string,
  { events, payers, isDryRun }: Taking,
): Promise<{ readonly taken: number; readonly left: number }> {
  const keyOf = ({ sourceId, paymentId }: Pick<OldEvent, 'sourceId' | 'paymentId'>) =>
    paymentId === null ? [] : [{ merchantId, sourceId, paymentId }];
  const own = await openPayments(db, merchantId, events.flatMap(keyOf));
  const closed = events.filter((event) => !keyOf(event).some((key) => own.has(paymentKeyText(key))));
  const stored = await READ_BODIES.all(db, { merchantId, eventIds: closed.map(({ eventId }) => eventId) });
  const read = stored.flatMap(({ provider, state, ...event }) => {
    const name = PROVIDER_NAMES.find((known) => known === provider);
    const kept =
      (name === undefined ? null : toKeep(name, { ...event, state }, payers)) ??
      (state === 'applied' ? null : NOTHING_KEPT);
    const bodyHash = event.bodyHash ?? hash('sha256', event.body, 'hex');
    return kept === null ? [] : [{ eventId: event.eventId, sourceId: event.sourceId, bodyHash, kept }];
  });
  // An event may tell of other payments than the one that it is noted with.
  const keysOf = ({ sourceId, kept }: (typeof read)[number]) =>
    kept.facts.map(({ paymentId }) => ({ merchantId, sourceId, paymentId }));
  const others = await openPayments(db, merchantId, read.flatMap(keysOf));
  const free = read.filter((one) => !keysOf(one).some((key) => others.has(paymentKeyText(key))));
  if (isDryRun || free.length === 0) return { taken: free.length, left: events.length - free.length };
  const { taken } = await TAKE_AWAY.one(db, {
    merchantId,
    eventIds: free.map(({ eventId }) => eventId),
    hashes: free.map(({ bodyHash }) => bodyHash),
    facts: free.map(({ kept }) => kept),
  });
  return { taken, left: events.length - taken };
}

/** Which of these payments are in dispute, or have an event that is not finished or waits for a person. */
async function openPayments(
  db: Queryable,
  merchantId: string,
  keys: readonly PaymentKey[],
): Promise<ReadonlySet<string>> {
  if (keys.length === 0) return new Set();
  const distinct = [...new Map(keys.map((key) => [paymentKeyText(key), key])).values()];
  const unfinished = await WITH_OPEN_EVENTS.all(db, { merchantId, keys: distinct });
  const open = unfinished.map(({ sourceId, paymentId }) => ({ merchantId, sourceId, paymentId: paymentId ?? '' }));
  return new Set([...open, ...(await paymentsInDispute(db, distinct))].map(paymentKeyText));
}

const OLD_EVENTS = statement({
  params: { merchantId: text, before: timestamptz, settledUs: bigint, eventId: text, limit: bigint },
  row: { ...pick(EVENT.shape, 'eventId', 'sourceId', 'paymentId'), settledUs: bigint, bytes: bigint },
  text: (p) => `
    select e.event_id, e.source_id, e.payment_id, (extract(epoch from e.settled_at) * 1000000)::bigint as settled_us,
      octet_length(e.body)::bigint as bytes
    from provider_event e
    where e.merchant_id = ${p.merchantId} and e.state = 'applied' and e.body_removed_at is null and e.settled_at < ${p.before}
      and (e.settled_at, e.event_id) > (timestamptz 'epoch' + ${p.settledUs}::bigint * interval '1 microsecond', ${p.eventId})
    order by e.settled_at, e.event_id
    limit ${p.limit}`,
});

const STORED = { ...pick(EVENT.shape, 'eventId', 'sourceId', 'provider', 'state'), ...pick(BODY, 'body', 'facts') };

const READ_BODIES = statement({
  params: { merchantId: text, eventIds: array(text) },
  row: { ...STORED, bodyHash: nullable(hex) },
  text: ({ merchantId, eventIds }) => `
    select ${columns(STORED)}, body_hash from provider_event
    where merchant_id = ${merchantId} and event_id = any (${eventIds}) and state in ('applied', 'dismissed', 'ignored')`,
});

/** Settled events of these payments that have their bodies, or of which it is kept who paid. */
const NAMING_PAYERS = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: { ...pick(EVENT.shape, 'eventId', 'sourceId', 'paymentId'), bytes: bigint },
  text: ({ merchantId, keys }) => `
    select e.event_id, e.source_id, e.payment_id, octet_length(e.body)::bigint as bytes
    from provider_event e join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    where e.state in ('applied', 'dismissed', 'ignored')
      and (e.body_removed_at is null or jsonb_path_exists(e.facts, '$.**.customer.id ? (@ != null)'))
    order by e.event_id`,
});

const UNSETTLED = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: { count: bigint },
  text: ({ merchantId, keys }) => `
    select count(*)
    from provider_event e join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    where e.state in ('pending', 'waiting', 'parked')`,
});

const WITH_OPEN_EVENTS = statement({
  params: { merchantId: text, keys: rowsOf(OWN_PAYMENT_KEY) },
  row: pick(EVENT.shape, 'sourceId', 'paymentId'),
  text: ({ merchantId, keys }) => `
    select distinct e.source_id, e.payment_id
    from provider_event e join ${keys('k', { merchantId })} using (merchant_id, source_id, payment_id)
    where e.state in ('pending', 'waiting', 'parked')`,
});

const TAKE_AWAY = statement({
  params: { merchantId: text, eventIds: array(text), hashes: array(hex), facts: array(json<KeptFacts>()) },
  row: { taken: bigint },
  text: ({ merchantId, eventIds, hashes, facts }) =>
    `select take_bodies_away(${merchantId}, ${eventIds}, ${hashes}, ${facts}) as taken`,
});
