import type { Queryable } from '../db/transaction.ts';
import type { Entry, EventType, WalletKey } from './entry.ts';
import { ENTRY_COLUMNS, type EntryRow, toEntry } from './rows.ts';

/** Reads of the past. Entries never change, so none of this takes a lock. */

/** The most entries a page may lie behind; each is read to be skipped. A cursor has no such bound. */
export const MAX_OFFSET = 100_000;

export interface HistoryQuery {
  /** Null for all of the customer's wallets. */
  readonly currency: string | null;
  readonly eventType: EventType | null;
  readonly createdFrom: Date | null;
  readonly createdTo: Date | null;
  /** Only entries after (before) this place in their wallet: a cursor that new entries do not move. */
  readonly afterSeq: number | null;
  readonly beforeSeq: number | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of a customer's entries, newest first; empty also where there is no such customer. */
export async function listEntries(
  db: Queryable,
  merchantId: string,
  customerId: string,
  query: HistoryQuery,
): Promise<Entry[]> {
  const offset = query.pageSize * query.pageNumber;
  const { rows } = await db.query<EntryRow>(LIST_ENTRIES, [
    merchantId,
    customerId,
    query.currency,
    query.eventType,
    query.createdFrom?.toISOString() ?? null,
    query.createdTo?.toISOString() ?? null,
    query.afterSeq,
    query.beforeSeq,
    query.pageSize,
    offset,
  ]);
  return rows.map(toEntry);
}

/**
 * Each wallet is read backwards along its primary key, as far as the page can reach; the wallets' pages are then merged. The
 * cursor is a range even where there is none, so that a plan made for every cursor still begins at it.
 */
const LIST_ENTRIES = {
  name: 'list-entries',
  text: `
    select e.*
    from wallet w
    cross join lateral (
      select ${ENTRY_COLUMNS} from entry e
      where e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency
        and ($4::text is null or e.event_type = $4)
        and ($5::timestamptz is null or e.created_at >= $5)
        and ($6::timestamptz is null or e.created_at <= $6)
        and e.seq > coalesce($7::bigint, 0) and e.seq < coalesce($8::bigint, 9223372036854775807)
      order by e.seq desc
      limit $9::bigint + $10::bigint) e
    where w.merchant_id = $1 and w.customer_id = $2 and ($3::text is null or w.currency = $3)
    order by e.created_at desc, e.currency, e.seq desc
    limit $9 offset $10`,
};

export async function getEntry(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  seq: number,
): Promise<Entry | null> {
  const { rows } = await db.query<EntryRow>(
    `select ${ENTRY_COLUMNS} from entry e where merchant_id = $1 and customer_id = $2 and currency = $3 and seq = $4`,
    [merchantId, customerId, currency, seq],
  );
  return rows[0] === undefined ? null : toEntry(rows[0]);
}

/** What a wallet held at a moment, and how many entries it had. */
export interface PastBalance {
  readonly balance: number;
  readonly version: number;
}

/**
 * The balance after the last entry written at `at` or before it; 0 before the first. Within a wallet `created_at` never
 * decreases as `seq` grows (`post` sees to it), so the entry is found by bisection: some 20 look-ups in a million entries.
 * @returns null if there is no such wallet
 */
export async function balanceAt(
  db: Queryable,
  { merchantId, customerId, currency }: WalletKey,
  at: Date,
): Promise<PastBalance | null> {
  const { rows } = await db.query<{ version: number; balance: number }>(BALANCE_AT, [
    merchantId,
    customerId,
    currency,
    at.toISOString(),
  ]);
  return rows[0] ?? null;
}

/** `low` is a seq known to be at or before the moment (0 is), every seq above `high` is known to be after it. */
const BALANCE_AT = {
  name: 'balance-at',
  text: `
    with recursive bisection (low, high) as (
      select 0::bigint, version from wallet where merchant_id = $1 and customer_id = $2 and currency = $3
      union all
      select case when e.created_at <= $4 then middle else low end, case when e.created_at <= $4 then high else middle - 1 end
      from bisection
      cross join lateral (select (low + high + 1) / 2 as middle) m
      join entry e on e.merchant_id = $1 and e.customer_id = $2 and e.currency = $3 and e.seq = middle
      where low < high)
    select low as version, coalesce(e.after_balance, 0) as balance
    from bisection
    left join entry e on e.merchant_id = $1 and e.customer_id = $2 and e.currency = $3 and e.seq = low
    where low = high`,
};
