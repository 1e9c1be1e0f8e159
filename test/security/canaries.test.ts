import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { freePort } from '../../src/db/embedded.ts';
import { citusNodes, onEveryNode } from '../support/citus-cluster.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { ProviderApiServer, QUOTED_EMAIL } from '../support/provider-api-server.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';
import { Canaries } from './canaries.ts';
import { ALL_SOURCES, providerOf, SIGNED_PROVIDERS, type SignedProvider, signed } from './signed-providers.ts';

/**
 * Fault F37. Secrets and personal data go in by every way there is, while everything fails that can; all that the service
 * says of itself is kept and then searched: logs at their chattiest, error answers, metrics, traces, jobs, and what is noted
 * about failures. Personal data may be in the rows of customers, entries and messages and in the bodies of events.
 */

const PERSON = {
  email: 'canary.mail@person.example',
  name: 'Canaria Personnel',
  phone: '+49 170 5550123',
  metadata: 'canary-metadata-value',
  reason: 'canary reason of an entry',
  token: 'canary-token-in-a-url',
};

const SECRETS = {
  apiKey: 'ck_test_canaryApiKey0123456789abcdefghijklmnopq',
  adminKey: 'canary-admin-key-0123456789abcdefghijklmnopq',
  metricsToken: 'canary-metrics-token-0123456789',
  encryptionKey: Buffer.from('canary encryption key, 32 bytes!').toString('base64'),
  providerApiKey: 'sk_test_canaryProviderApiKey',
  databasePassword: 'canary-database-password',
  otlpToken: 'canary-otlp-token',
  madeSecret: 'whsec_canarySecretOfAMadeSource',
  madeApiKey: 'sk_test_canaryApiKeyOfAMadeSource',
  guessedKey: 'ck_test_canaryKeyThatSomebodyGuessed0123456789',
  svixToken: SVIX_TOKEN,
  ...Object.fromEntries(SIGNED_PROVIDERS.map(({ provider, secret }) => [`${provider}Secret`, secret])),
};

const STRIPE = providerOf('stripe');

/** What may be found nowhere, and what only in the rows that are about people. */
const secrets = new Canaries(SECRETS);
const everything = new Canaries({ ...SECRETS, ...PERSON, quotedEmail: QUOTED_EMAIL });

let database: TestDatabase;
let databaseUrl: string;
let role: string;
let providerApi: ProviderApiServer;
let svix: SvixServer;
let receiver: WebhookReceiver;
/** Answers with an error that quotes somebody. */
let quoting: WebhookReceiver;
let collector: Server;
let collectorPort: number;
let refusingPort: number;
/** What was searched and found clean, by where it was said. */
const said: Record<string, string> = { logs: '', 'error answers': '', metrics: '', traces: '', 'failed starts': '' };

interface Pair {
  readonly base: string;
  readonly web: ServiceProcess;
  readonly worker: ServiceProcess;
}

async function onCluster(statement: string): Promise<void> {
  if (citusNodes().length > 0) return onEveryNode(statement);
  const client = new pg.Client({ connectionString: inject('clusterUrl') });
  await client.connect();
  await client.query(statement).finally(() => client.end());
}

beforeAll(async () => {
  database = await createTestDatabase();
  role = `canary_${randomBytes(4).toString('hex')}`;
  await onCluster(`create role ${role} superuser login password '${SECRETS.databasePassword}'`);
  const url = new URL(database.url);
  url.username = role;
  url.password = SECRETS.databasePassword;
  databaseUrl = url.href;
  providerApi = await ProviderApiServer.start('stripe', { apiKey: SECRETS.providerApiKey });
  svix = await SvixServer.start();
  receiver = await WebhookReceiver.start();
  quoting = await WebhookReceiver.start();
  quoting.answerWith(...Array.from({ length: 50 }, () => ({ status: 500, body: `cannot store ${PERSON.email}` })));
  refusingPort = await freePort();
  collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      said.traces += Buffer.concat(chunks).toString('latin1');
      response.end('{}');
    });
  });
  collectorPort = await portOf(collector);
});
afterAll(async () => {
  collector.close();
  await Promise.all([providerApi.close(), svix.close(), receiver.close(), quoting.close()]);
  await database.drop();
  await onCluster(`drop role ${role}`);
});

async function portOf(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const environment = (): Record<string, string> => ({
  DATABASE_URL: databaseUrl,
  PORT: '0',
  LOG_LEVEL: 'trace',
  API_KEY: SECRETS.apiKey,
  ADMIN_KEY: SECRETS.adminKey,
  METRICS_TOKEN: SECRETS.metricsToken,
  ENCRYPTION_KEY: SECRETS.encryptionKey,
  ALLOW_PRIVATE_ENDPOINTS: 'true',
  STRIPE_API_KEY: SECRETS.providerApiKey,
  STRIPE_API_URL: providerApi.url,
  OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collectorPort}`,
  OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${SECRETS.otlpToken}`,
  ...ALL_SOURCES,
});

/** Web and worker as processes, for as long as `work` takes; what they printed is kept. */
async function withPair(more: Record<string, string>, work: (pair: Pair) => Promise<void>): Promise<void> {
  const web = startProcess('src/web.ts', { ...environment(), ...more });
  const worker = startProcess('jobs/worker.ts', { ...environment(), ...more });
  try {
    await Promise.all([web.printed('Listening'), worker.printed('the worker is ready')]);
    await work({ base: /Listening (http:\/\/\S+)/.exec(web.output())?.[1] ?? '', web, worker });
  } finally {
    await Promise.all([web.end('SIGTERM'), worker.end('SIGTERM')]);
    said.logs += web.output() + worker.output();
  }
}

interface Answered {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it freely
  readonly body: any;
}

/** Keeps what an error says, headers included. */
async function call(
  { base }: Pair,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answered> {
  const key = path.startsWith('/admin/') ? SECRETS.adminKey : SECRETS.apiKey;
  const response = await fetch(`${base}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.status >= 400) {
    said['error answers'] += `${method} ${response.status} ${JSON.stringify([...response.headers])} ${text}\n`;
  }
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
}

async function newCustomer(pair: Pair): Promise<string> {
  const { email, name, phone: phone_number, metadata } = PERSON;
  const made = await call(pair, 'POST', '/customers', { email, name, phone_number, metadata: { note: metadata } });
  expect(made.status).toBe(200);
  return made.body.customer_id;
}

const credit = (change: object = {}) => ({
  amount: 100,
  currency: 'USD',
  entry_type: 'credit',
  reason: PERSON.reason,
  metadata: { note: PERSON.metadata },
  ...change,
});

/** Every answer of the API that refuses what it was sent. */
async function misuseApi(pair: Pair, customerId: string): Promise<void> {
  const entries = `/customers/${customerId}/wallets/ledger-entries`;
  const { email, name, phone, metadata } = PERSON;
  const long = metadata.repeat(100);
  const refused: readonly (readonly [string, string, unknown, Record<string, string>?])[] = [
    ['POST', '/customers', { email: name, name: email.repeat(50), phone_number: phone.repeat(9), metadata: long }],
    ['POST', '/customers', { email, name, metadata: { a: long, b: [metadata], c: { d: metadata } } }],
    ['POST', '/customers', `{"email":"${email}","name":"${name}"`],
    ['POST', '/customers', `{"email":"${email}","__proto__":"${name}"}`],
    ['POST', '/customers', { email, name }, { 'content-type': 'text/plain' }],
    ['PATCH', `/customers/${customerId}`, { email: `${name} ${phone}`, name: '' }],
    ['GET', `/customers?email=${encodeURIComponent(email)}&page_size=${name}`, undefined],
    ['GET', `/customers?name=${name}&${'x'.repeat(5)}=${encodeURIComponent(email)}`, undefined],
    ['GET', `/nowhere/${encodeURIComponent(email)}/${encodeURIComponent(phone)}?${name}`, undefined],
    ['POST', entries, credit({ amount: PERSON.reason, entry_type: metadata })],
    ['POST', entries, credit({ entry_type: 'debit', amount: 1_000_000 })],
    ['POST', entries, credit({ currency: 'EUR' })],
    ['POST', '/webhook-endpoints', { url: `https://user:${PERSON.token}@merchant.example/` }],
    ['POST', '/webhook-endpoints', { url: PERSON.token, event_types: [] }],
    [
      'POST',
      `/admin/merchants/bus_default/sources`,
      { provider: 'dodo', name, webhook_secret: `${SECRETS.madeSecret}!` },
    ],
    ['POST', `/admin/merchants/bus_default/sources`, { provider: 'adyen', name, webhook_secret: SECRETS.madeSecret }],
    [
      'POST',
      `/admin/merchants/bus_default/sources`,
      { provider: 'stripe', name, webhook_secret: SECRETS.madeSecret, api_key: `${SECRETS.madeApiKey} ` },
    ],
    ['POST', `/admin/merchants/bus_default/sources/src_stripe/webhook-secrets`, { webhook_secret: SECRETS.madeSecret }],
    ['GET', '/customers', undefined, { authorization: `Bearer ${SECRETS.guessedKey}` }],
    ['GET', '/customers', undefined, { authorization: `Basic ${Buffer.from(SECRETS.guessedKey).toString('base64')}` }],
    ['GET', `/customers?api_key=${SECRETS.guessedKey}`, undefined, { authorization: '' }],
    ['GET', '/metrics', undefined, { authorization: `Bearer ${SECRETS.guessedKey}` }],
    ['GET', '/customers', undefined, { authorization: '', cookie: `session=${SECRETS.guessedKey}` }],
  ];
  for (const [method, path, body, headers] of refused) {
    const { status } = await call(pair, method, path, body, headers);
    expect([method, path, status >= 400 && status < 500]).toEqual([method, path, true]);
  }
}

/** A source made by the operator, with all that can be done to it. */
async function useAdminRoutes(pair: Pair): Promise<void> {
  const sources = '/admin/merchants/bus_default/sources';
  const made = await call(pair, 'POST', sources, {
    provider: 'stripe',
    name: 'Made',
    webhook_secret: SECRETS.madeSecret,
    api_key: SECRETS.madeApiKey,
  });
  expect(made.status).toBe(200);
  const path = `${sources}/${made.body.source_id}`;
  expect((await call(pair, 'POST', `${path}/test`)).status).toBe(200);
  expect((await call(pair, 'PATCH', path, { api_key: `${SECRETS.madeApiKey}2` })).status).toBe(200);
  expect(
    (await call(pair, 'POST', `${path}/webhook-secrets`, { webhook_secret: `${SECRETS.madeSecret}2` })).status,
  ).toBe(200);
}

type Path = readonly string[];

function leavesOf(value: unknown): Path[] {
  if (typeof value !== 'object' || value === null) return [[]];
  return Object.entries(value).flatMap(([name, inner]) => leavesOf(inner).map((path) => [name, ...path]));
}

function replaced(value: unknown, [name, ...rest]: Path, replacement: unknown): unknown {
  if (name === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((item, n) => (String(n) === name ? replaced(item, rest, replacement) : item));
  const inner: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  return { ...(typeof value === 'object' ? value : {}), [name]: replaced(inner, rest, replacement) };
}

/** What kind of event it is may be told to everybody: it is the provider's word. */
const TYPE = /^(type|event|event_type|event_name|eventCode)$/;

/** The person in every place of every provider's payment, signed, forged and broken. */
async function deliverEvents(pair: Pair, customerId: string): Promise<void> {
  const send = async (one: SignedProvider, body: string, headers: Readonly<Record<string, string>>) => {
    // Nobody must be asked for PayPal's certificate from here.
    const elsewhere = one.provider === 'paypal' ? { 'paypal-cert-url': `https://certs.example/${PERSON.token}` } : {};
    const { status } = await call(pair, 'POST', `/webhooks/${one.provider}`, body, { ...headers, ...elsewhere });
    expect(one.provider === 'paypal' ? [401] : [200, 401]).toContain(status);
  };
  for (const one of SIGNED_PROVIDERS) {
    const good = one.payment(customerId, `pay_${one.provider}`);
    await send(one, good, signed(one, good));
    const forged = good.replace('{', `{"note":"${PERSON.metadata}","email":"${PERSON.email}",`);
    await send(one, forged, { ...signed(one, good), 'x-signature': PERSON.token, 'x-note': SECRETS.guessedKey });
    const object: unknown = JSON.parse(good);
    const bodies = leavesOf(object)
      .filter((path) => !TYPE.test(path.at(-1) ?? ''))
      .flatMap((path) =>
        [`${PERSON.metadata} ${PERSON.email}`, { [PERSON.name]: PERSON.phone }].map((value) =>
          JSON.stringify(replaced(object, path, value)),
        ),
      );
    await Promise.all(bodies.map((body) => send(one, body, signed(one, body))));
    const broken = `${forged.slice(0, -1)},`;
    await send(one, broken, signed(one, broken));
  }
  await eventually('every event to be settled', async () => {
    const { rowCount } = await database.pool.query("select 1 from provider_event where state = 'pending' limit 1");
    return rowCount === 0;
  });
}

/** Endpoints that refuse, reset and answer with errors; to an address with a token in it. */
async function failDeliveries(pair: Pair, customerId: string): Promise<void> {
  const answer = { status: 500, body: `cannot store ${PERSON.email}` };
  receiver.answerWith(answer, { connection: 'reset' }, answer, { status: 302, headers: { location: PERSON.token } });
  const urls = [
    `http://127.0.0.1:${receiver.port}/${PERSON.token}?key=${PERSON.token}`,
    `http://127.0.0.1:${refusingPort}/${PERSON.token}`,
  ];
  const ids: string[] = [];
  for (const url of urls) {
    const { body } = await call(pair, 'POST', '/webhook-endpoints', { url, description: PERSON.name });
    ids.push(body.id);
  }
  for (const id of ids) {
    expect(
      (await call(pair, 'POST', `/webhook-endpoints/${id}/test`, { event_type: 'wallet.balance.low' })).status,
    ).toBe(200);
  }
  expect((await call(pair, 'POST', `/customers/${customerId}/wallets/ledger-entries`, credit())).status).toBe(200);
  await eventually('an attempt of each kind', async () => {
    const { rows } = await database.pool.query<{ n: number }>(
      'select count(distinct coalesce(error, status_code::text))::int as n from webhook_attempt',
    );
    return (rows[0]?.n ?? 0) >= 3;
  });
  for (const id of ids) {
    expect((await call(pair, 'PATCH', `/webhook-endpoints/${id}`, { disabled: true })).status).toBe(200);
  }
}

/** Tables that refuse everything: Postgres then quotes the whole row to whoever tried. */
const REFUSING = ['customer', 'entry', 'provider_event', 'webhook_message', 'payment'];

async function failInDatabase(pair: Pair, customerId: string): Promise<void> {
  const refuse = (table: string) =>
    database.pool.query(`alter table ${table} add constraint canary check (false) not valid`);
  const accept = (table: string) => database.pool.query(`alter table ${table} drop constraint if exists canary`);
  try {
    await refuse('webhook_attempt');
    const { body: endpoint } = await call(pair, 'POST', '/webhook-endpoints', { url: quoting.url });
    const event = { event_type: 'wallet.balance.low' };
    expect((await call(pair, 'POST', `/webhook-endpoints/${endpoint.id}/test`, event)).status).toBe(200);
    for (const table of REFUSING) await refuse(table);
    await useWhatRefuses(pair, customerId);
    const body = STRIPE.payment(customerId, 'pay_while_refusing');
    expect((await call(pair, 'POST', '/webhooks/stripe', body, signed(STRIPE, body))).status).toBe(500);
    await accept('provider_event');
    expect((await call(pair, 'POST', '/webhooks/stripe', body, signed(STRIPE, body))).status).toBe(200);
    await eventually('jobs to have failed, each with an output that says why', async () => {
      const { rows } = await database.pool.query<{ name: string }>(
        "select distinct name from pgboss.job where state <> 'completed' and output is not null",
      );
      return rows.some((row) => row.name === 'apply-provider-event');
    });
    await eventually('a delivery to be set aside, of which nothing can be written down', async () => {
      const text =
        "select from webhook_delivery where state = 'pending' and attempts = 0 and next_attempt_at > now() + interval '1 minute'";
      return ((await database.pool.query(text)).rowCount ?? 0) > 0;
    });
    await keepJobs();
  } finally {
    for (const table of [...REFUSING, 'webhook_attempt']) await accept(table);
  }
}

async function useWhatRefuses(pair: Pair, customerId: string): Promise<void> {
  const entries = `/customers/${customerId}/wallets/ledger-entries`;
  const { email, name, metadata: note } = PERSON;
  for (const [method, path, body] of [
    ['POST', '/customers', { email, name, metadata: { note } }],
    ['PATCH', `/customers/${customerId}`, { name }],
    ['POST', entries, credit()],
    ['POST', entries, credit({ idempotency_key: 'one' })],
  ] as const) {
    expect([path, (await call(pair, method, path, body)).status]).toEqual([path, 500]);
  }
  const batch = await call(pair, 'POST', '/ledger-entries/batch', {
    entries: [{ customer_id: customerId, ...credit() }],
  });
  expect(batch.body.items).toMatchObject([{ code: 'INTERNAL_SERVER_ERROR' }]);
  said['error answers'] += JSON.stringify(batch.body);
}

/** The provider's API refuses, breaks off and answers what nobody knows, with somebody's address in it each time. */
async function reconcile(pair: Pair): Promise<void> {
  const runUntil = async (status: string) => {
    const since = new Date(Date.now() - 86_400_000).toISOString();
    const { body } = await call(pair, 'POST', '/reconciliation', { source_id: 'src_stripe', since });
    await eventually(`the comparison to be ${status}`, async () => {
      const run = await call(pair, 'GET', `/reconciliation/${body.run_id}`);
      return run.body.status === status;
    });
  };
  providerApi.failNext(500);
  providerApi.failNext(401);
  await runUntil('failed');
  providerApi.failNext('html');
  providerApi.failNext('other');
  await runUntil('failed');
  const createdAt = new Date(Date.now() - 3_600_000);
  const { email, metadata } = PERSON;
  providerApi.addPayment({
    id: 'pi_missed',
    email,
    createdAt,
    metadata: { wallet_customer_id: email, note: metadata },
  });
  providerApi.addPayment({ id: 'pi_odd', createdAt, fields: { amount: metadata, currency: email, metadata: email } });
  await runUntil('finished');
}

async function keepMetrics(pair: Pair): Promise<void> {
  const answer = await fetch(`${pair.base}/metrics`, { headers: { authorization: `Bearer ${SECRETS.metricsToken}` } });
  expect(answer.status).toBe(200);
  said.metrics += await answer.text();
}

/** Jobs as they are now: later ones may replace their output. */
async function keepJobs(): Promise<void> {
  const { rows } = await database.pool.query<{ text: string }>('select to_jsonb(job)::text as text from pgboss.job');
  said.jobs = `${said.jobs ?? ''}${rows.map((row) => row.text).join('\n')}`;
}

/** Every row of a table without the columns that are about people. */
async function rowsOf(table: string, without: readonly string[] = []): Promise<string> {
  const { rows } = await database.pool.query<{ text: string }>(
    `select (to_jsonb(t) - $1::text[])::text as text from ${table} t`,
    [without],
  );
  return rows.map((row) => row.text).join('\n');
}

async function tables(): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ name: string }>(
    "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
  );
  return rows.map((row) => row.name);
}

describe('secrets and personal data', () => {
  it('are put in by every way, while all fails that can', { timeout: 90_000 }, async () => {
    await withPair({}, async (pair) => {
      const customerId = await newCustomer(pair);
      await misuseApi(pair, customerId);
      await useAdminRoutes(pair);
      await deliverEvents(pair, customerId);
      await failDeliveries(pair, customerId);
      await reconcile(pair);
      await failInDatabase(pair, customerId);
      await keepMetrics(pair);
    });
    expect(said.logs).toContain('"level":20');
  });

  it('also while Svix fails', { timeout: 60_000 }, async () => {
    const body = JSON.stringify({ detail: [{ loc: ['body'], msg: 'no', input: PERSON.metadata }], echo: PERSON.email });
    const headers = { 'x-echo': SVIX_TOKEN };
    await withPair({ SVIX_TOKEN, SVIX_SERVER_URL: svix.url }, async (pair) => {
      const customerId = await newCustomer(pair);
      await eventually('Svix to be there', () => svix.accepted('bus_default').length > 0);
      // Web and worker check Svix as they start, each by an application of its own, and must not take the answers scripted here.
      await eventually('both checks to be over', () => svix.calls('application.delete').length >= 2);
      svix.script(
        'message.create',
        { status: 500, body, headers },
        { status: 403, body: `<html>${PERSON.email}</html>` },
      );
      svix.script('endpoint.create', { status: 422, body, headers }, { status: 500, body, headers });
      svix.script('endpoint.list', { connection: 'reset' }, { status: 401, body, headers });
      const endpoint = { url: `https://merchant.example/${PERSON.token}` };
      for (const status of [422, 503]) {
        expect((await call(pair, 'POST', '/webhook-endpoints', endpoint)).status).toBe(status);
      }
      for (const _ of [1, 2]) expect((await call(pair, 'GET', '/webhook-endpoints')).status).toBe(503);
      expect((await call(pair, 'POST', `/customers/${customerId}/wallets/ledger-entries`, credit())).status).toBe(200);
      await eventually('Svix to have refused twice', () => svix.calls('message.create').length >= 4);
      await keepMetrics(pair);
    });
  });

  it('also where the service cannot even start', async () => {
    const wrong: readonly Record<string, string>[] = [
      { DATABASE_URL: `postgres://chokin:${SECRETS.databasePassword}@127.0.0.1:${refusingPort}/chokin` },
      { DATABASE_URL: `mysql://chokin:${SECRETS.databasePassword}@127.0.0.1/chokin` },
      { DATABASE_URL: `postgres://chokin:${SECRETS.databasePassword}@no host/chokin` },
      {
        API_KEY: `${SECRETS.apiKey} `,
        ADMIN_KEY: SECRETS.adminKey.slice(0, 20),
        ENCRYPTION_KEY: SECRETS.encryptionKey.slice(0, 20),
        DODO_WEBHOOK_SECRET: SECRETS.madeSecret,
        STRIPE_API_KEY: `${SECRETS.madeApiKey} x`,
        STRIPE_API_URL: `ftp://${SECRETS.madeApiKey}`,
        OTEL_EXPORTER_OTLP_HEADERS: SECRETS.otlpToken,
      },
    ];
    const failed = wrong.map((more) => startProcess('src/web.ts', { ...environment(), ...more }));
    expect(await Promise.all(failed.map((one) => one.exited))).toEqual(wrong.map(() => 1));
    said['failed starts'] = failed.map((one) => one.output()).join('\n');
    expect(said['failed starts']).toContain('API_KEY: wants');
  });

  it('are in nothing that the service says of itself', async () => {
    await keepJobs();
    for (const [place, text] of Object.entries(said)) expect([place, text.length > 100]).toEqual([place, true]);
    expect(everything.sightings(said)).toEqual([]);
  });

  it('are in nothing that is noted about failures', async () => {
    const noted = {
      // The ids that the provider gave are kept as they are.
      events: await rowsOf('provider_event', ['body', 'delivery_key', 'payment_id']),
      attempts: await rowsOf('webhook_attempt', ['response']),
      'wallets to announce': await rowsOf('unannounced_wallet'),
      'messages to send': await rowsOf('unsent_message', ['payload']),
      comparisons: await rowsOf('reconciliation'),
      'what they found': await rowsOf('reconciliation_item'),
    };
    expect(noted.events).toContain('invalid_metadata');
    expect(noted.attempts).toContain('ECONNREFUSED');
    expect(noted.comparisons).toContain('refuses the API key');
    expect(everything.sightings(noted)).toEqual([]);
  });

  it('as far as they are secret, are in no table at all', async () => {
    const found: Record<string, string> = {};
    for (const table of await tables()) found[table] = await rowsOf(table);
    expect(Object.keys(found)).toEqual(
      expect.arrayContaining(['public.source_secret', 'public.api_key', 'pgboss.job']),
    );
    expect(secrets.sightings(found)).toEqual([]);
  });

  it('are where they belong, so that this search can be trusted, and the books agree', async () => {
    const everywhere = await Promise.all((await tables()).map((table) => rowsOf(table)));
    const names = everything.foundIn(everywhere.join('\n'));
    expect(names.toSorted()).toEqual(
      expect.arrayContaining(
        Object.keys(PERSON)
          .filter((name) => name !== 'token')
          .toSorted(),
      ),
    );
    expect(secrets.foundIn(JSON.stringify(environment())).length).toBeGreaterThan(12);
    await expectBooksToAgree(database.pool);
  });
});
