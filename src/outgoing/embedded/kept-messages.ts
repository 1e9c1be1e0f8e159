import type { Queryable, Tx } from '../../db/transaction.ts';
import type { WalletKey } from '../../ledger/entry.ts';
import type { KnownMessage } from '../recovery/missed-entries.ts';
import type { DeliveryKey } from './delivery-store.ts';

/** The embedded sender's stored messages, as a recovery finds and offers them. */

/** A place among the messages of a merchant. */
export interface KeptPlace {
  readonly createdAt: Date;
  readonly messageId: string;
}

/** A page of the messages of a window after a place, the oldest first, of these types; null for all. */
export async function selectKept(
  db: Queryable,
  merchantId: string,
  window: { readonly since: Date; readonly until: Date; readonly eventTypes: readonly string[] | null },
  after: KeptPlace | null,
  limit: number,
): Promise<readonly KeptPlace[]> {
  const { rows } = await db.query<{ message_id: string; created_at: Date }>(
    `select message_id, created_at from webhook_message
     where merchant_id = $1 and (created_at, message_id) > ($2, $3) and created_at >= $4 and created_at < $5
       and ($6::text[] is null or event_type = any ($6)) and not is_example
     order by created_at, message_id limit $7`,
    [
      merchantId,
      (after?.createdAt ?? window.since).toISOString(),
      after?.messageId ?? '',
      window.since.toISOString(),
      window.until.toISOString(),
      window.eventTypes,
      limit,
    ],
  );
  return rows.map((row) => ({ messageId: row.message_id, createdAt: row.created_at }));
}

/**
 * Makes deliveries of messages to an endpoint due that has not received them and for which no delivery is under way.
 * @returns those that were made due
 */
export async function offerMessages(
  tx: Tx,
  merchantId: string,
  endpointId: string,
  messageIds: readonly string[],
): Promise<readonly DeliveryKey[]> {
  if (messageIds.length === 0) return [];
  const { rows } = await tx.query<{ message_id: string }>(
    `insert into webhook_delivery as d (merchant_id, message_id, endpoint_id, state, next_attempt_at)
     select merchant_id, message_id, $2, 'pending', now() from webhook_message
     where merchant_id = $1 and message_id = any ($3)
     on conflict (merchant_id, message_id, endpoint_id) do update
       set state = 'pending', attempts = 0, next_attempt_at = excluded.next_attempt_at
       where d.state = 'failed'
     returning message_id`,
    [merchantId, endpointId, messageIds],
  );
  return rows.map((row) => ({ merchantId, messageId: row.message_id, endpointId }));
}

/** The stored messages that tell of any of a wallet's entries after `from` up to `to`. */
export async function selectKnown(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  from: number,
  to: number,
): Promise<readonly KnownMessage[]> {
  const { rows } = await db.query<{ message_id: string; first_seq: number; last_seq: number }>(
    `select message_id, first_seq, last_seq from webhook_message
     where merchant_id = $1 and customer_id = $2 and currency = $3 and last_seq > $4 and first_seq <= $5
     order by last_seq`,
    [merchantId, customerId, currency, from, to],
  );
  return rows.map((row) => ({ messageId: row.message_id, firstSeq: row.first_seq, lastSeq: row.last_seq }));
}

/**
 * Notes of which entries messages tell that an older release stored, since a time.
 * @returns how many it did; fewer than the limit if those were all
 */
export async function fillRanges(db: Queryable, merchantId: string, since: Date, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `with old as (
       select message_id, payload::jsonb -> 'data' as data from webhook_message
       where merchant_id = $1 and created_at >= $2 and event_type = 'wallet.balance.changed' and customer_id is null
         and not is_example
       limit $3)
     update webhook_message m
     set customer_id = old.data ->> 'customer_id', currency = old.data ->> 'currency',
       first_seq = (old.data ->> 'previous_version')::bigint + 1, last_seq = (old.data ->> 'version')::bigint
     from old where m.merchant_id = $1 and m.message_id = old.message_id`,
    [merchantId, since.toISOString(), limit],
  );
  return rowCount ?? 0;
}

/** Whether more deliveries than this are under way to an endpoint. */
export async function hasMorePending(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  limit: number,
): Promise<boolean> {
  const { rows } = await db.query<{ pending: number }>(
    `select count(*)::integer as pending from (
       select 1 from webhook_delivery
       where merchant_id = $1 and endpoint_id = $2 and state = 'pending' limit $3) p`,
    [merchantId, endpointId, limit + 1],
  );
  return (rows[0]?.pending ?? 0) > limit;
}
