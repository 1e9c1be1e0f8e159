import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { awaitTurn, endTurn } from '../../src/commands/migrate-turn.ts';
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
