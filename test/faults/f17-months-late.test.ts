import { afterAll, beforeAll, expect, it } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { loadConfig } from '../../src/config/env.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb } from '../../src/web.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { type Debit, newDebit, type TrafficEvent } from '../support/fault-traffic.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/**
 * F17: an event comes months late, or again after months, when every job that knew of it is long deleted. What was
 * credited is not credited again, and what was not is credited once: nothing of it rests on jobs or on the clock.
 */
const DAYS = 200;
const DAY_MS = 86_400_000;

const logger = createLogger('silent', 'test');
let rig: FaultRig;
let customerId: string;
/** What happened in those days. */
let applied: TrafficEvent;
let waiting: TrafficEvent;
let neverApplied: TrafficEvent;
let debit: Debit;

beforeAll(async () => {
  rig = await FaultRig.start();
  await liveThroughThoseDays();
  await deleteOldJobs();
  await Promise.all([rig.startWebHere(), rig.startWorkerHere()]);
});

afterAll(async () => {
  await rig.expectAllWell();
  await rig.close();
});

function told(effectMinor: number, bodyOf: (eventId: string) => string): TrafficEvent {
  const eventId = `evt_${crypto.randomUUID()}`;
  return { eventId, customerId, effectMinor, body: bodyOf(eventId) };
}

/** An event that was made in those days, however late it is delivered. */
const payment = (paymentId: string, amount: number, effectMinor = amount): TrafficEvent =>
  told(effectMinor, (eventId) => {
    const metadata = { wallet_customer_id: customerId };
    const createdSeconds = Math.floor(Date.now() / 1000) - DAYS * 86_400;
    return stripePaymentSucceeded({ eventId, paymentId, amount, currency: 'usd', metadata, createdSeconds });
  });

/** Web and worker run as they did so many days ago; the worker stops before the last event is received. */
async function liveThroughThoseDays(): Promise<void> {
  const { DATABASE_URL: databaseUrl = '', ...environment } = rig.environment;
  const clock = { now: () => new Date(Date.now() - DAYS * DAY_MS) };
  const options = { config: loadConfig(environment), databaseUrl, logger, clock };
  const [web, worker] = await Promise.all([startWeb({ ...options, print: () => {} }), startWorker(options)]);
  const deliver = async ({ eventId, effectMinor, body }: TrafficEvent) => {
    const headers = signStripe(body, STRIPE_SECRET, Math.floor(clock.now().getTime() / 1000));
    const { status } = await fetch(`${web.url}/webhooks/stripe`, { method: 'POST', headers, body });
    expect(status).toBe(200);
    rig.traffic.acknowledged.add(eventId);
    rig.traffic.owed.set(customerId, (rig.traffic.owed.get(customerId) ?? 0) + effectMinor);
  };
  customerId = await rig.traffic.newCustomer();
  applied = payment('pi_applied', 1000);
  waiting = told(0, (eventId) => stripeRefund({ eventId, paymentId: 'pi_waited_for', amount: 300, currency: 'usd' }));
  await deliver(applied);
  await deliver(waiting);
  await eventually('them to be looked at', async () => {
    const states = [await stateOf(applied), await stateOf(waiting)];
    return states.join() === 'applied,waiting';
  });
  debit = newDebit(customerId, 50);
  expect((await rig.traffic.debitOnce(debit)).status).toBe(200);
  await worker.close();
  neverApplied = payment('pi_never_applied', 500);
  await deliver(neverApplied);
  await web.close();
}

/** Lets pg-boss do what it does in so many days: forget every job, done or not. */
async function deleteOldJobs(): Promise<void> {
  const { pool, ownerUrl: databaseUrl } = rig.database;
  const age = (column: string) => `${column} = ${column} - interval '${DAYS} days'`;
  await pool.query(`update pgboss.job set ${['created_on', 'completed_on', 'start_after', 'keep_until'].map(age)}`);
  await pool.query('update pgboss.queue set maintain_on = null');
  const boss = createBoss({ databaseUrl, applicationName: 'test', maxConnections: 2, works: false, logger });
  await boss.start();
  await boss.supervise();
  await boss.stop();
  expect(await jobsOf([applied, waiting, neverApplied])).toBe(0);
}

async function jobsOf(events: readonly TrafficEvent[]): Promise<number> {
  const { rows } = await rig.database.pool.query<{ count: number }>(
    `select count(*) from pgboss.job j join provider_event e on j.data ->> 'eventId' = e.event_id where e.delivery_key = any ($1)`,
    [events.map(({ eventId }) => eventId)],
  );
  return rows[0]?.count ?? 0;
}

async function stateOf({ eventId }: TrafficEvent): Promise<string> {
  const { rows } = await rig.database.pool.query('select state from provider_event where delivery_key = $1', [eventId]);
  return rows.map(({ state }) => state).join();
}

function expectApplied(event: TrafficEvent): Promise<boolean> {
  return eventually('an event to be applied', async () => (await stateOf(event)) === 'applied');
}

/** Every event and every entry of a payment. */
async function booksOf(paymentId: string): Promise<{ events: string[]; entries: [string, number][] }> {
  const { rows: events } = await rig.database.pool.query(
    'select event_type, state from provider_event where payment_id = $1 order by received_at, event_id',
    [paymentId],
  );
  const { body } = await rig.traffic.call('GET', `/payments/${paymentId}`);
  return {
    events: events.map(({ event_type, state }) => `${event_type} ${state}`),
    entries: body.items[0].entries.map((entry: { event_type: string; amount: number }) => [
      entry.event_type,
      entry.amount,
    ]),
  };
}

const PAID = 'payment_intent.succeeded applied';

it('an event that was applied months ago and is delivered again is answered 2xx, and is no news', async () => {
  const { rows: before } = await rig.database.pool.query('select * from provider_event where delivery_key = $1', [
    applied.eventId,
  ]);
  for (let time = 0; time < 20; time += 1) expect(await rig.traffic.deliverOnce(applied)).toBe(200);
  const { rows: after } = await rig.database.pool.query('select * from provider_event where delivery_key = $1', [
    applied.eventId,
  ]);
  expect(after).toEqual(before);
  expect(await jobsOf([applied])).toBe(0);
  expect(await booksOf('pi_applied')).toEqual({ events: [PAID], entries: [['payment', 1000]] });
});

it('a payment that was credited months ago and comes in another event is not credited again', async () => {
  const again = payment('pi_applied', 1000, 0);
  await rig.traffic.deliver(again);
  await expectApplied(again);
  expect(await booksOf('pi_applied')).toEqual({ events: [PAID, PAID], entries: [['payment', 1000]] });
});

it('an event that comes for the first time after months is credited once, however often it comes', async () => {
  const late = payment('pi_late', 700);
  await Promise.all(Array.from({ length: 20 }, () => rig.traffic.deliver(late)));
  await expectApplied(late);
  expect(await rig.traffic.deliverOnce(late)).toBe(200);
  expect(await booksOf('pi_late')).toEqual({ events: [PAID], entries: [['payment', 700]] });
});

it('an event that was received months ago, and whose job was deleted before any worker came, is applied once', async () => {
  await expectApplied(neverApplied);
  expect(await rig.traffic.deliverOnce(neverApplied)).toBe(200);
  expect(await booksOf('pi_never_applied')).toEqual({ events: [PAID], entries: [['payment', 500]] });
});

it('a refund that has waited for months is parked, and taken back once its payment comes', async () => {
  await eventually('the refund to be parked', async () => (await stateOf(waiting)) === 'parked');
  const paid = payment('pi_waited_for', 900, 600);
  await rig.traffic.deliver(paid);
  await expectApplied(paid);
  await expectApplied(waiting);
  expect(await booksOf('pi_waited_for')).toEqual({
    events: ['refund.created applied', PAID],
    entries: [
      ['payment', 900],
      ['payment_reversal', 300],
    ],
  });
});

it('a debit that is repeated after months under its key is answered with the entry that it made then', async () => {
  const { status, body } = await rig.traffic.debitOnce(debit);
  expect({ status, body }).toMatchObject({
    status: 409,
    body: { code: 'IDEMPOTENCY_KEY_EXISTS', entry: { amount: 50 } },
  });
  expect(Date.now() - Date.parse(body.entry.created_at)).toBeGreaterThan((DAYS - 1) * DAY_MS);
});
