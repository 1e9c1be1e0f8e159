import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { eventsOfPayment } from '../../src/inbox/events.ts';
import { paymentLife } from '../../src/payments/life.ts';
import { settleItems } from '../../src/reconciliation/item-store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import type { TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT } from '../support/ledger.ts';
import { createDatabaseOfReleaseBefore } from '../support/release-before.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';

/** A database of the release before, brought to this one. Whatever it was told before, it is told again. */

const sources = [testSource('stripe', { metadata: 'all' }), testSource('dodo', { metadata: 'all' })];
const metadata = { wallet_customer_id: 'cus_ann' };

let database: TestDatabase;
let app: TestApp;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createDatabaseOfReleaseBefore();
  await migrate(database.ownerUrl, createLogger('silent', 'test'));
  app = await startTestApp({ database });
  inbox = await startInbox(database, { sources });
});
afterAll(async () => {
  await inbox.stop();
  await app.close();
});

async function rowsOf<Row>(sql: string): Promise<Row[]> {
  const { rows } = await database.pool.query(sql);
  return rows;
}

/** The keys of all entries that a payment caused, as they are stored, by what caused them in order. */
async function keysOf(paymentId: string): Promise<readonly (string | null)[]> {
  const [life] = await paymentLife(autocommit(database.pool), MERCHANT, paymentId);
  return life?.entries.map((entry) => entry.idempotencyKey) ?? [];
}

const BOOKS = `select customer_id, currency, seq, amount, is_credit, event_type, after_balance, idempotency_key
  from entry order by customer_id, currency, seq`;

it('the books agree, by every rule of the audit', async () => {
  expect(await rowsOf('select distinct key_version from payment')).toEqual([{ key_version: 1 }]);
  await expectBooksToAgree(database.pool);
});

it('what an event did is unknown if the release before applied it, and its words stay', async () => {
  const key = { merchantId: MERCHANT, sourceId: 'src_stripe', paymentId: 'pi_quicker' };
  const events = await eventsOfPayment(autocommit(database.pool), key);
  expect(events).toMatchObject([
    { origin: 'reconciliation', effect: 'none', detail: 'everything it says was known by the time it was applied' },
    { origin: 'webhook', effect: null, detail: null },
  ]);
  const { body } = await app.call('GET', '/payments/pi_topup');
  expect(body.items[0].events[0]).toMatchObject({ status: 'applied', effect: null });
});

it('a comparison under way still knows whose webhook was quicker, and what it healed', async () => {
  const [run] = await rowsOf<{ run_id: string }>('select run_id from reconciliation');
  const key = { merchantId: MERCHANT, runId: run?.run_id ?? '' };
  const settled = await transaction(database.pool, (tx) => settleItems(tx, key));
  expect(settled).toMatchObject([{ objectId: 'pi_lost', outcome: 'healed' }]);
  expect(await rowsOf('select matched from reconciliation')).toEqual([{ matched: 1 }]);
});

it('every entry of a payment is found by its key', async () => {
  expect(await keysOf('pi_topup')).toEqual([
    'src_stripe:payment_pi_topup',
    'src_stripe:refund_pi_topup_re_one',
    'src_stripe:refund_pi_topup_re_one#2',
    'src_stripe:refund_pi_topup_re_two',
  ]);
  expect(await keysOf('pi_a_b#2')).toEqual(['src_stripe:payment_pi_a_b#2', 'src_stripe:refund_pi_a_b#2_re:c_d']);
});

it('every delivery told again changes nothing, byte for byte or as another event', async () => {
  const before = await rowsOf(BOOKS);
  const deliveries = await rowsOf<{ source_id: string; body: Buffer }>(
    "select source_id, body from provider_event where origin = 'webhook' order by event_id",
  );
  expect(deliveries.length).toBeGreaterThan(15);
  const since = new Date();
  for (const [index, { source_id, body }] of deliveries.entries()) {
    const told = body.toString();
    const toldAnew = JSON.stringify({ ...JSON.parse(told), id: `evt_again_${index}` });
    await inbox.play(
      [told, toldAnew],
      sources.find(({ sourceId }) => sourceId === source_id),
    );
  }
  expect(await rowsOf(BOOKS)).toEqual(before);
  const { rows: again } = await database.pool.query(
    'select state, effect, count(*) as count from provider_event where received_at >= $1 group by 1, 2 order by 1, 2',
    [since],
  );
  const states = Map.groupBy(again, ({ state }) => state);
  expect(states.get('applied')).toEqual([{ state: 'applied', effect: 'none', count: expect.any(Number) }]);
  expect([...states.keys()].sort()).toEqual(['applied', 'ignored', 'parked', 'waiting']);
  await expectBooksToAgree(database.pool);
});

it('every key of a request told again answers 409 with its entry, and 422 with other input', async () => {
  const before = await rowsOf(BOOKS);
  const keyed = await rowsOf<{ key: string; seq: number; is_credit: boolean }>(
    `select substr(idempotency_key, 5) as key, currency, amount, is_credit, reason, reference_object_id, metadata, seq
     from entry where idempotency_key like 'api:%'`,
  );
  expect(keyed.map(({ key }) => key).sort()).toEqual(
    ['welcome', 'call-7f3a', 'payroll/0', 'src_stripe:payment_pi_topup', 'ключ 🔑 #2_%3A\\'].sort(),
  );
  for (const { key, is_credit, seq, ...rest } of keyed) {
    const body = { ...rest, idempotency_key: key, entry_type: is_credit ? 'credit' : 'debit' };
    const path = '/customers/cus_ann/wallets/ledger-entries';
    expect(await app.call('POST', path, body)).toMatchObject({
      status: 409,
      body: { code: 'IDEMPOTENCY_KEY_EXISTS', entry: { seq, idempotency_key: key } },
    });
    expect(await app.call('POST', path, { ...body, amount: 1 })).toMatchObject({
      status: 422,
      body: { code: 'IDEMPOTENCY_KEY_REUSED' },
    });
  }
  expect(await rowsOf(BOOKS)).toEqual(before);
});

it('the payments of before go on under keys as they had them, and new ones have keys of this release', async () => {
  await inbox.play([
    stripeRefund({ paymentId: 'pi_topup', refundId: 're_three', amount: 500, status: 'succeeded' }),
    stripeRefund({ type: 'failed', paymentId: 'pi_topup', refundId: 're_two', amount: 1500, status: 'failed' }),
    stripeDispute({ type: 'closed', paymentId: 'pi_open', disputeId: 'du_later', amount: 800, status: 'lost' }),
    // The refund that waited is older than the upgrade, so its payment is too.
    stripePaymentSucceeded({ paymentId: 'pi_early', amount: 700, metadata }),
    stripePaymentSucceeded({ paymentId: 'pi_new', amount: 1000, metadata }),
    stripeRefund({ paymentId: 'pi_new', refundId: 're_new', amount: 100, status: 'succeeded' }),
  ]);
  expect((await keysOf('pi_topup')).slice(4)).toEqual([
    'src_stripe:refund_pi_topup_re_three',
    'src_stripe:refund_pi_topup_re_two#2',
  ]);
  expect((await keysOf('pi_open')).slice(1)).toEqual(['src_stripe:dispute_pi_open_du_later']);
  expect(await keysOf('pi_early')).toEqual(['src_stripe:payment_pi_early', 'src_stripe:refund_pi_early_re_early']);
  expect(await keysOf('pi_new')).toEqual(['src_stripe:payment:pi_new', 'src_stripe:refund:pi_new:re_new']);
  await expectBooksToAgree(database.pool);
});

it('what a process of the release before posts meanwhile for a payment of this one is found, and not posted twice', async () => {
  await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_meanwhile', amount: 1000, metadata })]);
  const refund = { paymentId: 'pi_meanwhile', refundId: 're_meanwhile', amount: 300 };
  // It reads no version, and writes keys as it always did.
  const setVersion = (version: number) =>
    database.pool.query("update payment set key_version = $1 where payment_id = 'pi_meanwhile'", [version]);
  await setVersion(1);
  await inbox.play([stripeRefund({ ...refund, status: 'succeeded' })]);
  await setVersion(2);
  await expectBooksToAgree(database.pool);
  await inbox.play([
    stripeRefund({ ...refund, status: 'succeeded' }),
    stripeRefund({ ...refund, type: 'failed', status: 'failed' }),
  ]);
  expect(await keysOf('pi_meanwhile')).toEqual([
    'src_stripe:payment:pi_meanwhile',
    'src_stripe:refund_pi_meanwhile_re_meanwhile',
    'src_stripe:refund:pi_meanwhile:re_meanwhile#2',
  ]);
  await expectBooksToAgree(database.pool);
});
