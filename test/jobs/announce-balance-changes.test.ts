import type { PgBoss } from 'pg-boss';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { workAnnounceBalanceChanges } from '../../jobs/announce-balance-changes.ts';
import { createBoss } from '../../src/db/boss.ts';
import type { Announcer } from '../../src/outgoing/announcer.ts';
import type { OutgoingMessage } from '../../src/outgoing/outgoing.ts';
import type { Publisher, SendResult } from '../../src/outgoing/publisher.ts';
import { createWaker } from '../../src/outgoing/wake-announcer.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { makeCustomers } from '../support/ledger.ts';
import { eventually } from '../support/wait.ts';

const QUEUE = 'announce-balance-changes';
const logger = createLogger('silent', 'test');
let database: TestDatabase;
let boss: PgBoss;

beforeAll(async () => {
  database = await createTestDatabase();
  boss = createBoss({
    databaseUrl: database.url,
    directUrl: database.directUrl,
    applicationName: 'test',
    maxConnections: 4,
    works: true,
    logger,
  });
  await boss.start();
});
afterAll(async () => {
  await boss.stop({ graceful: false });
  await database.drop();
});
beforeEach(() => database.pool.query('delete from unannounced_wallet'));
afterEach(async () => {
  for (const announcer of announcers.splice(0)) await announcer.close();
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

const announcers: Announcer[] = [];

async function startAnnouncer(publisher: Publisher): Promise<Announcer> {
  const announcer = await workAnnounceBalanceChanges(boss, { pool: database.pool, logger, publisher });
  announcers.push(announcer);
  return announcer;
}

const jobs = () => boss.findJobs(QUEUE);

test('a wake-up starts the announcer, which says everything', async () => {
  const sent: OutgoingMessage[] = [];
  await startAnnouncer(publisherThat(async () => ({ kind: 'sent' }), sent));
  const waker = createWaker(boss, logger);
  await makeCustomers(database.pool, ['a', 'b']);
  waker.wake();
  await eventually('every wallet to be told of', () => sent.length === 4);
  await waker.close();
});

test('a retry is made when it is due, whatever job is queued for later', async () => {
  // The schedule as an outage used to leave it: the only job that may be queued starts an hour from now.
  for (const singletonKey of ['', 'retry']) await boss.send(QUEUE, {}, { startAfter: 3600, singletonKey });
  expect(await boss.send(QUEUE, {})).toBeNull();
  const sent: OutgoingMessage[] = [];
  const answers: SendResult[] = [
    { kind: 'failed', permanent: false, reason: 'away' },
    { kind: 'deferred', retryAfterSeconds: 1, reason: 'away' },
  ];
  await makeCustomers(database.pool, ['later']);
  await startAnnouncer(publisherThat(async () => answers.shift() ?? { kind: 'sent' }, sent));
  await eventually('both wallets to be told of', () => sent.length === 2);
  expect((await jobs()).map(({ state }) => state)).toEqual(['created', 'created']);
});

test('an announcer at work is woken again for what came meanwhile, and is never two', async () => {
  const gate = Promise.withResolvers<void>();
  let atOnce = 0;
  const sent: OutgoingMessage[] = [];
  const publisher = {
    ...publisherThat(async () => {
      atOnce += 1;
      expect(atOnce).toBeLessThanOrEqual(2);
      await gate.promise;
      atOnce -= 1;
      return { kind: 'sent' };
    }, sent),
  };
  await makeCustomers(database.pool, ['first']);
  const announcer = await startAnnouncer(publisher);
  await eventually('a wallet to be under way', () => atOnce > 0);
  const [one, two] = [announcer.wake(), announcer.wake()];
  await makeCustomers(database.pool, ['second']);
  gate.resolve();
  await Promise.all([one, two]);
  await eventually('all to be told of', () => sent.length === 4);
});

test('an announcer that is closed begins nothing more, and gives back what it has not begun', async () => {
  const gate = Promise.withResolvers<void>();
  let begun = 0;
  const publisher = publisherThat(async () => {
    begun += 1;
    await gate.promise;
    return { kind: 'sent' };
  });
  await makeCustomers(database.pool, ['under-way', 'waiting']);
  const announcer = await startAnnouncer(publisher);
  await eventually('two wallets to be under way', () => begun === 2);
  const closed = announcer.close();
  gate.resolve();
  await closed;
  expect(begun).toBe(2);
  const { rows } = await database.pool.query('select claimed_until from unannounced_wallet');
  expect(rows).toEqual([{ claimed_until: null }, { claimed_until: null }]);
  await announcer.wake();
  expect(begun).toBe(2);
});

test('wakes are coalesced, never more than one job is being made at once, and a lost one is no error', async () => {
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
  const waker = createWaker(slowBoss as unknown as PgBoss, logger);
  for (let index = 0; index < 1000; index += 1) waker.wake();
  await eventually('the first job', () => calls === 1 && underWay === 0);
  waker.wake();
  waker.wake();
  await waker.close();
  expect(calls).toBe(2);
  expect(most).toBe(1);
  waker.wake();
  await waker.close();
  expect(calls).toBe(2);
});
