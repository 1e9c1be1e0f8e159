import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { onCitus } from '../../src/db/backend.ts';
import { closeRelease } from '../../src/db/installation.ts';
import { deadLetterOf } from '../../src/db/queues.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { invariant } from '../../src/errors.ts';
import { newId } from '../../src/ids.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { applySharedJobs } from '../../src/inbox/apply-shared.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { requeueStranded } from '../../src/inbox/recover-stranded.ts';
import { storeEvents } from '../../src/inbox/store-events.ts';
import type { Source } from '../../src/merchants/source.ts';
import type { Sources } from '../../src/merchants/sources.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { gatedPool } from '../support/gated-pool.ts';
import {
  applyDueOnce,
  claimShared,
  claimSingle,
  giveEachEventItsJob,
  startInbox,
  type TestInbox,
  testSource,
} from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { holdWallets } from '../support/lock-waits.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';

/** Jobs of many events: the same as jobs.test of one event, where one of many fails, is lost, or has no room. */

const QUEUE = 'apply-provider-events';
const SINGLE = 'apply-provider-event';
const stripe = testSource('stripe');
/** Applying its events throws. */
const gone = testSource('stripe', { sourceId: 'src_gone' });
const ofOther = testSource('stripe', { merchantId: 'bus_other', sourceId: 'src_other' });

let database: TestDatabase;
let inbox: TestInbox;
let services: ApplyServices;
let customerId = '';

beforeAll(async () => {
  database = await createTestDatabase();
  [customerId = ''] = await makeCustomers(database.pool, ['jobs']);
  inbox = await startInbox(database, { sources: [stripe, ofOther], works: false });
  const find: Sources['find'] = (db, merchantId, sourceId) => {
    invariant(sourceId !== gone.sourceId, 'poison');
    return inbox.services.sources.find(db, merchantId, sourceId);
  };
  services = { ...inbox.services, sources: { ...inbox.services.sources, find } };
});

afterEach(async () => {
  for (const queue of [QUEUE, SINGLE, deadLetterOf(SINGLE), deadLetterOf(QUEUE)]) await inbox.boss.deleteAllJobs(queue);
  await database.pool.query("delete from provider_event where state in ('pending', 'parked')");
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

interface Storing {
  readonly source?: Source;
  readonly paymentId?: string;
  readonly payer?: string;
  readonly padding?: number;
}

/** Stores payments of 1 cent in one commit, as the receiver does. @returns their ids, in their order */
async function store(events: readonly Storing[]): Promise<readonly string[]> {
  const rows = events.map(({ source = stripe, paymentId, payer = customerId, padding = 0 }) => {
    const metadata = { wallet_customer_id: payer };
    const body = Buffer.from(
      stripePaymentSucceeded({ ...(paymentId === undefined ? {} : { paymentId }), amount: 1, metadata }) +
        ' '.repeat(padding),
    );
    const deliveryKey = PROVIDERS.stripe.deliveryKey({ rawBody: body, headers: {} });
    const about = { provider: 'stripe', deliveryKey, eventType: 'payment_intent.succeeded', body };
    const state = { state: 'pending' as const, detail: null, receivedAt: new Date(), origin: 'webhook' as const };
    const { merchantId, sourceId } = source;
    return { eventId: newId('event'), merchantId, sourceId, ...about, ...state };
  });
  await transaction(database.pool, (tx) => storeEvents(inbox.boss, tx, rows));
  return rows.map(({ eventId }) => eventId);
}

const many = (count: number, storing: Storing = {}): readonly Storing[] => Array.from({ length: count }, () => storing);

const balance = async () => (await inbox.balance(customerId)) ?? 0;

async function jobs(queue: string) {
  const { rows } = await database.pool.query<{
    state: string;
    retries: number;
    priority: number;
    data: { events?: unknown[]; eventId?: string };
  }>(
    'select state, retry_count as retries, priority, data from pgboss.job where name = $1 order by priority desc, created_on',
    [queue],
  );
  return rows;
}

async function statesOf(eventIds: readonly string[]): Promise<Record<string, number>> {
  const { rows } = await database.pool.query<{ state: string; n: number }>(
    'select state, count(*)::int as n from provider_event where event_id = any ($1) group by 1',
    [eventIds],
  );
  return Object.fromEntries(rows.map(({ state, n }) => [state, n]));
}

const claim = (count = 8) => claimShared(inbox.boss, count);

describe('the events of a commit', () => {
  it('have one job, which is done with their facts in one transaction', async () => {
    const before = await balance();
    const ids = await store(many(100));
    expect((await jobs(QUEUE)).map(({ data }) => data.events?.length)).toEqual([100]);
    expect(await jobs(SINGLE)).toEqual([]);
    expect(await applySharedJobs(services, await claim())).toMatchObject([{ status: 'completed' }]);
    expect(await statesOf(ids)).toEqual({ applied: 100 });
    expect(await balance()).toBe(before + 100);
    expect((await jobs(QUEUE)).map(({ state }) => state)).toEqual(['completed']);
    const { rows } = await database.pool.query(
      'select distinct xmin::text from provider_event where event_id = any ($1)',
      [ids],
    );
    expect(rows).toHaveLength(1);
  });

  it('have a job each for as long as a worker of the release before may run, and share one from then on', async () => {
    await giveEachEventItsJob(database);
    const ids = await store(many(3));
    expect(await jobs(QUEUE)).toEqual([]);
    // Such a worker reads no job that says more.
    expect((await jobs(SINGLE)).map(({ data }) => data)).toEqual(ids.map((eventId) => ({ eventId })));
    await closeRelease(autocommit(database.pool), 'again');
    const later = await store(many(3));
    expect([(await jobs(QUEUE)).length, (await jobs(SINGLE)).length]).toEqual([1, 3]);
    // A worker of this release does both kinds.
    await applyDueOnce(services);
    expect(await statesOf([...ids, ...later])).toEqual({ applied: 6 });
  });

  it('are in several jobs where there are 500 of 20 merchants, each in one, and all of them are applied', async () => {
    const merchants = Array.from({ length: 20 }, (_, index) => `mer_${index}`);
    for (const id of merchants)
      await database.pool.query(
        "insert into merchant (merchant_id, name, mode) values ($1, 'One', 'test') on conflict do nothing",
        [id],
      );
    const sources = merchants.map((merchantId) => testSource('stripe', { merchantId, sourceId: `src_${merchantId}` }));
    const ids = await store(Array.from({ length: 500 }, (_, index) => ({ source: sources[index % 20] ?? stripe })));
    const made = await jobs(QUEUE);
    expect(made.length).toBeLessThanOrEqual(6);
    expect(made.flatMap(({ data }) => data.events).length).toBe(500);
    while ((await applyDueOnce(inbox.services)).length > 0);
    // They name a customer whom those merchants do not have, and sources that nobody configured.
    expect(await statesOf(ids)).toEqual({ parked: 500 });
    expect((await jobs(QUEUE)).filter(({ state }) => state !== 'completed')).toEqual([]);
  });

  it('of a megabyte each are in jobs of four megabytes', async () => {
    const ids = await store(many(9, { padding: 1_000_000 }));
    expect((await jobs(QUEUE)).map(({ data }) => data.events?.length)).toEqual([4, 4, 1]);
    while ((await applyDueOnce(services)).length > 0);
    expect(await statesOf(ids)).toEqual({ applied: 9 });
  });
});

describe('a claim', () => {
  it('of more than there is time for is put back in its turn, untried', async () => {
    for (let commit = 0; commit < 4; commit += 1) await store(many(100));
    const { rows } = await database.pool.query<{ event_id: string }>(
      "select event_id from provider_event where state = 'pending' order by event_id",
    );
    const ids = rows.map(({ event_id }) => event_id);
    const results = await applySharedJobs(services, await claim(), { runMs: 0 });
    expect(results.map(({ status }) => status)).toEqual(Array(4).fill('completed'));
    expect(await statesOf(ids.slice(0, 200))).toEqual({ applied: 200 });
    const open = (await jobs(QUEUE)).filter(({ state }) => state === 'created');
    expect(open.map(({ retries, priority, data }) => ({ retries, priority, events: data.events?.length }))).toEqual([
      { retries: 0, priority: -200, events: 100 },
      { retries: 0, priority: -300, events: 100 },
    ]);
    await applyDueOnce(services);
    expect(await statesOf(ids)).toEqual({ applied: 400 });
  });

  it('is applied batch after batch, in transactions of their own', async () => {
    const ids: string[] = [];
    for (let commit = 0; commit < 4; commit += 1) ids.push(...(await store(many(100))));
    const results = await applySharedJobs(services, await claim(), { runMs: 60_000 });
    expect(results.map(({ status }) => status)).toEqual(Array(4).fill('completed'));
    expect(await statesOf(ids)).toEqual({ applied: 400 });
    const { rows } = await database.pool.query(
      'select count(distinct xmin::text) as transactions from provider_event where event_id = any ($1)',
      [ids],
    );
    expect(rows[0].transactions).toBe(2);
  });

  it('of more than a thousand events leaves the others to whoever is free, before it begins', async () => {
    for (let commit = 0; commit < 12; commit += 1) await store(many(100));
    await applySharedJobs(services, await claim(12), { runMs: 60_000 });
    const open = (await jobs(QUEUE)).filter(({ state }) => state === 'created');
    expect(open.map(({ retries, data }) => ({ retries, events: data.events?.length }))).toEqual([
      { retries: 0, events: 100 },
      { retries: 0, events: 100 },
    ]);
    while ((await applyDueOnce(services)).length > 0);
  });

  it('that another worker has got meanwhile completes nothing and applies nothing, together or apart', async () => {
    const [first = ''] = await store(many(1));
    const poisoned = await store([...many(3), { source: gone }, ...many(3)]);
    const before = await balance();
    const stale = await claim();
    await database.pool.query(
      "update pgboss.job set retry_count = retry_count + 1 where name = $1 and state = 'active'",
      [QUEUE],
    );
    const results = await applySharedJobs(services, stale);
    expect(results.map(({ status }) => status)).toEqual(['failed', 'failed']);
    expect(await statesOf([first, ...poisoned])).toEqual({ pending: 8 });
    expect(await balance()).toBe(before);
    expect(await jobs(SINGLE)).toEqual([]);
  });

  it('of two workers at once is applied by one of them, once', async () => {
    const ids = await store(many(20));
    const before = await balance();
    const both = await claim();
    const results = await Promise.all([applySharedJobs(services, both), applySharedJobs(services, both)]);
    expect(
      results
        .flat()
        .map(({ status }) => status)
        .sort(),
    ).toEqual(['completed', 'failed']);
    expect(await statesOf(ids)).toEqual({ applied: 20 });
    expect(await balance()).toBe(before + 20);
  });

  it('is retried as a whole by pg-boss when the database is away', async () => {
    const ids = await store(many(2));
    const away = {
      ...services,
      pool: Object.assign(Object.create(database.pool), {
        connect: () => Promise.reject(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })),
      }),
    };
    await expect(applySharedJobs(away, await claim())).rejects.toThrow('connect');
    expect(await statesOf(ids)).toEqual({ pending: 2 });
  });
});

describe('an event that cannot be applied', () => {
  it('in the middle of 30 fails by itself: the others are applied by the same run, and it goes on with a job of its own', async () => {
    const before = await balance();
    const ids = await store([...many(15), { source: gone }, ...many(14)]);
    const poison = ids[15] ?? '';
    expect(await applySharedJobs(services, await claim())).toMatchObject([{ status: 'completed' }]);
    expect(await statesOf(ids)).toEqual({ applied: 29, pending: 1 });
    expect(await balance()).toBe(before + 29);
    const [single, ...others] = await jobs(SINGLE);
    expect(others).toEqual([]);
    expect(single).toMatchObject({ state: 'created', retries: 0, data: { eventId: poison } });
    // It has all retries of a job of its own, and then it is parked and shown.
    await database.pool.query('update pgboss.job set start_after = now() where name = $1', [SINGLE]);
    const claims = await claimSingle(inbox.boss, 10);
    expect(await applyEvents(services, claims)).toMatchObject([{ status: 'failed' }]);
    const [last] = claims;
    if (last === undefined) throw new Error('there is no claim');
    expect(await applyEvents(services, [{ ...last, retryCount: last.retryLimit }])).toMatchObject([
      { status: 'deadletter' },
    ]);
    expect(await statesOf([poison])).toEqual({ parked: 1 });
  });

  it('fails by itself also where several jobs of a batch fail with it: each of them ends, and what has no room waits', async () => {
    const large = { padding: 1_000_000 };
    const ids = [
      ...(await store(many(1, large))),
      ...(await store([{ ...large, source: gone }, large])),
      ...(await store(many(2, large))),
    ];
    const results = await applySharedJobs(services, await claim(), { runMs: 0 });
    expect(results.map(({ status }) => status)).toEqual(Array(3).fill('completed'));
    expect(await statesOf(ids)).toEqual({ applied: 2, pending: 3 });
    expect((await jobs(QUEUE)).filter(({ state }) => state === 'active')).toEqual([]);
    expect((await jobs(SINGLE)).map(({ data }) => data.eventId)).toEqual([ids[1]]);
    await applyDueOnce(services);
    expect(await statesOf(ids)).toEqual({ applied: 4, pending: 1 });
  });

  // It counts the transactions of one Postgres: on Citus each merchant has his own.
  it.skipIf(onCitus())(
    'since a wallet is held is hardly waited for again, and events of other merchants as long as ever',
    async () => {
      const [payer = ''] = await makeCustomers(database.pool, ['held'], ofOther.merchantId);
      const held = { source: ofOther, payer };
      const ids = await store([held, held, {}, {}]);
      const letGo = await holdWallets(database.pool, { merchantId: ofOther.merchantId, customerId: payer });
      const seen: string[] = [];
      const pool = gatedPool(services.pool, async (sql) => {
        if (/^(begin|set local lock_timeout)/.test(sql)) seen.push(sql.split(' ', 1)[0] ?? '');
      });
      const claimed = await claim();
      expect(claimed.map(({ events }) => events.length)).toEqual([4]);
      const results = await applySharedJobs({ ...services, pool }, claimed);
      await letGo();
      expect(results).toMatchObject([{ status: 'completed' }]);
      expect(await statesOf(ids)).toEqual({ applied: 2, pending: 2 });
      // Together, the first by itself, two of the other merchant, the second of who is held up, and what makes jobs of what is left.
      expect(seen).toEqual(['begin', 'begin', 'begin', 'begin', 'begin', 'set', 'begin']);
      expect(new Set((await jobs(SINGLE)).map(({ data }) => data.eventId))).toEqual(new Set(ids.slice(0, 2)));
    },
    60_000,
  );

  // It counts the transactions of one Postgres: on Citus each merchant has his own.
  it.skipIf(onCitus())(
    'since a wallet is held lets the jobs of other merchants go before the other jobs of that one',
    async () => {
      const [payer = ''] = await makeCustomers(database.pool, ['held2'], ofOther.merchantId);
      const held = { source: ofOther, payer };
      await store([held, held]);
      await store([held, held]);
      // In the queue behind the second job of the other one.
      const theirs = [...(await store(many(5))), ...(await store(many(2)))];
      const letGo = await holdWallets(database.pool, { merchantId: ofOther.merchantId, customerId: payer });
      const seen: string[] = [];
      const pool = gatedPool(services.pool, async (sql) => {
        if (/^set local lock_timeout/.test(sql)) seen.push('hurried');
        if (sql === 'commit') seen.push('commit');
      });
      const results = await applySharedJobs({ ...services, pool }, await claim());
      await letGo();
      expect(results).toHaveLength(4);
      expect(await statesOf(theirs)).toEqual({ applied: 7 });
      // Both events of the held one's first job by themselves, and its end; then both jobs of the other merchant; and last the second one.
      const alone = ['hurried', 'hurried', 'commit'];
      expect(seen).toEqual([...alone, 'commit', 'commit', 'hurried', ...alone]);
    },
    60_000,
  );

  it('leaves the other jobs of its batch whole: their events are applied in one transaction each job', async () => {
    const ids = [
      ...(await store(many(20))),
      ...(await store([...many(2), { source: gone }])),
      ...(await store(many(20))),
    ];
    expect((await applySharedJobs(services, await claim())).map(({ status }) => status)).toEqual(
      Array(3).fill('completed'),
    );
    expect(await statesOf(ids)).toEqual({ applied: 42, pending: 1 });
    const { rows } = await database.pool.query<{ events: number }>(
      'select count(*)::int as events from provider_event where event_id = any ($1) group by xmin::text order by 1 desc',
      [ids],
    );
    expect(rows.map(({ events }) => events)).toEqual([20, 20, 1, 1, 1]);
  });

  it('after which the job is another worker’s: what was applied stays, and nothing more is tried', async () => {
    const ids = await store([...many(2), { source: gone }, ...many(2)]);
    const before = await balance();
    let looked = 0;
    const find: Sources['find'] = async (db, merchantId, sourceId) => {
      looked += 1;
      if (sourceId === gone.sourceId) {
        // The first time together with the others, the second time by itself.
        const isAlone = looked > 2;
        if (isAlone)
          await database.pool.query(
            "update pgboss.job set retry_count = retry_count + 1 where name = $1 and state = 'active'",
            [QUEUE],
          );
        throw new Error('poison');
      }
      return inbox.services.sources.find(db, merchantId, sourceId);
    };
    const losing = { ...services, sources: { ...services.sources, find } };
    const stale = await claim();
    expect(await applySharedJobs(losing, stale)).toMatchObject([{ status: 'failed' }]);
    expect(await statesOf(ids)).toEqual({ applied: 2, pending: 3 });
    expect(await jobs(SINGLE)).toEqual([]);
    // Of the two behind the poison, the first was tried in vain, and the other not at all.
    expect(looked).toBe(6);
    // The worker that has it now takes apart what is left.
    const again = stale.map((job) => ({ ...job, retryCount: job.retryCount + 1 }));
    expect(await applySharedJobs(services, again)).toMatchObject([{ status: 'completed' }]);
    expect((await jobs(SINGLE)).map(({ data }) => data.eventId)).toEqual(ids.slice(2));
    expect(await balance()).toBe(before + 2);
  });

  it('may be one that ends the process: what a worker died on is taken apart before anything of it is read', async () => {
    const ids = await store(many(5));
    const before = await balance();
    const [died] = await claim();
    await inbox.boss.fail(QUEUE, died?.id ?? '');
    await database.pool.query('update pgboss.job set start_after = now() where name = $1', [QUEUE]);
    const again = await claim();
    expect(again).toMatchObject([{ id: died?.id, retryCount: 1 }]);
    // One of them was applied before the worker died.
    await transaction(database.pool, (tx) =>
      tx.query("update provider_event set state = 'ignored', settled_at = now() where event_id = $1", [ids[0]]),
    );
    expect(await applySharedJobs(services, again)).toMatchObject([{ status: 'completed' }]);
    expect(await balance()).toBe(before);
    expect((await jobs(SINGLE)).map(({ data }) => data.eventId)).toEqual(ids.slice(1));
    expect((await jobs(QUEUE)).map(({ state }) => state)).toEqual(['completed']);
    await applyDueOnce(services);
    expect(await statesOf(ids)).toEqual({ ignored: 1, applied: 4 });
  });
});

describe('jobs of both kinds', () => {
  it('of one event, as a worker of the release before makes them for what it thinks lost, apply it once', async () => {
    const ids = await store(many(3));
    const before = await balance();
    for (const eventId of ids) await inbox.boss.send(SINGLE, { eventId });
    const [shared, single] = [await claim(), await claimSingle(inbox.boss, 10)];
    expect([shared.length, single.length]).toEqual([1, 3]);
    const results = await Promise.all([applySharedJobs(services, shared), applyEvents(services, single)]);
    expect(new Set(results.flat().map(({ status }) => status))).toEqual(new Set(['completed']));
    expect(await balance()).toBe(before + 3);
  });

  it('are all looked at for events that lost theirs, and a dead job of many parks none of its events', async () => {
    const kept = await store(many(2));
    const lost = await store(many(2));
    const dead = await store(many(2));
    const found = await claim();
    const jobOf = (eventId: string | undefined) =>
      found.find((job) => job.events.some((event) => event.eventId === eventId))?.id ?? '';
    await inbox.boss.deleteJob(QUEUE, jobOf(lost[0]));
    await inbox.boss.deleteJob(QUEUE, jobOf(dead[0]));
    await inbox.boss.send(deadLetterOf(QUEUE), { events: dead.map((eventId) => [MERCHANT, eventId, 0, 1]) });
    await inbox.boss.insert(QUEUE, [{ data: { events: 'none' } }]);
    const inTwoMinutes = { now: () => new Date(Date.now() + 120_000) };
    expect(await requeueStranded({ ...services, clock: inTwoMinutes })).toEqual({ enqueued: 4, parked: 0 });
    expect((await jobs(SINGLE)).map(({ data }) => data.eventId).sort()).toEqual([...lost, ...dead].sort());
    expect(await statesOf(kept)).toEqual({ pending: 2 });
    expect(await requeueStranded({ ...services, clock: inTwoMinutes })).toEqual({ enqueued: 0, parked: 0 });
  });
});
