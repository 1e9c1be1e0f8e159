import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import { readSvixFailure } from '../../src/outgoing/svix/answers.ts';
import { SvixClient } from '../../src/outgoing/svix/client.ts';

/** Messages go to Svix without its SDK, which is beside us here: the same request, and the same said of every answer. */

interface Received {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const NOW = new Date('2026-03-01T00:00:00Z');
const ACCEPTED = '{"id":"msg_1","eventType":"t","payload":{},"timestamp":"2026-03-01T00:00:00Z"}';
const accept: RequestListener = (_, response) => void response.writeHead(202).end(ACCEPTED);

let received: Received[];
let answer: RequestListener;
let url: string;
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const { method, url: asked, headers } = request;
  received.push({ method, url: asked, headers, body: Buffer.concat(chunks).toString() });
  answer(request, response);
});

beforeEach(async () => {
  received = [];
  answer = accept;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const clientOf = (serverUrl = url, timeoutMs = 10_000): SvixClient =>
  new SvixClient({ token: new Secret('testsk_0123.eu'), serverUrl, timeoutMs });

const MESSAGE = { messageId: 'whm_1', eventType: 'wallet.created', payload: '{"id":"whm_1"}' };
const bare = (svix: SvixClient, application = 'ins_1.bus_1', message = MESSAGE) =>
  svix.postMessage(application, message);

async function bySdk(svix: SvixClient, application = 'ins_1.bus_1', message = MESSAGE): Promise<string | null> {
  const { messageId, eventType, payload } = message;
  const input = { eventId: messageId, eventType, payload: JSON.parse(payload) };
  const created = await svix.message.create(application, input, { idempotencyKey: messageId });
  return created.id ?? null;
}

/** What two requests may differ in: who asks, and the number by which Svix's log knows it. */
function comparable({ headers, ...request }: Received): unknown {
  expect(headers['svix-req-id']).toMatch(/^\d+$/);
  return { ...request, headers: { ...headers, 'user-agent': '', 'svix-req-id': '' } };
}

describe('a message posted to Svix', () => {
  it.each(['', '/', '/svix', '/svix/'])(
    'is the request of the SDK, at an address that ends with “%s”',
    async (path) => {
      const svix = clientOf(url + path);
      const name = fc.stringMatching(/^[a-zA-Z0-9\-_.]{1,60}$/).filter((text) => !/^\.+$/.test(text));
      const payload = fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()).map((one) => JSON.stringify(one));
      const property = fc.asyncProperty(name, name, name, payload, async (application, messageId, eventType, text) => {
        received = [];
        const message = { messageId, eventType, payload: text };
        await bySdk(svix, application, message);
        await bare(svix, application, message);
        const [theirs, ours] = received.map(comparable);
        expect(ours).toEqual(theirs);
      });
      await fc.assert(property, { numRuns: 25 });
    },
  );

  it('says that it comes from us, and carries its payload to the letter', async () => {
    const payload = '{ "id":"whm_1", "amount": 1.50, "name":"\\u00e9é" }';
    await bare(clientOf(), 'a', { ...MESSAGE, payload });
    expect(received).toMatchObject([{ headers: { 'user-agent': expect.stringMatching(/^Chokin-Webhooks\//) } }]);
    expect(received[0]?.body).toContain(`"payload":${payload}`);
  });

  const page = '<html>Bad gateway';
  const detail = '{"code":"x","detail":"no such thing"}';
  it.each<[number, string, Record<string, string>]>([
    [202, ACCEPTED, {}],
    [200, '{}', {}],
    [202, page, {}],
    [202, '', {}],
    [302, '', { location: '/elsewhere' }],
    [400, detail, {}],
    [400, '', {}],
    [401, detail, {}],
    [403, page, {}],
    [404, detail, {}],
    [404, page, {}],
    [409, detail, {}],
    [413, detail, {}],
    [422, '{"detail":[{"loc":["body","payload"],"msg":"too deep","type":"x"}]}', {}],
    [422, page, {}],
    [429, detail, { 'retry-after': '17' }],
    [429, detail, { 'retry-after': 'Sun, 01 Mar 2026 00:00:30 GMT' }],
    [500, detail, {}],
    [502, page, {}],
    [503, '', { 'retry-after': '3' }],
  ])('comes to the same as by the SDK where %i is answered: %s', async (status, text, headers) => {
    answer = (_, response) => void response.writeHead(status, headers).end(text);
    const svix = clientOf();
    expect(await resultOf(bare(svix))).toEqual(await resultOf(bySdk(svix)));
    // A redirect is followed by neither.
    expect(received.map(({ url: asked }) => asked)).toEqual(
      Array(2).fill('/api/v1/app/ins_1.bus_1/msg?with_content=false'),
    );
  });

  it.each<[string, RequestListener]>([
    ['the connection is reset', ({ socket }) => socket.resetAndDestroy()],
    ['the answer breaks off', (_, response) => void response.writeHead(202).write('{', () => response.destroy())],
    ['nothing is answered', () => {}],
    ['the answer never ends', (_, response) => void response.writeHead(202).write('{')],
  ])('comes to the same as by the SDK where %s', async (_, listener) => {
    answer = listener;
    const svix = clientOf(url, 150);
    const result = await resultOf(bare(svix));
    expect(result).toMatchObject({ kind: 'unavailable' });
    expect(result).toEqual(await resultOf(bySdk(svix)));
  });

  it('comes to the same as by the SDK where nobody listens', async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const svix = clientOf();
    const reason = 'Svix could not be reached (ECONNREFUSED)';
    expect(await resultOf(bare(svix))).toEqual({ kind: 'unavailable', reason });
    expect(await resultOf(bySdk(svix))).toEqual({ kind: 'unavailable', reason });
    server.listen(0, '127.0.0.1');
  });

  it.each(['null', '"ok"', '[]', '{"id":7}'])(
    'is not taken for sent where %s is answered, as no Svix does',
    async (text) => {
      answer = (_, response) => void response.writeHead(200).end(text);
      const reason = 'Svix answered with something that is not JSON';
      expect(await resultOf(bare(clientOf()))).toEqual({ kind: 'unavailable', reason });
    },
  );

  it('is waited for no longer where no connection comes about', async () => {
    // It takes connections, and says nothing to the greeting of TLS.
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const svix = clientOf(`https://127.0.0.1:${(silent.address() as AddressInfo).port}`, 100);
    const [opened, result] = await Promise.all([once(silent, 'connection'), resultOf(bare(svix))]);
    expect(result).toEqual({ kind: 'unavailable', reason: 'Svix did not answer in time' });
    opened[0].destroy();
    silent.close();
  });

  it.each([
    [202, 'Svix answered with something that is not JSON'],
    [500, 'Svix answered 500'],
  ])('reads no more of an endless answer %i than a message can need', async (status, reason) => {
    const gone = Promise.withResolvers<number>();
    answer = ({ socket }, response) => {
      response.writeHead(status);
      response.on('close', () => gone.resolve(socket.bytesWritten));
      const write = () => {
        while (response.write(' '.repeat(8192)));
      };
      response.on('drain', write);
      write();
    };
    expect(await resultOf(bare(clientOf()))).toEqual({ kind: 'unavailable', reason });
    // What was on its way fills buffers of the system.
    expect(await gone.promise).toBeLessThan(32 * 1024 * 1024);
  });
});

/** What was sent, or why not. */
async function resultOf(posting: Promise<string | null>): Promise<unknown> {
  try {
    return { sent: await posting };
  } catch (error) {
    return readSvixFailure(error, NOW);
  }
}
