import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type SvixAnswer, type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';

/**
 * Requests made by chance, well-formed and not, are answered alike by the double and by a real server (by a second double
 * where there is none): with the same status, the same fields, and a refusal for a reason that the other gives too.
 */

const NAMES = { APP: 'differential', TYPE: 'type' };
const LONG = 'x'.repeat(257);

/** Texts on both sides of every rule; APP and TYPE stand for what exists. */
const someText = fc.constantFrom(
  '',
  'a',
  'A-b_c.9',
  'a b',
  'ä',
  'a:b',
  '..',
  LONG,
  LONG.slice(1),
  'msg_1',
  'ep_1',
  'app_1',
  '_msg_1',
  'a\u0001',
  'a\nb',
);
const noText = fc.constantFrom<unknown>(null, 5, true, [], {}, [1]);
const text = fc.oneof({ weight: 5, arbitrary: someText }, { weight: 1, arbitrary: noText });
const flag = fc.oneof(
  { weight: 4, arbitrary: fc.boolean() },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(null, 'true', 1) },
);
const number = fc.constantFrom<unknown>(-1, 0, 1, 4, 5, 90, 91, 65_535, 65_536, 604_800, 604_801, 1.5, '1', null);
const url = fc.constantFrom<unknown>(
  ...[
    'https://a.example',
    'HTTP://A.example/x?y#z',
    'http://127.0.0.1:1/',
    'ftp://a.example',
    'a.example',
    '',
    'https://',
    'https://a b/',
    'http://[::1]/',
  ],
  ...[null, 5],
);
const metadata = fc.constantFrom<unknown>(
  {},
  { a: 'b' },
  { a: 1 },
  { a: 'x'.repeat(4096) },
  { a: 'x'.repeat(4000) },
  [],
  'a',
);
const names = fc.oneof(
  fc.constantFrom<unknown>(null, [], 'a', ['TYPE'], ['TYPE', 'no.such'], [''], ['a b'], [5], [LONG]),
);
const channels = fc.constantFrom<unknown>(
  null,
  [],
  ['a'],
  ['a', 'b', 'c', 'd', 'e'],
  ['a', 'b', 'c', 'd', 'e', 'f'],
  ['a b'],
  'a',
);
const secret = fc.constantFrom<unknown>(
  ...[
    null,
    '',
    'whsec_',
    'whsec_AAAA',
    `whsec_${Buffer.alloc(24).toString('base64')}`,
    `whsec_${Buffer.alloc(75).toString('base64')}`,
  ],
  ...[
    `whsec_${Buffer.alloc(76).toString('base64')}`,
    Buffer.alloc(24).toString('base64'),
    `whsec_${Buffer.alloc(23).toString('base64')}`,
  ],
);
const headersWith = (value: fc.Arbitrary<unknown>) =>
  fc.dictionary(
    fc.constantFrom('X-Mine', 'user-agent', 'Svix-Id', 'x-svix-a', 'webhook-id', 'x y', '', 'x-amz-a', 'Host', 'ä'),
    value,
    { maxKeys: 2 },
  );
const headers = headersWith(
  fc.constantFrom<unknown>('', 'a', 'ä', 'a\nb', 'a\u0001', 'x'.repeat(4096), 'x'.repeat(4097), null, 5),
);
const schemas = fc.constantFrom<unknown>(null, {}, { 1: { type: 'object' } }, { 1: 5 }, 5, []);
const payload = fc.constantFrom<unknown>({}, { a: 1 }, [], 'a', null, 5, { a: { b: [null] } });

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  /** One field at most is wrong, so that there is one reason to refuse it. */
  readonly isClear: boolean;
}

type Fields = Readonly<Record<string, fc.Arbitrary<unknown>>>;

/** A good body of which one field is changed, or any of the fields as they may be. */
function asked(method: string, path: string, good: object, fields: Fields): fc.Arbitrary<Asked> {
  const oneChanged = Object.entries(fields).map(([name, values]) =>
    values.map((value) => ({ method, path, body: { ...good, [name]: value }, isClear: true })),
  );
  const any = fc.record(fields, { requiredKeys: [] });
  return fc.oneof(
    ...oneChanged,
    any.map((some) => ({ method, path, body: { ...good, ...some }, isClear: false })),
    any.map((body) => ({ method, path, body, isClear: false })),
  );
}

const endpointFields = {
  url,
  description: text,
  disabled: flag,
  eventTypes: names,
  channels,
  metadata,
  throttleRate: number,
};
const request: fc.Arbitrary<Asked> = fc.oneof(
  asked('POST', '/app', { name: 'n' }, { name: text, uid: text, metadata, throttleRate: number }),
  asked('PATCH', '/app/APP', {}, { name: text, metadata, throttleRate: number }),
  asked(
    'POST',
    '/app/APP/msg',
    { eventType: 't', payload: {} },
    {
      ...{ eventId: text, eventType: text, payload, channels, payloadRetentionPeriod: number },
    },
  ),
  asked('POST', '/app/APP/endpoint', { url: 'https://a.example' }, { ...endpointFields, uid: text, secret }),
  asked('PATCH', '/app/APP/endpoint/EP', {}, endpointFields),
  asked('PUT', '/app/APP/endpoint/EP/headers', {}, { headers }),
  // Values of which PUT takes all: a real server keeps others that PATCH brings, and can read the endpoint no more.
  asked('PATCH', '/app/APP/endpoint/EP/headers', {}, { headers: headersWith(fc.constantFrom('', 'a', null)) }),
  // Without a grace, so that the limit of rotations is never reached.
  asked(
    'POST',
    '/app/APP/endpoint/EP/secret/rotate',
    { gracePeriodSeconds: 0 },
    {
      gracePeriodSeconds: number.filter((seconds) => seconds !== null && ![1, 4, 5, 90, 91].includes(Number(seconds))),
      key: secret,
    },
  ),
  asked(
    'POST',
    '/app/APP/endpoint/EP/send-example',
    {},
    { eventType: fc.oneof(text, fc.constantFrom('TYPE', 'svix.ping')) },
  ),
  asked('PUT', '/event-type/TYPE', { description: 'd' }, { description: text, deprecated: flag, schemas }),
  fc
    .record(
      {
        limit: fc.constantFrom('0', '1', '250', '251', '-1', 'x', ''),
        iterator: fc.constantFrom('', '-', 'a', 'ep_', '-ep_', 'ep_z', '-ep_z'),
        order: fc.constantFrom('ascending', 'descending', 'up', ''),
      },
      { requiredKeys: [] },
    )
    .map((query) => ({ method: 'GET', path: `/app/APP/endpoint?${new URLSearchParams(query)}`, isClear: false })),
);

const refusal = z.object({
  code: z.string().optional(),
  detail: z.union([z.string(), z.array(z.object({ loc: z.array(z.string()) }))]),
});

/** Why a request was refused: a code, or where it is wrong. A list's or a map's value is named by either side in its way. */
function reasonsOf(body: unknown): readonly string[] {
  const { code = '', detail } = refusal.parse(body);
  if (typeof detail === 'string') return [code];
  return [...new Set(detail.map(({ loc }) => loc.slice(0, 2).join('.').replace(/\[.*/, '')))];
}

function fieldsOf(body: unknown): readonly string[] {
  return Object.keys(z.record(z.string(), z.unknown()).nullable().parse(body) ?? {}).toSorted();
}

describe('the double and the other', () => {
  let svixes: SvixUnderTest[] = [];
  let paths: ((text: string) => string)[] = [];

  beforeAll(async () => {
    const kinds = svixesUnderTest();
    svixes = await Promise.all([kinds[0], kinds.at(-1)].map((kind) => kind?.start())).then((all) =>
      all.filter((one) => one !== undefined),
    );
    paths = await Promise.all(svixes.map(prepare));
  });
  afterAll(async () => {
    for (const [index, svix] of svixes.entries()) {
      await svix.request('DELETE', paths[index]?.('/app/APP') ?? '');
      await svix.request('DELETE', paths[index]?.('/event-type/TYPE?expunge=true') ?? '');
      await svix.close();
    }
  });

  /** Applications of one uid are made again and again, and a real server outlives the run. */
  const removeAgain = async (answers: readonly SvixAnswer[]) => {
    for (const [index, { status, body }] of answers.entries()) {
      if (status !== 201) continue;
      const { id } = z.object({ id: z.string() }).parse(body);
      await svixes[index]?.request('DELETE', `/app/${id}`);
    }
  };

  it('answer requests made by chance alike', { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path, body, isClear }) => {
        const [own, other] = await Promise.all(
          svixes.map((svix, index) => {
            const fill = paths[index] ?? String;
            return svix.request(method, fill(path), body === undefined ? undefined : fill(JSON.stringify(body)));
          }),
        );
        if (own === undefined || other === undefined) throw new Error('there are not two');
        const said = { own, other, asked: [method, path, body] };
        expect(own.status, JSON.stringify(said)).toBe(other.status);
        if (path === '/app' && method === 'POST') await removeAgain([own, other]);
        if (own.status < 400) expect(fieldsOf(own.body)).toEqual(fieldsOf(other.body));
        else if (isClear) expect(reasonsOf(own.body), JSON.stringify(said)).toEqual(reasonsOf(other.body));
      }),
      // Two doubles only show that neither fails.
      { numRuns: svixesUnderTest().length > 1 ? 1000 : 100 },
    );
  });
});

/** Makes what the requests are about. @returns how the names are filled in there */
async function prepare(svix: SvixUnderTest): Promise<(text: string) => string> {
  const [app, type] = [svix.unique(NAMES.APP), svix.unique(NAMES.TYPE)];
  const examples = [{ a: 1 }];
  await svix.request('POST', '/app', { uid: app, name: 'Differential' });
  await svix.request('PUT', `/event-type/${type}`, { description: 'One.', schemas: { 1: { examples } } });
  const made = await svix.request('POST', `/app/${app}/endpoint`, { url: 'https://a.example', disabled: true });
  const { id } = z.object({ id: z.string() }).parse(made.body);
  return (text) =>
    text
      .replaceAll(/\bAPP\b/g, app)
      .replaceAll(/\bTYPE\b/g, type)
      .replaceAll(/\bEP\b/g, id);
}
