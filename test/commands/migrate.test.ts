import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { checkGuards } from '../../src/audit/guards.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { awaitTurn, endTurn } from '../../src/commands/migrate-turn.ts';
import { MIGRATIONS_DIR } from '../../src/db/schema.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { eventually } from '../support/wait.ts';

const logger = createLogger('silent', 'test');

describe('migrate', () => {
  it('finds nothing to do on a migrated database, also when several run at once', async () => {
    const database = await createTestDatabase();
    const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(database.ownerUrl, logger)));
    expect(applied).toEqual([[], [], [], []]);
    await database.drop();
  });
});

describe('another migration', () => {
  /** A session that holds the lock of migrations, as a pooler kept it for somebody who is gone. */
  async function holding(database: TestDatabase, applicationName: string): Promise<pg.Client> {
    const holder = new pg.Client({ connectionString: database.ownerUrl, application_name: applicationName });
    holder.on('error', () => {});
    await holder.connect();
    await holder.query('select pg_advisory_lock(6301873202)');
    return holder;
  }

  it('is waited for, and named to who waits', async () => {
    const database = await createTestDatabase();
    const holder = await holding(database, 'left-behind');
    const lines: { holder?: { applicationName: string } }[] = [];
    const telling = createLogger('info', 'test', { write: (line) => void lines.push(JSON.parse(line)) });
    const waiting = migrate(database.ownerUrl, telling);
    await eventually('it says who is waited for', () => lines.length > 0);
    expect(lines[0]?.holder).toMatchObject({ applicationName: 'left-behind', user: 'postgres' });
    await holder.end();
    expect(await waiting).toEqual([]);
    await database.drop();
  });

  it('that does not end is waited for no longer than a while, and its session is named with the cure', async () => {
    const database = await createTestDatabase();
    const holder = await holding(database, 'left-behind');
    const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid');
    const pid = rows[0]?.pid;
    const refusal = migrate(database.ownerUrl, logger, { turnMs: 200 });
    await expect(refusal).rejects.toThrow(
      new RegExp(
        `did not end within 0 minutes\\. Its lock is held by the session ${pid}: left-behind of postgres at 127\\.0\\.0\\.1, connected since \\S+, doing nothing since \\S+, .*pg_terminate_backend\\(${pid}\\)`,
      ),
    );
    await database.pool.query('select pg_terminate_backend($1)', [pid]);
    expect(await migrate(database.ownerUrl, logger)).toEqual([]);
    await database.drop();
  });

  it('leaves neither its lock nor a setting in a session that is used again', async () => {
    const database = await createTestDatabase();
    const client = new pg.Client({ connectionString: database.ownerUrl });
    await client.connect();
    await awaitTurn(client, logger, 1_000);
    await client.query("set lock_timeout = '2s'");
    await endTurn(client);
    const { rows } = await client.query<{ wait: string; locks: number }>(
      "select current_setting('lock_timeout') as wait, (select count(*)::integer from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks",
    );
    expect(rows).toEqual([{ wait: '0', locks: 0 }]);
    await client.end();
    await database.drop();
  });
});

describe('an index of a large table', () => {
  const INDEX = 'wallet_alert_oldest';

  async function isValid({ pool }: TestDatabase): Promise<boolean | null> {
    const { rows } = await pool.query<{ valid: boolean }>(
      'select indisvalid as valid from pg_index where indexrelid = to_regclass($1)',
      [INDEX],
    );
    return rows[0]?.valid ?? null;
  }

  /** Ends the session that builds the index once it waits for the writer, as a platform does that waits no longer. */
  const endBuild = ({ pool }: TestDatabase) =>
    eventually('the build waits for who writes', async () => {
      const { rowCount } = await pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and query like 'create index concurrently ${INDEX}%' and wait_event_type = 'Lock'`,
      );
      return rowCount === 1;
    });

  it('is built while others write, and built anew if the migration was killed meanwhile', async () => {
    const database = await createTestDatabase();
    await makeCustomers(database.pool, ['a']);
    await database.pool.query(`drop index ${INDEX}`);
    const writer = await database.pool.connect();
    try {
      await writer.query('begin');
      await writer.query(
        `insert into wallet_alert (merchant_id, customer_id, currency, alert_seq, kind, balance, version, created_at)
         values ($1, 'cus_a', 'USD', 1, 'low', 1, 1, now())`,
        [MERCHANT],
      );
      const killed = expect(migrate(database.ownerUrl, logger)).rejects.toThrow();
      await endBuild(database);
      await killed;
      expect(await isValid(database)).toBe(false);
      const again = migrate(database.ownerUrl, logger);
      await writer.query('commit');
      expect(await again).toEqual([]);
    } finally {
      writer.release();
    }
    expect(await isValid(database)).toBe(true);
    await database.drop();
  }, 60_000);
});

async function withClient(connectionString: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

/** As work landed that was done side by side: a database of each commit has some of these, in this order, and not what stands before. */
const LANDED = ['0054', '0065', '0043', '0044', '0047', '0048'];

it.each([1, 2, 4])('brings a database up that has only the first %i of what landed in another order', async (count) => {
  const database = await createTestDatabase(2, 'template1');
  const dir = await mkdtemp(join(tmpdir(), 'chokin-landed-'));
  onTestFinished(async () => {
    await database.drop();
    await rm(dir, { recursive: true });
  });
  const files = (await readdir(MIGRATIONS_DIR)).filter((file) => file.endsWith('.sql')).toSorted();
  const landed = LANDED.slice(0, count).flatMap((number) => files.filter((file) => file.startsWith(number)));
  const before = files.filter((file) => file < '0043');
  for (const some of [before, ...landed.map((file) => [file])]) {
    for (const file of some) await cp(join(MIGRATIONS_DIR, file), join(dir, file));
    await withClient(database.ownerUrl, (dbClient) =>
      runner({
        dbClient,
        dir,
        direction: 'up',
        migrationsTable: 'schema_migration',
        noLock: true,
        checkOrder: false,
        log: () => {},
      }),
    );
  }
  const missing = files
    .filter((file) => ![...before, ...landed].includes(file))
    .map((file) => file.replace('.sql', ''));
  expect(await migrate(database.ownerUrl, logger)).toEqual(missing);
  expect(await checkGuards(autocommit(database.pool))).toEqual([]);
});
