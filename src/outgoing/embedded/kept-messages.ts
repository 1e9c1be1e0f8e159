import { array, bigint, integer, nullable, text, timestamptz } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { EndpointKey } from '../outgoing.ts';

/** The embedded sender's stored messages, as a recovery finds and offers them. */

/** A place among the messages of a merchant. */
export interface KeptPlace {
  readonly createdAt: Date;
  readonly messageId: string;
}

/** A merchant's messages that were stored from `since` until before `until`, of these types; null for every type. */
interface KeptWindow {
  readonly merchantId: string;
  readonly since: Date;
  readonly until: Date;
  readonly eventTypes: readonly string[] | null;
}

/** A page of the messages of a window, the oldest first, after a place; null begins at the start. */
export async function selectKept(
  db: Queryable,
  window: KeptWindow,
  { after, limit }: { readonly after: KeptPlace | null; readonly limit: number },
): Promise<readonly KeptPlace[]> {
  return SELECT_KEPT.all(db, {
    ...window,
    afterTime: after?.createdAt ?? window.since,
    afterId: after?.messageId ?? '',
    limit,
  });
}

const SELECT_KEPT = statement({
  params: {
    merchantId: text,
    afterTime: timestamptz,
    afterId: text,
    since: timestamptz,
    until: timestamptz,
    eventTypes: nullable(array(text)),
    limit: bigint,
  },
  row: { messageId: text, createdAt: timestamptz },
  text: (p) => `
    select message_id, created_at from webhook_message
    where merchant_id = ${p.merchantId} and (created_at, message_id) > (${p.afterTime}, ${p.afterId})
      and created_at >= ${p.since} and created_at < ${p.until}
      and (${p.eventTypes}::text[] is null or event_type = any (${p.eventTypes})) and not is_example
    order by created_at, message_id limit ${p.limit}`,
});

/**
 * Makes a delivery due for each of these messages that the endpoint has not received, unless one is under way already.
 * @returns how many deliveries were made due
 */
export async function offerMessages(
  tx: Tx,
  { merchantId, endpointId }: EndpointKey,
  messageIds: readonly string[],
): Promise<number> {
  if (messageIds.length === 0) return 0;
  return OFFER.run(tx, { merchantId, endpointId, messageIds });
}

const OFFER = statement({
  params: { merchantId: text, endpointId: text, messageIds: array(text) },
  text: ({ merchantId, endpointId, messageIds }) => `
    insert into webhook_delivery as d (merchant_id, message_id, endpoint_id, state, next_attempt_at)
    select merchant_id, message_id, ${endpointId}, 'pending', now() from webhook_message
    where merchant_id = ${merchantId} and message_id = any (${messageIds})
    on conflict (merchant_id, message_id, endpoint_id) do update
      set state = 'pending', attempts = 0, next_attempt_at = excluded.next_attempt_at
      where d.state = 'failed'`,
});

/**
 * Writes down which entries a message tells of, for messages since a time that an older release stored without this.
 * @returns how many were changed; fewer than the limit if none is left
 */
export async function fillRanges(
  db: Queryable,
  merchantId: string,
  { since, limit }: { readonly since: Date; readonly limit: number },
): Promise<number> {
  return FILL_RANGES.run(db, { merchantId, since, limit });
}

const FILL_RANGES = statement({
  params: { merchantId: text, since: timestamptz, limit: bigint },
  text: ({ merchantId, since, limit }) => `
    with old as (
      select message_id, payload::jsonb -> 'data' as data from webhook_message
      where merchant_id = ${merchantId} and created_at >= ${since} and event_type = 'wallet.balance.changed'
        and customer_id is null and not is_example
      limit ${limit})
    update webhook_message m
    set customer_id = old.data ->> 'customer_id', currency = old.data ->> 'currency',
      first_seq = (old.data ->> 'previous_version')::bigint + 1, last_seq = (old.data ->> 'version')::bigint
    from old where m.merchant_id = ${merchantId} and m.message_id = old.message_id`,
});

/** Whether more than `limit` deliveries to an endpoint are under way. */
export async function hasMorePending(
  db: Queryable,
  { merchantId, endpointId }: EndpointKey,
  limit: number,
): Promise<boolean> {
  return (await COUNT_PENDING.one(db, { merchantId, endpointId, most: limit + 1 })).pending > limit;
}

const COUNT_PENDING = statement({
  params: { merchantId: text, endpointId: text, most: bigint },
  row: { pending: integer },
  text: ({ merchantId, endpointId, most }) => `
    select count(*)::integer as pending from (
      select 1 from webhook_delivery
      where merchant_id = ${merchantId} and endpoint_id = ${endpointId} and state = 'pending' limit ${most}) p`,
});
