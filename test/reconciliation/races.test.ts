import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import type { Page, ProviderApi } from '../../src/providers/shared/api.ts';
import { reconcile, settleSecondsFor } from '../../src/reconciliation/reconcile.ts';
import type { ReconcileServices } from '../../src/reconciliation/services.ts';
import { startRun } from '../../src/reconciliation/start.ts';
import { getRun, lease } from '../../src/reconciliation/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { STRIPE_SECRET, stripePaymentSucceeded } from '../support/signing.ts';

/** Aims at two processes that meet over one run, and at news that arrive in the middle of it. */

let database: TestDatabase;
let inbox: TestInbox;
let pages: (() => Promise<Page>)[];
let services: ReconcileServices;

const api: ProviderApi = {
  kinds: ['payment'],
  list: () => pages.shift()?.() ?? Promise.resolve({ listed: [], next: null }),
  retrieve: async () => null,
};

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['races']);
  inbox = await startInbox(database);
  const config = loadConfig({ STRIPE_WEBHOOK_SECRET: STRIPE_SECRET, STRIPE_API_KEY: 'sk_test_races' });
  services = {
    pool: database.pool,
    boss: inbox.boss,
    clock: systemClock,
    logger: createLogger('silent', 'test'),
    sources: new SourceDirectory(config, BOX),
    connect: () => api,
    onPosted: () => {},
  };
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

const body = (paymentId: string) =>
  stripePaymentSucceeded({ paymentId, amount: 100, metadata: { wallet_customer_id: 'cus_races' } });
const listed = (paymentId: string) => ({
  kind: 'payment' as const,
  objectId: paymentId,
  state: 'succeeded',
  body: Buffer.from(body(paymentId)),
});
const start = () =>
  startRun(services, {
    merchantId: MERCHANT,
    sourceId: 'src_stripe',
    since: new Date(Date.now() - 7_200_000),
    until: new Date(Date.now() - 600_000),
    requestedBy: 'api',
    isDryRun: false,
  });
const signal = new AbortController().signal;

describe('a reconciliation', () => {
  it('that another process took over keeps nothing of what the first does after that', async () => {
    const run = await start();
    pages = [
      async () => {
        // The first was frozen for longer than its lease; by now the run is somebody else's.
        await database.pool.query("update reconciliation set leased_by = 'somebody else' where run_id = $1", [
          run.runId,
        ]);
        return { listed: [listed('pi_stale')], next: null };
      },
    ];
    const left = await reconcile(services, run, { signal });
    expect(left).toMatchObject({ state: 'running', phase: 'payment', listed: 0 });
    const { rowCount } = await database.pool.query("select 1 from provider_event where payment_id = 'pi_stale'");
    expect(rowCount).toBe(0);
    expect(await inbox.balance('cus_races')).toBe(0);
    // While that one lives, nobody else begins.
    expect(await lease(autocommit(database.pool), { ...run, leasedBy: 'a third' }, 15)).toBe(false);
    await database.pool.query(
      "update reconciliation set leased_until = now() - interval '1 second' where run_id = $1",
      [run.runId],
    );
    pages = [async () => ({ listed: [listed('pi_stale')], next: null })];
    expect(await reconcile(services, run, { signal })).toMatchObject({ state: 'finished', outcomes: { healed: 1 } });
    expect(await inbox.balance('cus_races')).toBe(100);
  });

  it('credits once when the webhook arrives between the listing and the taking in', async () => {
    const run = await start();
    pages = [
      async () => {
        await inbox.deliver(body('pi_meanwhile'));
        await inbox.settled();
        return { listed: [listed('pi_meanwhile'), listed('pi_missing')], next: null };
      },
    ];
    const before = (await inbox.balance('cus_races')) ?? 0;
    const done = await reconcile(services, run, { signal });
    expect(done).toMatchObject({ state: 'finished', matched: 1, outcomes: { healed: 1 } });
    expect(await inbox.balance('cus_races')).toBe(before + 200);
  });

  it('credits once when the webhook arrives while what was taken in is applied', async () => {
    const ids = Array.from({ length: 40 }, (_, index) => `pi_both_${index}`);
    const run = await start();
    pages = [async () => ({ listed: ids.map(listed), next: null })];
    const before = (await inbox.balance('cus_races')) ?? 0;
    await Promise.all([reconcile(services, run, { signal }), ...ids.map((id) => inbox.deliver(body(id)))]);
    await inbox.settled();
    expect(await inbox.balance('cus_races')).toBe(before + 40 * 100);
    const after = await getRun(autocommit(database.pool), run);
    expect(after).toMatchObject({ state: 'finished', outcomes: { missing: 0, differing: 0 } });
  });

  it('is worked on by one of many processes that come at once', async () => {
    const run = await start();
    let asked = 0;
    pages = Array.from({ length: 5 }, (_, index) => async () => {
      asked += 1;
      return { listed: [listed(`pi_many_${index}`)], next: index < 4 ? String(index) : null };
    });
    const before = (await inbox.balance('cus_races')) ?? 0;
    await Promise.all(Array.from({ length: 6 }, () => reconcile(services, run, { signal })));
    expect(asked).toBe(5);
    expect(await getRun(autocommit(database.pool), run)).toMatchObject({ state: 'finished', listed: 5 });
    expect(await inbox.balance('cus_races')).toBe(before + 500);
  });
});

it('settles for longer than a payment waits for its name', () => {
  expect([0, 60, 600].map(settleSecondsFor)).toEqual([30, 70, 610]);
});
