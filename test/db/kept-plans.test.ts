import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { declaredStatements } from '../../src/db/statement.ts';
import { ROOT } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { keptPlan, type PlanNode } from '../support/kept-plans.ts';

/**
 * Aim: a plan that is kept with a name finds each row by its key, or by the key of whom it is about, though it was made while there were none.
 * Method: the plan for any values that every statement with a name gets in a database without a customer. What some of them read besides, and how
 * much of a list that has grown, is in test/db/kept-lists.test.ts.
 */

for (const folder of ['src', 'jobs'])
  for (const name of await readdir(join(ROOT, folder), { recursive: true }))
    if (name.endsWith('.ts') && (await readFile(join(ROOT, folder, name), 'utf8')).includes('statement({'))
      await import(join(ROOT, folder, name));

interface Index {
  readonly name: string;
  readonly table: string;
  readonly unique: boolean;
  readonly columns: readonly string[];
}

let database: TestDatabase;
let indexes: readonly Index[];
beforeAll(async () => {
  database = await createTestDatabase();
  const { rows } = await database.pool.query<Index>(
    `select i.relname::text as name, t.relname::text as table, x.indisunique as unique, array(
       select coalesce(a.attname, '')::text from unnest(x.indkey::int2[]) with ordinality k (number, place)
       left join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.number
       where place <= x.indnkeyatts order by place) as columns
     from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid`,
  );
  indexes = rows;
});
afterAll(() => database.drop());

/** The columns whose values many rows may share: who looks by these alone reads all of a merchant, a source or an endpoint. */
const SHARED: ReadonlySet<string> = new Set([
  ...['merchant_id', 'source_id', 'provider', 'state', 'name', 'currency', 'run_id', 'kind', 'endpoint_id', ''],
]);

/** A few rows for each merchant, or for the service. */
const TINY: ReadonlySet<string> = new Set([
  ...['installation', 'api_key', 'bonus_rule', 'source_account', 'source_secret'],
  ...['webhook_endpoint', 'webhook_endpoint_headers', 'webhook_older_secret'],
]);

const IN_ORDER = 'reads in the order of the index, as much as its limit says';
const BY_MERCHANT = 'goes along the index from merchant to merchant';
const ONCE_A_BATCH =
  'reads what is open once a batch, and not for each row, where it was seen empty and not counted since';
const AS_A_ROW = 'compares the whole key as a row';
const FIRST_OR_ALL = 'reads one row, or the whole list once (test/db/kept-lists.test.ts)';

/** What may read by something else, under the name of the statement: the index, or the table that it reads whole, and why. */
const EXCEPTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'lock-due': { unannounced_wallet_oldest: IN_ORDER },
  'lock-to-pass-over': { unannounced_wallet_pkey: IN_ORDER },
  'lock-messages-to-pass-over': { unsent_message_pkey: IN_ORDER },
  'claim-deliveries': { webhook_delivery_due_of_merchant: IN_ORDER },
  'merchants-in-outbox': { unannounced_wallet_pkey: BY_MERCHANT },
  'merchants-with-messages': { unsent_message_pkey: BY_MERCHANT },
  'merchants-pending': { webhook_delivery_due_of_merchant: BY_MERCHANT },
  'wallets-due-in': { unannounced_wallet_oldest: FIRST_OR_ALL, unannounced_wallet: FIRST_OR_ALL },
  'messages-due-in': { unsent_message_oldest: FIRST_OR_ALL, unsent_message: FIRST_OR_ALL },
  'size-claims': { entry_pkey: AS_A_ROW },
  'read-claimed-entries': { entry_pkey: AS_A_ROW },
  'top-up-history': { topup_look_of_merchant: "reads once the merchant's attempts that are under way, which are few" },
  'write-postings-and-draws': {
    lot_pkey: `${ONCE_A_BATCH}; by their places, a single debit takes 1.05 to 1.1 of its CPU`,
  },
  'save-checkouts': { checkout_due_pkey: ONCE_A_BATCH },
  'take-turns': {
    job_common_i11: IN_ORDER,
    provider_event_by_state: IN_ORDER,
    provider_event_to_wake: IN_ORDER,
  },
};

/** The columns that have one value by a condition of an index. */
function bound(condition: string): ReadonlySet<string> {
  const equal = [...condition.matchAll(/\((\w+) = /g)];
  // src/db/table.ts says so of the last column of a key.
  const between = [...condition.matchAll(/\((\w+) >= ([^()]+|\([^()]*(?:\([^()]*\))?\))\) AND \(\1 <= \2\)/g)];
  return new Set([...equal, ...between].map(([, column = '']) => column));
}

/** Whether the columns with which the index begins, as far as each has one value, are of few rows. */
function isSelective(name: string | undefined, condition = ''): boolean {
  const index = indexes.find((one) => one.name === name);
  if (index === undefined) return false;
  const known = bound(condition);
  const end = index.columns.findIndex((column) => !known.has(column));
  const begun = end < 0 ? index.columns : index.columns.slice(0, end);
  const keys = indexes.filter(({ table, unique }) => unique && table === index.table);
  return (
    begun.some((column) => !SHARED.has(column)) ||
    keys.some(({ columns }) => columns.every((column) => begun.includes(column)))
  );
}

/** Whether a scan of a table finds what it reads by a key. */
function findsByKey(node: PlanNode): boolean {
  if (node['Node Type'] === 'Tid Scan') return true;
  const parts = node.Plans ?? [];
  if (node['Node Type'] === 'BitmapOr') return parts.every(findsByKey);
  if (node['Node Type'] === 'BitmapAnd' || node['Node Type'] === 'Bitmap Heap Scan') return parts.some(findsByKey);
  return isSelective(node['Index Name'], node['Index Cond']);
}

/** What a named statement reads by no key, and has no reason for, as `statement: index or table: condition`. */
async function readsMore(name: string): Promise<readonly string[]> {
  return (await keptPlan(database, name)).flatMap((node) => {
    const table = node['Relation Name'];
    if (table === undefined || !node['Node Type'].endsWith('Scan') || TINY.has(table) || findsByKey(node)) return [];
    const by = node['Index Name'] ?? table;
    return EXCEPTIONS[name]?.[by] === undefined ? [`${name}: ${by}: ${node['Index Cond'] ?? ''}`] : [];
  });
}

const NAMED = declaredStatements().flatMap(({ name }) => name ?? []);

async function allThatReadMore(): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of NAMED) found.push(...(await readsMore(name)));
  return found;
}

/** Whose rows come and go, so that they may be none whenever Postgres looks. */
const LISTS = [
  ...['unannounced_wallet', 'unsent_message', 'topup_due', 'checkout_due', 'wallet_due', 'hold', 'lot'],
  ...['webhook_recovery', 'payment_token', 'scheduled_entry', 'grant_schedule', 'erased_link'],
];

describe('every statement with a name', () => {
  it('finds rows by a key, though its plan was made while there were none', async () => {
    expect(await allThatReadMore()).toEqual([]);
  });

  it('does so where Postgres has seen what comes and goes when it was empty', async () => {
    await database.pool.query(`vacuum analyze ${LISTS.join(', ')}`);
    expect(await allThatReadMore()).toEqual([]);
  });

  it('has a name, if it is an exception', () => {
    expect(Object.keys(EXCEPTIONS).filter((name) => !NAMED.includes(name))).toEqual([]);
  });

  it('is judged by the columns with which an index begins', () => {
    const key = '((merchant_id = $1) AND (topup_id >= (unnest($2))) AND (topup_id <= (unnest($2))))';
    expect(isSelective('topup_by_id', key)).toBe(true);
    expect(isSelective('topup_newest', '(merchant_id = $1)')).toBe(false);
    expect(isSelective('payment_by_time', '((merchant_id = $1) AND (source_id = $2) AND (payment_id = $3))')).toBe(
      false,
    );
    expect(isSelective('topup_by_id', '((merchant_id = $1) AND (topup_id > $2) AND (topup_id <= $3))')).toBe(false);
    expect(isSelective('merchant_in_mode', '(merchant_id = $1)')).toBe(true);
    expect(isSelective('wallet_pkey', '(customer_id = $2)')).toBe(false);
    expect(isSelective('unsent_message_pkey', '((merchant_id = $1) AND (message_id = ANY ($2)))')).toBe(true);
  });
});
