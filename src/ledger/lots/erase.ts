import { array, bigint, text } from '../../db/codec.ts';
import { statement } from '../../db/statement.ts';
import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey } from '../entry.ts';

/** A place among a customer's lots. */
export interface LotPlace {
  readonly currency: string;
  readonly lotNo: number;
}

export const FIRST_LOT: LotPlace = { currency: '', lotNo: 0 };

const PAGE_SIZE = 500;

/**
 * Strikes out the names of a page of the customer's lots, open and closed, and the reasons why they were changed, in the order of
 * their wallets.
 * @returns where the next page begins; null if this was the last
 */
export async function eraseLotTexts(
  db: Queryable,
  { merchantId, customerId }: CustomerKey,
  after: LotPlace,
): Promise<LotPlace | null> {
  const page = await WITH_TEXTS.all(db, { merchantId, customerId, ...after, limit: PAGE_SIZE });
  for (const [currency, own] of Map.groupBy(page, (lot) => lot.currency)) {
    await ERASE.one(db, { merchantId, customerId, currency, lotNos: [...new Set(own.map(({ lotNo }) => lotNo))] });
  }
  const last = page.at(-1);
  return last === undefined || page.length < PAGE_SIZE ? null : last;
}

const WITH_TEXTS = statement({
  params: { merchantId: text, customerId: text, currency: text, lotNo: bigint, limit: bigint },
  row: { currency: text, lotNo: bigint },
  text: (p) => {
    const own = `merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and (currency, lot_no) > (${p.currency}, ${p.lotNo})`;
    return `
    select currency, lot_no from lot where ${own} and name is not null
    union all
    select currency, lot_no from closed_lot where ${own} and name is not null
    union all
    select currency, lot_no from lot_change where ${own} and reason is not null
    order by currency, lot_no
    limit ${p.limit}`;
  },
});

/** Under the wallet's lock: a batch that has read a lot's name moves it with what closes the lot, and has done so before or finds none. */
const ERASE = statement({
  params: { merchantId: text, customerId: text, currency: text, lotNos: array(bigint) },
  row: { struck: bigint },
  text: (p) => `
    with own as materialized (
      select 1 from wallet
      where merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and currency = ${p.currency} for update)
    select erase_lot_texts(${p.merchantId}, ${p.customerId}, ${p.currency}, ${p.lotNos}) as struck from own`,
});
