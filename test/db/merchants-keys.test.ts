import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createDatabaseOfReleaseBefore } from '../support/release-before.ts';

/**
 * Merchants' tables can be spread by merchant only if each of their keys holds him: a node can keep a key unique among its own rows alone,
 * and a foreign key lead only to rows that lie with it. What no merchant's customers fill stays on one node, and is named here.
 */

/** The tables of a merchant that stay together: what tells whose a request is, before it is known. */
const OF_ONE_NODE: readonly string[] = ['api_key', 'source', 'source_secret', 'source_account'];

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

/** Unique indexes of merchants' tables that do not hold the merchant, and foreign keys of theirs that lead to tables of merchants without. */
async function without(db: Pick<pg.ClientBase, 'query'>): Promise<readonly string[]> {
  const { rows } = await db.query<{ found: string }>(
    `with merchants as (
       select c.oid, a.attnum as place from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'merchant_id'
       where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> all ($1))
     select indexrelid::regclass::text as found from pg_index join merchants m on m.oid = indrelid
       where indisunique and place <> all (indkey::int2[])
     union all
     select conname from pg_constraint join merchants m on m.oid = conrelid
       where contype = 'f' and place <> all (conkey)
     order by found`,
    [OF_ONE_NODE],
  );
  return rows.map(({ found }) => found);
}

describe('the keys of merchants’ tables', () => {
  it('hold the merchant, each unique one and each that leads to another table', async () => {
    expect(await without(database.pool)).toEqual([]);
  });

  it('are looked at, so that the next one without is found', async () => {
    const client = await database.pool.connect();
    await client.query('begin');
    await client.query('create unique index entry_of_nobody on entry (customer_id, currency, seq)');
    await client.query('create table part_of_link (merchant_id text not null, link text primary key)');
    expect(await without(client)).toEqual(['entry_of_nobody', 'part_of_link_pkey']);
    await client.query('rollback');
    client.release();
  });

  it('came to hold him in a database that a release before left, and stay as they are then', async () => {
    const old = await createDatabaseOfReleaseBefore();
    const logger = createLogger('silent', 'test');
    for (let times = 0; times < 2; times += 1) {
      await migrate(old.ownerUrl, logger);
      expect(await without(old.pool)).toEqual([]);
    }
    const { rows } = await old.pool.query(
      `select pg_get_constraintdef(oid) as key from pg_constraint where conname = 'provider_event_pkey'`,
    );
    expect(rows).toEqual([{ key: 'PRIMARY KEY (merchant_id, event_id)' }]);
    await old.drop();
  });
});
