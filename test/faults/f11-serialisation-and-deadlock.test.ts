import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { LOT_OPERATIONS } from '../support/fault-lots.ts';
import { expectApplied, IS_JOB_OF_EVENT, isOfWeb, WEB_OPERATIONS } from '../support/fault-operations.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { earlyRefund, newDebit, paymentEvent, type TrafficEvent } from '../support/fault-traffic.ts';
import { makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { atEveryStatement, type Fault, type ProxiedStatement } from '../support/statement-proxy.ts';
import { eventually } from '../support/wait.ts';

/**
 * F11: Postgres ends a transaction because it lost against another: 40001, 40P01. It is run again, five times at most,
 * and nobody hears of it; one that goes on losing is answered 503 or put off, in bounded time and without its
 * neighbours. Our own transactions take their locks in one order; a deadlock takes a stranger.
 */
const MAX_ATTEMPTS = 5;
const SQL_STATES = ['40001', '40P01'];

let rig: FaultRig;

beforeAll(async () => {
  rig = await FaultRig.start();
  // A deadlock is looked for at once, by everybody but the test itself.
  await rig.database.pool.query(
    "do $$ begin execute format('alter database %I set deadlock_timeout = %L', current_database(), '50ms'); end $$",
  );
  await rig.startWebHere();
});

afterAll(async () => {
  await rig.expectAllWell();
  await rig.close();
});

const raising = (sqlState: string): Fault => ({ when: 'before', connection: 'kept', raises: sqlState });

describe.each(SQL_STATES)('%s at every statement of web', (sqlState) => {
  it.each([...WEB_OPERATIONS, ...LOT_OPERATIONS])('is not noticed: $name', async ({ statements, prepare }) => {
    const attempt = await prepare(rig, 200);
    const { length: points } = await atEveryStatement(rig.proxy, raising(sqlState), isOfWeb, attempt);
    expect(points).toBeGreaterThanOrEqual(statements);
  });
});

describe('posting that loses', () => {
  it('again and again is given up after five tries, with 503 and no entry, and its neighbours are written', async () => {
    const { traffic } = rig;
    const unlucky = await traffic.newCustomer(100);
    const lucky = await traffic.newCustomer(100);
    const always = raiseAlways('40001', ({ sql, holds }) => sql.includes('for update of w') && holds(unlucky));
    const alone = newDebit(unlucky, 1);
    const startedAt = performance.now();
    expect(await traffic.debitOnce(alone)).toMatchObject({ status: 503, body: { code: 'SERVICE_UNAVAILABLE' } });
    expect(always.times()).toBe(MAX_ATTEMPTS);
    const debits = [newDebit(unlucky, 1), newDebit(lucky, 1), newDebit(unlucky, 1), newDebit(lucky, 1)];
    const answers = await traffic.debitBatchOnce(debits);
    expect(answers.map(({ status }) => status)).toEqual([503, 200, 503, 200]);
    // Once with its neighbours if they share a batcher, once by wallet, once each.
    expect(always.times()).toBeLessThanOrEqual(5 * MAX_ATTEMPTS);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    always.stop();
    for (const debit of [alone, ...debits]) await traffic.debit(debit);
  });

  it('again and again is tried five times', async () => {
    let runs = 0;
    const losingRaces = transaction(rig.database.pool, async (tx) => {
      runs += 1;
      await tx.query("do $$ begin raise exception 'lost' using errcode = '40001'; end $$");
    });
    await expect(losingRaces).rejects.toThrow('lost');
    expect(runs).toBe(MAX_ATTEMPTS);
  });

  it('is run again where a stranger who locks in the opposite order makes it a deadlock', async () => {
    const { traffic, database } = rig;
    const begins = countStatements(
      ({ applicationName, sql }) => applicationName === 'chokin-web' && sql.startsWith('begin'),
    );
    const customerId = await traffic.newCustomer(1_000);
    const wallet = 'select 1 from wallet where customer_id = $1 and currency = $2 for update';
    const waiting = (howMany: number) =>
      eventually(`${howMany} to wait`, async () => (await database.pool.query(WAITING)).rowCount === howMany);
    const [gate, stranger] = await Promise.all([database.pool.connect(), database.pool.connect()]);
    for (let round = 0; round < rounds(3, 30); round += 1) {
      await gate.query('begin');
      await gate.query(wallet, [customerId, 'INR']);
      await stranger.query('begin');
      // Whoever looks for the deadlock is the one that is cut off.
      await stranger.query("set local deadlock_timeout = '60s'");
      await stranger.query(wallet, [customerId, 'USD']);
      const before = begins.times();
      const entries = ['USD', 'INR'].map((currency) => ({
        customer_id: customerId,
        currency,
        amount: 1,
        entry_type: 'credit',
        idempotency_key: `${currency}${round}`,
      }));
      const posted = traffic.call('POST', '/ledger-entries/batch', { entries });
      await waiting(1);
      const locked = stranger.query(wallet, [customerId, 'INR']);
      await waiting(2);
      // Now we get INR and want USD, which the stranger has, who wants INR.
      await gate.query('commit');
      await locked;
      await stranger.query('commit');
      expect((await posted).body.items).toMatchObject([{ status: 'created' }, { status: 'created' }]);
      expect(begins.times() - before).toBeGreaterThanOrEqual(2);
      traffic.owed.set(customerId, 1_001 + round);
    }
    for (const client of [gate, stranger]) client.release();
    begins.stop();
  }, 90_000);
});

describe('applying', () => {
  it('that loses again and again is put off by itself, and done when it wins; its neighbours are applied', async () => {
    const { traffic, database } = rig;
    const unlucky = paymentEvent(await traffic.newCustomer(), 10);
    const lucky = paymentEvent(await traffic.newCustomer(), 10);
    for (const event of [unlucky, lucky]) await traffic.deliver(event);
    const always = raiseAlways('40P01', ({ sql, holds }) => locksWallets(sql) && holds(unlucky.customerId));
    await rig.startWorkerHere();
    await eventually('the event to be put off, with a job of its own', async () => {
      const [shared, own] = await jobsOf(unlucky);
      return shared?.state === 'completed' && own?.state === 'created';
    });
    await eventually('its neighbour to be applied', async () => isDone(await jobsOf(lucky)));
    expect(always.times()).toBe(2 * MAX_ATTEMPTS);
    await expectApplied(rig, lucky);
    always.stop();
    // Time goes by, and the next event wakes the worker.
    await database.pool.query("update pgboss.job set start_after = now() where name = 'apply-provider-event'");
    await traffic.deliver(paymentEvent(lucky.customerId, 10));
    await eventually('the event to be applied', async () => isDone(await jobsOf(unlucky)));
    expect(await jobsOf(unlucky)).toEqual([1, 2].map(() => ({ state: 'completed', retries: 0 })));
    await expectApplied(rig, unlucky);
  });

  it.each(SQL_STATES.slice(0, rounds(1, 2)))(
    'is not put off by one %s, at whatever statement',
    async (sqlState) => {
      const { traffic, proxy } = rig;
      const customerId = await traffic.newCustomer();
      const points = await atEveryStatement(proxy, raising(sqlState), ofApplying(), async (under) => {
        const { refund, payment } = earlyRefund(customerId, 10, 4);
        await traffic.deliver(refund);
        await eventually('the refund to wait', async () => (await jobsOf(refund))[0]?.state === 'completed');
        await under(async () => {
          await traffic.deliver(payment);
          // The refund has three jobs: one that found no payment, its alarm, and one by which the payment woke it.
          await eventually(
            'both to be applied',
            async () => isDone(await jobsOf(payment)) && isWoken(await jobsOf(refund)),
          );
        });
        for (const event of [payment, refund]) {
          for (const { retries } of await jobsOf(event)) expect(retries).toBe(0);
          await expectApplied(rig, event);
        }
      });
      expect(points.length).toBeGreaterThanOrEqual(24);
    },
    90_000,
  );
});

describe('locks in the opposite order', () => {
  it('of our own batches: none is cut off', async () => {
    const { pool } = rig.database;
    const customers = await makeCustomers(pool, ['a', 'b', 'c', 'd']);
    const batch = customers.map((customerId) => posting({ customerId, amountMinor: 1 }));
    let runs = 0;
    const post = (postings: typeof batch) =>
      transaction(pool, (tx) => {
        runs += 1;
        return postBatch(tx, postings, { ...SETTINGS, now: new Date() });
      });
    await Promise.all(Array.from({ length: 60 }, (_, index) => post(index % 2 === 0 ? batch : batch.toReversed())));
    expect(runs).toBe(60);
    const { rows } = await pool.query("select balance from wallet where customer_id = any ($1) and currency = 'USD'", [
      customers,
    ]);
    expect(rows).toEqual(customers.map(() => ({ balance: 60 })));
  });

  it('of web and worker under load: none is cut off, nobody is turned away', async () => {
    const { traffic } = rig;
    const rollbacks = countStatements(
      ({ applicationName, sql }) => isMarkedAs(applicationName) && sql.startsWith('rollback'),
    );
    const troublesBefore = traffic.troubles.length;
    const customers = await Promise.all(Array.from({ length: 6 }, () => traffic.newCustomer(10_000)));
    const orders = [customers, customers.toReversed()];
    for (let round = 0; round < rounds(2, 20); round += 1) {
      const debits = orders.flatMap((order) => [0, 1, 2].map(() => order.map((customerId) => newDebit(customerId, 2))));
      const events = orders.flatMap((order) =>
        order.flatMap((customerId) => [paymentEvent(customerId, 1), paymentEvent(customerId, 3)]),
      );
      const posted = debits.map((some) => traffic.debitBatchOnce(some));
      await Promise.all(events.map((event) => traffic.deliver(event)));
      for (const answers of await Promise.all(posted))
        expect(answers.map(({ status }) => status)).toEqual(customers.map(() => 200));
    }
    await rig.expectAllWell();
    expect(traffic.troubles.slice(troublesBefore)).toEqual([]);
    expect(rollbacks.times()).toBe(0);
    rollbacks.stop();
  }, 90_000);
});

const isMarkedAs = (applicationName: string) => ['chokin-web', 'chokin-worker'].includes(applicationName);
const locksWallets = (sql: string) => sql.includes('w.alerts_armed') && sql.includes('for update of w');
const WAITING = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

/** Watches how many of the statements that match pass by. */
function countStatements(matches: (statement: ProxiedStatement) => boolean) {
  return answerAlways(matches, null);
}

function raiseAlways(sqlState: string, matches: (statement: ProxiedStatement) => boolean) {
  return answerAlways(matches, raising(sqlState));
}

function answerAlways(matches: (statement: ProxiedStatement) => boolean, fault: Fault | null) {
  let times = 0;
  const stop = rig.proxy.inject((statement) => {
    if (!matches(statement)) return null;
    times += 1;
    return fault;
  });
  return { times: () => times, stop };
}

const LOCKS_EVENTS =
  /from provider_event\s+where merchant_id = \$\d+ and event_id = any \(\$\d+\)\s+order by event_id for update/;

/** Tells the statements of the transactions that apply events, but for their BEGIN, from everything else. */
function ofApplying(): (statement: ProxiedStatement) => boolean {
  const open = new Map<number, 'open' | 'ending'>();
  rig.proxy.inject(({ applicationName, connection, sql }) => {
    if (open.get(connection) === 'ending') open.delete(connection);
    if (applicationName === 'chokin-worker' && LOCKS_EVENTS.test(sql)) open.set(connection, 'open');
    else if (open.has(connection) && ['commit', 'rollback'].includes(sql)) open.set(connection, 'ending');
    return null;
  });
  return ({ connection }) => open.has(connection);
}

interface Job {
  readonly state: string;
  readonly retries: number;
}

const isDone = (jobs: readonly Job[]) => jobs.length > 0 && jobs.every(({ state }) => state === 'completed');
const isWoken = (jobs: readonly Job[]) => jobs.filter(({ state }) => state === 'completed').length === 2;

/** The jobs of an event, the oldest first. */
async function jobsOf({ eventId }: TrafficEvent): Promise<readonly Job[]> {
  const { rows } = await rig.database.pool.query<Job>(
    `select j.state, j.retry_count as retries
     from provider_event e join pgboss.job j on ${IS_JOB_OF_EVENT}
     where e.delivery_key = $1 order by j.created_on`,
    [eventId],
  );
  return rows;
}
