import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { deadLetterOf } from '../../src/db/queues.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { dismissEvent } from '../../src/inbox/dismiss.ts';
import { eventsOfPayment, getEvent } from '../../src/inbox/events.ts';
import { findDelivery } from '../../src/inbox/find-delivery.ts';
import { redriveEvents } from '../../src/inbox/recover-dead.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { paymentLife } from '../../src/payments/life.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { razorpayPayment, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/* What stands between an event and money in the wrong wallet, or twice. Jobs are fetched and applied by hand. */

let database: TestDatabase;
let inbox: TestInbox;
const stripe = testSource('stripe');
const shops = ['src_shop_one', 'src_shop_two'].map((sourceId) => testSource('razorpay', { sourceId }));
const secondAccount = testSource('stripe', { sourceId: 'src_second' });

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [stripe, secondAccount, ...shops], works: false, sharesJobs: false });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

/** Applies what is queued, all in one batch. */
async function work(): Promise<void> {
  const options = { batchSize: 20, includeMetadata: true } as const;
  const jobs = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', options);
  await applyEvents(
    inbox.services,
    jobs.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, eventId: data.eventId })),
  );
}

async function tell(body: string, source = stripe): Promise<string> {
  const receipt = await inbox.deliver(body, source);
  if (receipt.kind !== 'stored') throw new Error(`a delivery was ${receipt.kind}`);
  return receipt.eventId;
}

const eventOf = (eventId: string) => getEvent(autocommit(database.pool), MERCHANT, eventId);

async function replay(eventId: string, customerId: string | null = null): Promise<void> {
  await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId });
}

describe('a payment that names nobody', () => {
  it('goes to whom its own account knows by that id, where two accounts know two people by it', async () => {
    const [ada = '', bob = ''] = await makeCustomers(database.pool, ['link_ada', 'link_bob']);
    const of = (amount: number, named?: string) =>
      stripePaymentSucceeded({
        amount,
        currency: 'usd',
        customer: 'cus_1',
        metadata: named === undefined ? {} : { wallet_customer_id: named },
      });
    await tell(of(100, ada));
    await tell(of(1000, bob), secondAccount);
    await work();
    await tell(of(20));
    await tell(of(3000), secondAccount);
    await work();
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([120, 4000]);
  });
});

describe('the entries of one payment', () => {
  it('stay in one wallet, though a person chose another customer for an event of it in the same batch', async () => {
    const [ada = '', bob = ''] = await makeCustomers(database.pool, ['batch_ada', 'batch_bob']);
    const payment = { paymentId: 'pi_batch', amount: 500, currency: 'usd' };
    // Events of a batch are applied in the order in which they came, so the one that names Ada comes first.
    const named = await tell(stripePaymentSucceeded({ ...payment, metadata: { wallet_customer_id: ada } }));
    const toldAt = Date.now();
    await eventually('ids of the next millisecond, which sort after it', () => Date.now() > toldAt);
    const nameless = await tell(stripePaymentSucceeded({ ...payment, customer: null, metadata: {} }));
    const jobs = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', {
      batchSize: 20,
      includeMetadata: true,
    });
    const jobsOf = (eventId: string) =>
      jobs
        .filter((job) => job.data.eventId === eventId)
        .map(({ id, retryCount, retryLimit }) => ({ id, retryCount, retryLimit, eventId }));
    await applyEvents(inbox.services, jobsOf(nameless));
    expect(await eventOf(nameless)).toMatchObject({ state: 'parked', reason: 'no_customer' });
    await replay(nameless, bob);
    const [again] = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', { includeMetadata: true });
    if (again === undefined) throw new Error('the replay was not queued');
    const { id, retryCount, retryLimit } = again;
    await applyEvents(inbox.services, [...jobsOf(named), { id, retryCount, retryLimit, eventId: nameless }]);
    await tell(stripeRefund({ paymentId: 'pi_batch', refundId: 're_batch', amount: 200, currency: 'usd' }));
    await work();
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([300, 0]);
  });

  it('are not written for an event that was dismissed while a job of it was still queued', async () => {
    const eventId = await tell(
      stripePaymentSucceeded({
        paymentId: 'pi_dismissed',
        amount: 700,
        currency: 'usd',
        metadata: { wallet_customer_id: 'cus_late' },
      }),
    );
    await work();
    expect(await eventOf(eventId)).toMatchObject({ state: 'parked', reason: 'unknown_customer' });
    await inbox.boss.send('apply-provider-event', { eventId });
    // By now it could be applied; but it was handled by hand.
    const [late = ''] = await makeCustomers(database.pool, ['late']);
    const note = 'credited by hand';
    await dismissEvent(inbox.services, { merchantId: MERCHANT, eventId, note, amountMinor: null, entryId: null });
    await work();
    expect(await eventOf(eventId)).toMatchObject({ state: 'dismissed' });
    expect(await inbox.balance(late)).toBe(0);
  });

  it('are counted only once they are written: a credit that found no room is made by a replay, once', async () => {
    const [full = ''] = await makeCustomers(database.pool, ['full']);
    const adjust = (isCredit: boolean, amountMinor: number) =>
      transaction(database.pool, (tx) =>
        postBatch(tx, [posting({ customerId: full, isCredit, amountMinor })], { ...SETTINGS, now: new Date() }),
      );
    await adjust(true, Number.MAX_SAFE_INTEGER - 10);
    const metadata = { wallet_customer_id: full };
    const eventId = await tell(
      stripePaymentSucceeded({ paymentId: 'pi_full', amount: 100, currency: 'usd', metadata }),
    );
    await work();
    expect(await eventOf(eventId)).toMatchObject({ state: 'parked', reason: 'balance_limit' });
    const [life] = await paymentLife(autocommit(database.pool), MERCHANT, 'pi_full');
    expect(life?.payment).toMatchObject({ state: 'unknown', heardOf: true, postedCredit: 0, postings: 0 });
    await adjust(false, 1000);
    await replay(eventId);
    await work();
    const atLast = Number.MAX_SAFE_INTEGER - 10 - 1000 + 100;
    expect(await inbox.balance(full)).toBe(atLast);
    await tell(stripePaymentSucceeded({ paymentId: 'pi_full', amount: 100, currency: 'usd', metadata }));
    await work();
    expect(await inbox.balance(full)).toBe(atLast);
    const key = { merchantId: MERCHANT, sourceId: 'src_stripe', paymentId: 'pi_full' };
    const events = await eventsOfPayment(autocommit(database.pool), key);
    expect(events.map(({ state }) => state)).toEqual(['applied', 'applied']);
  });
});

describe('an event that was received', () => {
  it('is found by the key of its delivery, at its own source alone', async () => {
    const body = stripePaymentSucceeded({ paymentId: 'pi_found', customer: null, metadata: {} });
    const eventId = await tell(body);
    const { id: deliveryKey } = z.object({ id: z.string() }).parse(JSON.parse(body));
    const db = autocommit(database.pool);
    const at = { merchantId: MERCHANT, sourceId: stripe.sourceId };
    expect(await findDelivery(db, at, deliveryKey)).toMatchObject({ eventId });
    expect(await findDelivery(db, { ...at, sourceId: secondAccount.sourceId }, deliveryKey)).toBeNull();
  });
});

it('a job that was given up and names no event leaves the queue of the dead, and nothing is applied', async () => {
  await inbox.boss.insert(deadLetterOf('apply-provider-event'), [{ data: {} }]);
  expect(await redriveEvents(database.pool, inbox.boss, 10)).toEqual({ redriven: 0, settled: 1 });
  expect(await redriveEvents(database.pool, inbox.boss, 10)).toEqual({ redriven: 0, settled: 0 });
});

it('an event that is parked claims no account for its source, also before others of its batch', async () => {
  const [customerId = ''] = await makeCustomers(database.pool, ['account']);
  const pay = (paymentId: string, notes: object) =>
    JSON.stringify({
      ...JSON.parse(razorpayPayment({ paymentId, amount: 500, currency: 'INR', customer: null, notes: { ...notes } })),
      account_id: 'acc_claimed',
    });
  const parked = await tell(pay('pay_parked', { wallet_customer_id: 'cus_nobody' }), shops[0]);
  const toldAt = Date.now();
  await eventually('ids of the next millisecond, which sort after it', () => Date.now() > toldAt);
  const applied = await tell(pay('pay_applied', { wallet_customer_id: customerId }), shops[1]);
  await work();
  expect(await eventOf(parked)).toMatchObject({ state: 'parked' });
  expect(await eventOf(applied)).toMatchObject({ state: 'applied' });
  expect(await inbox.balance(customerId, 'INR')).toBe(500);
});
