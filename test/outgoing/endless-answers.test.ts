import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { DirectSender } from '../../src/outgoing/embedded/send.ts';

/** Endpoints whose answers have no end, as many at once as a worker has slots. */
const SLOTS = 64;
const TIMEOUT_MS = 1_500;
const MEBIBYTE = 1024 * 1024;

/** How an answer begins, and what follows again and again as fast as it is taken. */
let answer: { readonly start: string; readonly more: string } = { start: '', more: '' };
const server = createServer((socket) => void pour(socket));
let url = '';
let open = 0;

async function pour(socket: Socket): Promise<void> {
  open += 1;
  socket.on('error', () => {});
  socket.once('close', () => {
    open -= 1;
  });
  await once(socket, 'data');
  const { start, more } = answer;
  socket.write(start);
  const chunk = more.repeat(Math.ceil(16_384 / more.length));
  const goOn = () => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('drain', goOn);
  goOn();
}

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`;
});
afterAll(() => server.close());

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;

it.each([
  ['a body', `${OK}\r\n`, 'x'],
  ['a body in pieces of a byte', CHUNKED, '1\r\nx\r\n'],
  ['a chunk’s extension', `${CHUNKED}1;`, 'x'],
  ['trailers', `${CHUNKED}0\r\n`, 'a: b\r\n'],
  ['headers', OK, 'a: b\r\n'],
  ['a header', `${OK}a: `, 'x'],
  ['a status', 'HTTP/1.1 200 ', 'x'],
  ['early hints', '', 'HTTP/1.1 103 Early Hints\r\na: b\r\n\r\n'],
])('%s without an end costs neither memory nor a slot for longer than the timeout', async (_, start, more) => {
  answer = { start, more };
  const sender = new DirectSender({ clock: systemClock, allowPrivate: true, timeoutMs: TIMEOUT_MS });
  const before = used();
  const startedMs = performance.now();
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, used() - before);
  }, 20);
  const post = { url, messageId: 'msg_1', payload: '{}', secrets: ['whsec_AAAAAAAA'] };
  const results = await Promise.all(Array.from({ length: SLOTS }, () => sender.post(post)));
  clearInterval(watch);
  // Whether its status was heard in time is left open: what pours runs in this very process.
  for (const { statusCode, response } of results) {
    expect([200, null]).toContain(statusCode);
    expect(response?.length ?? 0).toBeLessThanOrEqual(2048);
  }
  expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS + 3_000);
  expect(most).toBeLessThan(150 * MEBIBYTE);
  await expect.poll(() => open).toBe(0);
  await sender.close();
});

function used(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
