import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../db/transaction.ts';
import { LEASE_SECONDS } from './claim.ts';
import type { OutgoingMessage } from './outgoing.ts';
import { failedUnexpectedly, type Publisher, type SendResult, secondsUntilRetry } from './publisher.ts';

/** Messages that say nothing of a wallet's balance: they wait in a table of their own until they are handed over. */

const RENEW_MS = (LEASE_SECONDS * 1000) / 3;

/** Leaves messages to be sent, in the transaction that makes them true. */
export async function leaveMessages(tx: Tx, messages: readonly OutgoingMessage[], now: Date): Promise<void> {
  if (messages.length === 0) return;
  await tx.query(
    `insert into unsent_message (merchant_id, message_id, event_type, payload, since)
     select *, $5 from unnest($1::text[], $2::text[], $3::text[], $4::text[]) on conflict do nothing`,
    [
      messages.map((message) => message.merchantId),
      messages.map((message) => message.messageId),
      messages.map((message) => message.eventType),
      messages.map((message) => message.payload),
      now.toISOString(),
    ],
  );
}

/** How one try went, over all messages claimed. */
export interface UnsentResult {
  readonly messages: number;
  readonly deferred: number;
  readonly failed: number;
  /** True if there may be more that are due. */
  readonly unfinished: boolean;
  readonly retryAfterSeconds: number | null;
}

/** One claim's messages are sent at once, beside the wallets'. */
const MAX_CLAIMED = 16;
/** The bytes of one claim's payloads, unless the first alone is larger. */
const MAX_CLAIMED_BYTES = 1024 * 1024;

/** Hands over what is due. A message that fails is tried again later, under its own id. */
export async function sendUnsent(pool: Pool, publisher: Publisher): Promise<UnsentResult> {
  const claimed = await claim(autocommit(pool));
  const renewal = setInterval(() => {
    // One that fails costs nothing: a message that another sends as well has the same id.
    renew(autocommit(pool), claimed).catch(() => {});
  }, RENEW_MS);
  const sending = claimed.map((message) => sendOne(pool, publisher, message));
  await Promise.allSettled(sending);
  clearInterval(renewal);
  const results = await Promise.all(sending);
  const dueInSeconds = await unsentDueInSeconds(autocommit(pool));
  return {
    messages: results.filter((kind) => kind === 'sent').length,
    deferred: results.filter((kind) => kind === 'deferred').length,
    failed: results.filter((kind) => kind === 'failed').length,
    unfinished: dueInSeconds === 0 && results.includes('sent'),
    retryAfterSeconds: dueInSeconds === null ? null : Math.max(1, Math.ceil(dueInSeconds)),
  };
}

interface ClaimedMessage extends OutgoingMessage {
  readonly attempts: number;
}

type Sent = SendResult['kind'];

async function sendOne(pool: Pool, publisher: Publisher, message: ClaimedMessage): Promise<Sent> {
  const sent = await publisher.send([message]).catch(() => failedUnexpectedly(message.attempts));
  if (sent.kind !== 'sent') {
    await postpone(autocommit(pool), message, sent, secondsUntilRetry(sent, message.attempts));
    return sent.kind;
  }
  await transaction(pool, async (tx) => {
    // Whoever finds it gone is late: another has recorded it.
    const { rowCount } = await tx.query('delete from unsent_message where merchant_id = $1 and message_id = $2', [
      message.merchantId,
      message.messageId,
    ]);
    if (rowCount === 1) await publisher.record(tx, [message]);
  });
  return 'sent';
}

/**
 * How long until the next message is due: 0 if one is now, null if none is going to be. Counts what was put off, and what another
 * process has and may have died with.
 */
export async function unsentDueInSeconds(db: Queryable): Promise<number | null> {
  const { rows } = await db.query<{ seconds: number | null }>(
    `select extract(epoch from min(greatest(claimed_until, retry_at, now())) - now())::float8 as seconds
     from unsent_message`,
  );
  return rows[0]?.seconds ?? null;
}

async function claim(db: Queryable): Promise<readonly ClaimedMessage[]> {
  const { rows } = await db.query<{
    merchant_id: string;
    message_id: string;
    event_type: string;
    payload: string;
    attempts: number;
  }>(
    `with due as (
       select merchant_id, message_id, since, octet_length(payload) as bytes from unsent_message
       where (claimed_until is null or claimed_until <= now()) and (retry_at is null or retry_at <= now())
       order by since limit $1 for update skip locked),
     sized as (select *, sum(bytes) over (order by since, merchant_id, message_id) as total from due)
     update unsent_message u set claimed_until = now() + make_interval(secs => $2), retry_at = null
     from sized s
     where u.merchant_id = s.merchant_id and u.message_id = s.message_id and (s.total <= $3 or s.total = s.bytes)
     returning u.merchant_id, u.message_id, u.event_type, u.payload, u.attempts`,
    [MAX_CLAIMED, LEASE_SECONDS, MAX_CLAIMED_BYTES],
  );
  return rows.map((row) => ({
    merchantId: row.merchant_id,
    messageId: row.message_id,
    eventType: row.event_type,
    payload: row.payload,
    attempts: row.attempts,
  }));
}

/** Keeps the leases of messages that are still being sent. */
async function renew(db: Queryable, messages: readonly ClaimedMessage[]): Promise<void> {
  await db.query(
    `update unsent_message u set claimed_until = now() + make_interval(secs => $3)
     from unnest($1::text[], $2::text[]) as k (merchant_id, message_id)
     where u.merchant_id = k.merchant_id and u.message_id = k.message_id and u.claimed_until is not null`,
    [messages.map(({ merchantId }) => merchantId), messages.map(({ messageId }) => messageId), LEASE_SECONDS],
  );
}

async function postpone(
  db: Queryable,
  { merchantId, messageId }: ClaimedMessage,
  { kind, reason }: Exclude<SendResult, { kind: 'sent' }>,
  afterSeconds: number,
): Promise<void> {
  await db.query(
    `update unsent_message
     set claimed_until = null, retry_at = now() + make_interval(secs => $3), attempts = attempts + $4, last_error = left($5, 500)
     where merchant_id = $1 and message_id = $2`,
    [merchantId, messageId, afterSeconds, kind === 'failed' ? 1 : 0, reason],
  );
}
