import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey } from '../entry.ts';
import { textEraser } from '../text-eraser.ts';

/** A place among a customer's holds. It is kept while an erasure is under way. */
export interface HoldPlace {
  readonly currency: string;
  readonly holdNo: number;
}

export const FIRST_HOLD: HoldPlace = { currency: '', holdNo: 0 };

const erasePage = textEraser({
  column: 'hold_no',
  tables: [
    { name: 'hold', hasTexts: '(reason is not null or metadata is not null)' },
    { name: 'closed_hold', hasTexts: '(reason is not null or release_reason is not null or metadata is not null)' },
  ],
  strike: 'erase_hold_texts',
});

/**
 * Strikes out the reasons and metadata of a page of the customer's holds, open and closed.
 * @returns where the next page begins; null if this was the last
 */
export async function eraseHoldTexts(
  db: Queryable,
  customer: CustomerKey,
  { currency, holdNo }: HoldPlace,
): Promise<HoldPlace | null> {
  const next = await erasePage(db, customer, { currency, no: holdNo });
  return next === null ? null : { currency: next.currency, holdNo: next.no };
}
