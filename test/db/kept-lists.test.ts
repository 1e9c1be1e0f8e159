import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { declaredStatements } from '../../src/db/statement.ts';
import { transaction } from '../../src/db/transaction.ts';
import '../../src/ledger/batches.ts';
import type { LotTerms } from '../../src/ledger/entry.ts';
import '../../src/ledger/outbox-waiting.ts';
import { postBatch } from '../../src/ledger/store.ts';
import '../../src/outgoing/unsent.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Explained, keptPlan, within } from '../support/kept-plans.ts';
import { makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

/**
 * Aim: the ledger's batches find each row by its whole key, also by plans that are kept from a time when tables had a row or lists were long, and who waits
 * for what is due reads no more than the first of it. That every kept plan looks by a key at all is in test/db/kept-plans.test.ts.
 */

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const TERMS: LotTerms = { kind: 'promo', name: 'Welcome', priority: 50, end: { days: 1 } };

/** By what each table is read, and in `write-…` updated. */
const reads = async (name: string) =>
  (await keptPlan(database, name)).filter((node) => node['Index Cond'] !== undefined);

it.each([
  ['lock-wallets', 'wallet'],
  ['find-entries-by-keys', 'entry'],
  ['write-postings', 'wallet'],
  ['find-open-lots', 'lot'],
])('%s reads %s by its key', async (name, table) => {
  const found = (await reads(name)).filter((node) => node['Relation Name'] === table);
  expect(found).not.toEqual([]);
  const last = table === 'entry' ? 'idempotency_key' : 'currency';
  for (const node of found)
    for (const column of ['merchant_id', 'customer_id', last]) expect(node['Index Cond']).toContain(`${column} = `);
});

it('write-placed-holds finds locked wallets where they stand', async () => {
  const found = (await keptPlan(database, 'write-placed-holds')).filter((node) => node['Relation Name'] === 'wallet');
  expect(found.flatMap((node) => node['TID Cond'] ?? [])).toEqual(['(ctid = n.at)']);
  expect(found.flatMap((node) => node['Index Cond'] ?? [])).toEqual([]);
});

describe('tables that had a row when Postgres last looked at them', () => {
  // The wallets themselves are left out: a table that only grows is soon counted anew and planned again.
  const STATEMENTS = [
    ...[
      'find-entries-by-keys',
      'find-holds-by-keys',
      'find-holds-by-numbers',
      'find-open-holds',
      'find-open-lots',
      'find-lots-in-reach',
    ],
    ...['write-placed-holds', 'write-postings-and-holds', 'write-lots', 'find-last-status-changes'],
  ];
  beforeAll(async () => {
    const { pool } = database;
    await makeCustomers(pool, ['first']);
    const command = { op: 'place' as const, merchantId: 'bus_default', customerId: 'cus_first', currency: 'USD' };
    const rest = {
      amountMinor: 5,
      partial: false,
      expiresInSeconds: 60,
      reason: null,
      referenceObjectId: null,
      metadata: null,
    };
    const credit = { ...posting({ customerId: 'cus_first', amountMinor: 10, isCredit: true }), terms: TERMS };
    const commands = [credit, { ...command, ...rest, idempotencyKey: 'api:one' }];
    const outcomes = await transaction(pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: new Date() }));
    expect(outcomes.map(({ kind }) => kind)).toEqual(['created', 'placed']);
    await pool.query('vacuum analyze');
  });

  it.each(STATEMENTS)('%s looks up each row by its key all the same', async (name) => {
    const scans = (await keptPlan(database, name)).filter(
      (node) => node['Node Type'].endsWith('Scan') && (node['Relation Name'] ?? 'wallet') !== 'wallet',
    );
    expect(scans).not.toEqual([]);
    for (const node of scans) {
      if (node['Node Type'] === 'Tid Scan') continue;
      expect(node['Index Cond'] ?? node['Node Type'], node['Relation Name']).toContain('customer_id = ');
    }
  });
});

it('a hold looks on the list of what is due for its own wallet, however long the list is', async () => {
  // The list's index by time has every column that is asked for, so that it looks cheap: it was read from its beginning for each hold.
  await database.pool.query(
    "insert into merchant (merchant_id, name, mode) values ('bus_default', 'Test', 'test') on conflict do nothing",
  );
  await database.pool.query(
    `insert into customer (merchant_id, customer_id, email, name, created_at)
     select 'bus_default', 'cus_' || n, '', '', now() from generate_series(1, 5000) n`,
  );
  await database.pool.query(
    `insert into wallet (merchant_id, customer_id, currency, created_at, updated_at)
     select merchant_id, customer_id, 'USD', now(), now() from customer on conflict do nothing`,
  );
  await database.pool.query(
    `insert into wallet_due (merchant_id, customer_id, currency, due_at)
     select merchant_id, customer_id, 'USD', now() + interval '1 day' from customer on conflict do nothing`,
  );
  await database.pool.query('vacuum analyze wallet_due');
  const found = (await reads('write-postings-and-holds')).filter((node) => node['Relation Name'] === 'wallet_due');
  expect(found).not.toEqual([]);
  for (const node of found) expect(node['Index Cond']).not.toContain('due_at');
});

describe('when something of a long list is due', () => {
  const LISTS = [
    ['wallets-due-in', 'unannounced_wallet'],
    ['messages-due-in', 'unsent_message'],
  ] as const;

  /** The rows of the list that a session reads which prepared the statement while the list was empty, and what it answers. */
  const readBy = async (name: string, table: string, leased: string | null) => {
    await database.pool.query(`delete from ${table}`);
    const client = await database.pool.connect();
    try {
      await client.query(`prepare asked as ${declaredStatements().find((one) => one.name === name)?.text}`);
      await client.query('execute asked');
      const columns = "'bus_default', 'cus_' || n, 'USD', now() - n * interval '1 second', now() + $1::interval";
      await client.query(
        table === 'unannounced_wallet'
          ? `insert into unannounced_wallet (merchant_id, customer_id, currency, since, claimed_until) select ${columns} from generate_series(1, 3000) n`
          : `insert into unsent_message (merchant_id, message_id, payload, event_type, since, claimed_until) select ${columns.replace("'USD'", "'{}', 'x'")} from generate_series(1, 3000) n`,
        [leased],
      );
      const explained = await client.query<Explained>('explain (analyze, timing off, format json) execute asked');
      const { rows } = await client.query<{ seconds: number }>('execute asked');
      const plan = explained.rows[0]?.['QUERY PLAN'][0]?.Plan;
      const scans = plan === undefined ? [] : within(plan).filter((node) => node['Relation Name'] === table);
      const read = scans.map((node) => (node['Actual Rows'] ?? 0) * (node['Actual Loops'] ?? 0));
      return { read: read.reduce((sum, one) => sum + one, 0), seconds: rows[0]?.seconds };
    } finally {
      client.release(true);
    }
  };

  it.each(LISTS)('%s reads one row of it', async (name, table) => {
    expect(await readBy(name, table, null)).toEqual({ read: 1, seconds: 0 });
    // One whose worker may be dead.
    expect(await readBy(name, table, '-1 second')).toEqual({ read: 1, seconds: 0 });
  });

  it.each(LISTS)('%s reads it whole where nothing is, and answers when something will be', async (name, table) => {
    const { read, seconds = 0 } = await readBy(name, table, '1 minute');
    expect(read).toBeGreaterThanOrEqual(3000);
    // The first 2,000, that there is one, and all of them.
    expect(read).toBeLessThanOrEqual(5001);
    expect(seconds).toBeGreaterThan(30);
    expect(seconds).toBeLessThanOrEqual(60);
  });

  it.each(LISTS)(
    '%s sees by an index that the list is empty, and reads no pages of rows that are gone',
    async (name, table) => {
      await database.pool.query(`delete from ${table}`);
      const text = declaredStatements().find((one) => one.name === name)?.text;
      const { rows } = await database.pool.query<Explained>(`explain (analyze, timing off, format json) ${text}`);
      const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
      const scans = plan === undefined ? [] : within(plan).filter((node) => node['Relation Name'] === table);
      const carriedOut = scans.filter((node) => (node['Actual Loops'] ?? 0) > 0);
      expect(carriedOut.map((node) => node['Node Type'].replace('Only ', ''))).toEqual(['Index Scan', 'Index Scan']);
    },
  );
});
