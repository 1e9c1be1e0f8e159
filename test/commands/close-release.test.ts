import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { requeueStranded } from '../../src/inbox/recover-stranded.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { providerFixture, within } from '../support/provider-fixtures.ts';

/* What processes of the release before ignored, while they still ran beside this one. */

let database: TestDatabase;
let inbox: TestInbox;
const razorpay = testSource('razorpay');
const logger = createLogger('silent', 'test');

beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database, { sources: [razorpay] });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** An order that was paid, as the release before leaves it. */
async function ignoredOrder(paymentId: string, customerId: string, settledAt: string): Promise<void> {
  const order = providerFixture('razorpay', 'order.paid');
  within(order, 'payload', 'order', 'entity').notes = { wallet_customer_id: customerId };
  const body = JSON.stringify(order)
    .replaceAll(/pay_\w+/g, paymentId)
    .replaceAll('cus_gaurav', customerId);
  await database.pool.query(
    `insert into provider_event (event_id, merchant_id, source_id, provider, event_type, delivery_key, body, state, detail, received_at, settled_at)
     values ($1, $2, $3, 'razorpay', 'order.paid', $1, $4, 'ignored', 'not an event', ${settledAt}, ${settledAt})`,
    [`evt_${paymentId}`, razorpay.merchantId, razorpay.sourceId, Buffer.from(body)],
  );
}

it('is read again when that release is closed, once, and what was ignored before this release stays so', async () => {
  const [before = '', during = ''] = await makeCustomers(database.pool, ['ignored_before', 'ignored_during']);
  await database.pool.query("update schema_migration set run_on = run_on - interval '2 hours'");
  await database.pool.query('update installation set release_closed_at = null');
  await ignoredOrder('pay_before', before, "now() - interval '3 hours'");
  await ignoredOrder('pay_during', during, "now() - interval '1 hour'");
  await migrate(database.ownerUrl, logger, { closeRelease: 'once' });
  const services = { pool: database.pool, boss: inbox.boss, clock: inbox.services.clock, logger, waitSeconds: 900 };
  expect(await requeueStranded(services)).toEqual({ enqueued: 1, parked: 0 });
  await inbox.settled();
  const states = async () =>
    (await database.pool.query('select event_id, state from provider_event order by event_id')).rows.map(
      ({ event_id, state }) => `${event_id} ${state}`,
    );
  expect(await states()).toEqual(['evt_pay_before ignored', 'evt_pay_during applied']);
  expect(await inbox.balance(before, 'INR')).toBe(0);
  expect(await inbox.balance(during, 'INR')).toBeGreaterThan(0);
  // Each start of `npm start` says it again: it changes nothing.
  await ignoredOrder('pay_later', before, 'now()');
  await migrate(database.ownerUrl, logger, { closeRelease: 'once' });
  expect(await states()).toContain('evt_pay_later ignored');
});
