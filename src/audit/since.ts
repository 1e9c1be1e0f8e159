import { bigint, timestamptz } from '../db/codec.ts';
import { FOUND } from './check.ts';

/**
 * SQL of the checks for what was written since a time. A wallet's newest entry is dated as the wallet, which rule 3 proves of every wallet in every
 * run, and its entries are in the order of time: so busy wallets are found without reading an entry, and what is new in each by its key.
 */

/** `sql` selects `subject` and `detail` of every disagreement in what was written since a time. */
export const firstSince = (sql: (since: string) => string) => ({
  acrossMerchants: 'the books are audited as a whole',
  params: { since: timestamptz, limit: bigint },
  row: FOUND,
  text: ({ since, limit }: { readonly since: string; readonly limit: string }) =>
    `${sql(`${since}::timestamptz`)} limit ${limit}`,
});

/** SQL for the wallets with entries since then, with the number of the last entry before, `seen`. */
const BUSY = (since: string) => `(
  select w.merchant_id, w.customer_id, w.currency, coalesce((
    select b.seq from entry b
    where b.merchant_id = w.merchant_id and b.customer_id = w.customer_id and b.currency = w.currency and b.created_at < ${since}
    order by b.seq desc limit 1), 0) as seen
  from wallet w where w.updated_at >= ${since})`;

/** SQL for what stands in a table by the numbers of entries, of those that are new. */
const NEW_IN = (table: string, since: string) => `(
  select x.* from ${BUSY(since)} z
  cross join lateral (
    select x.* from ${table} x
    where x.merchant_id = z.merchant_id and x.customer_id = z.customer_id and x.currency = z.currency and x.seq > z.seen
    offset 0) x)`;

/** SQL for the entries that were made since then, for what holds captured in them, and for what they moved in lots. */
export const NEW_ENTRIES = (since: string) => NEW_IN('entry', since);
export const NEW_CAPTURES = (since: string) => NEW_IN('hold_capture', since);
export const NEW_MOVEMENTS = (since: string) => NEW_IN('lot_movement', since);
