import { eachMerchant, ofEachMerchant } from '../../db/by-merchant.ts';
import { array, bigint, boolean, float, integer, nullable, oneOf, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, matches, omit, table } from '../../db/table.ts';
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
export interface EndpointDelivery {
  readonly state: 'pending' | 'delivered' | 'failed';
  readonly attempts: number;
  /** Whether it is due now. A job is out of date if its delivery was put off after the job was made. */
  readonly isDue: boolean;
  readonly eventType: string;
  readonly payload: string;
  readonly url: string;
  readonly disabled: boolean;
  /** Whether the endpoint has done nothing but fail for half a minute or longer, whatever the message. */
  readonly isFailing: boolean;
  readonly secret: string;
  /** Older secrets that still sign, the newest first. */
  readonly oldSecrets: readonly string[];
  /** The merchant's own headers, sealed; null if there are none. */
  readonly headers: string | null;
  /** By which trace the message came to be, if traces were collected. */
  readonly traceParent: string | null;
}

/**
 * Stores messages, each with a delivery to every endpoint that wants it. A message that no endpoint wants is not stored. The
 * delivery to a disabled endpoint is stored as failed: it can be asked for again once the endpoint is enabled.
 * @returns the new deliveries that are due
 */
export async function insertMessages(
  tx: Tx,
  messages: readonly OutgoingMessage[],
  now: Date,
): Promise<readonly DeliveryKey[]> {
  const made = await ofEachMerchant(messages, (merchantId, own) =>
    INSERT_MESSAGES.all(tx, { merchantId, messages: own.map(messageRow), now }),
  );
  return made
    .filter(({ state }) => state === 'pending')
    .map(({ merchantId, messageId, endpointId }) => ({ merchantId, messageId, endpointId }));
}

const DELIVERY_KEY = { merchantId: text, messageId: text, endpointId: text };
const MESSAGE = table('webhook_message', {
  messageId: text,
  eventType: text,
  payload: text,
  traceParent: nullable(text),
  customerId: nullable(text),
  currency: nullable(text),
  firstSeq: nullable(bigint),
  lastSeq: nullable(bigint),
});

function messageRow({ messageId, eventType, payload, traceParent = null, range }: OutgoingMessage) {
  const { customerId = null, currency = null, firstSeq = null, lastSeq = null } = range ?? {};
  return { messageId, eventType, payload, traceParent, customerId, currency, firstSeq, lastSeq };
}

const INSERT_MESSAGES = statement({
  name: 'insert-messages',
  params: { merchantId: text, messages: rowsOf(MESSAGE.shape), now: timestamptz },
  row: { ...DELIVERY_KEY, state: oneOf<EndpointDelivery['state']>() },
  text: ({ merchantId, messages, now }) => `
    with given as (select * from ${messages('m')}),
    wanted as (
      select m.message_id, e.endpoint_id, e.disabled
      from given m cross join webhook_endpoint e
      where e.merchant_id = ${merchantId} and (e.event_types is null or m.event_type = any (e.event_types))),
    stored as (
      insert into webhook_message (merchant_id, ${columns(MESSAGE.shape)}, created_at)
      select ${merchantId}, ${columns(MESSAGE.shape, 'm')}, ${now}
      from given m where exists (select from wanted w where w.message_id = m.message_id)
      on conflict do nothing),
    delivered as (
      insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
      select ${merchantId}, message_id, endpoint_id,
        case when disabled then 'failed' else 'pending' end, case when disabled then null else now() end
      from wanted
      on conflict do nothing
      returning merchant_id, message_id, endpoint_id, state)
    select merchant_id, message_id, endpoint_id, state from delivered`,
});

/** Stores a test of one endpoint. */
export async function insertExample(
  tx: Tx,
  endpointId: string,
  { message, now }: { readonly message: OutgoingMessage; readonly now: Date },
): Promise<void> {
  const { merchantId, messageId, eventType, payload } = message;
  await INSERT_EXAMPLE.run(tx, { merchantId, messageId, eventType, payload, now });
  await makePending(tx, { merchantId, messageId, endpointId });
}

const INSERT_EXAMPLE = statement({
  params: { merchantId: text, messageId: text, eventType: text, payload: text, now: timestamptz },
  text: ({ merchantId, messageId, eventType, payload, now }) => `
    insert into webhook_message (merchant_id, message_id, event_type, payload, created_at, is_example)
    values (${merchantId}, ${messageId}, ${eventType}, ${payload}, ${now}, true)`,
});

/** Stores messages without any delivery. Those that are there already stay as they are. */
export async function storeMessages(tx: Tx, messages: readonly OutgoingMessage[], now: Date): Promise<void> {
  await eachMerchant(messages, (merchantId, own) =>
    STORE_MESSAGES.run(tx, { merchantId, messages: own.map(messageRow), now }),
  );
}

const UNTRACED = omit(MESSAGE.shape, 'traceParent');

const STORE_MESSAGES = statement({
  params: { merchantId: text, messages: rowsOf(UNTRACED), now: timestamptz },
  text: ({ merchantId, messages, now }) => `
    insert into webhook_message (merchant_id, ${columns(UNTRACED)}, created_at)
    select ${merchantId}, ${columns(UNTRACED, 'm')}, ${now} from ${messages('m')}
    on conflict do nothing`,
});

/** The type of a message that is kept; null if there is none of that id. */
export async function selectEventType(db: Queryable, merchantId: string, messageId: string): Promise<string | null> {
  return (await SELECT_TYPE.first(db, { merchantId, messageId }))?.eventType ?? null;
}

const SELECT_TYPE = statement({
  params: { merchantId: text, messageId: text },
  row: { eventType: text },
  text: ({ merchantId, messageId }) =>
    `select event_type from webhook_message where merchant_id = ${merchantId} and message_id = ${messageId}`,
});

/** Makes a delivery due now, new or not; false if there is no such message. */
export async function makePending(tx: Tx, { merchantId, messageId, endpointId }: DeliveryKey): Promise<boolean> {
  return (await MAKE_PENDING.run(tx, { merchantId, messageId, endpointId })) === 1;
}

const MAKE_PENDING = statement({
  params: DELIVERY_KEY,
  text: ({ merchantId, messageId, endpointId }) => `
    insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
    select merchant_id, message_id, ${endpointId}, 'pending', now() from webhook_message
    where merchant_id = ${merchantId} and message_id = ${messageId}
    on conflict (merchant_id, message_id, endpoint_id) do update set state = 'pending', next_attempt_at = excluded.next_attempt_at`,
});

/**
 * What tries need to know, in the order of their deliveries; null where there is no such delivery. A job may start a moment early, so
 * a delivery counts as due a little before its time.
 * @param now decides which old secrets still sign
 */
export async function selectDeliveries(
  db: Queryable,
  keys: readonly DeliveryKey[],
  now: Date,
): Promise<readonly (EndpointDelivery | null)[]> {
  const found = await ofEachMerchant(keys, (merchantId, own) =>
    SELECT_DELIVERIES.all(db, { merchantId, keys: own, now }),
  );
  const byKey = new Map(
    found.map(({ merchantId, messageId, endpointId, ...delivery }) => {
      return [deliveryText({ merchantId, messageId, endpointId }), delivery];
    }),
  );
  return keys.map((key) => byKey.get(deliveryText(key)) ?? null);
}

/** A delivery's key as a key of a map. */
export function deliveryText({ merchantId, messageId, endpointId }: DeliveryKey): string {
  return `${merchantId} ${messageId} ${endpointId}`;
}

const OWN_DELIVERY = omit(DELIVERY_KEY, 'merchantId');

const SELECT_DELIVERIES = statement({
  name: 'select-deliveries',
  params: { merchantId: text, keys: rowsOf(OWN_DELIVERY), now: timestamptz },
  row: {
    ...DELIVERY_KEY,
    state: oneOf<EndpointDelivery['state']>(),
    attempts: integer,
    isDue: boolean,
    eventType: text,
    payload: text,
    traceParent: nullable(text),
    url: text,
    disabled: boolean,
    isFailing: boolean,
    secret: text,
    headers: nullable(text),
    oldSecrets: array(text),
  },
  text: ({ merchantId, keys, now }) => `
    select ${columns(DELIVERY_KEY, 'd')}, d.state, d.attempts,
      coalesce(d.next_attempt_at <= now() + interval '2 seconds', false) as is_due, m.event_type, m.payload,
      m.trace_parent, e.url, e.disabled,
      coalesce(e.failing_since <= ${now}::timestamptz - interval '30 seconds', false) as is_failing, e.secret, h.sealed as headers, array(
        select o.secret from (
          select e.old_secret as secret, e.old_secret_until as valid_until
          union all
          select o.secret, o.valid_until from webhook_older_secret o
          where o.merchant_id = d.merchant_id and o.endpoint_id = d.endpoint_id) o
        where o.secret is not null and o.valid_until > ${now}
        order by o.valid_until desc) as old_secrets
    from ${keys('k', { merchantId })}
    join webhook_delivery d using (merchant_id, message_id, endpoint_id)
    join webhook_message m using (merchant_id, message_id)
    join webhook_endpoint e using (merchant_id, endpoint_id)
    left join webhook_endpoint_headers h using (merchant_id, endpoint_id)`,
});

export interface Settlement {
  readonly state: EndpointDelivery['state'];
  readonly attempts: number;
  /** Until the next try; null if there is none. */
  readonly nextInSeconds: number | null;
}

/** A delivery that is named once among others. */
export interface SettledDelivery extends DeliveryKey {
  readonly settlement: Settlement;
}

/**
 * Ends deliveries or puts them off; one that succeeded meanwhile stays delivered.
 * @returns those of which there is a next try, and when it is due by the database's clock
 */
export async function settleDeliveries(
  tx: Tx,
  settled: readonly SettledDelivery[],
): Promise<readonly (DeliveryKey & { readonly dueAt: Date })[]> {
  const written = await ofEachMerchant(settled, (merchantId, own) =>
    SETTLE.all(tx, { merchantId, settled: own.map(({ settlement, ...key }) => ({ ...key, ...settlement })) }),
  );
  return written.flatMap(({ nextAttemptAt, ...key }) =>
    nextAttemptAt === null ? [] : [{ ...key, dueAt: nextAttemptAt }],
  );
}

const SETTLE = statement({
  name: 'settle-deliveries',
  params: {
    merchantId: text,
    settled: rowsOf({ ...OWN_DELIVERY, state: text, attempts: integer, nextInSeconds: nullable(float) }),
  },
  row: { ...DELIVERY_KEY, nextAttemptAt: nullable(timestamptz) },
  text: ({ merchantId, settled }) => `
    update webhook_delivery d
    set state = n.state, attempts = n.attempts, next_attempt_at = (now() at time zone 'UTC' + make_interval(secs => n.next_in_seconds)) at time zone 'UTC'
    from ${settled('n', { merchantId })}
    where ${matches(DELIVERY_KEY, 'd', 'n')} and (n.state = 'delivered' or d.state <> 'delivered')
    returning ${columns(DELIVERY_KEY, 'd')}, d.next_attempt_at`,
});

/**
 * Takes up to `limit` pending deliveries that have been overdue for this long and have no job, and makes them due now.
 * Another sweep at the same time finds them no longer overdue.
 */
export async function takeOverdue(tx: Tx, overdueSeconds: number, limit: number): Promise<readonly DeliveryKey[]> {
  return TAKE_OVERDUE.all(tx, { overdueSeconds, limit });
}

/** EXCEPT is hashed or sorted. An anti-join that is planned from old statistics might compare every row with every other. */
const TAKE_OVERDUE = statement({
  acrossMerchants: 'the sweep is over all of them',
  params: { overdueSeconds: float, limit: bigint },
  row: DELIVERY_KEY,
  text: ({ overdueSeconds, limit }) => `
    with lost as (
      select merchant_id, message_id, endpoint_id
      from webhook_delivery
      where state = 'pending' and next_attempt_at < now() - make_interval(secs => ${overdueSeconds})
      except
      select data ->> 'merchantId', data ->> 'messageId', data ->> 'endpointId'
      from pgboss.job
      where name = 'deliver-webhook' and state in ('created', 'retry', 'active')
      limit ${limit})
    update webhook_delivery d
    set next_attempt_at = now()
    from lost
    where d.merchant_id = lost.merchant_id and d.message_id = lost.message_id and d.endpoint_id = lost.endpoint_id
      and d.state = 'pending' and d.next_attempt_at < now() - make_interval(secs => ${overdueSeconds})
    returning d.merchant_id, d.message_id, d.endpoint_id`,
});
