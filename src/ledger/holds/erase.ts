import { array, bigint, text } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey } from '../entry.ts';

/** A place among a customer's holds. */
export interface HoldPlace {
  readonly currency: string;
  readonly holdNo: number;
}

export const FIRST_HOLD: HoldPlace = { currency: '', holdNo: 0 };

const PAGE_SIZE = 500;

/**
 * Strikes out the reasons and metadata of a page of the customer's holds, open and closed, in the order of their wallets.
 * @returns where the next page begins; null if this was the last
 */
export async function eraseHoldTexts(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  after: HoldPlace,
): Promise<HoldPlace | null> {
  const page = await WITH_TEXTS.all(db, { merchantId, customerId, ...after, limit: PAGE_SIZE });
  for (const [currency, own] of Map.groupBy(page, (hold) => hold.currency)) {
    await ERASE.one(db, { merchantId, customerId, currency, holdNos: own.map(({ holdNo }) => holdNo) });
  }
  const last = page.at(-1);
  return last === undefined || page.length < PAGE_SIZE ? null : last;
}

const WITH_TEXTS = statement({
  params: { merchantId: text, customerId: text, currency: text, holdNo: bigint, limit: bigint },
  row: { currency: text, holdNo: bigint },
  text: (p) => {
    const own = `merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and (currency, hold_no) > (${p.currency}, ${p.holdNo})`;
    return `
    select currency, hold_no from hold where ${own} and (reason is not null or metadata is not null)
    union all
    select currency, hold_no from closed_hold
    where ${own} and (reason is not null or release_reason is not null or metadata is not null)
    order by currency, hold_no
    limit ${p.limit}`;
  },
});

/** Under the wallet's lock: a capture that has read a hold's reason copies it into its entry, and has done so before or finds none. */
const ERASE = statement({
  params: { merchantId: text, customerId: text, currency: text, holdNos: array(bigint) },
  row: { struck: bigint },
  text: (p) => `
    with own as materialized (
      select 1 from wallet
      where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency} for update)
    select erase_hold_texts(${p.merchantId}, ${p.customerId}, ${p.currency}, ${p.holdNos}) as struck from own`,
});
