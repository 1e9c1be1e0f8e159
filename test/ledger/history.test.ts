import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { onCitus } from '../../src/db/backend.ts';
import { autocommit, type Queryable, type Tx, transaction } from '../../src/db/transaction.ts';
import type { EventType } from '../../src/ledger/entry.ts';
import { type HistoryQuery, listEntries } from '../../src/ledger/history.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { sentArray } from '../support/sent-array.ts';

/** A connection keeps one plan for every page of every wallet; it must begin where the cursor, the date or the type says. */

const COUNT = 2000;
const START_MS = Date.parse('2026-02-01T00:00:00Z');
const CUSTOMER = { merchantId: MERCHANT, customerId: 'cus_a' };
let database: TestDatabase;

/** The moment of the n-th hundred of entries. */
const hundred = (number: number) => new Date(START_MS + number * 60_000);

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a']);
  for (let batch = 0; batch < COUNT / 100; batch += 1) {
    const credits = Array.from({ length: 100 }, (_, index) => {
      const isRare = batch === 0 && index < 5;
      return posting({ amountMinor: index + 1, eventType: isRare ? 'payment' : 'merchant_adjustment' });
    });
    await transaction(database.pool, (tx) => postBatch(tx, credits, { ...SETTINGS, now: hundred(batch) }));
  }
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

/** A value as EXECUTE takes it. */
function literal(value: unknown): string {
  if (Buffer.isBuffer(value)) return `'{${sentArray(value).join(',')}}'`;
  return value === null || typeof value === 'number' ? String(value) : `'${value}'`;
}

/** The entries of a page, how many rows each scan of entries read for it, and the index of each. */
async function readPage(tx: Tx, query: HistoryQuery) {
  const calls: { readonly name: string; readonly values: readonly unknown[] }[] = [];
  const noting: Queryable = {
    query: (statement, values) => tx.query(statement, values),
    queryArrays: (statement, values) => {
      if (typeof statement !== 'string') calls.push({ name: statement.name, values });
      return tx.queryArrays(statement, values);
    },
  };
  const entries = await listEntries(noting, CUSTOMER, query);
  const list = calls.find(({ name }) => name.startsWith('list-entries'));
  if (list === undefined) throw new Error('no list was read');
  const { rows } = await tx.query<{ 'QUERY PLAN': string }>(
    `explain (analyze, timing off, costs off) execute "${list.name}" (${list.values.map(literal).join(', ')})`,
  );
  const plan = rows.map((row) => row['QUERY PLAN'].trim());
  const scans = plan.flatMap((line, index) => {
    const found = /Index Scan Backward using (\w+) on entry.*actual rows=(\d+)/.exec(line);
    const removed = plan.slice(index, index + 5).find((one) => one.startsWith('Rows Removed by Filter'));
    return found === null ? [] : [{ index: found[1], rows: Number(found[2]), removed }];
  });
  return { seqs: entries.map(({ seq }) => seq), scans };
}

// Plans and counts of one Postgres: of Citus, each node makes its own.
it.skipIf(onCitus()).each<[string, Partial<HistoryQuery>, number[], string]>([
  ['no cursor', {}, [2000, 1999, 1998], 'entry_pkey'],
  ['before_seq', { beforeSeq: 1000 }, [999, 998, 997], 'entry_pkey'],
  ['after_seq', { afterSeq: 1998 }, [2000, 1999], 'entry_pkey'],
  ['both', { afterSeq: 10, beforeSeq: 13 }, [12, 11], 'entry_pkey'],
  ['an old last date', { createdTo: hundred(2) }, [300, 299, 298], 'entry_pkey'],
  ['both dates', { createdFrom: hundred(1), createdTo: hundred(1) }, [200, 199, 198], 'entry_pkey'],
  ['a date and a cursor', { createdFrom: hundred(5), beforeSeq: 503 }, [502, 501], 'entry_pkey'],
  ['a far page', { pageNumber: 500 }, [500, 499, 498], 'entry_pkey'],
  ['a far page of dates', { createdTo: hundred(9), pageNumber: 200 }, [400, 399, 398], 'entry_pkey'],
  ['a rare type', { eventType: 'payment' }, [5, 4, 3], 'entry_of_type'],
  ['the second page of it', { eventType: 'payment', pageNumber: 1, pageSize: 2 }, [3, 2], 'entry_of_type'],
  ['a rare type before a number', { eventType: 'payment', beforeSeq: 3 }, [2, 1], 'entry_of_type'],
])('a page with %s reads no other entries', async (_, query, expected, index) => {
  await transaction(database.pool, async (tx) => {
    await tx.query('set local plan_cache_mode = force_generic_plan');
    const { seqs, scans } = await readPage(tx, { ...PAGE, ...query });
    expect(seqs).toEqual(expected);
    // Pages of a type are skipped by reading them, along its index.
    const skipped = query.eventType === undefined ? 0 : (query.pageNumber ?? 0) * 2;
    expect(scans).toEqual([{ index, rows: expected.length + skipped, removed: undefined }]);
  });
});

it.each<[string, Partial<HistoryQuery>]>([
  ['dates before the first entry', { createdTo: new Date(START_MS - 1) }],
  ['dates after the last', { createdFrom: hundred(COUNT) }],
  ['a page behind the last', { pageNumber: 700 }],
  ['a type that is not there', { eventType: 'refund' }],
  ['another currency', { currency: 'EUR' }],
  ['another currency, with a date', { currency: 'EUR', createdTo: hundred(1) }],
])('a list of %s is empty', async (_, query) => {
  expect(await listEntries(autocommit(database.pool), CUSTOMER, { ...PAGE, ...query })).toEqual([]);
});

/** The clock of whoever writes next may be behind that of who wrote before. */
const history = fc.array(
  fc.record({
    step: fc.integer({ min: -3, max: 3 }),
    currency: fc.constantFrom('USD', 'INR'),
    type: fc.constantFrom<EventType>('merchant_adjustment', 'payment', 'bonus'),
  }),
  { maxLength: 12 },
);
const filter = fc.record({
  currency: fc.constantFrom(null, 'USD', 'INR'),
  eventType: fc.constantFrom<EventType | null>(null, 'merchant_adjustment', 'payment', 'bonus'),
  createdFrom: fc.option(fc.integer({ min: -8, max: 12 })),
  createdTo: fc.option(fc.integer({ min: -8, max: 12 })),
  pageSize: fc.integer({ min: 1, max: 5 }),
  pageNumber: fc.integer({ min: 0, max: 3 }),
});

it('a page is what filtering all entries one by one would give, however the clocks of those who wrote them jumped', async () => {
  const at = (minutes: number | null) => (minutes === null ? null : new Date(START_MS + minutes * 60_000));
  const db = autocommit(database.pool);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(history, fc.array(filter, { minLength: 5, maxLength: 5 }), async (written, filters) => {
      run += 1;
      const [customerId = ''] = await makeCustomers(database.pool, [`random${run}`]);
      let now = 0;
      for (const { step, currency, type } of written) {
        now += step;
        const one = posting({ customerId, amountMinor: 1, currency, eventType: type, effectiveAt: at(now - 60) });
        await transaction(database.pool, (tx) => postBatch(tx, [one], { ...SETTINGS, now: at(now) ?? new Date() }));
      }
      const key = { merchantId: MERCHANT, customerId };
      const all = await listEntries(db, key, { ...PAGE, currency: null, pageSize: 100 });
      expect(all).toHaveLength(written.length);
      for (const { createdFrom, createdTo, ...rest } of filters) {
        const query = { ...PAGE, ...rest, createdFrom: at(createdFrom), createdTo: at(createdTo) };
        const fitting = all.filter(
          (entry) =>
            (query.currency === null || entry.currency === query.currency) &&
            (query.eventType === null || entry.eventType === query.eventType) &&
            (query.createdFrom === null || entry.createdAt >= query.createdFrom) &&
            (query.createdTo === null || entry.createdAt <= query.createdTo),
        );
        const begin = query.pageSize * query.pageNumber;
        expect(await listEntries(db, key, query)).toEqual(fitting.slice(begin, begin + query.pageSize));
      }
    }),
    { numRuns: 12 },
  );
  // What the search for dates goes by; the audit proves it of every wallet (rule 3).
  const { rowCount } = await database.pool.query(
    `select 1 from (select created_at, lag(created_at) over (partition by merchant_id, customer_id, currency order by seq) as before from entry) e
     where created_at < before`,
  );
  expect(rowCount).toBe(0);
});
