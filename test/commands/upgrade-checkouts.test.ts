import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DUE_CHECKOUTS } from '../../src/checkouts/expire.ts';
import { cancelCheckout } from '../../src/checkouts/manage.ts';
import { systemClock } from '../../src/clock.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { transaction } from '../../src/db/transaction.ts';
import type { Checkout } from '../../src/ledger/checkouts/checkout.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { checkoutNow, openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { runMigrations } from '../support/release-before.ts';
import { stripePayment } from '../support/signing.ts';

/**
 * A database as it was with checkouts and without schedules that charge, in which checkouts are open, brought to this release. What opens
 * one has written the same columns since there are checkouts.
 */

const HOUR_MS = 3_600_000;

/** As many migrations as there are up to each. */
describe.each([
  ['the first migration of checkouts', 54],
  ['the last one before schedules that charge', 59],
])('checkouts that are open at %s', (_, migrations) => {
  let database: TestDatabase;
  let inbox: TestInbox;
  let paid: Checkout;
  let left: Checkout;
  let cancelled: Checkout;

  beforeAll(async () => {
    database = await createTestDatabase(20, 'template1');
    await runMigrations(database, migrations);
    const customers = await makeCustomers(database.pool, ['pays', 'leaves', 'cancels']);
    const credits = customers.map((customerId) => posting({ customerId, amountMinor: 2000 }));
    const before = new Date(Date.now() - HOUR_MS);
    await transaction(database.pool, (tx) => postBatch(tx, credits, { ...SETTINGS, now: before }));
    const [pays = '', leaves = '', cancels = ''] = customers;
    paid = await openAt(database.pool, opening(pays, 5000));
    left = await openAt(database.pool, opening(leaves, 5000), before);
    cancelled = await openAt(database.pool, opening(cancels, 5000));
    await migrate(database.ownerUrl, createLogger('silent', 'test'));
    inbox = await startInbox(database, { sources: [testSource('stripe')] });
  });
  afterAll(async () => {
    await expectBooksToAgree(database.pool);
    await inbox.stop();
    await database.drop();
  });

  const standing = async (checkout: Checkout) => {
    const { state, captured, uncollected } = await checkoutNow(database.pool, checkout);
    const { rows } = await database.pool.query<{ balance: number; held: number }>(
      "select balance, held from wallet where customer_id = $1 and currency = 'USD'",
      [checkout.customerId],
    );
    return { state, captured, uncollected, ...rows[0] };
  };
  const pay = ({ customerId, checkoutId }: Checkout, paymentId: string) => {
    const metadata = { wallet_customer_id: customerId, wallet_checkout_id: checkoutId };
    const event = stripePayment({ paymentId, amount: 3000, currency: 'usd', metadata });
    return inbox.play([event, event]);
  };

  it('are left as they are by the upgrade itself, which posts nothing', async () => {
    for (const one of [paid, left, cancelled])
      expect(await standing(one)).toEqual({ state: 'open', captured: 0, uncollected: 0, balance: 2000, held: 2000 });
    expect((await database.pool.query('select count(*) from entry')).rows).toEqual([{ count: 3 }]);
  });

  it('are completed once by their payment', async () => {
    await pay(paid, 'pi_upgraded');
    expect(await standing(paid)).toEqual({ state: 'completed', captured: 2000, uncollected: 0, balance: 0, held: 0 });
  });

  it('are ended in time, and completed by a payment that comes later', async () => {
    const services = {
      ...{ pool: database.pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} },
      ...{ signal: new AbortController().signal, logger: createLogger('silent', 'test') },
    };
    await settleAllDue(services, DUE_CHECKOUTS);
    expect(await standing(left)).toMatchObject({ state: 'expired', balance: 2000, held: 0 });
    expect(await standing(cancelled)).toMatchObject({ state: 'open', held: 2000 });
    await pay(left, 'pi_late');
    expect(await standing(left)).toEqual({ state: 'completed', captured: 2000, uncollected: 0, balance: 0, held: 0 });
  });

  it('may be cancelled', async () => {
    await transaction(database.pool, (tx) => cancelCheckout(tx, cancelled, { ...SETTINGS, now: new Date() }));
    expect(await standing(cancelled)).toMatchObject({ state: 'cancelled', balance: 2000, held: 0 });
  });
});
