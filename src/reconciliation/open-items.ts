import { z } from 'zod';
import type { Queryable } from '../db/transaction.ts';
import type { ListedKind } from '../providers/shared/api.ts';
import type { Run } from './run.ts';

const CURSOR = z.tuple([z.enum(['payment', 'part']), z.string(), z.string()]);
type Cursor = z.infer<typeof CURSOR>;

/** Finds what to ask the provider for by its id, since no list within the run's window shows it. */

/** Something of ours, and where a search for more of it goes on. */
export interface Ours {
  readonly kind: ListedKind;
  readonly objectId: string;
  readonly cursor: string;
}

/** Bank debits take two weeks; a payment that was declined is tried again within days. */
const PENDING_DAYS = 21;
/** A dispute may be decided after months. */
const OPEN_DAYS = 200;

/**
 * What is unfinished here and older than the run's window: payments that may still succeed, refunds and disputes that are
 * not decided.
 */
export async function unfinished(db: Queryable, run: Run, limit: number): Promise<readonly Ours[]> {
  const [from, at, id] = readCursor(run, 'payment');
  if (from === 'payment') {
    const payments = await unfinishedPayments(db, run, at, id, limit);
    if (payments.length === limit) return payments;
    return [...payments, ...(await unfinishedParts(db, run, '', '', limit - payments.length))];
  }
  return unfinishedParts(db, run, at, id, limit);
}

async function unfinishedPayments(
  db: Queryable,
  run: Run,
  at: string,
  id: string,
  limit: number,
): Promise<readonly Ours[]> {
  const { rows } = await db.query<{ payment_id: string; at: string }>(
    `select payment_id, to_json(created_at) #>> '{}' as at from payment
     where merchant_id = $1 and source_id = $2 and created_at < $3 and created_at >= $3::timestamptz - make_interval(days => $4)
       and state in ('pending', 'failed') and ($5 = '' or (created_at, payment_id) > (nullif($5, '')::timestamptz, $6))
     order by created_at, payment_id limit $7`,
    [run.merchantId, run.sourceId, run.since.toISOString(), PENDING_DAYS, at, id, limit],
  );
  return rows.map((row) => ({
    kind: 'payment',
    objectId: row.payment_id,
    cursor: writeCursor('payment', row.at, row.payment_id),
  }));
}

async function unfinishedParts(
  db: Queryable,
  run: Run,
  kind: string,
  id: string,
  limit: number,
): Promise<readonly Ours[]> {
  const { rows } = await db.query<{ kind: 'refund' | 'dispute'; part_id: string }>(
    `select kind, part_id from payment_part
     where merchant_id = $1 and source_id = $2 and state in ('pending', 'open') and (kind, part_id) > ($3, $4)
       and created_at < $5 and created_at >= $5::timestamptz - make_interval(days => $6)
     order by kind, part_id limit $7`,
    [run.merchantId, run.sourceId, kind, id, run.since.toISOString(), OPEN_DAYS, limit],
  );
  return rows.map((row) => ({
    kind: row.kind,
    objectId: row.part_id,
    cursor: writeCursor('part', row.kind, row.part_id),
  }));
}

/**
 * Payments of ours, heard of within the run's window, that no list of the provider has ever confirmed. A payment can be
 * heard of long after it was made, so one that was made before the window may be among them.
 */
export async function unconfirmed(db: Queryable, run: Run, limit: number): Promise<readonly Ours[]> {
  const [, at, id] = readCursor(run, 'payment');
  const { rows } = await db.query<{ payment_id: string; at: string }>(
    `select p.payment_id, to_json(p.created_at) #>> '{}' as at from payment p
     where p.merchant_id = $1 and p.source_id = $2 and p.created_at >= $3 and p.created_at < $4
       and p.state = 'succeeded' and p.confirmed_at is null
       and ($5 = '' or (p.created_at, p.payment_id) > (nullif($5, '')::timestamptz, $6))
       and not exists (select from reconciliation_item i
         where i.merchant_id = p.merchant_id and i.run_id = $7 and i.kind = 'payment' and i.object_id = p.payment_id)
     order by p.created_at, p.payment_id limit $8`,
    [run.merchantId, run.sourceId, run.since.toISOString(), run.until.toISOString(), at, id, run.runId, limit],
  );
  return rows.map((row) => ({
    kind: 'payment',
    objectId: row.payment_id,
    cursor: writeCursor('payment', row.at, row.payment_id),
  }));
}

/** Ids may hold anything but control characters, so parts of a cursor are not told apart by a mark between them. */
function writeCursor(...cursor: Cursor): string {
  return JSON.stringify(cursor);
}

function readCursor({ cursor }: Run, first: Cursor[0]): Cursor {
  return cursor === null ? [first, '', ''] : CURSOR.parse(JSON.parse(cursor));
}
