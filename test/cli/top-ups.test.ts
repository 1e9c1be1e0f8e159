import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { begin } from '../../src/top-ups/begin.ts';
import { putRule } from '../../src/top-ups/manage.ts';
import { readRule } from '../../src/top-ups/store.ts';
import { failure, startTestCli, type TestCli } from '../support/cli.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

let cli: TestCli;
let chokin: TestCli['chokin'];
let json: TestCli['json'];

beforeAll(async () => {
  cli = await startTestCli();
  ({ chokin, json } = cli);
  await makeCustomers(cli.database.pool, ['ada', 'bob']);
});

afterAll(async () => {
  await expectBooksToAgree(cli.database.pool);
  await cli.close();
});

const key = { merchantId: MERCHANT, customerId: 'cus_ada', currency: 'USD' };

/** A rule by which `cus_ada` is charged by the merchant, and a balance below its threshold. */
async function lowWithRule(): Promise<void> {
  const now = new Date();
  const { pool } = cli.database;
  const credit = posting({ customerId: 'cus_ada', amountMinor: 400 });
  await transaction(pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now }));
  const rule = {
    ...({ enabled: true, threshold: 1000, mode: 'amount', amount: 2000, target: null, maxCharge: 2000 } as const),
    ...{ monthlyCap: 20_000, maxPerDay: 10, minIntervalSeconds: 60, timeZone: 'UTC', payment: null, source: null },
    consent: { acceptedAt: now, textVersion: '1' },
  };
  await transaction(pool, (tx) => putRule(tx, { ...key, ...rule }, { currencies: SETTINGS.currencies, now }));
}

/** A top-up that the merchant is asked for, as the worker asks. @returns its id */
async function requested(now = new Date()): Promise<string> {
  const { pool } = cli.database;
  const looked = { key, method: null, askedFor: null, isProven: false, gatewayMinimum: 0, now };
  await transaction(pool, (tx) => begin(tx, looked));
  const { rows } = await pool.query<{ topup_id: string }>(
    "select topup_id from topup where customer_id = 'cus_ada' order by created_at desc limit 1",
  );
  return rows[0]?.topup_id ?? '';
}

describe('chokin top-ups', { timeout: 180_000 }, () => {
  it('lists and shows top-ups and the rule of a wallet, says that one failed, and resumes', async () => {
    await lowWithRule();
    const id = await requested();
    // Each command is a process of its own, which takes a while where others work too.
    const [list, other, shown, one, rule, none, nobody, noRule] = await Promise.all([
      chokin('top-ups list cus_ada USD'),
      json('top-ups list cus_ada USD --status declined'),
      chokin(`top-ups show ${id}`),
      json(`top-ups show ${id}`),
      chokin('top-ups rule cus_ada USD'),
      chokin('top-ups show top_none'),
      chokin('top-ups list cus_nobody USD'),
      chokin('top-ups rule cus_bob USD'),
    ]);
    expect(list).toMatchObject({ code: 0, err: '' });
    expect(list.out).toMatch(new RegExp(`^${id} +requested +20\\.00 USD`, 'm'));
    expect(other).toEqual({ items: [] });
    expect(shown.out).toMatch(/^status +requested$/m);
    expect(shown.out).toMatch(/^amount +20\.00 USD$/m);
    expect(one).toMatchObject({ topup_id: id, status: 'requested', amount: 2000, origin: 'threshold' });
    expect(rule.out).toMatch(/^status +active$/m);
    expect(rule.out).toMatch(/^this month +20\.00 USD of 200\.00 USD$/m);
    expect(rule.out).toMatch(new RegExp(`^under way +${id}$`, 'm'));
    expect(none).toMatchObject(failure(/^error: The wallet has no such top-up\./));
    expect(nobody).toMatchObject(failure(/^error: There is no customer cus_nobody\./));
    expect(noRule).toMatchObject(failure(/^error: The wallet has no top-up rule\./));

    const failed = await chokin(`top-ups fail ${id} --code do_not_honor`);
    expect(failed.out).toMatch(/^status +declined$/m);
    expect(failed.out).toMatch(/^decline +do_not_honor$/m);
    expect(await chokin(`top-ups fail ${id}`)).toMatchObject(failure(/this one is declined\.$/m));
    const second = await requested(new Date(Date.now() + 2 * 3_600_000));
    expect(second).not.toBe(id);
    expect((await chokin(`top-ups fail ${second} --hard`)).code).toBe(0);
    const suspended = await chokin('top-ups rule cus_ada USD');
    expect(suspended.out).toMatch(/^status +suspended$/m);
    expect(suspended.out).toMatch(/^why +declined$/m);
    expect(await json('top-ups resume cus_ada USD')).toMatchObject({ status: 'active', failures_in_a_row: 0 });
    expect(await readRule(autocommit(cli.database.pool), key)).toMatchObject({ suspendedReason: null });
    const { rows } = await cli.database.pool.query<{ event_type: string }>(
      "select event_type from unsent_message where event_type like 'topup.%' order by since, message_id",
    );
    const told = rows.map((row) => row.event_type);
    expect(told.toSorted()).toEqual(
      [
        'topup.requested',
        'topup.failed',
        'topup.requested',
        'topup.failed',
        'topup.suspended',
        'topup.resumed',
      ].toSorted(),
    );
  });
});
