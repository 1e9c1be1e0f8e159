import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../db/transaction.ts';
import type { OutgoingMessage } from './outgoing.ts';
import { failedUnexpectedly, type Publisher, type SendResult, secondsUntilRetry } from './publisher.ts';

/** Messages that say nothing of a wallet's balance: they wait in a table of their own until they are handed over. */

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

/** One claim's messages are sent at once, so this bounds how long a receiver that hangs holds up the wallets behind. */
const MAX_CLAIMED = 16;
/** A message whose sender died waits no longer than this; Svix is given up on well before. */
const LEASE_SECONDS = 25;

/** Hands over what is due. A message that fails is tried again later, under its own id. */
export async function sendUnsent(pool: Pool, publisher: Publisher): Promise<UnsentResult> {
  const claimed = await claim(autocommit(pool));
  const results = await Promise.all(claimed.map((message) => sendOne(pool, publisher, message)));
  return {
    messages: results.filter((kind) => kind === 'sent').length,
    deferred: results.filter((kind) => kind === 'deferred').length,
    failed: results.filter((kind) => kind === 'failed').length,
    unfinished: claimed.length === MAX_CLAIMED && results.includes('sent'),
    retryAfterSeconds: await nextDueSeconds(autocommit(pool)),
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

/** When the next message that cannot be sent now may be: one put off, or one that another process has and may have died with. */
async function nextDueSeconds(db: Queryable): Promise<number | null> {
  const { rows } = await db.query<{ seconds: number | null }>(
    `select extract(epoch from min(greatest(claimed_until, retry_at)) - now())::float8 as seconds
     from unsent_message where greatest(claimed_until, retry_at) > now()`,
  );
  const seconds = rows[0]?.seconds ?? null;
  return seconds === null ? null : Math.ceil(seconds);
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
       select merchant_id, message_id from unsent_message
       where (claimed_until is null or claimed_until <= now()) and (retry_at is null or retry_at <= now())
       order by since limit $1 for update skip locked)
     update unsent_message u set claimed_until = now() + make_interval(secs => $2), retry_at = null
     from due where u.merchant_id = due.merchant_id and u.message_id = due.message_id
     returning u.merchant_id, u.message_id, u.event_type, u.payload, u.attempts`,
    [MAX_CLAIMED, LEASE_SECONDS],
  );
  return rows.map((row) => ({
    merchantId: row.merchant_id,
    messageId: row.message_id,
    eventType: row.event_type,
    payload: row.payload,
    attempts: row.attempts,
  }));
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
