import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { workDeliverWebhook } from '../../jobs/deliver-webhook.ts';
import { workRequeueStrandedEvents } from '../../jobs/requeue-stranded-events.ts';
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

test('a batch is delivered at once, a failure is scheduled, and one broken job fails no other', async () => {
  const input = { url: receiver.url, description: '', eventTypes: null, disabled: false };
  const { id } = await outgoing.webhooks.createEndpoint(MERCHANT, input);
  receiver.answerWith({ status: 500 });
  await boss.send('deliver-webhook', { nonsense: true }, { retryLimit: 0 });
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
  const dead = await eventually('the broken job to be dead-lettered', async () => {
    const [job] = await boss.findJobs('deliver-webhook.dead');
    return job;
  });
  expect(dead.data).toEqual({ nonsense: true });
  await eventually('the failed delivery to be tried again in 5 s', () => receiver.received.length === 41);
});

test('a delivery whose job was lost is found by the sweep', async () => {
  const input = { url: receiver.url, description: '', eventTypes: null, disabled: false };
  const { id } = await outgoing.webhooks.createEndpoint(MERCHANT, input);
  const messageId = await outgoing.webhooks.sendTest(MERCHANT, id, 'wallet.created');
  // Its endpoint hears of it before it is recorded, and what is recorded late would undo what follows.
  await eventually('the delivery to be recorded', async () => {
    const text = "select from webhook_delivery where message_id = $1 and state = 'delivered'";
    return (await database.pool.query(text, [messageId])).rowCount === 1;
  });
  await database.pool.query(
    "update webhook_delivery set state = 'pending', next_attempt_at = now() - interval '1 hour' where message_id = $1",
    [messageId],
  );
  await boss.send('requeue-stranded-events', {});
  await workRequeueStrandedEvents(boss, { pool: database.pool, boss, clock: systemClock, logger, waitSeconds: 900 });
  await eventually(
    'the delivery to be done again',
    () => receiver.payloads.filter((payload) => payload.id === messageId).length === 2,
  );
});
