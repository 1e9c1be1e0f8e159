import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit, paymentEvent, type TrafficAnswer, type TrafficEvent } from '../support/fault-traffic.ts';
import { eventually } from '../support/wait.ts';

/**
 * F9: there is no connection to be had, because all of web's own for postings are held or because the database takes no more. Callers
 * are told 503 soon, /readyz says so, and the jobs go on with the connections they have; no request waits for a second
 * connection while it holds one. Afterwards all is well by itself.
 */
const POOL_SIZE = 4;
/** How long a request waits for a connection (src/db/pool.ts). */
const CONNECTION_MS = 5_000;
const MARGIN_MS = 3_000;

let rig: FaultRig;

beforeAll(async () => {
  rig = await FaultRig.start({ DATABASE_POOL_SIZE: String(POOL_SIZE) });
  await rig.startWeb();
});

afterAll(() => rig.close());

async function timed(asked: Promise<TrafficAnswer>): Promise<{ status: number; ms: number }> {
  const startedAt = performance.now();
  const { status } = await asked;
  return { status, ms: performance.now() - startedAt };
}

async function expectRefused(asked: readonly Promise<TrafficAnswer>[], withinMs: number): Promise<void> {
  for (const { status, ms } of await Promise.all(asked.map(timed))) {
    expect(status).toBe(503);
    expect(ms).toBeLessThan(withinMs);
  }
}

describe('no connection', () => {
  it('in the pool of web, since all are held: 503 after the wait for one, and events are applied meanwhile', async () => {
    const { traffic, proxy } = rig;
    const customerId = await traffic.newCustomer(10_000);
    const events = [10, 20, 30].map((amountMinor) => paymentEvent(customerId, amountMinor));
    for (const event of events) await traffic.deliver(event);
    const other = await rig.trafficOf('mer_other');
    const theirs = await other.newCustomer();
    const { promise: untilLetGo, resolve: letGo } = Promise.withResolvers<void>();
    let holding = 0;
    const stop = proxy.inject(({ sql }) => {
      if (!sql.includes('from customer where merchant_id = $1 and customer_id = $2')) return null;
      holding += 1;
      return { when: 'before', connection: 'kept', meanwhile: () => untilLetGo };
    });
    // A merchant's requests hold half of the connections at the most.
    const holders = Array.from({ length: POOL_SIZE / 2 }, () => [
      traffic.call('GET', `/customers/${customerId}`),
      other.call('GET', `/customers/${theirs}`),
    ]).flat();
    await eventually('all connections to be held', () => holding === POOL_SIZE);

    const worker = rig.startWorker();
    expect((await traffic.call('GET', '/healthz')).status).toBe(200);
    const debits = Array.from({ length: 20 }, () => newDebit(customerId, 7));
    const late = Array.from({ length: 20 }, () => paymentEvent(customerId, 1));
    const asked = [
      ...debits.map((debit) => traffic.debitOnce(debit)),
      ...late.map(async (event) => ({ status: await traffic.deliverOnce(event), body: null })),
      ...late.map(() => traffic.call('GET', `/customers/${customerId}/wallets`)),
    ];
    // Searches and lists have connections of their own.
    const lists = await Promise.all(late.map(() => traffic.call('GET', '/customers')));
    expect(new Set(lists.map(({ status }) => status))).toEqual(new Set([200]));
    await expectRefused(asked, CONNECTION_MS + MARGIN_MS);
    // That a pool is busy is no reason; that nobody is given a connection for so long is one.
    const waiting: Promise<unknown>[] = [];
    await eventually('readiness to notice', async () => {
      waiting.push(traffic.deliverOnce(paymentEvent(customerId, 1)));
      return (await traffic.call('GET', '/readyz')).status === 503;
    });
    await Promise.all(waiting);
    await worker;
    for (const event of events) await eventually('an event to be applied', () => isApplied(event));

    letGo();
    stop();
    expect((await Promise.all(holders)).map(({ status }) => status)).toEqual(holders.map(() => 200));
    for (const debit of debits) expect((await traffic.debitOnce(debit)).status).toBe(200);
    await Promise.all(late.map((event) => traffic.deliver(event)));
    await rig.expectAllWell();
  }, 60_000);

  it('in the database: a few are enough for everybody who comes again; without any, 503 at once; then all is well', async () => {
    const { traffic } = rig;
    const customerId = await traffic.newCustomer(10_000);
    await limitConnections(1);
    const debits = Array.from({ length: 60 }, () => newDebit(customerId, 7));
    const events = Array.from({ length: 60 }, () => paymentEvent(customerId, 1));
    await Promise.all([
      ...debits.map((debit) => traffic.debit(debit)),
      ...events.map((event) => traffic.deliver(event)),
      // No more than a merchant may have waiting.
      ...debits.slice(0, 40).map(() => traffic.call('GET', '/customers')),
    ]);
    expect(traffic.troubles.filter((status) => status !== 503)).toEqual([]);
    await rig.expectAllWell();

    await limitConnections(0);
    await rig.database.pool.query(END_SESSIONS);
    const late = Array.from({ length: 20 }, () => paymentEvent(customerId, 1));
    const asked = [
      ...late.map(async (event) => ({ status: await traffic.deliverOnce(event), body: null })),
      ...late.map(() => traffic.debitOnce(newDebit(customerId, 7))),
      ...late.map(() => traffic.call('GET', '/customers')),
    ];
    await expectRefused(asked, MARGIN_MS);
    await eventually('readiness to notice', async () => (await traffic.call('GET', '/readyz')).status === 503);
    await limitConnections(-1);
    await Promise.all(late.map((event) => traffic.deliver(event)));
    await rig.expectAllWell();
  }, 90_000);
});

it('a pool far smaller than what is asked at once serves everybody', async () => {
  const { traffic } = rig;
  const customers = await Promise.all(Array.from({ length: 10 }, () => traffic.newCustomer(10_000)));
  traffic.troubles.length = 0;
  await Promise.all(
    customers.flatMap((customerId) => [
      traffic.newCustomer(5),
      traffic.debit(newDebit(customerId, 3)),
      traffic.debitBatchOnce([newDebit(customerId, 1), newDebit(customerId, 2)]),
      traffic.deliver(paymentEvent(customerId, 4)),
      traffic.call('GET', `/customers/${customerId}/wallets`),
      traffic.call('GET', `/customers/${customerId}/wallets/ledger-entries`),
      traffic.call('PUT', `/customers/${customerId}/wallets/USD/low-balance-threshold`, { threshold: 1 }),
      traffic.call('GET', '/events'),
      useEndpoint(),
    ]),
  );
  expect(traffic.troubles).toEqual([]);
  await rig.expectAllWell();
}, 60_000);

/** What an endpoint's routes do in transactions that also make jobs. */
async function useEndpoint(): Promise<void> {
  const { traffic } = rig;
  const { body } = await traffic.call('POST', '/webhook-endpoints', { url: 'http://127.0.0.1:9/hook' });
  const path = `/webhook-endpoints/${body.id}`;
  await traffic.call('POST', `${path}/test`, { event_type: 'wallet.balance.changed' });
  await traffic.call('PATCH', path, { description: 'mine' });
  await traffic.call('POST', `${path}/secret/rotate`);
}

/** -1 for as many as there are; sessions that are open stay so. The test itself, a superuser, is not limited. */
async function limitConnections(limit: number): Promise<void> {
  const sql = `do $$ begin execute format('alter database %I connection limit ${limit}', current_database()); end $$`;
  await rig.database.pool.query(sql);
}

const END_SESSIONS = `
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and application_name like 'chokin-%'`;

async function isApplied({ eventId }: TrafficEvent): Promise<boolean> {
  const { rowCount } = await rig.database.pool.query(
    "select 1 from provider_event where delivery_key = $1 and state = 'applied'",
    [eventId],
  );
  return rowCount === 1;
}
