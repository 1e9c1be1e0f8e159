import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROUTES } from '../../src/http/routes.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';

/** Who may do what: keys, scopes, merchants, limits. */

let app: TestApp;
let customer: string;
const logged: string[] = [];

beforeAll(async () => {
  const logger = createLogger('trace', 'test', { write: (line) => logged.push(line) });
  app = await startTestApp({ logger });
  customer = await app.newCustomer();
});
afterAll(() => app.close());

describe('keys', () => {
  it.each([
    ['no key', {}],
    ['another scheme', { authorization: 'Basic dXNlcjpwYXNz' }],
    ['an unknown key', { authorization: 'Bearer ck_test_0000000000000000000000000000000000000000000' }],
    ['an empty key', { authorization: 'Bearer ' }],
    ['a very long key', { authorization: `Bearer ${'k'.repeat(5000)}` }],
  ])('%s is 401', async (_, headers) => {
    const response = await fetch(`${app.baseURL}/customers`, { headers });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await response.json()).toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('a revoked key is 401', async () => {
    const headers = await app.newKey('bus_default', ['read']);
    await app.database.pool.query('update api_key set revoked_at = now() where name = $1', ['test']);
    expect(await app.call('GET', '/customers', undefined, headers)).toMatchObject({ status: 401 });
  });

  it('are not kept, and neither are they logged, nor are e-mail addresses', async () => {
    const kept = await app.database.pool.query('select * from api_key');
    expect(JSON.stringify(kept.rows)).not.toContain(app.key);
    await app.call('GET', '/customers?email=secret%40example.com');
    await app.call('GET', '/customers?email=secret%40example.com&colour=1');
    expect(logged.length).toBeGreaterThan(5);
    expect(logged.join()).not.toContain(app.key);
    expect(logged.join()).not.toContain('secret');
    expect(logged.join()).not.toContain('ada@example.com');
  });
});

const address = (path: string) =>
  path
    .replace('{customer_id}', customer)
    .replace('{currency}', 'USD')
    .replaceAll(/\{\w+\}/g, 'x');

describe('every route of merchants', () => {
  const guarded = ROUTES.filter((route) => route.scope === 'read' || route.scope === 'write');

  // An address may guess 60 keys a minute, and there are about as many routes.
  let second: TestApp;
  beforeAll(async () => {
    second = await startTestApp();
  });
  afterAll(() => second.close());

  it.each(guarded.map((route, index) => [`${route.method.toUpperCase()} ${route.path}`, route, index] as const))(
    '%s wants a key and its scope',
    async (_, { method, path, scope }, index) => {
      const asked = index < 40 ? app : second;
      const anonymous = await asked.call(method.toUpperCase(), address(path), undefined, { authorization: '' });
      expect(anonymous).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } });
      const lesser = await asked.newKey('bus_default', [scope === 'write' ? 'read' : 'write']);
      const refused = await asked.call(method.toUpperCase(), address(path), undefined, lesser);
      expect(refused).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
    },
  );

  it('is every route but these, and those of the operator', () => {
    expect(ROUTES.filter((route) => route.scope === 'public').map((route) => route.path)).toEqual([
      '/webhooks/{provider}',
      '/webhooks/{provider}/{source_id}',
      '/healthz',
      '/readyz',
    ]);
    const operators = ROUTES.filter((route) => route.path.startsWith('/admin/'));
    expect(ROUTES.filter((route) => route.scope === 'admin')).toEqual(operators);
    const others = guarded.filter((route) => route.method !== 'get' && route.scope !== 'write');
    // A quote holds nothing; it is asked for with a body.
    expect(others.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'post /customers/{customer_id}/checkouts/quote',
    ]);
  });
});

describe('limits', () => {
  it('a key has its requests counted, and is told when to come again', async () => {
    const limited = await startTestApp({ environment: { RATE_LIMIT_PER_MINUTE: '3' } });
    try {
      const statuses = [];
      for (let n = 0; n < 3; n += 1) statuses.push((await limited.call('GET', '/customers')).status);
      expect(statuses).toEqual([200, 200, 200]);
      const { status, body, headers } = await limited.call('GET', '/customers');
      expect({ status, code: body.code }).toEqual({ status: 429, code: 'TOO_MANY_REQUESTS' });
      expect(headers.get('x-ratelimit-limit')).toBe('3');
      expect(headers.get('x-ratelimit-remaining')).toBe('0');
      expect(Number(headers.get('x-ratelimit-reset'))).toBeGreaterThan(1_700_000_000);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
      const other = await limited.newKey('bus_other', ['read']);
      expect((await limited.call('GET', '/customers', undefined, other)).status).toBe(200);
      expect((await limited.call('GET', '/healthz')).status).toBe(200);
    } finally {
      await limited.close();
    }
  });

  it('an address that tries key after key is slowed down, and a good key is not', async () => {
    const guessing = await startTestApp();
    try {
      const guess = (n: number) =>
        guessing.call('GET', '/customers', undefined, { authorization: `Bearer guess-${n}` });
      const statuses = [];
      for (let n = 0; n < 62; n += 1) statuses.push((await guess(n)).status);
      expect(statuses.slice(0, 60).every((status) => status === 401)).toBe(true);
      expect(statuses.slice(60)).toEqual([429, 429]);
      expect((await guessing.call('GET', '/customers')).status).toBe(200);
    } finally {
      await guessing.close();
    }
  });
});
