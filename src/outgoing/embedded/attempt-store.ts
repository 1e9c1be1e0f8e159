import { eachMerchant } from '../../db/by-merchant.ts';
import { bigint, boolean, integer, nullable, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import { columns, omit, table } from '../../db/table.ts';
import type { Queryable, Tx } from '../../db/transaction.ts';
import type { AttemptPage, AttemptQuery, EndpointKey } from '../outgoing.ts';
import { type DeliveryKey, isDelivery } from './delivery-store.ts';

/** The embedded sender's attempts: every try of every delivery. */

export interface AttemptRecord {
  readonly attemptId: string;
  readonly statusCode: number | null;
  readonly error: string | null;
  readonly response: string | null;
  readonly durationMs: number;
  readonly at: Date;
}

/** Stores tries to deliver messages; of deliveries that went with their endpoint, nothing. */
export async function insertAttempts(tx: Tx, attempts: readonly (DeliveryKey & AttemptRecord)[]): Promise<void> {
  await eachMerchant(attempts, (merchantId, own) =>
    INSERT_ATTEMPTS.run(tx, { merchantId, attempts: own.map(({ at, ...attempt }) => ({ ...attempt, createdAt: at })) }),
  );
}

const ATTEMPT = table('webhook_attempt', {
  merchantId: text,
  attemptId: text,
  messageId: text,
  endpointId: text,
  statusCode: nullable(integer),
  error: nullable(text),
  response: nullable(text),
  durationMs: integer,
  createdAt: timestamptz,
});

const OWN_ATTEMPT = omit(ATTEMPT.shape, 'merchantId');

const INSERT_ATTEMPTS = statement({
  name: 'insert-attempts',
  params: { merchantId: text, attempts: rowsOf(OWN_ATTEMPT) },
  text: ({ merchantId, attempts }) => `
    insert into webhook_attempt (merchant_id, ${columns(OWN_ATTEMPT)})
    select ${merchantId}, ${columns(OWN_ATTEMPT, 'n')}
    from ${attempts('n', { merchantId })} join webhook_delivery d on d.merchant_id = n.merchant_id and ${isDelivery('n')}`,
});

/** A page, newest first. The cursor is the last attempt of the page before, so that new attempts do not shift the pages. */
export async function selectAttempts(
  db: Queryable,
  { merchantId, endpointId }: EndpointKey,
  query: AttemptQuery,
): Promise<AttemptPage> {
  const found = await SELECT_ATTEMPTS.all(db, {
    merchantId,
    endpointId,
    limit: query.pageSize + 1,
    cursor: query.cursor,
    succeeded: query.status === null ? null : query.status === 'succeeded',
    eventType: query.eventType,
    messageId: query.messageId,
    since: query.since,
    until: query.until,
  });
  const page = found.slice(0, query.pageSize);
  return {
    attempts: page.map(({ attemptId, ...attempt }) => ({
      id: attemptId,
      ...attempt,
      status: isSuccess(attempt.statusCode) ? 'succeeded' : 'failed',
    })),
    nextCursor: found.length > page.length ? (page.at(-1)?.attemptId ?? null) : null,
  };
}

const SELECT_ATTEMPTS = statement({
  params: {
    merchantId: text,
    endpointId: text,
    limit: bigint,
    cursor: nullable(text),
    succeeded: nullable(boolean),
    eventType: nullable(text),
    messageId: nullable(text),
    since: nullable(timestamptz),
    until: nullable(timestamptz),
  },
  row: { ...OWN_ATTEMPT, eventType: text },
  text: (p) => `
    select ${columns(OWN_ATTEMPT, 'a')}, m.event_type
    from webhook_attempt a join webhook_message m using (merchant_id, message_id)
    where a.merchant_id = ${p.merchantId} and a.endpoint_id = ${p.endpointId}
      and (${p.cursor}::text is null or (a.created_at, a.attempt_id) < (
        select c.created_at, c.attempt_id from webhook_attempt c where c.merchant_id = ${p.merchantId} and c.attempt_id = ${p.cursor}))
      and (${p.succeeded}::boolean is null or coalesce(a.status_code between 200 and 299, false) = ${p.succeeded})
      and (${p.eventType}::text is null or m.event_type = ${p.eventType})
      and (${p.messageId}::text is null or a.message_id = ${p.messageId})
      and (${p.since}::timestamptz is null or a.created_at >= ${p.since})
      and (${p.until}::timestamptz is null or a.created_at < ${p.until})
    order by a.created_at desc, a.attempt_id desc
    limit ${p.limit}`,
});

/** Only 2xx counts as received; a redirect is a failure. */
export function isSuccess(statusCode: number | null): boolean {
  return statusCode !== null && statusCode >= 200 && statusCode < 300;
}
