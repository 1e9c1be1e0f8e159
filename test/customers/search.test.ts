import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { type CustomerQuery, listCustomers } from '../../src/customers/search.ts';
import { declaredStatements } from '../../src/db/statement.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';

const OTHER = 'bus_other';
/** More than are read before an index is asked. */
const MANY = 12_000;

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a']);
  await makeCustomers(database.pool, ['o'], OTHER);
  await database.pool.query("update customer set name = 'Ada Lovelace' where customer_id = 'cus_o'");
  // The 1st is the oldest, and only it is called Ada; every hundredth is a Grace.
  await database.pool.query(
    `insert into customer (merchant_id, customer_id, email, name, created_at)
     select $1, 'cus_' || n, 'c' || n || '@example.com',
       case when n = 1 then 'Ada Lovelace' when n = 2 then 'O_Hara 100%' when n % 100 = 0 then 'Grace Hopper' else 'Person ' || n end,
       '2026-01-01'::timestamptz + n * interval '1 minute'
     from generate_series(1, $2::int) n`,
    [MERCHANT, MANY],
  );
});
afterAll(() => database.drop());

async function find(query: Partial<CustomerQuery>): Promise<readonly string[]> {
  const all = { email: null, name: null, createdFrom: null, createdTo: null, pageSize: 10, pageNumber: 0 };
  const found = await listCustomers(autocommit(database.pool), MERCHANT, { ...all, ...query });
  return found.map(({ customerId }) => customerId.replace('cus_', ''));
}

const graces = (from: number, to: number) =>
  Array.from({ length: (from - to) / 100 + 1 }, (_, index) => String(from - 100 * index));

describe('searching customers by name', () => {
  it('finds any part in any case, the newest first, of one merchant', async () => {
    for (const name of ['Ada', 'aDA', 'lovelace', 'da Lov', 'ada l']) expect(await find({ name })).toEqual(['1']);
    expect(await find({ name: 'grace' })).toEqual(graces(12_000, 11_100));
    expect(await find({ name: 'nobody' })).toEqual([]);
  });

  it('is of the beginning alone where there are not three letters or digits in a row', async () => {
    for (const name of ['Ad', 'ad', 'a', 'aDa L', 'O_', 'o_h']) expect((await find({ name })).length, name).toBe(1);
    for (const name of ['da', 'Lo', ' 1', '_h', '0%', '#1', ' l']) expect(await find({ name }), name).toEqual([]);
  });

  it('takes what is asked for literally', async () => {
    expect(await find({ name: 'o_h' })).toEqual(['2']);
    expect(await find({ name: '100%' })).toEqual(['2']);
    for (const name of ['o_ha_a', 'g%r', '\\', 'ad_']) expect(await find({ name })).toEqual([]);
  });

  it('goes on page by page, from the newest to those that only the index finds', async () => {
    const pages: string[] = [];
    for (let pageNumber = 0; pageNumber < 13; pageNumber += 1)
      pages.push(...(await find({ name: 'grace', pageNumber })));
    expect(pages).toEqual(graces(12_000, 100));
  });

  it('holds beside the other filters', async () => {
    const createdTo = new Date(Date.UTC(2026, 0, 1, 10));
    expect(await find({ name: 'grace', createdTo })).toEqual(graces(600, 100));
    expect(await find({ name: 'grace', email: 'C100@example.com' })).toEqual(['100']);
    expect(await find({ name: 'ada', email: 'c100@example.com' })).toEqual([]);
  });
});

async function explain(wanted: RegExp, values: readonly unknown[]): Promise<string> {
  const found = declaredStatements().find(({ text }) => wanted.test(text));
  const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(`explain ${found?.text}`, [...values]);
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

/** How Postgres finds a rare name. */
const planFor = (pattern: string) =>
  explain(/customer where .* like .* offset 0\) c/s, [MERCHANT, null, null, null, 10, 0, pattern]);

it('begins a page at its cursor, and does not read what is before', async () => {
  const plan = await explain(/from customer\s+where .*lower\(email\)/s, [
    ...[MERCHANT, null, null, 'cus_500', 10, 0, null, null],
  ]);
  expect(plan).toMatch(/Index Cond: .*created_at <= /);
});

describe('the index of names', () => {
  it('is of trigrams for a part, and of beginnings for what is in no trigram', async () => {
    await database.pool.query('vacuum analyze customer');
    expect(await planFor('%lovelace%')).toContain('customer_name_part');
    for (const pattern of ['ad%', '#1%']) expect(await planFor(pattern)).toContain('customer_name_beginning');
  });

  it('is of beginnings where the database has no pg_trgm', async () => {
    const logger = createLogger('silent', 'test');
    await database.pool.query('drop extension pg_trgm cascade');
    expect(await find({ name: 'lovelace' })).toEqual([]);
    expect(await find({ name: 'aDa l' })).toEqual(['1']);
    expect(await find({ name: 'grace' })).toEqual(graces(12_000, 11_100));
    expect(await planFor('ada%')).toContain('customer_name_beginning');
    await database.pool.query('create extension pg_trgm');
    await migrate(database.ownerUrl, logger);
    expect(await find({ name: 'lovelace' })).toEqual(['1']);
  });
});
