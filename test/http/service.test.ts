import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { freePort } from '../../src/db/embedded.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { endApiKeyAt, revokeApiKey } from '../../src/merchants/api-key-store.ts';
import { findCaller, hashApiKey } from '../../src/merchants/api-keys.ts';
import { ensureDefaultMerchant } from '../../src/merchants/default-merchant.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb, type Web } from '../../src/web.ts';
import { API_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startProcess } from '../support/process.ts';
import { StatementProxy } from '../support/statement-proxy.ts';
import { eventually } from '../support/wait.ts';

/** The web process as a whole: health, headers, outages, the default merchant. */

const logger = createLogger('silent', 'test');

describe('a running service', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app.close());

  it('is alive and ready', async () => {
    for (const path of ['/healthz', '/readyz']) {
      expect(await app.call('GET', path, undefined, { authorization: '' })).toMatchObject({
        status: 200,
        body: { status: 'ok' },
      });
    }
    expect((await fetch(`${app.baseURL}/healthz`, { method: 'HEAD' })).status).toBe(200);
  });

  it('counts requests by route, and names nobody', async () => {
    const customer = await app.newCustomer();
    const entry = { amount: 1, currency: 'USD', entry_type: 'credit' };
    await app.call('POST', `/customers/${customer}/wallets/ledger-entries`, entry);
    const { status, body, headers } = await app.call('GET', '/metrics', undefined, { authorization: '' });
    expect(status).toBe(200);
    expect(headers.get('content-type')).toMatch(/^text\/plain/);
    expect(body).toContain(
      'chokin_http_request_seconds_count{route="/customers/{customer_id}/wallets/ledger-entries",method="post",status="200",fault="none"} 1',
    );
    expect(body).toContain('chokin_lane_batch_size_count{lane="ledger"} 1');
    expect(body).toContain('chokin_ledger_lane_depth 0');
    expect(body).toContain('process_cpu_seconds_total');
    expect(body).not.toContain(customer);
    expect(body).not.toContain('bus_default');
  });

  it('shows its figures to the holder of METRICS_TOKEN alone, where there is one', async () => {
    const token = 'a-token-for-metrics';
    const guarded = await startTestApp({ environment: { METRICS_TOKEN: token } });
    try {
      const get = (authorization: string) => guarded.call('GET', '/metrics', undefined, { authorization });
      for (const wrong of ['', 'Bearer', `Bearer ${token}x`, `Basic ${token}`, `Bearer ${API_KEY}`]) {
        const answer = await get(wrong);
        expect(answer).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } });
        expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      }
      expect(await get(`Bearer ${token}`)).toMatchObject({ status: 200, body: expect.stringContaining('chokin_') });
    } finally {
      await guarded.close();
    }
  });

  it('gives every request an id, and keeps one that is fit to be logged', async () => {
    const idOf = async (given: string) =>
      (await app.call('GET', '/healthz', undefined, { 'x-request-id': given })).headers.get('x-request-id');
    expect(await idOf('trace-1.2_3')).toBe('trace-1.2_3');
    expect(await idOf('a b')).toMatch(/^[0-9a-f-]{36}$/);
    expect(await idOf('x'.repeat(129))).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('tells browsers to run and frame nothing, and nobody what it is made of', async () => {
    const { headers } = await app.call('GET', '/customers');
    expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'");
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('etag')).toBeNull();
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
  });

  it('survives a client that goes away in the middle of a body', async () => {
    const { port } = new URL(app.baseURL);
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(
      `POST /customers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${API_KEY}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"email"`,
    );
    await eventually('the request to be under way', async () => socket.bytesWritten > 100);
    socket.destroy();
    expect((await app.call('GET', '/healthz')).status).toBe(200);
  });
});

describe('without its database', () => {
  it('is alive, not ready, turns requests away with 503, and recovers by itself', async () => {
    const database = await createTestDatabase();
    const proxy = await StatementProxy.start(database.url);
    const config = loadConfig({ PORT: '0', API_KEY, STRIPE_WEBHOOK_SECRET: 'whsec_123456' });
    const web = await startWeb({ config, databaseUrl: proxy.url, logger, clock: systemClock, print: () => {} });
    const call = (path: string, body?: object) =>
      fetch(`${web.url}${path}`, {
        headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      });
    try {
      const made = await call('/customers', { email: 'a@b.co', name: 'A' });
      const { customer_id: id } = (await made.json()) as { customer_id: string };
      await proxy.cut();
      expect((await call('/healthz')).status).toBe(200);
      await eventually('readiness to notice', async () => (await call('/readyz')).status === 503);
      const entry = { amount: 1, currency: 'USD', entry_type: 'credit' };
      const path = `/customers/${id}/wallets/ledger-entries`;
      for (const [body, retry] of [
        [entry, 'false'],
        [{ ...entry, idempotency_key: 'k' }, null],
      ] as const) {
        const refused = await call(path, body);
        expect(refused.status).toBe(503);
        expect(refused.headers.get('retry-after')).toBe('1');
        expect(refused.headers.get('x-should-retry')).toBe(retry);
        expect(await refused.json()).toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
      }
      expect((await call(`/customers/${id}/wallets`)).status).toBe(503);
      await proxy.restore();
      await eventually('the service to be ready', async () => (await call('/readyz')).status === 200);
      expect((await call(path, { ...entry, idempotency_key: 'k' })).status).toBe(200);
    } finally {
      await web.close();
      await proxy.close();
      await database.drop();
    }
  });
});

describe('the default merchant', () => {
  let database: TestDatabase;
  let web: Web | null = null;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterEach(async () => {
    await web?.close();
    web = null;
  });
  afterAll(() => database.drop());

  const ensure = (environment: Record<string, string>) =>
    ensureDefaultMerchant(database.pool, loadConfig({ MERCHANT_ID: 'bus_keys', ...environment }), systemClock);
  const defaultKeys = async (): Promise<readonly string[]> => {
    const keys = "select key_id from api_key where merchant_id = 'bus_keys' and is_default and revoked_at is null";
    return (await database.pool.query(keys)).rows.map(({ key_id: keyId }) => keyId);
  };
  const KEY_A = 'a'.repeat(32);
  const KEY_B = 'b'.repeat(32);
  const KEY_C = 'c'.repeat(32);

  it('gets a key at its first start, printed once, that works', async () => {
    const printed: string[] = [];
    const options = {
      databaseUrl: database.url,
      logger,
      clock: systemClock,
      print: (line: string) => printed.push(line),
    };
    const config = loadConfig({ PORT: '0' });
    web = await startWeb({ config, ...options });
    const key = web.newApiKey ?? expect.unreachable('no key was made');
    expect(key).toMatch(/^ck_test_[0-9A-Za-z]{49}$/);
    expect(printed.join('\n')).toContain(key);
    const response = await fetch(`${web.url}/customers`, { headers: { authorization: `Bearer ${key}` } });
    expect(response.status).toBe(200);
    await web.close();
    printed.length = 0;
    web = await startWeb({ config, ...options });
    expect(web.newApiKey).toBeNull();
    expect(printed.join('\n')).not.toContain('ck_test_');
    expect(printed.join('\n')).toContain('npx chokin keys create --name mine --scopes read,write');
    await web.close();
    printed.length = 0;
    web = await startWeb({ config: loadConfig({ PORT: '0', API_KEY }), ...options });
    expect(printed.join('\n')).not.toContain('API key');
    const headers = { authorization: `Bearer ${key}` };
    expect((await fetch(`${web.url}/customers`, { headers })).status).toBe(200);
  });

  it('gets no key where the port is taken, so that none is made which nobody saw', async () => {
    const empty = await createTestDatabase();
    onTestFinished(() => empty.drop());
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    onTestFinished(() => void taken.close());
    const PORT = String((taken.address() as AddressInfo).port);
    const printed: string[] = [];
    const options = {
      databaseUrl: empty.url,
      logger,
      clock: systemClock,
      print: (line: string) => printed.push(line),
    };
    await expect(startWeb({ config: loadConfig({ PORT }), ...options })).rejects.toThrow('EADDRINUSE');
    expect((await empty.pool.query('select 1 from api_key')).rowCount).toBe(0);
    web = await startWeb({ config: loadConfig({ PORT: '0' }), ...options });
    expect(printed.join('\n')).toContain(`API key   ${web.newApiKey}`);
  });

  it('is there before the first request is answered, however early it comes', async () => {
    const blocker = await database.pool.connect();
    await blocker.query('begin');
    await blocker.query('lock table merchant');
    const PORT = await freePort();
    const options = { databaseUrl: database.url, logger, clock: systemClock, print: () => {} };
    const starting = startWeb({ config: loadConfig({ PORT: String(PORT), API_KEY }), ...options });
    const early = await eventually('the port to be bound', () =>
      fetch(`http://127.0.0.1:${PORT}/healthz`, { signal: AbortSignal.timeout(50) }).then(
        () => 'answered',
        (error: unknown) => (error instanceof Error && error.name === 'TimeoutError' ? 'waits' : undefined),
      ),
    );
    const headers = { authorization: `Bearer ${API_KEY}` };
    const waiting = fetch(`http://127.0.0.1:${PORT}/customers`, { headers });
    await blocker.query('rollback');
    blocker.release();
    web = await starting;
    expect([early, (await waiting).status]).toEqual(['waits', 200]);
  });

  it('follows API_KEY, one default key at a time, also back again', async () => {
    const first = await ensure({});
    expect(first).toMatchObject({ newApiKey: expect.any(String), earlierKey: null });
    const [original] = await defaultKeys();
    const other = await ensure({ API_KEY: KEY_A });
    expect(other).toMatchObject({ newApiKey: null, isApiKeyEnded: false, earlierKey: { keyId: original } });
    const second = await defaultKeys();
    expect(second).toHaveLength(1);
    expect(second).not.toEqual([original]);
    expect((await ensure({ API_KEY: KEY_A })).earlierKey).toBeNull();
    expect(await defaultKeys()).toEqual(second);
    expect((await ensure({ API_KEY: KEY_B })).earlierKey?.keyId).toBe(second[0]);
    expect(await defaultKeys()).not.toEqual(second);
    await ensure({ API_KEY: KEY_A });
    expect(await defaultKeys()).toEqual(second);
    expect((await ensure({})).newApiKey).toBeNull();
  });

  it('has two processes with keys of their own: neither ends the key of the other, whichever starts last', async () => {
    const works = (key: string) => findCaller(autocommit(database.pool), hashApiKey(key));
    for (const API_KEY of [KEY_A, KEY_B, KEY_A, KEY_B]) {
      await ensure({ API_KEY });
      for (const key of [KEY_A, KEY_B])
        expect(await works(key)).toMatchObject({ merchantId: 'bus_keys', expiresAt: null });
    }
  });

  it('does not bring API_KEY back to life that an operator revoked or rotated', async () => {
    const refTo = async (key: string) => {
      const found = await database.pool.query('select key_id from api_key where key_hash = $1', [hashApiKey(key)]);
      return { merchantId: 'bus_keys', keyId: found.rows[0].key_id };
    };
    const db = autocommit(database.pool);
    await ensure({ API_KEY: KEY_A });
    await revokeApiKey(db, await refTo(KEY_A), systemClock.now());
    expect(await ensure({ API_KEY: KEY_A })).toMatchObject({ isApiKeyEnded: true });
    expect(await findCaller(db, hashApiKey(KEY_A))).toBeNull();
    // Another one takes its place; and without one in the environment, none is made where there is one.
    expect(await ensure({ API_KEY: KEY_C })).toMatchObject({ isApiKeyEnded: false });
    const later = new Date(systemClock.now().getTime() + 60_000);
    const end = { at: later, replacedBy: 'key_next' };
    await transaction(database.pool, async (tx) => endApiKeyAt(tx, await refTo(KEY_C), end));
    expect(await ensure({ API_KEY: KEY_C })).toMatchObject({ isApiKeyEnded: true });
    expect((await findCaller(db, hashApiKey(KEY_C)))?.expiresAt).toEqual(later);
    expect((await ensure({})).newApiKey).toBeNull();
  });

  it('keeps its mode, and its key is not lent to another', async () => {
    await expect(ensure({ MODE: 'live' })).rejects.toThrow('MODE: the merchant bus_keys exists in test mode');
    await ensure({ API_KEY: KEY_B });
    await expect(ensure({ API_KEY: KEY_B, MERCHANT_ID: 'bus_second' })).rejects.toThrow('belongs to another merchant');
    await database.pool.query("update api_key set scopes = '{read}' where key_hash = $1", [hashApiKey(KEY_C)]);
    await expect(ensure({ API_KEY: KEY_C })).rejects.toThrow('made without the scope write');
    const live = await ensure({ MERCHANT_ID: 'bus_live', MODE: 'live' });
    expect(live.newApiKey).toMatch(/^ck_live_/);
  });

  it('is brought up to date while rows that name it are being added, which under traffic never ends', async () => {
    const adding = await database.pool.connect();
    try {
      await adding.query('begin');
      // Locks the merchant's row as every key to it does. Asked for by itself, Citus would take the lock of a writer.
      await adding.query(
        "insert into customer (merchant_id, customer_id, email, name, created_at) values ('bus_keys', 'cus_added', '', '', now())",
      );
      await ensure({ API_KEY: KEY_A, MERCHANT_NAME: 'Shop with a new name' });
    } finally {
      await adding.query('rollback');
      adding.release();
    }
  });

  it('is made once by processes that start together', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => ensure({ MERCHANT_ID: 'bus_race' })));
    expect(made.filter(({ newApiKey }) => newApiKey !== null)).toHaveLength(1);
  });
});

describe('npm run web', () => {
  it('says what it needs, and stops on SIGTERM with 0', async () => {
    const help = startProcess('src/web.ts', {});
    expect(await once(help.child, 'exit')).toEqual([1, null]);
    expect(help.output()).toContain('DATABASE_URL: wants the database to work on');
    const database = await createTestDatabase();
    const web = startProcess('src/web.ts', { DATABASE_URL: database.url, PORT: '0' });
    await web.printed('API key   ck_test_');
    const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(web.output()) ?? [];
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(await web.end('SIGTERM')).toBe(0);
    const logLines = web
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{'));
    expect(logLines.join('\n')).toContain('stopped');
    expect(logLines.join('\n')).not.toContain('ck_test_');
    await database.drop();
  });
});
