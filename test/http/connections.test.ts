import express from 'express';
import { afterEach, expect, it } from 'vitest';
import type { ConnectionLimits } from '../../src/http/kit/connections.ts';
import { type HttpServer, listen } from '../../src/http/kit/server.ts';
import { RawSocket } from '../security/raw-socket.ts';
import { eventually } from '../support/wait.ts';

/** Connections beyond an address's share, at a server that lets each address have four. */

const SHARE = 4;

let server: HttpServer;
let noted: string[];
let held: (() => void)[];
/** How often the large answer was asked for. */
let larges = 0;
afterEach(() => server.close(0));

async function start(limits: ConnectionLimits = {}): Promise<void> {
  noted = [];
  held = [];
  const app = express();
  app.get('/large', (_request, response) => {
    larges += 1;
    response.end(Buffer.alloc(LARGE));
  });
  app.get('/held', (_request, response) => {
    held.push(() => response.end('at last'));
  });
  app.get('/', (_request, response) => {
    response.end('well');
  });
  app.post('/', (request, response) => {
    request.resume();
    request.once('end', () => response.end('read'));
  });
  const noteLimited: ConnectionLimits['noteLimited'] = ({ who, limit }) => noted.push(`${who} ${limit}`);
  server = await listen(app, { port: 0, host: '127.0.0.1', share: SHARE, noteLimited, ...limits });
}

/** More than the systems of both ends keep of an answer that nobody reads. */
const LARGE = 16 * 1024 * 1024;
const FAR = 20_000;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

const BODY = 1_000;
const post = (more = '') => `POST / HTTP/1.1\r\nHost: a\r\n${more}Content-Length: ${BODY}\r\n\r\n`;

async function open(data: string, count = 1, from?: string): Promise<RawSocket[]> {
  const sockets: RawSocket[] = [];
  for (let n = 0; n < count; n += 1) {
    const socket = await RawSocket.open(server.port, from);
    if (data !== '') socket.write(data);
    sockets.push(socket);
  }
  return sockets;
}

const answered = (sockets: readonly RawSocket[]) => sockets.filter(({ statuses }) => statuses.length > 0);

async function expectWell(headers: Record<string, string> = {}): Promise<void> {
  const response = await fetch(server.url, { headers: { connection: 'close', ...headers } });
  expect([response.status, await response.text()]).toEqual([200, 'well']);
}

it('a new one is served, and the slowest request that is not whole is ended for it', async () => {
  await start();
  const [slow] = await open(post());
  const quick = await open(`${post()}${' '.repeat(BODY - 1)}`, SHARE - 1);
  await expectWell();
  await eventually('the slow one to be ended', () => slow?.statuses.length === 1);
  expect(slow?.statuses).toEqual([408]);
  for (const socket of quick) socket.write(' ');
  await eventually('the others to be answered', () => answered(quick).length === quick.length);
  expect(new Set(quick.flatMap(({ statuses }) => statuses))).toEqual(new Set([200]));
  expect(noted).toEqual(['address connections']);
});

it('connections that say nothing go before any request, without a word in the log', async () => {
  await start({ graceMs: 0 });
  const [begun] = await open(post());
  const silent = await open('', SHARE);
  await silent[0]?.closed;
  begun?.write(' '.repeat(BODY));
  await eventually('the request that was begun to be answered', () => begun?.statuses.length === 1);
  expect([begun?.statuses, noted]).toEqual([[200], []]);
});

it('one that was opened just now has time to say something, beside others that are slow', async () => {
  await start();
  await open(post(), SHARE - 1);
  const [late] = await open('');
  await expectWell();
  late?.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await eventually('its answer', () => late?.statuses.length === 1);
  expect(late?.statuses).toEqual([200]);
});

it('many that are slow shut nobody out', async () => {
  await start();
  for (let round = 0; round < 10; round += 1) {
    const slow = await open(post(), SHARE * 2);
    await expectWell();
    for (const socket of slow) socket.destroy();
  }
});

it('an answer that its client does not read goes for a new one, and a request that waits for its answer stays', async () => {
  await start();
  const waiting = await open(get('/held'), SHARE - 1);
  const [unread] = await open('');
  unread?.socket.pause();
  unread?.write(get('/large'));
  await eventually('all to be asked', () => held.length === SHARE - 1 && larges === 1);
  await expectWell();
  // It can tell that it was closed only once it reads.
  unread?.socket.resume();
  await unread?.closed;
  expect(unread?.received.length).toBeLessThan(LARGE);
  for (const answer of held) answer();
  await eventually('the others to be answered', () => answered(waiting).length === waiting.length);
});

it('bodies that came far and stop there go for new ones, where they are most of what an address has', async () => {
  await start();
  const head = post().replace(String(BODY), String(2 * FAR));
  await open(`${head}${' '.repeat(FAR)}`, SHARE);
  const late = await open('', SHARE / 2);
  await expectWell();
  for (const socket of late) socket.write(get('/'));
  await eventually('the new ones to be answered', () => answered(late).length === late.length);
  expect(late.flatMap(({ statuses }) => statuses)).toEqual([200, 200]);
});

it('a crowded process closes what waits for its answer too, of the address that has most', async () => {
  await start({ share: 100, crowded: 10 });
  const few = await open(get('/held'), 2, '127.0.0.2');
  const many = await open(get('/held'), 8);
  await eventually('all to be asked', () => held.length === 10);
  for (let n = 0; n < 5; n += 1) await expectWell();
  for (const answer of held) answer();
  await eventually('the others to be answered', () => answered(few).length === few.length);
  await Promise.race(many.map(({ closed }) => closed));
  expect(answered(many).length).toBeLessThan(many.length);
  expect(new Set(noted)).toEqual(new Set(['process connections']));
});

it('behind a proxy the share is that of the address which it names, and its own connections are not counted', async () => {
  await start({ proxies: 1 });
  const named = (address: string) => post(`X-Forwarded-For: 198.51.100.9, ${address}\r\n`);
  const other = await open(named('203.0.113.2'), SHARE);
  const [first, ...rest] = await open(named('203.0.113.1'), SHARE + 1);
  await eventually('the first one to be ended', () => first?.statuses.length === 1);
  expect(first?.statuses).toEqual([408]);
  await expectWell({ 'x-forwarded-for': '203.0.113.1' });
  for (const socket of [...other, ...rest]) socket.write(' '.repeat(BODY));
  const all = [...other, ...rest];
  await eventually('all others to be answered', () => answered(all).length === all.length);
  expect(new Set(all.flatMap(({ statuses }) => statuses))).toEqual(new Set([200]));
});

it('a few requests of a connection are begun at once, the others in their order when those are answered', async () => {
  await start();
  const [client] = await open(get('/held').repeat(9));
  await eventually('the first', () => held.length === 4);
  held[0]?.();
  await eventually('the fifth', () => held.length === 5);
  // What others ask meanwhile is answered.
  await expectWell();
  expect(held.length).toBe(5);
  for (let n = 1; n < 9; n += 1) {
    await eventually('the next', () => held[n]);
    held[n]?.();
  }
  await eventually('all answers', () => client?.statuses.length === 9);
  expect(noted).toEqual([]);
  client?.destroy();
});

it('a connection with more requests than may wait is ended, and what came with them is never begun', async () => {
  await start();
  const [client] = await open(get('/held').repeat(1_500));
  await client?.closed;
  expect([held.length, client?.statuses]).toEqual([4, []]);
  expect(noted).toEqual(['address pipelined']);
  await expectWell();
});
