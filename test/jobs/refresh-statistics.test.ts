import { afterAll, beforeAll, expect, it } from 'vitest';
import { onCitus } from '../../src/db/backend.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { refreshStatistics } from '../../src/db/statistics.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';

const logger = createLogger('silent', 'test');

let database: TestDatabase;
let worker: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  worker = createPool({ databaseUrl: database.workerUrl, applicationName: 'test', maxConnections: 2, logger });
  await makeCustomers(database.pool, ['a']);
  // Nobody but the job looks at these.
  for (const table of ['customer', 'wallet'])
    await database.pool.query(`alter table ${table} set (autovacuum_enabled = off)`);
});

afterAll(async () => {
  await worker.end();
  await database.drop();
});

const refresh = () => refreshStatistics({ pool: worker, logger });

/** Adds customers, and lets every session see that they were added. */
async function addCustomers(first: number, last: number): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query(
      `insert into customer (merchant_id, customer_id, email, name, created_at)
       select $1, 'cus_' || n, '', 'Ada ' || n, now() from generate_series($2::int, $3::int) n`,
      [MERCHANT, first, last],
    );
    await client.query('select pg_stat_force_next_flush()');
    await client.query('select 1');
  } finally {
    client.release();
  }
}

async function known(): Promise<unknown> {
  const { rows } = await database.pool.query(
    "select reltuples, (select count(*)::int from pg_stats where tablename = 'customer' and attname = 'name') as columns from pg_class where oid = 'customer'::regclass",
  );
  return rows[0];
}

// On Citus, each node's autovacuum has the tables that are spread for itself.
it.skipIf(onCitus())(
  'gathers what was never gathered, as the worker, and then leaves the table alone until it has outgrown it',
  async () => {
    expect(await refresh()).not.toContain('public.customer');
    await addCustomers(2, 3_000);
    expect(await known()).toEqual({ reltuples: -1, columns: 0 });
    expect(await refresh()).toContain('public.customer');
    expect(await known()).toEqual({ reltuples: 3_000, columns: 1 });
    expect(await refresh()).toEqual([]);
    await addCustomers(3_001, 4_000);
    expect(await refresh()).toEqual([]);
    await addCustomers(4_001, 6_000);
    expect(await refresh()).toEqual(['public.customer']);
    expect(await known()).toEqual({ reltuples: 6_000, columns: 1 });
  },
);

it.skipIf(onCitus())('leaves a table that somebody holds for the next time', async () => {
  await addCustomers(6_001, 12_000);
  const holder = await database.pool.connect();
  try {
    await holder.query('begin');
    await holder.query('lock table customer in share update exclusive mode');
    expect(await refresh()).toEqual([]);
    await holder.query('commit');
  } finally {
    holder.release();
  }
  expect(await refresh()).toEqual(['public.customer']);
});

it.skipIf(onCitus())('goes on with other tables where one cannot be looked at, and fails at its end', async () => {
  await addCustomers(12_001, 30_000);
  const { pool } = database;
  await pool.query(`
    create function odd(text) returns integer immutable language plpgsql as $$ begin return 1; end $$;
    create index odd_index on customer (odd(name))`);
  await pool.query(`
    create or replace function odd(text) returns integer immutable language plpgsql as $$ begin raise 'odd'; end $$;
    alter table merchant set (autovacuum_enabled = off);
    insert into merchant (merchant_id, name, mode) select 'bus_' || n, 'Merchant ' || n, 'test' from generate_series(1, 3000) n`);
  const client = await pool.connect();
  await client.query('select pg_stat_force_next_flush()');
  await client.query('select 1');
  client.release();
  await expect(refresh()).rejects.toThrow('odd');
  const { rows } = await pool.query("select reltuples > 1000 as known from pg_class where oid = 'merchant'::regclass");
  expect(rows).toEqual([{ known: true }]);
  await pool.query('drop index odd_index');
  expect(await refresh()).toEqual(['public.customer']);
});

it('lets the worker ask for the tables of the service only, and nobody else for any', async () => {
  await database.pool.query('create schema other; create table other.secret (n int)');
  await expect(worker.query("select refresh_statistics('other.secret')")).rejects.toMatchObject({ code: '42501' });
  await expect(worker.query("select refresh_statistics('pg_class')")).rejects.toMatchObject({ code: '42501' });
  const web = createPool({ databaseUrl: database.webUrl, applicationName: 'test', maxConnections: 1, logger });
  await expect(web.query("select refresh_statistics('customer')")).rejects.toMatchObject({ code: '42501' });
  await web.end();
});
