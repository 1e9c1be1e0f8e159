import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MIGRATIONS_DIR } from '../../src/db/schema.ts';
import type { TestDatabase } from '../support/database.ts';
import { createDatabaseOfReleaseBefore, runMigrations } from '../support/release-before.ts';

/**
 * The service runs on while a release migrates, with millions of rows in its tables. So no migration may keep others from a table for
 * as long as it reads or writes rows: not to build an index (src/commands/build-indexes.ts does), not to check what is there (a
 * later file validates), not to change it. What each does is read from Postgres, in its transaction before it ends. Migrations that
 * landed before this rule stay as they are.
 */
const LAST_BEFORE_THE_RULE = '0042';
/** Tables of a row or two, or a few for each merchant. */
const SMALL = ['installation', 'schema_migration', 'source_secret'];

const files = (await readdir(MIGRATIONS_DIR)).filter((file) => file.endsWith('.sql')).toSorted();
const isJudged = (file: string) => file.slice(0, 4) > LAST_BEFORE_THE_RULE;

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabaseOfReleaseBefore();
  const { rowCount } = await database.pool.query('select from schema_migration');
  await runMigrations(database, files.filter((file) => !isJudged(file)).length - (rowCount ?? 0));
});
afterAll(() => database.drop());

/** Runs SQL in a transaction. @returns what others would wait for, were the tables large */
async function waitsOf(sql: string, end: 'commit' | 'rollback'): Promise<readonly string[]> {
  // A session of its own, since it keeps the figures of its transactions for a while.
  const client = new pg.Client({ connectionString: database.ownerUrl });
  await client.connect();
  const before = await client.query<{ oid: number; name: string; file: number }>(
    `select oid::int, relname as name, pg_relation_filenode(oid)::int as file from pg_class
     where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> all ($1)`,
    [SMALL],
  );
  await client.query('begin');
  try {
    await client.query(sql);
    const { rows } = await client.query(WAITS, [JSON.stringify(before.rows)]);
    return rows.map(({ wait }) => wait);
  } finally {
    await client.query(end);
    await client.end();
  }
}

/** Of tables that were there before: which are locked against writes, and what was done to rows meanwhile, but for a look whether there is one. */
const WAITS = `
  with old as (select * from jsonb_to_recordset($1::jsonb) as o (oid int, name text, file int)),
  locked as (
    select name from old join pg_locks l on l.relation = old.oid and l.pid = pg_backend_pid() and l.granted
    where l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') group by name),
  seen as (select old.*, s.* from old join pg_stat_xact_user_tables s on s.relid = old.oid)
  select format('%s is read while %s is locked', seen.name, (select string_agg(name, ', ' order by name) from locked)) as wait
    from seen where seq_scan > 0 and seq_tup_read <> seq_scan and exists (select from locked)
  union all select format('%s is written anew', name) from old
    where pg_relation_filenode(oid::oid)::int is distinct from file and to_regclass('public.' || quote_ident(name)) is not null
  union all select format('rows of %s are changed', name) from seen where n_tup_upd + n_tup_del > 0
  order by 1`;

describe('a migration keeps nobody waiting for as long as it reads or writes rows', () => {
  it.each(files.filter(isJudged))('%s', async (file) => {
    expect(await waitsOf(await readFile(join(MIGRATIONS_DIR, file), 'utf8'), 'commit')).toEqual([]);
  });

  it.each([
    ['create index too_long on payment (customer_id)', ['payment is read while payment is locked']],
    [
      'alter table payment add constraint too_long check (payment_id is not null)',
      ['payment is read while payment is locked'],
    ],
    [
      'alter table wallet alter column balance type numeric',
      ['wallet is read while wallet is locked', 'wallet is written anew'],
    ],
    ['update payment set updated_at = updated_at', ['rows of payment are changed']],
    [
      'alter table payment add column later text default random()::text',
      ['payment is read while payment is locked', 'payment is written anew'],
    ],
    ["alter table payment add column later text not null default ''", []],
    ['alter table payment add constraint short check (customer_id is not null) not valid', []],
  ])('is seen to: %s', async (sql, waits) => {
    expect(await waitsOf(sql, 'rollback')).toEqual(waits);
  });
});
