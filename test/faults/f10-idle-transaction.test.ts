import { once } from 'node:events';
import pg from 'pg';
import { describe, expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createPool } from '../../src/db/pool.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectApplied } from '../support/fault-operations.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { eventually } from '../support/wait.ts';

/**
 * F10: a session sits idle in a transaction and holds a wallet's row. What wants that wallet is told to come again, in
 * bounded time, however much of it there is; every other wallet goes on; and a session of our own users does not sit
 * there for ever: the server ends it.
 */
const LOCK_TIMEOUT_MS = 3_000;
/** Each of the twenty that waited for itself alone would take a minute. */
const MARGIN_MS = 30_000;
const logger = createLogger('silent', 'test');

/** A wallet's row, held by an idle transaction. */
async function hold(client: pg.ClientBase, customerId: string): Promise<void> {
  await client.query('begin');
  await client.query("select 1 from wallet where customer_id = $1 and currency = 'USD' for update", [customerId]);
}

async function connect(databaseUrl: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'by hand' });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** Sessions of our own users, and how long the server lets each sit in a transaction (src/db/pool.ts, src/db/roles.ts). */
interface Idler {
  readonly name: string;
  readonly idleMs: number;
  open(database: TestDatabase): Promise<pg.ClientBase>;
}

const IDLERS: readonly Idler[] = [
  {
    name: 'a process of ours that hangs',
    idleMs: 10_000,
    open: ({ webUrl: databaseUrl }) =>
      createPool({ databaseUrl, applicationName: 'hangs', maxConnections: 1, logger }).connect(),
  },
  {
    name: 'somebody who logged in as one of our users',
    idleMs: 30_000,
    open: ({ workerUrl }) => connect(workerUrl),
  },
];

describe.concurrent('a wallet that somebody holds', () => {
  it('answers 503 to its own postings, and holds up those of others for one wait however many they are', async ({
    onTestFinished,
  }) => {
    const rig = await startRig(onTestFinished);
    const { traffic } = rig;
    const { held, others, letGo } = await holdOne(rig, onTestFinished);
    const heldDebits = Array.from({ length: 20 }, () => newDebit(held, 7));
    const otherDebits = others.map((customerId) => newDebit(customerId, 7));
    const startedAt = performance.now();
    const refused = heldDebits.map((debit) => traffic.debitOnce(debit));
    const taken = otherDebits.map((debit) => traffic.debitOnce(debit));
    for (const { status } of await Promise.all(taken)) expect(status).toBe(200);
    for (const { status } of await Promise.all(refused)) expect(status).toBe(503);
    // What came first waits by itself, and the rest after it.
    expect(performance.now() - startedAt).toBeLessThan(2 * LOCK_TIMEOUT_MS + MARGIN_MS);

    await letGo();
    for (const { status } of await Promise.all(heldDebits.map((debit) => traffic.debit(debit))))
      expect(status).toBe(200);
    await rig.startWorkerHere();
    await rig.expectAllWell();
  }, 120_000);

  it('puts its own events off, and those of others are applied meanwhile', async ({ onTestFinished }) => {
    const rig = await startRig(onTestFinished);
    const { traffic, database } = rig;
    const { held, others, letGo } = await holdOne(rig, onTestFinished);
    const heldEvents = Array.from({ length: 20 }, () => paymentEvent(held, 10));
    const otherEvents = others.map((customerId) => paymentEvent(customerId, 10));
    // All are there before the worker is, so that they are fetched together; those of others are the last.
    for (const event of [...heldEvents, ...otherEvents]) await traffic.deliver(event);
    await rig.startWorkerHere();
    const found = async (sql: string) =>
      (await database.pool.query<{ id: string }>(sql)).rows.map(({ id }) => id).sort();
    await eventually(
      'the events of others to be applied',
      async () => (await found(APPLIED)).length === others.length,
      120_000,
    );
    expect(await found(APPLIED)).toEqual(otherEvents.map(({ eventId }) => eventId).sort());
    await eventually('its own to be put off', async () => (await found(PUT_OFF)).length === heldEvents.length, 120_000);

    await letGo();
    // Time goes by, also for what was being tried just then and is put off only now; and the next event wakes the worker.
    const makeDue = () =>
      database.pool
        .query("update pgboss.job set start_after = now() where state in ('created', 'retry')")
        .catch(() => {});
    await makeDue();
    const passing = setInterval(makeDue, 1_000);
    onTestFinished(() => clearInterval(passing));
    await traffic.deliver(paymentEvent(held, 10));
    await rig.expectAllWell();
    for (const event of [...heldEvents, ...otherEvents]) await expectApplied(rig, event);
  }, 400_000);

  it.for(IDLERS.slice(0, rounds(1, IDLERS.length)))(
    'is given free by the server after $idleMs ms, where it is held by $name',
    { timeout: 180_000 },
    async ({ idleMs, open }, { onTestFinished }) => {
      const rig = await startRig(onTestFinished);
      const { traffic } = rig;
      await rig.startWorkerHere();
      const held = await traffic.newCustomer(10_000);
      const session = await open(rig.database);
      await hold(session, held);
      const startedAt = performance.now();
      const ended = once(session, 'error').then(([error]) => ({ error, heldMs: performance.now() - startedAt }));
      await traffic.deliver(paymentEvent(held, 10));
      expect((await traffic.debitOnce(newDebit(held, 7))).status).toBe(503);
      const { error, heldMs } = await ended;
      expect(error).toMatchObject({ code: '25P03' });
      expect(heldMs).toBeGreaterThan(idleMs - 500);
      expect(heldMs).toBeLessThan(idleMs + MARGIN_MS);
      expect((await traffic.debitOnce(newDebit(held, 7))).status).toBe(200);
      await rig.expectAllWell();
    },
  );

  it('holds up nobody else in the batchers, whose batches are tried apart', async () => {
    const database = await createTestDatabase();
    const { pool } = database;
    await makeCustomers(pool, ['a', 'b', 'c', 'd', 'solo']);
    const batchers = new LedgerBatches({ pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} });
    const holder = await pool.connect();
    await hold(holder, 'cus_solo');
    const held = batchers.post(posting({ customerId: 'cus_solo', amountMinor: 1 })).catch((error: unknown) => error);
    const customers = ['cus_a', 'cus_b', 'cus_c', 'cus_d'];
    const others = await Promise.all(
      customers.map((customerId) => batchers.post(posting({ customerId, amountMinor: 1 }))),
    );
    expect(others.every((outcome) => outcome.kind === 'created')).toBe(true);
    expect(await held).toMatchObject({ code: '55P03' });
    await holder.query('rollback');
    holder.release();
    await expectBooksToAgree(pool);
    await database.drop();
  });
});

const APPLIED = "select delivery_key as id from provider_event where state = 'applied'";
const PUT_OFF = `
  select id from pgboss.job
  where name = 'apply-provider-event' and state in ('created', 'retry', 'active')`;

type Cleanup = TestContext['onTestFinished'];

async function startRig(onTestFinished: Cleanup): Promise<FaultRig> {
  const rig = await FaultRig.start();
  onTestFinished(() => rig.close());
  await rig.startWebHere();
  return rig;
}

/** A customer whose wallet is held by hand, as the user of web, and others whose wallets are not. */
async function holdOne({ traffic, database }: FaultRig, onTestFinished: Cleanup) {
  const [held = '', ...others] = await Promise.all(Array.from({ length: 9 }, () => traffic.newCustomer(10_000)));
  const byHand = await connect(database.webUrl);
  onTestFinished(() => byHand.end());
  // Nobody but the test ends this one.
  await byHand.query('set idle_in_transaction_session_timeout = 0');
  await hold(byHand, held);
  return { held, others, letGo: () => byHand.query('rollback') };
}
