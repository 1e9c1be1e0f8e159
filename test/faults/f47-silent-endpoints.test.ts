import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { workDeliverWebhook } from '../../jobs/deliver-webhook.ts';
import { systemClock } from '../../src/clock.ts';
import { createBoss } from '../../src/db/boss.ts';
import { Deliverer } from '../../src/outgoing/embedded/deliverer.ts';
import { Settlements } from '../../src/outgoing/embedded/settlements.ts';
import { DeliverySlots } from '../../src/outgoing/embedded/slots.ts';
import { createOutgoing, type Outgoing } from '../../src/outgoing/index.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { eventually } from '../support/wait.ts';

/**
 * F47: endpoints of one merchant have failed for a while and answer nothing, with several messages waiting for each. They are probed by a few
 * slots of the worker; another merchant's webhooks are delivered while they are silent.
 */
const ENDPOINTS = 50;
const MESSAGES = 3;
const OTHER = 'bus_other';

const logger = createLogger('silent', 'test');
let database: TestDatabase;
let boss: PgBoss;
let outgoing: Outgoing;

beforeAll(async () => {
  database = await createTestDatabase();
  for (const id of [MERCHANT, OTHER])
    await database.pool.query("insert into merchant (merchant_id, name, mode) values ($1, 'One', 'test')", [id]);
  boss = createBoss({ databaseUrl: database.url, applicationName: 'test', maxConnections: 6, works: true, logger });
  await boss.start();
  const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: true };
  outgoing = createOutgoing({ config, pool: database.pool, boss, clock: systemClock, logger, box: BOX });
});
afterAll(async () => {
  await boss.stop({ graceful: false });
  await outgoing.close();
  await database.drop();
});

it('webhooks of a merchant are delivered while every endpoint of another is silent', async () => {
  const input = { description: '', eventTypes: null, disabled: false };
  for (let index = 0; index < ENDPOINTS; index += 1) {
    const { id } = await outgoing.webhooks.createEndpoint(MERCHANT, { ...input, url: `http://127.0.0.1:1/${index}` });
    for (let sent = 0; sent < MESSAGES; sent += 1) await outgoing.webhooks.sendTest(MERCHANT, id, 'wallet.created');
  }
  await database.pool.query("update webhook_endpoint set failing_since = now() - interval '1 hour'");
  const healthy = await outgoing.webhooks.createEndpoint(OTHER, { ...input, url: 'http://127.0.0.1:1/healthy' });
  for (let sent = 0; sent < 20; sent += 1) await outgoing.webhooks.sendTest(OTHER, healthy.id, 'wallet.created');

  const silence = Promise.withResolvers<void>();
  const silent = new Map<string, number>();
  let most = 0;
  const answered = { error: null, response: '', durationMs: 1, timedOut: false, retryAfterSeconds: null };
  const sender = {
    post: async ({ url }: { readonly url: string }) => {
      if (!url.endsWith('/healthy')) {
        silent.set(url, (silent.get(url) ?? 0) + 1);
        most = Math.max(most, silent.size);
        await silence.promise;
        silent.delete(url);
      }
      return { ...answered, statusCode: 204 };
    },
  };
  const shared = { pool: database.pool, clock: systemClock, logger };
  const slots = new DeliverySlots();
  const deliverer = new Deliverer({ ...shared, settlements: new Settlements(shared), sender, box: BOX, slots });
  await workDeliverWebhook(boss, { deliverer });
  try {
    await eventually('every webhook of the other merchant', async () => {
      const text = "select from webhook_delivery where merchant_id = $1 and state = 'delivered'";
      return (await database.pool.query(text, [OTHER])).rowCount === 20;
    });
    await eventually('the silent ones to be probed or put off', async () => {
      // A lease ends within 25 s; what is put off is so for 15 s at least.
      const text = `select count(*) filter (where next_attempt_at <= now())::int as due from webhook_delivery
        where merchant_id = $1`;
      const { rows } = await database.pool.query(text, [MERCHANT]);
      return silent.size > 0 && rows[0].due === 0;
    });
    expect([...silent.values()].every((posts) => posts === 1)).toBe(true);
    expect(most).toBeLessThanOrEqual(4);
    // What was put off is no try, and is not lost.
    const { rows } = await database.pool.query(
      'select sum(attempts)::int as tries from webhook_delivery where merchant_id = $1',
      [MERCHANT],
    );
    expect(rows).toEqual([{ tries: 0 }]);
  } finally {
    silence.resolve();
    await deliverer.close();
  }
});
