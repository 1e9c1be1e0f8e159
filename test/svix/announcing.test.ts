import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { newId } from '../../src/ids.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { DirectSender } from '../../src/outgoing/embedded/send.ts';
import type { Publisher } from '../../src/outgoing/publisher.ts';
import { SvixAccount } from '../../src/outgoing/svix/account.ts';
import { identitiesFrom } from '../../src/outgoing/svix/applications.ts';
import { SvixPublisher } from '../../src/outgoing/svix/publisher.ts';
import { singleUid } from '../../src/outgoing/svix/single.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit } from '../support/fault-traffic.ts';
import { type SvixUnderTest, svixesUnderTest } from '../support/svix/under-test.ts';
import { eventually } from '../support/wait.ts';
import { type ReceivedWebhook, WebhookReceiver } from '../support/webhook-receiver.ts';

/** Merchants hear it: from a wallet's debit to the webhook at the merchant's, on the double and on a real server alike. */

const logger = createLogger('silent', 'test');

describe.each(svixesUnderTest())('through $name', ({ start }) => {
  let svix: SvixUnderTest;
  let rig: FaultRig;
  let receiver: WebhookReceiver;
  let application: string;
  let publisher: Publisher;

  beforeAll(async () => {
    svix = await start();
    receiver = await WebhookReceiver.start();
    rig = await FaultRig.start({ SVIX_TOKEN: svix.token, SVIX_SERVER_URL: svix.url, WALLET_CURRENCIES: 'USD' });
    await rig.startWebHere();
    const { pool } = rig.database;
    const identityOf = identitiesFrom(pool);
    application = (await identityOf('bus_default')).uid;
    const options = { token: new Secret(svix.token), serverUrl: svix.url, clock: systemClock, identityOf };
    publisher = new SvixPublisher({ account: new SvixAccount(options), clock: systemClock, logger });
  });
  afterAll(async () => {
    for (const uid of [application, singleUid(application)]) await svix.request('DELETE', `/app/${uid}`);
    await rig.close();
    await Promise.all([receiver.close(), svix.close()]);
  });

  const path = '/webhook-endpoints';
  const newEndpoint = async (more: object = {}) => {
    const made = await rig.traffic.call('POST', path, { url: receiver.url, ...more });
    expect(made.status).toBe(200);
    const id: string = made.body.id;
    const { secret }: { secret: string } = (await rig.traffic.call('GET', `${path}/${id}/secret`)).body;
    return { id, secret, remove: () => rig.traffic.call('DELETE', `${path}/${id}`) };
  };
  const about = (customerId: string) => receiver.received.filter(({ body }) => body.includes(customerId));
  const arrivals = async (customerId: string, count: number) => {
    await eventually(`${count} webhooks about ${customerId}`, () => about(customerId).length >= count);
    return about(customerId);
  };
  const options = () => ({ pool: rig.database.pool, publisher, logger, maxSeconds: 20 });
  const payloadsOf = (webhooks: readonly ReceivedWebhook[]) => webhooks.map(({ body }) => JSON.parse(body));
  const attemptsOf = async (endpoint: string) =>
    (await rig.traffic.call('GET', `${path}/${endpoint}/attempts`)).body.items;

  it('a debit reaches the merchant, signed, in order, under one id that is ours', async () => {
    const { secret, remove } = await newEndpoint();
    const customerId = await rig.traffic.newCustomer(10_000);
    await announce(options());
    await rig.traffic.debit(newDebit(customerId, 300));
    await announce(options());
    const webhooks = await arrivals(customerId, 3);
    for (const webhook of webhooks) receiver.verify(webhook, secret);
    const told = payloadsOf(webhooks).toSorted((a, b) => a.data.version - b.data.version);
    expect(told).toMatchObject([
      { type: 'wallet.created', business_id: 'bus_default', data: { balance: 0, version: 0 } },
      { type: 'wallet.balance.changed', data: { balance: 10_000, version: 1, entries: [{ amount: 10_000, seq: 1 }] } },
      { type: 'wallet.balance.changed', data: { balance: 9_700, version: 2, entries: [{ amount: 300, seq: 2 }] } },
    ]);
    for (const { id } of told) {
      expect(id).toMatch(/^whm_/);
      // Svix knows the message by the same id.
      const known = await svix.request('GET', `/app/${application}/msg/${id}`);
      expect(known).toMatchObject({ status: 200, body: { eventId: id, payload: { id } } });
    }
    await remove();
  });

  it('a worker of its own does all that', async () => {
    const { secret, remove } = await newEndpoint({ event_types: ['wallet.balance.changed'] });
    const worker = await rig.startWorker();
    const customerId = await rig.traffic.newCustomer(10_000);
    await rig.traffic.debit(newDebit(customerId, 5));
    await rig.expectAllWell();
    await eventually('both entries to arrive', () => {
      const entries = payloadsOf(about(customerId)).flatMap(({ data }) => data.entries);
      return entries.length === 2;
    });
    for (const webhook of about(customerId)) receiver.verify(webhook, secret);
    expect(await worker.end('SIGTERM')).toBe(0);
    await remove();
  });

  it('a crash after sending repeats the ids, and the merchant gets each message once', async () => {
    const { remove } = await newEndpoint();
    const customerId = await rig.traffic.newCustomer(10_000);
    const crashing: Publisher = {
      concurrency: 1,
      pausedForSeconds: () => 0,
      send: (messages) => publisher.send(messages),
      record: () => Promise.reject(new Error('the process dies here')),
    };
    expect(await announce({ ...options(), publisher: crashing })).toMatchObject({ wallets: 0, failed: 1 });
    await arrivals(customerId, 2);
    await rig.database.pool.query('update unannounced_wallet set retry_at = null');
    expect(await announce(options())).toMatchObject({ wallets: 1, failed: 0 });
    await rig.traffic.debit(newDebit(customerId, 5));
    await announce(options());
    const ids = payloadsOf(await arrivals(customerId, 3)).map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
    expect(ids).toHaveLength(3);
    await remove();
  });

  it('a message that Svix has is sent: not again if it was tried, by a resend if it never was', async () => {
    const messageOf = (what: string) => {
      const messageId = newId('message');
      const payload = JSON.stringify({
        id: messageId,
        type: 'wallet.created',
        data: { customer_id: svix.unique(what) },
      });
      return { merchantId: 'bus_default', messageId, eventType: 'wallet.created', payload };
    };
    // As when our call was cut off after Svix took the message: it has it under another key.
    const post = async ({ messageId, eventType, payload }: ReturnType<typeof messageOf>) => {
      const body = { eventId: messageId, eventType, payload: JSON.parse(payload) };
      const { status } = await svix.request('POST', `/app/${application}/msg`, body);
      expect(status).toBe(202);
    };
    const never = messageOf('never');
    await post(never);
    const { remove } = await newEndpoint();
    const tried = messageOf('tried');
    await post(tried);
    await svix.attemptsOf(application, tried.messageId, 1);
    expect(await publisher.send([tried, never])).toEqual({ kind: 'sent' });
    const [resent] = await svix.attemptsOf(application, never.messageId, 1);
    expect(resent).toMatchObject({ triggerType: 1, statusText: 'success' });
    expect(about(never.messageId)).toHaveLength(1);
    expect(about(tried.messageId)).toHaveLength(1);
    await remove();
  });

  it('endpoints are made, changed, listed and removed, their secrets rotated up to a limit', async () => {
    const { id, secret, remove } = await newEndpoint({ event_types: ['wallet.balance.low'], description: 'Shop' });
    const shown = await rig.traffic.call('GET', `${path}/${id}`);
    expect(shown.body).toMatchObject({ id, url: receiver.url, event_types: ['wallet.balance.low'], disabled: false });
    expect((await rig.traffic.call('GET', path)).body).toEqual({ items: [shown.body] });
    const change = { event_types: null, disabled: true };
    expect((await rig.traffic.call('PATCH', `${path}/${id}`, change)).body).toMatchObject(change);
    const rotate = () => rig.traffic.call('POST', `${path}/${id}/secret/rotate`);
    const secrets = [secret];
    for (let rotation = 1; rotation <= 10; rotation += 1) secrets.push((await rotate()).body.secret);
    expect(new Set(secrets).size).toBe(11);
    expect(await rotate()).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect((await rig.traffic.call('GET', `${path}/${id}/secret`)).body.secret).toBe(secrets.at(-1));
    await remove();
    expect((await rig.traffic.call('GET', path)).body).toEqual({ items: [] });
    expect((await rig.traffic.call('GET', `${path}/${id}`)).status).toBe(404);
  });

  it('tests and resends arrive under the id that was told, and are listed with their type', async () => {
    const { id, secret, remove } = await newEndpoint({ headers: { 'X-Shop': 'one' } });
    const test = await rig.traffic.call('POST', `${path}/${id}/test`, { event_type: 'wallet.balance.low' });
    expect(test).toMatchObject({ status: 200, body: { message_id: expect.stringMatching(/^whm_/) } });
    const testId: string = test.body.message_id;
    await eventually('the test to arrive', () => about(testId)[0]);
    const [webhook] = about(testId);
    if (webhook === undefined) throw new Error('nothing arrived');
    receiver.verify(webhook, secret);
    expect(webhook.headers).toMatchObject({ 'x-shop': 'one' });
    expect(JSON.parse(webhook.body)).toMatchObject({
      id: testId,
      type: 'wallet.balance.low',
      business_id: 'bus_default',
    });
    const customerId = await rig.traffic.newCustomer(10_000);
    await announce(options());
    const [first] = payloadsOf(await arrivals(customerId, 2));
    const resent = await rig.traffic.call('POST', `${path}/${id}/messages/${first.id}/resend`);
    expect(resent).toMatchObject({ status: 200, body: { message_id: first.id } });
    await eventually('the message to arrive again', () => about(first.id).length === 2);
    const listed = await eventually('all attempts to be listed', async () => {
      const items = await attemptsOf(id);
      return items.length >= 4 ? items : null;
    });
    const told = listed.map(({ message_id, event_type, status, status_code }: Record<string, unknown>) => [
      ...[message_id, event_type, status, status_code],
    ]);
    expect(told).toContainEqual([testId, 'wallet.balance.low', 'succeeded', 204]);
    expect(told.filter(([messageId]: readonly unknown[]) => messageId === first.id)).toEqual([
      [first.id, first.type, 'succeeded', 204],
      [first.id, first.type, 'succeeded', 204],
    ]);
    await rig.traffic.call('PATCH', `${path}/${id}`, { disabled: true });
    const refused = { status: 409, body: { code: 'CONFLICT' } };
    expect(await rig.traffic.call('POST', `${path}/${id}/test`, { event_type: 'wallet.balance.low' })).toMatchObject(
      refused,
    );
    expect(await rig.traffic.call('POST', `${path}/${id}/messages/${first.id}/resend`)).toMatchObject(refused);
    await remove();
  });

  it('has no portal where Svix has none', async () => {
    expect(await rig.traffic.call('POST', '/webhook-portal')).toMatchObject({
      status: 501,
      body: { code: 'NOT_IMPLEMENTED' },
    });
  });

  describe('the signature, as Svix sends it by default', () => {
    const signed = async () => {
      const { id, secret, remove } = await newEndpoint();
      const test = await rig.traffic.call('POST', `${path}/${id}/test`, { event_type: 'wallet.created' });
      const webhook = await eventually('the test to arrive', () => about(test.body.message_id)[0]);
      await remove();
      return { secret, body: webhook.body, headers: textsOf(webhook) };
    };

    it('is verified by the svix library, and not by the Standard Webhooks library, which looks for webhook-* headers', async () => {
      const { secret, body, headers } = await signed();
      expect(() => new SvixWebhook(secret).verify(body, headers)).not.toThrow();
      expect(() => new StandardWebhook(secret).verify(body, headers)).toThrow('Missing required headers');
    });

    it('is verified by the Standard Webhooks library under the names that it looks for', async () => {
      const { secret, body, headers } = await signed();
      const renamed = Object.entries(headers).map(([name, value]) => [name.replace(/^svix-/, 'webhook-'), value]);
      expect(new StandardWebhook(secret).verify(body, Object.fromEntries(renamed))).toEqual(JSON.parse(body));
    });
  });
});

describe('the signature, as the embedded sender sends it', () => {
  it('is verified by the svix library and by the Standard Webhooks library', async () => {
    const receiver = await WebhookReceiver.start();
    const sender = new DirectSender({ clock: systemClock, allowPrivate: true });
    const secret = `whsec_${Buffer.alloc(24, 5).toString('base64')}`;
    const payload = '{"id":"whm_1"}';
    await sender.post({ url: receiver.url, messageId: 'whm_1', payload, secrets: [secret] });
    const [webhook] = receiver.received;
    if (webhook === undefined) throw new Error('nothing arrived');
    const headers = textsOf(webhook);
    expect(Object.keys(headers)).toEqual(
      expect.arrayContaining(['webhook-id', 'webhook-timestamp', 'webhook-signature']),
    );
    expect(() => new SvixWebhook(secret).verify(webhook.body, headers)).not.toThrow();
    expect(new StandardWebhook(secret).verify(webhook.body, headers)).toEqual({ id: 'whm_1' });
    await Promise.all([sender.close(), receiver.close()]);
  });
});

function textsOf({ headers }: ReceivedWebhook): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
