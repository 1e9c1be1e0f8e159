import { float, nullable } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** Lists of what is to be told, longest waiting first (`since`): each row is leased (`claimed_until`) or put off (`retry_at`) for a time, or neither. */
type WorkList = 'unannounced_wallet' | 'unsent_message';

/** SQL for whether a row of a work list is due, and nobody is about it. */
export const IS_DUE = '(claimed_until is null or claimed_until <= now()) and (retry_at is null or retry_at <= now())';

/** So many rows are looked at before all are: more than four workers claim at a time, of which each may have 500. */
const FIRST = 2_000;

/** SQL for the seconds until the next row is due. What is due now counts as of 1970, since the nodes of Citus have other clocks than who asks. */
const NEXT = `(case when count(*) > 0 then greatest(0,
      extract(epoch from min(coalesce(greatest(claimed_until, retry_at), 'epoch'::timestamptz)) - now())) end)::float8`;

/**
 * A question for how long it is until the next row of a list is due: 0 if one is now, null if none is going to be. Counts what was put off, and what
 * is leased: whoever has it may be dead.
 *
 * Of a long list some row is nearly always due, among the first by `since` behind those that are being told. Only where none is, all of the list is read, as while
 * Svix is away. An index by the time that each is due would spare that, and be written with every claim, which changes no index now. It is read in the order of its index:
 * a list that is empty again and again has no entry there, and thousands of pages of rows that are gone.
 */
export function dueInSeconds(
  list: WorkList,
  { name, why }: { readonly name: string; readonly why: string },
): (db: Queryable) => Promise<number | null> {
  const asked = statement({
    name,
    acrossMerchants: why,
    params: {},
    row: { seconds: nullable(float) },
    text: () => `
      select case when exists (
          select 1 from (select claimed_until, retry_at from ${list} order by since limit ${FIRST}) oldest where ${IS_DUE}) then 0
        else (select ${NEXT} from (select claimed_until, retry_at from ${list} order by since) waiting) end as seconds`,
    // The first rows of all merchants would be a query of its own at each node.
    textOnCitus: () => `select ${NEXT} as seconds from ${list}`,
  });
  return async (db) => (await asked.one(db)).seconds;
}
