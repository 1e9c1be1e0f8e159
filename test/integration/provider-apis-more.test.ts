import { type Environment, Paddle } from '@paddle/paddle-node-sdk';
import { createPolar } from '@polar-sh/sdk/2026-10';
import { afterEach, describe, expect, it } from 'vitest';
import type { ConnectProviderApi, Listed, ListedKind, ProviderApi, Window } from '../../src/provider-apis/api.ts';
import { connectLemonSqueezy } from '../../src/provider-apis/lemonsqueezy.ts';
import { connectPaddle } from '../../src/provider-apis/paddle.ts';
import { connectPolar } from '../../src/provider-apis/polar.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { Secret } from '../../src/secret.ts';
import {
  LEMONSQUEEZY_API_KEY,
  PADDLE_API_KEY,
  POLAR_ACCESS_TOKEN,
  type ProviderApiServer,
  startLemonSqueezyApi,
  startPaddleApi,
  startPolarApi,
} from '../support/provider-api-server-more.ts';
import { type JsonObject, within } from '../support/provider-fixtures.ts';
import {
  lemonSqueezyInvoice,
  lemonSqueezyOrder,
  lemonSqueezyOrderRefund,
  paddleAdjustment,
  paddleTransaction,
  polarOrderPaid,
  polarRefund,
} from '../support/signing-more.ts';

const SINCE = new Date('2026-10-28T00:00:00.000Z');
const UNTIL = new Date('2026-10-29T00:00:00.000Z');
const WINDOW: Window = { since: SINCE, until: UNTIL };
const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;

const timeAt = (time: Date, ms: number): string => new Date(time.getTime() + ms).toISOString();
/** Both ends of the window, from either side. */
const EDGES: readonly (readonly [string, boolean])[] = [
  [timeAt(SINCE, -1), false],
  [timeAt(SINCE, 0), true],
  [timeAt(UNTIL, -1), true],
  [timeAt(UNTIL, 0), false],
];
const MIDDAY = timeAt(SINCE, DAY_MS / 2);

/** The object that a webhook's body is about, as the API shows it too, with some fields of its own. */
function objectOf(body: string, changes: JsonObject = {}): JsonObject {
  return { ...within(JSON.parse(body) as JsonObject, 'data'), ...changes };
}

/** The same of Lemon Squeezy, whose fields lie in `attributes`. */
function resourceOf(body: string, changes: JsonObject = {}): JsonObject {
  const resource = objectOf(body);
  return { ...resource, attributes: { ...within(resource, 'attributes'), ...changes } };
}

type Name = 'paddle' | 'polar' | 'lemonsqueezy';

/** What a body says, but for the event's name and the exact time, which the API's objects only come close to. */
function said(name: Name, body: Buffer | string): unknown {
  const outcome = PROVIDERS[name].interpret(Buffer.from(body));
  if (outcome.kind !== 'facts') return { ...outcome, eventType: '' };
  const facts = outcome.facts.map((fact) => ({ ...fact, occurredAt: fact.occurredAt !== null }));
  return { ...outcome, eventType: '', facts };
}

async function pagesOf(
  api: ProviderApi,
  kind: ListedKind,
  betweenPages = () => {},
): Promise<readonly (readonly Listed[])[]> {
  const pages: (readonly Listed[])[] = [];
  let cursor: string | null = null;
  do {
    const { listed, next } = await api.list(kind, WINDOW, cursor);
    pages.push(listed);
    expect((next ?? '').length).toBeLessThan(1000);
    cursor = next;
    betweenPages();
  } while (cursor !== null && pages.length < 50);
  return pages;
}

const listedOf = async (api: ProviderApi, kind: ListedKind) => (await pagesOf(api, kind)).flat();
const idsOf = async (api: ProviderApi, kind: ListedKind) => (await listedOf(api, kind)).map(({ objectId }) => objectId);

const servers: ProviderApiServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function connected(connect: ConnectProviderApi, key: string, starting: Promise<ProviderApiServer>) {
  const server = await starting;
  servers.push(server);
  const account = (apiKey: string) => connect({ apiKey: new Secret(apiKey), mode: 'test', baseUrl: server.url });
  return { server, api: account(key), account };
}

const paddleApi = (transactions: JsonObject[], adjustments: JsonObject[] = [], maxPerPage?: number) =>
  connected(connectPaddle, PADDLE_API_KEY, startPaddleApi({ transactions, adjustments }, maxPerPage));
const polarApi = (orders: JsonObject[], refunds: JsonObject[] = [], maxLimit?: number) =>
  connected(connectPolar, POLAR_ACCESS_TOKEN, startPolarApi({ orders, refunds }, maxLimit));
const lemonSqueezyApi = (orders: JsonObject[], invoices: JsonObject[] = [], maxPageSize?: number) =>
  connected(connectLemonSqueezy, LEMONSQUEEZY_API_KEY, startLemonSqueezyApi({ orders, invoices }, maxPageSize));

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index);
const numberText = (index: number): string => String(index).padStart(6, '0');
const uuid = (index: number): string => `5b1c9f0e-6d1a-4f6e-9a43-3f4e8d${numberText(index)}`;

describe('Paddle', () => {
  /** Paddle's ids sort by creation. */
  const transactionAt = (index: number, createdAt: string, changes: JsonObject = {}) =>
    objectOf(paddleTransaction({ paymentId: `txn_${numberText(index)}` }), { created_at: createdAt, ...changes });
  const adjustmentAt = (index: number, createdAt: string, action = 'refund') =>
    objectOf(paddleAdjustment({ paymentId: 'txn_1', adjustmentId: `adj_${numberText(index)}`, action }), {
      created_at: createdAt,
    });

  it('lists each completed transaction and each adjustment of the window once, over its pages', async () => {
    const transactions = range(70).map((index) => transactionAt(index, timeAt(SINCE, index * SECOND_MS)));
    const adjustments = range(70).map((index) => adjustmentAt(index, timeAt(SINCE, index * SECOND_MS)));
    const { server, api } = await paddleApi(transactions, adjustments);
    const payments = await pagesOf(api, 'payment');
    expect(payments.map((page) => page.length)).toEqual([30, 30, 10]);
    expect(payments.flat().map(({ objectId }) => objectId)).toEqual(transactions.map(({ id }) => id));
    expect(await idsOf(api, 'refund')).toEqual(adjustments.map(({ id }) => id).toReversed());
    expect(server.requests).toHaveLength(6);
  });

  it('keeps to the window at both ends, and reads no adjustments from before it', async () => {
    const inOrder = EDGES.map(([createdAt], index) => transactionAt(index, createdAt));
    const old = range(50).map((index) => adjustmentAt(index, timeAt(SINCE, -DAY_MS)));
    const adjustments = [...old, ...EDGES.map(([createdAt], index) => adjustmentAt(100 + index, createdAt))];
    const { server, api } = await paddleApi(inOrder, adjustments, 10);
    expect(await idsOf(api, 'payment')).toEqual(['txn_000001', 'txn_000002']);
    expect(await idsOf(api, 'refund')).toEqual(['adj_000102', 'adj_000101']);
    expect(server.requests).toHaveLength(2);
  });

  it('leaves out transactions that are not completed, and shows them as they stand when asked for', async () => {
    const completed = transactionAt(9, MIDDAY);
    const states = ['draft', 'ready', 'billed', 'paid', 'past_due', 'canceled'];
    const others = states.map((status, index) => transactionAt(index, MIDDAY, { status }));
    const { api } = await paddleApi([...others, completed]);
    expect(await idsOf(api, 'payment')).toEqual(['txn_000009']);
    const found = await api.retrievePayment('txn_000009');
    expect(found).toMatchObject({ kind: 'payment', objectId: 'txn_000009', state: 'completed' });
    expect(said('paddle', found?.body ?? '')).toEqual(said('paddle', paddleTransaction({ paymentId: 'txn_000009' })));
    const asTheyStand = await Promise.all(others.map(({ id }) => api.retrievePayment(String(id))));
    expect(asTheyStand.map((one) => PROVIDERS.paddle.interpret(one?.body ?? Buffer.alloc(0)))).toMatchObject([
      { eventType: 'transaction.created', kind: 'ignored' },
      { eventType: 'transaction.ready', kind: 'ignored' },
      { eventType: 'transaction.billed', kind: 'ignored' },
      { eventType: 'transaction.paid', kind: 'ignored' },
      { eventType: 'transaction.past_due', kind: 'facts', facts: [{ state: 'failed' }] },
      { eventType: 'transaction.canceled', kind: 'ignored' },
    ]);
    expect(await api.retrievePayment('txn_unknown')).toBeNull();
    expect(await api.retrievePayment('../customers')).toBeNull();
  });

  it.each([
    paddleTransaction(),
    paddleTransaction({ amount: '700', currency: 'JPY', customer: null, customData: null }),
    paddleTransaction({ customData: { wallet_customer_id: 'cus_b', wallet_purpose: 'order' } }),
  ])('tells the fact of its event %#', async (webhook) => {
    const { api } = await paddleApi([objectOf(webhook, { created_at: MIDDAY })]);
    const [payment] = await listedOf(api, 'payment');
    expect(said('paddle', payment?.body ?? '')).toEqual(said('paddle', webhook));
    expect(said('paddle', webhook)).toMatchObject({ kind: 'facts' });
  });

  it.each(['refund', 'chargeback', 'chargeback_reverse', 'chargeback_warning', 'chargeback_warning_reverse', 'credit'])(
    'tells the fact of an adjustment of the action %s, in every status',
    async (action) => {
      const statuses = ['pending_approval', 'approved', 'rejected', 'reversed'] as const;
      const webhooks = statuses.map((status, index) =>
        paddleAdjustment({ paymentId: 'txn_1', adjustmentId: `adj_${index}`, action, status }),
      );
      const { api } = await paddleApi(
        [],
        webhooks.map((webhook) => objectOf(webhook, { created_at: MIDDAY })),
      );
      const kind = action === 'refund' ? 'refund' : 'dispute';
      const found = (await listedOf(api, kind)).toReversed();
      const expected = action === 'credit' ? [] : webhooks;
      expect(found.map(({ body }) => said('paddle', body))).toEqual(expected.map((body) => said('paddle', body)));
      expect(found.map(({ state }) => state)).toEqual(expected.map((_, index) => statuses[index]));
      expect(await listedOf(api, kind === 'refund' ? 'dispute' : 'refund')).toEqual([]);
    },
  );

  it.each(['', '_warning'])(
    'leaves out a chargeback%s that was reversed later, even after the window',
    async (kind) => {
      const adjustments = [
        adjustmentAt(1, MIDDAY, `chargeback${kind}`),
        adjustmentAt(2, MIDDAY, `chargeback${kind}_reverse`),
        adjustmentAt(3, MIDDAY, `chargeback${kind}`),
        { ...adjustmentAt(4, MIDDAY, `chargeback${kind}`), transaction_id: 'txn_2' },
        { ...adjustmentAt(5, timeAt(UNTIL, DAY_MS), `chargeback${kind}_reverse`), transaction_id: 'txn_2' },
        { ...adjustmentAt(6, MIDDAY, `chargeback${kind}`), transaction_id: 'txn_3' },
        { ...adjustmentAt(7, MIDDAY, `chargeback${kind}_reverse`), transaction_id: 'txn_3', status: 'rejected' },
      ];
      const { api } = await paddleApi([], adjustments);
      expect(await idsOf(api, 'dispute')).toEqual(['adj_000007', 'adj_000006', 'adj_000003', 'adj_000002']);
    },
  );

  it('is served here as its own package reads it', async () => {
    const { server } = await paddleApi(
      range(40).map((index) => transactionAt(index, MIDDAY)),
      range(3).map((index) => adjustmentAt(index, MIDDAY)),
    );
    const paddle = new Paddle(PADDLE_API_KEY, { environment: server.url as Environment });
    const transactions = paddle.transactions.list({ status: ['completed'], orderBy: 'id[ASC]', perPage: 30 });
    const page = await transactions.next();
    expect(page.map(({ id }) => id)).toEqual(range(30).map((index) => `txn_${numberText(index)}`));
    expect(page[0]).toMatchObject({ status: 'completed', details: { totals: { grandTotal: '5000' } } });
    expect(transactions.hasMore).toBe(true);
    const adjustments = await paddle.adjustments.list({ action: 'refund' }).next();
    expect(adjustments.map(({ id }) => id)).toEqual(['adj_000002', 'adj_000001', 'adj_000000']);
    expect((await paddle.transactions.get('txn_000001')).id).toBe('txn_000001');
    await expect(paddle.transactions.get('txn_unknown')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('refuses a key of the other environment', () => {
    const live = PADDLE_API_KEY.replace('sdbx', 'live');
    const connect = (apiKey: string, mode: 'test' | 'live') => () =>
      connectPaddle({ apiKey: new Secret(apiKey), mode });
    expect(connect(live, 'test')).toThrow(expect.objectContaining({ kind: 'refused' }));
    expect(connect(PADDLE_API_KEY, 'live')).toThrow(expect.objectContaining({ kind: 'refused' }));
    expect(connect(live, 'live')).not.toThrow();
    expect(connect('0123456789abcdef'.repeat(3), 'live')).not.toThrow();
  });
});

describe('Polar', () => {
  const orderAt = (index: number, createdAt: string, changes: JsonObject = {}) =>
    objectOf(polarOrderPaid({ paymentId: uuid(index) }), { created_at: createdAt, ...changes });
  const refundAt = (index: number, createdAt: string) =>
    objectOf(polarRefund({ paymentId: uuid(0), refundId: uuid(index) }), { created_at: createdAt });

  it('lists each paid order and each refund of the window once, over its pages', async () => {
    const orders = range(250).map((index) => orderAt(index, timeAt(SINCE, index * SECOND_MS)));
    const refunds = range(250).map((index) => refundAt(index, timeAt(SINCE, index * SECOND_MS)));
    const { server, api } = await polarApi(orders, refunds);
    const newestFirst = range(250).map(uuid).toReversed();
    expect((await pagesOf(api, 'payment')).map((page) => page.length)).toEqual([100, 100, 50]);
    expect(await idsOf(api, 'payment')).toEqual(newestFirst);
    expect(await idsOf(api, 'refund')).toEqual(newestFirst);
    expect(server.requests).toHaveLength(9);
    expect(api.kinds).toEqual(['payment', 'refund']);
    expect(await api.list('dispute', WINDOW, null)).toEqual({ listed: [], next: null });
  });

  it('keeps to the window at both ends, and reads no refunds from before it', async () => {
    const orders = EDGES.map(([createdAt], index) => orderAt(index, createdAt.replace('Z', '000Z')));
    const old = range(50).map((index) => refundAt(100 + index, timeAt(SINCE, -DAY_MS)));
    const { server, api } = await polarApi(
      orders,
      [...old, ...EDGES.map(([time], index) => refundAt(index, time))],
      10,
    );
    expect(await idsOf(api, 'payment')).toEqual([uuid(2), uuid(1)]);
    expect(await idsOf(api, 'refund')).toEqual([uuid(2), uuid(1)]);
    expect(server.requests).toHaveLength(2);
  });

  it('hides nothing when refunds are made while it pages', async () => {
    const refunds = range(45).map((index) => refundAt(index, timeAt(SINCE, index * SECOND_MS)));
    const { api } = await polarApi([], refunds, 10);
    let made = 100;
    const pages = await pagesOf(api, 'refund', () => {
      for (const index of range(3)) refunds.push(refundAt(made + index, timeAt(UNTIL, made * SECOND_MS)));
      made += 3;
    });
    expect(new Set(pages.flat().map(({ objectId }) => objectId))).toEqual(new Set(range(45).map(uuid)));
  });

  it('leaves out orders that are not paid, and shows them as they stand when asked for', async () => {
    const paid = [orderAt(1, MIDDAY), orderAt(2, MIDDAY, { status: 'refunded' })];
    const unpaid = ['draft', 'pending', 'void'].map((status, index) =>
      orderAt(10 + index, MIDDAY, { status, paid: false }),
    );
    const { api } = await polarApi([...paid, ...unpaid]);
    expect((await listedOf(api, 'payment')).map(({ state }) => state)).toEqual(['paid', 'refunded']);
    const pending = await api.retrievePayment(uuid(11));
    expect(pending?.state).toBe('pending');
    expect(said('polar', pending?.body ?? '')).toMatchObject({ kind: 'ignored' });
    const found = await api.retrievePayment(uuid(1));
    expect(said('polar', found?.body ?? '')).toEqual(said('polar', polarOrderPaid({ paymentId: uuid(1) })));
    expect(await api.retrievePayment(uuid(999))).toBeNull();
    expect(await api.retrievePayment('..')).toBeNull();
  });

  it.each([
    polarOrderPaid(),
    polarOrderPaid({ amount: 0, tax: 0 }),
    polarOrderPaid({ amount: 700, tax: 0, currency: 'jpy', customer: null, metadata: { wallet_purpose: 'order' } }),
  ])('tells the fact of its event %#', async (webhook) => {
    const { api } = await polarApi([objectOf(webhook, { created_at: MIDDAY })]);
    const [payment] = await listedOf(api, 'payment');
    expect(said('polar', payment?.body ?? '')).toEqual(said('polar', webhook));
    expect(said('polar', webhook)).toMatchObject({ kind: 'facts' });
  });

  it.each(['pending', 'succeeded', 'failed', 'canceled'] as const)('tells the fact of a refund %s', async (status) => {
    const webhook = polarRefund({ type: 'updated', paymentId: uuid(0), status, amount: 100, tax: 19 });
    const { api } = await polarApi([], [objectOf(webhook, { created_at: MIDDAY })]);
    const [refund] = await listedOf(api, 'refund');
    expect(refund?.state).toBe(status);
    expect(said('polar', refund?.body ?? '')).toEqual(said('polar', webhook));
  });

  it('is served here as its own package reads it', async () => {
    const { server } = await polarApi(
      range(12).map((index) => orderAt(index, timeAt(SINCE, index))),
      [refundAt(0, MIDDAY)],
    );
    const polar = createPolar({ accessToken: POLAR_ACCESS_TOKEN, baseUrl: server.url });
    const times = { created_after: SINCE.toISOString(), created_before: UNTIL.toISOString() };
    const { items, pagination } = await polar.orders.list({ ...times, limit: 5, sorting: ['-created_at'] });
    expect(items.map(({ id }) => id)).toEqual([11, 10, 9, 8, 7].map(uuid));
    expect(items[0]).toMatchObject({ paid: true, due_amount: 5950 });
    expect(pagination).toEqual({ total_count: 11, max_page: 3 });
    expect((await polar.refunds.list()).items).toMatchObject([{ status: 'succeeded', order_id: uuid(0) }]);
    expect((await polar.orders.get(uuid(3))).id).toBe(uuid(3));
    await expect(polar.orders.get(uuid(999))).rejects.toMatchObject({ statusCode: 404 });
  });
});

describe('Lemon Squeezy', () => {
  const orderAt = (id: number, createdAt: string, changes: JsonObject = {}) =>
    resourceOf(lemonSqueezyOrder({ resourceId: String(id) }), { created_at: createdAt, ...changes });
  const invoiceAt = (id: number, createdAt: string, changes: JsonObject = {}) =>
    resourceOf(lemonSqueezyInvoice('success', { resourceId: String(id) }), { created_at: createdAt, ...changes });

  it('lists each order, then each invoice of the window once, over their pages', async () => {
    const orders = range(150).map((index) => orderAt(index, timeAt(SINCE, index * SECOND_MS)));
    const invoices = range(120).map((index) => invoiceAt(index, timeAt(SINCE, index * SECOND_MS)));
    const { server, api } = await lemonSqueezyApi(orders, invoices);
    const pages = await pagesOf(api, 'payment');
    expect(pages.map((page) => page.length)).toEqual([100, 50, 100, 20]);
    expect(pages.flat().map(({ objectId }) => objectId)).toEqual([
      ...range(150)
        .map((index) => `order_${index}`)
        .toReversed(),
      ...range(120)
        .map((index) => `invoice_${index}`)
        .toReversed(),
    ]);
    expect(server.requests[0]).toBe('/v1/orders?page[number]=1&page[size]=100');
    expect(api.kinds).toEqual(['payment', 'refund']);
    expect(await api.list('dispute', WINDOW, null)).toEqual({ listed: [], next: null });
  });

  it('keeps to the window at both ends, and reads no payments from before it', async () => {
    const old = range(50).map((index) => orderAt(100 + index, timeAt(SINCE, -DAY_MS)));
    const orders = [...old, ...EDGES.map(([time], index) => orderAt(index, time))];
    const { server, api } = await lemonSqueezyApi(
      orders,
      EDGES.map(([time], index) => invoiceAt(index, time)),
      10,
    );
    expect(await idsOf(api, 'payment')).toEqual(['order_2', 'order_1', 'invoice_2', 'invoice_1']);
    expect(server.requests).toHaveLength(2);
  });

  it('lists refunds by when they were made, of payments of the months before, and reads no further back', async () => {
    const refunded = { status: 'refunded', refunded: true, refunded_amount: 5000 };
    const orders = [
      ...EDGES.map(([time], index) => orderAt(index, timeAt(SINCE, -90 * DAY_MS), { ...refunded, refunded_at: time })),
      orderAt(8, MIDDAY),
      ...range(12).map((index) => orderAt(50 + index, timeAt(SINCE, -80 * DAY_MS))),
      ...range(30).map((index) => orderAt(100 + index, timeAt(SINCE, -150 * DAY_MS))),
    ];
    const { server, api } = await lemonSqueezyApi(orders, [], 10);
    expect(await idsOf(api, 'refund')).toEqual(['order_1', 'order_2']);
    expect(server.requests).toHaveLength(3);
  });

  it('shows each sum refunded so far as news, even where the order stays paid', async () => {
    const order = orderAt(1, MIDDAY, { refunded_amount: 100, refunded_at: null, updated_at: MIDDAY });
    const { api } = await lemonSqueezyApi([order]);
    const [first] = await listedOf(api, 'refund');
    within(order, 'attributes').refunded_amount = 250;
    const [second] = await listedOf(api, 'refund');
    expect([first, second]).toMatchObject([
      { objectId: 'order_1', state: 'paid 100' },
      { objectId: 'order_1', state: 'paid 250' },
    ]);
    expect(said('lemonsqueezy', second?.body ?? '')).toMatchObject({
      facts: [{ kind: 'refund', paymentId: 'order_1', refundId: 'total', amountMinor: 250 }],
    });
  });

  it.each([
    ['payment', lemonSqueezyOrder({ customData: null })],
    ['payment', lemonSqueezyOrder({ customData: null, status: 'pending' })],
    ['payment', lemonSqueezyOrder({ customData: null, status: 'fraudulent', testMode: true })],
    ['payment', lemonSqueezyOrder({ customData: null, amount: 70000, currency: 'JPY', customer: null })],
    ['payment', lemonSqueezyInvoice('success', { customData: null })],
    ['refund', lemonSqueezyOrderRefund({ customData: null, refundedAmount: 2000 })],
    ['refund', lemonSqueezyOrderRefund({ customData: null, refundedAmount: 5000, testMode: true })],
    ['refund', lemonSqueezyInvoice('refunded', { customData: null })],
    ['refund', lemonSqueezyInvoice('refunded', { customData: null, billingReason: 'initial' })],
  ] as const)('tells of a %s what its event does, and in which mode %#', async (kind, webhook) => {
    const times = { created_at: MIDDAY, ...(kind === 'refund' ? { refunded_at: MIDDAY } : {}) };
    const resource = resourceOf(webhook, times);
    const { api } = await lemonSqueezyApi(
      ...((resource.type === 'orders' ? [[resource]] : [[], [resource]]) as [JsonObject[]]),
    );
    const [found] = await listedOf(api, kind);
    expect(said('lemonsqueezy', found?.body ?? '')).toEqual(said('lemonsqueezy', webhook));
    expect(said('lemonsqueezy', webhook)).toMatchObject({ livemode: !webhook.includes('"test_mode":true') });
  });

  it('cannot tell the metadata, which only the event has', async () => {
    const webhook = lemonSqueezyOrder({ resourceId: '7', customData: { wallet_customer_id: 'cus_ada' } });
    const { api } = await lemonSqueezyApi([resourceOf(webhook)]);
    expect(said('lemonsqueezy', webhook)).toMatchObject({ facts: [{ metadata: { wallet_customer_id: 'cus_ada' } }] });
    const found = await api.retrievePayment('order_7');
    expect(said('lemonsqueezy', found?.body ?? '')).toMatchObject({ facts: [{ paymentId: 'order_7', metadata: {} }] });
  });

  it('leaves out invoices that are not paid, or that an order tells', async () => {
    const { api } = await lemonSqueezyApi(
      [],
      [
        invoiceAt(1, MIDDAY),
        invoiceAt(2, MIDDAY, { status: 'pending' }),
        invoiceAt(3, MIDDAY, { status: 'void' }),
        invoiceAt(4, MIDDAY, { billing_reason: 'initial' }),
        invoiceAt(5, MIDDAY, { status: 'refunded' }),
      ],
    );
    expect(await idsOf(api, 'payment')).toEqual(['invoice_1', 'invoice_5']);
  });

  it('finds a payment by its prefix', async () => {
    const { api } = await lemonSqueezyApi([orderAt(1, MIDDAY)], [invoiceAt(1, MIDDAY), invoiceAt(2, MIDDAY)]);
    const ids = ['order_1', 'invoice_1', 'invoice_2', 'order_2', '1', 'order_1/../../users/me', 'order_'];
    const found = await Promise.all(ids.map((id) => api.retrievePayment(id)));
    expect(found.map((one) => one?.objectId ?? null)).toEqual([...ids.slice(0, 3), null, null, null, null]);
  });

  it('sees one store alone if its key names one', async () => {
    const orders = [orderAt(1, MIDDAY, { store_id: 11 }), orderAt(2, MIDDAY, { store_id: 22 })];
    const { api, account } = await lemonSqueezyApi(orders);
    const ofStore = account(`${LEMONSQUEEZY_API_KEY}:22`);
    expect(await idsOf(api, 'payment')).toEqual(['order_1', 'order_2']);
    expect(await idsOf(ofStore, 'payment')).toEqual(['order_2']);
    expect(await ofStore.retrievePayment('order_1')).toBeNull();
    expect(await ofStore.retrievePayment('order_2')).toMatchObject({ objectId: 'order_2' });
  });
});

describe.each([
  ['Paddle', connectPaddle, () => paddleApi([]), PADDLE_API_KEY, 'txn_1'],
  ['Polar', connectPolar, () => polarApi([]), POLAR_ACCESS_TOKEN, uuid(1)],
  ['Lemon Squeezy', connectLemonSqueezy, () => lemonSqueezyApi([]), LEMONSQUEEZY_API_KEY, 'order_1'],
] as const)('failures of %s', (_name, connect, start, key, paymentId) => {
  it.each([
    ['a limited rate', { status: 429, headers: { 'retry-after': '7' } }, 'rate_limited', 7],
    ['a limited rate without a time', { status: 429 }, 'rate_limited', null],
    ['a fault', { status: 500 }, 'unavailable', null],
    ['a page that is not JSON', { status: 200, text: '<html>' }, 'unavailable', null],
    ['JSON of another form', { status: 200, text: '{"data":[{}],"items":[{}]}' }, 'refused', null],
    ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }, 'unavailable', null],
    ['a missing right', { status: 403 }, 'unauthorized', null],
    ['a request that it does not take', { status: 400 }, 'refused', null],
  ] as const)('%s', async (_case, reply, kind, retryAfterSeconds) => {
    const { server, api } = await start();
    const failure = expect.objectContaining({ name: 'ProviderApiError', kind, retryAfterSeconds });
    server.script(reply, reply);
    await expect(api.list('payment', WINDOW, null)).rejects.toEqual(failure);
    await expect(api.retrievePayment(paymentId)).rejects.toEqual(failure);
    expect(await api.list('payment', WINDOW, null)).toMatchObject({ listed: [] });
  });

  it('no list where there should be one, and nobody at the address', async () => {
    const { server, api } = await start();
    server.script({ status: 404 });
    await expect(api.list('refund', WINDOW, null)).rejects.toMatchObject({ kind: 'refused' });
    await server.close();
    await expect(api.list('refund', WINDOW, null)).rejects.toMatchObject({ kind: 'unavailable' });
    servers.splice(0);
  });

  it('a wrong key, which no message repeats', async () => {
    const { account } = await start();
    const wrong = `${key}Z`;
    const failure = await account(wrong)
      .list('payment', WINDOW, null)
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'unauthorized' });
    expect(String(failure)).not.toContain(wrong.slice(0, 12));
  });

  it.each(['', 'a key with spaces in it, of some length', 'line\r\nbreak: of a header, of some length'])(
    'a key of another form: %j',
    (apiKey) => {
      const connecting = () => connect({ apiKey: new Secret(apiKey), mode: 'test' });
      expect(connecting).toThrow(expect.objectContaining({ name: 'ProviderApiError', kind: 'refused' }));
    },
  );
});
