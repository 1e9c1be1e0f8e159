import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { postingsToWait } from '../support/wait.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase(40);
  await makeCustomers(database.pool, ['a', 'b', 'c', 'd', 'solo']);
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

async function balance(customerId: string, currency = 'USD'): Promise<number | undefined> {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  return wallets.find((wallet) => wallet.currency === currency)?.balance;
}

describe('the ledger on Postgres', () => {
  it('refuses an unknown customer and an unsupported currency, and writes the rest of the batch', async () => {
    const before = (await balance('cus_a')) ?? 0;
    const outcomes = await transaction(database.pool, (tx) =>
      postBatch(
        tx,
        [
          posting({ customerId: 'cus_nobody', amountMinor: 1 }),
          posting({ currency: 'XTS', amountMinor: 1 }),
          posting({ amountMinor: 4 }),
        ],
        { ...SETTINGS, now: new Date() },
      ),
    );
    expect(outcomes.map((outcome) => (outcome.kind === 'refused' ? outcome.refusal.code : outcome.kind))).toEqual([
      'CUSTOMER_NOT_FOUND',
      'UNSUPPORTED_CURRENCY',
      'created',
    ]);
    expect(await balance('cus_a')).toBe(before + 4);
  });

  it('opens the wallet of a currency that was configured after the customer was made', async () => {
    const settings = { ...SETTINGS, currencies: new Set(['USD', 'EUR']) };
    const [outcome] = await transaction(database.pool, (tx) =>
      postBatch(tx, [posting({ customerId: 'cus_solo', currency: 'EUR', amountMinor: 9 })], {
        ...settings,
        now: new Date(),
      }),
    );
    expect(outcome?.kind).toBe('created');
    expect(await balance('cus_solo', 'EUR')).toBe(9);
  });

  it.each([
    'update entry set amount = amount + 1',
    'delete from entry',
    'truncate entry cascade',
    'update wallet_alert set balance = 0',
    // Old ones may be deleted: test/retention/forget.
    'truncate wallet_alert',
  ])('refuses to change history: %s', async (statement) => {
    await expect(database.pool.query(statement)).rejects.toThrow('is insert-only');
  });

  it('locks the wallets of a batch in their own order, whatever order they are posted in', async () => {
    const [first, second] = ['cus_order_a', 'cus_order_b'];
    await makeCustomers(database.pool, ['order_a', 'order_b']);
    const lockOf = `select 1 from wallet where merchant_id = '${MERCHANT}' and customer_id = $1 and currency = 'USD' for update`;
    const [holder, other] = [await database.pool.connect(), await database.pool.connect()];
    try {
      await holder.query('begin');
      await holder.query(lockOf, [first]);
      const backwards = [second, first].map((customerId) => posting({ customerId, amountMinor: 1 }));
      const posted = transaction(database.pool, (tx) => postBatch(tx, backwards, { ...SETTINGS, now: new Date() }));
      await postingsToWait(database.pool);
      // While it waits for the first it holds no other, so that two batches cannot wait for each other.
      await other.query('begin');
      await other.query(`${lockOf} nowait`, [second]);
      await other.query('rollback');
      await holder.query('rollback');
      expect((await posted).map(({ kind }) => kind)).toEqual(['created', 'created']);
    } finally {
      for (const client of [holder, other]) {
        await client.query('rollback');
        client.release();
      }
    }
  });

  it('names what disagrees when a balance is changed behind its back', async () => {
    await database.pool.query(
      "update wallet set balance = balance + 1 where customer_id = 'cus_b' and currency = 'USD'",
    );
    const { disagreements } = await audit(autocommit(database.pool));
    expect(disagreements.map((one) => one.rule)).toEqual(['1 conservation', '2 agreement']);
    expect(disagreements[1]?.subject).toBe('bus_default/cus_b/USD');
    await database.pool.query(
      "update wallet set balance = balance - 1 where customer_id = 'cus_b' and currency = 'USD'",
    );
  });

  it('never leaves an entry without its wallet when the transaction fails half-way', async () => {
    const before = await balance('cus_c');
    const failing = transaction(database.pool, async (tx) => {
      await postBatch(tx, [posting({ customerId: 'cus_c', amountMinor: 50 })], { ...SETTINGS, now: new Date() });
      throw new Error('stop');
    });
    await expect(failing).rejects.toThrow('stop');
    expect(await balance('cus_c')).toBe(before);
  });
});
