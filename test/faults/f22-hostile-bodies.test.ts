import { once } from 'node:events';
import type { Socket } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listen } from '../../src/http/kit/server.ts';
import { RawSocket } from '../security/raw-socket.ts';
import { ALL_SOURCES, SIGNED_PROVIDERS, signed } from '../security/signed-providers.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { type ServiceProcess, startProcess } from '../support/process.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { eventually } from '../support/wait.ts';

/**
 * F22: slow, huge, compressed, lying and silent clients, at the sockets of the real web process. They are answered 408,
 * 413, 415 or 400, or let go, in bounded time and memory, and everybody else is served meanwhile.
 */

const KEY = 'ck_test_sockets_0123456789abcdef_0123456789';
const MEBIBYTE = 1024 * 1024;

let database: TestDatabase;
let web: ServiceProcess;
let port: number;
let entries: string;

beforeAll(async () => {
  database = await createTestDatabase();
  web = startProcess('src/web.ts', {
    DATABASE_URL: database.url,
    PORT: '0',
    API_KEY: KEY,
    ENCRYPTION_KEY,
    LOG_LEVEL: 'warn',
    ...ALL_SOURCES,
  });
  await web.printed('Listening');
  port = Number(/Listening http:\/\/[^:]+:(\d+)/.exec(web.output())?.[1]);
  const made = await talk(posted('{"email":"ada@example.com","name":"Ada"}', '/customers'));
  entries = `/customers/${/cus_\w+/.exec(made.received)?.[0]}/wallets/ledger-entries`;
});
afterAll(async () => {
  await web.end('SIGKILL');
  await database.drop();
});

const AUTHORIZED = `Authorization: Bearer ${KEY}\r\nContent-Type: application/json\r\n`;
const head = (line: string, headers = '') => `${line} HTTP/1.1\r\nHost: chokin\r\n${headers}\r\n`;
const post = (headers = '', path = entries) => head(`POST ${path}`, `${AUTHORIZED}${headers}`);
const posted = (body: string, path = entries) => `${post(`Content-Length: ${body.length}\r\n`, path)}${body}`;

/** A new client is answered soon, also where the database is needed: it does not wait for one whose time runs out. */
async function expectService(): Promise<void> {
  const startedMs = performance.now();
  const entry = JSON.stringify({ amount: 1, currency: 'USD', entry_type: 'credit' });
  expect(await statusesOf(`${head('GET /healthz')}${posted(entry)}`, 2)).toEqual([200, 200]);
  expect(secondsSince(startedMs)).toBeLessThan(3);
}

async function residentBytes(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)/m.exec(text)?.[1]);
}

/** Sends `data` on a connection of its own, and reads until `answers` answers have come or the server has hung up. */
async function talk(data: string | Buffer, answers = 1): Promise<RawSocket> {
  const socket = await RawSocket.open(port);
  let isClosed = false;
  void socket.closed.then(() => {
    isClosed = true;
  });
  socket.write(data);
  await eventually('an answer', () => isClosed || socket.statuses.length >= answers);
  return socket;
}

async function statusesOf(data: string | Buffer, answers = 1): Promise<number[]> {
  const socket = await talk(data, answers);
  socket.destroy();
  return socket.statuses;
}

const nowSeconds = () => Math.floor(Date.now() / 1000);
/** A few milliseconds on a free machine. What takes minutes by the square of what was sent is far beyond, on a busy one too. */
const AT_ONCE_SECONDS = 10;
const secondsSince = (startedMs: number) => (performance.now() - startedMs) / 1000;

describe.concurrent('a client that takes its time is let go', { timeout: 180_000 }, () => {
  it('when its body comes byte by byte, in the API and in webhooks, with a length and in chunks', async () => {
    const startedMs = performance.now();
    const cases = [
      [post('Content-Length: 1000\r\n'), ' '],
      [head('POST /webhooks/stripe', `Content-Length: 1000\r\nStripe-Signature: t=${nowSeconds()},v1=00\r\n`), ' '],
      [post('Transfer-Encoding: chunked\r\n'), '1\r\n \r\n'],
    ] as const;
    await Promise.all(
      cases.map(async ([headers, body]) => {
        const socket = await RawSocket.open(port);
        socket.write(headers);
        await socket.drip(body);
        expect(socket.statuses).toEqual([408]);
      }),
    );
    expect(secondsSince(startedMs)).toBeLessThan(40);
  });

  it('when its body ends before the length it promised', async () => {
    const startedMs = performance.now();
    const socket = await RawSocket.open(port);
    socket.write(`${post('Content-Length: 1000\r\n')}{"amount":1}`);
    await socket.closed;
    expect(socket.statuses).toEqual([408]);
    expect(secondsSince(startedMs)).toBeLessThan(40);
  });

  it('when it has no key and sends a body without end, after an answer at once', async () => {
    const startedMs = performance.now();
    const socket = await RawSocket.open(port);
    socket.write(head(`POST ${entries}`, 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n'));
    await eventually('the refusal', () => socket.statuses.length > 0);
    expect(socket.statuses).toEqual([401]);
    await socket.drip('1\r\nx\r\n');
    expect(secondsSince(startedMs)).toBeLessThan(40);
  });

  it.each(['/docs', '/', '/docs/swagger-ui.css', '/openapi.json', '/healthz', '/metrics', '/nowhere'])(
    'when it sends a body without end to GET %s, which takes none: once it is answered',
    async (path) => {
      const startedMs = performance.now();
      const socket = await RawSocket.open(port);
      socket.write(head(`GET ${path}`, 'Transfer-Encoding: chunked\r\n'));
      await eventually('the answer', () => socket.statuses.length > 0);
      const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000, ' '), Buffer.from('\r\n')]);
      await socket.pour(chunk, 500 * MEBIBYTE);
      await socket.closed;
      expect(socket.statuses).toEqual([path === '/nowhere' ? 404 : 200]);
      expect(socket.socket.bytesWritten).toBeLessThan(40 * MEBIBYTE);
      expect(secondsSince(startedMs)).toBeLessThan(AT_ONCE_SECONDS);
    },
  );

  it('when it says nothing at all, and when its headers come byte by byte', async () => {
    const startedMs = performance.now();
    const [silent, slow] = await Promise.all([RawSocket.open(port), RawSocket.open(port)]);
    slow.write('GET /healthz HTTP/1.1\r\nHost: chokin\r\n');
    await Promise.all([silent.closed, slow.drip('X-Slow: loris\r\n')]);
    expect([silent.statuses, slow.statuses]).toEqual([[408], [408]]);
    expect(secondsSince(startedMs)).toBeLessThan(30);
  });

  it('when it does not read its answer', async () => {
    const app = express();
    const sockets: Socket[] = [];
    app.get('/', (request, response) => {
      sockets.push(request.socket);
      response.end(Buffer.alloc(64 * MEBIBYTE));
    });
    const server = await listen(app, { port: 0, host: '127.0.0.1', silenceMs: 1_000 });
    const client = await RawSocket.open(server.port);
    client.socket.pause();
    client.write(head('GET /'));
    const socket = await eventually('the request', () => sockets[0]);
    await once(socket, 'close');
    expect(socket.bytesWritten).toBeGreaterThan(0);
    client.destroy();
    await server.close(0);
  });
});

describe('a body that is too large', () => {
  const chunk = Buffer.alloc(64 * 1024, ' ');

  it.each([
    ['of the API', () => post(`Content-Length: ${200 * MEBIBYTE}\r\n`), chunk],
    ['of a webhook', () => head('POST /webhooks/stripe', `Content-Length: ${200 * MEBIBYTE}\r\n`), chunk],
    [
      'in chunks',
      () => post('Transfer-Encoding: chunked\r\n'),
      Buffer.concat([Buffer.from('10000\r\n'), chunk, Buffer.from('\r\n')]),
    ],
  ])('%s is 413, and the connection is closed long before its end', async (_, headers, poured) => {
    const before = await residentBytes();
    const socket = await RawSocket.open(port);
    socket.write(headers());
    await socket.pour(poured, 200 * MEBIBYTE);
    await socket.closed;
    expect(socket.socket.bytesWritten).toBeLessThan(40 * MEBIBYTE);
    // The reset may overtake the answer; where it does not, it is the right one.
    expect(socket.statuses.every((status) => status === 413)).toBe(true);
    expect((await residentBytes()) - before).toBeLessThan(100 * MEBIBYTE);
  });

  it.each([
    ['with its length', (body: string) => posted(body)],
    [
      'in chunks',
      (body: string) => `${post('Transfer-Encoding: chunked\r\n')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ],
  ])('by a little is 413 and read to its end, and the next request is answered: %s', async (_, message) => {
    const data = `${message(' '.repeat(150 * 1024))}${head('GET /healthz')}`;
    expect(await statusesOf(data, 2)).toEqual([413, 200]);
  });
});

describe('a compressed body', () => {
  const bomb = Buffer.alloc(MEBIBYTE);
  it.each([
    ['gzip', gzipSync(bomb)],
    ['deflate', deflateSync(bomb)],
    ['br', brotliCompressSync(bomb)],
    ['identity, gzip', gzipSync(bomb)],
    ['zstd', Buffer.from('junk')],
  ])('by %s is 415 before it is looked at, for the API and for webhooks', async (encoding, body) => {
    const encoded = `Content-Encoding: ${encoding}\r\nContent-Length: ${body.length}\r\n`;
    for (const headers of [post(encoded), head('POST /webhooks/stripe', `Stripe-Signature: t=1,v1=00\r\n${encoded}`)]) {
      expect(await statusesOf(Buffer.concat([Buffer.from(headers), body]))).toEqual([415]);
    }
  });
});

describe('what is no proper HTTP is refused, and the connection closed', () => {
  const body = '{"amount":1,"currency":"USD","entry_type":"credit","reason":"smuggled"}';
  const length = `Content-Length: ${body.length}\r\n`;

  it.each<[string, () => string | Buffer, number[]]>([
    ['a length and chunks', () => `${post(`${length}Transfer-Encoding: chunked\r\n`)}0\r\n\r\n${body}`, [400]],
    ['two lengths', () => `${post(`${length}Content-Length: 5\r\n`)}${body}`, [400]],
    ['two lengths in one', () => `${post(`Content-Length: 5, ${body.length}\r\n`)}${body}`, [400]],
    ['a negative length', () => `${post('Content-Length: -1\r\n')}${body}`, [400]],
    ['a length in words', () => `${post('Content-Length: 1e2\r\n')}${body}`, [400]],
    ['a length beyond 64 bits', () => `${post('Content-Length: 99999999999999999999\r\n')}${body}`, [400]],
    ['a chunk size that is none', () => `${post('Transfer-Encoding: chunked\r\n')}zz\r\n${body}`, [400]],
    ['an unknown transfer coding', () => `${post('Transfer-Encoding: gzip\r\n')}${body}`, [400]],
    ['a space before the colon', () => post(`Transfer-Encoding : chunked\r\n${length}`) + body, [400]],
    ['a folded header', () => post(`X-A: b\r\n c: d\r\n${length}`) + body, [400]],
    ['bare line feeds', () => `POST ${entries} HTTP/1.1\nHost: chokin\n${AUTHORIZED}\n${body}`, [400]],
    ['NUL in a header', () => post(`X-A: \0\r\n${length}`) + body, [400]],
    ['no host', () => 'GET /healthz HTTP/1.1\r\n\r\n', [400]],
    ['no method that exists', () => head('BREW /healthz'), [400]],
    ['the greeting of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
    ['the greeting of TLS', () => Buffer.from('16030100a5010000a10303', 'hex'), [400]],
    ['a header of 20 kB', () => head('GET /healthz', `X-A: ${'x'.repeat(20_000)}\r\n`), [431]],
    ['an address of 20 kB', () => head(`GET /${'x'.repeat(20_000)}`), [431]],
    ['3,000 headers of 20 kB', () => head('GET /healthz', 'X-A: b\r\n'.repeat(3_000)), [431]],
    ['a tunnel', () => head('CONNECT db:5432'), []],
  ])('%s', async (_, data, statuses) => {
    const socket = await talk(data());
    await socket.closed;
    expect(socket.statuses).toEqual(statuses);
  });

  it('a length shorter than the body: the first request stands, the rest is refused', async () => {
    const socket = await talk(`${post(length)}${body}GARBAGE\r\n\r\n`, 2);
    await socket.closed;
    // Node may hang up before the answer to the first, which was under way.
    expect(socket.statuses.at(-1)).toBe(400);
  });

  it('an offer to speak another protocol is not taken up', async () => {
    const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n';
    expect(await statusesOf(head('GET /healthz', offer))).toEqual([200]);
    expect(await statusesOf(head('GET /healthz', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'))).toEqual([200]);
  });

  it('nothing of it became an entry but that one', async () => {
    const count = async () => {
      const { rows } = await database.pool.query("select count(*)::int as n from entry where reason = 'smuggled'");
      return rows[0].n;
    };
    // Its connection may be closed while it is under way.
    await eventually('the one request that was whole', async () => (await count()) > 0);
    expect(await count()).toBe(1);
  });
});

describe('headers that come twice', () => {
  const body = '{}';
  const lines = (headers: Readonly<Record<string, string>>) =>
    Object.entries({ ...headers, 'Content-Length': String(body.length) })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('');

  it.each(SIGNED_PROVIDERS.flatMap((one) => one.covered.map((name) => [one.provider, name, one] as const)))(
    '%s: %s is accepted once, and refused twice, equal or not',
    async (provider, name, one) => {
      const headers = signed(one, body);
      const value = headers[name] ?? '';
      const send = async (more: string, base = headers) =>
        statusesOf(`${head(`POST /webhooks/${provider}`, `${lines(base)}${more}`)}${body}`);
      // PayPal's needs its certificate, which this process would fetch.
      if (provider !== 'paypal') expect(await send('')).toEqual([200]);
      const { [name]: _, ...others } = headers;
      for (const twice of [
        [value, value],
        [value, 'x'],
        ['x', value],
        [value, ''],
        ['', value],
      ]) {
        const more = twice.map((one) => `${name}: ${one}\r\n`).join('');
        expect([twice, await send(more, others)]).toEqual([twice, [401]]);
      }
      expect(await send('', others)).toEqual([401]);
    },
  );

  it('of two keys the first counts, so that a proxy and we read the same one', async () => {
    const other = 'Authorization: Bearer somebody-elses-key\r\n';
    expect(await statusesOf(head('GET /customers', `${AUTHORIZED}${other}`))).toEqual([200]);
    expect(await statusesOf(head('GET /customers', `${other}${AUTHORIZED}`))).toEqual([401]);
  });

  it('of two content types the first counts; two encodings are compression', async () => {
    const data = (more: string) => `${post(`${more}Content-Length: 2\r\n`)}{}`;
    expect(await statusesOf(data('Content-Type: text/plain\r\n'))).toEqual([422]);
    expect(await statusesOf(data('Content-Encoding: identity\r\nContent-Encoding: gzip\r\n'))).toEqual([415]);
  });
});

describe('requests in a row, before any is answered', () => {
  it('are answered in their order', async () => {
    const entry = (amount: number) => JSON.stringify({ amount, currency: 'USD', entry_type: 'credit', reason: 'row' });
    const requests = Array.from({ length: 60 }, (_, n) => {
      if (n % 3 === 1) return head('GET /healthz');
      if (n % 3 === 2) return head('GET /nowhere');
      return posted(entry(n + 1));
    });
    const statuses = await statusesOf(requests.join(''), requests.length);
    expect(statuses).toEqual(requests.map((_, n) => (n % 3 === 2 ? 404 : 200)));
    const { rows } = await database.pool.query("select count(*)::int as n from entry where reason = 'row'");
    expect(rows).toEqual([{ n: 20 }]);
  });

  it('by the ten thousand, of the cheapest kind, are let go, and others are answered meanwhile', async () => {
    const before = await residentBytes();
    const flood = Buffer.from('GET /n HTTP/1.1\r\nHost:a\r\n\r\n'.repeat(1_000));
    const sockets = await Promise.all(Array.from({ length: 10 }, () => RawSocket.open(port)));
    for (const socket of sockets) socket.write(flood);
    await expectService();
    await Promise.all(sockets.map(({ closed }) => closed));
    expect(sockets.flatMap(({ statuses }) => statuses).every((status) => status === 404)).toBe(true);
    expect((await residentBytes()) - before).toBeLessThan(200 * MEBIBYTE);
  });

  it('by the thousand do not fill the memory, and others are answered meanwhile', async () => {
    const before = await residentBytes();
    const flood = Buffer.from(head('GET /docs/swagger-ui-bundle.js').repeat(200));
    const sockets = await Promise.all(Array.from({ length: 10 }, () => RawSocket.open(port)));
    for (const { socket } of sockets) socket.pause();
    for (const socket of sockets) socket.write(flood);
    await expectService();
    expect((await residentBytes()) - before).toBeLessThan(200 * MEBIBYTE);
    for (const socket of sockets) socket.destroy();
  });
});

describe('JSON', () => {
  const batch = '/ledger-entries/batch';
  const manyFields = (count: number, value = '0') =>
    Array.from({ length: count }, (_, n) => `"k${n}":${value}`).join(',');
  const deep = (open: string, close: string, bytes: number) => {
    const levels = Math.floor(bytes / (open.length + close.length));
    return `${open.repeat(levels)}1${close.repeat(levels)}`;
  };

  it.each<[string, () => string, string, number]>([
    ['a million brackets deep', () => deep('[', ']', 2_000_000), batch, 422],
    ['300,000 objects deep', () => deep('{"a":', '}', 2_000_000), batch, 422],
    ['deep inside an entry', () => `{"entries":[${deep('[', ']', 1_900_000)}]}`, batch, 422],
    ['deep inside metadata', () => `{"amount":1,"metadata":{"a":${deep('[', ']', 90_000)}}}`, entries, 422],
    ['an array of a million', () => `{"entries":[${'0,'.repeat(999_000)}0]}`, batch, 422],
    ['a number of 100,000 digits', () => `{"amount":${'9'.repeat(100_000)}}`, entries, 422],
    ['8,000 unknown fields', () => `{${manyFields(8_000)}}`, entries, 422],
    ['150,000 unknown fields', () => `{${manyFields(150_000)}}`, batch, 422],
    ['98,000 unknown fields', () => `{${manyFields(98_000)}}`, batch, 422],
    ['98,000 fields of an entry', () => `{"entries":[{${manyFields(98_000)}}]}`, batch, 200],
    ['98,000 pairs of metadata', () => `{"entries":[{"metadata":{${manyFields(98_000)}}}]}`, batch, 200],
    ['metadata of 98,000 lists', () => `{"entries":[{"metadata":{${manyFields(98_000, '[]')}}}]}`, batch, 422],
    ['metadata of 48,000 lists', () => `{"entries":[{"metadata":{${manyFields(48_000, '[]')}}}]}`, batch, 200],
    ['8,000 pairs of metadata', () => `{"amount":1,"metadata":{${manyFields(8_000)}}}`, entries, 422],
    ['10,000 brackets deep', () => deep('[', ']', 20_000), entries, 422],
    ['a key of 90,000 letters', () => `{"amount":1,"idempotency_key":"${'k'.repeat(90_000)}"}`, entries, 422],
    ['a name of 100,000 letters', () => `{"${'k'.repeat(100_000)}":0}`, entries, 422],
  ])('%s is answered at once and shortly', async (_, make, path, status) => {
    const body = make();
    const startedMs = performance.now();
    const socket = await talk(posted(body, path));
    socket.destroy();
    expect(socket.statuses).toEqual([status]);
    expect(secondsSince(startedMs)).toBeLessThan(AT_ONCE_SECONDS);
    expect(socket.received.length).toBeLessThan(3_000);
    await expectService();
  });
});

describe('a query, and headers, of 16 kB', () => {
  const many = (count: number, make: (n: number) => string) =>
    Array.from({ length: count }, (_, n) => make(n)).join('&');
  const authorized = (path: string, headers = '') => head(`GET ${path}`, `${AUTHORIZED}${headers}`);

  it.each<[string, string, number]>([
    ['1,500 parameters that there are not', many(1_500, (n) => `k${n}=1`), 400],
    ['5,000 parameters without names or values', '&'.repeat(5_000), 200],
    ['one parameter 2,000 times', many(2_000, () => 'name=a'), 400],
    ['a parameter that is nested 3,000 times', `a${'[b]'.repeat(3_000)}=1`, 400],
    ['a parameter of 3,000 lists', `${'a[]=1&'.repeat(2_000)}`, 400],
    ['a prototype', '__proto__[x]=1&constructor=1&__proto__=1', 400],
    ['a name of 14,000 letters', `name=${'a'.repeat(14_000)}`, 400],
    ['a name of 500 percent signs', `name=${'%25'.repeat(500)}`, 200],
    ['what cannot be decoded', `name=${'%ff'.repeat(400)}`, 200],
  ])('%s is answered at once and shortly', async (_, query, status) => {
    const startedMs = performance.now();
    const socket = await talk(authorized(`/customers?${query}`));
    socket.destroy();
    expect(socket.statuses).toEqual([status]);
    expect(socket.received.length).toBeLessThan(3_000);
    expect(secondsSince(startedMs)).toBeLessThan(AT_ONCE_SECONDS);
  });

  it.each([
    [100, 200],
    [3_000, 431],
  ])('%i headers are answered %i at once, again and again', async (count, status) => {
    const startedMs = performance.now();
    const data = authorized('/customers', 'a:\r\n'.repeat(count));
    for (let request = 0; request < 50; request += 1) expect(await statusesOf(data)).toEqual([status]);
    expect(secondsSince(startedMs)).toBeLessThan(10);
  });

  it.each([
    ['too long', 'k'.repeat(300)],
    ['far too long', 'k'.repeat(14_000)],
    ['of other signs', 'ä'],
  ])('an Idempotency-Key that is %s is refused', async (_, key) => {
    const body = JSON.stringify({ amount: 1, currency: 'USD', entry_type: 'credit' });
    const data = `${post(`Idempotency-Key: ${key}\r\nContent-Length: ${body.length}\r\n`)}${body}`;
    expect(await statusesOf(data)).toEqual([400]);
  });
});

describe('ten thousand connections that say nothing', () => {
  /** One file each, in the client's process and in the server's. */
  function connectionsPossible(): number {
    const report = process.report.getReport() as { userLimits?: { open_files?: { soft: number | 'unlimited' } } };
    const files = report.userLimits?.open_files?.soft ?? 1024;
    return files === 'unlimited' ? 10_500 : Math.min(10_500, files - 500);
  }

  it('lock nobody out, take little memory, and are gone shortly after', { timeout: 180_000 }, async () => {
    const count = connectionsPossible();
    const before = await residentBytes();
    // Larger than it needs to be, so that it came at more than the lowest rate.
    const body = `${' '.repeat(50_000)}${JSON.stringify({ amount: 1, currency: 'USD', entry_type: 'credit' })}`;
    const underWay = await RawSocket.open(port);
    underWay.write(posted(body).slice(0, -1));
    const sockets: RawSocket[] = [];
    let closed = 0;
    while (sockets.length < count) {
      const some = await Promise.all(
        Array.from({ length: Math.min(250, count - sockets.length) }, () => RawSocket.open(port)),
      );
      for (const socket of some) {
        void socket.closed.then(() => {
          closed += 1;
        });
        // Half of them begin a request that they never finish.
        if (sockets.push(socket) % 2 === 0) socket.write('POST /webhooks/stripe HTTP/1.1\r\nHost: chokin\r\n');
      }
    }
    await expectService();
    const bytesEach = ((await residentBytes()) - before) / count;
    expect(bytesEach).toBeLessThan(25_000);
    // A request that came further than theirs is not cut off to make room.
    underWay.write(body.slice(-1));
    await eventually('the answer to it', () => underWay.statuses.length > 0);
    expect(underWay.statuses).toEqual([200]);
    underWay.destroy();
    await eventually('every one of them to be closed', () => closed === count);
    await expectService();
  });
});

describe('after all of this', () => {
  it('the process is the same, has logged no failure of its own, and the books agree', async () => {
    expect(web.child.exitCode).toBeNull();
    expect(web.output()).not.toContain('unexpectedly');
    await expectService();
    await expectBooksToAgree(database.pool);
    const { rows } = await database.pool.query(
      "select count(*)::int as n from provider_event where event_type <> 'unknown'",
    );
    expect(rows).toEqual([{ n: 0 }]);
  });
});
