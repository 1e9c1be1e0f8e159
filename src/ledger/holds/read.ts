import { bigint, nullable, oneOf, text, timestamptz } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey, Wallet, WalletKey } from '../entry.ts';
import { WALLET_KEY } from '../tables.ts';
import { firstPlace, nextPlace, type Place, pagePlace, WINDOWS, windowsAt } from '../windows.ts';
import type { Hold, HoldCapture, HoldKey } from './hold.ts';
import { BEYOND, CLOSED_ROWS, OPEN_ROWS, READ_COLUMNS, READ_HOLD } from './store.ts';

/** Reads of holds, without locks. What is over and has not ended yet is shown as open: whoever reads ends it first. */

export interface HoldsQuery {
  /** Null for all of the customer's wallets. */
  readonly currency: string | null;
  readonly state: Hold['state'] | null;
  /** Where the page begins in each wallet; null for the newest holds. */
  readonly from: Place | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of a list, and where the next one begins; null where nothing is left. */
export interface HoldsPage {
  readonly holds: readonly Hold[];
  readonly next: Place | null;
}

/** A page of a customer's holds, newest first. @param wallets those of the customer, as they are now */
export async function listHolds(
  db: Queryable,
  { wallets, merchantId, customerId }: CustomerKey & { readonly wallets: readonly Wallet[] },
  query: HoldsQuery,
): Promise<HoldsPage> {
  const { currency, state, from, pageSize, pageNumber } = query;
  const isSparse = state !== null && state !== 'open';
  const newest = firstPlace(wallets, ({ holdSeq }) => holdSeq);
  const windows = windowsAt(pagePlace(newest, from, currency), isSparse);
  const skipped = pageSize * pageNumber;
  const holds = await LIST_HOLDS.all(db, { merchantId, customerId, windows, state, pageSize, offset: skipped });
  const found = holds.map((hold) => ({ currency: hold.currency, number: hold.holdNo }));
  return { holds, next: nextPlace(windows, { found, pageSize, skipped }) };
}

/** As entries are listed: each wallet backwards along its key as far as the page can reach, then merged. */
const LIST_HOLDS = statement({
  params: {
    merchantId: text,
    customerId: text,
    windows: WINDOWS,
    state: nullable(oneOf<Hold['state']>()),
    pageSize: bigint,
    offset: bigint,
  },
  row: READ_HOLD,
  text: (p) => {
    const own = `x.merchant_id = ${p.merchantId} and x.customer_id = ${p.customerId} and x.currency = v.currency
      and x.hold_no >= v.lowest and x.hold_no < v.below`;
    const page = `order by x.hold_no desc limit ${p.pageSize}::bigint + ${p.offset}::bigint`;
    // Within a wallet by number, as its pages are cut: clocks of processes differ, and so may the times.
    const order =
      'min(h.created_at) over (partition by h.currency order by h.hold_no desc) desc, h.currency, h.hold_no desc';
    return `
    select ${READ_COLUMNS}
    from (
      select h.*
      from ${p.windows('v')}
      cross join lateral (
        (select ${OPEN_ROWS} where ${own} and (${p.state}::text is null or ${p.state} = 'open') ${page})
        union all
        (select ${CLOSED_ROWS} where ${own} and (${p.state}::text is null or x.state = ${p.state}) ${page})) h
      order by ${order}
      limit ${p.pageSize} offset ${p.offset}) h
    cross join lateral ${BEYOND} b
    order by ${order}`;
  },
});

export async function getHold(db: Queryable, key: HoldKey): Promise<Hold | null> {
  return GET_HOLD.first(db, { ...key });
}

const GET_HOLD = statement({
  params: { ...WALLET_KEY, holdNo: bigint },
  row: READ_HOLD,
  text: (p) => {
    const own = `x.merchant_id = ${p.merchantId} and x.customer_id = ${p.customerId} and x.currency = ${p.currency} and x.hold_no = ${p.holdNo}`;
    return `
    select ${READ_COLUMNS}
    from (select ${OPEN_ROWS} where ${own} union all select ${CLOSED_ROWS} where ${own}) h
    cross join lateral ${BEYOND} b`;
  },
});

/** A capture and when its entry was written. */
export type WrittenCapture = Pick<HoldCapture, 'seq' | 'fromHold' | 'beyond'> & { readonly createdAt: Date };

/** More than these are found among the entries. */
export const MOST_CAPTURES = 1000;

/** The newest captures of a hold, oldest first. */
export async function capturesOf(db: Queryable, key: HoldKey): Promise<readonly WrittenCapture[]> {
  return (await CAPTURES.all(db, { ...key, most: MOST_CAPTURES })).reverse();
}

const CAPTURES = statement({
  params: { ...WALLET_KEY, holdNo: bigint, most: bigint },
  row: { seq: bigint, fromHold: bigint, beyond: bigint, createdAt: timestamptz },
  text: (p) => `
    select c.seq, c.from_hold, c.beyond, e.created_at
    from hold_capture c join entry e using (merchant_id, customer_id, currency, seq)
    where c.merchant_id = ${p.merchantId} and c.customer_id = ${p.customerId} and c.currency = ${p.currency} and c.hold_no = ${p.holdNo}
    order by c.seq desc
    limit ${p.most}`,
});

/** The number of the hold that an entry captured; null if it is no capture. */
export async function holdOfEntry(db: Queryable, key: WalletKey, seq: number): Promise<number | null> {
  return (await HOLD_OF_ENTRY.first(db, { ...key, seq }))?.holdNo ?? null;
}

const HOLD_OF_ENTRY = statement({
  params: { ...WALLET_KEY, seq: bigint },
  row: { holdNo: bigint },
  text: (p) => `
    select hold_no from hold_capture
    where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency} and seq = ${p.seq}`,
});
