import Razorpay from 'razorpay';
import { afterEach, describe, expect, test } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import { PROVIDER_APIS } from '../../src/providers/apis.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import {
  type Listed,
  type ListedKind,
  type ProviderAccount,
  type ProviderApi,
  ProviderApiError,
  type Window,
} from '../../src/providers/shared/api.ts';
import { API_KEYS, PROXY_PATH, ProviderApiServer, type ServedProvider } from '../support/provider-api-server.ts';
import type { JsonObject } from '../support/provider-fixtures.ts';
import {
  dodoDispute,
  dodoPayment,
  dodoRefund,
  razorpayDispute,
  razorpayPayment,
  razorpayRefund,
  stripeDispute,
  stripePayment,
  stripeRefund,
} from '../support/signing.ts';

/** The clients of the providers' APIs, with their real SDKs, over HTTP against servers that speak the same routes. */

const SERVED = ['stripe', 'dodo', 'razorpay'] as const satisfies readonly ServedProvider[];
const KINDS: readonly ListedKind[] = ['payment', 'refund', 'dispute'];

/** When Dodo's fixtures happened, which is a whole second nowhere. */
const AT = new Date('2026-10-28T09:30:00.123Z');
const AT_SECONDS = Math.floor(AT.getTime() / 1000);
const DAY: Window = { since: new Date('2026-10-28T00:00:00Z'), until: new Date('2026-10-29T00:00:00Z') };
const later = (date: Date, ms: number): Date => new Date(date.getTime() + ms);

const servers: ProviderApiServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(provider: ServedProvider): Promise<ProviderApiServer> {
  const server = await ProviderApiServer.start(provider);
  servers.push(server);
  return server;
}

function connect(provider: ServedProvider, url: string, options: Partial<ProviderAccount> = {}): ProviderApi {
  const connectApi = PROVIDER_APIS[provider];
  if (connectApi === undefined) throw new Error(`no client of ${provider}`);
  return connectApi({ apiKey: new Secret(API_KEYS[provider]), mode: 'test', baseUrl: url, ...options });
}

async function both(provider: ServedProvider): Promise<{ server: ProviderApiServer; api: ProviderApi }> {
  const server = await serve(provider);
  return { server, api: connect(provider, server.url) };
}

async function listAll(api: ProviderApi, kind: ListedKind, window = DAY): Promise<Listed[]> {
  const listed: Listed[] = [];
  let cursor: string | null = null;
  do {
    const page = await api.list(kind, window, cursor);
    listed.push(...page.listed);
    cursor = page.next;
    expect(cursor?.length ?? 0).toBeLessThanOrEqual(1000);
  } while (cursor !== null);
  return listed;
}

const add = (server: ProviderApiServer, kind: ListedKind, id: string, createdAt: Date): JsonObject =>
  kind === 'payment'
    ? server.addPayment({ id, createdAt })
    : server[kind === 'refund' ? 'addRefund' : 'addDispute']({ id, paymentId: 'pay_1', createdAt });

const ids = (listed: readonly Listed[]): string[] => listed.map(({ objectId }) => objectId).sort();

/**
 * What the adapter reads, without the event's type: several types tell the same. When the payer tried is that of the object,
 * which the documented webhooks made at another time than ours. Nor why a payment failed: no list of Dodo's says it (PaymentListResponse of
 * its package), and what is listed is not asked for again for that.
 */
function readBy(provider: ServedProvider, body: Buffer | string): object {
  const { eventType: _, ...read } = PROVIDERS[provider].interpret(Buffer.from(body));
  return 'facts' in read
    ? { ...read, facts: read.facts.map((fact) => ({ ...fact, triedAt: null, decline: null })) }
    : read;
}

async function failureOf(asked: Promise<unknown>): Promise<ProviderApiError> {
  const error = await asked.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ProviderApiError)) throw new Error(`not a ProviderApiError: ${error}`);
  return error;
}

describe.each(SERVED)('the API of %s', (provider) => {
  test.each(KINDS)('lists every %s once, over several pages', async (kind) => {
    const { server, api } = await both(provider);
    const objects = Array.from({ length: 250 }, (_, index) =>
      add(server, kind, `${kind}_${index}`, later(DAY.since, Math.floor(index / 3) * 1000)),
    );
    const listed = await listAll(api, kind);
    expect(api.kinds).toContain(kind);
    expect(ids(listed)).toEqual(objects.map((_, index) => `${kind}_${index}`).sort());
    expect(new Set(listed.map((one) => one.kind))).toEqual(new Set([kind]));
    const lists = server.requests.filter(({ path }) => path.endsWith(`s`));
    expect(lists.length).toBeGreaterThanOrEqual(3);
  });

  test.each(KINDS)('lists each %s of the window, which begins at `since` and ends before `until`', async (kind) => {
    const { server, api } = await both(provider);
    const window = { since: later(DAY.since, 3_600_000), until: later(DAY.since, 7_200_000) };
    add(server, kind, 'before', later(window.since, -1000));
    add(server, kind, 'first', window.since);
    add(server, kind, 'last', later(window.until, -1000));
    add(server, kind, 'after', window.until);
    expect(ids(await listAll(api, kind, window))).toEqual(['first', 'last']);
    const halves = { since: later(window.since, -500), until: later(window.until, 500) };
    expect(ids(await listAll(api, kind, halves))).toEqual(['after', 'first', 'last']);
    expect(await listAll(api, kind, { since: later(DAY.until, 1000), until: later(DAY.until, 2000) })).toEqual([]);
  });

  test.each(KINDS)('retrieves a %s as it is listed, and says null to an id it does not know', async (kind) => {
    const { server, api } = await both(provider);
    server.addPayment({ id: 'pay_1', amount: 1234, createdAt: AT });
    if (kind !== 'payment') add(server, kind, 'obj_1', AT);
    const id = kind === 'payment' ? 'pay_1' : 'obj_1';
    const [listed] = await listAll(api, kind);
    const retrieved = await api.retrieve(kind, id);
    expect(retrieved).toMatchObject({ kind, objectId: id, state: listed?.state });
    expect(readBy(provider, retrieved?.body ?? '')).toEqual(readBy(provider, listed?.body ?? ''));
    expect(readBy(provider, retrieved?.body ?? '')).toMatchObject({ kind: 'facts' });
    for (const unknown of ['obj_unknown', 'not-an-id']) expect(await api.retrieve(kind, unknown)).toBeNull();
    const asked = server.requests.length;
    for (const odd of ['..', '../refunds', 'pay_1?x=1', '']) expect(await api.retrieve(kind, odd)).toBeNull();
    expect(server.requests).toHaveLength(asked);
  });

  test('gives the same body for the same object, and the object in it as the API has it', async () => {
    const { server, api } = await both(provider);
    const refund = server.addRefund({ id: 're_1', paymentId: 'pay_1', createdAt: AT, metadata: { note: '¥' } });
    const [first] = await listAll(api, 'refund');
    const [second] = await listAll(api, 'refund');
    expect(first).toEqual(second);
    expect(first?.body).toEqual(second?.body);
    const body = JSON.parse(first?.body.toString() ?? 'null');
    const object = { stripe: body.data?.object, dodo: body.data, razorpay: body.payload?.refund?.entity }[provider];
    expect(object).toEqual(provider === 'dodo' ? { payload_type: 'Refund', ...refund } : refund);
  });

  test('says that a key is wrong, and that nobody listens', async () => {
    const { server, api } = await both(provider);
    const stranger = connect(provider, server.url, { apiKey: new Secret(`${API_KEYS[provider]}Wrong`) });
    expect(await failureOf(stranger.list('payment', DAY, null))).toMatchObject({ kind: 'unauthorized' });
    expect(await failureOf(stranger.retrieve('refund', 'pay_1'))).toMatchObject({ kind: 'unauthorized' });
    await server.close();
    expect(await failureOf(api.list('payment', DAY, null))).toMatchObject({ kind: 'unavailable' });
  });

  test('takes a key of 4,200 characters, and none that is longer', async () => {
    const { server } = await both(provider);
    const longKey = (length: number) => ({ apiKey: new Secret(API_KEYS[provider].padEnd(length, 'x')) });
    const api = connect(provider, server.url, longKey(4200));
    expect(await failureOf(api.list('payment', DAY, null))).toMatchObject({ kind: 'unauthorized' });
    expect(() => connect(provider, server.url, longKey(4201))).toThrow(expect.objectContaining({ kind: 'refused' }));
  });
});

test.each(['dodo', 'razorpay'] as const)('%s: a path in its address is kept', async (provider) => {
  const server = await serve(provider);
  const api = connect(provider, `${server.url}${PROXY_PATH}`);
  server.addPayment({ id: 'pay_1', createdAt: AT });
  expect(ids(await listAll(api, 'payment'))).toEqual(['pay_1']);
  expect(await api.retrieve('payment', 'pay_1')).not.toBeNull();
  expect(server.requests.filter(({ path }) => !path.startsWith(`${PROXY_PATH}/`))).toEqual([]);
});

test('razorpay: a window before all times that Razorpay takes is empty', async () => {
  const { server, api } = await both('razorpay');
  server.addPayment({ id: 'pay_1', createdAt: AT });
  const window = { since: new Date('1999-01-01T00:00:00Z'), until: new Date('1999-06-01T00:00:00Z') };
  expect(await listAll(api, 'payment', window)).toEqual([]);
  expect(ids(await listAll(api, 'payment', { ...window, until: new Date('2199-01-01T00:00:00Z') }))).toEqual(['pay_1']);
});

test.each([
  ['stripe', '/v1/refunds?paid_by=ada', 400],
  ['stripe', '/v1/refunds?limit=101', 400],
  ['stripe', '/v1/refunds?limit=0', 400],
  ['stripe', '/v1/refunds?starting_after=re_unknown', 400],
  ['stripe', '/v1/refunds/re_1?limit=1', 400],
  ['dodo', '/refunds?paid_by=ada', 422],
  ['dodo', '/refunds?page_size=101', 422],
  ['razorpay', '/v1/refunds?paid_by=ada', 400],
  ['razorpay', '/v1/refunds?count=101', 400],
  ['razorpay', '/v1/refunds?from=946684799', 400],
  ['razorpay', '/v1/disputes?from=1793093399', 400],
  ['razorpay', '/v1/refunds?to=4765046401', 400],
] as const)('the double of %s refuses %s', async (provider, path, status) => {
  const server = await serve(provider);
  server.addRefund({ id: 're_1', paymentId: null });
  const key = API_KEYS[provider];
  const authorization = provider === 'razorpay' ? `Basic ${Buffer.from(key).toString('base64')}` : `Bearer ${key}`;
  const ask = async (what: string) => (await fetch(`${server.url}${what}`, { headers: { authorization } })).status;
  expect(await ask(path)).toBe(status);
  expect(await ask(path.replace(/\?.*$/, ''))).toBe(200);
});

test.each(['/v1', '/behind/a-proxy', '/?x=1', '/#x'])('stripe: an address with %s is refused', (rest) => {
  expect(() => connect('stripe', `https://proxy.example${rest}`)).toThrow(
    new ProviderApiError('refused', "stripe: the API's address must have no path"),
  );
  expect(() => connect('stripe', 'https://proxy.example/')).not.toThrow();
});

describe.each([
  ['dodo', 'refund'],
  ['dodo', 'payment'],
  ['razorpay', 'refund'],
] as const)('a page of %s that takes a request for each %s', (provider, kind) => {
  const COUNT = 100;
  const fill = (server: ProviderApiServer): readonly JsonObject[] =>
    Array.from({ length: COUNT }, (_, index) => {
      const fields = { subscription_id: `sub_${index}`, subscription_ids: [`sub_${index}`] };
      const payment = server.addPayment({
        ...{ id: `pay_${index}`, createdAt: later(AT, index) },
        ...(provider === 'dodo' ? { fields } : {}),
      });
      if (kind === 'payment') return payment;
      return server.addRefund({ id: `re_${index}`, paymentId: `pay_${index}`, createdAt: later(AT, index) });
    });

  test('ends at a provider that allows 60 requests in a time', async () => {
    const { server, api } = await both(provider);
    fill(server);
    server.allow(60);
    expect(await failureOf(api.list(kind, DAY, null))).toMatchObject({ kind: 'rate_limited' });
    server.allow(60);
    const { listed } = await api.list(kind, DAY, null);
    expect(new Set(ids(listed)).size).toBe(COUNT);
    // The list, each object once, and what was refused.
    expect(server.requests).toHaveLength(1 + COUNT + 1);
  });

  test.each(['cut', 'half', 500, 'html'] as const)('goes on where it was interrupted (%s)', async (what) => {
    const { server, api } = await both(provider);
    fill(server);
    server.failNext(what, { after: 31 });
    expect(await failureOf(api.list(kind, DAY, null))).toMatchObject({ kind: 'unavailable' });
    expect((await api.list(kind, DAY, null)).listed).toHaveLength(COUNT);
    const paths = server.requests.map(({ path }) => path);
    expect(paths).toHaveLength(1 + COUNT + 1);
    expect(paths[31]).toBe(paths[32]);
    expect(new Set(paths).size).toBe(1 + COUNT);
  });

  test('is read anew once it was complete, or another was asked for', async () => {
    const { server, api } = await both(provider);
    const objects = fill(server);
    server.failNext(500, { after: 31 });
    await failureOf(api.list(kind, DAY, null));
    expect((await api.list('dispute', DAY, null)).listed).toEqual([]);
    for (let read = 0; read < 2; read += 1) {
      for (const object of objects) object.status = 'failed';
      const before = server.requests.length;
      const { listed } = await api.list(kind, DAY, null);
      expect(new Set(listed.map(({ state }) => state))).toEqual(new Set(['failed']));
      // A failed payment's summary says all of it.
      expect(server.requests.length - before).toBe(kind === 'payment' ? 1 : 1 + COUNT);
    }
  });
});

interface Case {
  readonly name: string;
  readonly kind: ListedKind;
  add(server: ProviderApiServer): unknown;
  /** The body of the webhook event that tells the same. */
  readonly event: string;
}

const payer = { metadata: { wallet_customer_id: 'cus_ada', note: 'x' }, amount: 4321, createdAt: AT };
const refunded = { id: 're_1', paymentId: 'pay_1', amount: 1500, createdAt: AT };
const disputed = { id: 'dp_1', paymentId: 'pay_1', amount: 4321, createdAt: AT };

const STRIPE_PAYMENT = { paymentId: 'pay_1', amount: 4321, currency: 'eur', customer: 'cus_1', email: 'a@example.com' };
const STRIPE_CASES: readonly Case[] = [
  ...(
    [
      ['succeeded', 'succeeded'],
      ['requires_payment_method', 'payment_failed'],
      ['processing', 'processing'],
      ['requires_action', 'requires_action'],
    ] as const
  ).map(
    ([status, type]): Case => ({
      name: `a payment, ${status}`,
      kind: 'payment',
      add: (server) =>
        server.addPayment({
          id: 'pay_1',
          ...payer,
          currency: 'EUR',
          customerId: 'cus_1',
          email: 'a@example.com',
          status,
        }),
      event: stripePayment({ type, ...STRIPE_PAYMENT, metadata: payer.metadata, createdSeconds: AT_SECONDS }),
    }),
  ),
  ...(['pending', 'requires_action', 'succeeded', 'failed', 'canceled'] as const).map(
    (status): Case => ({
      name: `a refund, ${status}`,
      kind: 'refund',
      add: (server) => server.addRefund({ ...refunded, status }),
      event: stripeRefund({ paymentId: 'pay_1', refundId: 're_1', amount: 1500, status, createdSeconds: AT_SECONDS }),
    }),
  ),
  {
    name: 'a refund whose payment is not said',
    kind: 'refund',
    add: (server) => server.addRefund({ ...refunded, paymentId: null }),
    event: stripeRefund({ paymentId: null, refundId: 're_1', amount: 1500, createdSeconds: AT_SECONDS }),
  },
  ...(
    [
      ['needs_response', 'created'],
      ['under_review', 'updated'],
      ['warning_needs_response', 'created'],
      ['warning_closed', 'closed'],
      ['won', 'closed'],
      ['lost', 'closed'],
      ['prevented', 'closed'],
    ] as const
  ).map(
    ([status, type]): Case => ({
      name: `a dispute, ${status}`,
      kind: 'dispute',
      add: (server) => server.addDispute({ ...disputed, status }),
      event: stripeDispute({
        ...{ type, paymentId: 'pay_1', disputeId: 'dp_1', amount: 4321, status, createdSeconds: AT_SECONDS },
      }),
    }),
  ),
];

const DODO_SUBSCRIPTION = { subscription_id: 'sub_1', subscription_ids: ['sub_1'] };
const DODO_CASES: readonly Case[] = [
  ...(['succeeded', 'failed', 'cancelled', 'processing'] as const).map(
    (status): Case => ({
      name: `a payment, ${status}`,
      kind: 'payment',
      add: (server) =>
        server.addPayment({
          id: 'pay_1',
          ...payer,
          currency: 'inr',
          customerId: 'cus_1',
          email: 'a@example.com',
          status,
        }),
      event: dodoPayment({
        ...{ type: status, paymentId: 'pay_1', amount: 4321, currency: 'INR', metadata: payer.metadata },
        customer: { id: 'cus_1', email: 'a@example.com' },
      }),
    }),
  ),
  ...[true, false].map(
    (isUpdatePaymentMethod): Case => ({
      name: `a subscription's payment, ${isUpdatePaymentMethod ? 'to change its method' : 'of its price'}`,
      kind: 'payment',
      add: (server) =>
        server.addPayment({
          ...{ id: 'pay_1', amount: 100, createdAt: AT },
          fields: { ...DODO_SUBSCRIPTION, is_update_payment_method: isUpdatePaymentMethod },
        }),
      event: dodoPayment({ paymentId: 'pay_1', amount: 100, isUpdatePaymentMethod, subscriptionId: 'sub_1' }),
    }),
  ),
  ...(['succeeded', 'failed'] as const).map(
    (status): Case => ({
      name: `a refund, ${status}`,
      kind: 'refund',
      add: (server) => server.addRefund({ ...refunded, metadata: payer.metadata, status }),
      event: dodoRefund({
        ...{ type: status, paymentId: 'pay_1', refundId: 're_1', amount: 1500, status, metadata: payer.metadata },
      }),
    }),
  ),
  ...[true, false].map(
    (isPartial): Case => ({
      name: `a refund without its amount, ${isPartial ? 'partial' : 'whole'}`,
      kind: 'refund',
      add: (server) => server.addRefund({ ...refunded, fields: { amount: null, is_partial: isPartial } }),
      event: dodoRefund({ paymentId: 'pay_1', refundId: 're_1', amount: null, isPartial }),
    }),
  ),
  ...(['opened', 'challenged', 'accepted', 'expired', 'lost', 'won', 'cancelled'] as const).map(
    (type): Case => ({
      name: `a dispute, ${type}`,
      kind: 'dispute',
      add: (server) => server.addDispute({ ...disputed, status: `dispute_${type}` }),
      event: dodoDispute({ type, paymentId: 'pay_1', disputeId: 'dp_1', amount: '4321', stage: 'dispute' }),
    }),
  ),
];

const RAZORPAY_PAYER = { customer: 'cust_1', email: 'a@example.com', createdSeconds: AT_SECONDS };
const RAZORPAY_CASES: readonly Case[] = [
  ...(['captured', 'refunded', 'failed'] as const).map(
    (status): Case => ({
      name: `a payment, ${status}`,
      kind: 'payment',
      add: (server) =>
        server.addPayment({
          id: 'pay_1',
          ...payer,
          currency: 'usd',
          customerId: 'cust_1',
          email: 'a@example.com',
          status,
        }),
      event: razorpayPayment({
        ...{ type: status === 'failed' ? 'failed' : 'captured', paymentId: 'pay_1', amount: 4321, currency: 'USD' },
        ...{ ...RAZORPAY_PAYER, notes: payer.metadata },
      }),
    }),
  ),
  ...(
    [
      ['pending', 'created', true],
      ['processed', 'processed', true],
      ['failed', 'failed', true],
      ['processed', 'processed', false],
    ] as const
  ).map(
    ([status, type, captured]): Case => ({
      name: `a refund, ${status}, of a payment that was ${captured ? '' : 'not '}captured`,
      kind: 'refund',
      add: (server) => {
        server.addPayment({
          ...{ id: 'pay_1', ...payer, customerId: 'cust_1', email: 'a@example.com', status: 'refunded' },
          fields: { captured },
        });
        server.addRefund({ ...refunded, metadata: { wallet_purpose: 'order' }, status });
      },
      event: razorpayRefund({
        ...{ type, paymentId: 'pay_1', refundId: 're_1', amount: 1500, captured, ...RAZORPAY_PAYER },
        ...{ notes: { wallet_purpose: 'order' }, paymentNotes: payer.metadata },
      }),
    }),
  ),
  ...(
    [
      ['open', 'created'],
      ['under_review', 'under_review'],
      ['won', 'won'],
      ['lost', 'lost'],
      ['closed', 'closed'],
    ] as const
  ).map(
    ([status, type]): Case => ({
      name: `a dispute, ${status}`,
      kind: 'dispute',
      add: (server) => server.addDispute({ ...disputed, status }),
      event: razorpayDispute({
        ...{ type, paymentId: 'pay_1', disputeId: 'dp_1', amount: 4321, createdSeconds: AT_SECONDS },
      }),
    }),
  ),
];

describe.each([
  ['stripe', STRIPE_CASES],
  ['dodo', DODO_CASES],
  ['razorpay', RAZORPAY_CASES],
] as const)('what the adapter of %s reads of what is listed', (provider, cases) => {
  test.each(cases)('is what it reads of the webhook: $name', async ({ kind, add, event }) => {
    const { server, api } = await both(provider);
    add(server);
    const [listed, ...others] = await listAll(api, kind);
    expect(others).toEqual([]);
    expect(readBy(provider, listed?.body ?? '')).toEqual(readBy(provider, event));
  });
});

test.each([
  ['stripe', ['requires_confirmation', 'requires_capture', 'canceled']],
  ['dodo', ['requires_customer_action', 'requires_payment_method', 'requires_capture']],
  ['razorpay', ['created', 'authorized']],
] as const)('%s: a payment nobody made is left out, by list and by id', async (provider, statuses) => {
  const { server, api } = await both(provider);
  for (const status of statuses) server.addPayment({ id: status, status, createdAt: AT });
  expect(await listAll(api, 'payment')).toEqual([]);
  for (const status of statuses) expect(await api.retrieve('payment', status)).toBeNull();
});

test.each([
  ['stripe', 'refund', 'pending', 'succeeded', 'succeeded'],
  ['stripe', 'dispute', 'under_review', 'lost', 'lost'],
  ['dodo', 'refund', 'review', 'succeeded', 'succeeded'],
  ['dodo', 'dispute', 'dispute_opened', 'dispute_won', 'won'],
  ['razorpay', 'refund', 'pending', 'processed', 'succeeded'],
  ['razorpay', 'dispute', 'open', 'lost', 'lost'],
] as const)('%s: a %s that was %s and made long ago is seen to be %s', async (provider, kind, status, end, state) => {
  const { server, api } = await both(provider);
  server.addPayment({ id: 'pay_1', createdAt: later(AT, -100 * 86_400_000) });
  const object = add(server, kind, 'obj_1', later(AT, -90 * 86_400_000));
  const field = provider === 'dodo' && kind === 'dispute' ? 'dispute_status' : 'status';
  object[field] = status;
  const before = await api.retrieve(kind, 'obj_1');
  expect(before?.state ?? 'review').toBe(status);
  object[field] = end;
  const after = await api.retrieve(kind, 'obj_1');
  expect(after).toMatchObject({ kind, objectId: 'obj_1', state: end });
  expect(readBy(provider, after?.body ?? '')).toMatchObject({ facts: [{ kind, paymentId: 'pay_1', state }] });
});

test('stripe: an intent that nobody tried to pay is left out, and one that was tried is not', async () => {
  const { server, api } = await both('stripe');
  const status = 'requires_payment_method';
  server.addPayment({ id: 'pi_new', status, createdAt: AT, fields: { last_payment_error: null } });
  server.addPayment({ id: 'pi_declined', status, createdAt: AT });
  expect(ids(await listAll(api, 'payment'))).toEqual(['pi_declined']);
});

test('stripe: the event of an object has an id of its own, which changes with its state', async () => {
  const { server, api } = await both('stripe');
  const refund = server.addRefund({ id: 're_1', paymentId: 'pi_1', status: 'pending', createdAt: AT });
  const eventId = async (): Promise<string> => {
    const [listed] = await listAll(api, 'refund');
    return PROVIDERS.stripe.deliveryKey({ rawBody: listed?.body ?? Buffer.alloc(0), headers: {} });
  };
  const pending = await eventId();
  expect(pending).toMatch(/^evt_listed_[0-9a-f]{32}$/);
  expect(await eventId()).toBe(pending);
  refund.status = 'succeeded';
  expect(await eventId()).not.toBe(pending);
});

test('dodo: only what a summary does not say is retrieved', async () => {
  const { server, api } = await both('dodo');
  const fields = { subscription_id: 'sub_1', subscription_ids: ['sub_1'] };
  server.addPayment({ id: 'pay_once', createdAt: AT });
  server.addPayment({ id: 'pay_free', amount: 0, createdAt: AT, fields });
  server.addPayment({ id: 'pay_failed', status: 'failed', createdAt: AT, fields });
  server.addPayment({ id: 'pay_subscription', createdAt: AT, fields });
  server.addPayment({ id: 'pay_outside', createdAt: DAY.until, fields });
  server.addRefund({ id: 'ref_1', paymentId: 'pay_once', createdAt: AT });
  server.addRefund({ id: 'ref_review', paymentId: 'pay_once', status: 'review', createdAt: AT });
  server.addDispute({ id: 'dis_1', paymentId: 'pay_once', createdAt: AT });
  for (const kind of KINDS) await listAll(api, kind);
  const retrieved = server.requests.map(({ path }) => path).filter((path) => path.split('/').length > 2);
  expect(retrieved).toEqual(['/payments/pay_subscription', '/refunds/ref_1']);
});

test('dodo: a payment that was captured in part is shown, for the adapter to park', async () => {
  const { server, api } = await both('dodo');
  server.addPayment({ id: 'pay_1', status: 'partially_captured', createdAt: AT });
  const [listed] = await listAll(api, 'payment');
  expect(readBy('dodo', listed?.body ?? '')).toMatchObject({ kind: 'parked', reason: 'unknown_amount' });
});

test('razorpay: the payment of several refunds is retrieved once a page', async () => {
  const { server, api } = await both('razorpay');
  server.addPayment({ id: 'pay_1', createdAt: AT });
  for (const id of ['rfnd_1', 'rfnd_2', 'rfnd_3']) server.addRefund({ id, paymentId: 'pay_1', createdAt: AT });
  expect(await listAll(api, 'refund')).toHaveLength(3);
  expect(server.requests.filter(({ path }) => path === '/v1/payments/pay_1')).toHaveLength(1);
});

test.each([
  ['stripe', 'test', 'sk_live_51abc'],
  ['stripe', 'live', 'rk_test_51abc'],
  ['stripe', 'test', 'pk_test_51abc'],
  ['stripe', 'test', 'whsec_abc\r\n'],
  ['dodo', 'test', ''],
  ['dodo', 'live', 'two words'],
  ['razorpay', 'test', 'rzp_live_abc:secret'],
  ['razorpay', 'live', 'rzp_test_abc:secret'],
  ['razorpay', 'test', 'rzp_test_abc'],
] as const)('%s: in %s mode, "%s" is no key', (provider, mode, key) => {
  let refusal: unknown;
  try {
    connect(provider, 'http://127.0.0.1:1', { mode, apiKey: new Secret(key) });
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toMatchObject({ name: 'ProviderApiError', kind: 'refused' });
  if (key !== '') expect(String(refusal)).not.toContain(key);
});

test.each(['dodo', 'razorpay'] as const)('%s: a cursor that is no number is refused', async (provider) => {
  const { server, api } = await both(provider);
  for (const cursor of ['-1', 'x', '']) {
    expect(await failureOf(api.list('payment', DAY, cursor))).toMatchObject({ kind: 'refused' });
  }
  expect(server.requests).toEqual([]);
});

test("razorpay's own SDK reads the same server the same way", async () => {
  const { server, api } = await both('razorpay');
  for (let index = 0; index < 120; index += 1) {
    server.addPayment({ id: `pay_${index}`, createdAt: later(AT, index * 1000) });
  }
  server.addRefund({ id: 'rfnd_1', paymentId: 'pay_1', createdAt: AT });
  server.addDispute({ id: 'disp_1', paymentId: 'pay_1', createdAt: AT });
  const sdk = razorpaySdk(server.url, API_KEYS.razorpay);
  const bounds = { from: AT_SECONDS, to: AT_SECONDS + 119, count: 100 };
  const pages = [await sdk.payments.all(bounds), await sdk.payments.all({ ...bounds, skip: 100 })];
  const items = pages.flatMap((page) => page.items);
  const listed = await listAll(api, 'payment');
  expect(listed.map(({ body }) => JSON.parse(body.toString()).payload.payment.entity)).toEqual(items);
  expect((await sdk.refunds.all({ count: 100 })).items.map(({ id }) => id)).toEqual(['rfnd_1']);
  expect((await sdk.disputes.all({ count: 100 })).items.map(({ id }) => id)).toEqual(['disp_1']);
  expect(await sdk.payments.fetch('pay_7')).toEqual(items.find(({ id }) => id === 'pay_7'));
  const description = 'The id provided does not exist';
  await expect(sdk.payments.fetch('pay_unknown')).rejects.toMatchObject({ statusCode: 400, error: { description } });
  await expect(razorpaySdk(server.url, 'rzp_test_x:y').payments.all({})).rejects.toMatchObject({ statusCode: 401 });
});

function razorpaySdk(url: string, key: string): Razorpay {
  const [keyId = '', secret = ''] = key.split(':');
  const sdk = new Razorpay({ key_id: keyId, key_secret: secret });
  const { api } = sdk as unknown as { api: { rq: { defaults: { baseURL: string } } } };
  api.rq.defaults.baseURL = url;
  return sdk;
}
