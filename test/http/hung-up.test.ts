import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createLogger } from '../../src/telemetry/log.ts';
import { RawSocket } from '../security/raw-socket.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { signStripe } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** Clients that close the connection before they have an answer. */

const HUNG_UP = 20;

let app: TestApp;
const logged: string[] = [];
beforeAll(async () => {
  app = await startTestApp({ logger: createLogger('debug', 'test', { write: (line) => logged.push(line) }) });
});
beforeEach(() => {
  logged.length = 0;
});
afterAll(() => app.close());

/** How many requests of the route were counted, by status and fault. */
async function counted(route: string): Promise<Map<string, number>> {
  const { body } = await app.call('GET', '/metrics');
  const line =
    /^chokin_http_request_seconds_count\{route="([^"]+)",method="post",status="(\d+)",fault="(\w+)"\} (\d+)$/gm;
  const found = [...String(body).matchAll(line)].filter(([, of]) => of === route);
  return new Map(found.map(([, , status, fault, count]) => [`${status} ${fault}`, Number(count)]));
}

const total = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((sum, count) => sum + count, 0);

async function hangUp(head: string, body: string): Promise<void> {
  const socket = await RawSocket.open(Number(new URL(app.baseURL).port));
  await new Promise<void>((sent) => socket.socket.write(`${head}\r\n\r\n${body}`, () => sent()));
  socket.socket.end();
  await socket.closed;
}

const event = '{"id":"evt_1"}';
const headers = Object.entries({ ...signStripe(event), 'content-length': '1000' }).map(
  ([name, value]) => `${name}: ${value}`,
);
const delivery = ['POST /webhooks/stripe HTTP/1.1', 'Host: a', ...headers].join('\r\n');
const customer = (key: string) =>
  `POST /customers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nContent-Length: 1000`;

it.each([
  ['a delivery', '/webhooks/{provider}', () => delivery],
  ['a call with a key', '/customers', () => customer(app.key)],
])(
  '%s whose client hangs up in the middle counts as 499 and the client’s doing, and is logged at debug alone',
  async (_, route, head) => {
    for (let n = 0; n < HUNG_UP; n += 1) await hangUp(head(), event);
    await eventually('all to be counted', async () => total(await counted(route)) >= HUNG_UP);
    expect(await counted(route)).toEqual(new Map([['499 client', HUNG_UP]]));
    const levels = logged.map((line) => JSON.parse(line)).filter(({ level }) => level > 20);
    expect(levels).toEqual([]);
  },
);

it('deliveries that nobody signed are counted one by one, and logged once in a while', async () => {
  for (let n = 0; n < HUNG_UP; n += 1) {
    expect((await app.call('POST', '/webhooks/stripe', event, { authorization: '' })).status).toBe(401);
  }
  const refused = logged.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'a delivery was refused');
  expect(refused).toMatchObject([{ level: 40, source: 'src_stripe', count: 1 }]);
  const { body } = await app.call('GET', '/metrics');
  expect(body).toContain(`chokin_provider_deliveries_total{provider="stripe",outcome="refused"} ${HUNG_UP}\n`);
});

it('of what strangers do wrong a hundred lines are logged in ten seconds', async () => {
  for (let n = 0; n < 20; n += 1)
    await Promise.all(Array.from({ length: 20 }, () => app.call('GET', '/nowhere', undefined, { authorization: '' })));
  const lines = logged
    .map((line) => JSON.parse(line))
    .filter(({ msg, level }) => msg === 'request answered' && level > 20);
  expect(lines.length).toBeGreaterThan(0);
  // Ten seconds may end meanwhile.
  expect(lines.length).toBeLessThanOrEqual(200);
});
