import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { ReadOnlyServerError } from '../../src/db/sqlstate.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

/** What a session works under is what the code says, whatever the server, the database and the URL say. */

let database: TestDatabase;
let pool: Pool | null = null;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  await pool?.end();
  pool = null;
  await alter('reset all');
});
afterAll(() => database.drop());

/** Changes the database for sessions that are opened from now on. */
async function alter(what: string): Promise<void> {
  await database.pool.query(`do $$ begin execute format('alter database %I ${what}', current_database()); end $$`);
}

async function inForce(on: Pool, names: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const { rows } = await on.query<{ name: string; value: string }>(
    'select name, current_setting(name) as value from unnest($1::text[]) as name',
    [names],
  );
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

const RIGHT = {
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
  default_transaction_isolation: 'read committed',
  application_name: 'session-test',
  statement_timeout: '15s',
  lock_timeout: '3s',
  idle_in_transaction_session_timeout: '10s',
  enable_seqscan: 'off',
};

function open(query = ''): Pool {
  const databaseUrl = `${database.url}${query === '' ? '' : `?${query}`}`;
  const logger = createLogger('fatal', 'session-test');
  pool = createPool({ databaseUrl, applicationName: 'session-test', maxConnections: 1, logger });
  return pool;
}

it('is what it should be under a database with settings of its own', async () => {
  for (const what of [
    "set datestyle = ''SQL, DMY''",
    "set intervalstyle = ''iso_8601''",
    "set timezone = ''Asia/Kolkata''",
    "set bytea_output = ''escape''",
    'set standard_conforming_strings = off',
    "set default_transaction_isolation = ''serializable''",
    'set statement_timeout = 0',
    'set enable_seqscan = on',
  ])
    await alter(what);
  expect(await inForce(open(), Object.keys(RIGHT))).toEqual(RIGHT);
  const { rows } = await open().query("select timestamptz '2026-02-03 04:05:06Z' as at, '\\x00ff'::bytea as bytes");
  expect(rows).toEqual([{ at: new Date('2026-02-03T04:05:06Z'), bytes: Buffer.from([0, 255]) }]);
});

it('is what it should be whatever the URL says, and what else that says holds', async () => {
  const options = encodeURIComponent('-c work_mem=7MB -c enable_seqscan=on');
  const on = open(`options=${options}&statement_timeout=0&lock_timeout=0&application_name=mine`);
  const expected = { ...RIGHT, work_mem: '7MB' };
  expect(await inForce(on, Object.keys(expected))).toEqual(expected);
});

it('is never opened where nothing can be written, and is there again at once when it can', async () => {
  await alter('set default_transaction_read_only = on');
  const on = open();
  await expect(on.query('select 1')).rejects.toThrow(ReadOnlyServerError);
  expect(on.totalCount).toBe(0);
  await alter('reset default_transaction_read_only');
  expect((await on.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});

it('is given up when it turns out to be one that only reads', async () => {
  const on = open();
  const pid = async () => (await on.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid;
  const insert = "insert into installation (installation_id) values ('ins_x')";
  for (const write of [() => transaction(on, (tx) => tx.query(insert)), () => autocommit(on).query(insert)]) {
    await on.query("select set_config('default_transaction_read_only', 'on', false)");
    const before = await pid();
    await expect(write()).rejects.toMatchObject({ code: '25006' });
    expect(await pid()).not.toBe(before);
  }
});
