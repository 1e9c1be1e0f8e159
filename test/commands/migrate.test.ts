import { describe, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
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
