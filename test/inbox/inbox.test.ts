import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workApplyProviderEvent } from '../../jobs/apply-provider-event.ts';
import { workApplyProviderEvents } from '../../jobs/apply-provider-events.ts';
import { autocommit } from '../../src/db/transaction.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { eventsOfPayment, getEvent, listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { paymentLife } from '../../src/payments/life.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyDueOnce, startInbox, type TestInbox, testSource, testSources } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import {
  dodoPayment,
  dodoRefund,
  razorpayDispute,
  razorpayPayment,
  stripeDispute,
  stripePayment,
  stripePaymentSucceeded,
  stripeRefund,
} from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;
let inbox: TestInbox;
const stripe = testSource('stripe');
// Here the merchant's server alone writes metadata.
const dodo = testSource('dodo', { metadata: 'all' });
const razorpay = testSource('razorpay', { metadata: 'all' });
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

/** Applies what is queued, as a worker with these services would. */
async function applyFetched(services: ApplyServices): Promise<void> {
  await applyDueOnce(services, 20);
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

describe('what an event did', () => {
  const effects = async (paymentId: string) => {
    const events = await eventsOfPayment(autocommit(database.pool), {
      merchantId: MERCHANT,
      sourceId: 'src_stripe',
      paymentId,
    });
    return events.map(({ eventType: type, state, effect }) => [type, state, effect]);
  };

  it('is said of each event of a payment, and of a repeat that it did nothing', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId };
    await inbox.play([
      stripePayment({ type: 'processing', paymentId: 'pi_effects', amount: 1000, metadata }),
      stripePaymentSucceeded({ paymentId: 'pi_effects', amount: 1000, metadata }),
      stripePaymentSucceeded({ paymentId: 'pi_effects', amount: 1000, metadata }),
      stripeRefund({ paymentId: 'pi_effects', refundId: 're_effects', amount: 300, status: 'succeeded' }),
      stripePaymentSucceeded({ paymentId: 'pi_effects', amount: 1000, currency: 'eur', metadata }),
    ]);
    expect(await effects('pi_effects')).toEqual([
      ['payment_intent.processing', 'applied', 'recorded'],
      ['payment_intent.succeeded', 'applied', 'credited'],
      ['payment_intent.succeeded', 'applied', 'none'],
      ['refund.created', 'applied', 'debited'],
      ['payment_intent.succeeded', 'parked', 'none'],
    ]);
  });

  it('is told for each event also if the refund came first and had to wait', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId };
    await inbox.play([
      stripeRefund({ paymentId: 'pi_late', refundId: 're_late', amount: 300, status: 'succeeded' }),
      stripePaymentSucceeded({ paymentId: 'pi_late', amount: 1000, metadata }),
    ]);
    expect(await effects('pi_late')).toEqual([
      ['refund.created', 'applied', 'debited'],
      ['payment_intent.succeeded', 'applied', 'credited'],
    ]);
    expect(await inbox.balance(customerId)).toBe(700);
  });

  it('is nothing where it is parked, since that teaches nothing, or could not be read', async () => {
    await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_stays', customer: null, email: null, metadata: {} })]);
    expect(await effects('pi_stays')).toEqual([['payment_intent.succeeded', 'parked', 'none']]);
    await inbox.play([stripePayment({ paymentId: 'pi_live', livemode: true })]);
    const query = { state: 'parked', pageSize: 1, pageNumber: 0 } as const;
    expect(await listEvents(autocommit(database.pool), MERCHANT, query)).toMatchObject([
      { reason: 'wrong_mode', effect: null },
    ]);
  });
});

describe('refunds and disputes', () => {
  it('keeps refunds apart whose ids, joined to those of their payments, look alike', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_customer_id: customerId };
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_alike', amount: 1000, metadata }),
      stripePaymentSucceeded({ paymentId: 'pi_alike_a', amount: 1000, metadata }),
      stripeRefund({ paymentId: 'pi_alike', refundId: 'a_b', amount: 300, status: 'succeeded' }),
      stripeRefund({ paymentId: 'pi_alike_a', refundId: 'b', amount: 300, status: 'succeeded' }),
    ]);
    expect([await parked('pi_alike'), await parked('pi_alike_a')]).toEqual([[], []]);
    expect(await inbox.balance(customerId)).toBe(1400);
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

  it('refunds an order into the wallet, never more than was paid; a refund without an amount is of the rest', async () => {
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

  it('moves nothing for the refund of a payment with unusable metadata', async () => {
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

describe('what cannot be applied', () => {
  it.each([
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
        amount: Number.MAX_SAFE_INTEGER - 10,
        metadata,
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
});

describe('rare cases', () => {
  it('a changed refunds setting does not reach back to payments heard of before', async () => {
    const customerId = await newCustomer();
    await inbox.play([
      stripePaymentSucceeded({ paymentId: 'pi_policy', amount: 1000, metadata: { wallet_customer_id: customerId } }),
      stripeRefund({ paymentId: 'pi_policy', refundId: 're_policy', amount: 1000 }),
    ]);
    expect(await inbox.balance(customerId)).toBe(0);
    for (const refunds of ['ignore', 'credit'] as const) {
      const services = { ...inbox.services, sources: testSources([{ ...stripe, refunds }]) };
      for (const queue of ['apply-provider-events', 'apply-provider-event']) await inbox.boss.offWork(queue);
      await inbox.deliver(
        stripeRefund({ type: 'updated', paymentId: 'pi_policy', refundId: 're_policy', amount: 1000 }),
      );
      await applyFetched(services);
      expect(await inbox.balance(customerId)).toBe(0);
    }
    await workApplyProviderEvents(inbox.boss, inbox.services);
    await workApplyProviderEvent(inbox.boss, inbox.services);
  });

  it('a replay that cannot be applied either teaches the payment nothing, not even whose it is', async () => {
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
    const [replayed] = await parked('pi_eur');
    expect(replayed).toMatchObject({ reason: 'unsupported_currency', assignedCustomerId: customerId });
    const [life] = await paymentLife(autocommit(database.pool), MERCHANT, 'pi_eur');
    expect(life?.payment).toMatchObject({ state: 'unknown', customerId: null });
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
    await expect(
      replayEvent(database.pool, inbox.boss, { merchantId: 'bus_other', eventId: 'evt_later', customerId: null }),
    ).rejects.toMatchObject({ refusal: { code: 'NO_SUCH_EVENT' } });
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
