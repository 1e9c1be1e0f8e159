import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

/** Whatever comes in, the answer is the right 4xx with `{code, message}` that names the field; never a 5xx. */

let app: TestApp;
let customer: string;
let entries: string;

beforeAll(async () => {
  app = await startTestApp();
  customer = await app.newCustomer();
  entries = `/customers/${customer}/wallets/ledger-entries`;
});
afterAll(() => app.close());

const good = { amount: 100, currency: 'USD', entry_type: 'credit' };
const body = (change: Record<string, unknown>) => ({ ...good, ...change });
const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, n]));

describe('the body of a ledger entry', () => {
  it.each<[string, unknown, number, string, string]>([
    ['no amount', body({ amount: undefined }), 422, 'INVALID_REQUEST_BODY', 'amount:'],
    ['amount 0', body({ amount: 0 }), 422, 'INVALID_REQUEST_BODY', 'amount:'],
    ['a negative amount', body({ amount: -5 }), 422, 'INVALID_REQUEST_BODY', 'amount:'],
    ['a fraction', body({ amount: 10.5 }), 422, 'INVALID_REQUEST_BODY', 'amount:'],
    ['a text amount', body({ amount: '100' }), 422, 'INVALID_REQUEST_BODY', 'amount:'],
    ['an amount beyond exact integers', body({ amount: 2 ** 53 }), 422, 'INVALID_REQUEST_BODY', 'amount:'],
    [
      'an amount beyond any number',
      `{"amount":1e400,"currency":"USD","entry_type":"credit"}`,
      422,
      'INVALID_REQUEST_BODY',
      'amount:',
    ],
    ['an amount of null', body({ amount: null }), 422, 'INVALID_REQUEST_BODY', 'amount:'],
    ['lower case', body({ currency: 'usd' }), 422, 'INVALID_REQUEST_BODY', 'currency:'],
    ['a currency without wallets', body({ currency: 'EUR' }), 422, 'UNSUPPORTED_CURRENCY', 'EUR'],
    [
      'another entry type',
      body({ entry_type: 'transfer' }),
      422,
      'INVALID_REQUEST_BODY',
      'entry_type: wants credit or debit',
    ],
    ['an unknown field', body({ colour: 'red' }), 422, 'INVALID_REQUEST_BODY', 'colour: is not a known field'],
    ['a long reason', body({ reason: 'x'.repeat(1001) }), 422, 'INVALID_REQUEST_BODY', 'reason: wants 1000'],
    ['NUL', body({ reason: 'a\0b' }), 422, 'INVALID_REQUEST_BODY', 'reason: holds a character'],
    [
      'half a surrogate pair',
      `{"amount":1,"currency":"USD","entry_type":"credit","reason":"\\ud800"}`,
      422,
      'INVALID_REQUEST_BODY',
      'reason: holds',
    ],
    ['an empty key', body({ idempotency_key: '' }), 422, 'INVALID_REQUEST_BODY', 'idempotency_key:'],
    ['a long key', body({ idempotency_key: 'k'.repeat(256) }), 422, 'INVALID_REQUEST_BODY', 'idempotency_key:'],
    [
      'a long reference',
      body({ reference_object_id: 'r'.repeat(256) }),
      422,
      'INVALID_REQUEST_BODY',
      'reference_object_id:',
    ],
    ['metadata that is a list', body({ metadata: [1] }), 422, 'INVALID_REQUEST_BODY', 'metadata:'],
    ['nested metadata', body({ metadata: { a: { b: 1 } } }), 422, 'INVALID_REQUEST_BODY', 'metadata.a:'],
    [
      'a long metadata key',
      body({ metadata: { [`${'k'.repeat(41)}`]: 1 } }),
      422,
      'INVALID_REQUEST_BODY',
      'wants 1 to 40',
    ],
    [
      'a long metadata value',
      body({ metadata: { a: 'v'.repeat(501) } }),
      422,
      'INVALID_REQUEST_BODY',
      'metadata.a: wants 500',
    ],
    ['NUL in metadata', body({ metadata: { a: '\0' } }), 422, 'INVALID_REQUEST_BODY', 'metadata.a: holds'],
    ['51 pairs', body({ metadata: pairs(51) }), 422, 'MAXIMUM_KEYS_REACHED', 'metadata: wants 50'],
    [
      'a prototype',
      `{"amount":1,"currency":"USD","entry_type":"credit","metadata":{"__proto__":"x"}}`,
      422,
      'INVALID_REQUEST_BODY',
      '__proto__',
    ],
    ['a list', [good], 422, 'INVALID_REQUEST_BODY', 'body:'],
    ['null', 'null', 422, 'INVALID_REQUEST_BODY', 'body:'],
    ['malformed JSON', '{"amount": 100,', 422, 'INVALID_REQUEST_BODY', 'not well-formed'],
    ['nothing', '', 422, 'INVALID_REQUEST_BODY', 'is empty'],
    ['bytes that are not UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 422, 'INVALID_REQUEST_BODY', 'UTF-8'],
    ['a very deep body', '['.repeat(40_000) + ']'.repeat(40_000), 422, 'INVALID_REQUEST_BODY', 'body:'],
    ['more than 100 kB', body({ reason: 'x'.repeat(110_000) }), 413, 'BODY_TOO_LARGE', '102400'],
    ['far more than 100 kB', 'x'.repeat(2_000_000), 413, 'BODY_TOO_LARGE', '102400'],
    [
      'more than it holds',
      body({ entry_type: 'debit', amount: 1 }),
      400,
      'INSUFFICIENT_WALLET_FUNDS',
      'Insufficient balance',
    ],
  ])('%s is refused', async (_, sent, status, code, message) => {
    const answer = await app.call('POST', entries, sent);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.body.message).toContain(message);
  });

  it('names every mistake at once, but not without end', async () => {
    const { body: answer } = await app.call('POST', entries, {
      amount: 'x',
      currency: 1,
      entry_type: 0,
      a: 1,
      b: 1,
      c: 1,
      d: 1,
    });
    expect(answer.message).toBe(
      'amount: wants a positive whole number of minor units (cents, paise) up to 9007199254740991; currency: wants an upper-case ISO 4217 code such as USD; entry_type: wants credit or debit; a: is not a known field; b: is not a known field.',
    );
  });

  it.each([
    ['no type', { 'content-type': '' }],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['another character set', { 'content-type': 'application/json; charset=utf-16' }],
    ['a compressed body', { 'content-encoding': 'gzip' }],
  ])('%s is 415', async (_, headers) => {
    const bytes = 'content-encoding' in headers ? gzipSync(JSON.stringify(good)) : JSON.stringify(good);
    const answer = await app.call('POST', entries, bytes, headers as Record<string, string>);
    expect(answer).toMatchObject({ status: 415, body: { code: 'UNSUPPORTED_MEDIA_TYPE' } });
  });

  it('everything at its limit is taken and comes back as it was', async () => {
    const metadata = { ...pairs(48), ['k'.repeat(40)]: 'v'.repeat(500), emoji: '🪙'.repeat(250) };
    const full = {
      ...good,
      reason: 'ä'.repeat(1000),
      idempotency_key: '🔑'.repeat(127),
      reference_object_id: 'r'.repeat(255),
      metadata,
    };
    const id = await app.newCustomer();
    const path = `/customers/${id}/wallets/ledger-entries`;
    const utf8 = { 'content-type': 'application/json; charset=UTF-8' };
    expect(await app.call('POST', path, full, utf8)).toMatchObject({ status: 200, body: { balance: 100 } });
    const { body: page } = await app.call('GET', path);
    expect(page.items[0]).toMatchObject({ reason: full.reason, idempotency_key: full.idempotency_key, metadata });
    const rest = body({ amount: Number.MAX_SAFE_INTEGER - 100 });
    expect(await app.call('POST', path, rest)).toMatchObject({ body: { balance: Number.MAX_SAFE_INTEGER } });
    expect(await app.call('POST', path, good)).toMatchObject({ status: 400, body: { code: 'BALANCE_LIMIT_EXCEEDED' } });
  });
});

describe('customers', () => {
  it.each<[string, unknown, string]>([
    ['no name', { email: 'a@b.co' }, 'name:'],
    ['an empty name', { email: 'a@b.co', name: '' }, 'name:'],
    ['no e-mail address', { name: 'A', email: 'nobody' }, 'email: wants an e-mail address'],
    ['no domain', { name: 'A', email: 'ada@localhost' }, 'email: wants an e-mail address'],
    ['a space', { name: 'A', email: 'ada @example.com' }, 'email: wants an e-mail address'],
    ['two dots', { name: 'A', email: 'ada..l@example.com' }, 'email: wants an e-mail address'],
    ['a long address', { name: 'A', email: `${'a'.repeat(310)}@example.com` }, 'email: wants 320 characters or fewer'],
    ['two addresses', { name: 'A', email: 'a@b.c x@y.z' }, 'email:'],
    ['a long name', { email: 'a@b.co', name: 'n'.repeat(501) }, 'name: wants 1 to 500'],
    ['a long number', { email: 'a@b.co', name: 'A', phone_number: '1'.repeat(51) }, 'phone_number:'],
    ['an id of its own', { email: 'a@b.co', name: 'A', customer_id: 'mine' }, 'customer_id: is not a known field'],
  ])('%s is refused', async (_, sent, message) => {
    for (const [method, path] of [
      ['POST', '/customers'],
      ['PATCH', `/customers/${customer}`],
    ] as const) {
      if (method === 'PATCH' && message === 'name:' && !JSON.stringify(sent).includes('"name"')) continue;
      const answer = await app.call(method, path, sent);
      expect(answer).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
      expect(answer.body.message).toContain(message);
    }
  });
});

describe('addresses and queries', () => {
  it.each([
    ['/customers?page_size=0', 'page_size: wants a whole number from 1 to 100'],
    ['/customers?page_size=101', 'page_size:'],
    ['/customers?page_size=ten', 'page_size:'],
    ['/customers?page_size=1e1', 'page_size:'],
    ['/customers?page_size=1&page_size=2', 'page_size:'],
    ['/customers?page_number=-1', 'page_number:'],
    ['/customers?page_number=99999999999999999999', 'page_number:'],
    ['/customers?colour=red', 'colour: is not a known field'],
    ['/customers?name=%00', 'name: holds a character'],
    ['/customers?created_at_gte=yesterday', 'created_at_gte: wants a time'],
    ['/customers?created_at_lte=2026-02-30T00:00:00Z', 'created_at_lte: wants a time'],
    ['/events?status=lost', 'status: wants one of pending'],
    ['/customers/:id?a=1', 'a: is not a known field'],
    ['/customers/:id/wallets?page_size=1', 'page_size: is not a known field'],
    ['/customers/:id/wallets/ledger-entries?before_seq=3', 'currency: is wanted'],
    ['/customers/:id/wallets/ledger-entries?currency=USD&after_seq=-1', 'after_seq:'],
    ['/customers/:id/wallets/ledger-entries?currency=usd', 'currency:'],
    ['/customers/:id/wallets/ledger-entries?event_type=gift', 'event_type: wants one of payment'],
    ['/customers/:id/wallets/USD?at=now', 'at: wants a time'],
  ])('GET %s is 400', async (path, message) => {
    const answer = await app.call('GET', path.replace(':id', customer));
    expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID_QUERY_PARAMS' } });
    expect(answer.body.message).toContain(message);
  });

  it.each([
    ['GET', '/customers/cus_nobody', 'CUSTOMER_NOT_FOUND'],
    ['PATCH', '/customers/cus_nobody', 'CUSTOMER_NOT_FOUND'],
    ['GET', '/customers/cus_nobody/wallets', 'CUSTOMER_NOT_FOUND'],
    ['GET', '/customers/cus_nobody/wallets/USD', 'CUSTOMER_NOT_FOUND'],
    ['GET', '/customers/cus_nobody/wallets/ledger-entries', 'CUSTOMER_NOT_FOUND'],
    ['GET', '/customers/:id/wallets/EUR', 'NOT_FOUND'],
    ['GET', '/customers/:id/wallets/usd', 'NOT_FOUND'],
    ['GET', '/customers/:id/wallets/ledger-entries/ent_:id_USD_99', 'NOT_FOUND'],
    ['GET', '/customers/:id/wallets/ledger-entries/nonsense', 'NOT_FOUND'],
    ['GET', '/customers/a%00b', 'NOT_FOUND'],
    ['GET', '/customers/%zz', 'NOT_FOUND'],
    ['GET', `/customers/${'x'.repeat(400)}`, 'NOT_FOUND'],
    ['GET', '/payments/pi_none', 'NOT_FOUND'],
    ['GET', '/events/evt_none', 'NOT_FOUND'],
    ['POST', '/events/evt_none/replay', 'NOT_FOUND'],
    ['GET', '/nowhere', 'NOT_FOUND'],
    ['POST', '/', 'NOT_FOUND'],
  ])('%s %s is 404', async (method, path, code) => {
    const answer = await app.call(method, path.replaceAll(':id', customer), method === 'PATCH' ? {} : undefined);
    expect(answer).toMatchObject({ status: 404, body: { code } });
  });

  it.each([
    ['/customers/:id/wallets/ledger-entries?page_size=100&page_number=101', 400],
    ['/customers/:id/wallets/ledger-entries?page_size=100&page_number=100', 200],
    // In one wallet a far page is found by counting.
    ['/customers/:id/wallets/ledger-entries?currency=USD&page_size=100&page_number=1001', 200],
  ])('GET %s is %i: a page is not reached by reading without end', async (path, status) => {
    const answer = await app.call('GET', path.replace(':id', customer));
    expect(answer.status).toBe(status);
    if (status === 400) expect(answer.body.message).toMatch(/^page_number: reaches beyond 10000 .*before_seq/);
  });

  it('a debit of nobody is 404', async () => {
    const answer = await app.call('POST', '/customers/cus_nobody/wallets/ledger-entries', good);
    expect(answer).toMatchObject({ status: 404, body: { code: 'CUSTOMER_NOT_FOUND' } });
  });

  it.each([
    ['DELETE', '/customers', 'POST, GET'],
    ['PUT', '/healthz', 'GET'],
    ['GET', '/webhooks/stripe', 'POST'],
    ['OPTIONS', '/ledger-entries/batch', 'POST'],
  ])('%s %s is 405 and says what is allowed', async (method, path, allow) => {
    const answer = await app.call(method, path);
    expect(answer).toMatchObject({ status: 405, body: { code: 'METHOD_NOT_ALLOWED' } });
    expect(answer.headers.get('allow')).toBe(allow);
  });
});
