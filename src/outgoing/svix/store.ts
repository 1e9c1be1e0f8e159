import type { Queryable } from '../../db/transaction.ts';
import type { WalletKey } from '../../ledger/entry.ts';
import type { EntryRange } from '../outgoing.ts';
import type { KnownMessage } from '../recovery/missed-entries.ts';

/** What we know of what Svix keeps for us: its ids of our messages, and how its endpoints were when we last looked. */

export interface SentMessage {
  readonly merchantId: string;
  /** As Svix knows it, which is as the merchant does. */
  readonly messageId: string;
  readonly svixMessageId: string;
  readonly eventType: string;
  /** The only endpoint it was for; null for every endpoint that wanted it. */
  readonly endpointId: string | null;
  readonly range: EntryRange | null;
}

/** Notes messages that Svix has, in one statement. One that was noted without its entries, by whoever listed attempts, gains them. */
export async function insertSent(db: Queryable, messages: readonly SentMessage[], sentAt: Date): Promise<void> {
  if (messages.length === 0) return;
  await db.query(
    `with sent as (
       select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[])
         as s (merchant_id, message_id, svix_message_id, event_type, endpoint_id, customer_id, currency, first_seq, last_seq)),
     watched as (
       insert into svix_merchant (merchant_id) select distinct merchant_id from sent order by 1 on conflict do nothing)
     insert into svix_message
       (merchant_id, message_id, svix_message_id, event_type, endpoint_id, customer_id, currency, first_seq, last_seq, sent_at)
     select merchant_id, message_id, svix_message_id, event_type, endpoint_id, customer_id, currency, first_seq, last_seq, $10
     from sent
     on conflict (merchant_id, message_id) do update
       set customer_id = excluded.customer_id, currency = excluded.currency,
         first_seq = excluded.first_seq, last_seq = excluded.last_seq
       where svix_message.customer_id is null and excluded.customer_id is not null`,
    [
      messages.map((message) => message.merchantId),
      messages.map((message) => message.messageId),
      messages.map((message) => message.svixMessageId),
      messages.map((message) => message.eventType),
      messages.map((message) => message.endpointId),
      messages.map(({ range }) => range?.customerId ?? null),
      messages.map(({ range }) => range?.currency ?? null),
      messages.map(({ range }) => range?.firstSeq ?? null),
      messages.map(({ range }) => range?.lastSeq ?? null),
      sentAt.toISOString(),
    ],
  );
}

export interface KnownSent extends Pick<SentMessage, 'messageId' | 'svixMessageId' | 'eventType' | 'endpointId'> {
  readonly sentAt: Date;
}

interface SentRow {
  message_id: string;
  svix_message_id: string;
  event_type: string;
  endpoint_id: string | null;
  sent_at: Date;
}

const SENT_COLUMNS = 'message_id, svix_message_id, event_type, endpoint_id, sent_at';

function toSent(row: SentRow): KnownSent {
  return {
    messageId: row.message_id,
    svixMessageId: row.svix_message_id,
    eventType: row.event_type,
    endpointId: row.endpoint_id,
    sentAt: row.sent_at,
  };
}

export async function selectSent(db: Queryable, merchantId: string, messageId: string): Promise<KnownSent | null> {
  const { rows } = await db.query<SentRow>(
    `select ${SENT_COLUMNS} from svix_message where merchant_id = $1 and message_id = $2`,
    [merchantId, messageId],
  );
  return rows[0] === undefined ? null : toSent(rows[0]);
}

/** By Svix's ids. */
export async function selectSentBySvixId(
  db: Queryable,
  merchantId: string,
  svixMessageIds: readonly string[],
): Promise<ReadonlyMap<string, KnownSent>> {
  const { rows } = await db.query<SentRow>(
    `select ${SENT_COLUMNS} from svix_message where merchant_id = $1 and svix_message_id = any ($2)`,
    [merchantId, svixMessageIds],
  );
  return new Map(rows.map((row) => [row.svix_message_id, toSent(row)]));
}

/** The messages that tell of any of a wallet's entries after `from` up to `to`. */
export async function selectSentOf(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  from: number,
  to: number,
): Promise<readonly KnownMessage[]> {
  const { rows } = await db.query<{ message_id: string; first_seq: number; last_seq: number }>(
    `select message_id, first_seq, last_seq from svix_message
     where merchant_id = $1 and customer_id = $2 and currency = $3 and last_seq > $4 and first_seq <= $5
     order by last_seq`,
    [merchantId, customerId, currency, from, to],
  );
  return rows.map((row) => ({ messageId: row.message_id, firstSeq: row.first_seq, lastSeq: row.last_seq }));
}

/** Takes away up to `limit` notes of messages handed over before a time. @returns how many */
export async function deleteSentBefore(db: Queryable, before: Date, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `delete from svix_message m using (
       select merchant_id, message_id from svix_message where sent_at < $1 order by sent_at limit $2) old
     where m.merchant_id = old.merchant_id and m.message_id = old.message_id`,
    [before.toISOString(), limit],
  );
  return rowCount ?? 0;
}

/** Notes an endpoint as we left it, so that only what Svix does of itself is news. */
export async function noteEndpoint(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  disabled: boolean,
): Promise<void> {
  await db.query(
    `with watched as (insert into svix_merchant (merchant_id) values ($1) on conflict do nothing)
     insert into svix_endpoint (merchant_id, endpoint_id, disabled) values ($1, $2, $3)
     on conflict (merchant_id, endpoint_id) do update set disabled = excluded.disabled`,
    [merchantId, endpointId, disabled],
  );
}

/** Notes that an endpoint has a copy, before it is made. */
export async function noteCopy(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  disabled: boolean,
): Promise<void> {
  await db.query(
    `insert into svix_endpoint (merchant_id, endpoint_id, disabled, has_copy) values ($1, $2, $3, true)
     on conflict (merchant_id, endpoint_id) do update set has_copy = true where not svix_endpoint.has_copy`,
    [merchantId, endpointId, disabled],
  );
}

export async function hasCopy(db: Queryable, merchantId: string, endpointId: string): Promise<boolean> {
  const { rows } = await db.query(
    'select 1 from svix_endpoint where merchant_id = $1 and endpoint_id = $2 and has_copy',
    [merchantId, endpointId],
  );
  return rows.length > 0;
}

export async function forgetEndpoint(db: Queryable, merchantId: string, endpointId: string): Promise<void> {
  await db.query('delete from svix_endpoint where merchant_id = $1 and endpoint_id = $2', [merchantId, endpointId]);
}

/** Forgets the merchant's endpoints that are not among those that Svix has. */
export async function forgetEndpointsBut(
  db: Queryable,
  merchantId: string,
  endpointIds: readonly string[],
): Promise<void> {
  await db.query('delete from svix_endpoint where merchant_id = $1 and not endpoint_id = any ($2)', [
    merchantId,
    endpointIds,
  ]);
}

/** Which of the merchant's endpoints we last knew enabled. */
export async function selectEnabled(db: Queryable, merchantId: string): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ endpoint_id: string }>(
    'select endpoint_id from svix_endpoint where merchant_id = $1 and not disabled',
    [merchantId],
  );
  return new Set(rows.map((row) => row.endpoint_id));
}

/** Notes that an endpoint is disabled. @returns true if it was known as enabled until now */
export async function noteDisabled(db: Queryable, merchantId: string, endpointId: string): Promise<boolean> {
  const { rowCount } = await db.query(
    'update svix_endpoint set disabled = true where merchant_id = $1 and endpoint_id = $2 and not disabled',
    [merchantId, endpointId],
  );
  return rowCount === 1;
}

/** Takes the merchants that were looked at the longest ago, and not within the last `seconds`. */
export async function takeMerchantsToLookAt(db: Queryable, seconds: number, limit: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ merchant_id: string }>(
    `with due as (
       select merchant_id from svix_merchant
       where looked_at is null or looked_at < now() - make_interval(secs => $1)
       order by looked_at nulls first limit $2 for update skip locked)
     update svix_merchant m set looked_at = now() from due where m.merchant_id = due.merchant_id
     returning m.merchant_id`,
    [seconds, limit],
  );
  return rows.map((row) => row.merchant_id);
}
