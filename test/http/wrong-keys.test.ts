import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bearer } from '../support/admin.ts';
import { ADMIN_KEY, API_KEY, startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  // Each test calls from an address of its own.
  app = await startTestApp({ environment: { TRUST_PROXY: '1' } });
});
afterAll(() => app.close());

/** One after another, 62 calls from `address` with wrong keys. */
async function guess(path: string, address: string): Promise<number[]> {
  const statuses: number[] = [];
  for (let index = 0; index < 62; index += 1) {
    const headers = { ...bearer(`a-wrong-key-of-more-than-32-characters-${index}`), 'x-forwarded-for': address };
    statuses.push((await app.call('GET', path, undefined, headers)).status);
  }
  return statuses;
}

const LIMITED = [...Array<number>(60).fill(401), 429, 429];

it.each([
  ['ADMIN_KEY', '/admin/merchants', '203.0.113.1'],
  ['API key', '/customers', '203.0.113.2'],
])('an %s is guessed sixty times a minute from one address, and no more', async (_, path, address) => {
  expect(await guess(path, address)).toEqual(LIMITED);
});

it('whoever guesses at one kind of key has used up the guesses at the other; right keys go on to be let in', async () => {
  const address = '203.0.113.3';
  await guess('/customers', address);
  const from = { 'x-forwarded-for': address };
  const wrong = { ...bearer('a-wrong-key-of-more-than-32-characters'), ...from };
  expect((await app.call('GET', '/admin/merchants', undefined, wrong)).status).toBe(429);
  expect((await app.call('GET', '/customers', undefined, from)).status).toBe(200);
  expect((await app.call('GET', '/admin/merchants', undefined, { ...bearer(ADMIN_KEY), ...from })).status).toBe(200);
  expect((await app.call('GET', '/customers', undefined, { ...wrong, 'x-forwarded-for': '203.0.113.4' })).status).toBe(
    401,
  );
});

it('knows by each request whose it is, whatever key the connection brought before', async () => {
  const customer = await app.newCustomer();
  const stranger = await app.newKey('bus_stranger', ['read']);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number>();
  const statusFor = async (headers: Record<string, string>) => {
    const asked = get(`${app.baseURL}/customers/${customer}/wallets`, { agent, headers });
    const [response] = await once(asked, 'response');
    ports.add(response.socket.localPort);
    await once(response.resume(), 'end');
    return response.statusCode;
  };
  const own = bearer(API_KEY);
  const found: number[] = [];
  for (const headers of [
    own,
    stranger,
    own,
    bearer(`${API_KEY}x`),
    {},
    own,
    bearer(''),
    { authorization: `bearer  ${API_KEY}` },
  ])
    found.push(await statusFor(headers));
  agent.destroy();
  expect(found).toEqual([200, 404, 200, 401, 401, 200, 401, 200]);
  expect(ports.size).toBe(1);
});

const wrongKey = (key: string, address: string) => ({ ...bearer(key), 'x-forwarded-for': address });

/** Runs `test` while nobody can ask the database for a key: what asks all the same fails with 500. */
async function withoutKeys(test: () => Promise<void>): Promise<void> {
  await app.database.pool.query('alter table api_key rename to api_key_away');
  try {
    await test();
  } finally {
    await app.database.pool.query('alter table api_key_away rename to api_key');
  }
}

it('past the limit a wrong key costs no query, and a key that is in use is let in', async () => {
  const address = '203.0.113.5';
  await app.call('GET', '/customers', undefined, { 'x-forwarded-for': address });
  await guess('/customers', address);
  await withoutKeys(async () => {
    const calls = Array.from({ length: 40 }, (_, index) =>
      app.call('GET', '/customers', undefined, wrongKey(`another-wrong-key-of-32-characters-${index}`, address)),
    );
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([429]));
    expect((await app.call('GET', '/customers', undefined, { 'x-forwarded-for': address })).status).toBe(200);
  });
});

it('guesses that come all at once are counted before any is looked up', async () => {
  const calls = Array.from({ length: 200 }, (_, index) =>
    app.call('GET', '/customers', undefined, wrongKey(`one-of-many-wrong-keys-at-once-${index}`, '203.0.113.6')),
  );
  const statuses = (await Promise.all(calls)).map(({ status }) => status);
  expect(statuses.filter((status) => status === 401)).toHaveLength(60);
  expect(statuses.filter((status) => status === 429)).toHaveLength(140);
});

it('a key that there is not is remembered for a short while, so that it is not asked about again and again', async () => {
  const headers = wrongKey('a-forgotten-key-of-more-than-32-characters', '203.0.113.7');
  expect((await app.call('GET', '/customers', undefined, headers)).status).toBe(401);
  await withoutKeys(async () => {
    expect((await app.call('GET', '/customers', undefined, headers)).status).toBe(401);
  });
});

it('who guesses is counted, and told apart from our own failures', async () => {
  const { body } = await app.call('GET', '/metrics');
  expect(Number(/chokin_limited_total\{who="address",limit="wrong keys"\} (\d+)/.exec(body)?.[1])).toBeGreaterThan(0);
  expect(body).toMatch(/route="\/customers",method="get",status="429",fault="limit"/);
});
