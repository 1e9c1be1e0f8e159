import { array, bigint, float, nullable, text } from './codec.ts';
import { merchantWalk } from './merchant-walk.ts';
import { statement } from './statement.ts';
import { columns, type Shape } from './table.ts';
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
 * Of a long list some row is nearly always due, among the first by `since` behind those that are being told. Only where none is, all of the list is read, page by page, as
 * while Svix is away: in the order of an index it took seven times as long. An index by the time that each is due would spare that, and be written with every claim, which changes
 * no index now. That there is no row at all is seen by the index: a list that is emptied again and again has thousands of pages of rows that are gone.
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
      select case
        when exists (select 1 from (select claimed_until, retry_at from ${list} order by since limit ${FIRST}) oldest where ${IS_DUE}) then 0
        when exists (select 1 from (select 1 from ${list} order by since limit 1) waiting) then (select ${NEXT} from ${list}) end as seconds`,
    // The first rows of all merchants would be a query of its own at each node.
    textOnCitus: () => `select ${NEXT} as seconds from ${list}`,
  });
  return async (db) => (await asked.one(db)).seconds;
}

/** The same as {@link IS_DUE}, of which Postgres has no statistics: those of a time when all was put off would have it read and sort all of a merchant's rows. */
const IS_DUE_UNCOUNTED = "coalesce(greatest(claimed_until, retry_at), '-infinity'::timestamptz) <= now()";

const OTHERS = { after: text, each: bigint, limit: bigint, taken: array(text) };

/**
 * A statement for the keys and sizes (`bytes`) of a few rows that are due of each merchant but those that are taken, from merchant to merchant after one. Of each it
 * reads the rows by their keys, since no index has them by their age, until enough are due: all that he has where none is, as whoever asks for the oldest reads them too.
 *
 * It has no name: it is asked where many wait, and a plan that was kept from a time when the list was empty would read all of it.
 * @param bytes SQL for the size of a row
 */
export function ofOthers<Key extends Shape>(
  list: WorkList,
  { key, bytes }: { readonly key: Key; readonly bytes: string },
) {
  return statement({
    acrossMerchants: 'who has waited longest keeps no other merchant from his turn',
    params: OTHERS,
    row: { ...key, bytes: bigint },
    text: ({ after, each, limit, taken }) => `
      with recursive ${merchantWalk('merchants', list, `merchant_id > ${after}`)}
      select ${columns(key, 'u')}, u.bytes
      from merchants m
      cross join lateral (
        select ${columns(key)}, ${bytes} as bytes from ${list} x where x.merchant_id = m.merchant_id and ${IS_DUE_UNCOUNTED}
        order by ${columns(key)} limit ${each}) u
      where m.merchant_id <> all (${taken}::text[])
      limit ${limit}`,
    textOnCitus: ({ after, each, limit, taken }) => `
      select ${columns(key)}, bytes from (
        select ${columns(key)}, ${bytes} as bytes, row_number() over (partition by merchant_id order by since) as place
        from ${list} where merchant_id > ${after} and merchant_id <> all (${taken}::text[]) and ${IS_DUE}) u
      where place <= ${each} order by ${columns(key)} limit ${limit}`,
  });
}

/** What somebody asks for who has his hands full with those that wait longest. */
interface Others {
  /** So many rows of each merchant at the most. */
  readonly each: number;
  readonly limit: number;
  /** Merchants of whom none are wanted. */
  readonly taken: readonly string[];
  readonly maxBytes: number;
}

interface Sized {
  readonly bytes: number;
}

/**
 * Gives each merchant a turn: it goes on after the last one of whom it gave any, from one question of a process to the next, and from the last to the first. Else those
 * with high ids would wait for all that those with low ones have.
 * @param ask a statement {@link ofOthers}
 */
export function inTurns<Found extends Sized & { readonly merchantId: string }>(
  ask: (db: Queryable, asked: Omit<Others, 'maxBytes'> & { readonly after: string }) => Promise<readonly Found[]>,
): (db: Queryable, others: Others) => Promise<readonly Found[]> {
  let after = '';
  return async (db, { maxBytes, ...others }) => {
    const found = [...(await ask(db, { ...others, after }))];
    const left = others.limit - found.length;
    if (left > 0 && after !== '') {
      const taken = [...others.taken, ...new Set(found.map(({ merchantId }) => merchantId))];
      found.push(...(await ask(db, { ...others, limit: left, taken, after: '' })));
    }
    const fitting = thatFit(found, maxBytes);
    after = fitting.at(-1)?.merchantId ?? '';
    return fitting;
  };
}

/** The first of them that have so many bytes together; one at least. */
export function thatFit<Row extends Sized>(rows: readonly Row[], maxBytes: number): readonly Row[] {
  let total = 0;
  const end = rows.findIndex(({ bytes }, index) => {
    total += bytes;
    return total > maxBytes && index > 0;
  });
  return end < 0 ? rows : rows.slice(0, end);
}
