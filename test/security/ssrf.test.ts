import type { LookupAddress, lookup as systemLookup } from 'node:dns';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { guardedConnector, isPublicAddress, publicLookup } from '../../src/outgoing/embedded/addresses.ts';
import { DirectSender } from '../../src/outgoing/embedded/send.ts';
import { checkEndpoint } from '../../src/outgoing/endpoint-rules.ts';
import { publicly } from '../support/refusals.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/** Aims at endpoint URLs that reach into our own network: by literal address, by name, by redirect, by a name that changes. */

const REFUSED = [
  '0.0.0.0',
  '0.1.2.3',
  '10.0.0.1',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.1.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::7f00:1',
  '::127.0.0.1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '0:0:0:0:0:ffff:a9fe:a9fe',
  '::ffff:8.8.8.8',
  '::ffff:0:7f00:1',
  '64:ff9b::7f00:1',
  '64:ff9b::169.254.169.254',
  '64:ff9b::8.8.8.8',
  '64:ff9b:1::1',
  '100::1',
  '2001::1',
  '2001:2::1',
  '2001:10::1',
  '2001:20::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '2002:a9fe:a9fe::1',
  '2002:808:808::1',
  '3fff::1',
  '4000::1',
  '5f00::1',
  'fc00::1',
  'fd12:3456::1',
  'fe80::1',
  'fec0::1',
  'ff02::1',
];

const saying = (text: string) =>
  expect.objectContaining({ refusal: publicly({ message: expect.stringContaining(text) }) });

describe('addresses', () => {
  test.each(REFUSED)('%s is refused', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  test.each([
    '1.1.1.1',
    '8.8.8.8',
    '100.63.255.255',
    '172.32.0.1',
    '192.167.0.1',
    '2606:4700:4700::1111',
    '2a00:1450::1',
  ])('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  test('what is no address is not public', () => {
    expect(isPublicAddress('example.com')).toBe(false);
  });
});

describe('an endpoint’s URL', () => {
  const literal = (address: string) =>
    address.includes(':') ? `https://[${address}]/hook` : `https://${address}/hook`;

  test.each([
    ...REFUSED.map(literal),
    'https://2130706433/',
    'https://2852039166/',
    'https://0x7f000001/',
    'https://0X7F.0.0.1/',
    'https://0177.0.0.1/',
    'https://017700000001/',
    'https://0177.0x0.1/',
    'https://127.1/',
    'https://127.0.0.1./',
    'https://127%2e0%2e0%2e1/',
    'https://%31%32%37.0.0.1/',
    'https://１２７.０.０.１/',
    'https://①②⑦.⓪.⓪.①/',
    'https://127。0。0。1/',
    'https://0/',
    'https:127.0.0.1/',
    'https:\\\\127.0.0.1\\',
    'https://[::ffff:7f00:1]/',
    'https://[0:0:0:0:0:ffff:127.0.0.1]/',
    'https://[::1%25lo]/',
    'https://merchant.example@127.0.0.1/',
    'https://127.0.0.1:443@merchant.example/',
    'https://merchant.example#@127.0.0.1/\t',
    'https://lo\ncalhost/',
    'https://localhost:8443/',
    'https://LOCALHOST./',
    'https://db.localhost/',
    'https://printer.local/',
    'https://metadata.google.internal/',
    'https://nas.home.arpa/',
    'http://merchant.example/',
    'ftp://merchant.example/',
    'file:///etc/passwd',
    'https://user@merchant.example/',
    'https://user:password@merchant.example/',
    'https://merchant.example/\u0000',
    'https://merchant.example/ü',
    ' https://merchant.example/',
    'merchant.example',
    `https://merchant.example/${'x'.repeat(2000)}`,
  ])('%s is refused at once, naming the field', (url) => {
    const refusal = publicly({ code: 'INVALID_REQUEST_BODY', message: expect.stringMatching(/^url: /) });
    expect(() => checkEndpoint({ url }, false)).toThrow(expect.objectContaining({ refusal }));
  });

  test.each([
    'https://merchant.example/hook?x=1',
    'https://merchant.example:8443/',
    'https://8.8.8.8/',
    'https://notlocalhost/',
  ])('%s is accepted', (url) => {
    expect(() => checkEndpoint({ url }, false)).not.toThrow();
  });

  test('may lead to the own machine where that is allowed, but never hold a password', () => {
    expect(() => checkEndpoint({ url: 'http://127.0.0.1:3000/' }, true)).not.toThrow();
    expect(() => checkEndpoint({ url: 'http://localhost:3000/' }, true)).not.toThrow();
    expect(() => checkEndpoint({ url: 'http://a:b@localhost/' }, true)).toThrow(saying('user name or password'));
    expect(() => checkEndpoint({ url: 'ftp://localhost/' }, true)).toThrow(saying('https'));
  });

  test('the other fields of an endpoint are checked too', () => {
    expect(() => checkEndpoint({ description: 'x'.repeat(501) }, false)).toThrow(saying('description:'));
    expect(() => checkEndpoint({ description: 'a\0b' }, false)).toThrow(saying('description:'));
    expect(() => checkEndpoint({ eventTypes: [] }, false)).toThrow(saying('event_types:'));
    expect(() => checkEndpoint({ eventTypes: ['wallet.created'], description: 'ok' }, false)).not.toThrow();
  });
});

describe('a connection', () => {
  let receiver: WebhookReceiver;
  const senders: DirectSender[] = [];
  const REFUSAL = 'ADDRESS_REFUSED: the host has no public address';

  beforeAll(async () => {
    receiver = await WebhookReceiver.start();
  });
  afterEach(() => Promise.all(senders.splice(0).map((sender) => sender.close())));
  afterAll(() => receiver.close());

  /** As the system's resolver calls back, with the addresses of one answer after another. */
  const resolver = (...answers: LookupAddress[][]) =>
    ((_: string, __: unknown, callback: (error: Error | null, addresses: LookupAddress[]) => void) =>
      callback(null, answers.shift() ?? [])) as unknown as typeof systemLookup;

  const post = (url: string, connect?: ReturnType<typeof guardedConnector>) => {
    const options = connect === undefined ? {} : { connect };
    const sender = new DirectSender({ clock: systemClock, allowPrivate: false, timeoutMs: 2_000, ...options });
    senders.push(sender);
    const secrets = [`whsec_${Buffer.alloc(32, 7).toString('base64')}`];
    return sender.post({ url, messageId: 'msg_1', payload: '{}', secrets });
  };

  test.each([
    'http://127.0.0.1',
    'http://127.0.0.1.',
    'http://127.1',
    'http://2130706433',
    'http://0177.0.0.1',
    'http://017700000001',
    'http://0x7f.1',
    'http://0',
    'http://[::1]',
    'http://[::]',
    'http://[::ffff:127.0.0.1]',
    'http://[::ffff:7f00:1]',
    'http://[::127.0.0.1]',
    'http://[64:ff9b::127.0.0.1]',
    'http://[2002:7f00:1::]',
    'http://localhost',
    'https://localhost',
    'https://127.0.0.1',
  ])('to %s is refused before a byte is sent', async (origin) => {
    const outcome = await post(`${origin}:${receiver.port}/hook`);
    expect(outcome).toMatchObject({ statusCode: null, error: REFUSAL, timedOut: false });
    expect(receiver.received).toEqual([]);
  });

  test.each(['127.0.0.1', '169.254.169.254', '::1', '::ffff:127.0.0.1', '64:ff9b::127.0.0.1', '2002:7f00:1::'])(
    'to a name that turns into %s after it was checked is refused',
    async (address) => {
      const url = `http://rebound.example:${receiver.port}/`;
      expect(() => checkEndpoint({ url: url.replace('http', 'https') }, false)).not.toThrow();
      const family = address.includes(':') ? 6 : 4;
      const lookup = publicLookup(resolver([{ address, family }]));
      expect((await post(url, guardedConnector(false, 1_000, lookup))).error).toBe(REFUSAL);
      expect(receiver.received).toEqual([]);
    },
  );

  test('is made to the very address that was checked: a name is asked for once, and anew for the next', async () => {
    const asked: string[] = [];
    const answers: LookupAddress[][] = [[{ address: '127.0.0.1', family: 4 }], [{ address: '127.0.0.1', family: 4 }]];
    const counting = ((name: string, options: unknown, callback: never) => {
      asked.push(name);
      resolver(answers.shift() ?? [{ address: '8.8.8.8', family: 4 }])(name, options as never, callback);
    }) as unknown as typeof systemLookup;
    const connect = guardedConnector(false, 1_000, publicLookup(counting));
    for (const count of [1, 2]) {
      expect((await post(`http://rebound.example:${receiver.port}/`, connect)).error).toBe(REFUSAL);
      expect(asked).toEqual(Array.from({ length: count }, () => 'rebound.example'));
    }
    expect(receiver.received).toEqual([]);
  });

  test('uses the public addresses of a name alone', async () => {
    const mixed = [
      { address: '10.0.0.1', family: 4 },
      { address: '8.8.8.8', family: 4 },
      { address: '::1', family: 6 },
      { address: '2606:4700::1', family: 6 },
    ];
    const lookup = publicLookup(resolver(mixed, mixed));
    const ask = (options: { all?: boolean }) =>
      new Promise((resolve) => {
        lookup('merchant.example', options, (...answer) => resolve(answer));
      });
    expect(await ask({ all: true })).toEqual([null, [mixed[1], mixed[3]]]);
    expect(await ask({})).toEqual([null, '8.8.8.8', 4]);
  });

  test('to a name that does not resolve fails with the resolver’s code', async () => {
    const failing = ((_: string, __: unknown, callback: (error: Error) => void) =>
      callback(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))) as unknown as typeof systemLookup;
    const connect = guardedConnector(false, 1_000, publicLookup(failing));
    expect(await post('http://nowhere.example/', connect)).toMatchObject({ statusCode: null, error: 'ENOTFOUND' });
  });

  test('to the own machine works where it is allowed', async () => {
    const outcome = await post(`http://127.0.0.1:${receiver.port}/hook`, guardedConnector(true, 1_000));
    expect(outcome).toMatchObject({ statusCode: 204, error: null });
  });

  test.each([301, 302, 303, 307, 308])('a redirect by %i is not followed', async (status) => {
    const inside = await WebhookReceiver.start();
    receiver.answerWith({ status, headers: { location: inside.url } });
    const outcome = await post(receiver.url, guardedConnector(true, 1_000));
    expect(outcome.statusCode).toBe(status);
    expect(inside.received).toEqual([]);
    await inside.close();
  });
});
