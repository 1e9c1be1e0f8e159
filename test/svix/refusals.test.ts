import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';

/** What Svix refuses and how it says so: each rule of the double, on the double and on a real server alike. */

const PREFIX = 'Uids are not allowed to have the same prefix as the ID. Prefix with _?';
const PATTERN = 'String must match the following pattern: [a-zA-Z0-9\\-_.].';
const TYPES = 'The following event types don';
const CONTROL = 'Control characters 0x00-0x08 not allowed.';
const LONG = 'x'.repeat(257);
const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
const url = 'https://merchant.example/hook';

interface Row {
  readonly why: string;
  /** In the path, APP is the application, EP its endpoint, TYPE an event type, MSG a message. */
  readonly ask: readonly [method: string, path: string, body?: unknown];
  /** `loc` and the beginning of `msg` of a 422, or `code` and the beginning of `detail`. */
  readonly refusal: readonly [status: number, where: string | readonly string[], text: string];
}

const unreadable = (...path: readonly string[]) => ['body', ...path];

const APPLICATIONS: readonly Row[] = [
  {
    why: 'an application’s uid like an id',
    ask: ['POST', '/app', { uid: 'app_1', name: 'n' }],
    refusal: [422, ['body', 'uid', '__all__'], PREFIX],
  },
  {
    why: 'a uid with a space',
    ask: ['POST', '/app', { uid: 'a b', name: 'n' }],
    refusal: [422, ['body', 'uid', '__all__'], PATTERN],
  },
  {
    why: 'a uid of 257 characters',
    ask: ['POST', '/app', { uid: LONG, name: 'n' }],
    refusal: [422, ['body', 'uid', '__all__'], 'String too long'],
  },
  {
    why: 'an empty uid',
    ask: ['POST', '/app', { uid: '', name: 'n' }],
    refusal: [422, ['body', 'uid', '__all__'], 'String must be at least one character'],
  },
  {
    why: 'a uid that is a number',
    ask: ['POST', '/app', { uid: 5, name: 'n' }],
    refusal: [422, unreadable('uid'), 'uid: invalid type'],
  },
  {
    why: 'an empty name',
    ask: ['POST', '/app', { name: '' }],
    refusal: [422, ['body', 'name'], 'Application names must be at least one character'],
  },
  {
    why: 'a name with a control character',
    ask: ['POST', '/app', { name: 'a\u0001' }],
    refusal: [422, ['body', 'name'], CONTROL],
  },
  { why: 'no name', ask: ['POST', '/app', { uid: 'x' }], refusal: [422, unreadable('', ''), 'missing field `name`'] },
  {
    why: 'metadata that is no text',
    ask: ['POST', '/app', { name: 'n', metadata: { a: 1 } }],
    refusal: [422, unreadable('metadata', 'a'), 'metadata'],
  },
  {
    why: 'metadata of more than 4096 bytes',
    ask: ['POST', '/app', { name: 'n', metadata: { a: 'x'.repeat(4096) } }],
    refusal: [422, unreadable('metadata'), 'metadata: metadata must be less'],
  },
  { why: 'a body that is no JSON', ask: ['POST', '/app', 'not json'], refusal: [422, unreadable('', ''), 'expected'] },
  {
    why: 'a uid that is taken',
    ask: ['POST', '/app', { uid: 'APP', name: 'n' }],
    refusal: [409, 'conflict', 'An application with that id or uid already exists'],
  },
  {
    why: 'a flag that is none',
    ask: ['POST', '/app?get_if_exists=maybe', { name: 'n' }],
    refusal: [400, 'generic_error', 'Failed to deserialize query string: get_if_exists'],
  },
  {
    why: 'a patch to an empty name',
    ask: ['PATCH', '/app/APP', { name: '' }],
    refusal: [422, ['body', 'name'], 'Application names must be at least'],
  },
  {
    why: 'a patch to a uid like an id',
    ask: ['PATCH', '/app/APP', { uid: 'app_1' }],
    refusal: [422, ['body', 'uid', '__all__'], PREFIX],
  },
  { why: 'an unknown application', ask: ['GET', '/app/nope'], refusal: [404, 'not_found', 'Entity not found'] },
  {
    why: 'a portal for an unknown application',
    ask: ['POST', '/auth/app-portal-access/nope', {}],
    refusal: [404, 'not_found', 'Application not found'],
  },
];

const MESSAGES: readonly Row[] = [
  {
    why: 'an eventId like an id',
    ask: ['POST', '/app/APP/msg', { eventId: 'msg_1', eventType: 't', payload: {} }],
    refusal: [422, ['body', 'uid', '__all__'], PREFIX],
  },
  {
    why: 'an eventId with a colon',
    ask: ['POST', '/app/APP/msg', { eventId: 'a:1', eventType: 't', payload: {} }],
    refusal: [422, ['body', 'uid', '__all__'], PATTERN],
  },
  {
    why: 'an eventId of 257 characters',
    ask: ['POST', '/app/APP/msg', { eventId: LONG, eventType: 't', payload: {} }],
    refusal: [422, ['body', 'uid', '__all__'], 'String too long'],
  },
  {
    why: 'an event type with a space',
    ask: ['POST', '/app/APP/msg', { eventType: 't t', payload: {} }],
    refusal: [422, ['body', 'event_type', '__all__'], PATTERN],
  },
  {
    why: 'an event type of 257 characters',
    ask: ['POST', '/app/APP/msg', { eventType: LONG, payload: {} }],
    refusal: [422, ['body', 'event_type', '__all__'], 'String too long'],
  },
  {
    why: 'an empty event type',
    ask: ['POST', '/app/APP/msg', { eventType: '', payload: {} }],
    refusal: [422, ['body', 'event_type', '__all__'], 'String must be at least'],
  },
  {
    why: 'a payload that is a list',
    ask: ['POST', '/app/APP/msg', { eventType: 't', payload: [1] }],
    refusal: [422, ['body', 'payload'], 'Payload must be an object.'],
  },
  {
    why: 'a message without a type',
    ask: ['POST', '/app/APP/msg', { payload: {} }],
    refusal: [422, unreadable('', ''), 'missing field `eventType`'],
  },
  {
    why: 'a message of more than 2 MiB',
    ask: ['POST', '/app/APP/msg', { eventType: 't', payload: { a: 'x'.repeat(2_097_152) } }],
    refusal: [413, 'payload_too_large', 'Request payload is too large.'],
  },
  {
    why: 'a message for an unknown application',
    ask: ['POST', '/app/nope/msg', { eventType: 't', payload: {} }],
    refusal: [404, 'not_found', 'Application not found'],
  },
  {
    why: 'a message for an application of no possible name',
    ask: ['POST', '/app/a%20b/msg', { eventType: 't', payload: {} }],
    refusal: [422, ['path', 'app_id_or_uid', '__all__'], PATTERN],
  },
  {
    why: 'a second message of one eventId',
    ask: ['POST', '/app/APP/msg', { eventId: 'MSG', eventType: 't', payload: {} }],
    refusal: [409, 'conflict', 'A conflict has occurred'],
  },
  { why: 'an unknown message', ask: ['GET', '/app/APP/msg/nope'], refusal: [404, 'not_found', 'Entity not found'] },
  {
    why: 'a page of 251',
    ask: ['GET', '/app/APP/msg?limit=251'],
    refusal: [422, ['query', 'limit', 'limit'], 'Given limit must not exceed 250'],
  },
  {
    why: 'a limit that is no number',
    ask: ['GET', '/app/APP/msg?limit=x'],
    refusal: [400, 'generic_error', 'Failed to deserialize query string: limit'],
  },
  {
    why: 'an iterator that is no message’s id',
    ask: ['GET', '/app/APP/msg?iterator=bad'],
    refusal: [422, ['query', 'iterator', '__all__'], 'Invalid id. Expected different prefix'],
  },
];

const ENDPOINTS: readonly Row[] = [
  {
    why: 'a URL of another scheme',
    ask: ['POST', '/app/APP/endpoint', { url: 'ftp://a.example' }],
    refusal: [422, ['body', 'url'], 'Endpoint URL schemes must be http or https'],
  },
  {
    why: 'a URL that is none',
    ask: ['POST', '/app/APP/endpoint', { url: 'a b' }],
    refusal: [422, ['body', 'url'], 'url: relative URL without a base'],
  },
  {
    why: 'an endpoint without a URL',
    ask: ['POST', '/app/APP/endpoint', {}],
    refusal: [422, unreadable('', ''), 'missing field `url`'],
  },
  {
    why: 'an unknown event type',
    ask: ['POST', '/app/APP/endpoint', { url, eventTypes: ['TYPE', 'no.such'] }],
    refusal: [422, ['body', 'eventTypes'], TYPES],
  },
  {
    why: 'no event types at all',
    ask: ['POST', '/app/APP/endpoint', { url, eventTypes: [] }],
    refusal: [422, ['body', 'event_types'], 'eventTypes can'],
  },
  {
    why: 'an event type of no possible name',
    ask: ['POST', '/app/APP/endpoint', { url, eventTypes: ['a b'] }],
    refusal: [422, ['body', 'event_types', '__all__'], PATTERN],
  },
  {
    why: 'an endpoint’s uid like an id',
    ask: ['POST', '/app/APP/endpoint', { url, uid: 'ep_1' }],
    refusal: [422, ['body', 'uid', '__all__'], PREFIX],
  },
  {
    why: 'an endpoint’s uid that is taken',
    ask: ['POST', '/app/APP/endpoint', { url, uid: 'EP' }],
    refusal: [409, 'conflict', 'A conflict has occurred'],
  },
  {
    why: 'a description with a control character',
    ask: ['POST', '/app/APP/endpoint', { url, description: 'a\u0001' }],
    refusal: [422, ['body', 'description'], CONTROL],
  },
  {
    why: 'a secret without its prefix',
    ask: ['POST', '/app/APP/endpoint', { url, secret: SECRET.slice(6) }],
    refusal: [422, unreadable('secret'), 'secret: invalid prefix'],
  },
  {
    why: 'a secret of 3 bytes',
    ask: ['POST', '/app/APP/endpoint', { url, secret: 'whsec_AAAA' }],
    refusal: [422, ['body', 'key', '__all__'], 'secret length invalid'],
  },
  {
    why: 'a throttle rate of 0',
    ask: ['POST', '/app/APP/endpoint', { url, throttleRate: 0 }],
    refusal: [422, ['body', 'throttle_rate'], ''],
  },
  {
    why: 'null for whether it is disabled',
    ask: ['POST', '/app/APP/endpoint', { url, disabled: null }],
    refusal: [422, unreadable('disabled'), 'disabled: invalid type'],
  },
  {
    why: 'a patch to an unknown event type, even of an unknown endpoint',
    ask: ['PATCH', '/app/APP/endpoint/nope', { eventTypes: ['no.such'] }],
    refusal: [422, ['body', 'eventTypes'], TYPES],
  },
  {
    why: 'a patch to no event types',
    ask: ['PATCH', '/app/APP/endpoint/EP', { eventTypes: [] }],
    refusal: [422, ['body', 'event_types'], 'eventTypes can'],
  },
  {
    why: 'a patch to no URL',
    ask: ['PATCH', '/app/APP/endpoint/EP', { url: null }],
    refusal: [422, unreadable('url'), 'url: invalid type'],
  },
  {
    why: 'a patch of an unknown endpoint',
    ask: ['PATCH', '/app/APP/endpoint/nope', {}],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'an unknown endpoint',
    ask: ['GET', '/app/APP/endpoint/nope'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'the secret of an unknown endpoint',
    ask: ['GET', '/app/APP/endpoint/nope/secret'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'deleting an unknown endpoint',
    ask: ['DELETE', '/app/APP/endpoint/nope'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'a grace period of more than 7 days',
    ask: ['POST', '/app/APP/endpoint/EP/secret/rotate', { gracePeriodSeconds: 604_801 }],
    refusal: [422, ['body', 'grace_period_seconds'], 'Duration must be between 0 and 7 days'],
  },
  {
    why: 'a new secret of 3 bytes',
    ask: ['POST', '/app/APP/endpoint/EP/secret/rotate', { key: 'whsec_AAAA' }],
    refusal: [422, ['body', 'key', '__all__'], 'secret length invalid'],
  },
  {
    why: 'a header that Svix sends itself',
    ask: ['PUT', '/app/APP/endpoint/EP/headers', { headers: { 'User-Agent': 'x' } }],
    refusal: [422, unreadable('headers'), 'headers: __all__: Header uses a forbidden key.'],
  },
  {
    why: 'a header of Svix’s prefix',
    ask: ['PUT', '/app/APP/endpoint/EP/headers', { headers: { 'svix-x': 'x' } }],
    refusal: [422, unreadable('headers'), 'headers: __all__: Header starts with a forbidden prefix.'],
  },
  {
    why: 'a header with a space in its name',
    ask: ['PUT', '/app/APP/endpoint/EP/headers', { headers: { 'x y': 'x' } }],
    refusal: [422, unreadable('headers'), 'headers: __all__: Invalid Header Name.'],
  },
  {
    why: 'a header with a line break in its value',
    ask: ['PUT', '/app/APP/endpoint/EP/headers', { headers: { x: 'a\nb' } }],
    refusal: [422, unreadable('headers'), 'headers: __all__: Invalid Header Value.'],
  },
  {
    why: 'a header of more than 4096 bytes',
    ask: ['PUT', '/app/APP/endpoint/EP/headers', { headers: { x: 'x'.repeat(4097) } }],
    refusal: [422, unreadable('headers'), 'headers: __all__: Maximum header length'],
  },
  {
    why: 'a patch of a header that Svix sends itself',
    ask: ['PATCH', '/app/APP/endpoint/EP/headers', { headers: { pragma: 'x' } }],
    refusal: [422, ['body', 'headers', '__all__'], 'Header uses a forbidden key.'],
  },
  {
    why: 'an example of an unknown type',
    ask: ['POST', '/app/APP/endpoint/EP/send-example', { eventType: 'no.such' }],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'an example of a type without one',
    ask: ['POST', '/app/APP/endpoint/EP/send-example', { eventType: 'TYPE' }],
    refusal: [400, 'invalid_scheme', 'Unable to generate example message'],
  },
  {
    why: 'recovering more than 14 days',
    ask: ['POST', '/app/APP/endpoint/EP/recover', { since: '2020-01-01T00:00:00Z' }],
    refusal: [422, ['body', 'since'], 'Cannot recover more than 14 days of messages'],
  },
  {
    why: 'recovering since no time',
    ask: ['POST', '/app/APP/endpoint/EP/recover', { since: 'yesterday' }],
    refusal: [422, unreadable('since'), 'since: '],
  },
  {
    why: 'resending an unknown message',
    ask: ['POST', '/app/APP/msg/nope/endpoint/EP/resend'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'resending to an unknown endpoint',
    ask: ['POST', '/app/APP/msg/MSG/endpoint/nope/resend'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'the attempts of an unknown message',
    ask: ['GET', '/app/APP/attempt/msg/nope'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'the attempts of an unknown endpoint',
    ask: ['GET', '/app/APP/attempt/endpoint/nope'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
  {
    why: 'attempts before no time',
    ask: ['GET', '/app/APP/attempt/endpoint/EP?before=x'],
    refusal: [400, 'generic_error', 'Failed to deserialize query string: before'],
  },
  {
    why: 'attempts of no status',
    ask: ['GET', '/app/APP/attempt/endpoint/EP?status=7'],
    refusal: [400, 'generic_error', 'Failed to deserialize query string: status'],
  },
  {
    why: 'attempts of an event type of no possible name',
    ask: ['GET', '/app/APP/attempt/endpoint/EP?event_types=a%20b'],
    refusal: [422, ['query', '__all__'], PATTERN],
  },
];

const EVENT_TYPES: readonly Row[] = [
  {
    why: 'an event type without a description',
    ask: ['PUT', '/event-type/TYPE', {}],
    refusal: [422, unreadable('', ''), 'missing field `description`'],
  },
  {
    why: 'an event type described with a control character',
    ask: ['PUT', '/event-type/TYPE', { description: 'a\u0001' }],
    refusal: [422, ['body', 'description'], CONTROL],
  },
  {
    why: 'an unknown event type',
    ask: ['GET', '/event-type/no.such'],
    refusal: [404, 'not_found', 'Entity not found'],
  },
];

describe.each(svixesUnderTest())('$name refuses', ({ start }) => {
  let svix: SvixUnderTest;
  let fill: (text: string) => string;

  beforeAll(async () => {
    svix = await start();
    const names = { APP: svix.unique('app'), EP: svix.unique('endpoint'), TYPE: svix.unique('type'), MSG: 'whm_1' };
    fill = (text) => text.replaceAll(/\b(APP|EP|TYPE|MSG)\b/g, (name) => names[name as keyof typeof names]);
    const made = [
      await svix.request('POST', '/app', { uid: names.APP, name: 'Refusals' }),
      await svix.request('PUT', `/event-type/${names.TYPE}`, { description: 'A type without an example.' }),
      await svix.request('POST', `/app/${names.APP}/endpoint`, { url, uid: names.EP, disabled: true }),
      await svix.request('POST', `/app/${names.APP}/msg`, { eventId: names.MSG, eventType: 't', payload: {} }),
    ];
    expect(made.map(({ status }) => status)).toEqual([201, 201, 201, 202]);
  });
  afterAll(async () => {
    await svix.request('DELETE', fill('/app/APP'));
    await svix.close();
  });

  it.each([...APPLICATIONS, ...MESSAGES, ...ENDPOINTS, ...EVENT_TYPES])('$why', async ({ ask, refusal }) => {
    const [method, path, body] = ask;
    const [status, where, text] = refusal;
    const asked = body === undefined || typeof body === 'string' ? body : fill(JSON.stringify(body));
    const answer = await svix.request(method, fill(path), asked);
    const said =
      typeof where === 'string'
        ? { code: where, detail: expect.stringContaining(text) }
        : {
            detail: [{ loc: where, msg: expect.stringContaining(text), type: expect.stringContaining('value_error') }],
          };
    expect(answer).toEqual({ status, body: said });
  });

  it('a wrong token, and none', async () => {
    const refused = { status: 401, body: { code: 'authentication_failed', detail: 'Invalid token' } };
    expect(await svix.request('GET', fill('/app/APP'), undefined, { authorization: 'Bearer x' })).toEqual(refused);
    expect(await svix.request('GET', fill('/app/APP'), undefined, { authorization: '' })).toEqual(refused);
  });

  it('paths that it has not, such as what only the cloud can do', async () => {
    expect(await svix.request('GET', '/nowhere')).toEqual({ status: 404, body: null });
    const missing = { since: new Date().toISOString() };
    expect(await svix.request('POST', fill('/app/APP/endpoint/EP/replay-missing'), missing)).toEqual({
      status: 404,
      body: null,
    });
  });

  it('the eleventh rotation of a secret within a day', async () => {
    const path = fill('/app/APP/endpoint/EP/secret/rotate');
    for (let rotation = 1; rotation <= 10; rotation += 1) {
      expect(await svix.request('POST', path, {})).toEqual({ status: 204, body: null });
    }
    const detail = expect.stringContaining('You can only rotate a key 10 times');
    expect(await svix.request('POST', path, {})).toEqual({ status: 400, body: { code: 'limit_reached', detail } });
  });
});
