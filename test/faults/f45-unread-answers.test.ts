import { afterAll, beforeAll, expect, it } from 'vitest';
import { RawSocket } from '../security/raw-socket.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { Victim } from '../support/victim.ts';

/**
 * F45: holders of a read key, and strangers, ask for the longest answers there are and read none of them. What is not read stays in
 * memory: it is bounded in all, by address and by merchant. The process has a heap of 256 MB; another merchant is served meanwhile.
 */

const KEY = 'ck_test_answers_0123456789abcdef_012345678';
const ADMIN_KEY = 'an-admin-key-for-unread-answers-0123456789';
const MEBIBYTE = 1024 * 1024;
const READERS = 120;
/** A quarter of 64 MB is an address's; the rest is what pages take while they are made, and garbage. */
const MOST_GROWTH = 280 * MEBIBYTE;

let database: TestDatabase;
let web: ServiceProcess;
let base: string;
let port: number;
let mallory: string;
let page: string;

beforeAll(async () => {
  database = await createTestDatabase();
  web = startProcess('src/web.ts', {
    DATABASE_URL: database.url,
    PORT: '0',
    API_KEY: KEY,
    ADMIN_KEY,
    ENCRYPTION_KEY,
    LOG_LEVEL: 'warn',
    RATE_LIMIT_PER_MINUTE: '0',
    NODE_OPTIONS: '--max-old-space-size=256',
  });
  await web.printed('Listening');
  port = Number(/Listening http:\/\/[^:]+:(\d+)/.exec(web.output())?.[1]);
  base = `http://127.0.0.1:${port}`;
  const merchant = await insist('/admin/merchants', ADMIN_KEY, { name: 'Mallory', mode: 'test' });
  const made = { name: 'all', scopes: ['read', 'write'] };
  mallory = (await insist(`/admin/merchants/${merchant.merchant_id}/api-keys`, ADMIN_KEY, made)).key ?? '';
  const { customer_id } = await insist('/customers', mallory, { email: 'm@example.com', name: 'Mallory' });
  page = `/customers/${customer_id}/wallets/ledger-entries`;
  const metadata = Object.fromEntries(Array.from({ length: 48 }, (_, n) => [`k${n}`, '世'.repeat(490)]));
  const entry = { amount: 1, currency: 'USD', entry_type: 'credit', metadata };
  for (let n = 0; n < 100; n += 1) await insist(page, mallory, entry);
});
afterAll(async () => {
  await web.end('SIGKILL');
  await database.drop();
});

async function insist(path: string, key: string, body: object): Promise<Record<string, string>> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const response = await fetch(base + path, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await response.text();
  expect([path, response.status, text]).toEqual([path, 200, text]);
  return JSON.parse(text);
}

async function figure(name: string): Promise<number> {
  const text = await (await fetch(`${base}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(name));
  return Number(line?.slice(line.lastIndexOf(' ') + 1));
}

/** Asks, takes a little of the answer, and nothing more. */
async function askOf(path: string): Promise<RawSocket> {
  const socket = await RawSocket.open(port, '127.0.0.2');
  socket.socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: chokin\r\nAuthorization: Bearer ${mallory}\r\n\r\n`);
  return socket;
}

it.each([
  ['a merchant’s longest pages', () => `${page}?page_size=100`],
  ['metrics, as a stranger', () => '/metrics'],
])('%s that nobody reads', async (_, path) => {
  const { customer_id: customerId } = await insist('/customers', KEY, { email: 'ada@example.com', name: 'Ada' });
  const entries = `/customers/${customerId}/wallets/ledger-entries`;
  const victim = new Victim(async () => {
    await insist(entries, KEY, { amount: 1, currency: 'USD', entry_type: 'credit' });
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
  });
  await victim.alone();
  const before = await figure('process_resident_memory_bytes');
  const sockets: RawSocket[] = [];
  const attack = async () => {
    while (sockets.length < READERS) {
      sockets.push(...(await Promise.all(Array.from({ length: 20 }, () => askOf(path())))));
      expect(await figure('chokin_answer_bytes')).toBeLessThanOrEqual(64 * MEBIBYTE);
      expect((await figure('process_resident_memory_bytes')) - before).toBeLessThan(MOST_GROWTH);
    }
  };
  await victim.during(attack());
  victim.report(`F45, ${path().slice(0, 10)}`);
  expect((await figure('process_resident_memory_bytes')) - before).toBeLessThan(MOST_GROWTH);
  for (const socket of sockets) socket.destroy();
});

it('the longest page is read by whoever reads it, while others are not read', async () => {
  const sockets = await Promise.all(Array.from({ length: 20 }, () => askOf(`${page}?page_size=100`)));
  const headers = { authorization: `Bearer ${mallory}` };
  let response = await fetch(`${base}${page}?page_size=100`, { headers });
  while (response.status === 503) {
    expect([response.headers.get('retry-after'), await response.json()]).toMatchObject([
      '1',
      { code: 'SERVICE_UNAVAILABLE' },
    ]);
    response = await fetch(`${base}${page}?page_size=100`, { headers });
  }
  expect(await response.json()).toMatchObject({ items: { length: 100 } });
  for (const socket of sockets) socket.destroy();
});

it('who was limited is counted, and nothing of it is a failure of ours', async () => {
  expect(await figure('chokin_limited_total{who="address",limit="answers"}')).toBeGreaterThan(0);
  const text = await (await fetch(`${base}/metrics`)).text();
  expect(text).not.toMatch(/fault="server"/);
  expect(text).toMatch(/status="503",fault="limit"/);
});
