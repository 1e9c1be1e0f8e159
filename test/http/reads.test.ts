import { afterAll, beforeAll, expect, it } from 'vitest';
import { ADMIN_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/wait.ts';

/** Searches and lists have connections of their own, which merchants share, and a time after which they end. */

let app: TestApp;
let customerId: string;

beforeAll(async () => {
  app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '0' } });
  customerId = await app.newCustomer();
});
afterAll(() => app.close());

/** Makes every list of customers take this long, until it is called with 0. */
async function slowDown(seconds: number): Promise<void> {
  const { pool } = app.database;
  const statements =
    seconds === 0
      ? ['drop view customer', 'alter table customer_rows rename to customer']
      : [
          'alter table customer rename to customer_rows',
          `create view customer as select c.* from customer_rows c cross join pg_sleep(${seconds}) s`,
          'grant select on customer to chokin_web',
        ];
  // One by one: Citus makes no view by a string in which more stands.
  for (const one of statements) await pool.query(one);
}

it('a search that takes too long is ended and says so, and is not our failure', async () => {
  await slowDown(30);
  const { status, headers, body } = await app.call('GET', '/customers?name=ada');
  await slowDown(0);
  expect([status, body.code, headers.get('retry-after'), headers.get('x-should-retry')]).toEqual([
    ...[503, 'QUERY_TOO_SLOW', '5', 'false'],
  ]);
  expect((await app.call('GET', '/customers?name=ada')).body.items).toHaveLength(1);
  const figures = (await app.call('GET', '/metrics')).body;
  expect(figures).toMatch(/chokin_limited_total\{who="merchant",limit="slow reads"\} 1/);
});

it('a merchant that searches for more than its share is told to slow down, and keeps nobody from anything', async () => {
  const other = await app.newKey('mer_other', ['read']);
  // A search by name is two statements, and a turn has 5 s for both.
  await slowDown(1.5);
  const searches = Array.from({ length: 60 }, () => app.call('GET', '/customers?name=ada'));
  const asked = Promise.all(searches);
  await eventually('two searches to be under way', async () => {
    const { rows } = await app.database.pool.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where application_name = 'chokin-web-reads' and state = 'active' and datname = current_database()",
    );
    return rows[0]?.n === 2;
  });
  const entry = { amount: 5, currency: 'USD', entry_type: 'credit' };
  const posted = await app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry);
  const list = await app.call('GET', '/events', undefined, other);
  expect([posted.status, list.status]).toEqual([200, 200]);
  const answers = await asked;
  await slowDown(0);
  const counts = Map.groupBy(answers, ({ status, body }) => `${status} ${body.code ?? ''}`);
  expect(counts.get('200 ')?.length).toBeGreaterThanOrEqual(2);
  expect([...counts.keys()].sort()).toEqual(['200 ', '429 TOO_MANY_REQUESTS']);
  expect(counts.get('429 TOO_MANY_REQUESTS')?.every(({ headers }) => headers.get('retry-after') === '1')).toBe(true);
});

it('lists that are held up take no connection of a posting, and none of the operator’s', async () => {
  const url = 'http://127.0.0.1:1/';
  const { body: endpoint } = await app.call('POST', '/webhook-endpoints', { url });
  const holder = await app.database.pool.connect();
  await holder.query('begin; lock table webhook_attempt, webhook_endpoint in access exclusive mode');
  const lists = Array.from({ length: 60 }, (_, n) =>
    app.call('GET', n % 2 === 0 ? '/webhook-endpoints' : `/webhook-endpoints/${endpoint.endpoint_id}/attempts`),
  );
  const asked = Promise.all(lists);
  const waiting = async () => {
    const { rows } = await app.database.pool.query<{ name: string; n: number }>(
      `select application_name as name, count(*)::int as n from pg_stat_activity
       where wait_event_type = 'Lock' and datname = current_database() group by 1`,
    );
    return rows;
  };
  await eventually('two lists to wait', async () => (await waiting()).some(({ n }) => n === 2));
  const entry = { amount: 5, currency: 'USD', entry_type: 'credit' };
  const path = `/customers/${customerId}/wallets/ledger-entries`;
  const posted = await Promise.all(Array.from({ length: 20 }, () => app.call('POST', path, entry)));
  const merchants = await app.call('GET', '/admin/merchants', undefined, { authorization: `Bearer ${ADMIN_KEY}` });
  const metrics = String((await app.call('GET', '/metrics')).body);
  expect(await waiting()).toEqual([{ name: 'chokin-web-reads', n: 2 }]);
  await holder.query('rollback');
  holder.release();
  expect(new Set([...posted, merchants].map(({ status }) => status))).toEqual(new Set([200]));
  expect(metrics).toContain('chokin_database_answers 1');
  expect(new Set((await asked).map(({ status }) => status))).toEqual(new Set([200, 429]));
});
