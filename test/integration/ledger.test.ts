import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { audit } from '../../src/ledger/audit.ts';
import { LedgerLanes } from '../../src/ledger/lane.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

let database: TestDatabase;
let lanes: LedgerLanes;

beforeAll(async () => {
  database = await createTestDatabase(40);
  await makeCustomers(database.pool, ['a', 'b', 'c', 'd', 'race', 'keys', 'solo']);
  lanes = new LedgerLanes({ pool: database.pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const post = (overrides: Parameters<typeof posting>[0]) =>
  transaction(database.pool, (tx) => postBatch(tx, [posting(overrides)], SETTINGS, new Date()));

async function balance(customerId: string, currency = 'USD'): Promise<number | undefined> {
  const wallets = await readWallets(autocommit(database.pool), [MERCHANT], [customerId]);
  return wallets.find((wallet) => wallet.currency === currency)?.balance;
}

describe('the ledger on Postgres', () => {
  it('lets exactly 30 of 200 racing debits of 10 spend a wallet of 300, in 200 transactions', async () => {
    const customerId = 'cus_race';
    await post({ customerId, amountMinor: 300 });
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, () => post({ customerId, amountMinor: 10, isCredit: false })),
    );
    expect(outcomes.flat().filter((outcome) => outcome.kind === 'created')).toHaveLength(30);
    expect(await balance(customerId)).toBe(0);
  });

  it('does the same through the lanes, in few transactions', async () => {
    const customerId = 'cus_race';
    await lanes.post(posting({ customerId, amountMinor: 300 }));
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, () => lanes.post(posting({ customerId, amountMinor: 10, isCredit: false }))),
    );
    expect(outcomes.filter((outcome) => outcome.kind === 'created')).toHaveLength(30);
    const refused = outcomes.filter((outcome) => outcome.kind === 'refused');
    expect(refused.every((outcome) => outcome.refusal.code === 'INSUFFICIENT_WALLET_FUNDS')).toBe(true);
  });

  it('writes one entry for 100 racing requests under one key, and gives each of them that entry', async () => {
    const request = posting({ customerId: 'cus_keys', amountMinor: 5, idempotencyKey: 'once' });
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () =>
        transaction(database.pool, (tx) => postBatch(tx, [request], SETTINGS, new Date())),
      ),
    );
    const entries = outcomes.flat().map((outcome) => (outcome.kind === 'refused' ? null : outcome.entry.seq));
    expect(new Set(entries).size).toBe(1);
    expect(outcomes.flat().filter((outcome) => outcome.kind === 'created')).toHaveLength(1);
    expect(await balance('cus_keys')).toBe(5);
  });

  it('gives one of two racing requests under one key but in two currencies the key, and refuses the other', async () => {
    const customerId = 'cus_keys';
    const newLanes = () =>
      new LedgerLanes({ pool: database.pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} });
    const processes = [newLanes(), newLanes()];
    for (let round = 0; round < 20; round += 1) {
      const both = ['USD', 'INR'].map((currency) =>
        posting({ customerId, currency, amountMinor: 7, idempotencyKey: `two-wallets-${round}` }),
      );
      const outcomes = await Promise.all(both.map((one, index) => processes[index]?.post(one)));
      expect(outcomes.map((outcome) => outcome?.kind).toSorted()).toEqual(['created', 'refused']);
    }
  });

  it('lets one held wallet hold up nobody else for long', async () => {
    const holder = await database.pool.connect();
    await holder.query('begin');
    await holder.query("select 1 from wallet where customer_id = 'cus_solo' for update");
    const held = lanes.post(posting({ customerId: 'cus_solo', amountMinor: 1 })).catch((error: unknown) => error);
    const customers = ['cus_a', 'cus_b', 'cus_c', 'cus_d'];
    const others = await Promise.all(
      customers.map((customerId) => lanes.post(posting({ customerId, amountMinor: 1 }))),
    );
    expect(others.every((outcome) => outcome.kind === 'created')).toBe(true);
    expect(await held).toMatchObject({ code: '55P03' });
    await holder.query('rollback');
    holder.release();
  });

  it('does not deadlock when batches name the same wallets in opposite orders', async () => {
    const customers = ['cus_a', 'cus_b', 'cus_c', 'cus_d'];
    const before = await Promise.all(customers.map((customerId) => balance(customerId)));
    const batch = customers.map((customerId) => posting({ customerId, amountMinor: 1 }));
    const batches = Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? batch : batch.toReversed()));
    await Promise.all(
      batches.map((postings) => transaction(database.pool, (tx) => postBatch(tx, postings, SETTINGS, new Date()))),
    );
    expect(await Promise.all(customers.map((customerId) => balance(customerId)))).toEqual(
      before.map((held = 0) => held + 60),
    );
  });

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
        SETTINGS,
        new Date(),
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
      postBatch(tx, [posting({ customerId: 'cus_solo', currency: 'EUR', amountMinor: 9 })], settings, new Date()),
    );
    expect(outcome?.kind).toBe('created');
    expect(await balance('cus_solo', 'EUR')).toBe(9);
  });

  it.each([
    'update entry set amount = amount + 1',
    'delete from entry',
    'truncate entry cascade',
    'update wallet_alert set balance = 0',
    'delete from wallet_alert',
  ])('refuses to change history: %s', async (statement) => {
    await expect(database.pool.query(statement)).rejects.toThrow('is insert-only');
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
      await postBatch(tx, [posting({ customerId: 'cus_c', amountMinor: 50 })], SETTINGS, new Date());
      throw new Error('stop');
    });
    await expect(failing).rejects.toThrow('stop');
    expect(await balance('cus_c')).toBe(before);
  });
});
