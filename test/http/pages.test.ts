import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operatorOf } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';

/** Every list in pages goes on by a cursor as far as it reaches, and refuses a page that lies too far behind. */

let app: TestApp;
let customerId: string;
let runId: string;

beforeAll(async () => {
  app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '0' } });
  customerId = await app.newCustomer();
  runId = 'rec_1';
  const { pool } = app.database;
  // Times that several share, and that differ by less than a millisecond.
  const at = "'2026-01-01'::timestamptz + (n / 3) * interval '100 microseconds'";
  await pool.query(`insert into customer (merchant_id, customer_id, email, name, created_at)
    select 'bus_default', 'cus_' || n, 'c@example.com', 'Ada ' || n, ${at} from generate_series(1, 24) n`);
  await pool.query(`insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, received_at)
    select 'evt_' || n, 'bus_default', 'src_stripe', 'stripe', 'k' || n, 't', '{}', 'ignored', ${at} from generate_series(1, 25) n`);
  await pool.query(`insert into customer_link (merchant_id, source_id, provider_customer_id, customer_id, cause, created_at)
    select 'bus_default', 'src_stripe', 'a b/"' || n, '${customerId}', 'operator', ${at} from generate_series(1, 25) n`);
  await pool.query(`insert into reconciliation (merchant_id, run_id, source_id, provider, since, until, requested_by, state, phase, created_at, updated_at, finished_at)
    select 'bus_default', 'rec_' || n, 'src_stripe', 'stripe', now() - interval '1 day', now(), 'api', 'finished', 'settling', ${at}, now(), now()
    from generate_series(1, 25) n`);
  await pool.query(`insert into reconciliation_item (merchant_id, run_id, kind, object_id, outcome, found_at)
    select 'bus_default', 'rec_1', case when n % 2 = 0 then 'payment' else 'refund' end, 'x' || n, 'unknown', now() from generate_series(1, 25) n`);
  await pool.query(`insert into merchant (merchant_id, name, mode, created_at)
    select 'bus_' || n, 'Shop', 'test', ${at} from generate_series(1, 24) n`);
});
afterAll(() => app.close());

const LISTS: readonly (readonly [path: () => string, id: (item: Record<string, string>) => string | undefined])[] = [
  [() => '/customers?', (one) => one.customer_id],
  [() => '/customers?name=a&', (one) => one.customer_id],
  [() => '/events?', (one) => one.event_id],
  [() => '/events?status=ignored&', (one) => one.event_id],
  [() => `/customers/${customerId}/links?`, (one) => one.provider_customer_id],
  [() => '/reconciliation?', (one) => one.run_id],
  [() => `/reconciliation/${runId}/items?`, (one) => one.object_id],
  [() => '/admin/merchants?', (one) => one.merchant_id],
];

/** As whom a list is asked for. */
const get = (path: string) => (path.startsWith('/admin') ? operatorOf(app).call('GET', path) : app.call('GET', path));

describe.each(LISTS)('the list %s', (pathOf, idOf) => {
  it('goes on by its cursor to its end, in the order of its pages', async () => {
    const whole = await get(`${pathOf()}page_size=100`);
    expect(whole.body.items).toHaveLength(25);
    expect(whole.body.next_cursor).toBeUndefined();
    const seen: (string | undefined)[] = [];
    let cursor = '';
    let pages = 0;
    do {
      const { body } = await get(`${pathOf()}page_size=5${cursor}`);
      seen.push(...body.items.map(idOf));
      cursor = body.next_cursor === undefined ? '' : `&cursor=${encodeURIComponent(body.next_cursor)}`;
      pages += 1;
    } while (cursor !== '');
    expect(seen).toEqual(whole.body.items.map(idOf));
    expect(pages).toBe(6);
  });

  it('refuses a page that lies too far behind, and says what to use instead', async () => {
    const { status, body } = await get(`${pathOf()}page_size=100&page_number=1001`);
    expect([status, body.code]).toEqual([400, 'INVALID_QUERY_PARAMS']);
    expect(body.message).toContain('page_number: reaches beyond 100000 items; use cursor');
    expect((await get(`${pathOf()}page_size=100&page_number=1000`)).body.items).toEqual([]);
  });

  it('refuses a cursor that no page has given', async () => {
    const { status, body } = await get(`${pathOf()}cursor=nothing`);
    expect([status, body.message]).toEqual([400, 'cursor: wants the next_cursor of the page before.']);
  });
});

it('counts page_number from the cursor', async () => {
  const { items } = (await get('/events?page_size=25')).body;
  const third = await get(`/events?page_size=5&page_number=1&cursor=${items[4].event_id}`);
  expect(third.body.items).toEqual(items.slice(10, 15));
});

it('does not take the cursor of another merchant', async () => {
  const other = await app.newKey('mer_other', ['read']);
  const { status } = await app.call('GET', '/events?cursor=evt_1', undefined, other);
  expect(status).toBe(400);
});
