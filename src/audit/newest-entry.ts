import { nullable, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** When the newest entry of all merchants was written; null if there is none. Reads them all. */
export async function newestEntryAt(db: Queryable): Promise<Date | null> {
  return (await NEWEST.one(db)).at;
}

const NEWEST = statement({
  acrossMerchants: 'how old a backup is, is a question of the whole database',
  params: {},
  row: { at: nullable(timestamptz) },
  text: () => 'select max(created_at) as at from entry',
});
