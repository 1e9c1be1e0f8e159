import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { startProcess } from '../support/process.ts';
import { STRIPE_SECRET, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually, postingsToWait } from '../support/wait.ts';

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['killed']);
  // This process only makes jobs and keeps the queue's monitor running; the workers are the child processes.
  inbox = await startInbox(database, { works: false });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

const startWorker = () =>
  startProcess('jobs/worker.ts', {
    DATABASE_URL: database.url,
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    LOG_LEVEL: 'info',
  });

describe('kill -9 of the worker', () => {
  it('in the middle of a batch credits every payment once, by the next worker, within 30 s', async () => {
    const first = startWorker();
    await first.printed('the worker is ready');
    // The wallet is held, so that the batch stands in the middle of its transaction, its facts written, nothing committed.
    const holder = await database.pool.connect();
    await holder.query('begin');
    await holder.query("select 1 from wallet where customer_id = 'cus_killed' for update");
    const payments = Array.from({ length: 40 }, (_, index) =>
      stripePaymentSucceeded({
        paymentId: `pi_kill${index}`,
        amount: 10,
        metadata: { wallet_customer_id: 'cus_killed' },
      }),
    );
    await Promise.all(payments.map((body) => inbox.deliver(body)));
    await postingsToWait(database.pool);
    expect(await first.end('SIGKILL')).toBe('SIGKILL');
    await holder.query('rollback');
    holder.release();
    expect(await inbox.balance('cus_killed')).toBe(0);
    const killedAt = performance.now();
    const second = startWorker();
    await eventually('every payment to be credited', async () => (await inbox.balance('cus_killed')) === 400, 30_000);
    expect(performance.now() - killedAt).toBeLessThan(30_000);
    await eventually('every event to be applied', async () => (await inbox.states()).applied === 40);
    expect(await second.end('SIGTERM')).toBe(0);
  }, 90_000);

  it('again and again while events arrive loses none and doubles none', async () => {
    const before = (await inbox.balance('cus_killed')) ?? 0;
    const bodies = Array.from({ length: 120 }, (_, index) =>
      stripePaymentSucceeded({
        paymentId: `pi_storm${index}`,
        amount: 1,
        metadata: { wallet_customer_id: 'cus_killed' },
      }),
    );
    for (let round = 0; round < 4; round += 1) {
      const worker = startWorker();
      await worker.printed('the worker is ready');
      await Promise.all(bodies.slice(round * 30, round * 30 + 30).map((body) => inbox.deliver(body)));
      await eventually(
        'some of them to be applied',
        async () => ((await inbox.states()).applied ?? 0) > 40 + round * 30,
        30_000,
      );
      await worker.end('SIGKILL');
    }
    const last = startWorker();
    await last.printed('the worker is ready');
    await Promise.all(bodies.map((body) => inbox.deliver(body)));
    await eventually('all of them to be applied', async () => (await inbox.states()).applied === 160, 60_000);
    expect(await inbox.balance('cus_killed')).toBe(before + 120);
    expect(await last.end('SIGTERM')).toBe(0);
  }, 180_000);
});
