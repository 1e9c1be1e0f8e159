import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';

/** Where the code is exact, so is the document: what it refuses is refused, and what it takes is taken. */

let app: TestApp;
let customerId: string;
// biome-ignore lint/suspicious/noExplicitAny: the shape is what the test is about
let document: any;

beforeAll(async () => {
  app = await startTestApp({ environment: { WALLET_CURRENCIES: 'USD,INR,JPY' } });
  customerId = await app.newCustomer();
  document = (await app.call('GET', '/openapi.json')).body;
});
afterAll(() => app.close());

const entries = () => `/customers/${customerId}/wallets/ledger-entries`;
const schemaOf = (path: string, method: string) =>
  document.paths[path][method].requestBody.content['application/json'].schema.properties;
const parameterOf = (path: string, name: string) =>
  document.paths[path].get.parameters.find((one: { name: string }) => one.name === name);
const ENTRIES = '/customers/{customer_id}/wallets/ledger-entries';
const ENDPOINTS = '/webhook-endpoints';
const SOURCES = '/admin/merchants/{merchant_id}/sources';

function fits(schema: object, value: unknown): boolean {
  const text = JSON.stringify({ ...schema, $defs: document.components.schemas });
  return z.fromJSONSchema(JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/'))).safeParse(value).success;
}

const messageOf = ({ status, body }: Answer): [number, string] => [status, body.message];

describe('the API document', () => {
  it('lists the currencies that this service has wallets in', async () => {
    expect(document.components.schemas.WalletCurrency.enum).toEqual(['USD', 'INR', 'JPY']);
    const { currency } = schemaOf(ENTRIES, 'post');
    expect([fits(currency, 'JPY'), fits(currency, 'EUR')]).toEqual([true, false]);
    const entry = { amount: 1, entry_type: 'credit' };
    expect((await app.call('POST', entries(), { ...entry, currency: 'JPY' })).status).toBe(200);
    const refused = await app.call('POST', entries(), { ...entry, currency: 'EUR' });
    expect(refused.body.code).toBe('UNSUPPORTED_CURRENCY');
    const { items } =
      document.paths['/ledger-entries/batch'].post.requestBody.content['application/json'].schema.properties.entries;
    expect(fits(items, { ...entry, customer_id: 'cus_1', currency: 'EUR' })).toBe(false);
  });

  it('lists the event types that an endpoint may ask for, wherever one is named', async () => {
    const { body: made } = await app.call('POST', ENDPOINTS, { url: 'https://merchant.example/' });
    const refusal = /there is no event type wallet\.exploded\. Known: wallet\.created, /;
    const { event_types: types } = schemaOf(ENDPOINTS, 'post');
    expect([fits(types, ['wallet.created']), fits(types, ['wallet.exploded']), fits(types, null)]).toEqual([
      true,
      false,
      true,
    ]);
    expect(
      messageOf(await app.call('PATCH', `${ENDPOINTS}/${made.endpoint_id}`, { event_types: ['wallet.exploded'] })),
    ).toEqual([422, expect.stringMatching(refusal)]);
    const { event_type: tested } = schemaOf(`${ENDPOINTS}/{endpoint_id}/test`, 'post');
    expect([fits(tested, 'wallet.created'), fits(tested, 'wallet.exploded')]).toEqual([true, false]);
    expect(
      messageOf(await app.call('POST', `${ENDPOINTS}/${made.endpoint_id}/test`, { event_type: 'wallet.exploded' })),
    ).toEqual([422, expect.stringMatching(refusal)]);
    const asked = parameterOf(`${ENDPOINTS}/{endpoint_id}/attempts`, 'event_type').schema;
    expect([fits(asked, 'wallet.created'), fits(asked, 'wallet.exploded')]).toEqual([true, false]);
    expect(
      messageOf(await app.call('GET', `${ENDPOINTS}/${made.endpoint_id}/attempts?event_type=wallet.exploded`)),
    ).toEqual([400, expect.stringMatching(refusal)]);
    expect(parameterOf(ENTRIES, 'event_type').schema.enum).toContain('payment_reversal');
  });

  it('says that addresses are addresses', async () => {
    const { url } = schemaOf(ENDPOINTS, 'post');
    expect(url).toMatchObject({ format: 'uri', maxLength: 2000 });
    for (const wrong of ['nonsense', 'https://a b.example/', 'https://exämple.example/']) {
      expect([wrong, fits(url, wrong)]).toEqual([wrong, false]);
      expect([wrong, (await app.call('POST', ENDPOINTS, { url: wrong })).status]).toEqual([wrong, 422]);
    }
    expect(document.components.schemas.WebhookEndpoint.properties.url.format).toBe('uri');
  });

  it('refuses NUL in every text, as the service does', async () => {
    const { reason } = schemaOf(ENTRIES, 'post');
    expect([fits(reason, 'a\nb'), fits(reason, 'a\0b')]).toEqual([true, false]);
    const texts = JSON.stringify(document.paths).match(/"type":"string","minLength":1,"maxLength":\d+[^}]*/g) ?? [];
    expect(texts.length).toBeGreaterThan(10);
    for (const text of texts) expect(text).toMatch(/"(?:pattern|format)":/);
    const body = { email: 'ada@example.com', name: 'A\0da' };
    expect((await app.call('POST', '/customers', body)).status).toBe(422);
  });

  it('says that a place in the ledger wants a currency, as the service does', async () => {
    for (const name of ['before_seq', 'after_seq']) {
      expect(parameterOf(ENTRIES, name)).toMatchObject({
        description: expect.stringContaining('Wants `currency`'),
        schema: { 'x-requires': ['currency'] },
      });
      expect(messageOf(await app.call('GET', `${entries()}?${name}=1`))).toEqual([
        400,
        expect.stringMatching(/^currency: is wanted with before_seq and after_seq/),
      ]);
      expect((await app.call('GET', `${entries()}?${name}=1&currency=USD`)).status).toBe(200);
    }
  });

  it('says how long secrets are and what they are made of', () => {
    const { webhook_secret: secret, api_key: key } = schemaOf(SOURCES, 'post');
    expect(secret).toMatchObject({ minLength: 6, maxLength: 500 });
    expect(['short', 'with a space', `nul\0inside`, 'x'.repeat(501)].map((one) => fits(secret, one))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(fits(secret, 'whsec_0123')).toBe(true);
    expect([fits(key, 'x'.repeat(7)), fits(key, 'x'.repeat(8)), fits(key, 'x'.repeat(4201))]).toEqual([
      false,
      true,
      false,
    ]);
    const { key: made } = document.components.schemas.NewApiKey.properties;
    expect([fits(made, 'guess-me'), fits(made, `ck_test_${'a'.repeat(49)}`)]).toEqual([false, true]);
  });

  it('says how many pairs metadata and headers may have', () => {
    const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, 'v']));
    const { metadata } = schemaOf('/customers', 'post');
    expect([fits(metadata, pairs(50)), fits(metadata, pairs(51))]).toEqual([true, false]);
    const { headers } = schemaOf(ENDPOINTS, 'post');
    expect([fits(headers, pairs(20)), fits(headers, pairs(21)), fits(headers, { 'a b': 'c' })]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe('the same thing has the same shape everywhere', () => {
  type Schema = Record<string, unknown> & { properties?: Record<string, Schema>; items?: Schema };

  /** Every object that an answer may hold, with where it is. */
  const answered = (): [string, Record<string, Schema>][] => {
    const found: [string, Record<string, Schema>][] = [];
    const look = (node: unknown, at: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties } = node as Schema;
      if (properties !== undefined && typeof properties === 'object') found.push([at, properties]);
      for (const [name, child] of Object.entries(node)) {
        if (!/^examples?$/.test(name)) look(child, `${at}/${name}`);
      }
    };
    for (const [name, schema] of Object.entries(document.components.schemas)) look(schema, name);
    for (const [path, methods] of Object.entries<Record<string, { responses: object }>>(document.paths)) {
      for (const [method, { responses }] of Object.entries(methods)) look(responses, `${method} ${path}`);
    }
    return found;
  };

  it('an id is called after what it names, beside any older name', () => {
    const bare = answered().filter(
      ([, properties]) => 'id' in properties && !Object.keys(properties).some((name) => /^[a-z]+_id$/.test(name)),
    );
    expect(bare.map(([at]) => at)).toEqual([]);
    const older = answered().filter(([, properties]) => 'id' in properties);
    expect(older.map(([at, { id }]) => [at, String(id?.description)])).toEqual([
      ['CustomerWalletTransaction', 'The same as `entry_id`, by the name it has at Dodo Payments.'],
      ['ReconciliationItem', 'The same as `object_id`, by its older name.'],
      ['WebhookEndpoint', 'The same as `endpoint_id`, by its older name.'],
      ['DeliveryAttempt', 'The same as `attempt_id`, by its older name.'],
    ]);
  });

  it('how something stands is its status, beside any older name', () => {
    const older = answered().filter(([, properties]) => 'state' in properties);
    expect(older.map(([at, properties]) => [at.replace(/\/.*(?=\/)/, '…'), 'status' in properties])).toEqual([
      ['WebhookRecovery', true],
      // Of somebody else: Svix, as far as it is known.
      [expect.stringContaining('outgoing_webhooks'), false],
    ]);
  });

  it('a time is RFC 3339', () => {
    const times = answered().flatMap(([at, properties]) =>
      Object.entries(properties)
        .filter(([name]) => /(_at|^at|^since|^until|_since|timestamp)$/.test(name))
        .map(([name, schema]) => [`${at} ${name}`, JSON.stringify(schema).includes('"format":"date-time"')]),
    );
    expect(times.length).toBeGreaterThan(20);
    expect(times.filter(([, isTime]) => isTime !== true)).toEqual([]);
  });

  it('a list is under items, and no answer is a bare list', () => {
    for (const [path, methods] of Object.entries<Record<string, { responses: Record<string, Schema> }>>(
      document.paths,
    )) {
      for (const [method, { responses }] of Object.entries(methods)) {
        const text = JSON.stringify(responses['200'] ?? {});
        expect([method, path, text.includes('"schema":{"type":"array"')]).toEqual([method, path, false]);
        const top = /"schema":(\{"type":"object","properties":\{"(\w+)":\{"type":"array")/.exec(text);
        if (top !== null) expect([path, top[2]]).toEqual([path, 'items']);
      }
    }
  });
});
