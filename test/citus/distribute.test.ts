import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { buildIndexes } from '../../src/commands/build-indexes.ts';
import { distribute } from '../../src/commands/distribute.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { widenKeys } from '../../src/commands/widen-keys.ts';
import { onCitus, SPREAD } from '../../src/db/backend.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { installQueues } from '../../src/db/queues.ts';
import { MIGRATIONS_DIR } from '../../src/db/schema.ts';
import { KEYS_LEFT_OUT } from '../../src/db/spread.ts';
import { requireBackend } from '../../src/db/suitable.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { citusNodes, dropOnEveryNode, joinNodes, onEveryNode } from '../support/citus-cluster.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { runMigrations } from '../support/release-before.ts';

/**
 * A database that had data, spread over a cluster, and migrated later on. It is one of its own: each step is a deployment's, in its order.
 * The last release whose tables are there when they are spread is that of migration 0118.
 */
const SPREAD_AFTER = '0118';
const NAME = 'chokin_to_be_spread';
const logger = createLogger('silent', 'test');

describe.skipIf(!onCitus())('a database that had data', () => {
  let url = '';
  let pool: Pool;
  let keys = 0;

  beforeAll(async () => {
    await dropOnEveryNode(NAME);
    await onEveryNode(`create database ${NAME}`);
    url = await joinNodes(NAME);
    const all = (await readdir(MIGRATIONS_DIR)).filter((file) => file.endsWith('.sql'));
    await runMigrations({ ownerUrl: url }, all.filter((file) => file.slice(0, 4) <= SPREAD_AFTER).length);
    await installQueues(url, logger);
    await withKeysAndIndexes();
    pool = createPool({ databaseUrl: url, applicationName: 'test', maxConnections: 4, logger });
    const { rows } = await pool.query(
      "select count(*)::int as keys from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace",
    );
    keys = rows[0]?.keys;
    await pool.query('update installation set release_closed_at = now()');
    await makeCustomers(pool, ['a', 'b']);
    await makeCustomers(pool, ['c'], 'bus_other');
    await post('cus_a', 500);
  });

  afterAll(async () => {
    await pool?.end();
    await dropOnEveryNode(NAME);
  });

  /** What that release did once its migrations had run. */
  const withKeysAndIndexes = async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await buildIndexes(client, logger);
    await widenKeys(client, logger);
    await client.end();
  };

  const post = (customerId: string, amountMinor: number) =>
    transaction(pool, (tx) => postBatch(tx, [posting({ customerId, amountMinor })], { ...SETTINGS, now: new Date() }));

  const balance = async () =>
    (await readWallets(autocommit(pool), MERCHANT, ['cus_a'])).find(({ currency }) => currency === 'USD')?.balance;

  /** Rows that stay in the coordinator's own tables. */
  const local = async () => {
    const { rows } = await pool.query<{ name: string }>(
      `select relname::text as name from pg_class c join pg_dist_partition d on d.logicalrelid = c.oid
       where c.relname = any ($1) and pg_relation_size(c.oid) > 0`,
      [['merchant', ...SPREAD]],
    );
    return rows.map(({ name }) => name);
  };

  it('is not spread while a process of the service is connected', async () => {
    const web = new pg.Client({ connectionString: url, application_name: 'chokin-web' });
    await web.connect();
    await expect(distribute(url, logger)).rejects.toThrow('let every process of the service stop first: chokin-web');
    await web.end();
    expect(await local()).toEqual([]);
    await expect(requireBackend(autocommit(pool))).rejects.toThrow(
      'these tables are not spread: audit_mark, bonus_rule,',
    );
  });

  it('is spread wholly, keeps what it had, and once', async () => {
    expect(await distribute(url, logger)).not.toEqual([]);
    expect(await balance()).toBe(500);
    expect(await local()).toEqual([]);
    expect(await distribute(url, logger)).toEqual([]);
    // Nothing is to be done any more, so nobody has to be stopped.
    const web = new pg.Client({ connectionString: url, application_name: 'chokin-web' });
    await web.connect();
    expect(await distribute(url, logger)).toEqual([]);
    await web.end();
    await post('cus_a', 70);
    expect(await balance()).toBe(570);
    const { rows } = await pool.query(
      "select count(*)::int as keys from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace",
    );
    expect(rows).toEqual([{ keys: keys - KEYS_LEFT_OUT.length }]);
  });

  it('takes every later migration, and what is new is spread after it', async () => {
    await migrate(url, logger, { closeRelease: 'again' });
    await distribute(url, logger);
    await requireBackend(autocommit(pool));
    const { rows } = await pool.query<{ name: string }>(
      `select name from unnest($1::text[]) name
       where not exists (select from pg_dist_partition where logicalrelid = to_regclass('public.' || name) and partmethod = 'h')`,
      [[...SPREAD]],
    );
    expect(rows).toEqual([]);
    await post('cus_b', 30);
    const { disagreements } = await audit(autocommit(pool));
    expect(disagreements).toEqual([]);
  });

  it('takes a migration that changes several tables and reads them in between', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'chokin-migrations-'));
    const name = '9999_changes-and-reads';
    await writeFile(join(dir, `${name}.sql`), CHANGES_AND_READS);
    expect(await migrate(url, logger, { dir })).toEqual([name]);
    await rm(dir, { recursive: true });
    const { rows } = await pool.query(
      'select bool_and(w.later = 5 and m.later = 1) as all from wallet w join merchant m using (merchant_id)',
    );
    expect(rows).toEqual([{ all: true }]);
  });
});

const CHANGES_AND_READS = `
  alter table wallet add column later integer not null default 5; -- and; then
  alter table merchant add column later integer;
  update merchant set later = 1 where exists (select 1 from wallet where wallet.later = 5);
  alter table wallet add constraint wallet_later check (later > 0) not valid;
  alter table wallet validate constraint wallet_later;
  create function refuse_later() returns trigger language plpgsql as $$ begin raise exception 'later'; return null; end $$;
  create trigger wallet_later before delete on wallet for each row execute function refuse_later();
`;

it.skipIf(onCitus())('wants a cluster, which is not at hand', () => {
  expect(citusNodes()).toEqual([]);
});
