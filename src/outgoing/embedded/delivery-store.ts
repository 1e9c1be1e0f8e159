import { eachMerchant } from '../../db/by-merchant.ts';
import { bigint, nullable, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, omit, table } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { OutgoingMessage } from '../outgoing.ts';

/** The embedded sender's messages, and how the delivery of each to each endpoint goes. */

/** One message to one endpoint. */
export interface DeliveryKey {
  readonly merchantId: string;
  readonly messageId: string;
  readonly endpointId: string;
}

/** How a delivery stands: still to be tried, taken by the endpoint, or given up. */
export type DeliveryState = 'pending' | 'delivered' | 'failed';

/**
 * Stores messages, each with a delivery to every endpoint that wants it. A message that no endpoint wants is not stored. The
 * delivery to a disabled endpoint is stored as failed: it can be asked for again once the endpoint is enabled.
 */
export async function insertMessages(tx: Tx, messages: readonly OutgoingMessage[], now: Date): Promise<void> {
  await eachMerchant(messages, (merchantId, own) =>
    INSERT_MESSAGES.run(tx, { merchantId, messages: own.map(messageRow), now }),
  );
}

export const DELIVERY_KEY = { merchantId: text, messageId: text, endpointId: text };

/**
 * SQL for whether `d` is the delivery that a row under an alias names. It is found by its message: of a table that is empty, the index by endpoints would
 * promise as little work, and all deliveries of an endpoint be read for each of them.
 */
export const isDelivery = (alias: string) =>
  `d.message_id = ${alias}.message_id and (d.endpoint_id = ${alias}.endpoint_id) is true`;

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
      on conflict do nothing)
    insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
    select ${merchantId}, message_id, endpoint_id,
      case when disabled then 'failed' else 'pending' end, case when disabled then null else now() end
    from wanted
    on conflict do nothing`,
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

/** A delivery's key as a key of a map. */
export function deliveryText({ merchantId, messageId, endpointId }: DeliveryKey): string {
  return `${merchantId} ${messageId} ${endpointId}`;
}
