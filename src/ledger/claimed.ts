import { ofEachMerchant } from '../db/by-merchant.ts';
import { array, bigint, boolean, integer, text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, omit } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Entry, type WalletAlert, type WalletKey, walletKeyText } from './entry.ts';
import type { ClaimedWallet } from './outbox.ts';
import { ENTRY, OWN_KEY, WALLET_ALERT, WALLET_KEY } from './tables.ts';

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
  const sized = await ofEachMerchant(
    claims.map((claim, index) => ({ ...claim, index })),
    async (merchantId, own) => {
      const rows = await SIZE_CLAIMS.all(db, {
        merchantId,
        claims: own,
        maxBytes,
        maxMetadataBytes,
        entryBytes: ENTRY_BYTES,
      });
      return rows.map(({ position, sizes }) => ({ index: own[position - 1]?.index, sizes }));
    },
  );
  const sizes = new Map(sized.map((one) => [one.index, one.sizes]));
  return claims.map((_, index) => sizes.get(index) ?? []);
}

/** What an alert takes besides its details. */
const ALERT_BYTES = 500;

/** The bytes that all alerts of a claim take to be read, for every claim in order. */
export async function sizeAlerts(db: Queryable, claims: readonly ClaimedWallet[]): Promise<readonly number[]> {
  const own = claims.filter(({ fromAlertSeq, toAlertSeq }) => toAlertSeq > fromAlertSeq);
  const sized = await ofEachMerchant(own, (merchantId, some) =>
    SIZE_ALERTS.all(db, { merchantId, claims: some, alertBytes: ALERT_BYTES }),
  );
  const sizes = new Map(sized.map((one) => [walletKeyText(one), one.bytes]));
  return claims.map((claim) => sizes.get(walletKeyText(claim)) ?? 0);
}

const ALERT_SPAN = { ...OWN_KEY, fromAlertSeq: bigint, toAlertSeq: bigint };

const SIZE_ALERTS = statement({
  name: 'size-alerts',
  params: { merchantId: text, claims: rowsOf(ALERT_SPAN), alertBytes: integer },
  row: { ...WALLET_KEY, bytes: bigint },
  text: (p) => `
    select ${columns(WALLET_KEY, 'a')}, sum(${p.alertBytes}::integer + coalesce(octet_length(a.details::text), 0))::bigint as bytes
    from wallet_alert a
    join ${p.claims('k', { merchantId: p.merchantId })} using (merchant_id, customer_id, currency)
    where a.alert_seq > k.from_alert_seq and a.alert_seq <= k.to_alert_seq
    group by ${columns(WALLET_KEY, 'a')}`,
});

const SPAN = { ...OWN_KEY, fromVersion: bigint, toVersion: bigint };

/**
 * Goes from entry to entry and stops where a claim is full: to size all of a large one would take seconds. Each step asks for
 * what comes next in the order of the primary key. As a condition on each column, a plan of old statistics read all entries of a customer
 * for every step, by the index of idempotency keys.
 */
const SIZE_CLAIMS = statement({
  name: 'size-claims',
  params: {
    merchantId: text,
    claims: rowsOf(SPAN),
    maxBytes: bigint,
    maxMetadataBytes: integer,
    entryBytes: integer,
  },
  row: { position: bigint, sizes: array(integer) },
  text: (p) => `
    with recursive walk as (
      select customer_id, currency, to_version, position, greatest(from_version, 0) as seq, 0 as bytes, 0::bigint as total
      from ${p.claims('c', { position: 'position' })}
      union all
      select w.customer_id, w.currency, w.to_version, w.position, next.seq, next.bytes, w.total + next.bytes
      from walk w
      cross join lateral (
        select e.customer_id, e.currency, e.seq, ${p.entryBytes}::integer + coalesce(octet_length(e.reason), 0)
          + coalesce(octet_length(e.reference_object_id), 0) + coalesce(octet_length(e.idempotency_key), 0)
          + case when m.bytes > ${p.maxMetadataBytes} then 0 else m.bytes end as bytes
        from entry e
        cross join lateral (select coalesce(octet_length(e.metadata::text), 0) as bytes offset 0) m
        where e.merchant_id = ${p.merchantId} and (e.customer_id, e.currency, e.seq) > (w.customer_id, w.currency, w.seq)
        order by e.customer_id, e.currency, e.seq
        limit 1) next
      where w.seq < w.to_version and w.total <= ${p.maxBytes}
        and next.customer_id = w.customer_id and next.currency = w.currency and next.seq = w.seq + 1)
    select position, array_agg(bytes order by seq) as sizes from walk where bytes > 0 group by position`,
});

/** The entries of the claims, each wallet's in order. */
export async function readClaimedEntries(
  db: Queryable,
  claims: readonly EntrySpan[],
  { maxMetadataBytes }: Pick<SizeLimits, 'maxMetadataBytes'>,
): Promise<readonly ClaimedEntry[]> {
  const entries = await ofEachMerchant(claims, (merchantId, own) =>
    READ_ENTRIES.all(db, { merchantId, claims: own, maxMetadataBytes }),
  );
  return entries.map(({ isOmitted, ...entry }) => (isOmitted ? { ...entry, metadataOmitted: true } : entry));
}

const READ_ENTRIES = statement({
  name: 'read-claimed-entries',
  params: { merchantId: text, claims: rowsOf(SPAN), maxMetadataBytes: integer },
  row: { ...omit(ENTRY.shape, 'metadata'), metadata: ENTRY.shape.metadata, isOmitted: boolean },
  text: ({ merchantId, claims, maxMetadataBytes }) => `
    select ${columns(omit(ENTRY.shape, 'metadata'), 'e')}, case when not m.is_omitted then e.metadata end as metadata, m.is_omitted
    from ${claims('k', { merchantId })}
    cross join lateral (
      select * from entry e
      where e.merchant_id = k.merchant_id and (e.customer_id, e.currency, e.seq) > (k.customer_id, k.currency, k.from_version)
        and (e.customer_id, e.currency, e.seq) <= (k.customer_id, k.currency, k.to_version)
      order by e.customer_id, e.currency, e.seq
      offset 0) e
    cross join lateral (select coalesce(octet_length(e.metadata::text) > ${maxMetadataBytes}, false) as is_omitted offset 0) m
    order by e.customer_id, e.currency, e.seq`,
});

/** The alerts of the claims, each wallet's in order. */
export async function readClaimedAlerts(
  db: Queryable,
  claims: readonly ClaimedWallet[],
): Promise<readonly WalletAlert[]> {
  return ofEachMerchant(claims, (merchantId, own) => READ_ALERTS.all(db, { merchantId, claims: own }));
}

const READ_ALERTS = statement({
  name: 'read-claimed-alerts',
  params: { merchantId: text, claims: rowsOf(ALERT_SPAN) },
  row: WALLET_ALERT.shape,
  text: ({ merchantId, claims }) => `
    select ${columns(WALLET_ALERT.shape, 'a')}
    from wallet_alert a
    join ${claims('k', { merchantId })} using (merchant_id, customer_id, currency)
    where a.alert_seq > k.from_alert_seq and a.alert_seq <= k.to_alert_seq
    order by a.customer_id, a.currency, a.alert_seq`,
});
