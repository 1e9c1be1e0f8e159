import { afterAll, beforeAll, expect, it } from 'vitest';
import { newId } from '../../src/ids.ts';
import { type Operator, operatorOf } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** Strangers who make up the ids of sources in webhooks' addresses, beside sources that there are. */

let app: TestApp;
let operator: Operator;
beforeAll(async () => {
  // Each test calls from an address of its own.
  app = await startTestApp({ environment: { TRUST_PROXY: '1' } });
  operator = operatorOf(app);
});
afterAll(() => app.close());

const body = stripePaymentSucceeded();
async function deliver(path: string, from: string, secret?: string): Promise<number> {
  const headers = { authorization: '', 'x-forwarded-for': from, ...signStripe(body, secret) };
  return (await app.call('POST', path, body, headers)).status;
}

const madeUp = (from: string, count: number) =>
  Promise.all(Array.from({ length: count }, () => deliver(`/webhooks/stripe/${newId('source')}`, from)));

/** Runs `test` while nobody can ask the database for a source: what asks all the same fails with 500. */
async function withoutSources(test: () => Promise<void>): Promise<void> {
  await app.database.pool.query('alter table source rename to source_away');
  try {
    await test();
  } finally {
    await app.database.pool.query('alter table source_away rename to source');
  }
}

it('an id that is nobody’s is not looked up again for a while, and one that can be nobody’s not at all', async () => {
  const nobodys = `/webhooks/stripe/${newId('source')}`;
  expect(await deliver(nobodys, '203.0.113.1')).toBe(404);
  await withoutSources(async () => {
    for (const path of [nobodys, '/webhooks/stripe/src_MADE-UP', '/webhooks/stripe/made_up'])
      expect(await deliver(path, '203.0.113.1')).toBe(404);
    expect(await deliver(`/webhooks/stripe/${newId('source')}`, '203.0.113.1')).toBe(500);
  });
});

it('who makes up too many costs no further query, and a source that there is hears its provider from the same address', async () => {
  const from = '203.0.113.2';
  const shop = await operator.newShop();
  expect(new Set(await madeUp(from, 70))).toEqual(new Set([404]));
  await withoutSources(async () => {
    expect(new Set(await madeUp(from, 20))).toEqual(new Set([404]));
  });
  expect(await deliver(shop.source.webhook_path, from, shop.secret)).toBe(200);
  const { body: metrics } = await app.call('GET', '/metrics');
  expect(metrics).toMatch(/chokin_limited_total\{who="address",limit="unknown sources"\} [1-9]/);
});

it('a source that was just made works at once here, and within seconds where another process made it', async () => {
  const from = '203.0.113.3';
  await madeUp(from, 70);
  const shop = await operator.newShop();
  expect(await deliver(shop.source.webhook_path, from, shop.secret)).toBe(200);

  await madeUp(from, 1);
  const elsewhere = newId('source');
  await app.database.pool.query(
    `insert into source (merchant_id, source_id, provider, name, mode, default_purpose, metadata, refunds, customer_link_rule, created_at, updated_at)
     select merchant_id, $2, provider, name, mode, default_purpose, metadata, refunds, customer_link_rule, now(), now()
     from source where source_id = $1`,
    [shop.source.source_id, elsewhere],
  );
  // It has no secret, so that it is known by the refusal.
  await eventually(
    'the source to be known',
    async () => (await deliver(`/webhooks/stripe/${elsewhere}`, from)) === 401,
    8_000,
  );
});
