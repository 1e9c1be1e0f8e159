import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { eventually } from '../support/wait.ts';

/** Of the connections of a process a merchant has half at the most, whatever its requests wait for. */

const POOL = 4;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ environment: { DATABASE_POOL_SIZE: String(POOL), RATE_LIMIT_PER_MINUTE: '0' } });
});
afterAll(() => app.close());

const waiting = () => waitingForLocks(app.database.pool, '%', 'chokin-web');

it('requests of a merchant that are held up leave another merchant its connections', async () => {
  const honest = await app.newCustomer();
  const mallory = await app.newKey('mer_mallory', ['read', 'write']);
  const person = { email: 'm@example.com', name: 'Mallory' };
  const { customer_id: held } = (await app.call('POST', '/customers', person, mallory)).body;
  const holder = await app.database.pool.connect();
  await holder.query('begin');
  await holder.query("select from customer where merchant_id = 'mer_mallory' and customer_id = $1 for update", [held]);
  const changes = Array.from({ length: 40 }, () =>
    app.call('PATCH', `/customers/${held}`, { name: 'Mallory II' }, mallory),
  );
  const asked = Promise.all(changes);
  await eventually('half of the connections to wait', async () => (await waiting()) === POOL / 2);
  const entry = { amount: 5, currency: 'USD', entry_type: 'credit' };
  const answers = await Promise.all([
    app.call('POST', `/customers/${honest}/wallets/ledger-entries`, entry),
    app.call('GET', `/customers/${honest}`),
    app.call('PATCH', `/customers/${honest}`, { name: 'Ada King' }),
    app.call('POST', '/customers', { email: 'b@example.com', name: 'Bob' }),
  ]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(await waiting()).toBe(POOL / 2);
  await holder.query('rollback');
  holder.release();
  expect(new Set((await asked).map(({ status }) => status))).toEqual(new Set([200]));
});
