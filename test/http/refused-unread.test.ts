import { afterAll, beforeAll, expect, it } from 'vitest';
import { RawSocket } from '../security/raw-socket.ts';
import { bearer, operatorOf } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { eventually } from '../support/wait.ts';

/** Calls that are refused by what their headers say: nothing of their bodies is waited for, and none of it is kept. */

let app: TestApp;
let port: number;
let readOnly: string;
let webhookPath: string;
const keys = new Map<string, string>();
beforeAll(async () => {
  app = await startTestApp({ environment: { TRUST_PROXY: '1', RATE_LIMIT_PER_MINUTE: '5' } });
  port = Number(new URL(app.baseURL).port);
  readOnly = (await app.newKey('mer_reader', ['read'])).authorization;
  webhookPath = (await operatorOf(app).newShop()).source.webhook_path;
  const spent = (await app.newKey('mer_spender', ['read', 'write'])).authorization;
  for (let n = 0; n < 5; n += 1) await app.call('GET', '/customers', undefined, { authorization: spent });
  for (let n = 0; n < 61; n += 1)
    await app.call('GET', '/customers', undefined, { ...bearer(`wrong-${n}`), 'x-forwarded-for': '203.0.113.9' });
  keys.set('read only', readOnly).set('spent', spent).set('the app', `Bearer ${app.key}`).set('wrong', 'Bearer wrong');
});
afterAll(() => app.close());

const LENGTH = 1_000_000;
const JSON_TYPE = 'Content-Type: application/json\r\n';

function head(line: string, headers: string): string {
  const known = headers.replace(/<(.+)>/, (_, name: string) => keys.get(name) ?? '');
  return `${line} HTTP/1.1\r\nHost: a\r\n${JSON_TYPE}${known}`;
}

const REFUSALS: readonly (readonly [string, number, string, string])[] = [
  ['a wrong key', 401, 'POST /customers', 'Authorization: <wrong>\r\n'],
  ['no key', 401, 'POST /customers', ''],
  ['one wrong key too many', 429, 'POST /customers', 'Authorization: <wrong>\r\nX-Forwarded-For: 203.0.113.9\r\n'],
  ['a key that has used up its minute', 429, 'POST /customers', 'Authorization: <spent>\r\n'],
  ['a key without the right', 403, 'POST /customers', 'Authorization: <read only>\r\n'],
  ['no ADMIN_KEY', 401, 'POST /admin/merchants', ''],
  ['a source that is not there', 404, 'POST /webhooks/stripe/src_nobodys', ''],
  ['a provider without a source', 404, 'POST /webhooks/polar', ''],
  ['a delivery without a signature', 401, 'POST <source>', ''],
  ['an address that is not there', 404, 'POST /nowhere', ''],
  ['a method that is not there', 405, 'PUT /healthz', ''],
  ['a compressed body', 415, 'POST /customers', 'Authorization: <the app>\r\nContent-Encoding: gzip\r\n'],
];

it.each(REFUSALS)('%s is refused with %i before any of its body is there', async (_, status, line, headers) => {
  const socket = await RawSocket.open(port);
  const begun = head(line.replace('<source>', webhookPath), headers);
  socket.write(`${begun}Content-Length: ${LENGTH}\r\n\r\n`);
  await eventually('the answer', () => socket.statuses.length > 0);
  expect(socket.statuses).toEqual([status]);
  expect(socket.received).toMatch(/\r\nconnection: close\r\n/i);
  socket.destroy();
});

it.each(REFUSALS)('%s (%i) costs no memory for a body that comes all the same', async (_, status, line, headers) => {
  const socket = await RawSocket.open(port);
  socket.write(`${head(line.replace('<source>', webhookPath), headers)}Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536, ' '), Buffer.from('\r\n')]);
  await socket.pour(chunk, 200 * 1024 * 1024);
  await socket.closed;
  // A reset may overtake the answer.
  expect([[], [status]]).toContainEqual(socket.statuses);
  const { body } = await app.call('GET', '/metrics');
  expect(body).toMatch(/^chokin_body_bytes 0$/m);
});
