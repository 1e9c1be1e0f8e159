import {
  getOrder,
  getSubscriptionInvoice,
  lemonSqueezySetup,
  listOrders,
  listSubscriptionInvoices,
} from '@lemonsqueezy/lemonsqueezy.js';
import { type Environment, Paddle } from '@paddle/paddle-node-sdk';
import { createPolar } from '@polar-sh/sdk/2026-10';
import Razorpay from 'razorpay';
import { afterEach, expect, it, vi } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import { PROVIDER_APIS } from '../../src/providers/apis.ts';
import type { ListedKind, ProviderApi } from '../../src/providers/shared/api.ts';
import { RecordingProxy } from '../support/recording-proxy.ts';
import { SEEDED, SEEDED_AT, type SeededName } from '../support/seeded-doubles.ts';

/**
 * Where we speak to a provider by plain HTTP, its official package must ask the same question by the same request: then
 * the package's authors vouch for the form of what we send. (Stripe and Dodo are asked by their packages anyway.)
 */

const DAY_MS = 86_400_000;
const since = new Date(SEEDED_AT.getTime() - DAY_MS);
const until = new Date(SEEDED_AT.getTime() + DAY_MS);
const WINDOW = { since, until };

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const one of open.splice(0).toReversed()) await one.close();
});

interface Setting {
  readonly proxy: RecordingProxy;
  readonly api: ProviderApi;
  readonly apiKey: string;
}

async function connected(name: SeededName, keySuffix = ''): Promise<Setting> {
  const double = SEEDED.find((one) => one.name === name);
  const connect = PROVIDER_APIS[name];
  if (double === undefined || connect === undefined) throw new Error(`no double of ${name}`);
  const server = await double.start();
  const proxy = await RecordingProxy.start(server.url);
  open.push(server, proxy);
  const apiKey = new Secret(`${double.apiKey}${keySuffix}`);
  return { proxy, api: connect({ apiKey, mode: 'test', baseUrl: proxy.url }), apiKey: double.apiKey };
}

/** Path and query of each request, without order in the query, and without what is empty; all were answered well. */
function asked({ exchanges }: RecordingProxy): readonly string[] {
  const requests = exchanges.splice(0);
  expect(requests.filter(({ status }) => status !== 200)).toEqual([]);
  return requests.map(({ path }) => {
    const { pathname, searchParams } = new URL(path, 'http://provider');
    const query = [...searchParams].filter(([, value]) => value !== '').map(([name, value]) => `${name}=${value}`);
    return [pathname, ...query.sort()].join(' ');
  });
}

async function expectSame(
  proxy: RecordingProxy,
  ours: () => Promise<unknown>,
  theirs: () => Promise<unknown>,
): Promise<void> {
  await ours();
  const requests = asked(proxy);
  await theirs();
  expect(requests).toEqual(asked(proxy));
  expect(requests).toHaveLength(1);
}

it('Razorpay', async () => {
  const { proxy, api, apiKey } = await connected('razorpay');
  const [key_id = '', key_secret = ''] = apiKey.split(':');
  const sdk = new Razorpay({ key_id, key_secret });
  // The package takes no address of its own; its HTTP client does.
  Object.assign(Reflect.get(Reflect.get(Reflect.get(sdk, 'api'), 'rq'), 'defaults'), { baseURL: proxy.url });
  const bounds = { from: Math.floor(since.getTime() / 1000) - 1, to: Math.ceil(until.getTime() / 1000) + 1 };
  const page = { ...bounds, count: 100, skip: 0 };
  // The package drops the bounds for disputes.
  await expectSame(
    proxy,
    () => api.list('payment', WINDOW, null),
    () => sdk.payments.all(page),
  );
  await expectSame(
    proxy,
    () => api.list('dispute', WINDOW, null),
    () => sdk.disputes.all(page),
  );
  await expectSame(
    proxy,
    () => api.retrieve('payment', 'pay_captured'),
    () => sdk.payments.fetch('pay_captured'),
  );
  await expectSame(
    proxy,
    () => api.retrieve('dispute', 'dis_won'),
    () => sdk.disputes.fetch('dis_won'),
  );
  // Of each refund its payment is asked for as well.
  await api.list('refund', WINDOW, null);
  const [list] = asked(proxy);
  await sdk.refunds.all(page);
  expect(asked(proxy)).toEqual([list]);
});

it('Paddle', async () => {
  const { proxy, api, apiKey } = await connected('paddle');
  const sdk = new Paddle(apiKey, { environment: proxy.url as Environment });
  const times = { 'createdAt[GTE]': since.toISOString(), 'createdAt[LT]': until.toISOString() };
  await expectSame(
    proxy,
    () => api.list('payment', WINDOW, null),
    () => sdk.transactions.list({ status: ['completed'], ...times, orderBy: 'id[ASC]', perPage: 30 }).next(),
  );
  await expectSame(
    proxy,
    () => api.list('refund', WINDOW, null),
    () => sdk.adjustments.list({ action: 'refund', orderBy: 'id[DESC]', perPage: 50 }).next(),
  );
  const id = 'txn_01hv8m0mnx3sj85e7gxc6kga03';
  await expectSame(
    proxy,
    () => api.retrieve('payment', id),
    () => sdk.transactions.get(id),
  );
  const refundId = 'adj_01hv8m0mnx3sj85e7gxc6kga00';
  await expectSame(
    proxy,
    () => api.retrieve('refund', refundId),
    () => sdk.adjustments.list({ id: [refundId] }).next(),
  );
  await api.list('dispute', WINDOW, null);
  const [list, ...reversals] = asked(proxy);
  const page = { orderBy: 'id[DESC]', perPage: 50 };
  await sdk.adjustments.list(page).next();
  expect(asked(proxy)).toEqual([list]);
  for (const action of ['chargeback_reverse', 'chargeback_warning_reverse'] as const) {
    await sdk.adjustments.list({ ...page, action, transactionId: [id], status: ['approved'] }).next();
  }
  expect(reversals).toEqual(asked(proxy));
});

it('Polar', async () => {
  const { proxy, api, apiKey } = await connected('polar');
  const sdk = createPolar({ accessToken: apiKey, baseUrl: proxy.url });
  const page = { sorting: ['-created_at' as const], page: 1, limit: 100 };
  const times = {
    created_after: new Date(since.getTime() - 1).toISOString(),
    created_before: until.toISOString(),
  };
  await expectSame(
    proxy,
    () => api.list('payment', WINDOW, null),
    () => sdk.orders.list({ ...times, ...page }),
  );
  await expectSame(
    proxy,
    () => api.list('refund', WINDOW, null),
    () => sdk.refunds.list(page),
  );
  await expectSame(
    proxy,
    () => api.list('dispute', WINDOW, null),
    () => sdk.disputes.list(page),
  );
  const id = '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000001';
  await expectSame(
    proxy,
    () => api.retrieve('payment', id),
    () => sdk.orders.get(id),
  );
  // The package says what the API does unasked.
  await api.retrieve('refund', id);
  const [found = ''] = asked(proxy);
  await sdk.refunds.list({ id });
  expect(asked(proxy)).toEqual([`${found} limit=10 page=1 sorting=-created_at`]);
});

it.each(['payment', 'refund'] as const satisfies readonly ListedKind[])('Lemon Squeezy, for a %s', async (kind) => {
  const { proxy, api, apiKey } = await connected('lemonsqueezy', ':84123');
  const { fetch } = globalThis;
  vi.spyOn(globalThis, 'fetch').mockImplementation((url, init) =>
    fetch(String(url).replace('https://api.lemonsqueezy.com', proxy.url), init),
  );
  lemonSqueezySetup({ apiKey });
  const page = { filter: { storeId: 84123 }, page: { number: 1, size: 100 } };
  await expectSame(
    proxy,
    () => api.list(kind, WINDOW, null),
    () => listOrders(page),
  );
  await expectSame(
    proxy,
    () => api.list(kind, WINDOW, 'subscription-invoices 1'),
    () => listSubscriptionInvoices(page),
  );
  await expectSame(
    proxy,
    () => api.retrieve(kind, 'order_1'),
    () => getOrder(1),
  );
  await expectSame(
    proxy,
    () => api.retrieve(kind, 'invoice_3'),
    () => getSubscriptionInvoice(3),
  );
});
