import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { Flood } from '../support/flood.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { RAZORPAY_SECRET, razorpayPayment, STRIPE_SECRET, signRazorpay } from '../support/signing.ts';
import { Victim } from '../support/victim.ts';
import { eventually } from '../support/wait.ts';

/**
 * F41: strangers send hundreds of bodies of a megabyte that they never finish: to a source that is there, with a length
 * and without, and to one that is not. The process has a heap of 256 MB and stays far below what they sent; another
 * source and a merchant are served meanwhile, from the same address, without one failure.
 */

const KEY = 'ck_test_bodies_0123456789abcdef_0123456789';
const MEBIBYTE = 1024 * 1024;
const STRANGERS = 400;
/** All bodies together have 64 MB, an address a quarter of it; the rest is what sockets and garbage take. */
const MOST_GROWTH = 280 * MEBIBYTE;

let database: TestDatabase;
let web: ServiceProcess;
let port: number;
let customerId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  web = startProcess('src/web.ts', {
    DATABASE_URL: database.url,
    PORT: '0',
    API_KEY: KEY,
    ENCRYPTION_KEY,
    LOG_LEVEL: 'warn',
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    RAZORPAY_WEBHOOK_SECRET: RAZORPAY_SECRET,
    NODE_OPTIONS: '--max-old-space-size=256',
  });
  await web.printed('Listening');
  port = Number(/Listening http:\/\/[^:]+:(\d+)/.exec(web.output())?.[1]);
  const made = await (await call('/customers', { email: 'ada@example.com', name: 'Ada' })).text();
  customerId = /cus_\w+/.exec(made)?.[0] ?? '';
});
afterAll(async () => {
  await web.end('SIGKILL');
  await database.drop();
});

function call(path: string, body: unknown): Promise<Response> {
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  return fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function figure(name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(name));
  return Number(line?.slice(line.lastIndexOf(' ') + 1));
}

/** A credit, a delivery of another source and the health of the process: each must succeed. */
async function expectHonestCalls(): Promise<void> {
  const entry = { amount: 1, currency: 'USD', entry_type: 'credit' };
  const credited = await call(`/customers/${customerId}/wallets/ledger-entries`, entry);
  expect([credited.status, await credited.text()]).toMatchObject([200, expect.any(String)]);
  const body = razorpayPayment({ paymentId: `pay_${crypto.randomUUID().slice(0, 8)}` });
  const delivery = { method: 'POST', headers: signRazorpay(body), body };
  expect((await fetch(`http://127.0.0.1:${port}/webhooks/razorpay`, delivery)).status).toBe(200);
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
}

const signature = () => `Stripe-Signature: t=${Math.floor(Date.now() / 1000)},v1=${'0'.repeat(64)}\r\n`;
const head = (path: string, headers: string) => `POST ${path} HTTP/1.1\r\nHost: chokin\r\n${headers}\r\n`;
const SPACES = Buffer.alloc(MEBIBYTE - 1, ' ');
const withLength = (path: string, headers: string) =>
  Buffer.concat([Buffer.from(head(path, `${headers}Content-Length: ${MEBIBYTE}\r\n`)), SPACES]);
const inChunks = (path: string, headers: string) =>
  Buffer.concat([Buffer.from(`${head(path, `${headers}Transfer-Encoding: chunked\r\n`)}100000\r\n`), SPACES]);
/** Six bytes on the line for each that counts, and work for us: it ends soon. */
const inCrumbs = (path: string, headers: string) =>
  Buffer.from(head(path, `${headers}Transfer-Encoding: chunked\r\n`) + '1\r\n \r\n'.repeat(5_000));

it.each([
  ['to a source that is there, with a length', () => withLength('/webhooks/stripe', signature()), [503]],
  ['to a source that is there, in chunks', () => inChunks('/webhooks/stripe', signature()), [503]],
  ['to a source that is there, in chunks of one byte', () => inCrumbs('/webhooks/stripe', signature()), [413]],
  ['to a source that is there, without a signature', () => withLength('/webhooks/stripe', ''), [401]],
  ['to a source that is not there', () => withLength('/webhooks/polar', signature()), [404]],
])('%s', async (name, message, statuses) => {
  const victim = new Victim(expectHonestCalls);
  await victim.alone(50);
  const before = await figure('process_resident_memory_bytes');
  const flood = new Flood({ port, connections: STRANGERS, atOnce: 100, says: message(), reads: true });
  const watch = async () => {
    let isWhole = false;
    void flood.whole.then(() => {
      isWhole = true;
    });
    while (!isWhole) {
      expect((await figure('process_resident_memory_bytes')) - before).toBeLessThan(MOST_GROWTH);
      expect(await figure('chokin_body_bytes')).toBeLessThanOrEqual(64 * MEBIBYTE);
    }
  };
  await victim.during(watch(), 50);
  victim.report(`F41, ${name}`);
  expect((await flood.end()).filter((status) => !statuses.includes(status))).toEqual([]);
});

it('who was limited is counted and logged a few times, no request failed by us, and the books agree', async () => {
  await eventually('the memory for bodies to be free', async () => (await figure('chokin_body_bytes')) === 0);
  expect(await figure('chokin_limited_total{who="address",limit="bodies"}')).toBeGreaterThan(0);
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(text).not.toMatch(/fault="server"/);
  expect(text).toMatch(/route="\/webhooks\/\{provider\}",method="post",status="503",fault="limit"/);
  expect(web.output().split('is over a limit').length).toBeLessThan(20);
  await expectBooksToAgree(database.pool);
});
