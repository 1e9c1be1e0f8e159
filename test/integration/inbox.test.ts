import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workApplyProviderEvent } from '../../jobs/apply-provider-event.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { eventsOfPayment, getEvent, listEvents, replayEvent } from '../../src/inbox/events.ts';
import type { ApplyServices } from '../../src/inbox/settle-facts.ts';
import { paymentLife } from '../../src/payments/life.ts';
import { Secret } from '../../src/secret.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource, testSources } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import {
  dodoPayment,
  dodoRefund,
  razorpayDispute,
  razorpayPayment,
  razorpayRefund,
  signStripe,
  stripeDispute,
  stripePayment,
  stripePaymentSucceeded,
  stripeRefund,
} from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;
let inbox: TestInbox;
const stripe = testSource('stripe');
const dodo = testSource('dodo');
const razorpay = testSource('razorpay');
const orders = testSource('stripe', { sourceId: 'src_orders', defaultPurpose: 'order' });

let customers = 0;
async function newCustomer(): Promise<string> {
  customers += 1;
  const [id = ''] = await makeCustomers(database.pool, [`inbox${customers}`]);
  return id;
}

beforeAll(async () => {
  database = await createTestDatabase(30);
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [stripe, dodo, razorpay, orders] });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

const eventTypes = async (paymentId: string) => {
  const [life] = await paymentLife(autocommit(database.pool), MERCHANT, paymentId);
  return life?.entries.map((entry) => [entry.eventType, entry.isCredit ? entry.amountMinor : -entry.amountMinor]);
};

const idOf = async (paymentId: string, eventType: string) => {
  const key = { merchantId: MERCHANT, sourceId: 'src_stripe', paymentId };
  const events = await eventsOfPayment(autocommit(database.pool), key);
  return events.findLast((event) => event.eventType === eventType)?.eventId ?? '';
};
const stateOf = async (paymentId: string, eventType: string) =>
  (await getEvent(autocommit(database.pool), MERCHANT, await idOf(paymentId, eventType)))?.state;

/** Applies what is queued, as a worker with these services would. */
async function applyFetched(services: ApplyServices): Promise<void> {
  const jobs = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', {
    batchSize: 20,
    includeMetadata: true,
  });
  await applyEvents(
    services,
    jobs.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, eventId: data.eventId })),
  );
}

const parked = async (paymentId: string) => {
  const events = await listEvents(autocommit(database.pool), MERCHANT, {
    state: 'parked',
    pageSize: 100,
    pageNumber: 0,
  });
  return events.filter((event) => event.paymentId === paymentId);
};

describe('a purchase', () => {
  it('credits once for 500 deliveries of one event at the same time', async () => {
    const customerId = await newCustomer();
    const body = stripePaymentSucceeded({
      paymentId: 'pi_500',
      amount: 2500,
      metadata: { wallet_customer_id: customerId },
    });
    const receipts = await Promise.all(Array.from({ length: 500 }, () => inbox.deliver(body)));
    expect(receipts.filter((receipt) => receipt.kind === 'stored')).toHaveLength(1);
    expect(receipts.filter((receipt) => receipt.kind === 'duplicate')).toHaveLength(499);
    await inbox.settled();
    expect(await inbox.balance(customerId)).toBe(2500);
  });

  it('credits once for one payment under many event ids', async () => {
    const customerId = await newCustomer();
    const bodies = Array.from({ length: 20 }, () =>
      stripePaymentSucceeded({ paymentId: 'pi_many', amount: 700, metadata: { wallet_customer_id: customerId } }),
    );
    await Promise.all(bodies.map((body) => inbox.deliver(body)));
    await inbox.settled();
    expect(await inbox.balance(customerId)).toBe(700);
    expect(await eventTypes('pi_many')).toEqual([['payment', 700]]);
  });

  it('makes one customer with wallets for a provider customer that several payments bring at once', async () => {
    const bodies = [1, 2, 3].map((n) =>
      stripePaymentSucceeded({
        paymentId: `pi_new${n}`,
        amount: 100,
        customer: 'cus_stripe_1',
        email: 'a@example.com',
        metadata: {},
      }),
    );
    await Promise.all(bodies.map((body) => inbox.deliver(body)));
    await inbox.settled();
    const { rows } = await database.pool.query(
      'select customer_id, email from customer join customer_link using (merchant_id, customer_id) where provider_customer_id = $1',
      ['cus_stripe_1'],
    );
    expect(rows).toHaveLength(1);
    expect(rows[0].email).toBe('a@example.com');
    expect(await inbox.balance(rows[0].customer_id)).toBe(300);
  });

  it('grants the amount of a bonus pack, in rupees too', async () => {
    const customerId = await newCustomer();
    await inbox.play(
      [
        razorpayPayment({
          paymentId: 'pay_bonus',
          amount: 50_000,
          notes: { wallet_customer_id: customerId, wallet_credit_amount: '60000' },
        }),
      ],
      razorpay,
    );
    expect(await inbox.balance(customerId, 'INR')).toBe(60_000);
    expect(await inbox.balance(customerId, 'USD')).toBe(0);
  });

  it('writes no entry for failed, pending, free and unrelated payments', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId };
    await inbox.play([
      stripePayment({ type: 'payment_failed', paymentId: 'pi_no1', metadata }),
      stripePayment({ type: 'processing', paymentId: 'pi_no2', metadata }),
      stripePaymentSucceeded({ paymentId: 'pi_no3', amount: 0, metadata }),
      stripePaymentSucceeded({ paymentId: 'pi_no4', metadata: { ...metadata, wallet_purpose: 'none' } }),
    ]);
    expect(await inbox.balance(customerId)).toBe(0);
    expect(await parked('pi_no3')).toEqual([]);
    // A payment that failed may still succeed.
    await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_no1', amount: 40, metadata })]);
    expect(await inbox.balance(customerId)).toBe(40);
  });
});

describe('refunds and disputes', () => {
  it('takes a refunded top-up back in part and in full, whatever arrives first', async () => {
    const customerId = await newCustomer();
    const payment = stripePaymentSucceeded({
      paymentId: 'pi_r',
      amount: 1000,
      metadata: { wallet_customer_id: customerId },
    });
    const partial = stripeRefund({ paymentId: 'pi_r', refundId: 're_1', amount: 400 });
    const rest = stripeRefund({ paymentId: 'pi_r', refundId: 're_2', amount: 600 });
    await inbox.play([rest, partial]);
    expect(await inbox.states()).toMatchObject({ waiting: 2 });
    await inbox.play([payment, payment, partial]);
    await eventually('the refunds to be applied', async () => (await inbox.states()).waiting === undefined);
    expect(await inbox.balance(customerId)).toBe(0);
    const entries = await eventTypes('pi_r');
    expect(entries?.toSorted()).toEqual([
      ['payment', 1000],
      ['payment_reversal', -400],
      ['payment_reversal', -600],
    ]);
  });

  it('gives back what a refund took that failed after it succeeded', async () => {
    const customerId = await newCustomer();
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_f', amount: 1000, metadata: { wallet_customer_id: customerId } }),
      stripeRefund({ paymentId: 'pi_f', refundId: 're_f', amount: 300 }),
      stripeRefund({ type: 'failed', paymentId: 'pi_f', refundId: 're_f', amount: 300, status: 'failed' }),
      // The news of its success comes late, and changes nothing.
      stripeRefund({ type: 'updated', paymentId: 'pi_f', refundId: 're_f', amount: 300, status: 'succeeded' }),
    ]);
    expect(await inbox.balance(customerId)).toBe(1000);
    expect(await eventTypes('pi_f')).toEqual([
      ['payment', 1000],
      ['payment_reversal', -300],
      ['payment', 300],
    ]);
  });

  it('refunds an order into the wallet, never more than was paid, with nothing to do about its null amount but the rest', async () => {
    const customerId = await newCustomer();
    await inbox.play(
      [
        dodoPayment({
          paymentId: 'pay_o',
          amount: 900,
          currency: 'USD',
          metadata: { wallet_customer_id: customerId, wallet_purpose: 'order' },
        }),
        dodoRefund({ paymentId: 'pay_o', refundId: 'ref_1', amount: 200, currency: 'USD', isPartial: true }),
        dodoRefund({ paymentId: 'pay_o', refundId: 'ref_2', amount: null, currency: null, isPartial: false }),
        dodoRefund({ paymentId: 'pay_o', refundId: 'ref_3', amount: 500, currency: 'USD', isPartial: true }),
      ],
      dodo,
    );
    expect(await inbox.balance(customerId)).toBe(900);
    expect(await eventTypes('pay_o')).toEqual([
      ['refund', 200],
      ['refund', 700],
    ]);
  });

  it('takes a lost dispute back, leaves a debt where the credit was spent, and reinstates it when it is won after all', async () => {
    const customerId = await newCustomer();
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_d', amount: 1000, metadata: { wallet_customer_id: customerId } }),
      stripeDispute({ type: 'created', paymentId: 'pi_d', disputeId: 'du_1', amount: 1000 }),
    ]);
    expect(await inbox.balance(customerId)).toBe(1000);
    const lost = stripeDispute({ type: 'closed', paymentId: 'pi_d', disputeId: 'du_1', amount: 1000, status: 'lost' });
    await inbox.play([lost, stripeRefund({ paymentId: 'pi_d', refundId: 're_d', amount: 1000 })]);
    expect(await inbox.balance(customerId)).toBe(0);
    await inbox.play([
      stripeDispute({ type: 'funds_reinstated', paymentId: 'pi_d', disputeId: 'du_1', amount: 1000, status: 'won' }),
    ]);
    // The refund of the same money, which the dispute had covered, now counts.
    expect(await inbox.balance(customerId)).toBe(0);
    expect(await eventTypes('pi_d')).toEqual([
      ['payment', 1000],
      ['dispute', -1000],
      ['dispute_reversal', 1000],
      ['payment_reversal', -1000],
    ]);
  });
});

describe('what cannot be applied', () => {
  it.each([
    [
      'unknown_customer',
      () => stripePaymentSucceeded({ paymentId: 'pi_p1', metadata: { wallet_customer_id: 'cus_nobody' } }),
    ],
    ['no_customer', () => stripePaymentSucceeded({ paymentId: 'pi_p2', customer: null, metadata: {} })],
    ['unsupported_currency', () => stripePaymentSucceeded({ paymentId: 'pi_p3', currency: 'jpy', metadata: {} })],
    ['wrong_mode', () => stripePaymentSucceeded({ paymentId: 'pi_p4', livemode: true })],
    ['invalid_metadata', () => stripePaymentSucceeded({ paymentId: 'pi_p5', metadata: { wallet_purpose: 'gift' } })],
  ])('is parked: %s', async (reason, body) => {
    await inbox.play([body()]);
    const events = await listEvents(autocommit(database.pool), MERCHANT, {
      state: 'parked',
      pageSize: 1,
      pageNumber: 0,
    });
    expect(events[0]).toMatchObject({ reason, state: 'parked' });
  });

  it('parks a refund in another currency than its payment', async () => {
    const customerId = await newCustomer();
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_cur', amount: 10, metadata: { wallet_customer_id: customerId } }),
      stripeRefund({ paymentId: 'pi_cur', amount: 10, currency: 'inr' }),
    ]);
    expect((await parked('pi_cur'))[0]?.reason).toBe('currency_mismatch');
    expect(await inbox.balance(customerId)).toBe(10);
  });

  it('parks a credit beyond what a wallet can hold, without failing its neighbours', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId };
    await inbox.play([
      stripePaymentSucceeded({
        paymentId: 'pi_max',
        amount: 5,
        metadata: { ...metadata, wallet_credit_amount: String(Number.MAX_SAFE_INTEGER - 10) },
      }),
    ]);
    await Promise.all(
      ['pi_over', 'pi_fits'].map((paymentId) =>
        inbox.deliver(stripePaymentSucceeded({ paymentId, amount: paymentId === 'pi_over' ? 100 : 10, metadata })),
      ),
    );
    await inbox.settled();
    expect((await parked('pi_over'))[0]?.reason).toBe('balance_limit');
    expect(await inbox.balance(customerId)).toBe(Number.MAX_SAFE_INTEGER);
  });

  it('is applied by a replay once its cause is mended, and its refund with it', async () => {
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_replay', amount: 800, customer: null, metadata: {} }),
      stripeRefund({ paymentId: 'pi_replay', refundId: 're_replay', amount: 300 }),
    ]);
    const events = await parked('pi_replay');
    expect(events.map((event) => event.reason)).toEqual(['no_customer', 'no_customer']);
    const customerId = await newCustomer();
    const payment = events.find((event) => event.eventType === 'payment_intent.succeeded');
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId: payment?.eventId ?? '', customerId });
    await eventually('both to be applied', async () => (await parked('pi_replay')).length === 0);
    await inbox.settled();
    expect(await inbox.balance(customerId)).toBe(500);
    const again = await replayEvent(database.pool, inbox.boss, {
      merchantId: MERCHANT,
      eventId: payment?.eventId ?? '',
      customerId: null,
    });
    expect(again).toMatchObject({ code: 'CONFLICT' });
  });
});

describe('an early refund', () => {
  const patient = (waitSeconds: number) => ({ ...inbox.services, waitSeconds });

  it('whose payment never shows up counts as the refund of an order, and is set right when it shows up after all', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId };
    const refund = razorpayRefund({
      paymentId: 'pay_early',
      refundId: 'rfnd_early',
      amount: 700,
      notes: metadata,
      customer: null,
    });
    expect(await inbox.deliver(refund, razorpay)).toMatchObject({ kind: 'stored' });
    await inbox.settled();
    expect(await inbox.balance(customerId, 'INR')).toBe(0);
    // The alarm set for the end of the wait makes the job run again; here it rings at once.
    const [event] = await listEvents(autocommit(database.pool), MERCHANT, {
      state: 'waiting',
      pageSize: 1,
      pageNumber: 0,
    });
    await inbox.boss.offWork('apply-provider-event');
    await inbox.boss.send('apply-provider-event', { eventId: event?.eventId ?? '' });
    const jobs = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', {
      batchSize: 10,
      includeMetadata: true,
    });
    await applyEvents(
      patient(0),
      jobs.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, eventId: data.eventId })),
    );
    expect(await inbox.balance(customerId, 'INR')).toBe(700);
    await workApplyProviderEvent(inbox.boss, inbox.services);
    const other = await newCustomer();
    await inbox.play(
      [razorpayPayment({ paymentId: 'pay_early', amount: 1000, notes: { wallet_customer_id: other } })],
      razorpay,
    );
    const [mismatch] = await listEvents(autocommit(database.pool), MERCHANT, {
      state: 'parked',
      pageSize: 1,
      pageNumber: 0,
    });
    expect(mismatch?.reason).toBe('customer_mismatch');
    expect(await inbox.balance(customerId, 'INR')).toBe(700);
    await inbox.play([razorpayPayment({ paymentId: 'pay_early', amount: 1000, notes: metadata })], razorpay);
    expect(await inbox.balance(customerId, 'INR')).toBe(300);
  });

  it('of a payment with unusable metadata moves nothing', async () => {
    const customerId = await newCustomer();
    await inbox.play([
      stripePaymentSucceeded({
        paymentId: 'pi_odd',
        amount: 900,
        metadata: { wallet_customer_id: customerId, wallet_credit_amount: '9.00' },
      }),
      stripeRefund({ paymentId: 'pi_odd', amount: 900 }),
    ]);
    expect((await parked('pi_odd')).map((event) => event.reason)).toEqual(['invalid_metadata']);
    expect(await inbox.balance(customerId)).toBe(0);
  });
});

describe('what the review asked for', () => {
  it('a changed refunds setting does not reach back to payments heard of before', async () => {
    const customerId = await newCustomer();
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_policy', amount: 1000, metadata: { wallet_customer_id: customerId } }),
      stripeRefund({ paymentId: 'pi_policy', refundId: 're_policy', amount: 1000 }),
    ]);
    expect(await inbox.balance(customerId)).toBe(0);
    for (const refunds of ['ignore', 'credit'] as const) {
      const services = { ...inbox.services, sources: testSources([{ ...stripe, refunds }]) };
      await inbox.boss.offWork('apply-provider-event');
      await inbox.deliver(
        stripeRefund({ type: 'updated', paymentId: 'pi_policy', refundId: 're_policy', amount: 1000 }),
      );
      await applyFetched(services);
      expect(await inbox.balance(customerId)).toBe(0);
    }
    await workApplyProviderEvent(inbox.boss, inbox.services);
  });

  it('a refund of a payment that is only known to have failed waits, and is parked rather than dropped', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId };
    await inbox.play([
      stripePayment({ type: 'payment_failed', paymentId: 'pi_lost_success', metadata }),
      stripeRefund({ paymentId: 'pi_lost_success', amount: 400 }),
    ]);
    expect(await stateOf('pi_lost_success', 'refund.created')).toBe('waiting');
    await inbox.boss.offWork('apply-provider-event');
    await inbox.boss.send('apply-provider-event', { eventId: await idOf('pi_lost_success', 'refund.created') });
    await applyFetched({ ...inbox.services, waitSeconds: 0 });
    await workApplyProviderEvent(inbox.boss, inbox.services);
    expect((await parked('pi_lost_success'))[0]?.reason).toBe('unknown_payment');
    await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_lost_success', amount: 1000, metadata })]);
    await eventually('the refund to be applied after all', async () => (await inbox.balance(customerId)) === 600);
  });

  it('a refund that a backlog brings before its payment waits for it all the same', async () => {
    const customerId = await newCustomer();
    await inbox.boss.offWork('apply-provider-event');
    await inbox.deliver(
      stripeRefund({ paymentId: 'pi_backlog', amount: 100, metadata: { wallet_customer_id: customerId } }),
    );
    const anHourLater = { now: () => new Date(Date.now() + 3_600_000) };
    await applyFetched({ ...inbox.services, clock: anHourLater });
    expect(await stateOf('pi_backlog', 'refund.created')).toBe('waiting');
    expect(await inbox.balance(customerId)).toBe(0);
    await workApplyProviderEvent(inbox.boss, inbox.services);
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_backlog', amount: 100, metadata: { wallet_customer_id: customerId } }),
    ]);
    await eventually('both to be applied', async () => (await stateOf('pi_backlog', 'refund.created')) === 'applied');
    expect(await inbox.balance(customerId)).toBe(0);
  });

  it('a replay gives a payment that moved nothing yet to the customer it names', async () => {
    await inbox.play([
      stripePaymentSucceeded({
        paymentId: 'pi_eur',
        currency: 'eur',
        customer: 'cus_stripe_eur',
        amount: 50,
        metadata: {},
      }),
    ]);
    const [event] = await parked('pi_eur');
    expect(event?.reason).toBe('unsupported_currency');
    const customerId = await newCustomer();
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId: event?.eventId ?? '', customerId });
    await inbox.settled();
    const [life] = await paymentLife(autocommit(database.pool), MERCHANT, 'pi_eur');
    expect(life?.payment.customerId).toBe(customerId);
  });

  it('a customer named once is found again by the provider customer alone', async () => {
    const customerId = await newCustomer();
    await inbox.play([
      stripePaymentSucceeded({
        paymentId: 'pi_sub1',
        amount: 10,
        customer: 'cus_stripe_sub',
        metadata: { wallet_customer_id: customerId },
      }),
      stripePaymentSucceeded({ paymentId: 'pi_sub2', amount: 20, customer: 'cus_stripe_sub', metadata: {} }),
    ]);
    expect(await inbox.balance(customerId)).toBe(30);
  });

  it('a dispute that is closed without a deduction gives back nothing that a loss took', async () => {
    const customerId = await newCustomer();
    const dispute = { paymentId: 'pay_closed', disputeId: 'disp_closed', amount: 500 };
    await inbox.play(
      [
        razorpayPayment({ paymentId: 'pay_closed', amount: 500, notes: { wallet_customer_id: customerId } }),
        razorpayDispute({ ...dispute, type: 'lost' }),
        razorpayDispute({ ...dispute, type: 'closed' }),
      ],
      razorpay,
    );
    expect(await inbox.balance(customerId, 'INR')).toBe(0);
  });
});

describe('odd bodies and secrets', () => {
  it('parks what is signed but not readable, whatever bytes it is made of', async () => {
    const bodies = [
      'not json',
      '{"id":"evt_deep","type":"payment_intent.succeeded","data":'.padEnd(3000, '['),
      '{"id":"evt_nul","type":"payment_intent.succeeded","data":{"object":{"id":"\\u0000"}}}',
    ];
    const before = (await inbox.states()).parked ?? 0;
    for (const body of bodies) expect(await inbox.deliver(body)).toMatchObject({ kind: 'stored', state: 'pending' });
    await inbox.settled();
    expect((await inbox.states()).parked).toBe(before + bodies.length);
  });

  it('takes a delivery signed with an older secret of the list', async () => {
    const rotating = testSource('stripe', { secrets: [new Secret('whsec_the_new_one_0123456789'), ...stripe.secrets] });
    const body = stripePayment({ type: 'processing', paymentId: 'pi_rotated' });
    expect(
      await inbox.receiver.receive(rotating, { rawBody: Buffer.from(body), headers: { ...signStripe(body) } }),
    ).toMatchObject({ kind: 'stored' });
    await inbox.settled();
  });

  it('ignores an event at its application, too, if that is what its body has come to mean', async () => {
    const body = JSON.stringify({
      id: 'evt_later',
      object: 'event',
      type: 'charge.succeeded',
      livemode: false,
      data: { object: { id: 'ch_2' } },
    });
    await database.pool.query(
      "insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, received_at) values ('evt_later', $1, 'src_stripe', 'stripe', 'evt_later', 'charge.succeeded', $2, 'pending', now())",
      [MERCHANT, Buffer.from(body)],
    );
    await inbox.boss.send('apply-provider-event', { eventId: 'evt_later' });
    await inbox.settled();
    expect(await getEvent(autocommit(database.pool), MERCHANT, 'evt_later')).toMatchObject({ state: 'ignored' });
    // A second job for it finds nothing left to do.
    const job = await inbox.boss.send('apply-provider-event', { eventId: 'evt_later' });
    await eventually(
      'the second job to complete',
      async () => (await inbox.boss.getJobById('apply-provider-event', job ?? ''))?.state === 'completed',
    );
  });

  it('says so when there is no such event to replay', async () => {
    expect(
      await replayEvent(database.pool, inbox.boss, { merchantId: 'bus_other', eventId: 'evt_later', customerId: null }),
    ).toBeNull();
  });
});

describe('deliveries', () => {
  it('stores nothing for a forged signature', async () => {
    const body = stripePaymentSucceeded({ paymentId: 'pi_forged' });
    const receipt = await inbox.receiver.receive(stripe, {
      rawBody: Buffer.from(body),
      headers: { 'stripe-signature': 't=1,v1=00' },
    });
    expect(receipt).toEqual({ kind: 'refused' });
    const { rowCount } = await database.pool.query(
      "select 1 from provider_event where convert_from(body, 'UTF8') like '%pi_forged%'",
    );
    expect(rowCount).toBe(0);
  });

  it('stores sibling events as ignored, without a job', async () => {
    const body = JSON.stringify({
      id: 'evt_sibling',
      object: 'event',
      type: 'charge.succeeded',
      livemode: false,
      data: { object: { id: 'ch_1', object: 'charge' } },
    });
    expect(await inbox.deliver(body)).toMatchObject({ kind: 'stored', state: 'ignored' });
  });

  it('keeps one payment id of two sources apart', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId, wallet_purpose: 'topup' };
    await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_twin', amount: 10, metadata })]);
    await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_twin', amount: 20, metadata })], orders);
    expect(await inbox.balance(customerId)).toBe(30);
    expect(await paymentLife(autocommit(database.pool), MERCHANT, 'pi_twin')).toHaveLength(2);
  });
});
