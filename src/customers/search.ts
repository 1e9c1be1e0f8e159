import { bigint, boolean, nullable, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { CUSTOMER, type Customer } from './store.ts';

export interface CustomerQuery {
  /** The whole address, in any case. */
  readonly email: string | null;
  /** Any part of the name, in any case; its beginning where there are not three letters in a row, or no pg_trgm. */
  readonly name: string | null;
  readonly createdFrom: Date | null;
  readonly createdTo: Date | null;
  /** Only customers that come after this one in the list; null for all. */
  readonly after?: string | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of the merchant's customers, newest first. */
export async function listCustomers(db: Queryable, merchantId: string, query: CustomerQuery): Promise<Customer[]> {
  const { name, email, pageSize: limit, pageNumber, createdFrom, createdTo, after = null } = query;
  const page = { merchantId, createdFrom, createdTo, after, limit, offset: limit * pageNumber };
  if (name === null) return LIST_CUSTOMERS.all(db, { ...page, email, namePattern: null });
  const namePattern = await patternOf(db, name);
  if (email !== null) return LIST_CUSTOMERS.all(db, { ...page, email, namePattern });
  // A frequent name is among the newest; a rare one is soon found by the index. Postgres would have to guess which it is.
  const newest = await AMONG_NEWEST.all(db, { ...page, namePattern, newest: NEWEST });
  return newest.length === limit ? newest : NAMED.all(db, { ...page, namePattern });
}

/** So many customers are read in a few milliseconds. */
const NEWEST = 5_000;

/** What names are compared with. Only what an index can find is looked for: to read a million names takes half a second of a core. */
async function patternOf(db: Queryable, name: string): Promise<string> {
  const literally = name.replaceAll(/[\\%_]/g, String.raw`\$&`);
  const isPart = THREE_LETTERS.test(name) && (await NAME_INDEX.one(db)).findsParts;
  return `${isPart ? '%' : ''}${literally}%`;
}

/** What an index of trigrams can look for: it has letters and digits alone, and three in a row of them. */
const THREE_LETTERS = /[\p{L}\p{N}]{3}/u;

/** Whether there is the index of parts of names (src/commands/build-indexes.ts). */
const NAME_INDEX = statement({
  acrossMerchants: 'the indexes of the database are those of all merchants',
  params: {},
  row: { findsParts: boolean },
  text: () => `
    select exists (select from pg_index
      where indexrelid = to_regclass('public.customer_name_part') and indisvalid) as finds_parts`,
});

const PAGE = {
  merchantId: text,
  createdFrom: nullable(timestamptz),
  createdTo: nullable(timestamptz),
  after: nullable(text),
  limit: bigint,
  offset: bigint,
};

type Places = Readonly<Record<keyof typeof PAGE, string>>;

/** SQL for columns of the customer after whom the page comes. */
const LAST = (p: Places, names: string) =>
  `(select ${names} from customer c where c.merchant_id = ${p.merchantId} and c.customer_id = ${p.after})`;

// The time alone, too: an index cannot begin at two columns that are looked up together.
const OF_MERCHANT = (p: Places) => `merchant_id = ${p.merchantId}
      and (${p.createdFrom}::timestamptz is null or created_at >= ${p.createdFrom})
      and (${p.createdTo}::timestamptz is null or created_at <= ${p.createdTo})
      and (${p.after}::text is null or created_at <= ${LAST(p, 'c.created_at')})
      and (${p.after}::text is null or (created_at, customer_id) < ${LAST(p, 'c.created_at, c.customer_id')})`;

const NEWEST_FIRST = 'order by created_at desc, customer_id desc';

const LIST_CUSTOMERS = statement({
  params: { ...PAGE, email: nullable(text), namePattern: nullable(text) },
  row: CUSTOMER.shape,
  text: (p) => `
    select ${columns(CUSTOMER.shape)} from customer
    where ${OF_MERCHANT(p)}
      and (${p.email}::text is null or lower(email) = lower(${p.email}))
      and (${p.namePattern}::text is null or lower(name) like lower(${p.namePattern}))
    ${NEWEST_FIRST}
    limit ${p.limit} offset ${p.offset}`,
});

const AMONG_NEWEST = statement({
  params: { ...PAGE, namePattern: text, newest: bigint },
  row: CUSTOMER.shape,
  text: (p) => `
    select ${columns(CUSTOMER.shape)} from (
      select ${columns(CUSTOMER.shape)} from customer where ${OF_MERCHANT(p)}
      ${NEWEST_FIRST} limit ${p.newest}) c
    where lower(name) like lower(${p.namePattern})
    ${NEWEST_FIRST}
    limit ${p.limit} offset ${p.offset}`,
});

const NAMED = statement({
  params: { ...PAGE, namePattern: text },
  row: CUSTOMER.shape,
  text: (p) => `
    select ${columns(CUSTOMER.shape)} from (
      select ${columns(CUSTOMER.shape)} from customer where ${OF_MERCHANT(p)} and lower(name) like lower(${p.namePattern})
      -- All that are named so, before the newest are taken: else the newest would be read until enough are found.
      offset 0) c
    ${NEWEST_FIRST}
    limit ${p.limit} offset ${p.offset}`,
});
