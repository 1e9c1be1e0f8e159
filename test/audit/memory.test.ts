import { afterAll, beforeAll, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, type Queryable, transaction } from '../../src/db/transaction.ts';
import { newId } from '../../src/ids.ts';
import { storeEvents } from '../../src/inbox/store-events.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyDueOnce, startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { makeCustomers, RULE } from '../support/ledger.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';

/** A merchant may sign as many events of one payment as it likes, each of a megabyte; the audit reads all of them again. */
const EVENTS = 20;
const MEGABYTE = 1_000_000;

const source = testSource('stripe');
let database: TestDatabase;
let inbox: TestInbox;
beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database, { sources: [source], works: false });
});
afterAll(async () => {
  await inbox.stop();
  await database.drop();
});

/** Notes the most bytes of bodies that came with one statement. */
function weighing(db: Queryable): { readonly db: Queryable; readonly most: () => number } {
  let most = 0;
  const queryArrays: Queryable['queryArrays'] = async (statement, values) => {
    const result = await db.queryArrays(statement, values);
    const bytes = result.rows
      .flat()
      .reduce<number>((sum, value) => sum + (value instanceof Buffer ? value.length : 0), 0);
    most = Math.max(most, bytes);
    return result;
  };
  return { db: { query: (statement, values) => db.query(statement, values), queryArrays }, most: () => most };
}

it('the audit never holds more than a few bodies, however many a payment has', async () => {
  const [customerId = ''] = await makeCustomers(database.pool, ['ada']);
  const { merchantId, sourceId } = source;
  for (let n = 0; n < EVENTS; n += 1) {
    const metadata = { wallet_customer_id: customerId };
    const eventId = newId('event');
    const body = stripePaymentSucceeded({ eventId: `evt_${n}`, paymentId: 'pi_large', amount: 100, metadata });
    const state = { state: 'pending', detail: null, receivedAt: new Date(), origin: 'webhook' } as const;
    const about = { provider: 'stripe', deliveryKey: eventId, eventType: 'payment_intent.succeeded' };
    const event = { eventId, merchantId, sourceId, ...about, ...state, body: Buffer.from(body + ' '.repeat(MEGABYTE)) };
    await transaction(inbox.services.pool, (tx) => storeEvents(inbox.boss, tx, [event]));
  }
  while ((await applyDueOnce(inbox.services, 250)).length > 0);
  const { rows } = await database.pool.query("select count(*)::int as n from provider_event where state = 'applied'");
  expect(rows).toEqual([{ n: EVENTS }]);

  const { db, most } = weighing(autocommit(database.pool));
  expect((await audit(db, { rule: RULE })).disagreements).toEqual([]);
  expect(most()).toBeGreaterThan(MEGABYTE);
  expect(most()).toBeLessThanOrEqual(8 * 1024 * 1024);
});
