import { afterAll, beforeAll, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { type HistoryQuery, listEntries } from '../../src/ledger/history.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

/** A connection keeps one plan for every page of every wallet; it must begin where the cursor says. */

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a']);
  const credits = Array.from({ length: 2000 }, (_, index) => posting({ amountMinor: index + 1 }));
  await transaction(database.pool, (tx) => postBatch(tx, credits, { ...SETTINGS, now: new Date() }));
  await database.pool.query('analyze');
});
afterAll(() => database.drop());

const PAGE: HistoryQuery = {
  currency: 'USD',
  eventType: null,
  createdFrom: null,
  createdTo: null,
  afterSeq: null,
  beforeSeq: null,
  pageSize: 3,
  pageNumber: 0,
};

it.each<[string, Partial<HistoryQuery>, number[]]>([
  ['no cursor', {}, [2000, 1999, 1998]],
  ['before_seq', { beforeSeq: 1000 }, [999, 998, 997]],
  ['after_seq', { afterSeq: 1998 }, [2000, 1999]],
  ['both', { afterSeq: 10, beforeSeq: 13 }, [12, 11]],
])('a page with %s is read along the primary key from the cursor on', async (_, cursor, expected) => {
  const plan = await transaction(database.pool, async (tx) => {
    await tx.query('set local plan_cache_mode = force_generic_plan');
    const entries = await listEntries(tx, { merchantId: MERCHANT, customerId: 'cus_a' }, { ...PAGE, ...cursor });
    expect(entries.map(({ seq }) => seq)).toEqual(expected);
    const limits = `${cursor.afterSeq ?? 'null'}, ${cursor.beforeSeq ?? 'null'}, 3, 0`;
    const { rows } = await tx.query<{ 'QUERY PLAN': string }>(
      `explain (analyze, timing off) execute "list-entries" ('${MERCHANT}', 'cus_a', 'USD', null, null, null, ${limits})`,
    );
    return rows.map((row) => row['QUERY PLAN'].trim());
  });
  const scan = plan.findIndex((line) => line.includes('Index Scan Backward using entry_pkey'));
  // Postgres writes decimals from 18 on.
  expect(plan[scan]).toMatch(new RegExp(`actual rows=${expected.length}(?:\\.00)? `));
  expect(plan[scan + 1]).toMatch(/^Index Cond: .*seq > COALESCE\(.*seq < COALESCE\(/);
});
