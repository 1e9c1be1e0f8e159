import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { SecretBox } from '../../src/crypto/secret-box.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createOutgoing } from '../../src/outgoing/index.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestWorker } from '../support/admin.ts';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';
import { eventually } from '../support/wait.ts';
import { type ReceivedWebhook, WebhookReceiver } from '../support/webhook-receiver.ts';

/**
 * One table of behaviour for every sender of outgoing webhooks: our own, and Svix (the double, and a real server under
 * `npm run test:svix`). All of it over HTTP, with a worker beside and a receiver that is really called.
 */

interface Sender {
  readonly name: string;
  /** The Svix behind it; null for our own sender. */
  start(): Promise<SvixUnderTest | null>;
}

const SENDERS: readonly Sender[] = [{ name: 'the embedded sender', start: async () => null }, ...svixesUnderTest()];

const PATH = '/webhook-endpoints';
const DAY_MS = 86_400_000;
const BOSS = { applicationName: 'test', maxConnections: 1, works: false, logger: createLogger('silent', 'test') };

describe.each(SENDERS)('with $name', ({ start }) => {
  let svix: SvixUnderTest | null;
  let app: TestApp;
  let worker: Worker;
  let receiver: WebhookReceiver;
  let environment: Record<string, string>;

  beforeAll(async () => {
    svix = await start();
    environment = svix === null ? {} : { SVIX_SERVER_URL: svix.url, SVIX_TOKEN: svix.token };
    app = await startTestApp({ environment });
    worker = await startTestWorker(app, { ...environment, ALLOW_PRIVATE_ENDPOINTS: 'true' });
  });
  afterAll(async () => {
    await worker.close();
    await app.close();
    await svix?.close();
  });
  beforeEach(async () => {
    receiver = await WebhookReceiver.start();
  });
  afterEach(async () => {
    for (const { endpoint_id } of (await app.call('GET', PATH)).body.items) {
      await app.call('DELETE', `${PATH}/${endpoint_id}`);
    }
    await receiver.close();
  });

  /** An endpoint at a path of the receiver. */
  async function addEndpoint(at: string, input: Record<string, unknown> = {}): Promise<Answer['body']> {
    const { status, body } = await app.call('POST', PATH, { url: `${receiver.url}/${at}`, ...input });
    expect({ status, body }).toMatchObject({ status: 200 });
    return body;
  }

  const receivedAt = (at: string) => receiver.received.filter(({ path }) => path === `/hook/${at}`);
  const payloadsAt = (at: string) => receivedAt(at).map(({ body }) => JSON.parse(body));

  /** Waits until the path has received so many requests, and gives them. */
  const arrive = (at: string, count: number): Promise<readonly ReceivedWebhook[]> =>
    eventually(`${count} requests at ${at}`, () => receivedAt(at).length >= count && receivedAt(at));

  const test = (endpoint: Answer['body'], event_type: string) =>
    app.call('POST', `${PATH}/${endpoint.endpoint_id}/test`, { event_type });

  const attemptsOf = async (endpoint: Answer['body'], query = '') =>
    (await app.call('GET', `${PATH}/${endpoint.endpoint_id}/attempts${query}`)).body;

  const attemptsToCome = (endpoint: Answer['body'], count: number, query = '') =>
    eventually(`${count} attempts`, async () => {
      const page = await attemptsOf(endpoint, query);
      return page.items.length >= count && page;
    });

  const conflict = (reason: string) => ({
    status: 409,
    body: { code: 'CONFLICT', message: expect.stringContaining(reason) },
  });

  async function credit(customerId: string, amount = 500): Promise<void> {
    const entry = { amount, currency: 'USD', entry_type: 'credit' };
    const { status } = await app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry);
    expect(status).toBe(200);
  }

  /** Everything that was written so far has been announced. */
  const announced = () =>
    eventually('every wallet to be announced', async () => {
      const { rows } = await app.database.pool.query<{ waiting: number }>(
        'select (select count(*) from unannounced_wallet) + (select count(*) from unsent_message) as waiting',
      );
      return Number(rows[0]?.waiting) === 0;
    });

  const recoveryToEnd = ({ endpoint_id, recovery_id }: Answer['body']) =>
    eventually('the recovery to end', async () => {
      const { body } = await app.call('GET', `${PATH}/${endpoint_id}/recoveries/${recovery_id}`);
      return body.state !== 'running' && body;
    });

  it('an endpoint has its id under both names, in every answer', async () => {
    const made = await addEndpoint('a');
    expect(made).toMatchObject({ endpoint_id: expect.stringMatching(/^ep_/), id: made.endpoint_id, header_names: [] });
    const { body: changed } = await app.call('PATCH', `${PATH}/${made.id}`, { description: 'Shop' });
    const { body: read } = await app.call('GET', `${PATH}/${made.id}`);
    const { body: all } = await app.call('GET', PATH);
    for (const one of [changed, read, all.items[0]]) {
      expect(one).toMatchObject({ endpoint_id: made.id, id: made.id, description: 'Shop' });
    }
  });

  it('a test reaches its endpoint alone, with a fresh id that is the one returned, in the merchant’s name', async () => {
    const endpoint = await addEndpoint('tested');
    await addEndpoint('other');
    const first = await test(endpoint, 'wallet.balance.low');
    const second = await test(endpoint, 'wallet.balance.low');
    expect([first.status, second.status]).toEqual([200, 200]);
    const requests = await arrive('tested', 2);
    const ids = [first.body.message_id, second.body.message_id];
    expect(new Set(ids).size).toBe(2);
    const payloads = payloadsAt('tested');
    expect(payloads.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    for (const payload of payloads) {
      expect(payload).toMatchObject({
        type: 'wallet.balance.low',
        business_id: 'bus_default',
        data: { threshold: 1000 },
      });
    }
    const { body } = await app.call('GET', `${PATH}/${endpoint.id}/secret`);
    for (const request of requests) receiver.verify(request, body.secret);
    // What else was sent would have come by now: the list of attempts knows of the same two.
    const { items } = await attemptsToCome(endpoint, 2);
    expect(items.map((one: Answer['body']) => one.message_id).toSorted()).toEqual(ids.toSorted());
    expect(receivedAt('other')).toEqual([]);
  });

  it('a test of a type that the endpoint does not subscribe to, or to a disabled one, is refused with the reason', async () => {
    const filtered = await addEndpoint('filtered', { event_types: ['wallet.created'] });
    expect(await test(filtered, 'wallet.balance.low')).toMatchObject(
      conflict('does not subscribe to wallet.balance.low'),
    );
    expect(await test(filtered, 'wallet.created')).toMatchObject({ status: 200 });
    const disabled = await addEndpoint('disabled', { disabled: true });
    expect(await test(disabled, 'wallet.created')).toMatchObject(conflict('is disabled'));
    expect(await test(filtered, 'wallet.exploded')).toMatchObject({ status: 422 });
    expect(await test({ endpoint_id: 'ep_none' }, 'wallet.created')).toMatchObject({ status: 404 });
    await arrive('filtered', 1);
    expect(receivedAt('disabled')).toEqual([]);
  });

  it('a message is sent once more under its id, but not to an endpoint that is disabled or does not subscribe to it', async () => {
    const endpoint = await addEndpoint('resent');
    await credit(await app.newCustomer());
    await announced();
    await eventually('the change', () => payloadsAt('resent').some(({ type }) => type === 'wallet.balance.changed'));
    const { id } = payloadsAt('resent').find(({ type }) => type === 'wallet.balance.changed');
    await attemptsToCome(endpoint, 1, `?message_id=${id}`);
    const resend = (messageId = id) => app.call('POST', `${PATH}/${endpoint.id}/messages/${messageId}/resend`);
    expect(await resend()).toMatchObject({ status: 200, body: { message_id: id } });
    await eventually('the same again', () => payloadsAt('resent').filter((payload) => payload.id === id).length === 2);
    const sent = await test(endpoint, 'wallet.created');
    await attemptsToCome(endpoint, 1, `?message_id=${sent.body.message_id}`);
    expect(await resend(sent.body.message_id)).toMatchObject({ status: 200 });
    await eventually(
      'the test again',
      () => payloadsAt('resent').filter((payload) => payload.id === sent.body.message_id).length === 2,
    );
    expect(await resend('whm_none')).toMatchObject({ status: 404 });
    await app.call('PATCH', `${PATH}/${endpoint.id}`, { event_types: ['wallet.balance.low'] });
    expect(await resend()).toMatchObject(conflict('does not subscribe to wallet.balance.changed'));
    await app.call('PATCH', `${PATH}/${endpoint.id}`, { event_types: null, disabled: true });
    expect(await resend()).toMatchObject(conflict('is disabled'));
  });

  it('a secret is rotated ten times in 24 hours, all of them sign, and the eleventh is refused as what it is', async () => {
    const endpoint = await addEndpoint('rotated');
    const secrets = [(await app.call('GET', `${PATH}/${endpoint.id}/secret`)).body.secret];
    const rotate = () => app.call('POST', `${PATH}/${endpoint.id}/secret/rotate`);
    for (let index = 0; index < 10; index += 1) secrets.push((await rotate()).body.secret);
    expect(new Set(secrets).size).toBe(11);
    expect(await rotate()).toMatchObject(conflict('10 times within 24 hours'));
    await credit(await app.newCustomer());
    const [request] = await arrive('rotated', 1);
    if (request === undefined) throw new Error('nothing was received');
    for (const secret of secrets) receiver.verify(request, secret);
  });

  it('attempts name our message and its type, come in pages, and can be narrowed down', async () => {
    const endpoint = await addEndpoint('attempted');
    const begun = new Date(Date.now() - 60_000).toISOString();
    receiver.answerWith({ status: 500, body: 'no' });
    const failed = await test(endpoint, 'wallet.balance.low');
    await arrive('attempted', 1);
    await attemptsToCome(endpoint, 1);
    await credit(await app.newCustomer());
    await announced();
    await eventually('three types', () => new Set(payloadsAt('attempted').map(({ type }) => type)).size >= 3);
    const { items } = await eventually('every attempt to be listed', async () => {
      const page = await attemptsOf(endpoint, '?page_size=100');
      return page.items.length >= receivedAt('attempted').length && page;
    });
    const known = new Map(payloadsAt('attempted').map(({ id, type }) => [id, type]));
    for (const one of items) {
      expect(one).toMatchObject({
        endpoint_id: endpoint.id,
        event_type: known.get(one.message_id),
        attempt_id: one.id,
      });
    }
    const times = items.map((one: Answer['body']) => Date.parse(one.created_at));
    // Newest first; Svix's ids, by which it sorts, tell the time to some milliseconds.
    for (const [index, time] of times.entries())
      expect(time).toBeLessThan((times[index - 1] ?? Number.MAX_VALUE) + 100);

    const paged: string[] = [];
    let cursor = '';
    do {
      const page = await attemptsOf(endpoint, `?page_size=2${cursor}`);
      expect(page.items.length).toBeLessThanOrEqual(2);
      paged.push(...page.items.map((one: Answer['body']) => one.id));
      cursor = page.next_cursor === undefined ? '' : `&cursor=${page.next_cursor}`;
    } while (cursor !== '');
    expect(new Set(paged).size).toBe(paged.length);
    expect(paged.slice(-items.length)).toEqual(items.map((one: Answer['body']) => one.id));

    const ofTest = await attemptsOf(endpoint, `?message_id=${failed.body.message_id}`);
    expect(ofTest.items[ofTest.items.length - 1]).toMatchObject({ status: 'failed', status_code: 500, response: 'no' });
    for (const one of ofTest.items) expect(one.message_id).toBe(failed.body.message_id);
    const failures = await attemptsOf(endpoint, '?status=failed');
    expect(failures.items).toMatchObject([{ message_id: failed.body.message_id, status: 'failed' }]);
    const successes = await attemptsOf(endpoint, '?status=succeeded&event_type=wallet.balance.changed');
    expect(successes.items.length).toBeGreaterThan(0);
    for (const one of successes.items) {
      expect(one).toMatchObject({ status: 'succeeded', event_type: 'wallet.balance.changed' });
    }
    expect(await attemptsOf(endpoint, `?until=${begun}`)).toEqual({ items: [] });
    // What failed is tried again meanwhile.
    const since = (await attemptsOf(endpoint, `?page_size=100&since=${begun}`)).items.map(
      (one: Answer['body']) => one.id,
    );
    expect(since).toEqual(expect.arrayContaining(items.map((one: Answer['body']) => one.id)));
    expect(await attemptsOf(endpoint, '?message_id=whm_none')).toEqual({ items: [] });
    expect((await app.call('GET', `${PATH}/ep_none/attempts`)).status).toBe(404);
    expect((await app.call('GET', `${PATH}/${endpoint.id}/attempts?status=odd`)).status).toBe(400);
  });

  it('headers of the merchant’s go with every request; their values are shown to keys that may write', async () => {
    const headers = { Authorization: 'Bearer of-theirs', 'X-Shop': 'one two' };
    const endpoint = await addEndpoint('headed', { headers });
    expect(endpoint.header_names.toSorted()).toEqual(['Authorization', 'X-Shop']);
    await test(endpoint, 'wallet.created');
    await credit(await app.newCustomer());
    for (const request of await arrive('headed', 3)) {
      expect(request.headers).toMatchObject({ authorization: 'Bearer of-theirs', 'x-shop': 'one two' });
    }
    const path = `${PATH}/${endpoint.id}/headers`;
    expect((await app.call('GET', path)).body).toEqual({ endpoint_id: endpoint.id, headers });
    const reader = await app.newKey('bus_default', ['read']);
    expect((await app.call('GET', path, undefined, reader)).status).toBe(403);
    expect(JSON.stringify((await app.call('GET', PATH, undefined, reader)).body)).not.toContain('of-theirs');
    const { rows } = await app.database.pool.query('select sealed from webhook_endpoint_headers');
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain('of-theirs');

    await app.call('PATCH', `${PATH}/${endpoint.id}`, { headers: { 'X-Shop': 'three' } });
    await test(endpoint, 'wallet.created');
    // What was on its way before may still come with the old ones.
    const changed = await eventually('the new headers', () =>
      receivedAt('headed').find((request) => request.headers['x-shop'] === 'three'),
    );
    expect(changed.headers.authorization).toBeUndefined();
    await app.call('PATCH', `${PATH}/${endpoint.id}`, { headers: {} });
    expect((await app.call('GET', path)).body).toEqual({ endpoint_id: endpoint.id, headers: {} });
  });

  it.each([
    [{ 'Content-Type': 'text/plain' }],
    [{ host: 'elsewhere.example' }],
    [{ 'Webhook-Signature': 'v1,forged' }],
    [{ 'svix-id': 'forged' }],
    [{ 'content-length': '1' }],
    [{ 'X-Odd': 'a\r\nb: c' }],
    [{ 'X Odd': 'a' }],
    [{ 'X-Twice': 'a', 'x-twice': 'b' }],
    [{ 'X-Long': 'x'.repeat(2001) }],
    [Object.fromEntries(Array.from({ length: 21 }, (_, index) => [`X-${index}`, 'a']))],
    [Object.fromEntries(Array.from({ length: 4 }, (_, index) => [`X-${index}`, 'a'.repeat(1800)]))],
  ])('headers that are not the merchant’s to set are refused (%#)', async (headers) => {
    const body = { url: receiver.url, headers };
    expect(await app.call('POST', PATH, body)).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
  });

  it('what nobody heard is made for an endpoint that asks, once, under ids that stay the same', async () => {
    const since = new Date(Date.now() - 1000).toISOString();
    const customerId = await app.newCustomer();
    for (const amount of [100, 200, 300]) await credit(customerId, amount);
    await announced();
    // As where nobody listened: neither we nor Svix kept a message.
    if (svix === null) await app.database.pool.query('delete from webhook_message');
    const late = await addEndpoint('late', { since, event_types: ['wallet.balance.changed'] });
    const entriesAt = (at: string) =>
      payloadsAt(at)
        .filter(({ data, type }) => type === 'wallet.balance.changed' && data.customer_id === customerId)
        .flatMap(({ data }) => data.entries.map((entry: Answer['body']) => entry.after_balance));
    await eventually('three entries', () => entriesAt('late').length >= 3);
    expect(entriesAt('late').toSorted((a, b) => a - b)).toEqual([100, 300, 600]);
    for (const payload of payloadsAt('late')) expect(payload.type).toBe('wallet.balance.changed');

    const again = () => app.call('POST', `${PATH}/${late.id}/recover`, { since });
    const ended = await eventually('the first recovery to end', async () => {
      const begun = await again();
      return begun.status === 202 && begun;
    });
    expect(ended.body).toMatchObject({ endpoint_id: late.id, state: 'running', since, resent: 0, rebuilt: 0 });
    expect(await again()).toMatchObject(conflict('under way'));
    expect(await recoveryToEnd(ended.body)).toMatchObject({ state: 'finished', resent: 0, rebuilt: 0 });
    const other = await addEndpoint('later');
    const recovered = await app.call('POST', `${PATH}/${other.id}/recover`, { since });
    expect(recovered.status).toBe(202);
    await recoveryToEnd(recovered.body);
    await eventually('three entries again', () => entriesAt('later').length >= 3);
    const idsAt = (at: string) =>
      payloadsAt(at)
        .filter(({ data, type }) => type === 'wallet.balance.changed' && data.customer_id === customerId)
        .map(({ id }) => id)
        .toSorted();
    expect(idsAt('later')).toEqual(idsAt('late'));
    expect(new Set(idsAt('late')).size).toBe(idsAt('late').length);
  });

  it('a new endpoint is also sent what was handed over while it was made', async () => {
    const late = await addEndpoint('made', { since: new Date(Date.now() - 1000).toISOString() });
    const there = new Date();
    const { rows } = await app.database.pool.query<{ until: Date }>(
      'select until from webhook_recovery where endpoint_id = $1',
      [late.id],
    );
    expect(rows[0]?.until.getTime()).toBeGreaterThan(there.getTime());
  });

  it('what an endpoint missed and is kept is sent again, but nothing that it has received', async () => {
    const since = new Date(Date.now() - 1000).toISOString();
    const endpoint = await addEndpoint('missed', { event_types: ['wallet.balance.changed'] });
    const customerId = await app.newCustomer();
    await credit(customerId, 100);
    await arrive('missed', 1);
    await attemptsToCome(endpoint, 1);
    await app.call('PATCH', `${PATH}/${endpoint.id}`, { disabled: true });
    await credit(customerId, 200);
    await announced();
    expect(await app.call('POST', `${PATH}/${endpoint.id}/recover`, { since })).toMatchObject(conflict('is disabled'));
    await app.call('PATCH', `${PATH}/${endpoint.id}`, { disabled: false });
    const begun = await app.call('POST', `${PATH}/${endpoint.id}/recover`, { since });
    await recoveryToEnd(begun.body);
    await eventually('the second change', () => payloadsAt('missed').some(({ data }) => data.balance === 300));
    const balances = payloadsAt('missed')
      .filter(({ data }) => data.customer_id === customerId)
      .map(({ data }) => data.balance);
    expect(balances).toEqual([100, 300]);
  });

  it.each([
    [{ since: new Date(Date.now() - 31 * DAY_MS).toISOString() }, 'since: wants a time within the last 30 days'],
    [{ since: new Date(Date.now() + DAY_MS).toISOString() }, 'since: wants a time in the past'],
    [
      { since: new Date(Date.now() - DAY_MS).toISOString(), until: new Date(Date.now() - 2 * DAY_MS).toISOString() },
      'until: wants a time after since',
    ],
    [{ since: 'yesterday' }, 'since: wants a time such as'],
  ])('a recovery of %j is refused', async (window, reason) => {
    const endpoint = await addEndpoint('refused');
    const answer = await app.call('POST', `${PATH}/${endpoint.id}/recover`, window);
    expect(answer).toMatchObject({ status: 422, body: { message: expect.stringContaining(reason) } });
    const since = new Date(Date.now() - DAY_MS).toISOString();
    expect((await app.call('POST', `${PATH}/ep_none/recover`, { since })).status).toBe(404);
  });

  /** The sender finds that an endpoint did nothing but fail for days, as each does. */
  async function giveUp(endpoint: Answer['body']): Promise<void> {
    if (svix === null) {
      await app.database.pool.query(
        "update webhook_endpoint set failing_since = now() - interval '6 days' where url = $1",
        [endpoint.url],
      );
      receiver.answerWith({ status: 500 });
      await credit(await app.newCustomer());
      return;
    }
    const { rows } = await app.database.pool.query<{ installation_id: string }>(
      'select installation_id from installation',
    );
    const application = `${rows[0]?.installation_id}.bus_default`;
    const answer = await svix.request('PATCH', `/app/${application}/endpoint/${endpoint.id}`, { disabled: true });
    expect(answer.status).toBe(200);
    await lookAgain();
  }

  /** What the worker does every five minutes. */
  async function lookAgain(): Promise<void> {
    const { pool } = app.database;
    await pool.query('update svix_merchant set looked_at = null');
    const config = loadConfig({ ...environment, ALLOW_PRIVATE_ENDPOINTS: 'true', ENCRYPTION_KEY });
    const boss = createBoss({ databaseUrl: app.database.url, ...BOSS });
    const shared = { pool, boss, clock: systemClock, logger: BOSS.logger };
    const outgoing = createOutgoing({ config, ...shared, box: new SecretBox(config.ENCRYPTION_KEY) });
    await outgoing.lookAfterEndpoints(new AbortController().signal);
    await outgoing.close();
  }

  it('an endpoint that the sender gave up on is told of to the merchant’s others, once', async () => {
    const broken = await addEndpoint('broken', { description: 'Accounting', event_types: ['wallet.balance.changed'] });
    const listening = await addEndpoint('listening', { event_types: ['endpoint.disabled'] });
    const customerId = await app.newCustomer();
    receiver.answerWith({ status: 500 });
    await credit(customerId);
    await attemptsToCome(broken, 1, '?status=failed');
    await lookAgain();
    await giveUp(broken);
    await eventually('the notice to be left', async () => {
      const { rows } = await app.database.pool.query(
        "select 1 from unsent_message where event_type = 'endpoint.disabled'",
      );
      return rows.length > 0;
    });
    // Whoever announces anything sends what was left as well.
    await credit(customerId);
    const [told] = await arrive('listening', 1);
    expect(JSON.parse(told?.body ?? '')).toMatchObject({
      type: 'endpoint.disabled',
      business_id: 'bus_default',
      data: { endpoint_id: broken.id, description: 'Accounting', disabled_at: expect.any(String) },
    });
    expect((await app.call('GET', `${PATH}/${broken.id}`)).body).toMatchObject({ disabled: true });
    // Looked at again, it is no news; nor is what the merchant disables himself.
    const own = await addEndpoint('own', { event_types: ['wallet.balance.changed'] });
    receiver.answerWith({ status: 500 });
    await credit(customerId);
    await attemptsToCome(own, 1, '?status=failed');
    await app.call('PATCH', `${PATH}/${own.id}`, { disabled: true });
    await lookAgain();
    const { rows } = await app.database.pool.query(
      "select 1 from unsent_message where event_type = 'endpoint.disabled'",
    );
    expect(rows).toEqual([]);
    expect((await attemptsToCome(listening, 1)).items).toHaveLength(1);
  });

  it('there is no portal here, and the answer says what to use instead', async () => {
    const answer = await app.call('POST', '/webhook-portal');
    expect(answer).toMatchObject({ status: 501, body: { code: 'NOT_IMPLEMENTED' } });
    expect(answer.body.message).toContain('webhook-endpoints routes');
  });
});
