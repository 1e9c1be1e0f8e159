import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { migrate } from '../../src/commands/migrate.ts';
import type { SqlText } from '../../src/db/sql-text.ts';
import { autocommit, Tx, transaction } from '../../src/db/transaction.ts';
import type { Posting } from '../../src/ledger/entry.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { walletResponse } from '../../src/views/wallet.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { WITHOUT_GUARDS } from '../support/tampering.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a', 'old', 'late']);
  await post({ amountMinor: 5000, reason: 'Welcome', metadata: { plan: 'pro' } });
  await post({ amountMinor: 100, isCredit: false, idempotencyKey: 'api:k' });
  await post({ amountMinor: 200, isCredit: false });
});

afterAll(() => database.drop());

const post = (one: Partial<Posting> & Pick<Posting, 'amountMinor'>, now = new Date()) =>
  transaction(database.pool, (tx) => postBatch(tx, [posting(one)], { ...SETTINGS, now }));

/** As a process of the release before writes an entry: without a hash, and the wallet without its head. */
async function postAsBefore(customerId: string, amount: number, now = new Date()): Promise<void> {
  await database.pool.query(
    `with moved as (
       update wallet set balance = balance + $2, version = version + 1, updated_at = $3
       where merchant_id = $4 and customer_id = $1 and currency = 'USD' returning merchant_id, customer_id, currency, version, balance)
     insert into entry (merchant_id, customer_id, currency, seq, amount, is_credit, event_type, before_balance, after_balance, created_at)
     select merchant_id, customer_id, currency, version, $2, true, 'merchant_adjustment', balance - $2, balance, $3 from moved`,
    [customerId, amount, now.toISOString(), MERCHANT],
  );
}

const chainFindings = async (db = autocommit(database.pool)) =>
  (await audit(db)).disagreements
    .filter(({ rule }) => rule === '3b hash chain')
    .map(({ subject, detail }) => `${subject}: ${detail}`);

/** What rule 3b names after a statement of whoever owns the database; undone. */
async function findingsAfter(statement: string): Promise<string[]> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(WITHOUT_GUARDS);
    await client.query(statement);
    return await chainFindings(new Tx(client));
  } finally {
    await client.query('rollback');
    client.release();
  }
}

describe('rule 3b', () => {
  it('fails where a page of entries cannot be read, though the one before it was', async () => {
    await makeCustomers(database.pool, ['long']);
    const many = Array.from({ length: 1_200 }, () => posting({ customerId: 'cus_long', amountMinor: 1 }));
    await transaction(database.pool, (tx) => postBatch(tx, many, { ...SETTINGS, now: new Date() }));
    const db = autocommit(database.pool);
    let pages = 0;
    const failing = Object.assign(Object.create(db), {
      queryArrays: (statement: SqlText, values: readonly unknown[]) => {
        const isPage = (typeof statement === 'string' ? statement : statement.text).includes('from_seq');
        if (isPage) pages += 1;
        return isPage && pages === 3
          ? Promise.reject(new Error('the connection is gone'))
          : db.queryArrays(statement, values);
      },
    });
    await expect(audit(failing)).rejects.toThrow('the connection is gone');
    expect(await chainFindings()).toEqual([]);
  });

  it('finds nothing in a history that nobody touched', async () => {
    expect(await chainFindings()).toEqual([]);
  });

  it.each([
    [
      'a reason rewritten',
      "update entry set reason = 'x' where customer_id = 'cus_a' and seq = 1",
      /cus_a\/USD: entry 1 /,
    ],
    [
      'metadata rewritten',
      `update entry set metadata = '{"plan":"free"}' where customer_id = 'cus_a' and seq = 1`,
      /entry 1 /,
    ],
    [
      'a key given away',
      "update entry set idempotency_key = 'api:other' where customer_id = 'cus_a' and seq = 2",
      /entry 2 /,
    ],
    [
      'a time moved',
      "update entry set created_at = (created_at at time zone 'UTC' - interval '1 second') at time zone 'UTC' where customer_id = 'cus_a' and seq = 1",
      /entry 1 /,
    ],
    [
      'history written anew, balances and all',
      `update entry set amount = 10, after_balance = 4990 where customer_id = 'cus_a' and seq = 2;
       update entry set before_balance = 4990, after_balance = 4790 where customer_id = 'cus_a' and seq = 3;
       update wallet set balance = 4790 where customer_id = 'cus_a' and currency = 'USD'`,
      /entry 2 /,
    ],
    [
      'its hash taken away',
      "update entry set hash = null, created_at = now() + interval '2 minutes' where customer_id = 'cus_a' and seq = 3",
      /entry 3 has no hash/,
    ],
    [
      'the newest entry deleted',
      `delete from entry where customer_id = 'cus_a' and seq = 3;
       update wallet set balance = 4900, version = 2, updated_at = (select created_at from entry where merchant_id = 'bus_default' and customer_id = 'cus_a' and seq = 2)
       where merchant_id = 'bus_default' and customer_id = 'cus_a' and currency = 'USD'`,
      /its head is of entry 3 of 2/,
    ],
    [
      'a head replaced',
      "update wallet set head = sha256('x') where customer_id = 'cus_a' and currency = 'USD'",
      /its head/,
    ],
    [
      'a head taken away',
      "update wallet set head = null, head_version = 0 where customer_id = 'cus_a' and currency = 'USD'",
      /its head/,
    ],
  ])('names %s', async (_, statement, named) => {
    expect((await findingsAfter(statement)).join('\n')).toMatch(named);
  });

  it('accepts what a process of the release before writes beside this one, until that release is closed', async () => {
    const closeAt = (time: Date) => database.pool.query('update installation set release_closed_at = $1', [time]);
    const now = Date.now();
    await closeAt(new Date(now + 600_000));
    await postAsBefore('cus_old', 100);
    await postAsBefore('cus_old', 100);
    const headNow = async () => {
      const wallets = await readWallets(autocommit(database.pool), MERCHANT, ['cus_old']);
      return wallets.map(walletResponse).find(({ currency }) => currency === 'USD')?.head;
    };
    expect(await headNow()).toBeNull();
    await post({ customerId: 'cus_old', amountMinor: 100 });
    expect(await headNow()).toMatch(/^[0-9a-f]{64}$/);
    await postAsBefore('cus_old', 100);
    expect(await headNow()).toBeNull();
    await post({ customerId: 'cus_old', amountMinor: 100 });
    expect(await chainFindings()).toEqual([]);
    // What is written without a hash after that was not written by Chokin.
    await closeAt(new Date(now - 600_000));
    expect((await chainFindings()).join('\n')).toMatch(/cus_old\/USD: entry 4 has no hash/);
    await closeAt(new Date(now + 600_000));
  });

  it('counts a release as closed a week after its migration, unless npm run migrate was told so before', async () => {
    await postAsBefore('cus_late', 100);
    const migratedAt = (time: string) =>
      findingsAfter(
        `update installation set release_closed_at = null; update schema_migration set run_on = ${time} where name = '0018_entry-hash'`,
      );
    expect(await migratedAt("now() - interval '6 days'")).toEqual([]);
    expect((await migratedAt("now() - interval '8 days'")).join('\n')).toMatch(/cus_late\/USD: entry 1 has no hash/);
    const logger = createLogger('silent', 'test');
    await migrate(database.ownerUrl, logger, { closeRelease: 'again' });
    const { rows } = await database.pool.query<{ age: number }>(
      'select extract(epoch from now() - release_closed_at)::float8 as age from installation',
    );
    expect(rows[0]?.age).toBeLessThan(60);
    expect(await chainFindings()).toEqual([]);
  });
});
