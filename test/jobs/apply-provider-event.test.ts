import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onCitus } from '../../src/db/backend.ts';
import { deadLetterOf } from '../../src/db/queues.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { invariant } from '../../src/errors.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { getEvent } from '../../src/inbox/events.ts';
import { requeueStranded } from '../../src/inbox/recover-stranded.ts';
import type { Sources } from '../../src/merchants/sources.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { gatedPool } from '../support/gated-pool.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { holdWallets } from '../support/lock-waits.ts';
import { signStripe, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;
let inbox: TestInbox;
let customerId = '';
const stripe = testSource('stripe');
/** Applying its events throws. */
const gone = testSource('stripe', { sourceId: 'src_gone' });
const ofOther = testSource('stripe', { merchantId: 'bus_other', sourceId: 'src_other' });
const QUEUE = 'apply-provider-event';

/** The services, with a poison source. */
let services: ApplyServices;

beforeAll(async () => {
  database = await createTestDatabase();
  [customerId = ''] = await makeCustomers(database.pool, ['jobs']);
  inbox = await startInbox(database, { sources: [stripe, ofOther], works: false, sharesJobs: false });
  const find: Sources['find'] = (db, merchantId, sourceId) => {
    invariant(sourceId !== gone.sourceId, 'poison');
    return inbox.services.sources.find(db, merchantId, sourceId);
  };
  services = { ...inbox.services, sources: { ...inbox.services.sources, find } };
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

const payment = (paymentId: string) =>
  stripePaymentSucceeded({ paymentId, amount: 100, metadata: { wallet_customer_id: customerId } });

async function deliver(body: string, source = stripe): Promise<string> {
  const receipt = await inbox.receiver.receive(source, {
    rawBody: Buffer.from(body),
    headers: { ...signStripe(body) },
  });
  if (receipt.kind !== 'stored') throw new Error(`the delivery was ${receipt.kind}`);
  return receipt.eventId;
}

async function fetchJobs(batchSize = 10) {
  const jobs = await inbox.boss.fetch<{ eventId: string }>(QUEUE, { batchSize, includeMetadata: true });
  return jobs.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, eventId: data.eventId }));
}

const event = (eventId: string) => getEvent(autocommit(database.pool), MERCHANT, eventId);

describe('the job that applies events', () => {
  it('isolates a poison event: its neighbours are applied, it alone is retried', async () => {
    const good = await deliver(payment('pi_good'));
    const poison = await deliver(payment('pi_poison'), gone);
    const fine = await deliver(payment('pi_fine'));
    const results = await applyEvents(services, await fetchJobs());
    const states = await Promise.all([good, poison, fine].map(async (eventId) => (await event(eventId))?.state));
    expect(states).toEqual(['applied', 'pending', 'applied']);
    expect(results.map((result) => result.status).sort()).toEqual(['completed', 'completed', 'failed']);
    expect(await inbox.balance(customerId)).toBe(200);
    const failed = results.find((result) => result.status === 'failed');
    await inbox.boss.fail(QUEUE, failed?.id ?? '');
    await inbox.boss.deleteJob(QUEUE, failed?.id ?? '');
    await database.pool.query('delete from provider_event where event_id = $1', [poison]);
  });

  // It counts the transactions of one Postgres: on Citus each merchant has his own.
  it.skipIf(onCitus())(
    'hardly waits again for a merchant one of whose wallets is held, and for others as long as ever',
    async () => {
      const [held = ''] = await makeCustomers(database.pool, ['held'], ofOther.merchantId);
      const ofHeld = (paymentId: string) =>
        deliver(stripePaymentSucceeded({ paymentId, amount: 100, metadata: { wallet_customer_id: held } }), ofOther);
      const [first, second] = [await ofHeld('pi_held_1'), await ofHeld('pi_held_2')];
      const free = await deliver(payment('pi_free'));
      const letGo = await holdWallets(database.pool, { merchantId: ofOther.merchantId, customerId: held });
      const seen: string[] = [];
      const pool = gatedPool(services.pool, async (sql) => {
        if (/^(begin|set local lock_timeout)/.test(sql)) seen.push(sql.split(' ', 1)[0] ?? '');
      });
      const results = await applyEvents({ ...services, pool }, await fetchJobs());
      await letGo();
      expect(results.map(({ status }) => status).sort()).toEqual(['completed', 'failed', 'failed']);
      const states = await Promise.all(
        [first, second].map((id) => getEvent(autocommit(database.pool), 'bus_other', id)),
      );
      expect([...states.map((one) => one?.state), (await event(free))?.state]).toEqual([
        'pending',
        'pending',
        'applied',
      ]);
      // All of them together, the first by itself, the other merchant's with the whole limit, and only then the rest of who is held up.
      expect(seen).toEqual(['begin', 'begin', 'begin', 'begin', 'set']);
      await inbox.boss.deleteAllJobs(QUEUE);
      await database.pool.query("delete from provider_event where merchant_id = 'bus_other'");
    },
    60_000,
  );

  it('parks an event whose retries are used up, and dead-letters its job', async () => {
    const eventId = await deliver(payment('pi_last'), gone);
    const [job] = await fetchJobs();
    if (job === undefined) throw new Error('no job was enqueued');
    const [result] = await applyEvents(services, [{ ...job, retryLimit: job.retryCount }]);
    expect(result).toMatchObject({ status: 'deadletter', output: { error: 'InvariantError' } });
    expect(await event(eventId)).toMatchObject({ state: 'parked', reason: 'apply_failed', detail: 'InvariantError' });
    await inbox.boss.deleteJob(QUEUE, job.id);
  });

  it('applies an event once when two workers hold jobs of it at the same time', async () => {
    const eventId = await deliver(payment('pi_two'));
    await inbox.boss.send(QUEUE, { eventId });
    const jobs = await fetchJobs();
    expect(jobs).toHaveLength(2);
    const before = await inbox.balance(customerId);
    await Promise.all(jobs.map((job) => applyEvents(services, [job])));
    expect(await inbox.balance(customerId)).toBe((before ?? 0) + 100);
  });

  it('makes a new job for a pending event that lost its own, and parks one whose job was buried', async () => {
    const lost = await deliver(payment('pi_lost'));
    const buried = await deliver(payment('pi_buried'));
    for (const job of await fetchJobs()) {
      if (job.eventId === buried) await inbox.boss.send(deadLetterOf(QUEUE), { eventId: buried });
      await inbox.boss.deleteJob(QUEUE, job.id);
    }
    const inTwoMinutes = { now: () => new Date(Date.now() + 120_000) };
    await eventually(
      'the stranded events to be found',
      async () => (await requeueStranded({ ...services, clock: inTwoMinutes })).enqueued === 1,
      70_000,
    );
    expect(await event(buried)).toMatchObject({ state: 'parked', reason: 'apply_failed' });
    await applyEvents(services, await fetchJobs());
    expect((await event(lost))?.state).toBe('applied');
  });

  it('makes new jobs for what others have lost, also where that fails for one merchant', async () => {
    await makeCustomers(database.pool, ['lost'], ofOther.merchantId);
    const mine = await deliver(payment('pi_lost_mine'));
    const theirs = await deliver(payment('pi_lost_theirs'), ofOther);
    await inbox.boss.deleteAllJobs(QUEUE);
    const inTwoMinutes = { now: () => new Date(Date.now() + 120_000) };
    // Their job was given up, so that they are to be parked, which is refused.
    await inbox.boss.send(deadLetterOf(QUEUE), { eventId: theirs });
    await database.pool.query(
      "alter table provider_event add constraint refused check (merchant_id <> 'bus_other' or state <> 'parked') not valid",
    );
    await expect(requeueStranded({ ...services, clock: inTwoMinutes })).rejects.toThrow('refused');
    expect((await fetchJobs()).map(({ eventId }) => eventId)).toEqual([mine]);
    await database.pool.query('alter table provider_event drop constraint refused');
    expect(await requeueStranded({ ...services, clock: inTwoMinutes })).toEqual({ enqueued: 0, parked: 1 });
    await inbox.boss.deleteAllJobs(QUEUE);
    await database.pool.query('delete from provider_event where event_id = any ($1)', [[mine, theirs]]);
  });

  it('fails the whole batch when the database is away, so that pg-boss retries it', async () => {
    await deliver(payment('pi_away'));
    const jobs = await fetchJobs();
    const away = {
      ...inbox.services,
      pool: Object.assign(Object.create(database.pool), {
        connect: () => Promise.reject(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })),
      }),
    };
    await expect(applyEvents(away, jobs)).rejects.toThrow('connect');
    await applyEvents(services, jobs);
  });

  it('leaves an event to its retry when the database goes away while it is tried alone', async () => {
    const poison = await deliver(payment('pi_gone_alone'), gone);
    const jobs = await fetchJobs();
    let transactions = 0;
    // The batch runs and fails on the poison event; the transaction of its own is never opened.
    const connect = () => {
      transactions += 1;
      if (transactions === 1) return database.pool.connect();
      return Promise.reject(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }));
    };
    const pool = Object.assign(Object.create(database.pool), { connect });
    await expect(applyEvents({ ...services, pool }, jobs)).rejects.toThrow('connect');
    expect((await event(poison))?.state).toBe('pending');
    await inbox.boss.deleteAllJobs(QUEUE);
    await database.pool.query('delete from provider_event where event_id = $1', [poison]);
  });

  it('names the code of what went wrong, for the dead letter and for people', async () => {
    await deliver(payment('pi_code'), gone);
    const [job] = await fetchJobs();
    const find = () => {
      throw Object.assign(new Error('odd'), { code: 'XX000' });
    };
    const odd = { ...services, sources: { ...services.sources, find } };
    const result = await applyEvents(odd, job === undefined ? [] : [{ ...job, retryLimit: 0 }]);
    expect(result).toMatchObject([{ status: 'deadletter', output: { error: 'Error XX000' } }]);
    await inbox.boss.deleteAllJobs(QUEUE);
  });

  it('parks the events of a source that is not configured any more, at once and by that name', async () => {
    const eventId = await deliver(payment('pi_orphan'), gone);
    expect(await applyEvents(inbox.services, await fetchJobs())).toMatchObject([{ status: 'completed' }]);
    expect(await event(eventId)).toMatchObject({ state: 'parked', reason: 'source_missing', detail: 'src_gone' });
  });

  it('applies a refund that stands before its payment in one batch as soon as the batch is done', async () => {
    const refund = await deliver(
      stripeRefund({ paymentId: 'pi_batched', amount: 40, currency: 'usd', status: 'succeeded' }),
    );
    const paid = await deliver(payment('pi_batched'));
    expect(refund < paid).toBe(true);
    await applyEvents(services, await fetchJobs());
    await applyEvents(services, await fetchJobs());
    expect(await event(paid)).toMatchObject({ state: 'applied' });
    expect(await event(refund)).toMatchObject({ state: 'applied' });
    await inbox.boss.deleteAllJobs(QUEUE);
  });

  it('finds a waiting event whose alarm was lost, once its wait is over', async () => {
    const eventId = await deliver(stripeRefund({ paymentId: 'pi_never', amount: 5 }));
    await applyEvents(services, await fetchJobs());
    expect((await event(eventId))?.state).toBe('waiting');
    await inbox.boss.deleteAllJobs(QUEUE);
    const inAnHour = { now: () => new Date(Date.now() + 3_600_000) };
    expect(await requeueStranded({ ...services, clock: inAnHour })).toEqual({ enqueued: 1, parked: 0 });
    expect(await requeueStranded({ ...services, clock: inAnHour })).toEqual({ enqueued: 0, parked: 0 });
    await applyEvents({ ...services, clock: inAnHour }, await fetchJobs());
    expect(await event(eventId)).toMatchObject({ state: 'parked', reason: 'unknown_payment' });
  });
});
