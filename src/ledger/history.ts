import { bigint, hex, nullable, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import type { CustomerKey, Entry, EventType, WalletKey } from './entry.ts';
import type { StruckOut } from './hash-chain.ts';
import { ENTRY, WALLET_KEY } from './tables.ts';

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
  { merchantId, customerId }: CustomerKey,
  query: HistoryQuery,
): Promise<Entry[]> {
  return LIST_ENTRIES.all(db, { ...query, merchantId, customerId, offset: query.pageSize * query.pageNumber });
}

/**
 * Each wallet is read backwards along its primary key, as far as the page can reach; the wallets' pages are then merged. The
 * cursor is a range even where there is none, so that a plan made for every cursor still begins at it.
 */
const LIST_ENTRIES = statement({
  name: 'list-entries',
  params: {
    merchantId: text,
    customerId: text,
    currency: nullable(text),
    eventType: nullable(text),
    createdFrom: nullable(timestamptz),
    createdTo: nullable(timestamptz),
    afterSeq: nullable(bigint),
    beforeSeq: nullable(bigint),
    pageSize: bigint,
    offset: bigint,
  },
  row: ENTRY.shape,
  text: (p) => `
    select ${columns(ENTRY.shape, 'e')}
    from wallet w
    cross join lateral (
      select * from entry e
      where e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency
        and (${p.eventType}::text is null or e.event_type = ${p.eventType})
        and (${p.createdFrom}::timestamptz is null or e.created_at >= ${p.createdFrom})
        and (${p.createdTo}::timestamptz is null or e.created_at <= ${p.createdTo})
        and e.seq > coalesce(${p.afterSeq}::bigint, 0) and e.seq < coalesce(${p.beforeSeq}::bigint, 9223372036854775807)
      order by e.seq desc
      limit ${p.pageSize}::bigint + ${p.offset}::bigint) e
    where w.merchant_id = ${p.merchantId} and w.customer_id = ${p.customerId}
      and (${p.currency}::text is null or w.currency = ${p.currency})
    order by e.created_at desc, e.currency, e.seq desc
    limit ${p.pageSize} offset ${p.offset}`,
});

export async function getEntry(db: Queryable, key: WalletKey, seq: number): Promise<Entry | null> {
  return GET_ENTRY.first(db, { ...key, seq });
}

const GET_ENTRY = statement({
  params: { ...WALLET_KEY, seq: bigint },
  row: ENTRY.shape,
  text: ({ merchantId, customerId, currency, seq }) => `
    select ${columns(ENTRY.shape, 'e')} from entry e
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency} and seq = ${seq}`,
});

/** The hashes of an entry's texts that were struck out, and when. */
export interface ErasedTexts extends StruckOut {
  readonly erasedAt: Date;
}

/** @returns null if no text of the entry was struck out */
export async function erasedTextsOf(db: Queryable, key: WalletKey, seq: number): Promise<ErasedTexts | null> {
  return ERASED_TEXTS.first(db, { ...key, seq });
}

const ERASED_TEXTS = statement({
  params: { ...WALLET_KEY, seq: bigint },
  row: { reasonHash: nullable(hex), metadataHash: nullable(hex), erasedAt: timestamptz },
  text: ({ merchantId, customerId, currency, seq }) => `
    select reason_hash, metadata_hash, erased_at from erasure
    where merchant_id = ${merchantId} and customer_id = ${customerId} and currency = ${currency} and seq = ${seq}`,
});

/** What a wallet held at a moment, how many entries it had, and the hash of the newest of them. */
export interface PastBalance {
  readonly balance: number;
  readonly head: string | null;
  readonly version: number;
  /** When that entry was written; null before the first. */
  readonly updatedAt: Date | null;
}

/**
 * The balance after the last entry written at `at` or before it; 0 before the first. Within a wallet `created_at` never
 * decreases as `seq` grows (`post` sees to it), so the entry is found by bisection: some 20 look-ups in a million entries.
 * @returns null if there is no such wallet
 */
export async function balanceAt(db: Queryable, key: WalletKey, at: Date): Promise<PastBalance | null> {
  return BALANCE_AT.first(db, { ...key, at });
}

/** `low` is a seq known to be at or before the moment (0 is), every seq above `high` is known to be after it. */
const BALANCE_AT = statement({
  name: 'balance-at',
  params: { ...WALLET_KEY, at: timestamptz },
  row: { version: bigint, balance: bigint, head: nullable(hex), updatedAt: nullable(timestamptz) },
  text: (p) => `
    with recursive bisection (low, high) as (
      select 0::bigint, version from wallet
      where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency}
      union all
      select case when e.created_at <= ${p.at} then middle else low end,
        case when e.created_at <= ${p.at} then high else middle - 1 end
      from bisection
      cross join lateral (select (low + high + 1) / 2 as middle) m
      join entry e on e.merchant_id = ${p.merchantId} and e.customer_id = ${p.customerId} and e.currency = ${p.currency}
        and e.seq = middle
      where low < high)
    select low as version, coalesce(e.after_balance, 0) as balance, e.hash as head, e.created_at as updated_at
    from bisection
    left join entry e on e.merchant_id = ${p.merchantId} and e.customer_id = ${p.customerId} and e.currency = ${p.currency}
      and e.seq = low
    where low = high`,
});
