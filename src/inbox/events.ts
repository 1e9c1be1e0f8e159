import type { PgBoss } from 'pg-boss';
import type { Pool } from '../db/pool.ts';
import { bossDatabase } from '../db/queues.ts';
import { type Queryable, type Tx, transaction } from '../db/transaction.ts';
import { invariant, type Refusal, refusal } from '../errors.ts';
import type { ParkReason } from '../payments/fact.ts';
import type { PaymentKey } from '../payments/store.ts';

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
  readonly receivedAt: Date;
  readonly settledAt: Date | null;
  /** When it began to wait for its payment; null if it never had to. */
  readonly waitingSince: Date | null;
  readonly replays: number;
  /** reconciliation: read from the provider's API, because its webhook never arrived. */
  readonly origin: 'webhook' | 'reconciliation';
}

/** What became of an event that was looked at. */
export interface Verdict {
  readonly state: EventState;
  readonly reason: ParkReason | null;
  readonly detail: string | null;
}

interface EventRow {
  event_id: string;
  merchant_id: string;
  source_id: string;
  provider: string;
  event_type: string;
  state: EventState;
  reason: ParkReason | null;
  detail: string | null;
  payment_id: string | null;
  assigned_customer_id: string | null;
  received_at: Date;
  settled_at: Date | null;
  waiting_since: Date | null;
  replays: number;
  origin: 'webhook' | 'reconciliation';
}

const COLUMNS = `event_id, merchant_id, source_id, provider, event_type, state, reason, detail, payment_id, assigned_customer_id,
  received_at, settled_at, waiting_since, replays, origin`;

function toEvent(row: EventRow): ProviderEvent {
  return {
    eventId: row.event_id,
    merchantId: row.merchant_id,
    sourceId: row.source_id,
    provider: row.provider,
    eventType: row.event_type,
    state: row.state,
    reason: row.reason,
    detail: row.detail,
    paymentId: row.payment_id,
    assignedCustomerId: row.assigned_customer_id,
    receivedAt: row.received_at,
    settledAt: row.settled_at,
    waitingSince: row.waiting_since,
    replays: row.replays,
    origin: row.origin,
  };
}

export interface EventQuery {
  readonly state: EventState | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of the merchant's events, newest first. */
export async function listEvents(
  db: Queryable,
  merchantId: string,
  { state, pageSize, pageNumber }: EventQuery,
): Promise<ProviderEvent[]> {
  const { rows } = await db.query<EventRow>(
    `select ${COLUMNS} from provider_event
     where merchant_id = $1 and ($2::text is null or state = $2)
     order by received_at desc, event_id desc limit $3 offset $4`,
    [merchantId, state, pageSize, pageSize * pageNumber],
  );
  return rows.map(toEvent);
}

export async function getEvent(db: Queryable, merchantId: string, eventId: string): Promise<ProviderEvent | null> {
  const { rows } = await db.query<EventRow>(
    `select ${COLUMNS} from provider_event where merchant_id = $1 and event_id = $2`,
    [merchantId, eventId],
  );
  return rows[0] === undefined ? null : toEvent(rows[0]);
}

/** Every event about a payment, oldest first. */
export async function eventsOfPayment(
  db: Queryable,
  { merchantId, sourceId, paymentId }: PaymentKey,
): Promise<ProviderEvent[]> {
  const { rows } = await db.query<EventRow>(
    `select ${COLUMNS} from provider_event where merchant_id = $1 and source_id = $2 and payment_id = $3 order by received_at, event_id`,
    [merchantId, sourceId, paymentId],
  );
  return rows.map(toEvent);
}

export interface Replay {
  readonly merchantId: string;
  readonly eventId: string;
  /** Whose payment it is, where the event itself does not say. */
  readonly customerId: string | null;
}

/**
 * Applies a parked event again, once its cause is mended, or a waiting one before its time. Replaying cannot credit twice: the ledger's keys follow the
 * payment, not the event.
 * @returns the event as it now waits to be applied, null if there is no such event, or why it cannot be replayed
 */
export async function replayEvent(pool: Pool, boss: PgBoss, replay: Replay): Promise<ProviderEvent | Refusal | null> {
  return transaction(pool, async (tx) => {
    const { rows } = await tx.query<EventRow>(
      `select ${COLUMNS} from provider_event where merchant_id = $1 and event_id = $2 for update`,
      [replay.merchantId, replay.eventId],
    );
    const row = rows[0];
    if (row === undefined) return null;
    if (row.state !== 'parked' && row.state !== 'waiting' && row.state !== 'dismissed')
      return refusal(
        'CONFLICT',
        `Only a parked, waiting or dismissed event can be replayed; this one is ${row.state}.`,
      );
    const { rows: updated } = await tx.query<EventRow>(
      `update provider_event
       set state = 'pending', reason = null, detail = null, settled_at = null, replays = replays + 1,
         assigned_customer_id = coalesce($2, assigned_customer_id)
       where event_id = $1 returning ${COLUMNS}`,
      [replay.eventId, replay.customerId],
    );
    await enqueue(boss, tx, [replay.eventId]);
    const [replayed] = updated;
    invariant(replayed !== undefined, 'a locked event was not there to be updated');
    return toEvent(replayed);
  });
}

/** Enqueues the application of events in the transaction that stored or changed them. */
export async function enqueue(boss: PgBoss, tx: Tx, eventIds: readonly string[], startAfter?: Date): Promise<void> {
  if (eventIds.length === 0) return;
  const when = startAfter === undefined ? {} : { startAfter };
  await boss.insert(
    'apply-provider-event',
    eventIds.map((eventId) => ({ data: { eventId }, ...when })),
    { db: bossDatabase(tx) },
  );
}

/** An event with its body, locked for the transaction that applies it. */
export interface LockedEvent extends ProviderEvent {
  readonly body: Buffer;
  /** Of its delivery's trace, if traces were collected. */
  readonly traceParent: string | null;
}

export async function lockEvents(tx: Tx, eventIds: readonly string[]): Promise<LockedEvent[]> {
  const { rows } = await tx.query<EventRow & { body: Buffer; trace_parent: string | null }>(
    {
      name: 'lock-events',
      text: `select ${COLUMNS}, body, trace_parent from provider_event where event_id = any ($1) order by event_id for update`,
    },
    [eventIds],
  );
  return rows.map((row) => ({ ...toEvent(row), body: row.body, traceParent: row.trace_parent }));
}

export async function saveVerdicts(
  tx: Tx,
  verdicts: readonly (Verdict & { eventId: string; paymentId: string | null })[],
  now: Date,
): Promise<void> {
  if (verdicts.length === 0) return;
  await tx.query(SAVE_VERDICTS, [
    verdicts.map((verdict) => verdict.eventId),
    verdicts.map((verdict) => verdict.state),
    verdicts.map((verdict) => verdict.reason),
    verdicts.map((verdict) => verdict.detail?.slice(0, 2000) ?? null),
    verdicts.map((verdict) => verdict.paymentId),
    now.toISOString(),
  ]);
}

const SAVE_VERDICTS = {
  name: 'save-verdicts',
  text: `
    update provider_event e
    set state = n.state, reason = n.reason, detail = n.detail, payment_id = coalesce(n.payment_id, e.payment_id),
      settled_at = case when n.state in ('pending', 'waiting') then null else $6::timestamptz end,
      waiting_since = case when n.state = 'waiting' then coalesce(e.waiting_since, $6) else e.waiting_since end
    from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as n (event_id, state, reason, detail, payment_id)
    where e.event_id = n.event_id`,
};

/**
 * Takes up the events of these payments that waited for what is known now: early refunds and disputes, and events parked
 * because the payment or its customer was unknown.
 * One that another transaction holds is being applied just now; it locks its payment after us and finds it paid.
 * @returns their ids; they are pending again and want to be enqueued
 */
export async function wakeEvents(
  tx: Tx,
  payments: readonly PaymentKey[],
  except: readonly string[],
): Promise<string[]> {
  if (payments.length === 0) return [];
  const { rows } = await tx.query<{ event_id: string }>(WAKE_EVENTS, [
    payments.map((payment) => payment.merchantId),
    payments.map((payment) => payment.sourceId),
    payments.map((payment) => payment.paymentId),
    except,
  ]);
  return rows.map((row) => row.event_id);
}

const WAKE_EVENTS = {
  name: 'wake-events',
  text: `
    with asleep as (
      select e.event_id
      from provider_event e
      join unnest($1::text[], $2::text[], $3::text[]) as p (merchant_id, source_id, payment_id)
        using (merchant_id, source_id, payment_id)
      where e.state in ('waiting', 'parked')
        and (e.state = 'waiting' or e.reason in ('unknown_payment', 'no_customer', 'unknown_amount'))
        and e.event_id <> all ($4)
      for update of e skip locked)
    update provider_event e
    set state = 'pending', reason = null, detail = null, settled_at = null
    from asleep where e.event_id = asleep.event_id
    returning e.event_id`,
};

export interface Dismissal {
  readonly merchantId: string;
  readonly eventId: string;
  /** What was done instead; null to say nothing. */
  readonly note: string | null;
}

/**
 * Sets a parked event aside that somebody has dealt with by hand. Why it was parked stays in its detail, before the note.
 * @returns the event as it is now, null if there is no such event, or why it cannot be dismissed
 */
export async function dismissEvent(
  db: Queryable,
  { merchantId, eventId, note }: Dismissal,
  now: Date,
): Promise<ProviderEvent | Refusal | null> {
  const { rows } = await db.query<EventRow>(
    `update provider_event
     set state = 'dismissed', reason = null, detail = left(concat_ws(': ', reason, coalesce($3, detail)), 2000), settled_at = $4
     where merchant_id = $1 and event_id = $2 and state = 'parked'
     returning ${COLUMNS}`,
    [merchantId, eventId, note, now.toISOString()],
  );
  if (rows[0] !== undefined) return toEvent(rows[0]);
  const event = await getEvent(db, merchantId, eventId);
  return event === null
    ? null
    : refusal('CONFLICT', `Only a parked event can be dismissed; this one is ${event.state}.`);
}
