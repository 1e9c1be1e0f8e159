import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { PgBoss } from 'pg-boss';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createBoss } from '../../src/db/boss.ts';
import { transaction } from '../../src/db/transaction.ts';
import { claimDue, markAnnounced } from '../../src/ledger/outbox.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { createOutgoing, type Outgoing } from '../../src/outgoing/index.ts';
import { PassingOver, passOverMerchant } from '../../src/outgoing/pass-over.ts';
import type { Publisher } from '../../src/outgoing/publisher.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { BOX } from '../support/secrets.ts';
import { eventually } from '../support/wait.ts';

/** Aims at what announcing costs: nothing for merchants whom nobody hears, and little for a wallet of which much is to be told. */

const logger = createLogger('silent', 'test');
const OTHER = 'bus_other';
let database: TestDatabase;
let boss: PgBoss;
let outgoing: Outgoing;

beforeAll(async () => {
  database = await createTestDatabase();
  boss = createBoss({ databaseUrl: database.url, applicationName: 'test', maxConnections: 2, works: false, logger });
  await boss.start();
  const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: true };
  outgoing = createOutgoing({ config, pool: database.pool, boss, clock: systemClock, logger, box: BOX });
});
afterEach(async () => {
  await run();
  await expectBooksToAgree(database.pool);
  await database.pool.query('delete from webhook_endpoint');
  await database.pool.query('delete from webhook_message');
});
afterAll(async () => {
  await outgoing.close();
  await boss.stop({ graceful: false });
  await database.drop();
});

const run = (publisher: Publisher = outgoing.publisher) =>
  announce({ pool: database.pool, publisher, logger, maxSeconds: 60 });

const post = (customerId: string, count: number, merchantId = MERCHANT) =>
  transaction(database.pool, (tx) => {
    const postings = Array.from({ length: count }, () => posting({ merchantId, customerId, amountMinor: 5 }));
    return postBatch(tx, postings, { ...SETTINGS, now: new Date() });
  });

const addEndpoint = (merchantId = MERCHANT) =>
  outgoing.webhooks.createEndpoint(merchantId, {
    url: 'http://127.0.0.1:9/hook',
    description: '',
    eventTypes: null,
    disabled: false,
  });

const inOutbox = async () => (await database.pool.query('select customer_id from unannounced_wallet')).rowCount;

/** The entries that a customer's messages tell of, in order. */
async function told(customerId: string): Promise<number[]> {
  const { rows } = await database.pool.query<{ payload: string }>(
    "select payload from webhook_message where customer_id = $1 and event_type = 'wallet.balance.changed' order by last_seq",
    [customerId],
  );
  return rows.flatMap(({ payload }) => JSON.parse(payload).data.entries.map(({ seq }: { seq: number }) => seq));
}

/** Counts the statements of each name that run meanwhile. */
async function counting<Result>(work: () => Promise<Result>): Promise<Map<string, number>> {
  const queries = vi.spyOn(pg.Client.prototype, 'query');
  await work();
  const counts = new Map<string, number>();
  for (const [query] of queries.mock.calls as readonly unknown[][]) {
    const name = typeof query === 'object' && query !== null && 'name' in query ? String(query.name) : 'other';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  queries.mockRestore();
  return counts;
}

test('nothing is claimed for merchants whom nobody hears, and their wallets are marked many at once', async () => {
  const customers = await makeCustomers(
    database.pool,
    Array.from({ length: 60 }, (_, index) => `unheard${index}`),
  );
  for (const customerId of customers) await post(customerId, 2);
  const counts = await counting(async () => {
    expect(await run()).toMatchObject({ wallets: 0, messages: 0, passedOver: 120, retryAfterSeconds: null });
  });
  expect([counts.get('fix-claims'), counts.get('pass-over')]).toEqual([undefined, 1]);
  expect(await inOutbox()).toBe(0);
});

test('each page goes on after the one before, a pass that was cut short is gone on with, and what came before its place is not left', async () => {
  const some = (from: number) => Array.from({ length: 300 }, (_, index) => `paged${from + index}`);
  await makeCustomers(database.pool, some(100));
  const passing = new PassingOver({ pool: database.pool, publisher: outgoing.publisher, logger });
  const queries = vi.spyOn(pg.Client.prototype, 'query');
  let pages = 0;
  expect(await passing.pass(() => pages++ === 0)).toBe(500);
  await makeCustomers(database.pool, ['paged0']);
  let passed = 0;
  await eventually('the next pass', async () => {
    passed += await passing.pass(() => true);
    return passed > 0;
  });
  const locks = (queries.mock.calls as readonly unknown[][]).flatMap(([query]) =>
    typeof query === 'object' && query !== null && 'name' in query && query.name === 'lock-to-pass-over' ? [query] : [],
  );
  queries.mockRestore();
  expect([passed, await inOutbox()]).toEqual([102, 0]);
  // From the first key, after the page before, and from the first key again.
  const after = locks.map((query) => ('values' in query && Array.isArray(query.values) ? query.values[1] : null));
  expect(after).toEqual(['', expect.stringMatching(/^cus_paged/), '']);
});

test('what somebody hears is told beside what nobody hears', async () => {
  await makeCustomers(database.pool, ['beside']);
  await makeCustomers(database.pool, ['heard'], OTHER);
  await addEndpoint(OTHER);
  await post('cus_beside', 3);
  await post('cus_heard', 3, OTHER);
  // The dollars of the one are told; the rupees of the heard one were opened before there was an endpoint.
  expect(await run()).toMatchObject({ wallets: 1, passedOver: 2 });
  expect([await told('cus_beside'), await told('cus_heard')]).toEqual([[], [1, 2, 3]]);
});

test('what somebody hears does not wait until all is passed over that nobody hears', async () => {
  await makeCustomers(
    database.pool,
    Array.from({ length: 800 }, (_, index) => `many${index}`),
  );
  await makeCustomers(database.pool, ['not-last'], OTHER);
  await addEndpoint(OTHER);
  await post('cus_not-last', 1, OTHER);
  const { publisher } = outgoing;
  const steps: string[] = [];
  const slow: Publisher = {
    concurrency: publisher.concurrency,
    pausedForSeconds: () => 0,
    unheard: async (db, merchantIds) => {
      if (merchantIds.length === 1) {
        steps.push('passed over');
        await delay(1_200);
      }
      return (await publisher.unheard?.(db, merchantIds)) ?? [];
    },
    send: (messages) => {
      steps.push('told');
      return publisher.send(messages);
    },
    record: (tx, messages) => publisher.record(tx, messages),
  };
  expect(await run(slow)).toMatchObject({ retryAfterSeconds: null });
  expect(await told('cus_not-last')).toEqual([1]);
  expect(steps.indexOf('told')).toBeLessThan(steps.lastIndexOf('passed over'));
});

test('the first endpoint is told of what comes after it and of nothing before, whether that was passed over or not', async () => {
  await makeCustomers(database.pool, ['first']);
  await post('cus_first', 3);
  await run();
  await post('cus_first', 2);
  await addEndpoint();
  await post('cus_first', 4);
  await run();
  expect(await told('cus_first')).toEqual([6, 7, 8, 9]);
});

test('of a disabled endpoint is kept what it misses, since that can be asked for', async () => {
  await makeCustomers(database.pool, ['disabled']);
  const { id } = await addEndpoint();
  await outgoing.webhooks.updateEndpoint(MERCHANT, id, { disabled: true });
  await post('cus_disabled', 2);
  await run();
  expect(await told('cus_disabled')).toEqual([1, 2]);
});

test('an endpoint that is added while wallets are being passed over hears of every entry after it', async () => {
  await makeCustomers(database.pool, ['race']);
  await run();
  await post('cus_race', 1);
  // Added, and an entry written, before the wallets are locked, though the list of the unheard was read before that.
  const { publisher } = outgoing;
  let asked = 0;
  const stale: Pick<Publisher, 'unheard'> = {
    unheard: async (db, merchantIds) => {
      const unheard = (await publisher.unheard?.(db, merchantIds)) ?? [];
      asked += 1;
      if (asked === 1) {
        await addEndpoint();
        await post('cus_race', 1);
      }
      return unheard;
    },
  };
  expect(await new PassingOver({ pool: database.pool, publisher: stale, logger }).pass(() => true)).toBe(0);
  await run();
  expect(await told('cus_race')).toEqual([2]);
});

test('an entry that is written while its wallet is being passed over waits, and is told to whoever was added before it', async () => {
  await makeCustomers(database.pool, ['waits']);
  await post('cus_waits', 1);
  const { publisher } = outgoing;
  let writing: Promise<unknown> | null = null;
  const racing: Pick<Publisher, 'unheard'> = {
    unheard: async (db, merchantIds) => {
      const unheard = (await publisher.unheard?.(db, merchantIds)) ?? [];
      await database.pool.query(
        `insert into webhook_endpoint (merchant_id, endpoint_id, url, description, disabled, secret, created_at, updated_at)
         values ($1, 'ep_racing', 'http://127.0.0.1:9/hook', '', false, 'whsec_x', now(), now())`,
        [MERCHANT],
      );
      writing = post('cus_waits', 1);
      await eventually('the entry to wait for the wallet', async () => (await waitingForLocks(database.pool)) === 1);
      return unheard;
    },
  };
  expect(await passOverMerchant({ pool: database.pool, publisher: racing }, MERCHANT)).toBeGreaterThan(0);
  await writing;
  await run();
  expect(await told('cus_waits')).toEqual([2]);
});

test('what is being told already is not passed over, and a claim that was passed over says nothing', async () => {
  await makeCustomers(database.pool, ['claimed']);
  await addEndpoint();
  await post('cus_claimed', 2);
  const claims = await claimDue(database.pool, { limit: 500, leaseSeconds: 60 });
  await database.pool.query('delete from webhook_endpoint');
  expect(await passOverMerchant({ pool: database.pool, publisher: outgoing.publisher }, MERCHANT)).toBe(0);
  await database.pool.query("update unannounced_wallet set claimed_until = now() - interval '1 second'");
  expect(await passOverMerchant({ pool: database.pool, publisher: outgoing.publisher }, MERCHANT)).toBe(claims.length);
  const markings = await transaction(database.pool, (tx) => markAnnounced(tx, claims, 'skip'));
  expect(new Set(markings)).toEqual(new Set(['elsewhere']));
});

test('a long backlog of one wallet is told by a claim for a thousand entries, while more are written', async () => {
  await makeCustomers(database.pool, ['hot']);
  await addEndpoint();
  for (let batch = 0; batch < 10; batch += 1) await post('cus_hot', 500);
  const { publisher } = outgoing;
  let written = 0;
  const busy: Publisher = {
    concurrency: publisher.concurrency,
    pausedForSeconds: () => 0,
    send: async (messages) => {
      if (written < 2000) {
        written += 400;
        await post('cus_hot', 400);
      }
      return publisher.send(messages);
    },
    record: (tx, messages) => publisher.record(tx, messages),
  };
  const counts = await counting(() => run(busy));
  expect(await told('cus_hot')).toEqual(Array.from({ length: 7000 }, (_, index) => index + 1));
  // 900 entries at a time at the least; the rupees have a claim as well, and the last look finds nothing.
  expect(counts.get('size-claims')).toBeLessThanOrEqual(Math.ceil(7000 / 900) + 1);
  expect(counts.get('mark-announced')).toBeLessThanOrEqual(Math.ceil(7000 / 900) + 1);
});

test('what cannot be passed over of one merchant is looked at again later, and others are passed over and told meanwhile', async () => {
  const [broken = ''] = await makeCustomers(database.pool, ['broken'], 'bus_a_broken');
  await makeCustomers(database.pool, ['unheard'], 'bus_b_unheard');
  await addEndpoint();
  const [heard = ''] = await makeCustomers(database.pool, ['heard_meanwhile']);
  await post(broken, 1, 'bus_a_broken');
  await post(heard, 1);
  await database.pool.query(`
    create function refuse_passing() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
    create trigger refuse_passing before update on wallet for each row
    when (new.merchant_id = 'bus_a_broken' and new.announced_version > old.announced_version) execute function refuse_passing()`);
  // What stays in the list is due, and yet not looked at again every second.
  expect(await run()).toMatchObject({ passedOver: 2, failed: 0, retryAfterSeconds: 15 });
  expect(await told(heard)).toEqual([1]);
  const { rows } = await database.pool.query('select distinct merchant_id from unannounced_wallet');
  expect(rows).toEqual([{ merchant_id: 'bus_a_broken' }]);
  await database.pool.query('drop trigger refuse_passing on wallet; drop function refuse_passing');
});
