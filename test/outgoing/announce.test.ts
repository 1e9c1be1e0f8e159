import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Pool } from '../../src/db/pool.ts';
import { autocommit, type Tx, transaction } from '../../src/db/transaction.ts';
import { type Posting, walletKeyText } from '../../src/ledger/entry.ts';
import { claimDue, markAnnounced, postponeOutbox, releaseOutbox } from '../../src/ledger/outbox.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { claimParts, readParts } from '../../src/outgoing/claim.ts';
import type { OutgoingMessage } from '../../src/outgoing/outgoing.ts';
import type { Publisher, SendResult } from '../../src/outgoing/publisher.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { gatedPool } from '../support/gated-pool.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { eventually } from '../support/wait.ts';

/** Aims at the work list: that everything is said, once, in order, with the same ids and bytes after a crash. */

const logger = createLogger('silent', 'test');
let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  await database.pool.query('delete from unannounced_wallet');
});

/** Takes everything, or does what the test says for the wallet's next messages. */
class RecordingPublisher implements Publisher {
  concurrency = 4;
  paused = 0;
  readonly sent: OutgoingMessage[] = [];
  readonly recorded: OutgoingMessage[] = [];
  onSend: (messages: readonly OutgoingMessage[]) => Promise<SendResult> | SendResult = () => ({ kind: 'sent' });

  pausedForSeconds(): number {
    return this.paused;
  }

  async send(messages: readonly OutgoingMessage[]): Promise<SendResult> {
    const result = await this.onSend(messages);
    if (result.kind === 'sent') this.sent.push(...messages);
    return result;
  }

  async record(_: Tx, messages: readonly OutgoingMessage[]): Promise<void> {
    this.recorded.push(...messages);
  }

  data(): readonly Record<string, unknown>[] {
    return this.sent.map(({ payload }) => JSON.parse(payload).data);
  }
}

const run = (publisher: Publisher, options: { maxSeconds?: number; signal?: AbortSignal } = {}) =>
  announce({ pool: database.pool, publisher, logger, maxSeconds: 20, ...options });

/** Begins nothing once what was put off before is due again, 10 s later, however long what is under way waits: on Citus a lock is waited for 8 s. */
const ONCE = { maxSeconds: 8 };

const post = (...postings: readonly (Partial<Posting> & Pick<Posting, 'amountMinor'>)[]) =>
  transaction(database.pool, (tx) => postBatch(tx, postings.map(posting), { ...SETTINGS, now: new Date() }));

const listed = async (customerId: string) => {
  const { rows } = await database.pool.query(
    'select *, retry_at - now() as wait from unannounced_wallet where customer_id = $1 order by currency desc',
    [customerId],
  );
  return rows;
};

/** Locks the wallets of customers as a session by hand would. */
async function hold(customers: readonly (string | undefined)[]) {
  const client = await database.pool.connect();
  // For as long as the test wants.
  await client.query('begin; set local idle_in_transaction_session_timeout = 0');
  await client.query("select 1 from wallet where merchant_id = 'bus_default' and customer_id = any ($1) for update", [
    customers,
  ]);
  const letGo = async () => {
    await client.query('rollback');
    client.release();
  };
  return { letGo };
}

/** The pool, in which statements fail that are meant, by their text and values. */
function failingFor(pool: Pool, isMeant: (texts: string) => boolean, error: Error): Pool {
  const failing = (client: pg.PoolClient) =>
    new Proxy(client, {
      get: (_, name) => {
        const value: unknown = Reflect.get(client, name);
        if (typeof value !== 'function') return value;
        if (name !== 'query') return value.bind(client);
        return (...args: readonly unknown[]) => {
          const asked = args
            .map((one) => (typeof one === 'object' && one !== null ? Object.values(one) : [one]))
            .flat(2);
          const texts = asked.map((one) => (Buffer.isBuffer(one) ? one.toString('utf8') : String(one))).join('\n');
          return isMeant(texts) ? Promise.reject(error) : Reflect.apply(value, client, args);
        };
      },
    });
  return Object.assign(Object.create(pool), { connect: async () => failing(await pool.connect()) });
}

const makeDue = () => database.pool.query('update unannounced_wallet set retry_at = null, claimed_until = null');

describe('announcing', () => {
  test('a new customer’s wallets, then a burst as one event, then alerts, and the list is empty', async () => {
    await makeCustomers(database.pool, ['burst']);
    const publisher = new RecordingPublisher();
    expect(await run(publisher)).toMatchObject({ wallets: 2, messages: 2, unfinished: false, retryAfterSeconds: null });
    expect(publisher.sent.map(({ eventType }) => eventType)).toEqual(['wallet.created', 'wallet.created']);
    expect(publisher.sent.map(({ payload }) => JSON.parse(payload).timestamp)).toEqual(
      Array.from({ length: 2 }, () => '2026-01-01T00:00:00.000Z'),
    );

    const customerId = 'cus_burst';
    await post(
      { customerId, amountMinor: 1500 },
      ...Array.from({ length: 29 }, () => ({ customerId, amountMinor: 100 })),
    );
    for (let index = 0; index < 5; index += 1) await post({ customerId, amountMinor: 780, isCredit: false });
    await run(publisher);
    const told = publisher.sent.slice(2);
    expect(told.map(({ eventType }) => eventType)).toEqual(['wallet.balance.changed', 'wallet.balance.low']);
    const [changed, low] = publisher.data().slice(2);
    expect(changed).toMatchObject({ customer_id: customerId, balance: 500, version: 35, previous_version: 0 });
    expect(changed?.entries).toHaveLength(35);
    expect(low).toMatchObject({ customer_id: customerId, threshold: 1000, balance: 500, reminder: false });
    expect(publisher.recorded).toEqual(publisher.sent);
    expect(await listed(customerId)).toEqual([]);
    expect(await run(publisher)).toMatchObject({ wallets: 0, messages: 0 });
    await expectBooksToAgree(database.pool);
  });

  test('a long backlog goes out in few messages, and its alerts after the entries that raised them', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['backlog']);
    await post(...Array.from({ length: 150 }, (_, index) => ({ customerId, amountMinor: index === 0 ? 5100 : 100 })));
    await post({ customerId, amountMinor: 19_500, isCredit: false }, { customerId, amountMinor: 500, isCredit: false });
    await post(...Array.from({ length: 98 }, () => ({ customerId, amountMinor: 100 })));
    const publisher = new RecordingPublisher();
    publisher.concurrency = 1;
    await run(publisher);
    const ofDollars = publisher.sent.filter(({ payload }) => JSON.parse(payload).data.currency === 'USD');
    expect(ofDollars.map(({ eventType, payload }) => [eventType, JSON.parse(payload).data.version])).toEqual([
      ['wallet.created', 0],
      ['wallet.balance.changed', 153],
      ['wallet.balance.changed', 250],
      ['wallet.balance.low', 151],
      ['wallet.balance.depleted', 152],
      ['wallet.balance.recovered', 163],
    ]);
  });

  test('what is said after a crash between sending and marking is the same, to the byte, with newer entries waiting', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['crash']);
    await post({ customerId, amountMinor: 100 });
    const first = new RecordingPublisher();
    first.record = () => Promise.reject(new Error('the process dies here'));
    expect(await run(first)).toMatchObject({ wallets: 0, failed: 2 });
    await post({ customerId, amountMinor: 50 });
    await makeDue();
    const second = new RecordingPublisher();
    second.concurrency = 1;
    await run(second);
    const sorted = (messages: readonly OutgoingMessage[]) =>
      messages.toSorted((a, b) => (a.messageId < b.messageId ? -1 : 1));
    const repeated = second.sent.filter(({ messageId }) =>
      first.sent.some((message) => message.messageId === messageId),
    );
    expect(sorted(repeated)).toEqual(sorted(first.sent));
    const fresh = second.sent.filter((message) => !repeated.includes(message));
    expect(fresh.map(({ payload }) => JSON.parse(payload).data)).toMatchObject([
      { balance: 150, version: 2, previous_version: 1 },
    ]);
    expect(await listed('cus_crash')).toEqual([]);
  });

  test('entries that arrive while a range is being sent follow as the next, in order', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['during']);
    await post({ customerId, amountMinor: 100 });
    const publisher = new RecordingPublisher();
    publisher.onSend = async ([message]) => {
      publisher.onSend = () => ({ kind: 'sent' });
      expect(message?.eventType).toBe('wallet.created');
      await post({ customerId, amountMinor: 1 }, { customerId, amountMinor: 2 });
      return { kind: 'sent' };
    };
    await run(publisher);
    const versions = publisher.data().flatMap((data) => (data.entries ? [[data.previous_version, data.version]] : []));
    expect(versions).toEqual([
      [0, 1],
      [1, 3],
    ]);
  });

  test('postings go on while wallets are announced, and nothing is lost or said twice', async () => {
    const names = Array.from({ length: 8 }, (_, index) => `busy${index}`);
    const customers = await makeCustomers(database.pool, names);
    const first = new RecordingPublisher();
    const publishers = [first, new RecordingPublisher()];
    let isPosting = true;
    const posters = Promise.all(
      customers.map(async (_, offset) => {
        for (let index = 0; index < 25; index += 1) {
          const order = customers.map((__, place) => customers[(place + offset) % customers.length]);
          await post(...order.slice(0, 3).map((customerId = '') => ({ customerId, amountMinor: 1 })));
        }
      }),
    ).finally(() => {
      isPosting = false;
    });
    const announcers = publishers.map(async (publisher) => {
      while (isPosting) await run(publisher);
    });
    await Promise.all([posters, ...announcers]);
    await run(first);
    const all = publishers.flatMap((publisher) => publisher.sent);
    expect(new Set(all.map(({ messageId }) => messageId)).size).toBe(all.length);
    for (const customerId of customers) {
      const seqs = all
        .map(({ payload }) => JSON.parse(payload).data)
        .filter((data) => data.customer_id === customerId && data.currency === 'USD')
        .flatMap((data) => (data.entries ?? []).map((one: { seq: number }) => one.seq));
      expect(seqs.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 75 }, (_, index) => index + 1));
      expect(await listed(customerId)).toEqual([]);
    }
  });
});

describe('a wallet that fails', () => {
  test('is tried again with doubling waits up to ten seconds, and holds up no other', async () => {
    const [bad = '', good = ''] = await makeCustomers(database.pool, ['bad', 'good']);
    const publisher = new RecordingPublisher();
    publisher.onSend = ([message]) =>
      JSON.parse(message?.payload ?? '').data.customer_id === bad
        ? { kind: 'failed', permanent: false, reason: 'Svix answered 500' }
        : { kind: 'sent' };
    for (const wait of [2, 4, 8]) {
      expect(await run(publisher)).toMatchObject({ failed: 2, retryAfterSeconds: wait });
      await makeDue();
    }
    expect(await listed(good)).toEqual([]);
    await database.pool.query('update unannounced_wallet set attempts = 30');
    expect(await run(publisher)).toMatchObject({ failed: 2, retryAfterSeconds: 10 });
    const [row] = await listed(bad);
    expect(row).toMatchObject({
      attempts: 31,
      last_error: 'Svix answered 500',
      claimed_version: 0,
      claimed_until: null,
    });
    publisher.onSend = () => ({ kind: 'sent' });
    expect(await run(publisher)).toMatchObject({ wallets: 0 });
    await makeDue();
    expect(await run(publisher)).toMatchObject({ wallets: 2 });
  });

  test('for good is put off at once and shown to the operator; a deferred one is no failure', async () => {
    const [refused = '', limited = ''] = await makeCustomers(database.pool, ['refused', 'limited']);
    const publisher = new RecordingPublisher();
    publisher.onSend = ([message]) =>
      JSON.parse(message?.payload ?? '').data.customer_id === refused
        ? { kind: 'failed', permanent: true, reason: `Svix answered 422: ${'x'.repeat(600)}` }
        : { kind: 'deferred', retryAfterSeconds: 7, reason: 'Svix limits the rate (429)' };
    expect(await run(publisher)).toMatchObject({ failed: 2, deferred: 2, retryAfterSeconds: 7 });
    const [first] = await listed(refused);
    expect(first).toMatchObject({ attempts: 1, last_error: expect.stringMatching(/^Svix answered 422: x{481}$/) });
    expect(first?.wait.minutes * 60 + first?.wait.seconds).toBeGreaterThan(880);
    const [second] = await listed(limited);
    expect(second).toMatchObject({ attempts: 0, last_error: 'Svix limits the rate (429)' });
    expect(second?.wait.seconds).toBeLessThanOrEqual(7);
  });
});

describe('the run', () => {
  test('ends when its time is up or it is told to stop, and gives back what it did not try', async () => {
    await makeCustomers(database.pool, ['late1', 'late2', 'late3']);
    const publisher = new RecordingPublisher();
    expect(await run(publisher, { maxSeconds: -1 })).toMatchObject({ wallets: 0, unfinished: true });
    const stop = new AbortController();
    publisher.concurrency = 2;
    publisher.onSend = () => {
      stop.abort();
      return { kind: 'sent' };
    };
    const stopped = await run(publisher, { signal: stop.signal });
    expect(stopped.unfinished).toBe(true);
    expect(stopped.wallets).toBeLessThanOrEqual(2);
    publisher.onSend = () => ({ kind: 'sent' });
    expect(await run(publisher)).toMatchObject({ wallets: 6 - stopped.wallets, unfinished: false });
  });

  test('does nothing while the publisher is paused, and says for how long', async () => {
    await makeCustomers(database.pool, ['paused']);
    const publisher = new RecordingPublisher();
    publisher.paused = 30;
    expect(await run(publisher)).toMatchObject({ wallets: 0, unfinished: false, retryAfterSeconds: 30 });
  });

  test('goes on with new wallets while one hangs', async () => {
    const [slow = ''] = await makeCustomers(database.pool, ['slow']);
    const publisher = new RecordingPublisher();
    let letGo = () => {};
    publisher.onSend = ([message]) =>
      JSON.parse(message?.payload ?? '').data.customer_id === slow
        ? new Promise((resolve) => {
            letGo = () => resolve({ kind: 'sent' });
          })
        : { kind: 'sent' };
    await database.pool.query("delete from unannounced_wallet where currency = 'INR'");
    const running = run(publisher);
    const hangs = await eventually('the slow wallet to hang', () => listed(slow).then(([row]) => row?.claimed_until));
    expect(hangs).not.toBeNull();
    await makeCustomers(database.pool, ['quick']);
    await eventually('the quick wallets to be told', () => publisher.sent.length === 2);
    letGo();
    expect(await running).toMatchObject({ wallets: 3 });
  });

  test('fails when the database does, after the wallets under way', async () => {
    await makeCustomers(database.pool, ['lost']);
    const publisher = new RecordingPublisher();
    const broken = await createTestDatabase(2);
    await makeCustomers(broken.pool, ['lost']);
    publisher.onSend = async () => {
      await broken.pool.query('drop table unannounced_wallet cascade');
      return { kind: 'deferred', retryAfterSeconds: 1, reason: 'x' };
    };
    publisher.concurrency = 1;
    await expect(announce({ pool: broken.pool, publisher, logger, maxSeconds: 5 })).rejects.toThrow(
      'unannounced_wallet',
    );
    await broken.drop();
  });

  test('takes a wallet off the list that has nothing left to say', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['silent']);
    await run(new RecordingPublisher());
    await database.pool.query("insert into unannounced_wallet select 'bus_default', $1, 'USD'", [customerId]);
    const publisher = new RecordingPublisher();
    expect(await run(publisher)).toMatchObject({ wallets: 1, messages: 0 });
    expect(await listed(customerId)).toEqual([]);
  });
});

describe('claims', () => {
  const claim = (limit = 10, leaseSeconds = 60) => claimDue(database.pool, { limit, leaseSeconds });

  test('are leased to one worker, oldest first, and free again when the lease is over', async () => {
    await makeCustomers(database.pool, ['old', 'new']);
    await database.pool.query(
      "update unannounced_wallet set since = now() - interval '1 hour' where customer_id = 'cus_old'",
    );
    expect((await claim(2)).map(({ customerId }) => customerId)).toEqual(['cus_old', 'cus_old']);
    expect((await claim()).map(({ customerId }) => customerId)).toEqual(['cus_new', 'cus_new']);
    expect(await claim()).toEqual([]);
    await database.pool.query("update unannounced_wallet set claimed_until = now() - interval '1 second'");
    expect(await claim()).toHaveLength(4);
  });

  test('wait for nobody: a wallet that a posting holds is claimed, a row that another claim holds is passed over', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['held']);
    await transaction(database.pool, async (tx) => {
      await postBatch(tx, [posting({ customerId: customerId, amountMinor: 5 })], { ...SETTINGS, now: new Date() });
      expect((await claim(1)).map(({ toVersion }) => toVersion)).toEqual([0]);
      await tx.query("select from unannounced_wallet where merchant_id = 'bus_default' for update skip locked");
      expect(await claim()).toEqual([]);
    });
  });

  test('are marked by one worker alone; the slower one changes nothing', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['twice']);
    await post({ customerId, amountMinor: 5 });
    const mine = (await claim()).find(({ currency }) => currency === 'USD');
    await makeDue();
    const theirs = (await claim()).find(({ currency }) => currency === 'USD');
    expect(theirs).toMatchObject({ fromVersion: mine?.fromVersion, toVersion: mine?.toVersion });
    if (mine === undefined || theirs === undefined) throw new Error('nothing was claimed');
    await post({ customerId, amountMinor: 5 });
    const mark = (one: typeof mine) => transaction(database.pool, (tx) => markAnnounced(tx, [one], 'skip'));
    expect(await mark(theirs)).toEqual(['marked']);
    expect(await mark(mine)).toEqual(['elsewhere']);
    const db = autocommit(database.pool);
    // What the slower one still holds is a claim that is over: it moves nothing of the next.
    await postponeOutbox(db, mine, { afterSeconds: 900, failed: true, reason: 'late' });
    await releaseOutbox(db, [mine]);
    const rows = await listed(mine.customerId);
    expect(rows.find(({ currency }) => currency === mine.currency)).toMatchObject({
      claimed_version: null,
      attempts: 0,
      retry_at: null,
    });
  });

  test('of a wallet that somebody holds keep no other wallet locked meanwhile, and are marked once it is free', async () => {
    const names = ['a', 'b', 'solo', 'y', 'z'];
    const customers = await makeCustomers(database.pool, names);
    const [, , solo] = customers;
    const publisher = new RecordingPublisher();
    const holder = await hold([solo]);
    const announced = run(publisher);
    await eventually(
      'the wallet to be waited for',
      async () => (await waitingForLocks(database.pool, '%for update of w%')) === 1,
    );
    const { rows: free } = await database.pool.query(
      "select customer_id from wallet where merchant_id = 'bus_default' and customer_id = any ($1) for update skip locked",
      [customers],
    );
    expect(free).toHaveLength(2 * (names.length - 1));
    const { rows: left } = await database.pool.query('select distinct customer_id from unannounced_wallet');
    expect(left).toEqual([{ customer_id: solo }]);
    await holder.letGo();
    expect(await announced).toMatchObject({ wallets: 2 * names.length, failed: 0 });
    expect(publisher.recorded).toHaveLength(2 * names.length);
  });

  test('of wallets that somebody holds are waited for once, however many they are', async () => {
    const names = Array.from({ length: 10 }, (_, index) => `many${index}`);
    const customers = await makeCustomers(database.pool, names);
    const holder = await hold(customers);
    const startedMs = performance.now();
    expect(await run(new RecordingPublisher(), ONCE)).toMatchObject({ wallets: 0, failed: 2 * names.length });
    // Twenty waits of three seconds would be a minute.
    expect(performance.now() - startedMs).toBeLessThan(30_000);
    await holder.letGo();
    await makeDue();
    const publisher = new RecordingPublisher();
    expect(await run(publisher)).toMatchObject({ wallets: 2 * names.length, failed: 0 });
    expect(publisher.recorded).toHaveLength(2 * names.length);
  });

  test('of a merchant whose wallet is held hurry nobody else’s', async () => {
    const mine = await makeCustomers(database.pool, ['mine']);
    const theirs = await makeCustomers(database.pool, ['theirs'], 'bus_other');
    const client = await database.pool.connect();
    await client.query('begin; set local idle_in_transaction_session_timeout = 0');
    await client.query('select 1 from wallet where customer_id = any ($1) for update', [[...mine, ...theirs]]);
    let hurried = 0;
    const pool = gatedPool(database.pool, async (sql) => {
      if (sql.startsWith('set local lock_timeout')) hurried += 1;
    });
    const publisher = new RecordingPublisher();
    const { wallets, failed } = await announce({ pool, publisher, logger, maxSeconds: 20 });
    expect(wallets).toBe(0);
    expect(failed).toBeGreaterThanOrEqual(4);
    // The first of each was waited for as long as any; all else is hurried.
    expect(failed - hurried).toBe(2);
    await client.query('rollback');
    client.release();
  }, 60_000);

  test('of a wallet that somebody holds are tried again soon, however often the sender failed before', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['flaky']);
    await database.pool.query('update unannounced_wallet set attempts = 7');
    const holder = await hold([customerId]);
    const { failed, retryAfterSeconds } = await run(new RecordingPublisher(), ONCE);
    expect(failed).toBe(2);
    expect(retryAfterSeconds).toBeLessThanOrEqual(10);
    await holder.letGo();
    await makeDue();
    expect(await run(new RecordingPublisher())).toMatchObject({ wallets: 2, failed: 0 });
  });

  test('keep their leases while it takes long to measure them', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `large${index}`);
    await makeCustomers(database.pool, names);
    const query = pg.Client.prototype.query as (...given: unknown[]) => unknown;
    const slow = vi.spyOn(pg.Client.prototype, 'query').mockImplementation(async function (
      this: pg.Client,
      ...given: unknown[]
    ) {
      const [statement] = given;
      const isSizing = typeof statement === 'object' && statement !== null && 'name' in statement;
      if (isSizing && statement.name === 'size-claims') await delay(3_000);
      return query.apply(this, given);
    });
    try {
      expect(await claimParts(database.pool, 60)).toHaveLength(60);
    } finally {
      slow.mockRestore();
    }
    const { rows } = await database.pool.query(
      'select extract(epoch from min(claimed_until) - now())::float8 as left from unannounced_wallet',
    );
    expect(rows[0].left).toBeGreaterThan(12);
  });

  test('of one merchant with many wallets leave room for others, whose news came later', async () => {
    await makeCustomers(
      database.pool,
      Array.from({ length: 20 }, (_, index) => `crowd${index}`),
    );
    const names = Array.from({ length: 8 }, (_, index) => `calm${index}`);
    await makeCustomers(database.pool, names, 'bus_calm');
    await makeCustomers(database.pool, ['calmer'], 'bus_calmer');
    await database.pool.query(
      "update unannounced_wallet set since = since - interval '1 hour' where merchant_id = 'bus_default'",
    );
    const claimed = await claim(10);
    const of = (merchantId: string) => claimed.filter((one) => one.merchantId === merchantId).length;
    expect([of('bus_default'), of('bus_calm'), of('bus_calmer')]).toEqual([10, 5, 2]);
    // What is claimed has its lease, and the next are others.
    const next = await claim(10);
    expect(next.filter((one) => claimed.some((before) => walletKeyText(before) === walletKeyText(one)))).toEqual([]);
    const { rows } = await database.pool.query('select 1 from unannounced_wallet where claimed_until > now()');
    expect(rows).toHaveLength(claimed.length + next.length);
    await database.pool.query('update unannounced_wallet set claimed_until = null');
    const publisher = new RecordingPublisher();
    expect(await run(publisher)).toMatchObject({ wallets: 58, failed: 0 });
  });

  test('of a wallet that always fails are put off, and those behind it are told', async () => {
    const [poison = ''] = await makeCustomers(database.pool, ['poison']);
    const others = await makeCustomers(database.pool, ['behind1', 'behind2']);
    const [theirs = ''] = await makeCustomers(database.pool, ['behind3'], 'bus_other');
    await database.pool.query(
      "update unannounced_wallet set since = since - interval '1 hour' where customer_id = $1",
      [poison],
    );
    await database.pool.query(`
      create function refuse_claim() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
      create trigger refuse_claim before update on unannounced_wallet for each row
      when (new.customer_id = 'cus_poison' and new.claimed_until is not null) execute function refuse_claim()`);
    const publisher = new RecordingPublisher();
    expect(await run(publisher)).toMatchObject({ wallets: 6, failed: 2, unfinished: false });
    expect(new Set(publisher.data().map(({ customer_id }) => customer_id))).toEqual(new Set([...others, theirs]));
    expect(await listed(poison)).toMatchObject(Array(2).fill({ attempts: 1, retry_at: expect.any(Date) }));
    await database.pool.query('drop trigger refuse_claim on unannounced_wallet; drop function refuse_claim');
    // It is not looked at before its time, and then it is told.
    expect(await run(publisher)).toMatchObject({ wallets: 0, failed: 0 });
    await makeDue();
    expect(await run(publisher)).toMatchObject({ wallets: 2, failed: 0 });
  });

  /** Makes changes of some rows of the work list fail. @returns a function that ends it */
  const refuse = async (condition: string) => {
    await database.pool.query(`
      create function refuse_update() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
      create trigger refuse_update before update on unannounced_wallet for each row
      when (${condition}) execute function refuse_update()`);
    return () => database.pool.query('drop trigger refuse_update on unannounced_wallet; drop function refuse_update');
  };

  test('of a wallet that cannot even be put off are left, and all other claims of its merchant are known', async () => {
    await makeCustomers(database.pool, ['kept1', 'stuck', 'kept2']);
    const accept = await refuse("new.customer_id = 'cus_stuck'");
    const told: string[] = [];
    const claims = await claimDue(database.pool, {
      limit: 10,
      leaseSeconds: 60,
      claimed: (some) => told.push(...some.map(walletKeyText)),
      failed: (_, { customerId }) => told.push(customerId ?? 'merchant'),
      apart: () => told.push('apart'),
    }).finally(accept);
    expect(new Set(claims.map(({ customerId }) => customerId))).toEqual(new Set(['cus_kept1', 'cus_kept2']));
    // All of them together, and those of its merchant.
    const failed = ['apart', 'apart', 'cus_stuck', 'cus_stuck', 'merchant'];
    expect(told.toSorted()).toEqual([...claims.map(walletKeyText), ...failed].toSorted());
  });

  test('that cannot be put off once their messages failed end no run', async () => {
    await makeCustomers(database.pool, ['failing']);
    const accept = await refuse('new.retry_at is not null');
    const publisher = new RecordingPublisher();
    publisher.onSend = () => ({ kind: 'failed', permanent: false, reason: 'away' });
    expect(await run(publisher).finally(accept)).toMatchObject({ wallets: 0, failed: 2 });
    await makeDue();
    expect(await run(new RecordingPublisher())).toMatchObject({ wallets: 2, failed: 0 });
  });

  test.each([
    ['measured', 'with recursive walk'],
    ['read', 'when not m.is_omitted'],
  ])('of a wallet that cannot be %s are put off, and those behind it are told', async (how, sql) => {
    const [poison = ''] = await makeCustomers(database.pool, [`not_${how}`]);
    const others = await makeCustomers(database.pool, [`${how}1`, `${how}2`]);
    await post(...[poison, ...others].map((customerId) => ({ customerId, amountMinor: 5 })));
    await database.pool.query(
      "update unannounced_wallet set since = since - interval '1 hour' where customer_id = $1",
      [poison],
    );
    const corrupt = Object.assign(new pg.DatabaseError('invalid page', 0, 'error'), { code: 'XX001' });
    const pool = failingFor(database.pool, (texts) => texts.includes(sql) && texts.includes(poison), corrupt);
    const publisher = new RecordingPublisher();
    const told = await announce({ pool, publisher, logger, maxSeconds: 20 });
    expect(told).toMatchObject({ wallets: 4, failed: 2, unfinished: false });
    expect(new Set(publisher.data().map(({ customer_id }) => customer_id))).toEqual(new Set(others));
    expect(await listed(poison)).toMatchObject(Array(2).fill({ attempts: 1, claimed_until: null }));
    await makeDue();
    expect(await run(publisher)).toMatchObject({ wallets: 2, failed: 0 });
  });

  test('read what they are about', async () => {
    const [customerId = ''] = await makeCustomers(database.pool, ['read']);
    await post({ customerId, amountMinor: 5 }, { customerId, amountMinor: 5, isCredit: false });
    const news = await readParts(autocommit(database.pool), await claimParts(database.pool, 10));
    const dollars = news.find(({ news }) => news.currency === 'USD')?.news;
    expect(dollars?.entries.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(dollars?.alerts.map(({ kind }) => kind)).toEqual(['low', 'depleted']);
  });
});
