import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeRelease } from '../../src/db/installation.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import type { PlaceHold } from '../../src/ledger/holds/hold.ts';
import { sweepDueWallets } from '../../src/ledger/holds/sweep.ts';
import { type LedgerSettings, lockWallets, postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

const logger = createLogger('silent', 'test');
let database: TestDatabase;
let now = new Date('2026-03-01T12:00:00Z');
let wakes = 0;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const sweep = (settings: LedgerSettings = SETTINGS, { signal } = new AbortController()) => {
  const onPosted = () => {
    wakes += 1;
  };
  return sweepDueWallets({ pool: database.pool, settings, clock: { now: () => now }, onPosted, signal, logger });
};

const hold = (customerId: string, idempotencyKey = 'k', expiresInSeconds = 60): PlaceHold => ({
  ...{ op: 'place', merchantId: MERCHANT, customerId, currency: 'USD', amountMinor: 10, partial: false },
  ...{ expiresInSeconds, reason: null, referenceObjectId: null, metadata: null, idempotencyKey },
});

/** Customers with 100 each and a hold of 10. */
async function withHolds(names: readonly string[]): Promise<string[]> {
  const customers = await makeCustomers(database.pool, names);
  const commands = customers.flatMap((customerId) => [posting({ customerId, amountMinor: 100 }), hold(customerId)]);
  await transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now }));
  return customers;
}

async function count(table: string): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(`select count(*)::int as count from ${table}`);
  return rows[0]?.count ?? -1;
}

const pass = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

describe('the sweep of wallets in which something ends', () => {
  it('ends every hold that is over, page after page, once, and leaves nothing on its list', async () => {
    await withHolds(Array.from({ length: 450 }, (_, index) => `many${index}`));
    expect(await sweep()).toBe(0);
    pass(60);
    expect(await sweep()).toBe(450);
    expect([await count('hold'), await count('wallet_due'), await count('wallet where held > 0')]).toEqual([0, 0, 0]);
    expect(await count("wallet_alert where kind = 'hold_expired'")).toBe(450);
    expect(wakes).toBe(1);
    expect(await sweep()).toBe(0);
    expect(await count('closed_hold')).toBe(450);
  });

  it('ends the holds of every other wallet where one cannot be settled, and that one when it can', async () => {
    const [broken = ''] = await withHolds(['broken', ...Array.from({ length: 3 }, (_, index) => `sound${index}`)]);
    pass(60);
    const corrupt = (by: number) =>
      database.pool.query(
        "update wallet set open_holds = open_holds + $2, hold_seq = hold_seq + $2 where customer_id = $1 and currency = 'USD'",
        [broken, by],
      );
    await corrupt(1);
    expect(await sweep()).toBe(4);
    expect(await count('hold')).toBe(1);
    await corrupt(-1);
    expect(await sweep()).toBe(1);
    expect([await count('hold'), await count('wallet_due')]).toEqual([0, 0]);
  });

  it('reads as many holds at once as a page may have, however many wallets they are in', async () => {
    const customers = await withHolds(Array.from({ length: 7 }, (_, index) => `full${index}`));
    const more = customers.flatMap((customerId) =>
      Array.from({ length: 899 }, (_, index) => ({ ...hold(customerId, `m${index}`), amountMinor: 1, partial: true })),
    );
    await transaction(database.pool, (tx) =>
      postBatch(
        tx,
        customers.map((customerId) => posting({ customerId, amountMinor: 900 })),
        { ...SETTINGS, now },
      ),
    );
    await transaction(database.pool, (tx) => postBatch(tx, more, { ...SETTINGS, now }));
    pass(60);
    expect(await sweep()).toBe(7);
    expect(await count("(select distinct xmin::text from closed_hold where customer_id like '%full%') t")).toBe(2);
    expect(await count('hold')).toBe(0);
  });

  it('ends what is over also in a currency that is not configured any more', async () => {
    const [customer = ''] = await withHolds(['waiting']);
    pass(60);
    expect(await sweep({ ...SETTINGS, currencies: new Set(['INR']) })).toBe(1);
    expect([await count(`hold where customer_id = '${customer}'`), await count('wallet_due')]).toEqual([0, 0]);
  });

  it('looks at a wallet once more whose hold ended early, and takes it off the list', async () => {
    const [customer = ''] = await withHolds(['early']);
    const key = { merchantId: MERCHANT, customerId: customer, currency: 'USD', holdNo: 1 };
    const release = { ...key, op: 'release', reason: null } as const;
    await transaction(database.pool, (tx) => postBatch(tx, [release], { ...SETTINGS, now }));
    expect(await count('wallet_due')).toBe(1);
    pass(60);
    await sweep();
    expect([await count('wallet_due'), await count(`wallet_alert where customer_id = '${customer}'`)]).toEqual([0, 0]);
  });

  it('has nothing to end before the release is closed, since no hold is placed', async () => {
    const [customer = ''] = await withHolds(['upgraded']);
    const clock = { now: () => now };
    const ledger = new LedgerBatches({ pool: database.pool, settings: SETTINGS, clock, onPosted: () => {} });
    await database.pool.query("update installation set holds_from = now() + interval '7 days'");
    const refused = { kind: 'refused', refusal: { code: 'HOLDS_NOT_YET' } };
    expect(await ledger.hold(hold(customer, 'early'))).toEqual(refused);
    await closeRelease(autocommit(database.pool), 'once');
    expect(await ledger.hold(hold(customer, 'early'))).toMatchObject({ kind: 'placed' });
    await ledger.drain();
    pass(60);
    await sweep();
  });

  it('ends on the way what a reader of balances finds', async () => {
    const [customer = ''] = await withHolds(['read']);
    const clock = { now: () => now };
    const ledger = new LedgerBatches({ pool: database.pool, settings: SETTINGS, clock, onPosted: () => {} });
    const usd = async () => {
      const wallets = await ledger.wallets(MERCHANT, customer);
      const { balance, held } = wallets.find(({ currency }) => currency === 'USD') ?? {};
      return [balance, held];
    };
    expect(await usd()).toEqual([100, 10]);
    pass(60);
    // As it is stored, while somebody keeps the wallet.
    await transaction(database.pool, async (tx) => {
      await lockWallets(tx, [{ merchantId: MERCHANT, customerId: customer, currency: 'USD' }], { ...SETTINGS, now });
      expect(await usd()).toEqual([100, 10]);
    });
    expect(await usd()).toEqual([100, 0]);
    expect(await count('wallet_due')).toBe(0);
    await ledger.drain();
  });
});
