import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey } from '../entry.ts';
import { textEraser } from '../text-eraser.ts';

/** A place among a customer's lots. It is kept while an erasure is under way. */
export interface LotPlace {
  readonly currency: string;
  readonly lotNo: number;
}

export const FIRST_LOT: LotPlace = { currency: '', lotNo: 0 };

const erasePage = textEraser({
  column: 'lot_no',
  tables: [
    { name: 'lot', hasTexts: 'name is not null' },
    { name: 'closed_lot', hasTexts: 'name is not null' },
    { name: 'lot_change', hasTexts: 'reason is not null' },
  ],
  strike: 'erase_lot_texts',
});

/**
 * Strikes out the names of a page of the customer's lots, open and closed, and the reasons why they were changed.
 * @returns where the next page begins; null if this was the last
 */
export async function eraseLotTexts(
  db: Queryable,
  customer: CustomerKey,
  { currency, lotNo }: LotPlace,
): Promise<LotPlace | null> {
  const next = await erasePage(db, customer, { currency, no: lotNo });
  return next === null ? null : { currency: next.currency, lotNo: next.no };
}
