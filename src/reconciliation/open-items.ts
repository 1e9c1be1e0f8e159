import { z } from 'zod';
import { bigint, integer, oneOf, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import type { ListedKind } from '../providers/shared/api.ts';
import type { Run } from './run.ts';

const CURSOR = z.tuple([z.enum(['payment', 'part']), z.string(), z.string()]);
type Cursor = z.infer<typeof CURSOR>;

/** Finds what to ask the provider for by its id, because no list of the run's window shows it. */

/** A payment, refund or dispute that is recorded here, and the cursor from which the search continues after it. */
export interface KnownObject {
  readonly kind: ListedKind;
  readonly objectId: string;
  readonly cursor: string;
}

/** Bank debits take two weeks; a payment that was declined is tried again within days. */
const PENDING_DAYS = 21;
/** A dispute may be decided after months. As long as it holds money it is asked for, since nothing else would end the hold. */
const OPEN_DAYS = 200;

/**
 * What is unfinished here and older than the run's window: payments that may still succeed, refunds and disputes that are
 * not decided, and disputes that were decided and hold money for a later round. At most `limit`, after the run's cursor.
 */
export async function unfinished(db: Queryable, run: Run, limit: number): Promise<readonly KnownObject[]> {
  const [from, at, id] = readCursor(run, 'payment');
  if (from === 'payment') {
    const payments = await unfinishedPayments(db, run, { at, id, limit });
    if (payments.length === limit) return payments;
    return [...payments, ...(await unfinishedParts(db, run, { at: '', id: '', limit: limit - payments.length }))];
  }
  return unfinishedParts(db, run, { at, id, limit });
}

/** A page of at most `limit` rows after a cursor's place. `at` is a payment's time, or a part's kind; both empty at the start. */
interface PageAfter {
  readonly at: string;
  readonly id: string;
  readonly limit: number;
}

async function unfinishedPayments(
  db: Queryable,
  { merchantId, sourceId, since }: Run,
  page: PageAfter,
): Promise<readonly KnownObject[]> {
  const found = await UNFINISHED_PAYMENTS.all(db, { merchantId, sourceId, since, days: PENDING_DAYS, ...page });
  return found.map(knownPayment);
}

/** A payment's place in the order of the search. The time is text, so that it keeps its microseconds. */
const PLACE = { paymentId: text, at: text };

function knownPayment({ paymentId, at }: { readonly paymentId: string; readonly at: string }): KnownObject {
  return { kind: 'payment', objectId: paymentId, cursor: writeCursor('payment', at, paymentId) };
}

const UNFINISHED_PAYMENTS = statement({
  params: { merchantId: text, sourceId: text, since: timestamptz, days: integer, at: text, id: text, limit: bigint },
  row: PLACE,
  text: (p) => `
    select payment_id, to_json(created_at) #>> '{}' as at from payment
    where merchant_id = ${p.merchantId} and source_id = ${p.sourceId}
      and created_at < ${p.since} and created_at >= ${p.since}::timestamptz - make_interval(days => ${p.days})
      and state in ('pending', 'failed')
      and (${p.at} = '' or (created_at, payment_id) > (nullif(${p.at}, '')::timestamptz, ${p.id}))
    order by created_at, payment_id limit ${p.limit}`,
});

async function unfinishedParts(
  db: Queryable,
  { merchantId, sourceId, since }: Run,
  { at: kind, id, limit }: PageAfter,
): Promise<readonly KnownObject[]> {
  const parts = await UNFINISHED_PARTS.all(db, { merchantId, sourceId, kind, id, since, days: OPEN_DAYS, limit });
  return parts.map((part) => ({
    kind: part.kind,
    objectId: part.partId,
    cursor: writeCursor('part', part.kind, part.partId),
  }));
}

const UNFINISHED_PARTS = statement({
  params: { merchantId: text, sourceId: text, kind: text, id: text, since: timestamptz, days: integer, limit: bigint },
  row: { kind: oneOf<'refund' | 'dispute'>(), partId: text },
  text: (p) => `
    select kind, part_id
    from (
      (select kind, part_id ${thoseThat(p, 'hold_no is not null')})
      union
      (select kind, part_id ${thoseThat(p, `state in ('pending', 'open') and created_at >= ${p.since}::timestamptz - make_interval(days => ${p.days})`)})) t
    order by kind, part_id limit ${p.limit}`,
});

/** A page of them, by an index of those that are so: a source may have had any number of others. */
function thoseThat(
  p: Readonly<Record<'merchantId' | 'sourceId' | 'kind' | 'id' | 'since' | 'limit', string>>,
  condition: string,
): string {
  return `from payment_part
      where merchant_id = ${p.merchantId} and source_id = ${p.sourceId} and (kind, part_id) > (${p.kind}, ${p.id})
        and created_at < ${p.since} and ${condition}
      order by kind, part_id limit ${p.limit}`;
}

/**
 * Payments that were first recorded here within the run's window, and that no list of the provider has ever shown. The
 * first webhook of a payment may come long after it was made, so the provider may have made it before the window.
 */
export async function unconfirmed(db: Queryable, run: Run, limit: number): Promise<readonly KnownObject[]> {
  const [, at, id] = readCursor(run, 'payment');
  const { merchantId, sourceId, runId, since, until } = run;
  return (await UNCONFIRMED.all(db, { merchantId, sourceId, runId, since, until, at, id, limit })).map(knownPayment);
}

const UNCONFIRMED = statement({
  params: {
    merchantId: text,
    sourceId: text,
    runId: text,
    since: timestamptz,
    until: timestamptz,
    at: text,
    id: text,
    limit: bigint,
  },
  row: PLACE,
  text: (q) => `
    select p.payment_id, to_json(p.created_at) #>> '{}' as at from payment p
    where p.merchant_id = ${q.merchantId} and p.source_id = ${q.sourceId}
      and p.created_at >= ${q.since} and p.created_at < ${q.until}
      and p.state = 'succeeded' and p.confirmed_at is null
      and (${q.at} = '' or (p.created_at, p.payment_id) > (nullif(${q.at}, '')::timestamptz, ${q.id}))
      and not exists (select from reconciliation_item i
        where i.merchant_id = p.merchant_id and i.run_id = ${q.runId} and i.kind = 'payment' and i.object_id = p.payment_id
        -- Looked up by the whole key: as a join, all items of the run might be read for each payment.
        offset 0)
    order by p.created_at, p.payment_id limit ${q.limit}`,
});

/** JSON, since an id of a provider may hold any mark that could separate the parts of a cursor. */
function writeCursor(...cursor: Cursor): string {
  return JSON.stringify(cursor);
}

function readCursor({ cursor }: Run, first: Cursor[0]): Cursor {
  return cursor === null ? [first, '', ''] : CURSOR.parse(JSON.parse(cursor));
}
