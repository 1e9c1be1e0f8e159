import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../../support/ledger.ts';
import { type ServiceProcess, startProcess } from '../../support/process.ts';
import { API_KEYS, ProviderApiServer } from '../../support/provider-api-server.ts';
import { STRIPE_SECRET } from '../../support/signing.ts';
import { eventually } from '../../support/wait.ts';

/** 350 payments of 10 cents, none of which a webhook told of: four pages of the provider's list. */
const COUNT = 350;
const AMOUNT = 10;

let database: TestDatabase;
let inbox: TestInbox;
let api: ProviderApiServer;
let environment: Record<string, string>;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['interrupted']);
  // Applies what is taken in, as a worker of the service does beside an operator's command.
  inbox = await startInbox(database, { sources: [testSource('stripe')] });
});

let round = 0;

beforeEach(async () => {
  round += 1;
  api = await ProviderApiServer.start('stripe');
  environment = {
    DATABASE_URL: database.url,
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    STRIPE_API_KEY: API_KEYS.stripe,
    STRIPE_API_URL: api.url,
    LOG_LEVEL: 'info',
  };
  const createdAt = new Date(Date.now() - 3_600_000);
  for (let index = 0; index < COUNT; index += 1) {
    const metadata = { wallet_customer_id: 'cus_interrupted' };
    api.addPayment({ id: `pi_${round}_${index}`, amount: AMOUNT, currency: 'USD', metadata, createdAt });
  }
});

afterEach(async () => {
  await expectBooksToAgree(database.pool);
  await api.close();
});

afterAll(async () => {
  await inbox.stop();
  await database.drop();
});

const reconcile = (): ServiceProcess =>
  startProcess('src/cli/chokin.ts', environment, ['reconcile', '--source', 'src_stripe', '--since', '2h', '--json']);

const listed = async (): Promise<number> => {
  const { rows } = await database.pool.query<{ listed: number }>(
    'select listed from reconciliation order by created_at desc limit 1',
  );
  return rows[0]?.listed ?? 0;
};

const pagesAskedFor = () => api.requests.filter(({ path }) => path === '/v1/payment_intents').length;

describe('a reconciliation', () => {
  it('that is killed with -9 goes on at its page when the command is run again, and credits everything once', async () => {
    // The third page never comes.
    api.failNext('hang', { after: 2 });
    const first = reconcile();
    await eventually('the third page to be asked for', () => pagesAskedFor() === 3, 30_000);
    expect(await listed()).toBe(200);
    expect(await first.end('SIGKILL')).toBe('SIGKILL');
    const second = reconcile();
    expect(await second.exited).toBe(0);
    expect(JSON.parse(second.stdout())).toMatchObject({
      status: 'finished',
      listed: COUNT,
      healed: COUNT,
      differing: 0,
    });
    expect(await inbox.balance('cus_interrupted')).toBe(COUNT * AMOUNT * round);
    // Pages 3 and 4 alone.
    expect(pagesAskedFor()).toBe(5);
  }, 120_000);

  it('stops when asked to, although the provider hangs, and says how to go on', async () => {
    api.failNext('hang', { after: 1 });
    const first = reconcile();
    await eventually('the second page to be asked for', () => pagesAskedFor() === 2, 30_000);
    const askedAt = performance.now();
    expect(await first.end('SIGTERM')).toBe(1);
    expect(performance.now() - askedAt).toBeLessThan(10_000);
    expect(first.output()).toContain('Run the same command again to go on from here.');
    const second = reconcile();
    expect(await second.exited).toBe(0);
    expect(JSON.parse(second.stdout())).toMatchObject({ status: 'finished', listed: COUNT, healed: COUNT });
    expect(await inbox.balance('cus_interrupted')).toBe(COUNT * AMOUNT * round);
    expect(pagesAskedFor()).toBe(5);
  }, 120_000);

  it('of a worker that is killed is taken over by the next worker', async () => {
    api.failNext('hang', { after: 2 });
    const first = startProcess('jobs/worker.ts', environment);
    await first.printed('the worker is ready');
    const { rows } = await database.pool.query<{ id: string }>(
      `insert into reconciliation (merchant_id, run_id, source_id, provider, since, until, requested_by, state, phase, created_at, updated_at)
       values ('bus_default', 'rec_worker', 'src_stripe', 'stripe', now() - interval '2 hours', now() - interval '10 minutes', 'api',
         'running', 'payment', now(), now()) returning run_id as id`,
    );
    expect(rows).toHaveLength(1);
    await inbox.boss.send('reconcile-payments', {});
    await eventually('the third page to be asked for', () => pagesAskedFor() === 3, 30_000);
    expect(await listed()).toBe(200);
    expect(await first.end('SIGKILL')).toBe('SIGKILL');
    const killedAt = performance.now();
    const second = startProcess('jobs/worker.ts', environment);
    await eventually(
      'everything to be healed',
      async () => (await inbox.balance('cus_interrupted')) === COUNT * AMOUNT * round,
      60_000,
    );
    // The lease of the dead (15 s), and the time to come back for it.
    expect(performance.now() - killedAt).toBeLessThan(45_000);
    await eventually('the run to end', async () => {
      const { rows: runs } = await database.pool.query(
        "select 1 from reconciliation where run_id = 'rec_worker' and state = 'finished'",
      );
      return runs.length === 1;
    });
    expect(await second.end('SIGTERM')).toBe(0);
  }, 120_000);
});
