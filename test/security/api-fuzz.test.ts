import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROUTES } from '../../src/http/routes.ts';
import { OUTGOING_EVENT_TYPES } from '../../src/outgoing/catalogue.ts';
import { bearer, eventsToSettle, type Operator, operatorOf, type Shop, startTestWorker } from '../support/admin.ts';
import { ADMIN_KEY, type Answer, startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { ADYEN_HMAC_KEY } from '../support/signing-paypal-adyen-cashfree.ts';
import { hostileValue, type JsonSchema, SchemaValues, toJsonText } from './json-schema-values.ts';
import { type OpenApiDocument, type Operation, operationsOf, type Parameter } from './openapi-operations.ts';
import { RawHttp, type RawRequest } from './raw-http.ts';

/**
 * Made from our own OpenAPI document: every operation is sent valid, boundary and hostile values in its path, its query and
 * its body, by callers that may and callers that may not. Whatever comes, the answer is one that the document knows.
 */

const SEED = Number(process.env.SEED ?? 20_261_122);
/** Of each operation. */
const RUNS = Number(process.env.RUNS ?? 100);

let app: TestApp;
let operator: Operator;
let http: RawHttp;
let values: SchemaValues;
let ids: Readonly<Record<string, readonly string[]>>;
let keys: Readonly<Record<Operation['key'] | 'readOnly', { authorization?: string }>>;
let operations: ReadonlyMap<string, Operation>;
let document: OpenApiDocument;
/** How often each operation gave each status. */
const answered = new Map<string, Map<number, number>>();

beforeAll(async () => {
  console.log(`seed ${SEED} (SEED=${SEED} repeats it)`);
  app = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '0' } });
  http = new RawHttp(app.baseURL);
  operator = operatorOf(app);
  document = (await app.call('GET', '/openapi.json')).body;
  operations = new Map(operationsOf(document).map((operation) => [operation.name, operation]));
  await makeWorld();
  values = new SchemaValues(document.components.schemas, ids);
});
afterAll(async () => {
  http.close();
  await app.close();
});

/** A merchant whose key is used, and one that the operator's routes are tried on, so that the first keeps its key. */
async function makeWorld(): Promise<void> {
  const shop = await operator.newShop('stripe', { api_key: 'sk_test_of_a_provider' });
  const victim = await operator.newShop('stripe', { api_key: 'sk_test_of_a_victim' });
  keys = {
    merchant: shop.key,
    admin: bearer(ADMIN_KEY),
    none: {},
    readOnly: bearer((await operator.newKey(shop.merchantId, { scopes: ['read'] })).key),
  };
  const worker = await startTestWorker(app);
  try {
    const own = await idsOf(shop);
    const keyIds = [];
    for (let n = 0; n < 4; n += 1) keyIds.push((await operator.newKey(victim.merchantId)).key_id);
    const secrets = [];
    for (const secret of ['whsec_one', 'whsec_two', 'whsec_three']) {
      const { body } = await operator.call('POST', `${victim.path}/webhook-secrets`, { webhook_secret: secret });
      secrets.push(body.secrets[0].secret_id);
    }
    ids = {
      ...own,
      provider: ['stripe'],
      merchant_id: [victim.merchantId],
      key_id: keyIds,
      source_id: [victim.source.source_id, shop.source.source_id],
      secret_id: secrets,
      currency: ['USD', 'INR'],
      event_type: OUTGOING_EVENT_TYPES,
      url: ['https://merchant.example/hook', 'https://hooks.merchant.example:8443/?a=b'],
      webhook_secret: ['whsec_ofSomeLength', ADYEN_HMAC_KEY, 'polar_whs_ofSomeLength'],
    };
  } finally {
    await worker.close();
  }
}

async function idsOf(shop: Shop): Promise<Record<string, string[]>> {
  const call = async (method: string, path: string, body?: unknown): Promise<Answer['body']> => {
    const answer = await app.call(method, path, body, shop.key);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const deliver = async (paymentId: string, customerId: string) => {
    const metadata = { wallet_customer_id: customerId };
    const body = stripePaymentSucceeded({ paymentId, amount: 5_000_000, currency: 'usd', metadata });
    await app.call('POST', shop.source.webhook_path, body, signStripe(body, shop.secret));
  };
  await deliver('pi_paid', shop.customerId);
  for (let n = 0; n < 12; n += 1) await deliver(`pi_parked_${n}`, 'cus_nobody');
  await eventsToSettle(app);
  const endpoints = [];
  const messages = [];
  for (let n = 0; n < 4; n += 1) {
    const { id } = await call('POST', '/webhook-endpoints', { url: `https://merchant.example/${n}` });
    const test = await call('POST', `/webhook-endpoints/${id}/test`, { event_type: 'wallet.balance.low' });
    endpoints.push(id);
    messages.push(test.message_id);
  }
  // Of the first alone, so that the others may have one.
  const recent = new Date(Date.now() - 86_400_000).toISOString();
  const recovery = await call('POST', `/webhook-endpoints/${endpoints[0]}/recover`, { since: recent });
  const entries = await call('GET', `/customers/${shop.customerId}/wallets/ledger-entries`);
  const holds = [];
  for (let n = 0; n < 40; n += 1) {
    const hold = { amount: 1000, currency: 'USD', idempotency_key: `hold-${n}`, expires_in_seconds: 604_800 };
    holds.push((await call('POST', `/customers/${shop.customerId}/wallets/holds`, hold)).hold_id);
  }
  const lots = [];
  for (let n = 0; n < 40; n += 1) {
    const lot = { amount: 1000, currency: 'USD', entry_type: 'credit', kind: 'promo', expires_in_days: 30 };
    await call('POST', `/customers/${shop.customerId}/wallets/ledger-entries`, lot);
    lots.push(`lot_${shop.customerId}_USD_${n + 1}`);
  }
  const scheduled = [];
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
  for (let n = 0; n < 40; n += 1) {
    const entry = {
      amount: 1,
      currency: 'USD',
      entry_type: 'credit',
      post_at: tomorrow,
      idempotency_key: `later-${n}`,
    };
    const path = `/customers/${shop.customerId}/wallets/scheduled-entries`;
    scheduled.push((await call('POST', path, entry)).scheduled_entry_id);
  }
  const rules = ['summer', 'winter', 'first'];
  for (const rule of rules)
    await call('PUT', `/bonus-rules/${rule}`, { currency: 'USD', percent: 10, min_paid: 1_000_000 });
  for (const currency of ['USD', 'INR']) {
    const wallet = `/customers/${shop.customerId}/wallets/${currency}`;
    for (const schedule of ['monthly', 'weekly'])
      await call('PUT', `${wallet}/grant-schedules/${schedule}`, { amount: 1, every: 'day', paused: true });
    const rule = { enabled: false, threshold: 1, mode: 'amount', amount: 1, monthly_cap: 1, payment: null };
    await call('PUT', `${wallet}/top-up-rule`, rule);
  }
  const topUps = [];
  for (let n = 0; n < 40; n += 1) {
    const topUp = { amount: 1, idempotency_key: `top-up-${n}` };
    topUps.push((await call('POST', `/customers/${shop.customerId}/wallets/INR/top-ups`, topUp)).topup_id);
  }
  const checkouts = [];
  for (let n = 0; n < 40; n += 1) {
    const checkout = { total: 1000, currency: 'INR', idempotency_key: `checkout-${n}` };
    checkouts.push((await call('POST', `/customers/${shop.customerId}/checkouts`, checkout)).checkout_id);
  }
  const events = await call('GET', '/events?page_size=100');
  const window = { source_id: shop.source.source_id, since: '2026-01-01T00:00:00Z', until: '2026-01-02T00:00:00Z' };
  const run = await call('POST', '/reconciliation', window);
  return {
    customer_id: [shop.customerId],
    entry_id: entries.items.map((entry: { id: string }) => entry.id),
    hold_id: holds,
    lot_id: lots,
    topup_id: topUps,
    checkout_id: checkouts,
    scheduled_entry_id: scheduled,
    post_at: [tomorrow],
    effective_at: [recent],
    expires_at: ['2095-01-01T00:00:00Z'],
    schedule_id: ['monthly', 'weekly'],
    rule_id: rules,
    payment_id: ['pi_paid', 'pi_parked_0'],
    event_id: events.items.map((event: { event_id: string }) => event.event_id),
    endpoint_id: endpoints,
    message_id: messages,
    run_id: [run.run_id],
    recovery_id: [recovery.recovery_id],
    since: [recent, '2026-01-01T00:00:00Z'],
  };
}

/** Percent-encoded byte by byte, so that what is no text can be sent as well. */
function encoded(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  return [...Buffer.from(text.slice(0, 1000))]
    .map((byte) => (/[\w.~-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : hex(byte)))
    .join('');
}

const hex = (byte: number): string => `%${byte.toString(16).padStart(2, '0')}`;

/** Parts of a path that a router or a file system may take for something else. An empty one is another address. */
const ODD_PARTS = [
  '.',
  '..',
  '%2e%2e',
  '%2f',
  'a%2fb',
  '%5c',
  '%00',
  'a%00',
  '%zz',
  '%',
  '%ff',
  '%ed%a0%80',
  '%20',
  ';a=1',
  '*',
  ':id',
  '$&',
  'x'.repeat(3000),
];

const oddPart = fc.oneof(
  fc.constantFrom(...ODD_PARTS),
  hostileValue.map(encoded).filter((part) => part !== ''),
);

function pathOf({ path, parameters }: Operation): fc.Arbitrary<string> {
  const inPath = parameters.filter((parameter) => parameter.in === 'path');
  const parts = inPath.map(({ name, schema }) => {
    const fitting = values
      .valid(schema, name)
      .map(encoded)
      .filter((part) => part !== '');
    return fc.oneof({ weight: 7, arbitrary: fitting }, { weight: 2, arbitrary: oddPart });
  });
  return fc.tuple(...parts).map((chosen) => {
    const byName = new Map(inPath.map(({ name }, index) => [name, chosen[index] ?? '']));
    return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => byName.get(name) ?? '');
  });
}

const ODD_QUERIES = [
  'a=1',
  '__proto__=1',
  '__proto__[isAdmin]=1',
  'constructor=1',
  '=',
  '&&&',
  '%zz=%zz',
  'a[]=1',
  'page_size[]=1',
  'page_size[$gt]=1',
  '%00=%00',
  `${'a'.repeat(500)}=1`,
  'page_size',
  'page_size=1;page_number=2',
];

/** A sample of the parameters there are; now and then one of them twice, or something nobody asked for. */
function queryOf({ parameters }: Operation): fc.Arbitrary<string> {
  const pair = ({ name, schema }: Parameter) =>
    fc
      .oneof(
        { weight: 5, arbitrary: values.valid(schema, name) },
        { weight: 2, arbitrary: values.hostile(schema, name) },
      )
      .map((value) => `${name}=${encoded(typeof value === 'number' ? String(value) : value)}`);
  const known = parameters.filter((parameter) => parameter.in === 'query').map(pair);
  const odd = fc.constantFrom(...ODD_QUERIES);
  const some = known.map((one) => fc.option(one, { nil: null, freq: 2 }));
  const twice = known.length === 0 ? [] : [fc.oneof(...known).map((one) => `${one}&${one}`)];
  return fc
    .tuple(fc.tuple(...some), fc.oneof({ weight: 8, arbitrary: fc.constant(null) }, odd, ...twice))
    .map(([pairs, extra]) => [...pairs, extra].filter((one) => one !== null).join('&'))
    .map((query) => (query === '' ? '' : `?${query}`));
}

type Message = Pick<RawRequest, 'headers' | 'body'>;

const JSON_TYPE = { 'content-type': 'application/json' };

function bodyOf({ body }: Operation): fc.Arbitrary<Message> {
  if (body === null) {
    return fc.constantFrom<Message>({}, {}, {}, { headers: JSON_TYPE, body: '{}' }, { headers: JSON_TYPE, body: '[' });
  }
  if (body === 'raw') {
    const anyBytes = fc.oneof(
      fc.json(),
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      hostileValue.map(toJsonText),
    );
    const signature = { 'stripe-signature': 't=1,v1=00', 'content-type': 'application/json' };
    return anyBytes.map((bytes) => ({ headers: signature, body: bytes }));
  }
  const asJson = (text: string | Buffer): Message => ({ headers: JSON_TYPE, body: text });
  return fc.oneof(
    { weight: 6, arbitrary: values.valid(body).map((value) => asJson(toJsonText(value))) },
    { weight: 7, arbitrary: values.hostile(body).map((value) => asJson(toJsonText(value))) },
    { weight: 1, arbitrary: oddMessage(body) },
  );
}

function oddMessage(schema: JsonSchema): fc.Arbitrary<Message> {
  return values.valid(schema).chain((value) => {
    const text = toJsonText(value);
    return fc.constantFrom<Message>(
      {},
      { body: text },
      { headers: JSON_TYPE, body: '' },
      { headers: JSON_TYPE, body: text.slice(0, -1) },
      { headers: JSON_TYPE, body: `\ufeff${text}` },
      { headers: JSON_TYPE, body: Buffer.from(text, 'utf16le') },
      { headers: JSON_TYPE, body: Buffer.from([0x22, 0xff, 0x22]) },
      { headers: JSON_TYPE, body: `${text.slice(0, -1)}${' '.repeat(3_000_000)}}` },
      { headers: { ...JSON_TYPE, 'content-encoding': 'gzip' }, body: gzipSync(text) },
      { headers: { 'content-type': 'application/json; charset=utf-7' }, body: text },
      { headers: { 'content-type': 'multipart/form-data; boundary=x' }, body: text },
      { headers: { 'content-type': 'text/plain' }, body: text },
    );
  });
}

/** Mostly the key that is wanted; also none, one that may only read, and one of the other kind. */
function keyOf({ key }: Operation): fc.Arbitrary<{ authorization?: string }> {
  const others = [
    keys.none,
    keys.readOnly,
    key === 'admin' ? keys.merchant : keys.admin,
    { authorization: 'Bearer \xff' },
  ];
  return fc.oneof({ weight: 30, arbitrary: fc.constant(keys[key]) }, fc.constantFrom(...others));
}

/** What SDKs and proxies say besides. */
const besides = fc.oneof(
  { weight: 8, arbitrary: fc.constant({}) },
  fc.constantFrom<Record<string, string>>(
    { 'x-stainless-retry-count': '1' },
    { 'x-stainless-lang': 'js' },
    { 'idempotency-key': 'order 7' },
    { 'idempotency-key': '\xe4' },
    { 'idempotency-key': 'x'.repeat(300) },
    { 'x-request-id': "' \xff" },
    { 'x-forwarded-for': '::ffff:1.2.3.4, junk' },
    { 'x-http-method-override': 'DELETE' },
    { 'accept-encoding': 'br;q=junk' },
  ),
);

/** Of an address and headers, in bytes, but for what every client adds. */
const NODE_TAKES = 15_000;

function lengthOf(address: string, headers: Readonly<Record<string, string>>): number {
  return Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length + 4, address.length);
}

async function fuzz(operation: Operation): Promise<void> {
  const statuses = new Map<number, number>();
  answered.set(operation.name, statuses);
  const requests = fc.record({
    path: pathOf(operation),
    query: queryOf(operation),
    message: bodyOf(operation),
    key: keyOf(operation),
    besides,
  });
  await fc.assert(
    fc.asyncProperty(requests, async ({ path, query, message, key, besides: extra }) => {
      const headers = { ...extra, ...message.headers, ...key };
      const answer = await http.send({
        method: operation.method,
        path: `${path}${query}`,
        headers,
        body: message.body,
      });
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      expect([500, 503]).not.toContain(answer.status);
      // What Node does not take in whole, it answers itself, as docs/api.md says.
      if (answer.status === 431)
        expect([lengthOf(`${path}${query}`, headers) > NODE_TAKES, answer.text]).toEqual([true, '']);
      else operation.expectDocumented(answer);
    }),
    { seed: SEED, numRuns: RUNS },
  );
}

/** What takes away what others want to find comes last, in this order. */
const LAST: readonly RegExp[] = [
  /^patch \/(webhook-endpoints|admin)/,
  /^post \/events\/{event_id}\/replay/,
  /^delete /,
  /\/suspend$/,
];
const rank = (name: string) => LAST.findIndex((pattern) => pattern.test(name));
const NAMES = ROUTES.map(({ method, path }) => `${method} ${path}`).toSorted((a, b) => rank(a) - rank(b));

describe('whatever is sent, the answer is one that the OpenAPI document knows, and never a 500', () => {
  it.each(NAMES)('%s', async (name) => {
    const operation = operations.get(name);
    if (operation === undefined) throw new Error(`the document does not have ${name}`);
    await fuzz(operation);
  });
});

describe('what was found so stays mended', () => {
  it.each([
    ['0000-01-01T00:00:00Z', 400],
    ['0001-01-01T00:00:00+00:01', 400],
    ['0001-01-01T00:00:00Z', 200],
    ['9999-12-31T23:59:59.999Z', 200],
    ['9999-12-31T23:59:59-00:01', 400],
  ])('the time %s, which not every store can write down, is %i', async (time, status) => {
    const at = encodeURIComponent(time);
    const [customerId] = ids.customer_id ?? [];
    for (const path of [
      `/customers?created_at_gte=${at}`,
      `/customers/${customerId}/wallets/USD?at=${at}`,
      `/customers/${customerId}/wallets/ledger-entries?created_at_lte=${at}`,
    ]) {
      expect([path, (await app.call('GET', path, undefined, keys.merchant)).status]).toEqual([path, status]);
    }
  });

  it('what a disabled endpoint is asked for is refused as documented', async () => {
    const input = { url: 'https://merchant.example/', disabled: true };
    const { body } = await app.call('POST', '/webhook-endpoints', input);
    const messageId = ids.message_id?.[0];
    for (const [path, sent] of [
      ['/test', { event_type: 'wallet.created' }],
      [`/messages/${messageId}/resend`, undefined],
    ] as const) {
      expect((await app.call('POST', `/webhook-endpoints/${body.id}${path}`, sent)).status).toBe(409);
      const documented =
        document.paths[`/webhook-endpoints/{endpoint_id}${path.replace(String(messageId), '{message_id}')}`];
      expect(Object.keys(documented?.post?.responses ?? {})).toContain('409');
    }
  });

  it('an event type that is an object which cannot be written as a text is refused as any other', async () => {
    const [endpointId] = ids.endpoint_id ?? [];
    const odd = { toString: null, valueOf: null, toJSON: 1 };
    const test = await app.call('POST', `/webhook-endpoints/${endpointId}/test`, { event_type: odd });
    const made = await app.call('POST', '/webhook-endpoints', {
      url: 'https://merchant.example/',
      event_types: [odd],
    });
    for (const { status, body } of [test, made])
      expect([status, body.message]).toEqual([422, expect.stringContaining('there is no event type. Known: ')]);
  });

  it('JSON is read to a depth of 64, brackets in texts not counted', async () => {
    const nested = (depth: number) =>
      `{"email":"a@b.co","name":"[[[","odd":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
    const messageOf = async (body: string) => (await app.call('POST', '/customers', body)).body.message;
    expect(await messageOf(nested(64))).toBe('odd: is not a known field.');
    expect(await messageOf(nested(65))).toBe('body: is nested more than 64 levels deep.');
  });
});

/** They want terms that fit each other, which chance draws now and then, or what such a request makes; batches of entries are answered well always. */
const SELDOM: ReadonlySet<string> = new Set([
  'put /bonus-rules/{rule_id}',
  'post /customers/{customer_id}/wallets/ledger-entries',
  'post /customers/{customer_id}/wallets/scheduled-entries',
  'put /customers/{customer_id}/wallets/{currency}/grant-schedules/{schedule_id}',
  'put /customers/{customer_id}/wallets/{currency}/top-up-rule',
  'post /customers/{customer_id}/wallets/{currency}/top-ups/{topup_id}/fail',
  // Of what is there they want the very names, of adopting two sources of a provider.
  'post /admin/merchants/{merchant_id}/sources/{source_id}/adopt',
  'delete /customers/{customer_id}/links',
  'delete /customers/{customer_id}/payment-metadata/{wallet_token}',
  // They want terms that a wallet can pay, and one that was paid short.
  'post /customers/{customer_id}/checkouts',
  'post /customers/{customer_id}/checkouts/quote',
  'post /customers/{customer_id}/checkouts/{checkout_id}/collect',
  'post /customers/{customer_id}/checkouts/{checkout_id}/refund',
  // Erasing the customer, which is tried before, ends his rules.
  'delete /customers/{customer_id}/wallets/{currency}/top-up-rule',
]);

describe('in the end', () => {
  it('every operation was tried, and answered well where it can', () => {
    expect([...answered.keys()].toSorted()).toEqual([...operations.keys()].toSorted());
    const isWell = ([, statuses]: [string, ReadonlyMap<number, unknown>]) =>
      [...statuses.keys()].some((status) => status < 300);
    const wanting = [...answered].filter((one) => !isWell(one) && !SELDOM.has(one[0]));
    expect(wanting.map(([name, statuses]) => `${name}: ${[...statuses.keys()].toSorted().join(' ')}`)).toEqual([
      expect.stringMatching(/^post \/webhooks\/{provider}: .*401/),
      expect.stringMatching(/^post \/webhooks\/{provider}\/{source_id}: .*401/),
      expect.stringMatching(/^post \/webhook-portal: .*501/),
    ]);
  });

  it('the books agree, and the service is as ready as before', async () => {
    await expectBooksToAgree(app.database.pool);
    expect(await app.call('GET', '/readyz')).toMatchObject({ status: 200 });
    const { rows } = await app.database.pool.query('select count(*)::int as entries from entry');
    expect(rows[0].entries).toBeGreaterThan(50);
  });
});
