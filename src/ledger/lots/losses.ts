import { ofEachMerchant } from '../../db/by-merchant.ts';
import { bigint, boolean, nullable, text, timestamptz } from '../../db/codec.ts';
import { rowsOf, statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { WalletKey } from '../entry.ts';
import { OWN_KEY } from '../tables.ts';

/** What became of lots that payments gave. */

/** A lot's wallet, and the key of the entry that gave it. */
export interface OriginKey extends WalletKey {
  readonly originKey: string;
}

export interface LotsOfOrigin extends OriginKey {
  /** What of them expired or was voided. */
  readonly lost: number;
  /** When the last of them ends, or has ended; null where one does not end. */
  readonly endsAt: Date | null;
  /** Whether none of them ends. */
  readonly isEndless: boolean;
  /** When the first of those ends that are open; one that is past is kept by a hold, or by a pause. Null where none of them ends. */
  readonly openEndsAt: Date | null;
  /** When the last of those ends that are open, and when the newest of them was opened. Null where none that is open ends. */
  readonly lastOpen: { readonly endsAt: Date; readonly since: Date } | null;
}

/** The lots, open and closed, that these entries gave, with those that follow them; entries that gave none are left out. */
export async function lotsOfOrigins(db: Queryable, keys: readonly OriginKey[]): Promise<readonly LotsOfOrigin[]> {
  const found = await ofEachMerchant(keys, (merchantId, own) => LOTS_OF_ORIGINS.all(db, { merchantId, keys: own }));
  return found.map(({ lastOpenEndsAt: endsAt, lastOpenSince: since, ...lots }) => {
    return { ...lots, lastOpen: endsAt === null || since === null ? null : { endsAt, since } };
  });
}

const OF_KEY = (merchantId: string) =>
  `x.merchant_id = ${merchantId} and x.customer_id = k.customer_id and x.currency = k.currency and x.origin_key = k.origin_key`;

/** Closed ones by an index of those that payments gave (src/commands/build-indexes.ts); open ones are few. */
const LOTS_OF_ORIGINS = statement({
  name: 'lots-of-origins',
  params: { merchantId: text, keys: rowsOf({ ...OWN_KEY, originKey: text }) },
  row: {
    merchantId: text,
    ...OWN_KEY,
    originKey: text,
    lost: bigint,
    endsAt: nullable(timestamptz),
    isEndless: boolean,
    openEndsAt: nullable(timestamptz),
    lastOpenEndsAt: nullable(timestamptz),
    lastOpenSince: nullable(timestamptz),
  },
  text: ({ merchantId, keys }) => `
    select ${merchantId}::text as merchant_id, k.customer_id, k.currency, k.origin_key, h.lost, h.ends_at, h.is_endless,
      h.open_ends_at, h.last_open_ends_at, h.last_open_since
    from ${keys('k')}
    cross join lateral (
      select sum(l.expired + l.voided)::bigint as lost, max(l.expires_at) as ends_at, bool_or(l.expires_at is null) as is_endless,
        min(l.open_ends_at) as open_ends_at, max(l.open_ends_at) as last_open_ends_at, max(l.open_since) as last_open_since
      from (
        select x.expired, x.voided, x.expires_at, x.expires_at as open_ends_at, x.created_at as open_since
        from lot x where ${OF_KEY(merchantId)}
        union all
        select x.expired, x.voided, x.expires_at, null, null from closed_lot x where ${OF_KEY(merchantId)}) l
      having count(*) > 0) h`,
});
