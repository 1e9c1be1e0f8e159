import type { PgBoss } from 'pg-boss';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { workAnnounceBalanceChanges } from '../../jobs/announce-balance-changes.ts';
import { createNudger } from '../../src/announcements/nudge.ts';
import type { OutgoingMessage } from '../../src/announcements/outgoing.ts';
import type { Publisher, SendResult } from '../../src/announcements/publisher.ts';
import { createLogger } from '../../src/log.ts';
import { createBoss } from '../../src/queues.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { makeCustomers } from '../support/ledger.ts';
import { eventually } from '../support/wait.ts';

const QUEUE = 'announce-balance-changes';
const logger = createLogger('silent', 'test');
let database: TestDatabase;
let boss: PgBoss;

beforeAll(async () => {
  database = await createTestDatabase();
  boss = createBoss({ databaseUrl: database.url, applicationName: 'test', maxConnections: 4, works: true, logger });
  await boss.start();
});
afterAll(async () => {
  await boss.stop({ graceful: false });
  await database.drop();
});
beforeEach(() => database.pool.query('delete from unannounced_wallet'));
afterEach(async () => {
  await boss.offWork(QUEUE);
  await boss.deleteAllJobs(QUEUE);
});

function publisherThat(send: () => Promise<SendResult>, sent: OutgoingMessage[] = []): Publisher {
  return {
    concurrency: 2,
    pausedForSeconds: () => 0,
    send,
    record: async (_, messages) => void sent.push(...messages),
  };
}

const jobs = () => boss.findJobs(QUEUE);

test('a nudge starts the announcer, which says everything', async () => {
  const sent: OutgoingMessage[] = [];
  await workAnnounceBalanceChanges(boss, {
    pool: database.pool,
    logger,
    publisher: publisherThat(async () => ({ kind: 'sent' }), sent),
  });
  const nudger = createNudger(boss, logger);
  await makeCustomers(database.pool, ['a', 'b']);
  nudger.nudge();
  await eventually('every wallet to be told of', () => sent.length === 4);
  await nudger.close();
});

test('what is postponed gets a job for later, which stands in no nudge’s way', async () => {
  const publisher = publisherThat(async () => ({ kind: 'deferred', retryAfterSeconds: 30, reason: 'x' }));
  await makeCustomers(database.pool, ['later']);
  await boss.send(QUEUE, {});
  await workAnnounceBalanceChanges(boss, { pool: database.pool, logger, publisher });
  const later = await eventually('the later job', async () =>
    (await jobs()).find(({ singletonKey }) => singletonKey === 'retry'),
  );
  expect(later.startAfter.getTime() - later.createdOn.getTime()).toBeCloseTo(30_000, -3);
  await boss.offWork(QUEUE);
  expect(await boss.send(QUEUE, {})).not.toBeNull();
  expect(await boss.send(QUEUE, {})).toBeNull();
});

test('what is due after the next tick of the schedule is left to it', async () => {
  const publisher = publisherThat(async () => ({ kind: 'failed', permanent: true, reason: 'x' }));
  await makeCustomers(database.pool, ['tick']);
  await boss.send(QUEUE, {});
  await workAnnounceBalanceChanges(boss, { pool: database.pool, logger, publisher });
  await eventually('the job to end', async () => (await jobs()).every(({ state }) => state === 'completed'));
  expect(await jobs()).toHaveLength(1);
});

test('a run that is cut short is followed by another', async () => {
  const shutdown = new AbortController();
  shutdown.abort();
  const publisher = publisherThat(async () => ({ kind: 'sent' }));
  await makeCustomers(database.pool, ['cut']);
  await boss.send(QUEUE, {});
  await workAnnounceBalanceChanges(boss, { pool: database.pool, logger, publisher, signal: shutdown.signal });
  await eventually('a second job', async () => (await jobs()).length >= 2);
  const { rows } = await database.pool.query('select claimed_until from unannounced_wallet');
  expect(rows).toEqual([{ claimed_until: null }, { claimed_until: null }]);
});

test('nudges are coalesced, never more than one job is being made at once, and a lost one is no error', async () => {
  let calls = 0;
  let underWay = 0;
  let most = 0;
  const slowBoss = {
    send: async () => {
      calls += 1;
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise((resolve) => setImmediate(resolve));
      underWay -= 1;
      throw new Error('the database is away');
    },
  };
  const nudger = createNudger(slowBoss as unknown as PgBoss, logger);
  for (let index = 0; index < 1000; index += 1) nudger.nudge();
  await eventually('the first job', () => calls === 1 && underWay === 0);
  nudger.nudge();
  nudger.nudge();
  await nudger.close();
  expect(calls).toBe(2);
  expect(most).toBe(1);
  nudger.nudge();
  await nudger.close();
  expect(calls).toBe(2);
});
