import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Route } from '../../src/http/kit/route.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { eventsToSettle, type Operator, operatorOf, type Shop, startTestWorker } from '../support/admin.ts';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';

/**
 * Made from the list of routes: whatever a merchant has, another finds nothing of it by any route and changes nothing. A
 * new route is covered at once, and this fails until a new parameter of a path or a new body has an example here.
 */

interface World extends Shop {
  /** An id of the merchant's own for every parameter that a path may have. */
  readonly ids: Readonly<Record<string, string>>;
}

/** Bodies that the routes accept, where they do not accept `{}`. */
const BODIES: Readonly<Record<string, unknown>> = {
  'post /customers/{customer_id}/wallets/ledger-entries': { amount: 1, currency: 'USD', entry_type: 'credit' },
  'post /customers/{customer_id}/wallets/holds': { amount: 1, currency: 'USD', idempotency_key: 'another' },
  'patch /customers/{customer_id}/wallets/holds/{hold_id}': { amount: 2 },
  'post /customers/{customer_id}/wallets/lots/{lot_id}/void': { amount: 1, reason: 'r', idempotency_key: 'void' },
  'patch /customers/{customer_id}/wallets/lots/{lot_id}': { priority: 1, reason: 'r' },
  'post /customers/{customer_id}/wallets/scheduled-entries': scheduled('other'),
  'put /customers/{customer_id}/wallets/{currency}/grant-schedules/{schedule_id}': {
    amount: 1,
    every: 'day',
    paused: true,
  },
  'post /customers/{customer_id}/payment-metadata': { currency: 'USD' },
  'post /customers/{customer_id}/checkouts': { total: 10, currency: 'USD', idempotency_key: 'another' },
  'post /customers/{customer_id}/checkouts/{checkout_id}/refund': { amount: 1, idempotency_key: 'another' },
  'post /customers/{customer_id}/checkouts/quote': { total: 10, currency: 'USD' },
  'put /bonus-rules/{rule_id}': { currency: 'USD', percent: 10 },
  'put /customers/{customer_id}/wallets/{currency}/low-balance-threshold': { threshold: 1 },
  'put /customers/{customer_id}/wallets/{currency}/status': { status: 'frozen', reason: 'why' },
  'put /customers/{customer_id}/wallets/{currency}/top-up-rule': topUpRule(),
  'post /customers/{customer_id}/wallets/{currency}/top-up-rule/resume': { reason: 'why' },
  'post /customers/{customer_id}/wallets/{currency}/top-ups': { amount: 1, idempotency_key: 'another' },
  'post /webhook-endpoints/{endpoint_id}/test': { event_type: 'wallet.balance.low' },
  'post /webhook-endpoints/{endpoint_id}/recover': { since: yesterday() },
  'post /events/{event_id}/resolve': { amount: 0, note: 'nothing was owed' },
};

function scheduled(idempotency_key: string): object {
  const post_at = new Date(Date.now() + 86_400_000).toISOString();
  return { amount: 1, currency: 'USD', entry_type: 'credit', post_at, idempotency_key };
}

function topUpRule(): object {
  return { enabled: false, threshold: 1, mode: 'amount', amount: 1, monthly_cap: 1, payment: null };
}

function yesterday(): string {
  return new Date(Date.now() - 86_400_000).toISOString();
}

let app: TestApp;
let operator: Operator;
let ours: World;
let theirs: World;

beforeAll(async () => {
  app = await startTestApp();
  operator = operatorOf(app);
  const worker = await startTestWorker(app);
  try {
    ours = await newWorld('ours');
    theirs = await newWorld('theirs');
  } finally {
    await worker.close();
  }
});
afterAll(() => app.close());

/** A merchant with one of everything. */
async function newWorld(name: string): Promise<World> {
  const shop = await operator.newShop('stripe', { api_key: `sk_test_${randomUUID()}`.replaceAll('-', '') });
  const call = async (method: string, path: string, body?: unknown): Promise<Answer['body']> => {
    const answer = await app.call(method, path, body, shop.key);
    if (answer.status !== 200 && answer.status !== 202)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const deliver = async (paymentId: string, customerId: string) => {
    const metadata = { wallet_customer_id: customerId };
    const body = stripePaymentSucceeded({ paymentId, amount: 500, currency: 'usd', metadata });
    await app.call('POST', shop.source.webhook_path, body, signStripe(body, shop.secret));
    await eventsToSettle(app);
  };
  const endpoint = await call('POST', '/webhook-endpoints', { url: `http://127.0.0.1:9/${name}` });
  const message = await call('POST', `/webhook-endpoints/${endpoint.id}/test`, { event_type: 'wallet.balance.low' });
  const { recovery_id } = await call('POST', `/webhook-endpoints/${endpoint.id}/recover`, { since: yesterday() });
  await deliver(`pi_${name}`, shop.customerId);
  await deliver(`pi_${name}_parked`, 'cus_nobody');
  const parked = await call('GET', '/events?status=parked');
  const hold = { amount: 1, currency: 'USD', idempotency_key: 'k' };
  const { hold_id } = await call('POST', `/customers/${shop.customerId}/wallets/holds`, hold);
  const lot = { amount: 5, currency: 'USD', entry_type: 'credit', kind: 'promo' };
  await call('POST', `/customers/${shop.customerId}/wallets/ledger-entries`, lot);
  const later = await call('POST', `/customers/${shop.customerId}/wallets/scheduled-entries`, scheduled('k'));
  const schedules = `/customers/${shop.customerId}/wallets/USD/grant-schedules`;
  await call('PUT', `${schedules}/monthly`, { amount: 1, every: 'day', paused: true });
  const wallet = `/customers/${shop.customerId}/wallets/USD`;
  await call('PUT', `${wallet}/top-up-rule`, topUpRule());
  const { topup_id } = await call('POST', `${wallet}/top-ups`, { amount: 1, idempotency_key: 'k' });
  const purchase = { total: 100, currency: 'USD', idempotency_key: 'k' };
  const { checkout_id } = await call('POST', `/customers/${shop.customerId}/checkouts`, purchase);
  const entries = await call('GET', `/customers/${shop.customerId}/wallets/ledger-entries`);
  const window = { source_id: shop.source.source_id, since: '2026-01-01T00:00:00Z', until: '2026-01-02T00:00:00Z' };
  const run = await call('POST', '/reconciliation', window);
  const { metadata } = await call('POST', `/customers/${shop.customerId}/payment-metadata`, { currency: 'USD' });
  await call('PUT', `/bonus-rules/rule_${name}`, { currency: 'USD', percent: 10, min_paid: 1_000_000 });
  const other = await call('POST', '/customers', { email: `other@${name}.example`, name: 'Other' });
  const ids = {
    customer_id: shop.customerId,
    other_customer_id: other.customer_id,
    currency: 'USD',
    entry_id: entries.items[0].id,
    hold_id,
    topup_id,
    checkout_id,
    lot_id: `lot_${shop.customerId}_USD_1`,
    scheduled_entry_id: later.scheduled_entry_id,
    schedule_id: 'monthly',
    payment_id: `pi_${name}`,
    event_id: parked.items[0].event_id,
    endpoint_id: endpoint.id,
    message_id: message.message_id,
    recovery_id,
    run_id: run.run_id,
    wallet_token: metadata.wallet_token,
    rule_id: `rule_${name}`,
  };
  return { ...shop, ids };
}

const OWN = ROUTES.filter(({ scope }) => scope === 'read' || scope === 'write');
const nameOf = ({ method, path }: Route) => `${method} ${path}`;
const parametersOf = ({ path }: Route) => [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '');
const addressed = OWN.filter((route) => parametersOf(route).length > 0);
/** Everybody has wallets in the same currencies, and calls schedules as he likes. */
const SHARED: ReadonlySet<string> = new Set(['currency', 'schedule_id']);

function addressOf({ path }: Route, ids: World['ids']): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const id = ids[name];
    if (id === undefined) throw new Error(`the parameter ${name} of ${path} wants an example in this test`);
    return encodeURIComponent(id);
  });
}

/** Bodies that name something of whoever asks. */
function ownBodyOf(route: Route, { ids, source }: World): object | undefined {
  const link = { source_id: source.source_id, provider_customer_id: 'cus_of_the_provider' };
  const bodies: Record<string, object> = {
    'put /customers/{customer_id}/links': link,
    'post /payments/{payment_id}/reassign': { customer_id: ids.other_customer_id, reason: 'the wrong customer' },
  };
  return bodies[nameOf(route)];
}

function queryOf(route: Route, { source }: World): string {
  const isOfLinks = nameOf(route) === 'delete /customers/{customer_id}/links';
  return isOfLinks ? `?source_id=${source.source_id}&provider_customer_id=cus_of_the_provider` : '';
}

function bodyOf(route: Route, world: World): unknown {
  if (route.body?.kind !== 'json') return undefined;
  const body = ownBodyOf(route, world) ?? BODIES[nameOf(route)] ?? {};
  const { success } = route.body.schema.safeParse(body);
  if (!success) throw new Error(`${nameOf(route)} wants an example of a body in this test`);
  return body;
}

const callAs = (world: World, route: Route, ids: World['ids']) =>
  app.call(
    route.method.toUpperCase(),
    `${addressOf(route, ids)}${queryOf(route, world)}`,
    bodyOf(route, world),
    world.key,
  );

/** Every row of a merchant in every table, but for when its key was last used, which is noted in the background. */
async function dumpOf({ merchantId }: World): Promise<string> {
  const { rows: tables } = await app.database.pool.query<{ name: string }>(
    `select format('%I.%I', table_schema, table_name) as name from information_schema.columns
     where table_schema = 'public' and column_name = 'merchant_id' order by 1`,
  );
  let dump = '';
  for (const { name } of tables) {
    const { rows } = await app.database.pool.query<{ row: string }>(
      `select (to_jsonb(t) - 'last_used_at')::text as row from ${name} t where merchant_id = $1 order by 1`,
      [merchantId],
    );
    dump += `${name}\n${rows.map((one) => one.row).join('\n')}\n`;
  }
  return dump;
}

/** Fails with the lines that differ, not with thousands of rows. */
async function expectUntouched(world: World, work: () => Promise<void>): Promise<void> {
  const before = await dumpOf(world);
  await work();
  const after = new Set((await dumpOf(world)).split('\n'));
  expect(before.split('\n').filter((line) => !after.has(line))).toEqual([]);
  expect(after.size).toBe(new Set(before.split('\n')).size);
}

/** Whose path has an id that its merchant chooses: by one that another merchant has too it makes its own. */
const CHOSEN: ReadonlySet<string> = new Set(['put /bonus-rules/{rule_id}']);

describe('by an id of another merchant', () => {
  const found = addressed.filter((route) => !CHOSEN.has(nameOf(route)));

  it.each(found.map((route) => [nameOf(route), route] as const))('%s is 404', async (_, route) => {
    await expectUntouched(theirs, async () => {
      const answer = await callAs(ours, route, theirs.ids);
      expect({ status: answer.status, code: answer.body.code }).toEqual({
        status: 404,
        code: expect.stringMatching(
          /^(CUSTOMER_|CHECKOUT_|HOLD_|LOT_|SCHEDULE_|SCHEDULED_ENTRY_|TOP_UP_|TOP_UP_RULE_)?NOT_FOUND$/,
        ),
      });
    });
  });

  const several = addressed.filter((route) => parametersOf(route).filter((name) => !SHARED.has(name)).length > 1);

  it.each(several.map((route) => [nameOf(route), route] as const))(
    '%s is 404 also beside ids of ours',
    async (_, route) => {
      await expectUntouched(theirs, async () => {
        for (const name of parametersOf(route).filter((one) => !SHARED.has(one))) {
          const mixed = { ...ours.ids, [name]: theirs.ids[name] ?? '' };
          expect([name, (await callAs(ours, route, mixed)).status]).toEqual([name, 404]);
        }
      });
    },
  );

  it('in a body finds nothing either', async () => {
    await expectUntouched(theirs, async () => {
      const credit = { amount: 1, currency: 'USD', entry_type: 'credit', idempotency_key: 'theirs' };
      const entries = [{ customer_id: theirs.customerId, ...credit }];
      const batch = await app.call('POST', '/ledger-entries/batch', { entries }, ours.key);
      expect(batch.body.items).toMatchObject([{ status: 'refused', code: 'CUSTOMER_NOT_FOUND' }]);
      const operations = [
        { op: 'capture', customer_id: ours.customerId, hold_id: theirs.ids.hold_id },
        { op: 'release', customer_id: theirs.customerId, hold_id: theirs.ids.hold_id },
        { op: 'place', customer_id: theirs.customerId, amount: 1, currency: 'USD', idempotency_key: 'theirs' },
      ];
      const holds = await app.call('POST', '/holds/batch', { operations }, ours.key);
      expect(holds.body.items.map(({ code }: { code: string }) => code)).toEqual([
        ...['HOLD_NOT_FOUND', 'HOLD_NOT_FOUND', 'CUSTOMER_NOT_FOUND'],
      ]);
      for (const [path, body] of [
        [`/events/${ours.ids.event_id}/replay`, { customer_id: theirs.customerId }],
        ['/reconciliation', { source_id: theirs.source.source_id, since: '2026-01-01T00:00:00Z' }],
      ] as const) {
        expect([path, (await app.call('POST', path, body, ours.key)).status]).toEqual([path, 404]);
      }
    });
  });
});

describe('what a merchant reads is its own', () => {
  const reading = OWN.filter(({ method }) => method === 'get');

  it.each(reading.map((route) => [nameOf(route), route] as const))('%s', async (_, route) => {
    const answer = await callAs(ours, route, ours.ids);
    expect(answer.status).toBe(200);
    const text = JSON.stringify(answer.body);
    const foreign = Object.entries(theirs.ids).filter(([name]) => !SHARED.has(name));
    for (const id of [theirs.merchantId, theirs.source.source_id, ...foreign.map(([, one]) => one)]) {
      expect(text).not.toContain(id);
    }
  });
});

describe('the examples are good', () => {
  // Otherwise a mistyped one would make all of the above pass. What removes something comes last.
  const removes = ({ method, path }: Route) => (path.endsWith('/anonymise') ? 2 : Number(method === 'delete'));
  const inOrder = addressed.toSorted((a, b) => removes(a) - removes(b));

  it('as their owner finds every one of them', async () => {
    const missed = [];
    for (const route of inOrder) {
      const { status } = await callAs(theirs, route, theirs.ids);
      if (status === 404 || status === 422 || status >= 500) missed.push(`${nameOf(route)}: ${status}`);
    }
    expect(missed).toEqual([]);
    expect(inOrder.length).toBeGreaterThan(15);
  });

  it('and there is one for every parameter', () => {
    const wanted = new Set(addressed.flatMap(parametersOf));
    expect([...wanted].filter((name) => !(name in theirs.ids))).toEqual([]);
    const known = new Set(OWN.map(nameOf));
    expect(Object.keys(BODIES).filter((name) => !known.has(name))).toEqual([]);
  });
});
