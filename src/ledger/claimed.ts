import type { Queryable } from '../db/transaction.ts';
import type { Entry, WalletAlert, WalletKey } from './entry.ts';
import { type ClaimedWallet, keyColumns } from './outbox.ts';
import { ENTRY_COLUMNS, type EntryRow, toEntry } from './rows.ts';

/** What claims are about: first how large it is, then the entries and alerts themselves. */

export interface ClaimedEntry extends Entry {
  /** True if its metadata is too large to be told and was not read. */
  readonly metadataOmitted?: boolean;
}

/** The entries of a wallet after `fromVersion` up to `toVersion`, whether claimed or not. */
export type EntrySpan = Pick<ClaimedWallet, keyof WalletKey | 'fromVersion' | 'toVersion'>;

/** What an entry takes besides its texts: numbers, ids and dates, as the driver holds them. */
const ENTRY_BYTES = 1_000;

export interface SizeLimits {
  /** The sizes of a claim end with the entry by which their sum exceeds this. */
  readonly maxBytes: number;
  /** Larger metadata is not read, and counts as nothing. */
  readonly maxMetadataBytes: number;
}

/**
 * The bytes that each of a claim's entries takes to be read, for every claim in order. Metadata is counted as text, since what
 * Postgres stores is compressed: 75 kB may stand in 1 kB.
 */
export async function sizeClaims(
  db: Queryable,
  claims: readonly EntrySpan[],
  { maxBytes, maxMetadataBytes }: SizeLimits,
): Promise<readonly (readonly number[])[]> {
  if (claims.length === 0) return [];
  const { rows } = await db.query<{ position: number; sizes: number[] }>(SIZE_CLAIMS, [
    ...keyColumns(claims),
    claims.map((claim) => claim.fromVersion),
    claims.map((claim) => claim.toVersion),
    maxBytes,
    maxMetadataBytes,
    ENTRY_BYTES,
  ]);
  const sizes = new Map(rows.map((row) => [row.position, row.sizes]));
  return claims.map((_, index) => sizes.get(index + 1) ?? []);
}

/** Goes from entry to entry and stops where a claim is full: to size all of a large one would take seconds. */
const SIZE_CLAIMS = `
  with recursive walk as (
    select merchant_id, customer_id, currency, to_version, position, greatest(from_version, 0) as seq, 0 as bytes, 0::bigint as total
    from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
      with ordinality as c (merchant_id, customer_id, currency, from_version, to_version, position)
    union all
    select w.merchant_id, w.customer_id, w.currency, w.to_version, w.position, next.seq, next.bytes, w.total + next.bytes
    from walk w
    cross join lateral (
      select e.seq, $8::integer + coalesce(octet_length(e.reason), 0) + coalesce(octet_length(e.reference_object_id), 0)
        + coalesce(octet_length(e.idempotency_key), 0) + case when m.bytes > $7 then 0 else m.bytes end as bytes
      from entry e
      cross join lateral (select coalesce(octet_length(e.metadata::text), 0) as bytes offset 0) m
      where e.merchant_id = w.merchant_id and e.customer_id = w.customer_id and e.currency = w.currency
        and e.seq = w.seq + 1
      offset 0) next
    where w.seq < w.to_version and w.total <= $6)
  select position, array_agg(bytes order by seq) as sizes from walk where bytes > 0 group by position`;

/** The entries of the claims, each wallet's in order. */
export async function readClaimedEntries(
  db: Queryable,
  claims: readonly EntrySpan[],
  { maxMetadataBytes }: Pick<SizeLimits, 'maxMetadataBytes'>,
): Promise<readonly ClaimedEntry[]> {
  const { rows } = await db.query<EntryRow & { is_omitted: boolean }>(
    `select ${ENTRY_COLUMNS.replace('e.metadata', 'case when not m.is_omitted then e.metadata end as metadata')}, m.is_omitted
     from entry e
     join unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
       as k (merchant_id, customer_id, currency, from_version, to_version) using (merchant_id, customer_id, currency)
     cross join lateral (select coalesce(octet_length(e.metadata::text) > $6, false) as is_omitted offset 0) m
     where e.seq > k.from_version and e.seq <= k.to_version
     order by e.merchant_id, e.customer_id, e.currency, e.seq`,
    [
      ...keyColumns(claims),
      claims.map((claim) => claim.fromVersion),
      claims.map((claim) => claim.toVersion),
      maxMetadataBytes,
    ],
  );
  return rows.map((row) => (row.is_omitted ? { ...toEntry(row), metadataOmitted: true } : toEntry(row)));
}

/** The alerts of the claims, each wallet's in order. */
export async function readClaimedAlerts(
  db: Queryable,
  claims: readonly ClaimedWallet[],
): Promise<readonly WalletAlert[]> {
  if (claims.length === 0) return [];
  const { rows } = await db.query<AlertRow>(
    `select a.merchant_id, a.customer_id, a.currency, a.alert_seq, a.kind, a.reminder, a.balance, a.threshold, a.version, a.created_at
     from wallet_alert a
     join unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
       as k (merchant_id, customer_id, currency, from_seq, to_seq) using (merchant_id, customer_id, currency)
     where a.alert_seq > k.from_seq and a.alert_seq <= k.to_seq
     order by a.merchant_id, a.customer_id, a.currency, a.alert_seq`,
    [...keyColumns(claims), claims.map((claim) => claim.fromAlertSeq), claims.map((claim) => claim.toAlertSeq)],
  );
  return rows.map((row) => ({
    merchantId: row.merchant_id,
    customerId: row.customer_id,
    currency: row.currency,
    alertSeq: row.alert_seq,
    kind: row.kind,
    reminder: row.reminder,
    balance: row.balance,
    threshold: row.threshold,
    version: row.version,
    createdAt: row.created_at,
  }));
}

interface AlertRow {
  merchant_id: string;
  customer_id: string;
  currency: string;
  alert_seq: number;
  kind: WalletAlert['kind'];
  reminder: boolean;
  balance: number;
  threshold: number | null;
  version: number;
  created_at: Date;
}
