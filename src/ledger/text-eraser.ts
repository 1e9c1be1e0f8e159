import { array, bigint, text } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import type { CustomerKey } from './entry.ts';

/** A place among what a customer's wallets number: holds, lots, or changes of status. */
export interface NumberedPlace {
  readonly currency: string;
  readonly no: number;
}

/** What wallets number, and where texts of it stand. */
interface Numbered {
  /** The column of the number, of the same name in all its tables. */
  readonly column: 'hold_no' | 'lot_no' | 'change_no';
  readonly tables: readonly { readonly name: string; readonly hasTexts: string }[];
  /** The function that locks the wallet and strikes out the texts of such numbers; it runs as the owner of the database. */
  readonly strike: 'erase_hold_texts' | 'erase_lot_texts' | 'erase_status_texts';
}

const PAGE_SIZE = 500;

/**
 * Makes what strikes out the texts of a page of the customer's, in the order of their wallets. Each wallet is locked meanwhile: a batch
 * that has read such a text copies or moves it, and has done so before or finds none.
 * @returns a function that answers where the next page begins; null if this was the last
 */
export function textEraser({ column, tables, strike }: Numbered) {
  const withTexts = statement({
    params: { merchantId: text, customerId: text, currency: text, no: bigint, limit: bigint },
    row: { currency: text, no: bigint },
    text: (p) => {
      const own = `merchant_id = ${p.merchantId} and customer_id = ${p.customerId} and (currency, ${column}) > (${p.currency}, ${p.no})`;
      const each = tables.map(
        ({ name, hasTexts }) => `select currency, ${column} as no from ${name} where ${own} and ${hasTexts}`,
      );
      return `
    ${each.join('\n    union all\n    ')}
    order by currency, no
    limit ${p.limit}`;
    },
  });
  const erase = statement({
    params: { merchantId: text, customerId: text, currency: text, numbers: array(bigint) },
    row: { struck: bigint },
    text: (p) => `select ${strike}(${p.merchantId}, ${p.customerId}, ${p.currency}, ${p.numbers}) as struck`,
  });
  return async (
    db: Queryable,
    { merchantId, customerId }: CustomerKey,
    after: NumberedPlace,
  ): Promise<NumberedPlace | null> => {
    const page = await withTexts.all(db, { merchantId, customerId, ...after, limit: PAGE_SIZE });
    for (const [currency, own] of Map.groupBy(page, (one) => one.currency)) {
      await erase.one(db, { merchantId, customerId, currency, numbers: [...new Set(own.map(({ no }) => no))] });
    }
    const last = page.at(-1);
    return last === undefined || page.length < PAGE_SIZE ? null : last;
  };
}
