import { type Environment, Paddle } from '@paddle/paddle-node-sdk';
import { createPolar } from '@polar-sh/sdk/2026-10';
import { afterEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import { STAGES } from '../../src/payments/fact.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { connectLemonSqueezy } from '../../src/providers/lemonsqueezy/api.ts';
import { connectPaddle } from '../../src/providers/paddle/api.ts';
import { connectPolar } from '../../src/providers/polar/api.ts';
import type {
  ConnectProviderApi,
  Listed,
  ListedKind,
  ProviderAccount,
  ProviderApi,
  Window,
} from '../../src/providers/shared/api.ts';
import {
  LEMONSQUEEZY_API_KEY,
  PADDLE_API_KEY,
  POLAR_ACCESS_TOKEN,
  PROXY_PATH,
  type ProviderApiServer,
  polarDispute,
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
  if (outcome.kind === 'ignored') return { ...outcome, eventType: '' };
  const facts = outcome.facts?.map((fact) => ({ ...fact, occurredAt: fact.occurredAt !== null, triedAt: null }));
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
  const account = (apiKey: string, options: Partial<ProviderAccount> = {}) =>
    connect({ apiKey: new Secret(apiKey), mode: 'test', baseUrl: server.url, ...options });
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
    // Paddle's pages hold 30 transactions, and 50 adjustments.
    expect(server.requests).toHaveLength(5);
  });

  it('asks for adjustments of one action or of all, since Paddle finds no list of them', async () => {
    const actions = ['refund', 'chargeback', 'chargeback_warning', 'credit'];
    const { server, api } = await paddleApi(
      [],
      actions.map((action, index) => adjustmentAt(index, MIDDAY, action)),
    );
    expect(await idsOf(api, 'refund')).toEqual(['adj_000000']);
    expect(await idsOf(api, 'dispute')).toEqual(['adj_000002', 'adj_000001']);
    const asked = server.requests.map((path) => new URL(path, server.url).searchParams.get('action'));
    expect(asked).toEqual(['refund', null, 'chargeback_reverse', 'chargeback_warning_reverse']);
    const paths = ['/adjustments?action=chargeback,refund', '/adjustments?per_page=51', '/transactions?per_page=31'];
    for (const path of paths) {
      const answer = await fetch(`${server.url}${path}`, { headers: { authorization: `Bearer ${PADDLE_API_KEY}` } });
      expect(answer.status, path).toBe(400);
    }
  });

  it('finds the reversals of many chargebacks, over several pages', async () => {
    const pairs = range(120).flatMap((index) => {
      const chargeback = { ...adjustmentAt(index, MIDDAY, 'chargeback'), transaction_id: `txn_${index}` };
      const later = {
        ...adjustmentAt(500 + index, timeAt(UNTIL, DAY_MS), 'chargeback_reverse'),
        transaction_id: `txn_${index}`,
      };
      return [chargeback, later];
    });
    const { api } = await paddleApi([], pairs, 20);
    expect(await idsOf(api, 'dispute')).toEqual([]);
    const many = range(30).map((index) => ({
      ...adjustmentAt(500 + index, MIDDAY, 'chargeback_reverse'),
      transaction_id: 'txn_0',
    }));
    const endless = await paddleApi([], [...pairs.slice(0, 1), ...many], 1);
    await expect(endless.api.retrieve('dispute', 'adj_000000')).rejects.toMatchObject({ kind: 'refused' });
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

  it('leaves out transactions that are not completed, and retrieves those that failed as well', async () => {
    const completed = transactionAt(9, MIDDAY);
    const states = ['draft', 'ready', 'billed', 'paid', 'past_due', 'canceled'];
    const others = states.map((status, index) => transactionAt(index, MIDDAY, { status }));
    const { api } = await paddleApi([...others, completed]);
    expect(await idsOf(api, 'payment')).toEqual(['txn_000009']);
    const found = await api.retrieve('payment', 'txn_000009');
    expect(found).toMatchObject({ kind: 'payment', objectId: 'txn_000009', state: 'completed' });
    expect(said('paddle', found?.body ?? '')).toEqual(said('paddle', paddleTransaction({ paymentId: 'txn_000009' })));
    const asTheyStand = await Promise.all(others.map(({ id }) => api.retrieve('payment', String(id))));
    expect(asTheyStand.map((one) => one?.state ?? null)).toEqual([null, null, null, null, 'past_due', null]);
    expect(PROVIDERS.paddle.interpret(asTheyStand[4]?.body ?? Buffer.alloc(0))).toMatchObject({
      eventType: 'transaction.past_due',
      facts: [{ kind: 'payment', state: 'failed' }],
    });
    for (const id of ['txn_unknown', '../customers']) expect(await api.retrieve('payment', id)).toBeNull();
  });

  it.each([
    ['refund', 'refund'],
    ['dispute', 'chargeback'],
  ] as const)('retrieves a %s that was decided long after it was made', async (kind, action) => {
    const others = range(60).map((index) => adjustmentAt(100 + index, MIDDAY, action));
    const held = { ...adjustmentAt(1, timeAt(SINCE, -90 * DAY_MS), action), status: 'pending_approval' };
    const { server, api } = await paddleApi([], [...others, held]);
    const stateOf = async () => said('paddle', (await api.retrieve(kind, 'adj_000001'))?.body ?? '');
    expect(await stateOf()).toMatchObject({ facts: [{ kind, state: kind === 'refund' ? 'pending' : 'open' }] });
    held.status = 'approved';
    expect(await stateOf()).toMatchObject({ facts: [{ kind, state: kind === 'refund' ? 'succeeded' : 'lost' }] });
    const listed = (await listedOf(api, kind)).find(({ objectId }) => objectId === 'adj_000100');
    expect(await api.retrieve(kind, 'adj_000100')).toEqual(listed);
    for (const id of ['adj_unknown', 'chargeback', 'adj_1,adj_000001']) {
      expect(await api.retrieve(kind, id)).toBeNull();
    }
    expect(await api.retrieve(kind === 'refund' ? 'dispute' : 'refund', 'adj_000001')).toBeNull();
    expect(server.requests.filter((path) => path.includes('adj_1,'))).toEqual([]);
  });

  it('does not retrieve a chargeback that was reversed since', async () => {
    const adjustments = [adjustmentAt(1, MIDDAY, 'chargeback'), adjustmentAt(2, MIDDAY, 'chargeback_reverse')];
    const { api } = await paddleApi([], adjustments);
    expect(await api.retrieve('dispute', 'adj_000001')).toBeNull();
    expect(await api.retrieve('dispute', 'adj_000002')).toMatchObject({ objectId: 'adj_000002' });
  });

  it('asks for a page of chargebacks once, whatever becomes of the question for their reversals', async () => {
    const { server, api } = await paddleApi([], [adjustmentAt(1, MIDDAY, 'chargeback')]);
    server.script(null, { status: 429 }, { status: 500 });
    await expect(api.list('dispute', WINDOW, null)).rejects.toMatchObject({ kind: 'rate_limited' });
    await expect(api.list('dispute', WINDOW, null)).rejects.toMatchObject({ kind: 'unavailable' });
    expect((await api.list('dispute', WINDOW, null)).listed).toHaveLength(1);
    expect(server.requests.map((path) => path.includes('transaction_id='))).toEqual([false, true, true, true]);
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
    const chosen = await paddle.adjustments.list({ id: ['adj_000001'], action: 'refund' }).next();
    expect(chosen.map(({ id }) => id)).toEqual(['adj_000001']);
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
    expect(api.kinds).toEqual(['payment', 'refund', 'dispute']);
  });

  it('lists disputes, of which it sends no event, and retrieves them as they stand', async () => {
    const statuses = ['early_warning', 'needs_response', 'under_review', 'prevented', 'won', 'lost'];
    const inWindow = statuses.map((status, index) => polarDispute(uuid(index), uuid(100 + index), { status }));
    const others = [timeAt(SINCE, -1), timeAt(UNTIL, 0)].map((created_at, index) =>
      polarDispute(uuid(50 + index), uuid(0), { created_at }),
    );
    const { server, account } = await connected(
      connectPolar,
      POLAR_ACCESS_TOKEN,
      startPolarApi({ orders: [], refunds: [], disputes: [...inWindow, ...others] }, 4),
    );
    const api = account(POLAR_ACCESS_TOKEN);
    const listed = await listedOf(api, 'dispute');
    const facts = listed.map(({ body }) => PROVIDERS.polar.interpret(body));
    const states = ['open', 'open', 'open', 'withdrawn', 'won', 'lost'];
    expect(facts).toEqual(
      states.map((state, index) => ({
        kind: 'facts',
        eventType: 'dispute.listed',
        facts: [
          {
            ...{ kind: 'dispute', paymentId: uuid(100 + index), disputeId: uuid(index), state },
            ...{ amountMinor: 5950, currency: 'USD', occurredAt: new Date(MIDDAY) },
            stage: index === 0 ? STAGES.inquiry : STAGES.chargeback,
          },
        ],
      })),
    );
    expect(await api.retrieve('dispute', uuid(5))).toEqual(listed[5]);
    for (const id of [uuid(999), '..', '']) expect(await api.retrieve('dispute', id)).toBeNull();
    // A token of before may lack the scope.
    server.script({ status: 403 });
    await expect(api.list('dispute', WINDOW, null)).rejects.toMatchObject({
      kind: 'unauthorized',
      message: expect.stringContaining('it wants the scope disputes:read'),
    });
    const polar = createPolar({ accessToken: POLAR_ACCESS_TOKEN, baseUrl: server.url });
    expect((await polar.disputes.list({ limit: 2 })).items).toHaveLength(2);
    expect((await polar.disputes.get(uuid(5))).status).toBe('lost');
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

  it('leaves out orders that are not paid, in lists and by their ids', async () => {
    const paid = [orderAt(1, MIDDAY), orderAt(2, MIDDAY, { status: 'refunded' })];
    const unpaid = ['draft', 'pending', 'void'].map((status, index) =>
      orderAt(10 + index, MIDDAY, { status, paid: false }),
    );
    const { api } = await polarApi([...paid, ...unpaid]);
    expect((await listedOf(api, 'payment')).map(({ state }) => state)).toEqual(['paid', 'refunded']);
    const found = await api.retrieve('payment', uuid(1));
    expect(said('polar', found?.body ?? '')).toEqual(said('polar', polarOrderPaid({ paymentId: uuid(1) })));
    for (const id of [uuid(10), uuid(11), uuid(12), uuid(999), '..']) {
      expect(await api.retrieve('payment', id)).toBeNull();
    }
  });

  it('retrieves a refund that was decided long after it was made', async () => {
    const held = { ...refundAt(1, timeAt(SINCE, -90 * DAY_MS)), status: 'pending' };
    const { api } = await polarApi([], [...range(30).map((index) => refundAt(100 + index, MIDDAY)), held]);
    const stateOf = async () => said('polar', (await api.retrieve('refund', uuid(1)))?.body ?? '');
    expect(await stateOf()).toMatchObject({ facts: [{ kind: 'refund', refundId: uuid(1), state: 'pending' }] });
    held.status = 'succeeded';
    expect(await stateOf()).toMatchObject({ facts: [{ kind: 'refund', refundId: uuid(1), state: 'succeeded' }] });
    const listed = (await listedOf(api, 'refund')).find(({ objectId }) => objectId === uuid(100));
    expect(await api.retrieve('refund', uuid(100))).toEqual(listed);
    for (const id of [uuid(999), '..', '']) expect(await api.retrieve('refund', id)).toBeNull();
    expect(await api.retrieve('dispute', uuid(1))).toBeNull();
  });

  it.each(['polar_pat_0123456789abcdefghij', 'polar_0123456789abcdefghij', 'a_token_of_somebody_else'])(
    'refuses %s, for only the token of an organization sees one organization alone',
    (apiKey) => {
      const connecting = () => connectPolar({ apiKey: new Secret(apiKey), mode: 'live' });
      const message = expect.stringMatching(/^polar: the API key must be an organization access token \(polar_oat_…\)/);
      expect(connecting).toThrow(expect.objectContaining({ kind: 'refused', message }));
      expect(connecting).toThrow(expect.objectContaining({ message: expect.not.stringContaining(apiKey) }));
    },
  );

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
    expect((await polar.refunds.list({ id: [uuid(0)] })).items).toHaveLength(1);
    expect((await polar.refunds.list({ id: uuid(1) })).items).toEqual([]);
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
    const found = await api.retrieve('payment', 'order_7');
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
    const found = await Promise.all([1, 2, 3, 4, 5].map((id) => api.retrieve('payment', `invoice_${id}`)));
    expect(found.map((one) => one?.state ?? null)).toEqual(['paid', null, null, null, 'refunded']);
  });

  it('leaves out the refunds of invoices that an order tells', async () => {
    const refunded = { status: 'refunded', refunded: true, refunded_amount: 5000, refunded_at: MIDDAY };
    const { api } = await lemonSqueezyApi(
      [orderAt(3, MIDDAY, refunded)],
      [
        invoiceAt(1, MIDDAY, { ...refunded, billing_reason: 'initial' }),
        invoiceAt(2, MIDDAY, { ...refunded, billing_reason: 'renewal' }),
      ],
    );
    expect(await idsOf(api, 'refund')).toEqual(['order_3', 'invoice_2']);
    expect(await api.retrieve('refund', 'invoice_1')).toBeNull();
  });

  it('retrieves the sum refunded of a payment, however long ago that was made', async () => {
    const order = orderAt(1, timeAt(SINCE, -300 * DAY_MS));
    const invoice = invoiceAt(1, timeAt(SINCE, -300 * DAY_MS));
    const { api } = await lemonSqueezyApi([order], [invoice]);
    const ids = ['order_1', 'invoice_1'];
    const refunds = () => Promise.all(ids.map((id) => api.retrieve('refund', id)));
    expect(await refunds()).toEqual([null, null]);
    for (const one of [order, invoice]) within(one, 'attributes').refunded_amount = 250;
    const found = await refunds();
    expect(found.map((one) => one?.objectId)).toEqual(ids);
    expect(found.map((one) => said('lemonsqueezy', one?.body ?? ''))).toMatchObject(
      ids.map((paymentId) => ({ facts: [{ kind: 'refund', paymentId, refundId: 'total', amountMinor: 250 }] })),
    );
    for (const id of ['total', 'order_2', '1']) expect(await api.retrieve('refund', id)).toBeNull();
    expect(await api.retrieve('dispute', 'order_1')).toBeNull();
  });

  it('finds a payment by its prefix', async () => {
    const { api } = await lemonSqueezyApi([orderAt(1, MIDDAY)], [invoiceAt(1, MIDDAY), invoiceAt(2, MIDDAY)]);
    const ids = ['order_1', 'invoice_1', 'invoice_2', 'order_2', '1', 'order_1/../../users/me', 'order_'];
    const found = await Promise.all(ids.map((id) => api.retrieve('payment', id)));
    expect(found.map((one) => one?.objectId ?? null)).toEqual([...ids.slice(0, 3), null, null, null, null]);
  });

  it('sees one store alone if its key names one', async () => {
    const orders = [orderAt(1, MIDDAY, { store_id: 11 }), orderAt(2, MIDDAY, { store_id: 22 })];
    const { api, account } = await lemonSqueezyApi(orders);
    const ofStore = account(`${LEMONSQUEEZY_API_KEY}:22`);
    expect(await idsOf(api, 'payment')).toEqual(['order_1', 'order_2']);
    expect(await idsOf(ofStore, 'payment')).toEqual(['order_2']);
    expect(await ofStore.retrieve('payment', 'order_1')).toBeNull();
    expect(await ofStore.retrieve('payment', 'order_2')).toMatchObject({ objectId: 'order_2' });
  });
});

describe.each([
  ['Paddle', connectPaddle, () => paddleApi([]), PADDLE_API_KEY, { payment: 'txn_1', refund: 'adj_1' }],
  ['Polar', connectPolar, () => polarApi([]), POLAR_ACCESS_TOKEN, { payment: uuid(1), refund: uuid(2) }],
  [
    ...(['Lemon Squeezy', connectLemonSqueezy, () => lemonSqueezyApi([]), LEMONSQUEEZY_API_KEY] as const),
    { payment: 'order_1', refund: 'order_1' },
  ],
] as const)('failures of %s', (_name, connect, start, key, ids) => {
  it('no list where there should be one, and nobody at the address', async () => {
    const { server, api } = await start();
    server.script({ status: 404 });
    await expect(api.list('refund', WINDOW, null)).rejects.toMatchObject({ kind: 'refused' });
    await server.close();
    await expect(api.list('refund', WINDOW, null)).rejects.toMatchObject({ kind: 'unavailable' });
    servers.splice(0);
  });

  it('none under a path, which is kept', async () => {
    const { server, account } = await start();
    const proxied = account(key, { baseUrl: `${server.url}${PROXY_PATH}` });
    expect(await proxied.list('payment', WINDOW, null)).toMatchObject({ listed: [] });
    expect(await proxied.retrieve('payment', ids.payment)).toBeNull();
    expect(server.requests.map((path) => path.startsWith(`${PROXY_PATH}/`))).not.toContain(false);
  });

  it('a key of more than 4,200 characters', async () => {
    const { account } = await start();
    const longest = account(key.padEnd(4200, 'x'));
    await expect(longest.list('payment', WINDOW, null)).rejects.toMatchObject({ kind: 'unauthorized' });
    expect(() => account(key.padEnd(4201, 'x'))).toThrow(expect.objectContaining({ kind: 'refused' }));
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
