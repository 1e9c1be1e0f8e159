import { PgBoss } from 'pg-boss';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../../src/crypto/secret.ts';
import { UnreadableSecretError } from '../../src/crypto/secret-box.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { OUTGOING_EVENT_TYPES } from '../../src/outgoing/catalogue.ts';
import { createOutgoing } from '../../src/outgoing/index.ts';
import type { OutgoingMessage } from '../../src/outgoing/outgoing.ts';
import type { Publisher } from '../../src/outgoing/publisher.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { SvixPublisher } from '../../src/outgoing/svix/publisher.ts';
import { SvixRecovery } from '../../src/outgoing/svix/recovery.ts';
import { singleUid } from '../../src/outgoing/svix/single.ts';
import { insertSent } from '../../src/outgoing/svix/store.ts';
import { SvixWebhooks } from '../../src/outgoing/svix/webhooks.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { NEWEST } from '../support/attempts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { publicly } from '../support/refusals.ts';
import { BOX } from '../support/secrets.ts';
import { newSvixId } from '../support/svix/store.ts';
import { svixIdentityOf } from '../support/svix-announcer.ts';
import { type ScriptedAnswer, SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';

/** Aims at the edge to Svix: the real SDK over HTTP against a server that speaks Svix's contract, well and badly. */

let database: TestDatabase;
let boss: PgBoss;
let server: SvixServer;
let now: Date;
const clock = { now: () => now };
const lines: Record<string, unknown>[] = [];
const logger = createLogger('warn', 'test', { write: (line: string) => void lines.push(JSON.parse(line)) });

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  boss = new PgBoss({ connectionString: database.url, migrate: false, createSchema: false, supervise: false });
  boss.on('error', () => {});
});
afterAll(() => database.drop());

beforeEach(async () => {
  await database.pool.query('delete from svix_message');
  server = await SvixServer.start();
  now = new Date('2026-03-01T00:00:00Z');
  lines.length = 0;
});
afterEach(() => server.close());

function account(overrides: { token?: string; timeoutMs?: number } = {}): SvixAccount {
  const { token = SVIX_TOKEN, timeoutMs = 10_000 } = overrides;
  return new SvixAccount({
    token: new Secret(token),
    serverUrl: server.url,
    clock,
    timeoutMs,
    identityOf: svixIdentityOf,
  });
}

const publisherOf = (svix: SvixAccount = account()) => new SvixPublisher({ account: svix, clock, logger });
const retryable = (reason: string) => ({ kind: 'failed', permanent: false, reason });
const webhooksOf = (svix: SvixAccount = account(), allowPrivate = true) =>
  new SvixWebhooks({ account: svix, pool: database.pool, boss, clock, allowPrivate, box: BOX });

function message(messageId: string): OutgoingMessage {
  const payload = JSON.stringify({ id: messageId, type: 'wallet.created', data: { balance: 0 } });
  return { merchantId: MERCHANT, messageId, eventType: 'wallet.created', payload };
}

const { uid: APPLICATION, metadata: MARK } = await svixIdentityOf(MERCHANT);

const ENDPOINT = { url: 'https://merchant.example/hook', description: 'Shop', eventTypes: null, disabled: false };

describe('publishing', () => {
  test('makes event types and the application once, then sends in order under our own ids', async () => {
    const publisher = publisherOf();
    expect(await publisher.send([message('whm_1'), message('whm_2')])).toEqual({ kind: 'sent' });
    expect(await publisher.send([message('whm_3')])).toEqual({ kind: 'sent' });
    expect([...server.eventTypes.keys()]).toEqual([...OUTGOING_EVENT_TYPES]);
    expect(server.eventTypes.get('wallet.created')).toMatchObject({
      description: 'A customer has a wallet in one more currency.',
      schemas: { 1: { type: 'object', properties: { type: { const: 'wallet.created' } } } },
    });
    expect(server.calls('application.create').map(({ body, query }) => ({ body, query }))).toEqual([
      { body: { uid: APPLICATION, name: 'Default merchant', metadata: MARK }, query: { get_if_exists: 'true' } },
    ]);
    expect(
      server.calls('message.create').map(({ params, idempotencyKey, body }) => ({ params, idempotencyKey, body })),
    ).toEqual(
      ['whm_1', 'whm_2', 'whm_3'].map((id) => ({
        params: [APPLICATION],
        idempotencyKey: id,
        body: { eventId: id, eventType: 'wallet.created', payload: JSON.parse(message(id).payload) },
      })),
    );
    const { pool } = database;
    await transaction(pool, (tx) => publisher.record(tx, ['whm_1', 'whm_2'].map(message)));
    const { rows } = await pool.query('select message_id, svix_message_id, event_type from svix_message order by 1');
    const stored = [...(server.ofMerchant(MERCHANT)?.messages.values() ?? [])];
    expect(rows).toEqual(
      stored
        .slice(0, 2)
        .map(({ id, eventId }) => ({ message_id: eventId, svix_message_id: id, event_type: 'wallet.created' })),
    );
  });

  test('stops at the first message that fails; the next time repeats the ones before it under their ids', async () => {
    const publisher = publisherOf();
    server.script('message.create', { status: 202, body: '{}' }, { status: 500, body: 'oops' });
    expect(await publisher.send([message('whm_1'), message('whm_2'), message('whm_3')])).toMatchObject({
      kind: 'failed',
    });
    expect(server.calls('message.create')).toHaveLength(2);
    expect(await publisher.send([message('whm_1'), message('whm_2'), message('whm_3')])).toEqual({ kind: 'sent' });
    expect(server.accepted(MERCHANT)).toEqual(['whm_1', 'whm_2', 'whm_3'].map((id) => JSON.parse(message(id).payload)));
  });

  test('hands over no second time what Svix has taken and named, so that a bad line gets through a long part', async () => {
    const publisher = publisherOf();
    const all = Array.from({ length: 6 }, (_, index) => message(`whm_${index}`));
    server.decide = ({ operation }) =>
      operation === 'message.create' && server.calls('message.create').length % 3 === 2 ? { status: 500 } : null;
    let tries = 1;
    while (tries < 10 && (await publisher.send(all)).kind !== 'sent') tries += 1;
    const posted = server.calls('message.create').map(({ idempotencyKey }) => idempotencyKey);
    expect(posted).toEqual(['whm_0', 'whm_1', 'whm_1', 'whm_2', 'whm_3', 'whm_3', 'whm_4', 'whm_5', 'whm_5']);
    await transaction(database.pool, (tx) => publisher.record(tx, all));
    const { rowCount } = await database.pool.query('select from svix_message where svix_message_id is not null');
    expect(rowCount).toBe(6);
  });

  test('waits as long as a 429 says, for every wallet, and counts it as no failure', async () => {
    const publisher = publisherOf();
    server.script('message.create', { status: 429, headers: { 'retry-after': '20' } });
    const reason = 'Svix limits the rate (429)';
    expect(await publisher.send([message('whm_1')])).toEqual({ kind: 'deferred', retryAfterSeconds: 20, reason });
    now = new Date(now.getTime() + 5_000);
    expect(publisher.pausedForSeconds()).toBe(15);
    expect(await publisher.send([message('whm_2')])).toMatchObject({ kind: 'deferred', retryAfterSeconds: 15 });
    expect(server.calls('message.create')).toHaveLength(1);
    now = new Date(now.getTime() + 15_000);
    expect(await publisher.send([message('whm_1')])).toEqual({ kind: 'sent' });
  });

  test('takes Svix for away after 16 calls without an answer, and for back after one with', async () => {
    const publisher = publisherOf();
    await publisher.send([message('whm_0')]);
    const away = { status: 503 };
    server.script('message.create', ...Array.from({ length: 17 }, () => away));
    for (let call = 1; call < 16; call += 1) {
      expect(await publisher.send([message('whm_1')])).toEqual(retryable('Svix answered 503'));
    }
    const deferred = { kind: 'deferred', retryAfterSeconds: 10, reason: 'Svix is away: Svix answered 503' };
    expect(await publisher.send([message('whm_1')])).toEqual(deferred);
    expect(publisher.pausedForSeconds()).toBe(10);
    expect(await publisher.send([message('whm_2')])).toMatchObject({ kind: 'deferred' });
    expect(server.calls('message.create')).toHaveLength(17);
    // The pause is over: one call is enough to know.
    now = new Date(now.getTime() + 10_000);
    expect(await publisher.send([message('whm_1')])).toEqual(deferred);
    now = new Date(now.getTime() + 10_000);
    expect(await publisher.send([message('whm_1')])).toEqual({ kind: 'sent' });
    server.script('message.create', away);
    expect(await publisher.send([message('whm_2')])).toEqual(retryable('Svix answered 503'));
    expect(lines.map(({ msg }) => msg)).toEqual(Array.from({ length: 2 }, () => expect.stringContaining('is away')));
  });

  test.each([401, 403])(
    'pauses shortly on %i and says so loudly, once a minute and without the token',
    async (status) => {
      const publisher = publisherOf();
      server.script('message.create', { status });
      const result = { kind: 'deferred', retryAfterSeconds: 10, reason: `Svix refuses our token (${status})` };
      expect(await publisher.send([message('whm_1')])).toEqual(result);
      expect(publisher.pausedForSeconds()).toBe(10);
      now = new Date(now.getTime() + 10_000);
      server.script('message.create', { status });
      expect(await publisher.send([message('whm_1')])).toEqual(result);
      expect(lines).toMatchObject([{ level: 50, status, msg: expect.stringContaining('SVIX_TOKEN') }]);
      now = new Date(now.getTime() + 50_000);
      server.script('message.create', { status });
      await publisher.send([message('whm_1')]);
      expect(lines).toHaveLength(2);
      expect(JSON.stringify(lines)).not.toContain(SVIX_TOKEN);
    },
  );

  test('notices a wrong token before anything else, and recovers with the right one', async () => {
    const svix = publisherOf(account({ token: 'wrong.eu' }));
    expect(await svix.send([message('whm_1')])).toMatchObject({ kind: 'deferred', retryAfterSeconds: 10 });
    expect(server.calls('application.create')).toEqual([]);
  });

  test('tries what is made once again after it failed', async () => {
    const publisher = publisherOf();
    server.script('eventType.upsert', { status: 503 });
    expect(await publisher.send([message('whm_1')])).toEqual(retryable('Svix answered 503'));
    server.script('application.create', { status: 503 });
    expect(await publisher.send([message('whm_1')])).toEqual(retryable('Svix answered 503'));
    expect(await publisher.send([message('whm_1')])).toEqual({ kind: 'sent' });
  });

  test('makes the application again when it is gone', async () => {
    const publisher = publisherOf();
    await publisher.send([message('whm_1')]);
    server.applications.clear();
    expect(await publisher.send([message('whm_2')])).toEqual({ kind: 'sent' });
    expect(server.calls('application.create')).toHaveLength(2);
    server.script('message.create', { status: 404 }, { status: 404 });
    expect(await publisher.send([message('whm_3')])).toEqual(retryable('Svix answered notFound'));
  });
});

describe('409, after a try of which nobody knows how it ended', () => {
  const ambiguous = async (dispatches: boolean) => {
    const svix = account();
    const webhooks = webhooksOf(svix);
    const all = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    const subscribed = await webhooks.createEndpoint(MERCHANT, { ...ENDPOINT, eventTypes: ['wallet.created'] });
    await webhooks.createEndpoint(MERCHANT, { ...ENDPOINT, eventTypes: ['wallet.balance.low'] });
    await webhooks.createEndpoint(MERCHANT, { ...ENDPOINT, disabled: true });
    const publisher = publisherOf(svix);
    server.script('message.create', { status: 500, stores: true, dispatches });
    expect(await publisher.send([message('whm_1')])).toMatchObject({ kind: 'failed', permanent: false });
    // Svix lists the newest first.
    return { publisher, wanted: [subscribed.id, all.id] };
  };

  test('is “sent” where the message has attempts', async () => {
    const { publisher } = await ambiguous(true);
    expect(await publisher.send([message('whm_1')])).toEqual({ kind: 'sent' });
    expect(server.calls('messageAttempt.listByMsg')).toHaveLength(1);
    expect(server.calls('messageAttempt.resend')).toEqual([]);
  });

  test('asks for a resend to every endpoint that wants it where the message has none', async () => {
    const { publisher, wanted } = await ambiguous(false);
    expect(await publisher.send([message('whm_1')])).toEqual({ kind: 'sent' });
    const resent = server.calls('messageAttempt.resend').map(({ params }) => params);
    expect(resent).toEqual(wanted.map((endpointId) => [APPLICATION, 'whm_1', endpointId]));
  });

  test.each(['messageAttempt.listByMsg', 'endpoint.list', 'messageAttempt.resend'] as const)(
    'stays unsettled while %s fails',
    async (operation) => {
      const { publisher } = await ambiguous(false);
      server.script(operation, { status: 500 });
      expect(await publisher.send([message('whm_1')])).toMatchObject({ kind: 'failed', permanent: false });
      expect(await publisher.send([message('whm_1')])).toEqual({ kind: 'sent' });
    },
  );

  test('a conflict that remains is tried again', async () => {
    const publisher = publisherOf();
    server.script('application.create', { status: 409 });
    expect(await publisher.send([message('whm_1')])).toMatchObject({ kind: 'failed', permanent: false });
  });
});

describe('the merchant’s endpoints', () => {
  test('are made, changed, listed and deleted at Svix', async () => {
    const webhooks = webhooksOf();
    const made = await webhooks.createEndpoint(MERCHANT, { ...ENDPOINT, eventTypes: ['wallet.balance.low'] });
    expect(made).toMatchObject({ ...ENDPOINT, eventTypes: ['wallet.balance.low'], createdAt: expect.any(Date) });
    expect(await webhooks.getEndpoint(MERCHANT, made.id)).toEqual(made);
    const change = { eventTypes: null, disabled: true, description: 'Paused' };
    expect(await webhooks.updateEndpoint(MERCHANT, made.id, change)).toMatchObject(change);
    expect(await webhooks.updateEndpoint(MERCHANT, made.id, { url: 'https://b.example' })).toMatchObject({
      ...change,
      url: 'https://b.example/',
    });
    expect(server.calls('endpoint.patch').map(({ body }) => Object.keys(body ?? {}))).toEqual([
      ['description', 'disabled', 'eventTypes'],
      ['url'],
    ]);
    server.pageSize = 2;
    for (let index = 0; index < 4; index += 1) await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    expect((await webhooks.listEndpoints(MERCHANT)).map(({ id }) => id)).toHaveLength(5);
    expect(await webhooks.deleteEndpoint(MERCHANT, made.id)).toBe(true);
    expect(await webhooks.deleteEndpoint(MERCHANT, made.id)).toBe(false);
    await webhooks.close();
  });

  test('whose ids Svix takes for no ids are not there', async () => {
    const webhooks = webhooksOf();
    const answer = { status: 422, body: '{"detail":[{"loc":["path","endpoint_id"],"msg":"too long","type":"x"}]}' };
    server.script('endpoint.get', answer);
    expect(await webhooks.getEndpoint(MERCHANT, 'ep_odd')).toBeNull();
    server.script('endpoint.delete', answer);
    expect(await webhooks.deleteEndpoint(MERCHANT, 'ep_odd')).toBe(false);
    server.script('messageAttempt.resend', answer);
    expect(await webhooks.resend(MERCHANT, 'ep_odd', 'whm_1')).toBe(false);
    // A list that Svix refuses is no empty list.
    server.script('endpoint.list', answer);
    await expect(webhooks.listEndpoints(MERCHANT)).rejects.toMatchObject({
      refusal: publicly({ message: expect.stringContaining('cannot be used now') }),
    });
  });

  test('that Svix shows without its optional fields are enabled', async () => {
    const webhooks = webhooksOf();
    const { id } = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    const at = new Date().toISOString();
    const bare = { id, url: ENDPOINT.url, description: '', metadata: {}, createdAt: at, updatedAt: at };
    const answer = { status: 200, body: JSON.stringify(bare) };
    await publisherOf().send([message('whm_bare')]);
    server.script('endpoint.get', answer, answer);
    expect(await webhooks.resend(MERCHANT, id, 'whm_bare')).toBe(true);
    expect(await webhooks.sendTest(MERCHANT, id, 'wallet.created')).toMatch(/^whm_/);
    server.script('endpoint.patch', answer);
    const changed = await webhooks.updateEndpoint(MERCHANT, id, { headers: { 'x-team': 'ops' } });
    expect(changed).toMatchObject({ disabled: false, eventTypes: null, headerNames: ['x-team'] });
  });

  test('keep their headers where Svix refuses the change that comes with new ones', async () => {
    const webhooks = webhooksOf();
    const { id } = await webhooks.createEndpoint(MERCHANT, { ...ENDPOINT, headers: { 'x-team': 'payments' } });
    server.script('endpoint.patch', {
      status: 422,
      body: '{"detail":[{"loc":["body","url"],"msg":"bad host","type":"x"}]}',
    });
    const change = { url: 'https://bad.example/', headers: { 'x-team': 'ops' } };
    await expect(webhooks.updateEndpoint(MERCHANT, id, change)).rejects.toMatchObject({
      refusal: publicly({ message: expect.stringContaining('bad host') }),
    });
    expect(await webhooks.getHeaders(MERCHANT, id)).toEqual({ 'x-team': 'payments' });
  });

  test('whose headers cannot be read are no failure of Svix', async () => {
    const svix = account();
    const unreadable = () => Promise.reject(new UnreadableSecretError('the key is gone'));
    await expect(svix.call(MERCHANT, unreadable)).rejects.toThrow('the key is gone');
    const broken = () => database.pool.query('select 1 / 0');
    await expect(svix.call(MERCHANT, broken)).rejects.toThrow('division by zero');
  });

  test('show and rotate their secret, the old one valid for a day', async () => {
    const webhooks = webhooksOf();
    const { id } = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    const before = await webhooks.getSecret(MERCHANT, id);
    expect(before).toMatch(/^whsec_/);
    const after = await webhooks.rotateSecret(MERCHANT, id);
    expect(after).not.toBe(before);
    expect(await webhooks.getSecret(MERCHANT, id)).toBe(after);
    expect(server.calls('endpoint.rotateSecret')[0]?.body).toEqual({ gracePeriodSeconds: 86_400 });
  });

  test('list tries under our message ids, and resend', async () => {
    const svix = account();
    const webhooks = webhooksOf(svix);
    const { id } = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    const publisher = publisherOf(svix);
    await publisher.send([message('whm_1')]);
    expect(await webhooks.resend(MERCHANT, id, 'whm_1')).toBe(true);
    expect(await webhooks.resend(MERCHANT, id, 'whm_unknown')).toBe(false);
    const attempts = server.ofMerchant(MERCHANT)?.attempts ?? [];
    const [base] = attempts;
    if (base === undefined) throw new Error('no attempt');
    const later = (change: Partial<typeof base>) => attempts.push({ ...base, ...change, id: newSvixId('atmpt_') });
    // Of a message that is there no more.
    const gone = { msgId: 'msg_gone', eventId: null };
    later({ ...gone, statusText: 'fail', responseStatusCode: 0, response: 'connection refused' });
    later({ ...gone, statusText: 'fail', responseStatusCode: 0, response: '' });
    later({ ...gone, statusText: 'fail', responseStatusCode: 503, response: 'z'.repeat(5000) });
    later({ statusText: 'pending' });
    later({ statusText: 'sending' });
    now = new Date();
    const listed = (await webhooks.listAttempts(MERCHANT, id, { ...NEWEST, pageSize: 100 }))?.attempts ?? [];
    const told = listed.map(({ messageId, eventType, status, statusCode, error }) => [
      messageId,
      eventType,
      status,
      statusCode,
      error,
    ]);
    expect(told.toSorted()).toEqual(
      [
        ['msg_gone', '', 'failed', 503, null],
        ['msg_gone', '', 'failed', null, 'no answer'],
        ['msg_gone', '', 'failed', null, 'connection refused'],
        ['whm_1', 'wallet.created', 'succeeded', 200, null],
        ['whm_1', 'wallet.created', 'succeeded', 200, null],
      ].toSorted(),
    );
    expect(listed.find(({ statusCode }) => statusCode === 503)?.response).toHaveLength(2048);
    // What was asked for once is known from then on.
    const asked = server.calls('message.get').length;
    await webhooks.listAttempts(MERCHANT, id, { ...NEWEST, messageId: 'whm_1' });
    expect(server.calls('message.get')).toHaveLength(asked);
    // Its entries are not, until whoever handed it over notes them; a recovery must not make it again.
    const range = { customerId: 'cus_a', currency: 'USD', firstSeq: 1, lastSeq: 2 };
    await transaction(database.pool, (tx) => publisher.record(tx, [{ ...message('whm_1'), range }]));
    const { rows } = await database.pool.query('select customer_id, first_seq, last_seq from svix_message');
    expect(rows).toEqual([{ customer_id: 'cus_a', first_seq: 1, last_seq: 2 }]);
  });

  test('that do not exist are null or false', async () => {
    const webhooks = webhooksOf();
    expect(await webhooks.getEndpoint(MERCHANT, 'ep_x')).toBeNull();
    expect(await webhooks.updateEndpoint(MERCHANT, 'ep_x', { disabled: true })).toBeNull();
    expect(await webhooks.getSecret(MERCHANT, 'ep_x')).toBeNull();
    expect(await webhooks.rotateSecret(MERCHANT, 'ep_x')).toBeNull();
    expect(await webhooks.listAttempts(MERCHANT, 'ep_x', NEWEST)).toBeNull();
    expect(await webhooks.sendTest(MERCHANT, 'ep_x', 'wallet.created')).toBeNull();
    server.script('endpoint.list', { status: 404 }, { status: 404 });
    await expect(webhooks.listEndpoints(MERCHANT)).rejects.toMatchObject({
      refusal: publicly({ message: expect.stringContaining('cannot be used now') }),
    });
  });

  test('the portal’s link is Svix’s, for an hour; a server without a portal answers with a page of documentation', async () => {
    const refusal = publicly({ code: 'NOT_IMPLEMENTED', message: expect.stringContaining('webhook-endpoints routes') });
    await expect(webhooksOf().portalUrl(MERCHANT)).rejects.toMatchObject({ refusal });
    const url = 'https://app.svix.com/login#key=abc';
    server.script('authentication.appPortalAccess', { status: 200, body: JSON.stringify({ url, token: 'appsk_abc' }) });
    expect(await webhooksOf().portalUrl(MERCHANT)).toBe(url);
    expect(server.calls('authentication.appPortalAccess')[0]).toMatchObject({
      params: [APPLICATION],
      body: { expiry: 3600 },
    });
  });

  test('resend says what keeps Svix from sending a message again', async () => {
    const svix = account();
    const webhooks = webhooksOf(svix);
    const { id } = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    await publisherOf(svix).send([message('whm_1')]);
    const resend = () => webhooks.resend(MERCHANT, id, 'whm_1');
    server.script('messageAttempt.resend', { status: 400, body: '{"code":"missing_payload","detail":"expired"}' });
    const refusal = publicly({ code: 'CONFLICT', message: expect.stringContaining('does not keep the content') });
    await expect(resend()).rejects.toMatchObject({ refusal });
    server.script('messageAttempt.resend', { status: 404 }, { status: 404 });
    expect(await resend()).toBe(false);
    server.script('messageAttempt.resend', { status: 422, body: '{"detail":"odd"}' });
    expect(await resend()).toBe(false);
    server.script('messageAttempt.resend', { status: 500 });
    await expect(resend()).rejects.toMatchObject({ refusal: publicly({ code: 'SERVICE_UNAVAILABLE' }) });
    expect(await webhooks.resend(MERCHANT, 'ep_x', 'whm_1')).toBe(false);
  });

  test('with headers are made whole or not at all', async () => {
    const webhooks = webhooksOf();
    const input = { ...ENDPOINT, headers: { Authorization: 'Bearer of-theirs' } };
    server.script('endpoint.updateHeaders', { status: 500 });
    await expect(webhooks.createEndpoint(MERCHANT, input)).rejects.toMatchObject({
      refusal: publicly({ code: 'SERVICE_UNAVAILABLE' }),
    });
    expect(await webhooks.listEndpoints(MERCHANT)).toEqual([]);
    server.script('endpoint.updateHeaders', { status: 500 });
    server.script('endpoint.delete', { status: 500 });
    await expect(webhooks.createEndpoint(MERCHANT, input)).rejects.toMatchObject({
      refusal: publicly({ code: 'SERVICE_UNAVAILABLE' }),
    });
    // One that could not be taken back is disabled.
    expect(await webhooks.listEndpoints(MERCHANT)).toMatchObject([{ disabled: true, headerNames: [] }]);
  });

  test('whose headers were set in Svix’s portal are shown as far as Svix shows them', async () => {
    const webhooks = webhooksOf();
    const { id } = await webhooks.createEndpoint(MERCHANT, { ...ENDPOINT, headers: { 'X-Shop': 'one' } });
    const [endpoint] = [...(server.ofMerchant(MERCHANT)?.endpoints.values() ?? [])];
    Object.assign(endpoint ?? {}, { headers: { 'X-Shop': 'two', Authorization: 'of-the-portal' } });
    expect(await webhooks.getHeaders(MERCHANT, id)).toEqual({ 'X-Shop': 'two', Authorization: null });
    expect(await webhooks.getHeaders(MERCHANT, 'ep_x')).toBeNull();
    // A test goes with what can be known of them.
    expect(await webhooks.sendTest(MERCHANT, id, 'wallet.created')).toMatch(/^whm_/);
  });

  test('and their copies for tests go together, also where a copy is gone already', async () => {
    const webhooks = webhooksOf();
    const { id } = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    await webhooks.sendTest(MERCHANT, id, 'wallet.created');
    const single = server.applications.get(singleUid(APPLICATION));
    await webhooks.updateEndpoint(MERCHANT, id, { url: 'https://b.example/hook', disabled: true });
    expect([...(single?.endpoints.values() ?? [])]).toMatchObject([{ url: 'https://b.example/hook', disabled: true }]);
    await webhooks.updateEndpoint(MERCHANT, id, { disabled: false });
    single?.endpoints.clear();
    expect(await webhooks.deleteEndpoint(MERCHANT, id)).toBe(true);
    const { id: other } = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    await webhooks.sendTest(MERCHANT, other, 'wallet.created');
    server.decide = ({ operation, params }) =>
      operation === 'endpoint.delete' && params[0] === singleUid(APPLICATION) ? { status: 500 } : null;
    await expect(webhooks.deleteEndpoint(MERCHANT, other)).rejects.toMatchObject({
      refusal: publicly({ code: 'SERVICE_UNAVAILABLE' }),
    });
    server.decide = () => null;
    expect(await webhooks.deleteEndpoint(MERCHANT, other)).toBe(true);
    expect(server.ofMerchant(MERCHANT)?.endpoints.size).toBe(0);
    expect(single?.endpoints.size).toBe(0);
  });

  test('list no attempts while Svix does not answer', async () => {
    const webhooks = webhooksOf();
    const { id } = await webhooks.createEndpoint(MERCHANT, ENDPOINT);
    now = new Date();
    server.script('messageAttempt.listByEndpoint', { status: 500 });
    await expect(webhooks.listAttempts(MERCHANT, id, NEWEST)).rejects.toMatchObject({
      refusal: publicly({ code: 'SERVICE_UNAVAILABLE' }),
    });
    await webhooks.sendTest(MERCHANT, id, 'wallet.created');
    await database.pool.query('delete from svix_message');
    server.script('message.get', { status: 500 });
    await expect(webhooks.listAttempts(MERCHANT, id, NEWEST)).rejects.toMatchObject({
      refusal: publicly({ code: 'SERVICE_UNAVAILABLE' }),
    });
    const page = await webhooks.listAttempts(MERCHANT, id, NEWEST);
    expect(page?.attempts).toMatchObject([{ messageId: expect.stringMatching(/^whm_/), eventType: 'wallet.created' }]);
  });

  test('are looked at as far as Svix answers, a few at a time, and what was handed over long ago is forgotten', async () => {
    const config = { SVIX_TOKEN: new Secret(SVIX_TOKEN), SVIX_SERVER_URL: server.url, ALLOW_PRIVATE_ENDPOINTS: true };
    const outgoing = createOutgoing({ config, pool: database.pool, boss, clock, logger, box: BOX });
    const { signal } = new AbortController();
    const look = async () => {
      await database.pool.query('update svix_merchant set looked_at = null');
      await outgoing.lookAfterEndpoints(signal);
    };
    const disabled = async () =>
      (await database.pool.query('select disabled from svix_endpoint where endpoint_id = $1', [id])).rows[0]?.disabled;
    const { id } = await outgoing.webhooks.createEndpoint(MERCHANT, ENDPOINT);
    // Made in Svix's portal: known from the first look on.
    await database.pool.query('delete from svix_endpoint where endpoint_id = $1', [id]);
    server.script('endpoint.list', { status: 500 });
    await look();
    expect(lines.at(-1)).toMatchObject({ msg: expect.stringContaining('could not be looked at') });
    expect(await disabled()).toBeUndefined();
    await look();
    expect(await disabled()).toBe(false);
    const endpoint = [...(server.ofMerchant(MERCHANT)?.endpoints.values() ?? [])].find((one) => one.id === id);
    Object.assign(endpoint ?? {}, { disabled: true });
    server.script('messageAttempt.listByEndpoint', { status: 500 });
    await look();
    expect(await disabled()).toBe(false);
    // Disabled by hand, for it had not failed.
    await look();
    expect(await disabled()).toBe(true);
    expect((await database.pool.query('select 1 from unsent_message')).rows).toEqual([]);
    const sent = {
      merchantId: MERCHANT,
      svixMessageId: 'msg_1',
      eventType: 'wallet.created',
      endpointId: null,
      range: null,
    };
    const daysAgo = (days: number) => new Date(now.getTime() - days * 86_400_000);
    await insertSent(autocommit(database.pool), [{ ...sent, messageId: 'whm_old' }], daysAgo(31));
    await insertSent(autocommit(database.pool), [{ ...sent, messageId: 'whm_young' }], daysAgo(29));
    await outgoing.lookAfterEndpoints(signal);
    const { rows } = await database.pool.query('select message_id from svix_message');
    expect(rows).toEqual([{ message_id: 'whm_young' }]);
    await outgoing.close();
  });

  const busy = { code: 'SERVICE_UNAVAILABLE' };
  test.each<[ScriptedAnswer, Record<string, unknown>]>([
    [{ status: 500 }, busy],
    [{ status: 401 }, busy],
    [{ connection: 'reset' }, busy],
    [
      { status: 429, headers: { 'retry-after': '9' } },
      { ...busy, details: { retry_after: 9 } },
    ],
    [{ status: 409 }, { code: 'CONFLICT' }],
    [
      { status: 422, body: '{"detail":[{"loc":["body","url"],"msg":"bad host","type":"x"}]}' },
      { code: 'INVALID_REQUEST_BODY', message: 'Svix does not accept this: url: bad host' },
    ],
  ])('tell the caller what %j means for them', async (answer, refusal) => {
    const webhooks = webhooksOf();
    await webhooks.listEndpoints(MERCHANT);
    server.script('endpoint.create', answer);
    await expect(webhooks.createEndpoint(MERCHANT, ENDPOINT)).rejects.toMatchObject({ refusal: publicly(refusal) });
  });

  test('say in the log what a recovery waits for', async () => {
    const endpoint = await webhooksOf().createEndpoint(MERCHANT, ENDPOINT);
    const recovering = new SvixRecovery({ pool: database.pool, account: account(), box: BOX, clock, logger });
    const window = { since: new Date(now.getTime() - 60_000), until: now, createdAt: now, finishedAt: null };
    const begun = { merchantId: MERCHANT, recoveryId: 'rcv_1', endpointId: endpoint.id, place: null, reason: null };
    const recovery = { ...window, ...begun, state: 'running', phase: 'kept', resent: 0, rebuilt: 0 } as const;
    server.script('message.list', { status: 500 });
    expect(await recovering.sendKept(recovery, endpoint)).toEqual({ kind: 'postponed', seconds: 30 });
    const msg = expect.stringContaining('waits for Svix');
    expect(lines.at(-1)).toMatchObject({ recoveryId: 'rcv_1', failure: 'unavailable', msg });
  });

  test('cannot be made or linked to while Svix denies the application', async () => {
    const webhooks = webhooksOf();
    server.script('endpoint.create', { status: 404 }, { status: 404 });
    await expect(webhooks.createEndpoint(MERCHANT, ENDPOINT)).rejects.toMatchObject({ refusal: publicly(busy) });
    server.script('authentication.appPortalAccess', { status: 404 }, { status: 404 });
    await expect(webhooks.portalUrl(MERCHANT)).rejects.toMatchObject({ refusal: publicly(busy) });
  });

  test.each([
    [{ url: 'http://merchant.example' }, 'url: wants an https URL.'],
    [{ url: 'https://localhost/hook' }, 'url: must lead to a public address.'],
    [{ eventTypes: ['wallet.exploded'] }, 'event_types: there is no event type wallet.exploded.'],
  ])('are checked before Svix is asked: %j', async (change, text) => {
    const webhooks = webhooksOf(account(), false);
    const refusal = publicly({ code: 'INVALID_REQUEST_BODY', message: expect.stringContaining(text) });
    await expect(webhooks.createEndpoint(MERCHANT, { ...ENDPOINT, ...change })).rejects.toMatchObject({ refusal });
    await expect(webhooks.updateEndpoint(MERCHANT, 'ep_x', change)).rejects.toMatchObject({ refusal });
    expect(server.requests).toEqual([]);
  });

  test('an example of an event type that does not exist is refused', async () => {
    const refusal = publicly({ code: 'INVALID_REQUEST_BODY', message: expect.stringContaining('event_type:') });
    await expect(webhooksOf().sendTest(MERCHANT, 'ep_x', 'nope')).rejects.toMatchObject({ refusal });
  });
});

describe('announcing through Svix', () => {
  test('a crash between sending and marking repeats the same id and bytes, and Svix keeps one message', async () => {
    const config = { SVIX_TOKEN: new Secret(SVIX_TOKEN), SVIX_SERVER_URL: server.url, ALLOW_PRIVATE_ENDPOINTS: false };
    const { pool } = database;
    const outgoing = createOutgoing({ config, pool, boss, clock, logger, box: BOX });
    const [customerId = ''] = await makeCustomers(pool, ['svix']);
    await transaction(pool, (tx) => postBatch(tx, [posting({ customerId, amountMinor: 5000 })], { ...SETTINGS, now }));
    const { publisher } = outgoing;
    const crashing: Publisher = {
      concurrency: 1,
      pausedForSeconds: () => 0,
      send: (messages) => publisher.send(messages),
      record: () => Promise.reject(new Error('the process dies here')),
    };
    expect(await announce({ pool, publisher: crashing, logger, maxSeconds: 10 })).toMatchObject({
      wallets: 0,
      failed: 2,
    });
    await pool.query('update unannounced_wallet set retry_at = null');
    // Whoever comes after it knows nothing of what Svix has taken.
    const next = createOutgoing({ config, pool, boss, clock, logger, box: BOX });
    const again = await announce({ pool, publisher: next.publisher, logger, maxSeconds: 10 });
    expect(again).toMatchObject({ wallets: 2, messages: 3 });
    const calls = server
      .calls('message.create')
      .map(({ idempotencyKey, body }) => JSON.stringify([idempotencyKey, body]));
    expect(calls).toHaveLength(6);
    expect(new Set(calls).size).toBe(3);
    expect(server.accepted(MERCHANT)).toHaveLength(3);
    await Promise.all([outgoing.close(), next.close()]);
  });

  test('without a server URL the SDK chooses the region of the token', async () => {
    const config = { SVIX_TOKEN: new Secret('sk.eu'), SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: false };
    const outgoing = createOutgoing({ config, pool: database.pool, boss, clock, logger, box: BOX });
    expect(outgoing.publisher.concurrency).toBeGreaterThan(4);
    await outgoing.close();
  });
});
