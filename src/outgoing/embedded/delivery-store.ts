import type { Queryable, Tx } from '../../db/transaction.ts';
import type { OutgoingMessage } from '../outgoing.ts';

/** The embedded sender's messages, and how the delivery of each to each endpoint goes. */

/** One message to one endpoint; what a `deliver-webhook` job carries. */
export interface DeliveryKey {
  readonly merchantId: string;
  readonly messageId: string;
  readonly endpointId: string;
}

/** Everything a try needs to know. */
export interface Delivery {
  readonly state: 'pending' | 'delivered' | 'failed';
  readonly attempts: number;
  /** Whether its time has come. A job whose delivery has been put off since is stale. */
  readonly isDue: boolean;
  readonly eventType: string;
  readonly payload: string;
  readonly url: string;
  readonly disabled: boolean;
  readonly secret: string;
  /** Those before it that still sign, the youngest first. */
  readonly oldSecrets: readonly string[];
  /** The merchant's own headers, sealed; null if there are none. */
  readonly headers: string | null;
  /** By which trace the message came to be, if traces were collected. */
  readonly traceParent: string | null;
}

/**
 * Stores messages with a delivery to every endpoint that wants them, and nothing of a message that no endpoint wants. To an
 * endpoint that is disabled the delivery has failed from the start: once it is enabled, it can be asked for.
 * @returns the new deliveries that are due
 */
export async function insertMessages(
  tx: Tx,
  messages: readonly OutgoingMessage[],
  now: Date,
): Promise<readonly DeliveryKey[]> {
  const { rows } = await tx.query<DeliveryKeyRow & Pick<DeliveryRow, 'state'>>(
    `with said as (
       select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[])
         as m (merchant_id, message_id, event_type, payload, trace_parent, customer_id, currency, first_seq, last_seq)),
     wanted as (
       select m.merchant_id, m.message_id, e.endpoint_id, e.disabled
       from said m join webhook_endpoint e using (merchant_id)
       where e.event_types is null or m.event_type = any (e.event_types)),
     stored as (
       insert into webhook_message (merchant_id, message_id, event_type, payload, created_at, trace_parent,
         customer_id, currency, first_seq, last_seq)
       select m.merchant_id, m.message_id, m.event_type, m.payload, $5, m.trace_parent,
         m.customer_id, m.currency, m.first_seq, m.last_seq
       from said m where exists (select from wanted w where w.merchant_id = m.merchant_id and w.message_id = m.message_id)
       on conflict do nothing)
     insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
     select merchant_id, message_id, endpoint_id,
       case when disabled then 'failed' else 'pending' end, case when disabled then null else now() end
     from wanted
     on conflict do nothing
     returning merchant_id, message_id, endpoint_id, state`,
    [
      messages.map((message) => message.merchantId),
      messages.map((message) => message.messageId),
      messages.map((message) => message.eventType),
      messages.map((message) => message.payload),
      now.toISOString(),
      messages.map((message) => message.traceParent ?? null),
      ...rangeColumns(messages),
    ],
  );
  return rows.filter((row) => row.state === 'pending').map(toDeliveryKey);
}

/** The entries that messages tell of, as four columns: customer, currency, first and last seq. */
function rangeColumns(
  messages: readonly OutgoingMessage[],
): [(string | null)[], (string | null)[], (number | null)[], (number | null)[]] {
  return [
    messages.map(({ range }) => range?.customerId ?? null),
    messages.map(({ range }) => range?.currency ?? null),
    messages.map(({ range }) => range?.firstSeq ?? null),
    messages.map(({ range }) => range?.lastSeq ?? null),
  ];
}

/** Stores a test of one endpoint. */
export async function insertExample(tx: Tx, endpointId: string, message: OutgoingMessage, now: Date): Promise<void> {
  const { merchantId, messageId, eventType, payload } = message;
  await tx.query(
    `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at, is_example)
     values ($1, $2, $3, $4, $5, true)`,
    [merchantId, messageId, eventType, payload, now.toISOString()],
  );
  await makePending(tx, { merchantId, messageId, endpointId });
}

/** Stores messages without any delivery. Those that are there already stay as they are. */
export async function storeMessages(tx: Tx, messages: readonly OutgoingMessage[], now: Date): Promise<void> {
  await tx.query(
    `insert into webhook_message
       (merchant_id, message_id, event_type, payload, created_at, customer_id, currency, first_seq, last_seq)
     select m.merchant_id, m.message_id, m.event_type, m.payload, $5, m.customer_id, m.currency, m.first_seq, m.last_seq
     from unnest($1::text[], $2::text[], $3::text[], $4::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[])
       as m (merchant_id, message_id, event_type, payload, customer_id, currency, first_seq, last_seq)
     on conflict do nothing`,
    [
      messages.map((message) => message.merchantId),
      messages.map((message) => message.messageId),
      messages.map((message) => message.eventType),
      messages.map((message) => message.payload),
      now.toISOString(),
      ...rangeColumns(messages),
    ],
  );
}

/** The type of a message that is kept; null if there is none of that id. */
export async function selectEventType(db: Queryable, merchantId: string, messageId: string): Promise<string | null> {
  const { rows } = await db.query<{ event_type: string }>(
    'select event_type from webhook_message where merchant_id = $1 and message_id = $2',
    [merchantId, messageId],
  );
  return rows[0]?.event_type ?? null;
}

/** Makes a delivery due now, new or not; false if there is no such message. */
export async function makePending(tx: Tx, { merchantId, messageId, endpointId }: DeliveryKey): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
     select merchant_id, message_id, $3, 'pending', now() from webhook_message where merchant_id = $1 and message_id = $2
     on conflict (merchant_id, message_id, endpoint_id) do update set state = 'pending', next_attempt_at = excluded.next_attempt_at`,
    [merchantId, messageId, endpointId],
  );
  return rowCount === 1;
}

/** A job may start a moment before the time it was set for, never much. `now` decides which old secrets still sign. */
export async function selectDelivery(db: Queryable, key: DeliveryKey, now: Date): Promise<Delivery | null> {
  const { rows } = await db.query<DeliveryRow>(
    `select d.state, d.attempts, coalesce(d.next_attempt_at <= now() + interval '2 seconds', false) as is_due, m.event_type, m.payload,
       m.trace_parent, e.url, e.disabled, e.secret, h.sealed as headers, array(
         select o.secret from (
           select e.old_secret as secret, e.old_secret_until as valid_until
           union all
           select o.secret, o.valid_until from webhook_older_secret o
           where o.merchant_id = d.merchant_id and o.endpoint_id = d.endpoint_id) o
         where o.secret is not null and o.valid_until > $4
         order by o.valid_until desc) as old_secrets
     from webhook_delivery d
     join webhook_message m using (merchant_id, message_id)
     join webhook_endpoint e using (merchant_id, endpoint_id)
     left join webhook_endpoint_headers h using (merchant_id, endpoint_id)
     where d.merchant_id = $1 and d.message_id = $2 and d.endpoint_id = $3`,
    [key.merchantId, key.messageId, key.endpointId, now.toISOString()],
  );
  const [row] = rows;
  if (row === undefined) return null;
  return {
    state: row.state,
    attempts: row.attempts,
    isDue: row.is_due,
    eventType: row.event_type,
    payload: row.payload,
    url: row.url,
    disabled: row.disabled,
    secret: row.secret,
    oldSecrets: row.old_secrets,
    headers: row.headers,
    traceParent: row.trace_parent,
  };
}

export interface Settlement {
  readonly state: Delivery['state'];
  readonly attempts: number;
  /** Until the next try; null if there is none. */
  readonly nextInSeconds: number | null;
}

/**
 * Ends a delivery or puts it off; one that succeeded meanwhile stays delivered.
 * @returns when the next try is due, by the database's clock; null if there is none
 */
export async function settleDelivery(
  tx: Tx,
  key: DeliveryKey,
  { state, attempts, nextInSeconds }: Settlement,
): Promise<Date | null> {
  const { rows } = await tx.query<{ next_attempt_at: Date | null }>(
    `update webhook_delivery
     set state = $4, attempts = $5, next_attempt_at = now() + make_interval(secs => $6)
     where merchant_id = $1 and message_id = $2 and endpoint_id = $3 and ($4 = 'delivered' or state <> 'delivered')
     returning next_attempt_at`,
    [key.merchantId, key.messageId, key.endpointId, state, attempts, nextInSeconds],
  );
  return rows[0]?.next_attempt_at ?? null;
}

/**
 * Takes up to `limit` pending deliveries that have been overdue for this long and have no job, and makes them due now.
 * Another sweep at the same time finds them no longer overdue.
 */
export async function takeOverdue(tx: Tx, overdueSeconds: number, limit: number): Promise<readonly DeliveryKey[]> {
  const { rows } = await tx.query<DeliveryKeyRow>(TAKE_OVERDUE, [overdueSeconds, limit]);
  return rows.map(toDeliveryKey);
}

/** EXCEPT is hashed or sorted; an anti-join, planned from statistics of a quieter time, might compare each with each. */
const TAKE_OVERDUE = `
  with lost as (
    select merchant_id, message_id, endpoint_id
    from webhook_delivery
    where state = 'pending' and next_attempt_at < now() - make_interval(secs => $1)
    except
    select data ->> 'merchantId', data ->> 'messageId', data ->> 'endpointId'
    from pgboss.job
    where name = 'deliver-webhook' and state in ('created', 'retry', 'active')
    limit $2)
  update webhook_delivery d
  set next_attempt_at = now()
  from lost
  where d.merchant_id = lost.merchant_id and d.message_id = lost.message_id and d.endpoint_id = lost.endpoint_id
    and d.state = 'pending' and d.next_attempt_at < now() - make_interval(secs => $1)
  returning d.merchant_id, d.message_id, d.endpoint_id`;

interface DeliveryKeyRow {
  merchant_id: string;
  message_id: string;
  endpoint_id: string;
}

interface DeliveryRow {
  state: Delivery['state'];
  attempts: number;
  is_due: boolean;
  event_type: string;
  payload: string;
  url: string;
  disabled: boolean;
  secret: string;
  old_secrets: string[];
  headers: string | null;
  trace_parent: string | null;
}

function toDeliveryKey(row: DeliveryKeyRow): DeliveryKey {
  return { merchantId: row.merchant_id, messageId: row.message_id, endpointId: row.endpoint_id };
}
