import { bigint, nullable, oneOf, present, text, timestamptz } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import { columns, matches } from '../../db/table.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey, Wallet, WalletKey } from '../entry.ts';
import { LOT_CHANGE, WALLET_KEY } from '../tables.ts';
import { firstPlace, nextPlace, type Place, pagePlace, WINDOWS, windowsAt } from '../windows.ts';
import { inDrainOrder } from './drain.ts';
import type { Lot, LotChange, LotKey } from './lot.ts';
import { CLOSED_LOT_ROWS, OPEN_LOT_ROWS, READ_LOT } from './store.ts';

/** Reads of lots, without locks. What is over and has not ended yet is shown as open: whoever reads ends it first. */

export interface LotsQuery {
  /** Null for all of the customer's wallets. */
  readonly currency: string | null;
  readonly kind: Lot['kind'] | null;
  /** Only lots that end before this. */
  readonly expiresBefore: Date | null;
}

/** All open lots of a customer, wallet by wallet in the order in which they are spent; empty also where there is no such customer. */
export async function listOpenLots(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  { currency, kind, expiresBefore }: LotsQuery,
): Promise<readonly Lot[]> {
  const lots = await OPEN_LOTS.all(db, { merchantId, customerId, currency });
  return lots
    .filter((lot) => kind === null || lot.kind === kind)
    .filter(({ expiresAt }) => expiresBefore === null || (expiresAt !== null && expiresAt < expiresBefore))
    .sort((one, other) => compare(one.currency, other.currency) || inDrainOrder(one, other));
}

function compare(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

const OPEN_LOTS = statement({
  params: { merchantId: text, customerId: text, currency: nullable(text) },
  row: READ_LOT,
  text: (p) => `
    select ${OPEN_LOT_ROWS}
    where x.merchant_id = ${p.merchantId} and x.customer_id = ${p.customerId}
      and (${p.currency}::text is null or x.currency = ${p.currency})`,
});

export interface Paging {
  /** Where the page begins in each wallet; null for the newest lots. */
  readonly from: Place | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of closed lots, and where the next one begins; null where nothing is left. */
export interface LotsPage {
  readonly lots: readonly Lot[];
  readonly next: Place | null;
}

/** A page of a customer's closed lots, newest first. @param wallets those of the customer, as they are now */
export async function listClosedLots(
  db: Queryable,
  { wallets, merchantId, customerId }: CustomerKey & { readonly wallets: readonly Wallet[] },
  query: LotsQuery & Paging,
): Promise<LotsPage> {
  const { currency, kind, expiresBefore, from, pageSize, pageNumber } = query;
  // Between those that are closed there may be many that are open.
  const newest = firstPlace(wallets, ({ lotSeq }) => lotSeq);
  const windows = windowsAt(pagePlace(newest, from, currency), true);
  const skipped = pageSize * pageNumber;
  const filter = { kind, expiresBefore };
  const lots = await CLOSED_LOTS.all(db, { merchantId, customerId, windows, ...filter, pageSize, offset: skipped });
  const found = lots.map((lot) => ({ currency: lot.currency, number: lot.lotNo }));
  return { lots, next: nextPlace(windows, { found, pageSize, skipped }) };
}

/** As holds are listed: each wallet backwards along its key as far as the page can reach, then merged, in each by number. */
const CLOSED_LOTS = statement({
  params: {
    merchantId: text,
    customerId: text,
    windows: WINDOWS,
    kind: nullable(oneOf<Lot['kind']>()),
    expiresBefore: nullable(timestamptz),
    pageSize: bigint,
    offset: bigint,
  },
  row: READ_LOT,
  text: (p) => `
    select h.*
    from ${p.windows('v')}
    cross join lateral (
      select ${CLOSED_LOT_ROWS}
      where x.merchant_id = ${p.merchantId} and x.customer_id = ${p.customerId} and x.currency = v.currency
        and x.lot_no >= v.lowest and x.lot_no < v.below
        and (${p.kind}::text is null or x.kind = ${p.kind})
        and (${p.expiresBefore}::timestamptz is null or x.expires_at < ${p.expiresBefore})
      order by x.lot_no desc limit ${p.pageSize}::bigint + ${p.offset}::bigint) h
    order by min(h.created_at) over (partition by h.currency order by h.lot_no desc) desc, h.currency, h.lot_no desc
    limit ${p.pageSize} offset ${p.offset}`,
});

export async function getLot(db: Queryable, key: LotKey): Promise<Lot | null> {
  return GET_LOT.first(db, { ...key });
}

const GET_LOT = statement({
  params: { ...WALLET_KEY, lotNo: bigint },
  row: READ_LOT,
  text: (p) => {
    const own = `x.merchant_id = ${p.merchantId} and x.customer_id = ${p.customerId} and x.currency = ${p.currency} and x.lot_no = ${p.lotNo}`;
    return `select ${OPEN_LOT_ROWS} where ${own} union all select ${CLOSED_LOT_ROWS} where ${own}`;
  },
});

/** What an entry moved, and when it was written. */
const WRITTEN = { seq: bigint, amountMinor: bigint, createdAt: timestamptz };
export type WrittenMovement = { readonly seq: number; readonly amountMinor: number; readonly createdAt: Date };

/** More than these are found among the entries. */
export const MOST_MOVEMENTS = 1000;

/** The newest movements of a lot, oldest first. */
export async function movementsOf(db: Queryable, key: LotKey): Promise<readonly WrittenMovement[]> {
  return (await MOVEMENTS.all(db, { ...key, most: MOST_MOVEMENTS })).reverse();
}

const MOVEMENTS = statement({
  params: { ...WALLET_KEY, lotNo: bigint, most: bigint },
  row: WRITTEN,
  text: (p) => `
    select m.seq, m.amount as amount_minor, e.created_at
    from lot_movement m join entry e using (merchant_id, customer_id, currency, seq)
    where m.merchant_id = ${p.merchantId} and m.customer_id = ${p.customerId} and m.currency = ${p.currency} and m.lot_no = ${p.lotNo}
    order by m.seq desc
    limit ${p.most}`,
});

/** A person changes a lot 100 times at most, and the end of a pause does so too. */
const MOST_CHANGES_READ = 1000;

/** The newest changes of the terms of a lot, oldest first. */
export async function changesOf(db: Queryable, key: LotKey): Promise<readonly LotChange[]> {
  return (await CHANGES.all(db, { ...key, most: MOST_CHANGES_READ })).reverse();
}

const CHANGES = statement({
  params: { ...WALLET_KEY, lotNo: bigint, most: bigint },
  row: LOT_CHANGE.shape,
  text: (p) => `
    select ${columns(LOT_CHANGE.shape, 'c')}
    from lot_change c
    where c.merchant_id = ${p.merchantId} and c.customer_id = ${p.customerId} and c.currency = ${p.currency} and c.lot_no = ${p.lotNo}
    order by c.change_no desc
    limit ${p.most}`,
});

/** What an entry moved in which lots, in the order in which those are spent; empty if it was the base's alone. */
export async function lotsOfEntry(
  db: Queryable,
  key: WalletKey,
  seq: number,
): Promise<readonly { readonly lotNo: number; readonly amountMinor: number }[]> {
  return LOTS_OF_ENTRY.all(db, { ...key, seq });
}

const LOTS_OF_ENTRY = statement({
  params: { ...WALLET_KEY, seq: bigint },
  row: { lotNo: bigint, amountMinor: bigint },
  text: (p) => `
    select m.lot_no, m.amount as amount_minor
    from lot_movement m
    left join lot o using (merchant_id, customer_id, currency, lot_no)
    left join closed_lot c using (merchant_id, customer_id, currency, lot_no)
    where m.merchant_id = ${p.merchantId} and m.customer_id = ${p.customerId} and m.currency = ${p.currency} and m.seq = ${p.seq}
    order by coalesce(o.priority, c.priority), coalesce(o.expires_at, c.expires_at) nulls last, coalesce(o.kind, c.kind) <> 'promo', m.lot_no`,
});

/** When credit ends, and how much of it. */
export interface NextExpiry {
  readonly at: Date;
  readonly amountMinor: number;
}

/** When credit of the wallet ends next unless it is spent, and how much of it; null if none does, or the wallet is paused. */
export async function nextExpiry(db: Queryable, key: WalletKey): Promise<NextExpiry | null> {
  return NEXT_EXPIRY.first(db, { ...key });
}

const NEXT_EXPIRY = statement({
  params: WALLET_KEY,
  row: { at: present(timestamptz), amountMinor: bigint },
  text: (p) => `
    select expires_at as at, sum(remaining)::bigint as amount_minor
    from lot
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency} and expires_at is not null
      and not exists (
        select from wallet w
        cross join lateral (
          select c.pause_expiry from wallet_status_change c
          where ${matches(WALLET_KEY, 'c', 'w')}
          order by c.change_no desc limit 1) c
        where w.merchant_id = ${p.merchantId} and w.customer_id = ${p.customerId} and w.currency = ${p.currency} and w.status = 'frozen'
          and c.pause_expiry)
    group by expires_at
    order by expires_at
    limit 1`,
});
