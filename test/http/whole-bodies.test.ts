import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { readBody } from '../../src/http/kit/body.ts';
import { ByteBudget } from '../../src/http/kit/byte-budget.ts';

/**
 * Aim: a body that came along with its headers is taken at once, and one that comes later is read to its end; both are counted alike.
 * Method: requests written by hand on one connection, so that it is known which bytes come with which packet.
 */

const LIMIT_BYTES = 1_000;
const OF = { address: '127.0.0.1', party: { kind: 'merchant', id: 'bus_1' } } as const;
let budget: ByteBudget;
let seen: string[];

async function answer(request: IncomingMessage): Promise<string> {
  await null;
  const reading = readBody(request, { limitBytes: LIMIT_BYTES, budget, of: OF });
  const way = request.listenerCount('data') > 0 ? 'read on' : 'taken';
  try {
    const body = await reading;
    const held = budget.bytes;
    body.release();
    return `${way} ${body.bytes.toString()} ${held} ${budget.bytes}`;
  } catch (error) {
    return `${way} ${error instanceof Error ? error.constructor.name : ''} ${budget.bytes}`;
  }
}

const server = createServer((request, response) => {
  void answer(request).then((text) => {
    seen.push(text);
    response.setHeader('content-length', text.length).end(text);
  });
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => server.closeAllConnections());
beforeEach(() => {
  seen = [];
  budget = new ByteBudget({ limit: 'bodies', limitBytes: 4_000, note: () => {} });
});

const head = (headers: string) => `POST / HTTP/1.1\r\nhost: x\r\n${headers}\r\n\r\n`;

/** Sends each packet once the one before it was answered, or has arrived. */
async function send(...packets: readonly { readonly text: string; readonly isAnswered: boolean }[]): Promise<void> {
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  await once(socket, 'connect');
  for (const { text, isAnswered } of packets) {
    const arrived = isAnswered ? once(socket, 'data') : once(server, 'request');
    socket.write(text);
    await arrived;
  }
  socket.destroy();
}

const whole = (body: string) => ({ text: `${head(`content-length: ${body.length}`)}${body}`, isAnswered: true });

it('takes bodies that are there, one request after another on a connection', async () => {
  await send(whole('abc'), whole('defg'), whole('h'));
  expect(seen).toEqual(['taken abc 3 0', 'taken defg 4 0', 'taken h 1 0']);
});

it('reads on where more is to come, and then takes the next that is whole', async () => {
  const begun = { text: `${head('content-length: 6')}abc`, isAnswered: false };
  await send(begun, { text: 'def', isAnswered: true }, whole('ghi'));
  expect(seen).toEqual(['read on abcdef 6 0', 'taken ghi 3 0']);
});

it('reads bodies to their end that say no length, are empty or too long', async () => {
  const chunked = { text: `${head('transfer-encoding: chunked')}3\r\nabc\r\n0\r\n\r\n`, isAnswered: true };
  await send(chunked, whole(''), whole('x'.repeat(LIMIT_BYTES + 1)), whole('end'));
  expect(seen).toEqual(['read on abc 3 0', 'read on  0 0', 'read on TurnedAwayError 0', 'taken end 3 0']);
});

it('refuses a body that there is no room for, and counts nothing of it', async () => {
  budget = new ByteBudget({ limit: 'bodies', limitBytes: 10, note: () => {} });
  await send(whole('x'.repeat(100)), whole('ab'));
  expect(seen).toEqual(['taken NoRoomError 0', 'taken ab 2 0']);
});
