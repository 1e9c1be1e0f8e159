import type { Queryable, Tx } from '../../db/transaction.ts';
import type { AttemptPage, AttemptQuery } from '../outgoing.ts';
import type { DeliveryKey } from './delivery-store.ts';

/** The embedded sender's attempts: every try of every delivery. */

export interface AttemptRecord {
  readonly attemptId: string;
  readonly statusCode: number | null;
  readonly error: string | null;
  readonly response: string | null;
  readonly durationMs: number;
  readonly at: Date;
}

export async function insertAttempt(tx: Tx, key: DeliveryKey, attempt: AttemptRecord): Promise<void> {
  await tx.query(
    `insert into webhook_attempt (merchant_id, attempt_id, message_id, endpoint_id, status_code, error, response, duration_ms, created_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      key.merchantId,
      attempt.attemptId,
      key.messageId,
      key.endpointId,
      attempt.statusCode,
      attempt.error,
      attempt.response,
      attempt.durationMs,
      attempt.at.toISOString(),
    ],
  );
}

/** A page, newest first. The cursor is the last attempt of the page before, so new attempts move nothing. */
export async function selectAttempts(
  db: Queryable,
  merchantId: string,
  endpointId: string,
  query: AttemptQuery,
): Promise<AttemptPage> {
  const { rows } = await db.query<AttemptRow>(
    `select a.attempt_id, a.message_id, a.endpoint_id, m.event_type, a.status_code, a.error, a.response, a.duration_ms, a.created_at
     from webhook_attempt a join webhook_message m using (merchant_id, message_id)
     where a.merchant_id = $1 and a.endpoint_id = $2
       and ($4::text is null or (a.created_at, a.attempt_id) < (
         select c.created_at, c.attempt_id from webhook_attempt c where c.merchant_id = $1 and c.attempt_id = $4))
       and ($5::boolean is null or coalesce(a.status_code between 200 and 299, false) = $5)
       and ($6::text is null or m.event_type = $6)
       and ($7::text is null or a.message_id = $7)
       and ($8::timestamptz is null or a.created_at >= $8)
       and ($9::timestamptz is null or a.created_at < $9)
     order by a.created_at desc, a.attempt_id desc
     limit $3`,
    [
      merchantId,
      endpointId,
      query.pageSize + 1,
      query.cursor,
      query.status === null ? null : query.status === 'succeeded',
      query.eventType,
      query.messageId,
      query.since?.toISOString() ?? null,
      query.until?.toISOString() ?? null,
    ],
  );
  const page = rows.slice(0, query.pageSize);
  return {
    attempts: page.map((row) => ({
      id: row.attempt_id,
      messageId: row.message_id,
      endpointId: row.endpoint_id,
      eventType: row.event_type,
      status: isSuccess(row.status_code) ? 'succeeded' : 'failed',
      statusCode: row.status_code,
      error: row.error,
      response: row.response,
      durationMs: row.duration_ms,
      createdAt: row.created_at,
    })),
    nextCursor: rows.length > page.length ? (page.at(-1)?.attempt_id ?? null) : null,
  };
}

/** Only 2xx counts as received; a redirect is a failure. */
export function isSuccess(statusCode: number | null): boolean {
  return statusCode !== null && statusCode >= 200 && statusCode < 300;
}

interface AttemptRow {
  attempt_id: string;
  message_id: string;
  endpoint_id: string;
  event_type: string;
  status_code: number | null;
  error: string | null;
  response: string | null;
  duration_ms: number;
  created_at: Date;
}
