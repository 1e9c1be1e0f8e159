import { eachMerchant, ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, boolean, bytea, integer, json, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, pick, table } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { ParkReason } from '../payments/fact.ts';
import type { PaymentKey } from '../payments/tables.ts';
import type { EventEffect } from './effect.ts';
import type { KeptFacts, StoredBody } from './kept-facts.ts';

export type EventState = 'pending' | 'applied' | 'ignored' | 'waiting' | 'parked' | 'dismissed';

export const EVENT_STATES: readonly EventState[] = ['pending', 'applied', 'ignored', 'waiting', 'parked', 'dismissed'];

/** A delivery as received, and what became of it. */
export interface ProviderEvent {
  readonly eventId: string;
  readonly merchantId: string;
  readonly sourceId: string;
  readonly provider: string;
  readonly eventType: string;
  readonly state: EventState;
  readonly reason: ParkReason | null;
  readonly detail: string | null;
  readonly paymentId: string | null;
  readonly assignedCustomerId: string | null;
  /** Whether that customer is linked with the provider's, so that later payments are found as well. */
  readonly assignedLink: boolean;
  /** Whether a person takes another amount than the checkout is of that the payment names. */
  readonly acceptsAmount: boolean;
  readonly receivedAt: Date;
  readonly settledAt: Date | null;
  /** When it began to wait, for its payment or for the name of its customer; null if it never had to. */
  readonly waitingSince: Date | null;
  readonly replays: number;
  /** reconciliation: read from the provider's API, because its webhook never arrived. */
  readonly origin: 'webhook' | 'reconciliation';
  /** What it did so far; null if no facts were read of it, or by a release that did not note what they did. */
  readonly effect: EventEffect | null;
  /** When its body was taken away, since it was old or its customer's data were erased; null while it is there. */
  readonly bodyRemovedAt: Date | null;
}

/** What became of an event that was looked at. */
export interface Verdict {
  readonly state: EventState;
  readonly reason: ParkReason | null;
  readonly detail: string | null;
  /** What it did, now and before; null if it told no facts this time. */
  readonly effect: EventEffect | null;
}

/** Which event of which merchant. */
export type EventKey = Pick<ProviderEvent, 'merchantId' | 'eventId'>;

export const EVENT_KEY = { merchantId: text, eventId: text };

export const EVENT = table('provider_event', {
  eventId: text,
  merchantId: text,
  sourceId: text,
  provider: text,
  eventType: text,
  state: oneOf<EventState>(),
  reason: nullable(oneOf<ParkReason>()),
  detail: nullable(text),
  paymentId: nullable(text),
  assignedCustomerId: nullable(text),
  assignedLink: boolean,
  acceptsAmount: boolean,
  receivedAt: timestamptz,
  settledAt: nullable(timestamptz),
  waitingSince: nullable(timestamptz),
  replays: integer,
  origin: oneOf<ProviderEvent['origin']>(),
  effect: nullable(oneOf<EventEffect>()),
  bodyRemovedAt: nullable(timestamptz),
});
/** Columns that are read only to apply the event, since the body is large. */
export const BODY = { body: bytea, facts: nullable(json<KeptFacts>()), traceParent: nullable(text) };
const COLUMNS = columns(EVENT.shape);

export interface EventQuery {
  readonly state: EventState | null;
  /** Only events that come after this one in the list; null for all. */
  readonly after?: string | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of the merchant's events, newest first. */
export function listEvents(db: Queryable, merchantId: string, query: EventQuery): Promise<ProviderEvent[]> {
  const { state, after = null, pageSize, pageNumber } = query;
  return LIST_EVENTS.all(db, { merchantId, state, after, pageSize, offset: pageSize * pageNumber });
}

const LIST_EVENTS = statement({
  params: { merchantId: text, state: nullable(text), after: nullable(text), pageSize: bigint, offset: bigint },
  row: EVENT.shape,
  // The time alone, too: an index cannot begin at two columns that are looked up together.
  text: ({ merchantId, state, after, pageSize, offset }) => `
    select ${COLUMNS} from provider_event
    where merchant_id = ${merchantId} and (${state}::text is null or state = ${state})
      and (${after}::text is null or received_at <= (
        select c.received_at from provider_event c where c.merchant_id = ${merchantId} and c.event_id = ${after}))
      and (${after}::text is null or (received_at, event_id) < (
        select c.received_at, c.event_id from provider_event c where c.merchant_id = ${merchantId} and c.event_id = ${after}))
    order by received_at desc, event_id desc limit ${pageSize} offset ${offset}`,
});

export async function getEvent(db: Queryable, merchantId: string, eventId: string): Promise<ProviderEvent | null> {
  return GET_EVENT.first(db, { merchantId, eventId });
}

const GET_EVENT = statement({
  params: EVENT_KEY,
  row: EVENT.shape,
  text: ({ merchantId, eventId }) =>
    `select ${COLUMNS} from provider_event where merchant_id = ${merchantId} and event_id = ${eventId}`,
});

/** A merchant may sign any number of events of one payment. */
export const MOST_EVENTS_SHOWN = 500;

/** The newest events about a payment, oldest first, those too that came of its group before that was known to have this payment. */
export async function eventsOfPayment(
  db: Queryable,
  { merchantId, sourceId, paymentId, groupId = null }: PaymentKey & { readonly groupId?: string | null },
): Promise<ProviderEvent[]> {
  const ids = groupId === null ? [paymentId] : [paymentId, groupId];
  return EVENTS_OF_PAYMENT.all(db, { merchantId, sourceId, ids, limit: MOST_EVENTS_SHOWN });
}

const EVENTS_OF_PAYMENT = statement({
  params: { merchantId: text, sourceId: text, ids: array(text), limit: bigint },
  row: EVENT.shape,
  text: ({ merchantId, sourceId, ids, limit }) => `
    select ${COLUMNS} from (
      select ${COLUMNS} from provider_event
      where merchant_id = ${merchantId} and source_id = ${sourceId} and payment_id = any (${ids})
      order by received_at desc, event_id desc limit ${limit}) e
    order by received_at, event_id`,
});

/** An event with its body, locked for the transaction that applies it. */
export interface LockedEvent extends ProviderEvent, StoredBody {
  /** Of its delivery's trace, if traces were collected. */
  readonly traceParent: string | null;
}

/** Locks them merchant by merchant, always in the same order. */
export function lockEvents(tx: Tx, events: readonly EventKey[]): Promise<readonly LockedEvent[]> {
  return ofEachMerchant(events, (merchantId, own) =>
    LOCK_EVENTS.all(tx, { merchantId, eventIds: own.map(({ eventId }) => eventId) }),
  );
}

const LOCK_EVENTS = statement({
  name: 'lock-events',
  params: { merchantId: text, eventIds: array(text) },
  row: { ...EVENT.shape, ...BODY },
  text: ({ merchantId, eventIds }) => `
    select ${COLUMNS}, ${columns(BODY)} from provider_event
    where merchant_id = ${merchantId} and event_id = any (${eventIds})
    order by event_id for update`,
});

export async function saveVerdicts(
  tx: Tx,
  verdicts: readonly (Verdict & EventKey & { paymentId: string | null })[],
  now: Date,
): Promise<void> {
  if (verdicts.length === 0) return;
  const short = verdicts.map((verdict) => ({ ...verdict, detail: verdict.detail?.slice(0, 2000) ?? null }));
  await eachMerchant(short, (merchantId, own) => SAVE_VERDICTS.run(tx, { merchantId, verdicts: own, now }));
}

const SAVE_VERDICTS = statement({
  name: 'save-verdicts',
  params: {
    merchantId: text,
    verdicts: rowsOf(pick(EVENT.shape, 'eventId', 'state', 'reason', 'detail', 'paymentId', 'effect')),
    now: timestamptz,
  },
  text: ({ merchantId, verdicts, now }) => `
    update provider_event e
    set state = n.state, reason = n.reason, detail = n.detail, effect = coalesce(n.effect, e.effect),
      payment_id = coalesce(n.payment_id, e.payment_id),
      settled_at = case when n.state in ('pending', 'waiting') then null else ${now}::timestamptz end,
      waiting_since = case when n.state = 'waiting' then coalesce(e.waiting_since, ${now}) else e.waiting_since end
    from ${verdicts('n', { merchantId })}
    where e.merchant_id = n.merchant_id and e.event_id = n.event_id`,
});

/**
 * Makes the events of these payments pending again that waited for what is known now: early refunds and disputes, payments
 * that waited for a name, and events parked because the payment or its customer was unknown, or without data.
 * Skips events that another transaction has locked: that transaction is applying them, and will see these payments.
 * @returns the events, which the caller has to enqueue
 */
export async function wakeEvents(
  tx: Tx,
  payments: readonly PaymentKey[],
  except: readonly string[],
): Promise<readonly EventKey[]> {
  return ofEachMerchant(payments, (merchantId, own) => WAKE_EVENTS.all(tx, { merchantId, payments: own, except }));
}

const isAsleep = (e: string, except: string) => `${e}.state in ('waiting', 'parked')
          and (${e}.state = 'waiting'
            or ${e}.reason in ('unknown_payment', 'no_customer', 'unknown_amount', 'overcaptured', 'unsupported_payload'))
          and ${e}.event_id <> all (${except})`;

const AWAKE = `state = 'pending', reason = null, detail = null, settled_at = null`;

const WAKE_EVENTS = statement({
  name: 'wake-events',
  params: { merchantId: text, payments: rowsOf({ sourceId: text, paymentId: text }), except: array(text) },
  row: EVENT_KEY,
  text: ({ merchantId, payments, except }) => `
    with asleep as (
      select x.event_id
      from ${payments('p')}
      cross join lateral (
        select x.event_id from provider_event x
        where x.merchant_id = ${merchantId} and x.source_id = p.source_id and x.payment_id = p.payment_id
          and ${isAsleep('x', except)}
        for update of x skip locked) x)
    update provider_event e
    set ${AWAKE}
    from (select ${merchantId}::text as merchant_id, event_id from asleep offset 0) a
    where e.merchant_id = a.merchant_id and e.event_id = a.event_id
    returning e.merchant_id, e.event_id`,
  textOnCitus: ({ merchantId, payments, except }) => `
    with asleep as (
      select e.merchant_id, e.event_id
      from provider_event e
      join ${payments('p', { merchantId })} using (merchant_id, source_id, payment_id)
      where ${isAsleep('e', except)}
      for update of e skip locked)
    update provider_event e
    set ${AWAKE}
    from asleep where e.merchant_id = ${merchantId} and e.merchant_id = asleep.merchant_id and e.event_id = asleep.event_id
    returning e.merchant_id, e.event_id`,
});

/** Sets an event aside. Why it was parked stays in its detail, before the note. It must be locked. */
export async function saveDismissal(
  tx: Tx,
  { merchantId, eventId, note }: { merchantId: string; eventId: string; note: string | null },
  now: Date,
): Promise<ProviderEvent> {
  return DISMISS.one(tx, { merchantId, eventId, note, now });
}

const DISMISS = statement({
  params: { ...EVENT_KEY, note: nullable(text), now: timestamptz },
  row: EVENT.shape,
  text: ({ merchantId, eventId, note, now }) => `
    update provider_event
    set state = 'dismissed', reason = null, settled_at = ${now}, is_closed = true,
      detail = left(case when state = 'dismissed' then coalesce(detail || coalesce('; ' || ${note}::text, ''), ${note}::text, '')
        else coalesce(reason || coalesce(': ' || coalesce(${note}::text, detail), ''), ${note}::text, detail, '') end, 2000)
    where merchant_id = ${merchantId} and event_id = ${eventId}
    returning ${COLUMNS}`,
});
