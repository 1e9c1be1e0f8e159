import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { Flood } from '../support/flood.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { STRIPE_SECRET } from '../support/signing.ts';
import { Victim } from '../support/victim.ts';

/**
 * F43: strangers open more connections to a web process than their address may have, and keep all of them busy. Whoever asks whether the
 * process is well is answered meanwhile, from the same address and without fail: on the port that is flooded, and on the
 * port for health.
 */

const STRANGERS = 1_100;
const AT_ONCE = 275;

let database: TestDatabase;
let web: ServiceProcess;
let port: number;
let healthPort: number;

beforeAll(async () => {
  database = await createTestDatabase();
  web = startProcess('src/web.ts', {
    DATABASE_URL: database.url,
    PORT: '0',
    HEALTH_PORT: '0',
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
  });
  await web.printed('Listening');
  port = Number(/Listening http:\/\/[^:]+:(\d+)/.exec(web.output())?.[1]);
  healthPort = Number(/"healthPort":(\d+)/.exec(web.output())?.[1]);
});
afterAll(async () => {
  await web.end('SIGKILL');
  await database.drop();
});

async function expectHealth(): Promise<void> {
  const asked = [port, healthPort].flatMap((of) => ['/healthz', '/readyz'].map((path) => ({ of, path })));
  const answers = asked.map(async ({ of, path }) => {
    const response = await fetch(`http://127.0.0.1:${of}${path}`, { headers: { connection: 'close' } });
    return { of, path, status: response.status };
  });
  expect(await Promise.all(answers)).toEqual(asked.map((one) => ({ ...one, status: 200 })));
}

const signature = () => `Stripe-Signature: t=${Math.floor(Date.now() / 1000)},v1=${'0'.repeat(64)}\r\n`;
const head = (line: string, headers = '') => `${line} HTTP/1.1\r\nHost: chokin\r\n${headers}\r\n`;
const body = (length: number, sent: number) =>
  head('POST /webhooks/stripe', `${signature()}Content-Length: ${length}\r\n`) + ' '.repeat(sent);

it.each([
  ['bodies that stop after a byte', () => body(10, 1)],
  ['bodies that stop after 20 kB', () => body(100_000, 20_000)],
  ['long answers that nobody reads', () => head('GET /openapi.json').repeat(3)],
])('health is told beside %s', async (name, message) => {
  const victim = new Victim(expectHealth);
  await victim.alone(50);
  const says = Buffer.from(message());
  const flood = new Flood({ port, connections: STRANGERS, atOnce: AT_ONCE, says, reads: false });
  await victim.during(flood.whole, 50);
  victim.report(`F43, ${name}`);
  await flood.end();
});

it('the port for health serves metrics too, and nothing else', async () => {
  const paths = ['/metrics', '/customers', '/webhooks/stripe', '/docs'];
  const answers = paths.map((path) => fetch(`http://127.0.0.1:${healthPort}${path}`));
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 404, 404, 404]);
});
