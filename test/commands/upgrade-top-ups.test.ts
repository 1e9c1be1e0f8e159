import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { transaction } from '../../src/db/transaction.ts';
import { newId } from '../../src/ids.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { failTopUp } from '../../src/top-ups/manage.ts';
import { opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { runMigrations } from '../support/release-before.ts';
import { stripePayment } from '../support/signing.ts';
import { TopUpRig } from '../support/top-up-rig.ts';

/**
 * A database as it was with top-ups and without checkouts, whose top-ups are under way, brought to this release while a worker of then may
 * still run.
 */

/** As many migrations as there are up to 0070. */
const MIGRATIONS = 53;
const START = new Date('2026-03-10T12:00:00Z');
const STATES = ['requested', 'charging', 'unknown', 'charged', 'processing'] as const;

let database: TestDatabase;
let rig: TopUpRig;

const keyOf = (state: string): WalletKey => ({ merchantId: MERCHANT, customerId: `cus_${state}`, currency: 'USD' });
const topUpIds = new Map(STATES.map((state) => [state, newId('topUp')]));
const idOf = (state: (typeof STATES)[number]) => topUpIds.get(state) ?? '';

/** Rows as a release of then wrote them: of the columns that there were. */
async function writeRows(table: 'topup' | 'topup_rule' | 'topup_due', row: Record<string, unknown>): Promise<void> {
  const names = Object.keys(row);
  const marks = names.map((_, index) => `$${index + 1}`);
  await database.pool.query(
    `insert into ${table} (${names.join(', ')}) values (${marks.join(', ')})`,
    Object.values(row),
  );
}

const requestOf = (state: (typeof STATES)[number]) => ({
  ...{ amount: 2000, currency: 'USD', customerId: `cus_s_${state}`, methodId: `pm_${state}` },
  metadata: { wallet_customer_id: `cus_${state}`, wallet_purpose: 'topup', wallet_topup_id: idOf(state) },
});

async function writeTopUp(state: (typeof STATES)[number]): Promise<void> {
  const { merchantId: merchant_id, customerId: customer_id, currency } = keyOf(state);
  const isAsked = state !== 'requested';
  const payment = isAsked ? { source_id: 'src_stripe', provider_customer_id: `cus_s_${state}` } : {};
  await writeRows('topup_rule', {
    ...{ merchant_id, customer_id, currency, enabled: true, threshold: 1000, mode: 'amount', amount: 2000 },
    ...{ max_charge: 2000, monthly_cap: 20_000, max_per_day: 3, min_interval_seconds: 600, time_zone: 'UTC' },
    ...payment,
    ...{
      consent_at: START,
      consent_text: '1',
      failures_in_a_row: 0,
      blocks: '{}',
      created_at: START,
      updated_at: START,
    },
  });
  await writeRows('topup', {
    ...{ merchant_id, customer_id, currency, topup_id: idOf(state), origin: 'threshold', state, amount: 2000 },
    source_id: isAsked ? 'src_stripe' : null,
    payment_id: state === 'charged' || state === 'processing' ? `pi_${state}` : null,
    ...(isAsked ? { request: JSON.stringify(requestOf(state)), request_hash: Buffer.alloc(32, 1) } : {}),
    ...{ cap: 20_000, month_since: '2026-03-01T00:00:00Z', is_late: false, asked_at: isAsked ? START : null },
    ...{ look_at: new Date(START.getTime() + (isAsked ? 60_000 : 86_400_000)), created_at: START },
  });
  await writeRows('topup_due', {
    ...{ merchant_id, customer_id, currency, since: START, retry_at: new Date(START.getTime() + 600_000) },
  });
  await database.pool.query("update wallet set topup_below = 1000 where customer_id = $1 and currency = 'USD'", [
    customer_id,
  ]);
}

beforeAll(async () => {
  database = await createTestDatabase(20, 'template1');
  await runMigrations(database, MIGRATIONS);
  await makeCustomers(database.pool, [...STATES]);
  const credits = STATES.map((state) => posting({ ...keyOf(state), amountMinor: 900 }));
  await transaction(database.pool, (tx) => postBatch(tx, credits, { ...SETTINGS, now: START }));
  for (const state of STATES) await writeTopUp(state);
  await migrate(database.ownerUrl, createLogger('silent', 'test'));
  rig = await TopUpRig.start({ database });
  rig.now = new Date(START.getTime() + 120_000);
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await rig.stop();
});

const standing = async (state: (typeof STATES)[number]) => {
  const { rows } = await database.pool.query(
    'select t.state, w.balance from topup t join wallet w using (merchant_id, customer_id, currency) where topup_id = $1',
    [idOf(state)],
  );
  return rows[0];
};

it('nothing is posted or begun by the upgrade itself', async () => {
  for (const state of STATES) expect(await standing(state)).toEqual({ state, balance: 900 });
  const { rows } = await database.pool.query('select count(*) from topup');
  expect(rows).toEqual([{ count: STATES.length }]);
});

it('checkouts wait until the last process of the release before has ended, and are opened from then on', async () => {
  const settings = { pool: database.pool, settings: SETTINGS, clock: { now: () => new Date() }, onPosted: () => {} };
  const ask = () => new LedgerBatches(settings).checkout(opening('cus_processing', 5000));
  expect(await ask()).toMatchObject({ refusal: { code: 'CHECKOUTS_NOT_YET' } });
  await migrate(database.ownerUrl, createLogger('silent', 'test'), { closeRelease: 'again' });
  expect(await ask()).toMatchObject({ kind: 'checkout_opened', checkout: { walletPart: 900, paymentPart: 4100 } });
});

it('what was under way goes on: asked for again under the same key, and charged once', async () => {
  for (const state of ['charging', 'unknown'] as const)
    rig.stripe.addMethod({ id: `pm_${state}`, customerId: `cus_s_${state}`, fingerprint: null });
  await Promise.all([rig.run(), rig.run()]);
  for (const state of ['charging', 'unknown'] as const) {
    expect(await standing(state)).toEqual({ state: 'charged', balance: 900 });
    expect(rig.stripe.intents.filter(({ customer }) => customer === `cus_s_${state}`)).toHaveLength(1);
    expect(rig.stripe.keys.filter((key) => key === idOf(state))).toHaveLength(1);
    await rig.tellPaid(keyOf(state));
  }
  for (const state of ['charged', 'processing'] as const) {
    const { metadata } = requestOf(state);
    const paid = { paymentId: `pi_${state}`, amount: 2000, currency: 'usd', metadata };
    await rig.inbox.play([stripePayment(paid), stripePayment(paid)]);
  }
  for (const state of ['charging', 'unknown', 'charged', 'processing'] as const)
    expect(await standing(state)).toEqual({ state: 'succeeded', balance: 2900 });
});

it('one that the merchant was asked for can be said to have failed, and a worker of then writes beside this one', async () => {
  const key = { ...keyOf('requested'), topUpId: idOf('requested') };
  const failure = { declineCode: null, isHard: false, now: rig.now };
  expect(await transaction(database.pool, (tx) => failTopUp(tx, key, failure))).toMatchObject({ state: 'declined' });
  // It claims, and puts off, by the columns that it knows.
  const due = "from topup_due where customer_id = 'cus_requested'";
  await database.pool.query("update topup_due set retry_at = $1 where customer_id = 'cus_requested'", [rig.now]);
  await rig.run();
  expect((await database.pool.query(`select retry_at > $1 as later ${due}`, [rig.now])).rows).toEqual([
    { later: true },
  ]);
  const { merchantId: merchant_id, customerId: customer_id, currency } = keyOf('requested');
  const topup_id = newId('topUp');
  await writeRows('topup', {
    ...{ merchant_id, customer_id, currency, topup_id, origin: 'threshold', state: 'requested', amount: 2000 },
    ...{ cap: 20_000, month_since: '2026-03-01T00:00:00Z', is_late: false, look_at: rig.now, created_at: rig.now },
  });
  const metadata = { wallet_customer_id: customer_id, wallet_purpose: 'topup', wallet_topup_id: topup_id };
  await rig.inbox.play([stripePayment({ paymentId: 'pi_then', amount: 2000, currency: 'usd', metadata })]);
  const { rows } = await database.pool.query('select state from topup where topup_id = $1', [topup_id]);
  expect(rows).toEqual([{ state: 'succeeded' }]);
  expect(await rig.inbox.balance(customer_id)).toBe(2900);
});
