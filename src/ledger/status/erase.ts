import type { Queryable } from '../../db/transaction.ts';
import type { CustomerKey } from '../entry.ts';
import { textEraser } from '../text-eraser.ts';

/** A place among the changes of status of a customer's wallets. It is kept while an erasure is under way. */
export interface StatusPlace {
  readonly currency: string;
  readonly changeNo: number;
}

export const FIRST_STATUS: StatusPlace = { currency: '', changeNo: 0 };

const erasePage = textEraser({
  column: 'change_no',
  tables: [{ name: 'wallet_status_change', hasTexts: 'reason is not null' }],
  strike: 'erase_status_texts',
});

/**
 * Strikes out why the customer's wallets were frozen, closed or made active, a page at a time.
 * @returns where the next page begins; null if this was the last
 */
export async function eraseStatusTexts(
  db: Queryable,
  customer: CustomerKey,
  { currency, changeNo }: StatusPlace,
): Promise<StatusPlace | null> {
  const next = await erasePage(db, customer, { currency, no: changeNo });
  return next === null ? null : { currency: next.currency, changeNo: next.no };
}
