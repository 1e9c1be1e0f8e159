import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { checkLowBalances } from '../../src/ledger/low-balance/scan.ts';
import { type LedgerSettings, postBatch } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, makeCustomers, posting, RULE, SETTINGS } from '../support/ledger.ts';

let database: TestDatabase;
let now = new Date('2026-03-01T12:00:00Z');
const later = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a', 'b', 'c', 'd', 'e']);
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await database.drop();
});

const scan = (settings: LedgerSettings = SETTINGS) =>
  checkLowBalances({ pool: database.pool, settings, clock: { now: () => now }, onPosted: () => {} });
const post = (customerId: string, amountMinor: number, isCredit: boolean) =>
  transaction(database.pool, (tx) => postBatch(tx, [posting({ customerId, amountMinor, isCredit })], SETTINGS, now));

async function alerts(customerId: string): Promise<string[]> {
  const { rows } = await database.pool.query<{ kind: string; reminder: boolean }>(
    'select kind, reminder from wallet_alert where customer_id = $1 order by alert_seq',
    [customerId],
  );
  return rows.map((row) => (row.reminder ? `${row.kind} again` : row.kind));
}

describe('the scan for low balances', () => {
  it('says nothing of wallets that never held credit, and nothing twice of those that postings spoke of', async () => {
    await post('cus_a', 2000, true);
    await post('cus_a', 1500, false);
    expect(await alerts('cus_a')).toEqual(['low']);
    expect((await scan()).alerts).toBe(0);
    expect(await alerts('cus_b')).toEqual([]);
  });

  it('does not call a small welcome gift low, until it is spent from', async () => {
    await post('cus_e', 500, true);
    await scan();
    expect(await alerts('cus_e')).toEqual([]);
    await post('cus_e', 100, false);
    expect(await alerts('cus_e')).toEqual(['low']);
  });

  it('finds what a changed threshold makes low, and its recovery', async () => {
    await post('cus_b', 5000, true);
    await database.pool.query(
      "update wallet set low_threshold = 6000 where customer_id = 'cus_b' and currency = 'USD'",
    );
    await scan();
    await scan();
    expect(await alerts('cus_b')).toEqual(['low']);
    await database.pool.query(
      "update wallet set low_threshold = 4600 where customer_id = 'cus_b' and currency = 'USD'",
    );
    await scan();
    // 5000 is above the threshold, but not by the margin of 10 per cent: it would hover.
    expect(await alerts('cus_b')).toEqual(['low']);
    await database.pool.query(
      "update wallet set low_threshold = 4000 where customer_id = 'cus_b' and currency = 'USD'",
    );
    await scan();
    expect(await alerts('cus_b')).toEqual(['low', 'recovered']);
  });

  it('raises the alert that the minimum interval held back, once the interval is over', async () => {
    await post('cus_c', 2000, true);
    await post('cus_c', 1500, false);
    await post('cus_c', 1500, true);
    await post('cus_c', 1500, false);
    expect(await alerts('cus_c')).toEqual(['low', 'recovered']);
    later(RULE.minIntervalSeconds - 60);
    expect((await scan()).alerts).toBe(0);
    later(120);
    await scan();
    expect(await alerts('cus_c')).toEqual(['low', 'recovered', 'low']);
  });

  it('reminds of a balance that stays low, if it is asked to', async () => {
    await post('cus_d', 2000, true);
    await post('cus_d', 1990, false);
    expect(await alerts('cus_d')).toEqual(['low']);
    later(7 * 86_400);
    await scan();
    expect(await alerts('cus_d')).toEqual(['low']);
    await scan({ ...SETTINGS, rule: { ...RULE, reminderSeconds: 86_400 } });
    expect(await alerts('cus_d')).toEqual(['low', 'low again']);
  });
});
