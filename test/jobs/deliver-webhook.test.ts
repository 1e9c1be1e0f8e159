import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { workDeliverWebhook } from '../../jobs/deliver-webhook.ts';
import { systemClock } from '../../src/clock.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createOutgoing, type Outgoing } from '../../src/outgoing/index.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

const logger = createLogger('silent', 'test');
let database: TestDatabase;
let boss: PgBoss;
let outgoing: Outgoing;
let receiver: WebhookReceiver;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a']);
  boss = createBoss({
    databaseUrl: database.url,
    directUrl: database.directUrl,
    applicationName: 'test',
    maxConnections: 6,
    works: true,
    logger,
  });
  await boss.start();
  const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: true };
  outgoing = createOutgoing({ config, pool: database.pool, boss, clock: systemClock, logger, box: BOX });
  receiver = await WebhookReceiver.start();
});
afterAll(async () => {
  await boss.stop({ graceful: false });
  await outgoing.close();
  await receiver.close();
  await database.drop();
});

test('what is due is delivered at once, a failure is scheduled, and a job of a release before is only a wake-up', async () => {
  const input = { url: receiver.url, description: '', eventTypes: null, disabled: false };
  const { id } = await outgoing.webhooks.createEndpoint(MERCHANT, input);
  receiver.answerWith({ status: 500 });
  await boss.send('deliver-webhook', { merchantId: MERCHANT, messageId: 'whm_gone', endpointId: id });
  for (let index = 0; index < 40; index += 1) await outgoing.webhooks.sendTest(MERCHANT, id, 'wallet.created');
  await workDeliverWebhook(boss, outgoing);
  await eventually('every delivery to be tried', () => receiver.received.length >= 40);
  const counts = await eventually('every try to be recorded', async () => {
    const { rows } = await database.pool.query(
      'select state, count(*)::int from webhook_delivery where attempts > 0 group by state order by state',
    );
    return rows.reduce((sum, row) => sum + row.count, 0) === 40 && rows;
  });
  expect(counts).toEqual([
    { state: 'delivered', count: 39 },
    { state: 'pending', count: 1 },
  ]);
  await eventually('the failed delivery to be tried again in 5 s', () => receiver.received.length === 41);
});

test('a delivery of which nobody was woken is found', async () => {
  const input = { url: receiver.url, description: '', eventTypes: null, disabled: false };
  const { id } = await outgoing.webhooks.createEndpoint(MERCHANT, input);
  await database.pool.query(
    `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at)
     values ($1, 'whm_quiet', 'wallet.created', '{"id": "whm_quiet"}', now())`,
    [MERCHANT],
  );
  await database.pool.query(
    `insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
     values ($1, 'whm_quiet', $2, 'pending', now())`,
    [MERCHANT, id],
  );
  await eventually('it to be delivered', () => receiver.payloads.some((payload) => payload.id === 'whm_quiet'));
});
