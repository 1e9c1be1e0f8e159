import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/** What Svix does with what it accepts, on the double and on a real server alike. */

const withId = z.looseObject({ id: z.string() });
const page = z.object({
  data: z.array(withId),
  iterator: z.string().nullable(),
  prevIterator: z.string().optional(),
  done: z.boolean(),
});
const keyOf = z.object({ key: z.string() });
const FAILED = { status: 500, body: 'no' };

describe.each(svixesUnderTest())('$name', ({ start }) => {
  let svix: SvixUnderTest;
  let receiver: WebhookReceiver;
  let app: string;
  let [one, two] = ['', ''];

  beforeAll(async () => {
    svix = await start();
    receiver = await WebhookReceiver.start();
    [one, two] = [svix.unique('one'), svix.unique('two')];
    const examples = [{ id: 'whm_example', b: 1, a: 2 }];
    await svix.request('PUT', `/event-type/${one}`, { description: 'One.', schemas: { 1: { examples } } });
    await svix.request('PUT', `/event-type/${two}`, { description: 'Two.' });
  });
  afterAll(async () => {
    for (const type of [one, two]) await svix.request('DELETE', `/event-type/${type}?expunge=true`);
    await Promise.all([receiver.close(), svix.close()]);
  });
  beforeEach(async () => {
    app = svix.unique('deliveries');
    expect(await svix.request('POST', '/app', { uid: app, name: 'Deliveries' })).toMatchObject({ status: 201 });
    return async () => {
      await svix.request('DELETE', `/app/${app}`);
    };
  });

  const newEndpoint = async (more: Record<string, unknown> = {}) => {
    const { body } = await svix.request('POST', `/app/${app}/endpoint`, { url: receiver.url, ...more });
    return withId.parse(body).id;
  };
  const send = async (eventId: string, eventType = one, payload: unknown = { id: eventId }) => {
    const { status, body } = await svix.request('POST', `/app/${app}/msg`, { eventId, eventType, payload });
    expect(status).toBe(202);
    return withId.parse(body).id;
  };
  const received = (messageId: string) => receiver.received.filter(({ headers }) => headers['svix-id'] === messageId);
  const arrival = async (messageId: string, count = 1) => {
    await eventually(`${messageId} to arrive`, () => received(messageId).length >= count);
    return received(messageId);
  };
  const secretOf = async (endpoint: string) =>
    keyOf.parse((await svix.request('GET', `/app/${app}/endpoint/${endpoint}/secret`)).body).key;
  const list = async (path: string) => page.parse((await svix.request('GET', `/app/${app}${path}`)).body);
  /** A message sent after others, received: whatever those cause was under way before. */
  const fence = async () => {
    const witness = await newEndpoint({ channels: ['fence'] });
    const message = { eventType: one, payload: {}, channels: ['fence'] };
    const { body } = await svix.request('POST', `/app/${app}/msg`, message);
    await svix.attemptsOf(app, withId.parse(body).id, 1);
    await svix.request('DELETE', `/app/${app}/endpoint/${witness}`);
  };

  it('sends a message under its own id, signed, with svix-* headers and the endpoint’s own', async () => {
    const endpoint = await newEndpoint();
    const headers = { 'X-Mine': 'yes', Authorization: 'Bearer abc' };
    expect((await svix.request('PUT', `/app/${app}/endpoint/${endpoint}/headers`, { headers })).status).toBe(204);
    const messageId = await send('whm_1');
    expect(messageId).toMatch(/^msg_[0-9A-Za-z]{27}$/);
    const [webhook] = await arrival(messageId);
    if (webhook === undefined) throw new Error('nothing arrived');
    expect(webhook.headers).toMatchObject({
      'svix-id': messageId,
      'svix-timestamp': expect.stringMatching(/^\d+$/),
      'svix-signature': expect.stringMatching(/^v1,/),
      'content-type': 'application/json',
      'user-agent': expect.stringMatching(/^Svix-Webhooks\//),
      'x-mine': 'yes',
      authorization: 'Bearer abc',
    });
    expect(Object.keys(webhook.headers).filter((name) => name.startsWith('webhook-'))).toEqual([]);
    expect(webhook.body).toBe('{"id":"whm_1"}');
    receiver.verify(webhook, await secretOf(endpoint));
    expect(await svix.request('GET', `/app/${app}/endpoint/${endpoint}/headers`)).toEqual({
      status: 200,
      body: { headers: { 'X-Mine': 'yes' }, sensitive: ['Authorization'] },
    });
    const [attempt] = await svix.attemptsOf(app, 'whm_1', 1);
    expect(attempt).toEqual({
      id: expect.stringMatching(/^atmpt_/),
      url: receiver.url,
      response: '',
      responseStatusCode: 204,
      responseDurationMs: expect.any(Number),
      ...{ status: 0, statusText: 'success', triggerType: 0 },
      ...{ msgId: messageId, endpointId: endpoint },
      timestamp: expect.any(String),
    });
  });

  it('goes on with the headers it knew, for up to 30 s, unless the endpoint itself is changed after them', async () => {
    const endpoint = await newEndpoint();
    await arrival(await send('whm_1'));
    await svix.request('PUT', `/app/${app}/endpoint/${endpoint}/headers`, { headers: { 'X-Mine': 'yes' } });
    const [before] = await arrival(await send('whm_2'));
    expect(before?.headers).not.toHaveProperty('x-mine');
    expect((await svix.request('PATCH', `/app/${app}/endpoint/${endpoint}`, {})).status).toBe(200);
    const [after] = await arrival(await send('whm_3'));
    expect(after?.headers).toMatchObject({ 'x-mine': 'yes' });
  });

  it('accepts messages that no endpoint wants, of unknown types too, and sends them to nobody', async () => {
    await newEndpoint({ eventTypes: [two] });
    await newEndpoint({ disabled: true });
    await send('whm_1');
    await send('whm_2', svix.unique('unknown'));
    await fence();
    for (const message of ['whm_1', 'whm_2']) {
      expect(await svix.attemptsOf(app, message, 0)).toEqual([]);
    }
    const [webhook] = await arrival(await send('whm_3', two));
    expect(webhook?.body).toBe('{"id":"whm_3"}');
  });

  it('resends to an endpoint that wants other types, and accepts a resend to a disabled one without sending', async () => {
    const wantsTwo = await newEndpoint({ eventTypes: [two] });
    const disabled = await newEndpoint({ disabled: true });
    const messageId = await send('whm_1');
    for (const endpoint of [disabled, wantsTwo]) {
      const resent = await svix.request('POST', `/app/${app}/msg/whm_1/endpoint/${endpoint}/resend`);
      expect(resent).toEqual({ status: 202, body: {} });
    }
    await arrival(messageId);
    await fence();
    const attempts = await svix.attemptsOf(app, 'whm_1', 1);
    expect(attempts).toMatchObject([{ endpointId: wantsTwo, triggerType: 1 }]);
  });

  it('sends the example of a type, without an eventId, and not to an endpoint that does not want it', async () => {
    const wantsOne = await newEndpoint({ eventTypes: [one] });
    const wantsTwo = await newEndpoint({ eventTypes: [two] });
    const disabled = await newEndpoint({ disabled: true });
    const example = async (endpoint: string) => {
      const answer = await svix.request('POST', `/app/${app}/endpoint/${endpoint}/send-example`, { eventType: one });
      const shown = { eventId: null, eventType: one, payload: {}, channels: null };
      expect(answer).toMatchObject({ status: 200, body: shown });
      return withId.parse(answer.body).id;
    };
    const unwanted = [await example(wantsTwo), await example(disabled)];
    const messageId = await example(wantsOne);
    const [webhook] = await arrival(messageId);
    expect(JSON.parse(webhook?.body ?? '')).toEqual({ id: 'whm_example', b: 1, a: 2 });
    await fence();
    for (const message of unwanted) expect(await svix.attemptsOf(app, message, 0)).toEqual([]);
  });

  it('signs with the old secret too while it is valid, and with none that is over', async () => {
    const endpoint = await newEndpoint();
    const first = await secretOf(endpoint);
    const rotate = `/app/${app}/endpoint/${endpoint}/secret/rotate`;
    expect((await svix.request('POST', rotate, { gracePeriodSeconds: 3600 })).status).toBe(204);
    const second = await secretOf(endpoint);
    expect(second).not.toBe(first);
    const [both] = await arrival(await send('whm_1'));
    if (both === undefined) throw new Error('nothing arrived');
    receiver.verify(both, first);
    receiver.verify(both, second);
    const given = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
    await svix.request('POST', rotate, { gracePeriodSeconds: 0, key: given });
    const [later] = await arrival(await send('whm_2'));
    if (later === undefined) throw new Error('nothing arrived');
    receiver.verify(later, given);
    receiver.verify(later, first);
    expect(() => receiver.verify(later, second)).toThrow();
  });

  it('tells of tries that failed, and recovers what failed without a success', async () => {
    const endpoint = await newEndpoint();
    const since = new Date(Date.now() - 60_000).toISOString();
    await arrival(await send('whm_1'));
    receiver.answerWith(FAILED);
    const failed = await send('whm_2', one, { id: 'whm_2' });
    await arrival(failed);
    const [attempt] = (await svix.attemptsOf(app, 'whm_2', 1)).toReversed();
    expect(attempt).toMatchObject({ statusText: 'fail', status: 2, responseStatusCode: 500, response: 'no' });
    const byStatus = async (status: number) => (await list(`/attempt/endpoint/${endpoint}?status=${status}`)).data;
    expect((await byStatus(2)).map(({ msgId }) => msgId)).toEqual([failed]);
    expect((await byStatus(0)).every(({ msgId }) => msgId !== undefined)).toBe(true);
    const recovery = await svix.request('POST', `/app/${app}/endpoint/${endpoint}/recover`, { since });
    const task = { status: 'running', task: 'endpoint.recover', id: expect.stringMatching(/^qtask_/) };
    expect(recovery).toMatchObject({ status: 202, body: task });
    await arrival(failed, 2);
    const tries = await svix.attemptsOf(app, 'whm_2', 2);
    expect(tries.some(({ statusText }) => statusText === 'success')).toBe(true);
    expect(await svix.attemptsOf(app, 'whm_1', 1)).toHaveLength(1);
  });

  it('tries again by itself after a failure, and says meanwhile when', async () => {
    const endpoint = await newEndpoint();
    if (svix.double !== null) svix.double.worker.retrySchedule = [0.5];
    receiver.answerWith(FAILED);
    const messageId = await send('whm_1');
    await svix.attemptsOf(app, 'whm_1', 1);
    const [sending] = (await list(`/endpoint/${endpoint}/msg`)).data;
    // Unless the next try was quicker than we.
    const isWaiting = (await svix.attemptsOf(app, 'whm_1', 1)).length === 1;
    if (isWaiting)
      expect(sending).toMatchObject({ id: messageId, statusText: 'sending', nextAttempt: expect.any(String) });
    const [second, first] = await svix.attemptsOf(app, 'whm_1', 2);
    expect([first?.statusText, second?.statusText]).toEqual(['fail', 'success']);
    const [done] = (await list(`/endpoint/${endpoint}/msg`)).data;
    expect(done).toMatchObject({ statusText: 'success' });
    expect(done).not.toHaveProperty('nextAttempt');
    if (svix.double !== null) svix.double.worker.retrySchedule = [];
  });

  it('lists attempts and messages from the newest, in pages, filtered by type and time, and endpoints so too', async () => {
    const endpoint = await newEndpoint();
    const ids: string[] = [];
    for (const index of [1, 2, 3, 4, 5]) {
      ids.push(await send(`whm_${index}`, index === 3 ? two : one));
      await svix.attemptsOf(app, `whm_${index}`, 1);
    }
    const newest = ids.toReversed();
    const messagesOf = ({ data }: z.infer<typeof page>) => data.map(({ msgId, id }) => msgId ?? id);
    const attempts = `/attempt/endpoint/${endpoint}`;
    const first = await list(`${attempts}?limit=2`);
    expect(messagesOf(first)).toEqual(newest.slice(0, 2));
    expect(first).toMatchObject({ done: false, iterator: first.data[1]?.id, prevIterator: `-${first.data[0]?.id}` });
    const second = await list(`${attempts}?limit=2&iterator=${first.iterator}`);
    expect(messagesOf(second)).toEqual(newest.slice(2, 4));
    const last = await list(`${attempts}?limit=2&iterator=${second.iterator}`);
    expect(messagesOf(last)).toEqual(newest.slice(4));
    expect(last.done).toBe(true);
    const back = await list(`${attempts}?limit=2&iterator=${second.prevIterator}`);
    expect(messagesOf(back)).toEqual(newest.slice(0, 2));
    expect(messagesOf(await list(`${attempts}?event_types=${two}`))).toEqual([ids[2]]);
    expect(messagesOf(await list(`${attempts}?event_types=${one},${two}`))).toEqual(newest);
    expect(messagesOf(await list(`${attempts}?status_code_class=500`))).toEqual([]);
    const hour = (hours: number) => encodeURIComponent(new Date(Date.now() + hours * 3_600_000).toISOString());
    expect(messagesOf(await list(`${attempts}?before=${hour(-1)}`))).toEqual([]);
    expect(messagesOf(await list(`${attempts}?after=${hour(-1)}`))).toEqual(newest);
    // With `after` alone, the oldest come first; each page is turned round all the same.
    expect(messagesOf(await list(`${attempts}?after=${hour(-1)}&limit=2`))).toEqual(newest.slice(3));
    expect(messagesOf(await list(`/msg?limit=3`))).toEqual(newest.slice(0, 3));
    expect((await list(`/msg?limit=1&with_content=false`)).data).toMatchObject([{ payload: {}, eventId: 'whm_5' }]);
    expect(messagesOf(await list(`/endpoint/${endpoint}/msg?limit=2`))).toEqual(newest.slice(0, 2));
    const other = await newEndpoint();
    expect((await list('/endpoint')).data.map(({ id }) => id)).toEqual([other, endpoint]);
    expect((await list('/endpoint?order=ascending')).data.map(({ id }) => id)).toEqual([endpoint, other]);
    expect(await list('/endpoint?limit=0')).toEqual({ data: [], iterator: null, done: false });
    // What only the cloud knows is read over.
    const [asked] = (await list(`${attempts}?with_msg=true&limit=1`)).data;
    expect(asked).not.toHaveProperty('msg');
  });

  it('answers a repeated key as it did before, if that was well, and refuses an eventId under another key', async () => {
    const message = { eventId: 'whm_1', eventType: one, payload: {} };
    const post = (key: string, body: unknown, path = `/app/${app}/msg`) =>
      svix.request('POST', path, body, { 'idempotency-key': `${app}.${key}` });
    const made = await post('a', message);
    expect(made.status).toBe(202);
    expect(await post('a', message)).toEqual(made);
    expect(await post('a', { ...message, eventId: 'whm_2' })).toEqual(made);
    expect(await post('b', message)).toMatchObject({ status: 409, body: { code: 'conflict' } });
    // Under another address the key is another; a refusal is not remembered.
    expect((await post('a', { url: receiver.url }, `/app/${app}/endpoint`)).status).toBe(201);
    expect((await post('c', { ...message, eventId: 'msg_3' })).status).toBe(422);
    expect((await post('c', { ...message, eventId: 'whm_3' })).status).toBe(202);
    const [first, second] = await Promise.all([
      post('d', { ...message, eventId: 'whm_4' }),
      post('d', { ...message, eventId: 'whm_4' }),
    ]);
    expect(second).toEqual(first);
  });

  it('keeps an application under its uid: made once, read, changed, and another one after its deletion', async () => {
    const again = { uid: app, name: 'Another name', metadata: { a: 'b' } };
    const found = await svix.request('POST', '/app?get_if_exists=true', again);
    expect(found).toMatchObject({ status: 200, body: { name: 'Deliveries', metadata: {} } });
    const { id } = withId.parse(found.body);
    expect(await svix.request('GET', `/app/${id}`)).toEqual(found);
    const patched = await svix.request('PATCH', `/app/${app}`, { metadata: { installation: 'i' } });
    expect(patched).toMatchObject({ status: 200, body: { name: 'Deliveries', metadata: { installation: 'i' } } });
    await newEndpoint();
    const moved = svix.unique('moved');
    expect(await svix.request('PATCH', `/app/${id}`, { uid: moved })).toMatchObject({ status: 200, body: { id } });
    expect((await svix.request('GET', `/app/${app}`)).status).toBe(404);
    expect((await svix.request('DELETE', `/app/${moved}`)).status).toBe(204);
    const anew = await svix.request('POST', '/app?get_if_exists=true', { uid: app, name: 'New' });
    expect(anew.status).toBe(201);
    expect(withId.parse(anew.body).id).not.toBe(id);
    expect((await list('/endpoint')).data).toEqual([]);
  });

  it('keeps endpoints as they are told: the URL as a parser writes it, a part changed, and put back as a whole', async () => {
    const url = 'HTTPS://Merchant.EXAMPLE';
    const made = await svix.request('POST', `/app/${app}/endpoint`, { url, eventTypes: [one], headers: { a: 'b' } });
    const id = withId.parse(made.body).id;
    const body = {
      id: expect.stringMatching(/^ep_[0-9A-Za-z]{27}$/),
      ...{ description: '', rateLimit: null, throttleRate: null, uid: null, url: 'https://merchant.example/' },
      ...{ version: 1, disabled: false, eventTypes: [one], filterTypes: [one], channels: null, metadata: {} },
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    };
    expect(made).toEqual({ status: 201, body });
    // Headers are not part of an endpoint: they are read over.
    expect((await svix.request('GET', `/app/${app}/endpoint/${id}/headers`)).body).toEqual({
      headers: {},
      sensitive: [],
    });
    const patched = await svix.request('PATCH', `/app/${app}/endpoint/${id}`, { eventTypes: null, disabled: true });
    expect(patched).toMatchObject({
      status: 200,
      body: { eventTypes: null, disabled: true, url: 'https://merchant.example/' },
    });
    const put = await svix.request('PUT', `/app/${app}/endpoint/${id}`, {
      url: 'https://b.example/x',
      description: 'B',
    });
    expect(put).toMatchObject({
      status: 200,
      body: { id, disabled: false, description: 'B', url: 'https://b.example/x' },
    });
    expect((await svix.request('DELETE', `/app/${app}/endpoint/${id}`)).status).toBe(204);
    expect((await svix.request('GET', `/app/${app}/endpoint/${id}`)).status).toBe(404);
  });

  it('has no portal: its link leads to a page that says so', async () => {
    const access = await svix.request('POST', `/auth/app-portal-access/${app}`, { expiry: 3600 });
    const body = { url: 'https://docs.svix.com/app-portal/oss', token: expect.any(String) };
    expect(access).toEqual({ status: 200, body });
  });

  it('takes a payload of nearly 2 MiB, and gives it to the endpoint whole', async () => {
    await newEndpoint();
    const text = 'x'.repeat(2_000_000);
    const [webhook] = await arrival(await send('whm_1', one, { text }));
    expect(webhook?.body).toHaveLength(text.length + '{"text":""}'.length);
  });
});
