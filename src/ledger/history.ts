import { bigint, hex, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import type { CustomerKey, Entry, EventType, WalletKey } from './entry.ts';
import type { StruckOut } from './hash-chain.ts';
import { ENTRY, WALLET_KEY } from './tables.ts';

/** Reads of the past. Entries never change, so none of this takes a lock. */

/** The most entries a page may lie behind where each is read to be skipped. A cursor has no such bound. */
export const MAX_OFFSET = 100_000;
/** The same of a list of entries, which may be of millions. */
export const MAX_ENTRIES_OFFSET = 10_000;

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

/** Whether the pages of a list are found by counting: one wallet's entries have numbers without gaps. */
export function countsPages({ currency, eventType }: Pick<HistoryQuery, 'currency' | 'eventType'>): boolean {
  return currency !== null && eventType === null;
}

/** A page of a customer's entries, newest first; empty also where there is no such customer. */
export async function listEntries(db: Queryable, customer: CustomerKey, query: HistoryQuery): Promise<Entry[]> {
  const { merchantId, customerId } = customer;
  const { eventType, pageSize, pageNumber } = query;
  const spans = await spansOf(db, customer, query);
  if (spans.length === 0) return [];
  const offset = pageSize * pageNumber;
  const [skip, rest] = countsPages(query) ? [offset, 0] : [0, offset];
  const page = { merchantId, customerId, spans, skip, pageSize, offset: rest };
  if (eventType === null || eventType === COMMON_TYPE) return LIST_ENTRIES.all(db, { ...page, eventType });
  return LIST_OF_TYPE.all(db, { ...page, eventType });
}

/** The entries of one wallet that a list is of: those after `afterSeq` up to `toSeq`. */
interface Span {
  readonly currency: string;
  readonly afterSeq: number;
  readonly toSeq: number;
}

/** No entry has a number as large. */
const NO_END = Number.MAX_SAFE_INTEGER;

/** Where the wallets' spans are; of a wallet that has no entry in them there is none. Dates are looked up, since they never go back. */
async function spansOf(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  { currency, createdFrom, createdTo, afterSeq, beforeSeq }: HistoryQuery,
): Promise<readonly Span[]> {
  const wallets = currency === null ? await CURRENCIES.all(db, { merchantId, customerId }) : [{ currency }];
  const spans: Span[] = [];
  for (const { currency: own } of wallets) {
    const key = { merchantId, customerId, currency: own };
    // Times have milliseconds and no more. No entry is of a time before 1970, and the first that Postgres takes has none before it.
    const justBefore = createdFrom === null ? null : new Date(Math.max(createdFrom.getTime() - 1, 0));
    const before = justBefore === null ? null : await balanceAt(db, key, justBefore);
    const last = createdTo === null ? null : await balanceAt(db, key, createdTo);
    const after = Math.max(before?.version ?? 0, afterSeq ?? 0);
    const to = Math.min(last?.version ?? NO_END, beforeSeq === null ? NO_END : beforeSeq - 1);
    if (after < to) spans.push({ currency: own, afterSeq: after, toSeq: to });
  }
  return spans;
}

const CURRENCIES = statement({
  name: 'currencies-of-customer',
  params: { merchantId: text, customerId: text },
  row: { currency: text },
  text: ({ merchantId, customerId }) =>
    `select currency from wallet where merchant_id = ${merchantId} and customer_id = ${customerId} order by currency`,
});

/** What requests write. Any other type may be rare in a wallet, so that there is an index of those. */
const COMMON_TYPE = 'merchant_adjustment';

const PAGE = {
  merchantId: text,
  customerId: text,
  spans: rowsOf({ currency: text, afterSeq: bigint, toSeq: bigint }),
  pageSize: bigint,
  offset: bigint,
};

/** Each wallet is read backwards along its primary key, as far as the page can reach; the wallets' pages are then merged. */
const LIST_ENTRIES = statement({
  name: 'list-entries',
  params: { ...PAGE, skip: bigint, eventType: nullable(text) },
  row: ENTRY.shape,
  text: (p) => `
    select ${columns(ENTRY.shape, 'e')}
    from ${p.spans('s', { merchantId: p.merchantId })}
    cross join lateral (
      select * from wallet w
      where w.merchant_id = s.merchant_id and w.customer_id = ${p.customerId} and w.currency = s.currency offset 0) w
    cross join lateral (
      select * from entry e
      where e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency
        and (${p.eventType}::text is null or e.event_type = ${p.eventType})
        and e.seq > s.after_seq and e.seq <= least(s.to_seq, w.version) - ${p.skip}::bigint
      order by e.seq desc
      limit ${p.pageSize}::bigint + ${p.offset}::bigint) e
    order by e.created_at desc, e.currency, e.seq desc
    limit ${p.pageSize} offset ${p.offset}`,
});

/**
 * The same of one type, along the index of all types but the common one, which the condition has to name. The type and the number are
 * compared as one, so that no other index has their order.
 */
const LIST_OF_TYPE = statement({
  name: 'list-entries-of-type',
  params: { ...PAGE, eventType: text },
  row: ENTRY.shape,
  text: (p) => `
    select ${columns(ENTRY.shape, 'e')}
    from ${p.spans('s', { merchantId: p.merchantId })}
    cross join lateral (
      select * from entry e
      where e.merchant_id = s.merchant_id and e.customer_id = ${p.customerId} and e.currency = s.currency
        and e.event_type <> '${COMMON_TYPE}'
        and (e.event_type, e.seq) > (${p.eventType}, s.after_seq) and (e.event_type, e.seq) <= (${p.eventType}, s.to_seq)
      order by e.event_type desc, e.seq desc
      limit ${p.pageSize}::bigint + ${p.offset}::bigint) e
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
