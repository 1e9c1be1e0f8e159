import { afterAll, beforeAll, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { newId } from '../../src/ids.ts';
import { applySharedJobs } from '../../src/inbox/apply-shared.ts';
import { storeEvents } from '../../src/inbox/store-events.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { claimShared, startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT } from '../support/ledger.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';

/**
 * F48: thousands of events of one merchant wait, or events of a megabyte each. Another merchant's events are applied beside them and
 * not behind them, and a batch never holds more bodies than it has memory for.
 */
const BACKLOG = 5_000;
/** The events of a transaction: of two jobs, since three would be too many. */
const BATCH = 200;
/** The jobs of the worker's claims. */
const CLAIM = 25;
const OTHER = 'mer_other';

const busy = testSource('stripe');
const calm = testSource('stripe', { merchantId: OTHER, sourceId: 'src_calm' });

let database: TestDatabase;
let inbox: TestInbox;
beforeAll(async () => {
  database = await createTestDatabase();
  for (const id of [MERCHANT, OTHER])
    await database.pool.query(
      "insert into merchant (merchant_id, name, mode) values ($1, 'One', 'test') on conflict do nothing",
      [id],
    );
  inbox = await startInbox(database, { sources: [busy, calm], works: false });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** Events of payments that are worth nothing to anybody, so that a batch of them is quick. */
async function store({ merchantId, sourceId }: typeof busy, count: number, bytes = 0): Promise<readonly string[]> {
  const padding = ' '.repeat(bytes);
  const events = Array.from({ length: count }, () => {
    const body = stripePaymentSucceeded({ amount: 0, metadata: {} }) + padding;
    const eventId = newId('event');
    const about = { deliveryKey: eventId, eventType: 'payment_intent.succeeded', provider: 'stripe' };
    const state = { state: 'pending' as const, detail: null, receivedAt: new Date(), origin: 'webhook' as const };
    return { eventId, merchantId, sourceId, ...about, ...state, body: Buffer.from(body) };
  });
  for (let at = 0; at < count; at += 100)
    await transaction(inbox.services.pool, (tx) => storeEvents(inbox.boss, tx, events.slice(at, at + 100)));
  return events.map(({ eventId }) => eventId);
}

/** Applies the first batch of a claim as the worker does, and puts the others back. @returns the ids of the events that were applied */
async function applyBatch(): Promise<readonly string[]> {
  const shared = await claimShared(inbox.boss, CLAIM);
  const results = await applySharedJobs(inbox.services, shared, { runMs: 0 });
  expect(results.every(({ status }) => status === 'completed')).toBe(true);
  const ids = shared.flatMap(({ events }) => events.map(({ eventId }) => eventId));
  const { rows } = await database.pool.query<{ event_id: string }>(
    "select event_id from provider_event where event_id = any ($1) and state = 'applied'",
    [ids],
  );
  return rows.map(({ event_id }) => event_id);
}

const drained = async () => {
  while ((await applyBatch()).length > 0);
};

it("a merchant's event is applied with the next batch, though 5,000 of another merchant have waited longer", async () => {
  const waiting = await store(busy, BACKLOG);
  const [single = ''] = await store(calm, 1);

  const applied = await applyBatch();

  expect(applied).toHaveLength(BATCH + 1);
  expect(applied).toContain(single);
  // Nothing of the backlog is overtaken by what comes after it, however short the backlog has become.
  const first = new Set(waiting.slice(0, BATCH));
  expect(applied.filter((id) => first.has(id))).toHaveLength(BATCH);
  const [late = ''] = await store(busy, 1);
  const { rows } = await database.pool.query<{ event_id: string }>(
    `select e ->> 1 as event_id from pgboss.job, jsonb_array_elements(data -> 'events') with ordinality as given (e, place)
     where name = 'apply-provider-events' and state = 'created' order by priority desc, created_on, place`,
  );
  expect(rows.at(-1)?.event_id).toBe(late);
  expect(rows).toHaveLength(BACKLOG - BATCH + 1);
  await database.pool.query("delete from pgboss.job where name = 'apply-provider-events'");
  await database.pool.query("update provider_event set state = 'ignored', settled_at = now() where state = 'pending'");
});

it('of two backlogs a batch takes as many events of the one as of the other', async () => {
  await store(busy, 2 * BATCH);
  expect(await applyBatch()).toHaveLength(BATCH);
  const calms = new Set(await store(calm, BATCH));

  const next = await applyBatch();

  expect(next).toHaveLength(BATCH);
  expect(next.filter((id) => calms.has(id))).toHaveLength(BATCH / 2);
  await drained();
});

it('events of a megabyte are applied a few at a time; the others stay due at once, in their order and untried', async () => {
  const large = await store(busy, 30, 1_000_000);
  const [single = ''] = await store(calm, 1);
  const sizes: number[] = [];
  const order: string[] = [];
  for (let applied = await applyBatch(); applied.length > 0; applied = await applyBatch()) {
    sizes.push(applied.length);
    order.push(...applied.toSorted());
    const { rows } = await database.pool.query(
      "select max(retry_count) as retries from pgboss.job where name = 'apply-provider-events' and state = 'created'",
    );
    expect(rows[0].retries ?? 0).toBe(0);
  }
  expect(Math.max(...sizes)).toBeLessThanOrEqual(9);
  expect(sizes.reduce((sum, size) => sum + size)).toBe(31);
  expect(order.slice(0, sizes[0])).toContain(single);
  expect(order.filter((id) => id !== single)).toEqual(large);
});
