import { once } from 'node:events';
import { createServer, request as httpRequest, type RequestListener } from 'node:http';
import express from 'express';
import helmet from 'helmet';
import { pinoHttp } from 'pino-http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { forwardedAddress } from '../../src/http/kit/address.ts';
import { createRequestLog } from '../../src/http/kit/request-log.ts';
import { setSecurityHeaders } from '../../src/http/kit/security-headers.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { API_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** The busiest routes are answered before Express is asked. Nobody can tell: neither callers, nor the log, nor the metrics. */

let app: TestApp;
let customer: string;
const lines: Record<string, unknown>[] = [];
/** Of a log in which a hundred lines of what clients do wrong are not reached before. */
let takesDeliveries: TestApp;
const linesOfDeliveries: Record<string, unknown>[] = [];
beforeAll(async () => {
  const logsTo = (own: Record<string, unknown>[]) =>
    createLogger('debug', 'test', { write: (line: string) => void own.push(JSON.parse(line)) });
  const environment = { RATE_LIMIT_PER_MINUTE: '1000' };
  app = await startTestApp({ logger: logsTo(lines), environment });
  customer = await app.newCustomer();
  takesDeliveries = await startTestApp({ logger: logsTo(linesOfDeliveries), environment });
});
afterAll(() => Promise.all([app.close(), takesDeliveries.close()]));

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
}

/** The answer as it came over the line, but for what differs between any two. */
async function ask(baseURL: string, { method, path, headers = {}, body }: Asked) {
  // By its parts: of a URL, an empty query would be lost.
  const { hostname, port } = new URL(baseURL);
  const sent = httpRequest({ hostname, port, path, method, headers, agent: false });
  sent.end(body);
  const [response] = await once(sent, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const raw: [string, string][] = [];
  for (let index = 0; index < response.rawHeaders.length; index += 2) {
    const name: string = response.rawHeaders[index];
    const varies = /^(?:date|x-ratelimit-.*|retry-after)$/i.test(name);
    raw.push([name, varies ? '…' : response.rawHeaders[index + 1]]);
  }
  return { status: response.statusCode, headers: raw, body: Buffer.concat(chunks).toString('latin1') };
}

const authorization = `Bearer ${API_KEY}`;
const json = { authorization, 'content-type': 'application/json', 'x-request-id': 'front-test' };
const WRITE = () => `/customers/${customer}/wallets/ledger-entries`;
const HOLD = () => `/customers/${customer}/wallets/holds`;
const holding = (more: Record<string, unknown> = {}) =>
  JSON.stringify({ amount: 1, currency: 'USD', idempotency_key: 'front', ...more });
const READ = () => `/customers/${customer}/wallets`;
const entry = (more: Record<string, unknown> = {}) =>
  JSON.stringify({ amount: 5, currency: 'USD', entry_type: 'credit', idempotency_key: 'front', ...more });
const post = (body: string | Buffer, headers: Record<string, string> = {}, path = WRITE()): Asked => {
  return {
    method: 'POST',
    path,
    body,
    headers: { ...json, 'content-length': `${Buffer.byteLength(body)}`, ...headers },
  };
};
const get = (headers: Record<string, string> = {}, path = READ()): Asked => {
  return { method: 'GET', path, headers: { authorization, 'x-request-id': 'front-test', ...headers } };
};

const quote = (more: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  post(JSON.stringify({ total: 500, currency: 'USD', ...more }), headers, `/customers/${customer}/checkouts/quote`);

const PAID = stripePaymentSucceeded({ amount: 5, metadata: {} });

/** A provider's request; the same each time, as when the provider sends it again. */
function delivery({
  path = '/webhooks/stripe',
  body = PAID,
  headers = { ...signStripe(body) },
  encoding = 'identity',
}: {
  path?: string;
  body?: string;
  headers?: Record<string, string>;
  encoding?: string;
} = {}): Asked {
  const length = `${Buffer.byteLength(body)}`;
  const about = { 'x-request-id': 'front-test', 'content-encoding': encoding, 'content-length': length };
  return { method: 'POST', path, body, headers: { ...headers, ...about } };
}

const CASES: readonly [name: string, asked: () => Asked | Promise<Asked>][] = [
  ['wallets', () => get()],
  ['wallets of nobody', () => get({}, '/customers/cus_nobody/wallets')],
  ['wallets, by what is no id', () => get({}, `/customers/${'x'.repeat(99)}/wallets`)],
  ['no key', () => get({ authorization: '' })],
  ['a wrong key', () => get({ authorization: 'Bearer not-a-key-of-anybody' })],
  ['another scheme', () => post(entry(), { authorization: 'Basic YTpi' })],
  ['a key that may only read', async () => post(entry(), await app.newKey('bus_default', ['read']))],
  ['a key that may only write', async () => get(await app.newKey('bus_default', ['write']))],
  ["another merchant's key", async () => get(await app.newKey('bus_front', ['read']))],
  ['an entry that is there', () => post(entry())],
  ['its key for something else', () => post(entry({ amount: 6 }))],
  ['more than there is', () => post(entry({ entry_type: 'debit', amount: 10_000, idempotency_key: 'much' }))],
  ['nobody', () => post(entry(), {}, '/customers/cus_nobody/wallets/ledger-entries')],
  ['no such currency', () => post(entry({ currency: 'XXX' }))],
  ['a field that is unknown', () => post(entry({ amout: 1 }))],
  ['fields that are wrong', () => post(entry({ amount: -1.5, entry_type: 'gift', reason: 7 }))],
  ['two keys', () => post(entry(), { 'idempotency-key': 'another' })],
  ['a key of other characters', () => post(entry({ idempotency_key: undefined }), { 'idempotency-key': 'é' })],
  ['a blind repetition', () => post(entry({ idempotency_key: undefined }), { 'x-stainless-retry-count': '1' })],
  ['a date too old', () => post(entry({ effective_at: '2001-01-01T00:00:00Z', idempotency_key: 'old' }))],
  [
    'a repeated key that is a time',
    async () => {
      const one = post(entry({ idempotency_key: 'at-1790000000000' }));
      await ask(app.baseURL, one);
      return one;
    },
  ],
  ['no body', () => post('')],
  ['no JSON', () => post('{')],
  ['no object', () => post('[]')],
  ['no UTF-8', () => post(Buffer.from([0x7b, 0xff, 0x7d]))],
  ['a name that is not usable', () => post('{"__proto__":1}')],
  ['too deep', () => post('['.repeat(200))],
  ['too large', () => post(entry({ reason: 'x'.repeat(150_000) }))],
  ['far too large', () => post('{}', { 'content-length': '9000000' })],
  ['another type', () => post(entry(), { 'content-type': 'text/plain' })],
  ['compressed', () => post(entry(), { 'content-encoding': 'gzip' })],
  ['a hold that is there', () => post(holding(), {}, HOLD())],
  ['its key for another', () => post(holding({ amount: 2 }), {}, HOLD())],
  ['a hold of more than there is', () => post(holding({ amount: 10_000, idempotency_key: 'much' }), {}, HOLD())],
  ['a hold without a key', () => post(holding({ idempotency_key: undefined }), {}, HOLD())],
  ['a hold for nobody', () => post(holding(), {}, '/customers/cus_nobody/wallets/holds')],
  ['a hold by who may only read', async () => post(holding(), await app.newKey('bus_default', ['read']), HOLD())],
  ['a capture of what is not there', () => post('{}', {}, `${HOLD()}/hold_${customer}_USD_99/capture`)],
  ["a capture of what is not the customer's", () => post('{}', {}, `${HOLD()}/hold_cus_nobody_USD_1/capture`)],
  ['a capture of what is no id', () => post('{}', {}, `${HOLD()}/hold/capture`)],
  ['a capture of more than is held', () => post('{"amount":3}', {}, `${HOLD()}/hold_${customer}_USD_1/capture`)],
  ['a capture without a body', () => post('', {}, `${HOLD()}/hold_${customer}_USD_99/capture`)],
  ['a capture that is asked for', () => get({}, `${HOLD()}/hold_${customer}_USD_1/capture`)],
  ['a trace', () => post(entry(), { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' })],
  ['a quote', () => quote()],
  ['a quote by a key that may only read', async () => quote({}, await app.newKey('bus_default', ['read']))],
  ['a quote by a key that may only write', async () => quote({}, await app.newKey('bus_default', ['write']))],
  ["a quote for another merchant's customer", async () => quote({}, await app.newKey('bus_front', ['read']))],
  ['a quote in no such currency', () => quote({ currency: 'XXX' })],
  ['a quote that the wallet cannot pay', () => quote({ wallet: { require_full: true } })],
  ['a quote of what is unknown', () => quote({ totl: 1 })],
  ['a quote that is asked for as a page', () => ({ ...quote(), method: 'GET' })],
  ['an id of a request that could break lines', () => get({ 'x-request-id': 'a b' })],
];

const DELIVERIES: readonly [name: string, asked: () => Asked][] = [
  ['a delivery', () => delivery()],
  ['a delivery that nobody signed', () => delivery({ headers: {} })],
  ['a delivery with another signature', () => delivery({ headers: { ...signStripe('{}') } })],
  ['a delivery of no provider', () => delivery({ path: '/webhooks/strip' })],
  ['a delivery of a provider that is not configured', () => delivery({ path: '/webhooks/paddle' })],
  ['a delivery to no source', () => delivery({ path: '/webhooks/stripe/src_nobody' })],
  ['a delivery to a source', () => delivery({ path: '/webhooks/stripe/src_stripe' })],
  ['a delivery that is too large', () => delivery({ body: 'x'.repeat(1_100_000) })],
  ['a compressed delivery', () => delivery({ encoding: 'gzip' })],
  ['a delivery that is asked for', () => ({ ...delivery(), method: 'GET' })],
];

/** The id that was made up for a request is its own. */
const withoutMadeUpId = (answer: Awaited<ReturnType<typeof ask>>) => ({
  ...answer,
  headers: answer.headers.map(([name, value]) => [name, /^[0-9a-f-]{36}$/.test(value) ? '…' : value]),
});

it.each(CASES)('answers as Express does: %s', async (_, asked) => {
  if (lines.length === 0 || !lines.some(({ msg }) => msg === 'front')) {
    await ask(app.baseURL, post(entry()));
    await ask(app.baseURL, post(holding(), {}, HOLD()));
    lines.push({ msg: 'front' });
  }
  await expectTheSame({ app, lines }, await asked());
});

it.each(DELIVERIES)('answers as Express does: %s', async (_, asked) => {
  await expectTheSame({ app: takesDeliveries, lines: linesOfDeliveries }, asked());
});

async function expectTheSame(where: { app: TestApp; lines: Record<string, unknown>[] }, one: Asked): Promise<void> {
  const { baseURL } = where.app;
  where.lines.length = Math.min(where.lines.length, 1);
  const answered = () => where.lines.filter(({ msg }) => msg === 'request answered');
  where.lines[0] = { msg: 'front' };
  const byFront = withoutMadeUpId(await ask(baseURL, one));
  // An empty query is one all the same, so this one is Express' own.
  const byExpress = withoutMadeUpId(await ask(baseURL, { ...one, path: `${one.path}?` }));
  expect(byFront).toEqual(byExpress);
  await eventually('both to be logged', async () => answered().length === 2);
  const [front, express] = answered().map(({ time: _time, responseTime: _took, reqId, ...line }) => {
    return { ...line, reqId: String(reqId).length === 36 ? '…' : reqId };
  });
  expect(front).toEqual(express);
}

it('writes an entry as Express does', async () => {
  const answers = await Promise.all(
    ['', '?'].map(async (query) => {
      const own = await app.newCustomer();
      const path = `/customers/${own}/wallets/ledger-entries${query}`;
      const { body, ...rest } = await ask(app.baseURL, post(entry({ metadata: { order: 'ö' } }), {}, path));
      const { customer_id, head, created_at, updated_at, ...wallet } = JSON.parse(body);
      expect([customer_id, typeof head, typeof created_at, typeof updated_at]).toEqual([
        own,
        'string',
        'string',
        'string',
      ]);
      return { ...rest, wallet };
    }),
  );
  expect(answers[0]?.wallet).toMatchObject({ balance: 5 });
  expect(answers[0]).toEqual(answers[1]);
});

it('places and captures as Express does', async () => {
  const answers = await Promise.all(
    ['', '?'].map(async (query) => {
      const own = await app.newCustomer();
      const path = `/customers/${own}/wallets`;
      await ask(app.baseURL, post(entry(), {}, `${path}/ledger-entries`));
      const placed = await ask(app.baseURL, post(holding(), {}, `${path}/holds${query}`));
      const id = JSON.parse(placed.body).hold_id;
      const captured = await ask(app.baseURL, post('', {}, `${path}/holds/${id}/capture${query}`));
      return [placed, captured].map(({ status, body }) => [
        status,
        body.replaceAll(own, 'cus').replaceAll(/"[0-9TZ:.-]{24}"|"[0-9a-f]{64}"/g, '"…"'),
      ]);
    }),
  );
  expect(answers[0]?.map(([status]) => status)).toEqual([200, 200]);
  expect(answers[0]).toEqual(answers[1]);
});

it('counts them as Express does', async () => {
  const counted = async () => {
    const { body } = await app.call('GET', '/metrics');
    const rows = String(body)
      .split('\n')
      .filter((line) => line.includes('_request') && line.includes('/wallets') && line.includes('_count'));
    return Object.fromEntries(rows.map((line) => [line.replace(/ .*$/, ''), Number(line.split(' ').at(-1))]));
  };
  const before = await counted();
  for (const path of [READ(), `${READ()}?`]) await ask(app.baseURL, get({}, path));
  await eventually('both to be counted', async () => JSON.stringify(await counted()) !== JSON.stringify(before));
  const after = await counted();
  const grown = Object.keys(after).filter((row) => after[row] !== before[row]);
  expect(grown).toHaveLength(1);
});

it.each([0, 1, 2, 5])('takes a caller behind %s proxies for whom Express takes him', (proxies) => {
  const app = express().set('trust proxy', proxies);
  const heard = [
    undefined,
    '',
    ',',
    '10.0.0.1',
    ' 10.0.0.1 ,, 10.0.0.2',
    'nobody, 10.0.0.3,10.0.0.4 ,10.0.0.5',
    '::1,10.0.0.6,',
  ];
  for (const header of heard) {
    const headers = header === undefined ? {} : { 'x-forwarded-for': header };
    const request = Object.assign(Object.create(app.request), { headers, socket: { remoteAddress: '127.0.0.1' }, app });
    expect(forwardedAddress(request, proxies), header).toBe(request.ip);
  }
});

/** Serves one handler. @returns its address, and what ends it */
async function served(handler: RequestListener) {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

it('sets the headers that helmet sets, in its order', async () => {
  const policy = { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } };
  const byHelmet = express().use(
    helmet({ contentSecurityPolicy: policy }),
    (_request, response) => void response.end(),
  );
  byHelmet.disable('x-powered-by');
  const servers = [
    await served(byHelmet),
    await served((_request, response) => {
      setSecurityHeaders(response);
      response.end();
    }),
  ];
  const [theirs, ours] = await Promise.all(servers.map(({ url }) => ask(url, { method: 'GET', path: '/' })));
  for (const { close } of servers) close();
  expect(ours).toEqual(theirs);
});

it.each([200, 404, 500, 503])('writes the line that pino-http writes: %s', async (status) => {
  const written: string[][] = [[], []];
  const [theirs, ours] = written.map((own) => createLogger('debug', 'test', { write: (line) => void own.push(line) }));
  if (theirs === undefined || ours === undefined) throw new Error('two loggers');
  const answer: RequestListener = (_request, response) => {
    response.statusCode = status;
    response.end();
  };
  const byPino = pinoHttp({
    logger: theirs,
    quietReqLogger: true,
    wrapSerializers: false,
    serializers: {
      req: ({ method, url }: { method: string; url: string }) => ({ method, path: url }),
      res: ({ statusCode }: { statusCode: number }) => ({ statusCode }),
    },
    genReqId: ({ headers }) => String(headers['x-request-id']),
    customLogLevel: () => (status >= 500 ? 'warn' : status >= 400 ? 'info' : 'debug'),
    customSuccessMessage: () => 'request answered',
    customErrorMessage: () => 'request answered',
    customErrorObject: (...[, response, , value]) => ({ res: response, responseTime: value.responseTime }),
  });
  const log = createRequestLog(ours);
  const servers = [
    await served((request, response) => {
      byPino(request, response);
      answer(request, response);
    }),
    await served((request, response) => {
      log(request, response);
      answer(request, response);
    }),
  ];
  for (const { url } of servers)
    await ask(url, { method: 'GET', path: '/customers/cus_a', headers: { 'x-request-id': 'one' } });
  await eventually('both lines', async () => written.every((own) => own.length === 1));
  for (const { close } of servers) close();
  const [one, other] = written.map(([line = '']) =>
    line.replace(/"time":\d+/, '"time":0').replace(/"responseTime":\d+/, '"responseTime":0'),
  );
  expect(other).toBe(one);
});
