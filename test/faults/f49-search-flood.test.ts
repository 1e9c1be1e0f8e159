import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';

/**
 * F49: one merchant searches its many customers, far more at once than it may, while another debits a wallet. Searches have connections
 * of their own: the other's debits and lists all succeed, and whoever floods is served for a part and told to slow down for the rest.
 */
const CUSTOMERS = 100_000;
const BATCH = 10_000;
const AT_ONCE = 80;
const DEBITS = 200;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '0' } });
}, 60_000);
afterAll(() => app.close());

/** Debits one after another, and how long each took. */
async function debit(customerId: string, round: string): Promise<{ statuses: Set<number>; p99: number }> {
  const times: number[] = [];
  const statuses = new Set<number>();
  for (let n = 0; n < DEBITS; n += 1) {
    const entry = { currency: 'USD', amount: 1, entry_type: 'debit', idempotency_key: `${round}/${n}` };
    const startedMs = performance.now();
    const { status } = await app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry);
    times.push(performance.now() - startedMs);
    statuses.add(status);
  }
  times.sort((a, b) => a - b);
  return { statuses, p99: times[Math.ceil(DEBITS * 0.99) - 1] ?? 0 };
}

it('no debit or list of a merchant fails while another floods the service with searches', async () => {
  const honest = await app.newCustomer();
  const credit = { currency: 'USD', amount: 1_000, entry_type: 'credit', idempotency_key: 'start' };
  await app.call('POST', `/customers/${honest}/wallets/ledger-entries`, credit);
  const mallory = await app.newKey('mer_mallory', ['read']);
  for (let first = 1; first <= CUSTOMERS; first += BATCH) {
    await app.database.pool.query(
      `insert into customer (merchant_id, customer_id, email, name, created_at)
       select 'mer_mallory', 'cus_m' || n, '', 'Person ' || n, now() - n * interval '1 second'
       from generate_series($1::int, $2::int) n`,
      [first, first + BATCH - 1],
    );
  }
  await debit(honest, 'warm');
  const alone = await debit(honest, 'alone');

  let isOver = false;
  const outcomes = new Map<string, number>();
  // What an index helps least with: each three letters of it are in every name, and the whole is in none.
  const flood = Array.from({ length: AT_ONCE }, async (_, n) => {
    while (!isOver) {
      const { status, body } = await app.call(
        'GET',
        `/customers?name=person%20person${n % 2 === 0 ? '%20' : ''}`,
        undefined,
        mallory,
      );
      const outcome = `${status} ${body.code ?? ''}`.trim();
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      // Five times as soon as it was told to. The clients are of this process, which would be busy with nothing else.
      if (status === 429) await delay(200);
    }
  });
  const lists: Answer[] = [];
  const listing = async () => {
    while (!isOver) lists.push(await app.call('GET', '/customers?name=ada'));
  };
  const listed = listing();
  const attacked = await debit(honest, 'attacked');
  isOver = true;
  await Promise.all([...flood, listed]);

  const [before, under] = [alone.p99, attacked.p99].map((ms) => ms.toFixed(1));
  console.log(
    `search flood: debit p99 ${before} ms alone, ${under} ms under attack (${(attacked.p99 / alone.p99).toFixed(1)} times); searches ${JSON.stringify(Object.fromEntries(outcomes))}; lists of the other ${lists.length}`,
  );
  expect(attacked.statuses).toEqual(new Set([200]));
  expect(lists.length).toBeGreaterThan(0);
  expect(new Set(lists.map(({ status }) => status))).toEqual(new Set([200]));
  expect([...outcomes.keys()].filter((outcome) => !['200', '429 TOO_MANY_REQUESTS'].includes(outcome))).toEqual([]);
  expect(outcomes.get('200')).toBeGreaterThan(0);
  expect(outcomes.get('429 TOO_MANY_REQUESTS')).toBeGreaterThan(0);
}, 120_000);
