import type { PgBoss } from 'pg-boss';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sign } from '../../src/crypto/standard-webhooks.ts';
import { onCitus } from '../../src/db/backend.ts';
import { createBoss } from '../../src/db/boss.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { Deliverer } from '../../src/outgoing/embedded/deliverer.ts';
import { DirectSender } from '../../src/outgoing/embedded/send.ts';
import { Settlements } from '../../src/outgoing/embedded/settlements.ts';
import { DeliverySlots } from '../../src/outgoing/embedded/slots.ts';
import { storeHeaders } from '../../src/outgoing/header-store.ts';
import { createOutgoing, type Outgoing } from '../../src/outgoing/index.ts';
import type { EndpointInput, WebhookEndpoint } from '../../src/outgoing/outgoing.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { NEWEST } from '../support/attempts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { publicly } from '../support/refusals.ts';
import { BOX } from '../support/secrets.ts';
import { movedBy } from '../support/tampering.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/** Aims at the embedded sender: real Postgres and jobs, a real receiver that verifies with Svix's own package. */

const logger = createLogger('silent', 'test');
let database: TestDatabase;
let boss: PgBoss;
let outgoing: Outgoing;
let receiver: WebhookReceiver;
let offsetMs = 0;
const clock = { now: () => new Date(Date.now() + offsetMs) };
const DAY_MS = 86_400_000;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a']);
  await database.pool.query("insert into merchant (merchant_id, name, mode) values ('bus_other', 'Other', 'test')");
  boss = createBoss({ databaseUrl: database.url, applicationName: 'test', maxConnections: 4, works: false, logger });
  await boss.start();
  const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: true };
  outgoing = createOutgoing({ config, pool: database.pool, boss, clock, logger, box: BOX });
  await announceAll();
});
afterAll(async () => {
  await outgoing.close();
  await boss.stop({ graceful: false });
  await database.drop();
});
beforeEach(async () => {
  offsetMs = 0;
  receiver = await WebhookReceiver.start();
});
afterEach(async () => {
  await receiver.close();
  await database.pool.query('delete from webhook_endpoint');
  await boss.deleteAllJobs('deliver-webhook');
});

const makeDeliverer = (sender: Pick<DirectSender, 'post'>) => {
  const shared = { pool: database.pool, clock, logger };
  const settlements = new Settlements(shared);
  return new Deliverer({ ...shared, settlements, sender, box: BOX, slots: new DeliverySlots() });
};

/** A deliverer whose receiver answers when it is told to. */
function slowly(statusCode: number) {
  const [begun, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const post = async () => {
    begun.resolve();
    await answered.promise;
    return { statusCode, error: null, response: '', durationMs: 1, timedOut: false, retryAfterSeconds: null };
  };
  return { deliverer: makeDeliverer({ post }), begun: begun.promise, answer: answered.resolve };
}

const announceAll = () => announce({ pool: database.pool, publisher: outgoing.publisher, logger, maxSeconds: 10 });

const credit = (amountMinor = 5000) =>
  transaction(database.pool, (tx) => postBatch(tx, [posting({ amountMinor })], { ...SETTINGS, now: new Date() }));

const makeEndpoint = (overrides: Partial<EndpointInput> = {}): Promise<WebhookEndpoint> =>
  outgoing.webhooks.createEndpoint(MERCHANT, {
    url: receiver.url,
    description: '',
    eventTypes: null,
    disabled: false,
    ...overrides,
  });

/** The endpoint's newest attempts. */
const attemptsOf = async (endpointId: string) =>
  (await outgoing.webhooks.listAttempts(MERCHANT, endpointId, NEWEST))?.attempts ?? null;

/** Tries what is due, and returns how many there were. */
const deliverAll = (deliverer = outgoing.deliverer): Promise<number> => deliverer.deliverDue();

/** The time of the next try comes. */
const passTime = () =>
  database.pool.query('update webhook_delivery set next_attempt_at = now() where next_attempt_at is not null');

async function deliveries() {
  const { rows } = await database.pool.query(
    'select state, attempts, extract(epoch from next_attempt_at - now())::float8 as wait_seconds from webhook_delivery order by message_id',
  );
  return rows;
}

async function secretOf({ id }: WebhookEndpoint): Promise<string> {
  const secret = await outgoing.webhooks.getSecret(MERCHANT, id);
  if (secret === null) throw new Error('the endpoint has no secret');
  return secret;
}

/** What the receiver got, each request once and verified. */
function onlyRequest() {
  const [request, ...more] = receiver.received;
  if (request === undefined || more.length > 0) throw new Error(`${receiver.received.length} requests instead of one`);
  return request;
}

describe('a delivery', () => {
  test('is a signed POST of the very payload, recorded as an attempt', async () => {
    const endpoint = await makeEndpoint();
    await credit();
    await announceAll();
    receiver.answerWith({ status: 200, body: 'thanks' });
    expect(await deliverAll()).toBe(1);
    const request = onlyRequest();
    receiver.verify(request, await secretOf(endpoint));
    expect(request.headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': expect.stringContaining('Chokin'),
      'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
    });
    const payload = JSON.parse(request.body);
    expect(payload).toMatchObject({
      id: request.headers['webhook-id'],
      type: 'wallet.balance.changed',
      business_id: MERCHANT,
      data: { customer_id: 'cus_a', currency: 'USD' },
    });
    expect(await attemptsOf(endpoint.id)).toMatchObject([
      {
        messageId: payload.id,
        endpointId: endpoint.id,
        eventType: 'wallet.balance.changed',
        status: 'succeeded',
        statusCode: 200,
        error: null,
        response: 'thanks',
      },
    ]);
    expect(await deliveries()).toMatchObject([{ state: 'delivered', attempts: 1, wait_seconds: null }]);
    expect(await deliverAll()).toBe(0);
  });

  test('goes to every endpoint that wants the event type and is enabled, and nothing is kept that nobody wants', async () => {
    await makeEndpoint({ url: `${receiver.url}/all` });
    await makeEndpoint({ url: `${receiver.url}/changed`, eventTypes: ['wallet.balance.changed'] });
    await makeEndpoint({ url: `${receiver.url}/low`, eventTypes: ['wallet.balance.low', 'wallet.created'] });
    await makeEndpoint({ url: `${receiver.url}/disabled`, disabled: true });
    await credit();
    await announceAll();
    await deliverAll();
    expect(receiver.received.map(({ path }) => path).toSorted()).toEqual(['/hook/all', '/hook/changed']);
    await database.pool.query('delete from webhook_endpoint');
    const before = await database.pool.query('select count(*) from webhook_message');
    await credit();
    await announceAll();
    const after = await database.pool.query('select count(*) from webhook_message');
    expect(after.rows).toEqual(before.rows);
  });

  test('is not repeated when the marking of the wallet is: jobs and mark are one transaction', async () => {
    await makeEndpoint();
    await credit();
    const { publisher } = outgoing;
    const crashing = {
      concurrency: 1,
      pausedForSeconds: () => 0,
      send: publisher.send,
      record: async (...args: Parameters<typeof publisher.record>) => {
        await publisher.record(...args);
        throw new Error('the process dies here');
      },
    };
    expect(await announce({ pool: database.pool, publisher: crashing, logger, maxSeconds: 5 })).toMatchObject({
      failed: 1,
    });
    expect(await deliverAll()).toBe(0);
    await database.pool.query('update unannounced_wallet set retry_at = null');
    expect(await announceAll()).toMatchObject({ wallets: 1 });
    expect(await deliverAll()).toBe(1);
  });

  test('that fails follows Svix’s schedule to its end, under the same id and bytes', async () => {
    await makeEndpoint();
    await credit();
    await announceAll();
    receiver.answerWith(...Array.from({ length: 8 }, () => ({ status: 500, body: 'broken' })));
    for (const step of [5, 300, 1800, 7200, 18_000, 36_000, 36_000]) {
      expect(await deliverAll()).toBe(1);
      const [delivery] = await deliveries();
      expect(delivery).toMatchObject({ state: 'pending' });
      expect(delivery?.wait_seconds).toBeGreaterThan(step * 0.8 - 4);
      expect(delivery?.wait_seconds).toBeLessThan(step * 1.2);
      expect(await deliverAll()).toBe(0);
      await passTime();
    }
    expect(await deliverAll()).toBe(1);
    expect(await deliveries()).toMatchObject([{ state: 'failed', attempts: 8, wait_seconds: null }]);
    expect(await deliverAll()).toBe(0);
    expect(new Set(receiver.received.map(({ body, headers }) => `${headers['webhook-id']} ${body}`)).size).toBe(1);
  });

  test.each([
    [
      'a redirect',
      { status: 302, headers: { location: 'https://merchant.example' } },
      { statusCode: 302, error: null },
      5,
    ],
    ['a 410', { status: 410 }, { statusCode: 410, error: null }, 5],
    ['a 429', { status: 429 }, { statusCode: 429, error: null }, 60],
    ['a wish to wait', { status: 503, headers: { 'retry-after': '8' } }, { statusCode: 503, error: null }, 8],
    [
      'a reset',
      { connection: 'reset' as const },
      { statusCode: null, error: expect.stringMatching(/^(ECONNRESET|UND_ERR_SOCKET)$/), response: null },
      5,
    ],
    [
      'a hang',
      { connection: 'hang' as const },
      { statusCode: null, error: 'no answer within 0.5 s', response: null },
      60,
    ],
  ])('is tried again after %s', async (_, answer, attempt, waitSeconds) => {
    const timeoutMs = 'connection' in answer && answer.connection === 'hang' ? 500 : 10_000;
    const sender = new DirectSender({ clock, allowPrivate: true, timeoutMs });
    const endpoint = await makeEndpoint();
    await credit();
    await announceAll();
    receiver.answerWith(answer);
    await deliverAll(makeDeliverer(sender));
    expect(await attemptsOf(endpoint.id)).toMatchObject([{ status: 'failed', ...attempt }]);
    const [delivery] = await deliveries();
    expect(delivery).toMatchObject({ state: 'pending', attempts: 1 });
    expect(delivery?.wait_seconds).toBeGreaterThan(waitSeconds * 0.8 - 4);
    expect(delivery?.wait_seconds).toBeLessThan(waitSeconds * 1.2 + 1);
    await sender.close();
    await sender.close();
  });

  test('whose answer is large, binary or never ends is judged by its status, and 2 kB are kept', async () => {
    const sender = new DirectSender({ clock, allowPrivate: true, timeoutMs: 1_500 });
    const post = () =>
      sender.post({ url: receiver.url, messageId: 'msg_1', payload: '{}', secrets: ['whsec_AAAAAAAA'] });
    receiver.answerWith({ status: 200, body: 'x'.repeat(100_000) });
    expect((await post()).response).toHaveLength(2048);
    receiver.answerWith({ status: 200, body: 'a\0b' });
    expect(await post()).toMatchObject({ statusCode: 200, response: 'a\ufffdb' });
    receiver.answerWith({ status: 200, connection: 'stall' });
    expect(await post()).toMatchObject({ statusCode: 200, error: null, timedOut: false, response: 'begun' });
    await sender.close();
  });

  test('whose lease another worker took over is shown as an attempt, and decides nothing unless it was delivered', async () => {
    const endpoint = await makeEndpoint();
    await credit();
    await announceAll();
    for (const statusCode of [500, 204]) {
      const { deliverer, begun, answer } = slowly(statusCode);
      const late = deliverer.deliverDue();
      await begun;
      // The other worker is about it, and its lease ends later.
      await database.pool.query(
        `update webhook_delivery set next_attempt_at = ${movedBy('next_attempt_at', '10 seconds')}`,
      );
      answer();
      await late;
      const state = statusCode === 204 ? 'delivered' : 'pending';
      expect(await deliveries()).toMatchObject([{ state, attempts: statusCode === 204 ? 1 : 0 }]);
      await passTime();
    }
    expect((await attemptsOf(endpoint.id))?.map((one) => one.statusCode).toSorted()).toEqual([204, 500]);
  });

  test('that failed late, after a resend was delivered, stays delivered', async () => {
    const endpoint = await makeEndpoint();
    await credit();
    await announceAll();
    const { rows } = await database.pool.query('select message_id from webhook_delivery');
    const { deliverer, begun, answer } = slowly(500);
    const first = deliverer.deliverDue();
    await begun;
    expect(await outgoing.webhooks.resend(MERCHANT, endpoint.id, rows[0].message_id)).toBe(true);
    expect(await deliverAll()).toBe(1);
    answer();
    await first;
    expect(await deliveries()).toMatchObject([{ state: 'delivered', wait_seconds: null }]);
    expect(await deliverAll()).toBe(0);
    expect(receiver.received).toHaveLength(1);
    expect((await attemptsOf(endpoint.id))?.map(({ status }) => status).toSorted()).toEqual(['failed', 'succeeded']);
  });

  test('is put off after a failure of our own, which is no try', async () => {
    await makeEndpoint();
    await credit();
    await announceAll();
    await database.pool.query('alter table webhook_attempt rename to lost');
    await deliverAll();
    await database.pool.query('alter table lost rename to webhook_attempt');
    const [delivery] = await deliveries();
    expect(delivery).toMatchObject({ state: 'pending', attempts: 0 });
    expect(delivery?.wait_seconds).toBeGreaterThan(200);
    await passTime();
    expect(await deliverAll()).toBe(1);
    expect(await deliveries()).toMatchObject([{ state: 'delivered', attempts: 1 }]);
  });

  test('whose endpoint’s secret does not open holds up no other', async () => {
    const broken = await makeEndpoint({ url: `${receiver.url}/broken` });
    await makeEndpoint({ url: `${receiver.url}/well` });
    await database.pool.query("update webhook_endpoint set secret = 'v1.00000000.nonsense' where endpoint_id = $1", [
      broken.id,
    ]);
    await credit();
    await announceAll();
    expect(await deliverAll()).toBe(2);
    expect(receiver.received.map(({ path }) => path)).toEqual(['/hook/well']);
    const states = (await deliveries()).map(({ state, attempts }) => `${state} ${attempts}`);
    expect(states.toSorted()).toEqual(['delivered 1', 'pending 0']);
  });

  test('of an endpoint that was deleted or disabled meanwhile sends nothing', async () => {
    const deleted = await makeEndpoint();
    await credit();
    await announceAll();
    expect(await outgoing.webhooks.deleteEndpoint(MERCHANT, deleted.id)).toBe(true);
    expect(await deliverAll()).toBe(0);
    const disabled = await makeEndpoint();
    await credit();
    await announceAll();
    await outgoing.webhooks.updateEndpoint(MERCHANT, disabled.id, { disabled: true });
    expect(await deliverAll()).toBe(1);
    expect(receiver.received).toEqual([]);
    expect(await deliveries()).toMatchObject([{ state: 'failed', attempts: 0, wait_seconds: null }]);
  });
});

/** Messages with a delivery each, and an attempt each, as bulk. */
async function seedDeliveries(endpointId: string, count: number, state: 'pending' | 'delivered'): Promise<void> {
  const prefix = `msg_${endpointId}_`;
  const due = state === 'pending' ? 'now()' : 'null';
  const numbers = 'generate_series(1, $3) as n';
  await database.pool.query(
    `insert into webhook_message select $1, $2 || n, 'wallet.created', '{}', now() from ${numbers}`,
    [MERCHANT, prefix, count],
  );
  await database.pool.query(
    `insert into webhook_delivery select $1, $2 || n, $4, '${state}', 1, ${due} from ${numbers}`,
    [MERCHANT, prefix, count, endpointId],
  );
  await database.pool.query(
    `insert into webhook_attempt select $1, $4 || n, $2 || n, $4, 200, null, '', 1, now() from ${numbers}`,
    [MERCHANT, prefix, count, endpointId],
  );
}

describe('an endpoint', () => {
  // What one Postgres plans: a node of Citus plans the same of its own parts of the tables.
  test.skipIf(onCitus())('with thousands of deliveries is deleted along indexes', async ({ skip }) => {
    const { rows: servers } = await database.pool.query<{ isOld: boolean }>(
      `select current_setting('server_version_num')::integer < 160000 as "isOld"`,
    );
    skip(servers[0]?.isOld === true, 'explain (generic_plan) came with Postgres 16');
    const [doomed, kept] = [await makeEndpoint(), await makeEndpoint()];
    await seedDeliveries(doomed.id, 5000, 'delivered');
    await seedDeliveries(kept.id, 5, 'delivered');
    await database.pool.query('analyze webhook_delivery, webhook_attempt');
    const plan = async (statement: string) => {
      const { rows } = await database.pool.query<{ 'QUERY PLAN': string }>(`explain (generic_plan) ${statement}`);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    // What Postgres itself runs for the foreign keys.
    expect(await plan('delete from only webhook_delivery where $1 = merchant_id and $2 = endpoint_id')).toContain(
      'webhook_delivery_by_endpoint',
    );
    expect(
      await plan('delete from only webhook_attempt where $1 = merchant_id and $2 = message_id and $3 = endpoint_id'),
    ).toContain('webhook_attempt_by_delivery');
    expect(await outgoing.webhooks.deleteEndpoint(MERCHANT, doomed.id)).toBe(true);
    const { rows } = await database.pool.query(
      'select endpoint_id, count(*) from webhook_delivery d join webhook_attempt a using (merchant_id, message_id, endpoint_id) group by 1',
    );
    expect(rows).toEqual([{ endpoint_id: kept.id, count: 5 }]);
  });

  test('that loses a deadlock while it is deleted is deleted all the same', async () => {
    const { id } = await makeEndpoint();
    await seedDeliveries(id, 1, 'delivered');
    const client = await database.pool.connect();
    try {
      await client.query('begin');
      // The other side looks for the deadlock first, and so it is the one that is cut off.
      await client.query("set local deadlock_timeout = '60s'");
      await client.query(
        "select 1 from webhook_delivery where merchant_id = 'bus_default' and endpoint_id = $1 for update",
        [id],
      );
      const deleted = outgoing.webhooks.deleteEndpoint(MERCHANT, id);
      await eventually(
        'the deletion to wait for the delivery',
        async () => (await waitingForLocks(database.pool)) === 1,
      );
      // As a delivery does that notes its endpoint's failure last.
      await client.query(
        "update webhook_endpoint set failing_since = now() where merchant_id = 'bus_default' and endpoint_id = $1",
        [id],
      );
      await client.query('commit');
      expect(await deleted).toBe(true);
    } finally {
      client.release();
    }
  });

  test('that was disabled can ask afterwards for what it missed', async () => {
    const endpoint = await makeEndpoint({ disabled: true });
    await credit();
    await announceAll();
    expect(await deliverAll()).toBe(0);
    expect(await deliveries()).toMatchObject([{ state: 'failed', attempts: 0, wait_seconds: null }]);
    expect(await attemptsOf(endpoint.id)).toEqual([]);
    const { rows } = await database.pool.query('select message_id from webhook_delivery');
    const messageId = rows[0]?.message_id;
    await outgoing.webhooks.updateEndpoint(MERCHANT, endpoint.id, { disabled: false });
    expect(await deliverAll()).toBe(0);
    expect(await outgoing.webhooks.resend(MERCHANT, endpoint.id, messageId)).toBe(true);
    receiver.answerWith({ status: 500 });
    expect(await deliverAll()).toBe(1);
    expect(await deliveries()).toMatchObject([{ state: 'pending', attempts: 1 }]);
    await passTime();
    expect(await deliverAll()).toBe(1);
    expect(await attemptsOf(endpoint.id)).toMatchObject([
      { messageId, status: 'succeeded' },
      { messageId, status: 'failed' },
    ]);
  });

  test('that only fails is disabled after five days; a success in between starts them anew', async () => {
    const endpoint = await makeEndpoint();
    const failOnce = async () => {
      await credit();
      await announceAll();
      receiver.answerWith({ status: 500 });
      await deliverAll();
      await database.pool.query("update webhook_delivery set state = 'failed', next_attempt_at = null");
    };
    await failOnce();
    offsetMs = 4 * DAY_MS;
    await failOnce();
    await credit();
    await announceAll();
    await deliverAll();
    offsetMs = 6 * DAY_MS;
    await failOnce();
    expect(await outgoing.webhooks.getEndpoint(MERCHANT, endpoint.id)).toMatchObject({ disabled: false });
    offsetMs = 11 * DAY_MS + 1000;
    await failOnce();
    expect(await outgoing.webhooks.getEndpoint(MERCHANT, endpoint.id)).toMatchObject({ disabled: true });
    await outgoing.webhooks.updateEndpoint(MERCHANT, endpoint.id, { disabled: false });
    await failOnce();
    expect(await outgoing.webhooks.getEndpoint(MERCHANT, endpoint.id)).toMatchObject({ disabled: false });
  });

  test('whose secret is rotated gets both signatures for a day, then the new one alone', async () => {
    const endpoint = await makeEndpoint();
    const before = await secretOf(endpoint);
    expect(before).toMatch(/^whsec_/);
    expect(Buffer.from(before.slice(6), 'base64')).toHaveLength(32);
    const after = await outgoing.webhooks.rotateSecret(MERCHANT, endpoint.id);
    expect(after).not.toBe(before);
    expect(after).toBe(await secretOf(endpoint));
    await outgoing.webhooks.sendTest(MERCHANT, endpoint.id, 'wallet.created');
    await deliverAll();
    const overlapping = onlyRequest();
    expect(String(overlapping.headers['webhook-signature']).split(' ')).toHaveLength(2);
    for (const secret of [before, after ?? '']) receiver.verify(overlapping, secret);
    await database.pool.query("update webhook_endpoint set old_secret_until = now() - interval '1 second'");
    await outgoing.webhooks.sendTest(MERCHANT, endpoint.id, 'wallet.created');
    await deliverAll();
    const [, later] = receiver.received;
    if (later === undefined) throw new Error('no second request');
    receiver.verify(later, after ?? '');
    expect(() => receiver.verify(later, before)).toThrow('No matching signature');
  });

  test('whose secret is rotated again within a day is signed for with every secret that is not a day old', async () => {
    const endpoint = await makeEndpoint();
    const secrets = [await secretOf(endpoint)];
    const receive = async () => {
      await outgoing.webhooks.sendTest(MERCHANT, endpoint.id, 'wallet.created');
      await deliverAll();
      const request = receiver.received.at(-1);
      if (request === undefined) throw new Error('nothing was received');
      return request;
    };
    for (let hour = 0; hour < 10; hour += 1) {
      offsetMs = hour * 3_600_000;
      secrets.push((await outgoing.webhooks.rotateSecret(MERCHANT, endpoint.id)) ?? '');
    }
    const first = await receive();
    expect(String(first.headers['webhook-signature']).split(' ')).toHaveLength(11);
    const refusal = publicly({ code: 'CONFLICT', message: expect.stringContaining('10 times within 24 hours') });
    await expect(outgoing.webhooks.rotateSecret(MERCHANT, endpoint.id)).rejects.toMatchObject({ refusal });
    expect(await secretOf(endpoint)).toBe(secrets.at(-1));
    offsetMs = DAY_MS + 1000;
    const later = await receive();
    const signatures = new Set(String(later.headers['webhook-signature']).split(' '));
    const timestamp = Number(later.headers['webhook-timestamp']);
    const isSigned = secrets.map((secret) =>
      signatures.has(
        sign(secret, { messageId: String(later.headers['webhook-id']), timestampSeconds: timestamp, body: later.body }),
      ),
    );
    expect(isSigned).toEqual([false, ...Array.from({ length: 10 }, () => true)]);
    expect(await outgoing.webhooks.rotateSecret(MERCHANT, endpoint.id)).toMatch(/^whsec_/);
  });

  test('that is given up is told of to the merchant’s other endpoints, in the transaction that disables it', async () => {
    const endpoint = await makeEndpoint({ description: 'Accounting', url: `${receiver.url}/broken?key=of-theirs` });
    await credit();
    await announceAll();
    receiver.answerWith({ status: 500 });
    await deliverAll();
    await makeEndpoint({ url: `${receiver.url}/other` });
    offsetMs = 5 * DAY_MS + 60_000;
    receiver.answerWith({ status: 500 });
    await passTime();
    await deliverAll();
    expect(await outgoing.webhooks.getEndpoint(MERCHANT, endpoint.id)).toMatchObject({ disabled: true });
    const { rows } = await database.pool.query('select event_type, payload from unsent_message');
    expect(rows).toMatchObject([{ event_type: 'endpoint.disabled' }]);
    expect(rows[0].payload).not.toContain('of-theirs');
    await announceAll();
    await deliverAll();
    const told = receiver.received.filter(({ path }) => path === '/hook/other').map(({ body }) => JSON.parse(body));
    expect(told).toMatchObject([
      {
        type: 'endpoint.disabled',
        business_id: MERCHANT,
        data: { endpoint_id: endpoint.id, description: 'Accounting', failing_since: expect.any(String) },
      },
    ]);
    expect(receiver.received.filter(({ path }) => path.startsWith('/hook/broken'))).toHaveLength(2);
  });

  test('gets its merchant’s headers with every request, and none in the place of ours', async () => {
    const endpoint = await makeEndpoint({ headers: { Authorization: 'Bearer of-theirs', 'X-Shop': 'one two' } });
    expect(endpoint.headerNames).toEqual(['Authorization', 'X-Shop']);
    await outgoing.webhooks.sendTest(MERCHANT, endpoint.id, 'wallet.created');
    await deliverAll();
    const request = onlyRequest();
    expect(request.headers).toMatchObject({ authorization: 'Bearer of-theirs', 'x-shop': 'one two' });
    const { rows } = await database.pool.query('select * from webhook_endpoint_headers');
    expect(JSON.stringify(rows)).not.toContain('of-theirs');
    // A row that somebody changed: it was never checked.
    const forged = { 'Webhook-Signature': 'v1,forged', 'webhook-id': 'msg_forged', 'Content-Type': 'text/plain' };
    await storeHeaders(autocommit(database.pool), BOX, {
      merchantId: MERCHANT,
      endpointId: endpoint.id,
      headers: forged,
    });
    await outgoing.webhooks.sendTest(MERCHANT, endpoint.id, 'wallet.created');
    await deliverAll();
    const later = receiver.received.at(-1);
    if (later === undefined) throw new Error('nothing was received');
    receiver.verify(later, await secretOf(endpoint));
    expect(JSON.stringify(later.headers)).not.toContain('forged');
  });

  test('gets a message again when asked, under its id; an exhausted one is tried once', async () => {
    const endpoint = await makeEndpoint();
    await credit();
    await announceAll();
    await deliverAll();
    const messageId = String(receiver.payloads[0]?.id);
    expect(await outgoing.webhooks.resend(MERCHANT, endpoint.id, messageId)).toBe(true);
    await deliverAll();
    expect(receiver.payloads.map(({ id }) => id)).toEqual([messageId, messageId]);
    await database.pool.query("update webhook_delivery set state = 'failed', attempts = 8");
    expect(await outgoing.webhooks.resend(MERCHANT, endpoint.id, messageId)).toBe(true);
    receiver.answerWith({ status: 500 });
    await deliverAll();
    expect(await deliveries()).toMatchObject([{ state: 'failed', attempts: 9 }]);
    // A message from before the endpoint was made can be asked for too.
    const younger = await makeEndpoint({ url: `${receiver.url}/younger` });
    expect(await outgoing.webhooks.resend(MERCHANT, younger.id, messageId)).toBe(true);
    await deliverAll();
    expect(receiver.received.at(-1)).toMatchObject({ path: '/hook/younger' });
    expect(await outgoing.webhooks.resend(MERCHANT, endpoint.id, 'msg_unknown')).toBe(false);
  });

  test('asked for again while a retry waits is tried now, and the retry that was planned is stale', async () => {
    const endpoint = await makeEndpoint();
    await credit();
    await announceAll();
    receiver.answerWith({ status: 500 }, { status: 500 });
    await deliverAll();
    await outgoing.webhooks.resend(MERCHANT, endpoint.id, String(receiver.payloads[0]?.id));
    expect(await deliverAll()).toBe(1);
    expect(receiver.received).toHaveLength(2);
    expect(await deliveries()).toMatchObject([{ state: 'pending', attempts: 2 }]);
    expect(await deliverAll()).toBe(0);
    await passTime();
    expect(await deliverAll()).toBe(1);
    expect(await deliveries()).toMatchObject([{ state: 'delivered', attempts: 3 }]);
  });

  test('that is disabled is neither tested nor resent to', async () => {
    const endpoint = await makeEndpoint({ disabled: true });
    const refusal = publicly({ code: 'CONFLICT', message: expect.stringContaining('disabled') });
    await expect(outgoing.webhooks.sendTest(MERCHANT, endpoint.id, 'wallet.created')).rejects.toMatchObject({
      refusal,
    });
    await expect(outgoing.webhooks.resend(MERCHANT, endpoint.id, 'msg_1')).rejects.toMatchObject({ refusal });
  });
});

describe('the merchant’s endpoints', () => {
  test('are made, read, changed and deleted', async () => {
    const { webhooks } = outgoing;
    const made = await makeEndpoint({ description: 'Shop', eventTypes: ['wallet.created'] });
    expect(made).toMatchObject({
      url: receiver.url,
      description: 'Shop',
      eventTypes: ['wallet.created'],
      disabled: false,
    });
    expect(await webhooks.getEndpoint(MERCHANT, made.id)).toEqual(made);
    const changed = await webhooks.updateEndpoint(MERCHANT, made.id, { description: '', eventTypes: null });
    expect(changed).toMatchObject({ id: made.id, url: made.url, description: '', eventTypes: null });
    expect(await webhooks.listEndpoints(MERCHANT)).toEqual([changed]);
    expect(await webhooks.deleteEndpoint(MERCHANT, made.id)).toBe(true);
    expect(await webhooks.listEndpoints(MERCHANT)).toEqual([]);
  });

  test.each(['another merchant’s', 'nobody’s'])('%s are null or false', async (whose) => {
    const { webhooks } = outgoing;
    const made = await makeEndpoint();
    const [merchantId, id] = whose === 'nobody’s' ? [MERCHANT, 'ep_unknown'] : ['bus_other', made.id];
    await credit();
    await announceAll();
    const { rows } = await database.pool.query('select message_id from webhook_message');
    expect(await webhooks.getEndpoint(merchantId, id)).toBeNull();
    expect(await webhooks.updateEndpoint(merchantId, id, { disabled: true })).toBeNull();
    expect(await webhooks.getSecret(merchantId, id)).toBeNull();
    expect(await webhooks.rotateSecret(merchantId, id)).toBeNull();
    expect(await webhooks.listAttempts(merchantId, id, NEWEST)).toBeNull();
    expect(await webhooks.sendTest(merchantId, id, 'wallet.created')).toBeNull();
    expect(await webhooks.resend(merchantId, id, rows[0]?.message_id)).toBe(false);
    expect(await webhooks.deleteEndpoint(merchantId, id)).toBe(false);
    expect(await webhooks.listEndpoints('bus_other')).toEqual([]);
  });

  test('are fifty at most', async () => {
    for (let index = 0; index < 50; index += 1) await makeEndpoint();
    await expect(makeEndpoint()).rejects.toMatchObject({ refusal: publicly({ code: 'CONFLICT' }) });
  });

  test('have no portal without Svix', async () => {
    const refusal = publicly({ code: 'NOT_IMPLEMENTED', message: expect.stringContaining('SVIX_TOKEN') });
    await expect(outgoing.webhooks.portalUrl(MERCHANT)).rejects.toMatchObject({ refusal });
  });
});
