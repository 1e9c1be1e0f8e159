import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { claimDeliveries } from '../../src/outgoing/embedded/claimed-deliveries.ts';
import { Deliverer } from '../../src/outgoing/embedded/deliverer.ts';
import type { DirectSender, SignedPost } from '../../src/outgoing/embedded/send.ts';
import { Settlements } from '../../src/outgoing/embedded/settlements.ts';
import { DeliverySlots } from '../../src/outgoing/embedded/slots.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { BOX } from '../support/secrets.ts';
import { movedBy } from '../support/tampering.ts';
import { eventually } from '../support/wait.ts';

/** Aims at what several deliveries do to each other: whose turn it is, how many are under way, and what two workers do about the same ones. */

const logger = createLogger('silent', 'test');
const ANSWER = { statusCode: 204, error: null, response: '', durationMs: 1, timedOut: false, retryAfterSeconds: null };
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
afterEach(async () => {
  await database.pool.query('delete from webhook_endpoint');
  await database.pool.query('delete from webhook_message');
});

const makeDeliverer = (post: DirectSender['post']) => {
  const shared = { pool: database.pool, clock: systemClock, logger };
  const settlements = new Settlements(shared);
  return new Deliverer({ ...shared, settlements, sender: { post }, box: BOX, slots: new DeliverySlots() });
};

/** Merchants `<prefix>1` to `<prefix>n`, an endpoint each, with so many deliveries to it that have been due for `seconds`. */
async function makeDue(
  prefix: string,
  {
    merchants = 1,
    each,
    bytes = 2,
    seconds = 0,
  }: { merchants?: number; each: number; bytes?: number; seconds?: number },
): Promise<void> {
  const { pool } = database;
  await pool.query(
    `insert into merchant (merchant_id, name, mode) select $1 || n, 'One', 'test' from generate_series(1, $2) n on conflict do nothing`,
    [prefix, merchants],
  );
  await pool.query(
    `insert into webhook_endpoint (merchant_id, endpoint_id, url, secret, created_at, updated_at)
     select $1 || n, 'ep_1', 'https://merchant.example/' || $1 || n, 'whsec_AAAAAAAA', now(), now() from generate_series(1, $2) n`,
    [prefix, merchants],
  );
  await pool.query(
    `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at)
     select $1 || n, 'whm_' || m, 'wallet.created', repeat('x', $4), now() from generate_series(1, $2) n, generate_series(1, $3) m`,
    [prefix, merchants, each, bytes],
  );
  await pool.query(
    `insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
     select $1 || n, 'whm_' || m, 'ep_1', 'pending', now() - make_interval(secs => $4)
     from generate_series(1, $2) n, generate_series(1, $3) m`,
    [prefix, merchants, each, seconds],
  );
}

async function delivered(): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(
    "select count(*)::int from webhook_delivery where state = 'delivered' and attempts = 1",
  );
  return rows[0]?.count ?? 0;
}

/** Counts the posts of each message, and how many are under way at once; it answers when it may. */
class Receivers {
  readonly posts = new Map<string, number>();
  readonly underWay = new Map<string, number>();
  readonly most = new Map<string, number>();
  readonly #mayAnswer: (url: string) => Promise<void>;

  constructor(mayAnswer: (url: string) => Promise<void> = () => Promise.resolve()) {
    this.#mayAnswer = mayAnswer;
  }

  readonly post = async ({ url, messageId }: SignedPost) => {
    const message = `${url} ${messageId}`;
    this.posts.set(message, (this.posts.get(message) ?? 0) + 1);
    const now = (this.underWay.get(url) ?? 0) + 1;
    this.underWay.set(url, now);
    this.most.set(url, Math.max(now, this.most.get(url) ?? 0));
    await this.#mayAnswer(url);
    this.underWay.set(url, (this.underWay.get(url) ?? 0) - 1);
    return ANSWER;
  };
}

test('a long backlog to an endpoint that does not answer has its share, and others are delivered to', async () => {
  await makeDue('a_slow', { each: 300, seconds: 60 });
  await makeDue('b_well', { each: 5 });
  const answering = Promise.withResolvers<void>();
  const receivers = new Receivers((url) => (url.includes('slow') ? answering.promise : Promise.resolve()));
  const deliverer = makeDeliverer(receivers.post);
  deliverer.start();
  try {
    await eventually('those of the other merchant', async () => (await delivered()) === 5);
    const slow = 'https://merchant.example/a_slow1';
    await eventually('as many as one merchant may have', () => receivers.underWay.get(slow) === 128);
    answering.resolve();
    await eventually('all of them', async () => (await delivered()) === 305);
    expect(receivers.most.get(slow)).toBe(128);
    expect([...receivers.posts.values()].every((posts) => posts === 1)).toBe(true);
  } finally {
    answering.resolve();
    await deliverer.close();
  }
});

test('payloads under way are bounded in bytes', async () => {
  const bytes = 256 * 1024;
  await makeDue('a_large', { each: 70, bytes });
  const receivers = new Receivers(() => new Promise((resolve) => setImmediate(resolve)));
  const deliverer = makeDeliverer(receivers.post);
  deliverer.start();
  try {
    await eventually('all of them', async () => (await delivered()) === 70);
    const most = receivers.most.get('https://merchant.example/a_large1') ?? 0;
    expect(most * bytes).toBeLessThanOrEqual(8 * 1024 * 1024 + bytes);
  } finally {
    await deliverer.close();
  }
});

test('merchants of more than one page are all found, by one look', async () => {
  await makeDue('many_', { merchants: 230, each: 1 });
  const receivers = new Receivers();
  const deliverer = makeDeliverer(receivers.post);
  expect(await deliverer.deliverDue()).toBe(230);
  expect(await delivered()).toBe(230);
  expect(await deliverer.deliverDue()).toBe(0);
});

test('more than a process takes at once is delivered all the same, whoever comes last', async () => {
  await makeDue('wide_', { merchants: 12, each: 120 });
  const receivers = new Receivers(() => new Promise((resolve) => setImmediate(resolve)));
  const deliverer = makeDeliverer(receivers.post);
  deliverer.start();
  try {
    await eventually('all of them', async () => (await delivered()) === 1440);
    expect([...receivers.posts.values()].every((posts) => posts === 1)).toBe(true);
  } finally {
    await deliverer.close();
  }
});

test('merchants with long backlogs do not keep those behind them from having a turn', async () => {
  // More merchants than have room together, so that only their turns bring anybody to the last.
  const longest = 600;
  await makeDue('a_long', { merchants: 20, each: longest, seconds: 60 });
  await makeDue('z_last', { each: 3 });
  const posts = new Map<string, number>();
  let mostOfOthers = 0;
  const post = async ({ url }: SignedPost) => {
    posts.set(url, (posts.get(url) ?? 0) + 1);
    if (url.includes('z_last')) mostOfOthers = Math.max(...posts.values());
    await new Promise((resolve) => setTimeout(resolve, 10));
    return ANSWER;
  };
  const deliverer = makeDeliverer(post);
  deliverer.start();
  try {
    await eventually('those of the last merchant', () => posts.get('https://merchant.example/z_last1') === 3);
    // The others began with their share, and had a few turns more at most.
    expect(mostOfOthers).toBeLessThan((longest * 2) / 3);
  } finally {
    await deliverer.close();
  }
});

test('merchants whose receivers are slow do not slow down one whose receiver is not', async () => {
  await makeDue('a_slow', { merchants: 5, each: 128, seconds: 60 });
  await makeDue('b_well', { each: 6_000 });
  // Else the time is that of plans for a table of which nothing is known.
  await database.pool.query('analyze webhook_delivery, webhook_message');
  const answering = Promise.withResolvers<void>();
  const receivers = new Receivers((url) => (url.includes('slow') ? answering.promise : Promise.resolve()));
  const deliverer = makeDeliverer(receivers.post);
  deliverer.start();
  try {
    await eventually('all of the other merchant', async () => (await delivered()) === 6_000);
  } finally {
    answering.resolve();
    await deliverer.close();
  }
});

test('two workers share what is due, and send nothing twice', async () => {
  await makeDue('a_shared', { each: 400 });
  await makeDue('b_shared', { each: 20 });
  const receivers = new Receivers(() => new Promise((resolve) => setImmediate(resolve)));
  const deliverers = [makeDeliverer(receivers.post), makeDeliverer(receivers.post)];
  for (const deliverer of deliverers) deliverer.start();
  try {
    await eventually('all of them', async () => (await delivered()) === 420);
    expect(receivers.posts.size).toBe(420);
    expect([...receivers.posts.values()].every((posts) => posts === 1)).toBe(true);
  } finally {
    await Promise.all(deliverers.map((deliverer) => deliverer.close()));
  }
});

test('what a worker had leased that died is sent by another, under the same id, when the lease is over', async () => {
  await makeDue('a_dead', { each: 3 });
  const claim = { merchantId: 'a_dead1', limit: 2, maxBytes: 1_000, leaseSeconds: 25, now: new Date() };
  const dead = await claimDeliveries(autocommit(database.pool), claim);
  expect(dead).toHaveLength(2);
  const receivers = new Receivers();
  const deliverer = makeDeliverer(receivers.post);
  expect(await deliverer.deliverDue()).toBe(1);
  await database.pool.query(
    `update webhook_delivery set next_attempt_at = ${movedBy('next_attempt_at', '-26 seconds')} where state = 'pending'`,
  );
  const { rows } = await database.pool.query(
    "select next_attempt_at <= now() as is_over from webhook_delivery where state = 'pending'",
  );
  expect(rows).toEqual([{ is_over: true }, { is_over: true }]);
  expect(await deliverer.deliverDue()).toBe(2);
  const ids = ['whm_1', 'whm_2', 'whm_3'].map((id) => `https://merchant.example/a_dead1 ${id}`);
  expect([...receivers.posts.keys()].toSorted()).toEqual(ids);
  expect(await delivered()).toBe(3);
});

test('an endpoint that is disabled in the middle gets nothing more of what is not under way', async () => {
  await makeDue('a_middle', { each: 300 });
  const answering = Promise.withResolvers<void>();
  const receivers = new Receivers(() => answering.promise);
  const deliverer = makeDeliverer(receivers.post);
  deliverer.start();
  try {
    await eventually('as many as one merchant may have', () => receivers.posts.size === 128);
    await database.pool.query('update webhook_endpoint set disabled = true');
    answering.resolve();
    await eventually('all to be settled', async () => {
      const { rows } = await database.pool.query(
        'select state, attempts, count(*)::int from webhook_delivery group by 1, 2 order by 1',
      );
      return (
        JSON.stringify(rows) ===
        JSON.stringify([
          { state: 'delivered', attempts: 1, count: 128 },
          { state: 'failed', attempts: 0, count: 172 },
        ])
      );
    });
    expect(receivers.posts.size).toBe(128);
  } finally {
    answering.resolve();
    await deliverer.close();
  }
});

test('nothing is sent before it is started, nor after it is closed', async () => {
  await makeDue('a_closed', { each: 1 });
  const receivers = new Receivers();
  const deliverer = makeDeliverer(receivers.post);
  deliverer.wake();
  await deliverer.close();
  deliverer.start();
  deliverer.wake();
  expect(await deliverer.deliverDue()).toBe(0);
  expect(receivers.posts.size).toBe(0);
});

test('what cannot be claimed of one merchant is looked for again, and nobody behind him waits', async () => {
  for (const prefix of ['broken', 'free', 'later']) await makeDue(prefix, { each: 3 });
  await database.pool.query(`
    create function refuse_lease() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
    create trigger refuse_lease before update on webhook_delivery for each row
    when (new.merchant_id = 'broken1') execute function refuse_lease()`);
  const { post } = new Receivers();
  const deliverer = makeDeliverer(post);
  expect(await deliverer.deliverDue()).toBe(6);
  expect(await delivered()).toBe(6);
  await database.pool.query('drop trigger refuse_lease on webhook_delivery; drop function refuse_lease');
  expect(await deliverer.deliverDue()).toBe(3);
  await deliverer.close();
});
