import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { paymentLife } from '../../src/payments/life.ts';
import { FaultRig } from '../support/fault-rig.ts';
import type { TrafficEvent } from '../support/fault-traffic.ts';
import { MERCHANT } from '../support/ledger.ts';
import { stripeDispute, stripePayment, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/**
 * F16: a refund or dispute comes before its payment, or an event is about a customer or wallet that does not exist. It
 * waits, in plain sight, and is applied with what it waited for; or it is parked, in plain sight, with what to do about
 * it. Nothing moves meanwhile, and nothing is guessed.
 */
let rig: FaultRig;

beforeAll(async () => {
  rig = await FaultRig.start({ STRIPE_DEFAULT_PURPOSE: 'order' });
  await Promise.all([rig.startWebHere(), rig.startWorkerHere()]);
});

afterAll(async () => {
  await rig.expectAllWell();
  await rig.close();
});

const USD = { currency: 'usd' } as const;

/** What the provider tells, and what it adds to the customer's balance in the end. */
function told(customerId: string, effectMinor: number, bodyOf: (eventId: string) => string): TrafficEvent {
  const eventId = `evt_${crypto.randomUUID()}`;
  return { eventId, customerId, effectMinor, body: bodyOf(eventId) };
}

const payment = (customerId: string, paymentId: string, amount: number, effectMinor = amount): TrafficEvent =>
  told(customerId, effectMinor, (eventId) => {
    const metadata = { wallet_customer_id: customerId, wallet_purpose: 'topup' };
    return stripePaymentSucceeded({ eventId, paymentId, amount, ...USD, metadata });
  });

/** A refund of Stripe's names nobody of itself. */
const refund = (customerId: string, paymentId: string, amount: number, metadata = {}): TrafficEvent =>
  told(customerId, -amount, (eventId) =>
    stripeRefund({ eventId, paymentId, amount, ...USD, status: 'succeeded', metadata }),
  );

async function deliver({ traffic }: FaultRig, ...events: readonly TrafficEvent[]): Promise<void> {
  for (const event of events) await traffic.deliver(event);
}

/** What the API says of the events of a payment, the oldest first: type, state, and reason where it is parked. */
async function seen({ traffic }: FaultRig, paymentId: string): Promise<string[]> {
  const { body } = await traffic.call('GET', '/events?page_size=100');
  const items: { payment_id: string; type: string; status: string; reason: string | null; advice: string | null }[] =
    body.items;
  const ofPayment = items.filter((item) => item.payment_id === paymentId).toReversed();
  for (const { status, advice } of ofPayment) expect(advice === null).toBe(status !== 'parked');
  return ofPayment.map(({ type, status, reason }) => [type, status, ...(reason === null ? [] : [reason])].join(' '));
}

async function expectSeen(where: FaultRig, paymentId: string, ...wanted: readonly string[]): Promise<void> {
  let last: readonly string[] = [];
  const isSeen = async () => {
    last = await seen(where, paymentId);
    return last.join() === wanted.join();
  };
  await eventually(`the events of ${paymentId}`, isSeen).catch(() => {});
  expect(last).toEqual(wanted);
}

async function balance({ traffic }: FaultRig, customerId: string): Promise<number> {
  return (await traffic.call('GET', `/customers/${customerId}/wallets/USD`)).body.balance;
}

async function entries({ database }: FaultRig, paymentId: string): Promise<(string | number)[][]> {
  const [life] = await paymentLife(autocommit(database.pool), MERCHANT, paymentId);
  const all = (life?.entries ?? []).map(({ eventType, isCredit, amountMinor }) => ({
    eventType,
    isCredit,
    amountMinor,
  }));
  return all.map(({ eventType, isCredit, amountMinor }) => [eventType, isCredit ? amountMinor : -amountMinor]);
}

/** The time goes by that events wait for their payment, 15 minutes; any other event then makes the worker look. */
async function waitToBeOver(where: FaultRig, paymentId: string): Promise<void> {
  const { rowCount } = await where.database.pool.query(
    `with aged as (
       update provider_event set waiting_since = (waiting_since at time zone 'UTC' - interval '16 minutes') at time zone 'UTC'
       where payment_id = $1 and state = 'waiting' returning event_id)
     update pgboss.job j set start_after = (start_after at time zone 'UTC' - interval '16 minutes') at time zone 'UTC'
     from aged where j.name = 'apply-provider-event' and j.state = 'created' and j.data ->> 'eventId' = aged.event_id`,
    [paymentId],
  );
  expect(rowCount).toBe(1);
  const somebody = await where.traffic.newCustomer();
  await deliver(
    where,
    told(somebody, 0, (eventId) => stripePayment({ type: 'processing', eventId })),
  );
}

describe('a refund before its payment', () => {
  it('waits for it and moves nothing meanwhile, and is taken back with it, in part and in full', async () => {
    const customerId = await rig.traffic.newCustomer();
    const [rest, part] = [refund(customerId, 'pi_r', 600), refund(customerId, 'pi_r', 400)];
    await deliver(rig, rest, part);
    await expectSeen(rig, 'pi_r', 'refund.created waiting', 'refund.created waiting');
    expect(await balance(rig, customerId)).toBe(0);
    const paid = payment(customerId, 'pi_r', 1000);
    await deliver(rig, paid, paid, part);
    const applied = ['refund.created applied', 'refund.created applied', 'payment_intent.succeeded applied'];
    await expectSeen(rig, 'pi_r', ...applied);
    expect(await balance(rig, customerId)).toBe(0);
    expect((await entries(rig, 'pi_r')).toSorted()).toEqual([
      ['payment', 1000],
      ['payment_reversal', -400],
      ['payment_reversal', -600],
    ]);
  });

  it('that never shows up counts as the refund of an order where orders are sold, and is set right when it shows up after all', async () => {
    const [customerId, other] = [await rig.traffic.newCustomer(), await rig.traffic.newCustomer()];
    await deliver(rig, refund(customerId, 'pi_early', 700, { wallet_customer_id: customerId }));
    await expectSeen(rig, 'pi_early', 'refund.created waiting');
    expect(await balance(rig, customerId)).toBe(0);
    await waitToBeOver(rig, 'pi_early');
    await expectSeen(rig, 'pi_early', 'refund.created applied');
    expect(await balance(rig, customerId)).toBe(700);
    await deliver(rig, payment(other, 'pi_early', 1000, 0));
    const mismatch = 'payment_intent.succeeded parked customer_mismatch';
    await expectSeen(rig, 'pi_early', 'refund.created applied', mismatch);
    expect(await balance(rig, customerId)).toBe(700);
    await deliver(rig, payment(customerId, 'pi_early', 1000));
    await expectSeen(rig, 'pi_early', 'refund.created applied', mismatch, 'payment_intent.succeeded applied');
    expect(await balance(rig, customerId)).toBe(300);
    expect(await balance(rig, other)).toBe(0);
  });

  it('of which only a failure is known waits, and is parked rather than dropped, until it succeeds after all', async () => {
    const customerId = await rig.traffic.newCustomer();
    const metadata = { wallet_customer_id: customerId };
    const failure = told(customerId, 0, (eventId) =>
      stripePayment({ type: 'payment_failed', eventId, paymentId: 'pi_failed', metadata }),
    );
    await deliver(rig, failure, refund(customerId, 'pi_failed', 400));
    const failed = 'payment_intent.payment_failed applied';
    await expectSeen(rig, 'pi_failed', failed, 'refund.created waiting');
    await waitToBeOver(rig, 'pi_failed');
    await expectSeen(rig, 'pi_failed', failed, 'refund.created parked unknown_payment');
    expect(await balance(rig, customerId)).toBe(0);
    await deliver(rig, payment(customerId, 'pi_failed', 1000));
    await expectSeen(rig, 'pi_failed', failed, 'refund.created applied', 'payment_intent.succeeded applied');
    expect(await balance(rig, customerId)).toBe(600);
  });

  it('behind a backlog of an hour waits for it all the same', async ({ onTestFinished }) => {
    const late = await FaultRig.start();
    onTestFinished(() => late.close());
    await late.startWebHere();
    const customerId = await late.traffic.newCustomer();
    await deliver(late, refund(customerId, 'pi_backlog', 100, { wallet_customer_id: customerId }));
    await late.database.pool.query(
      "update provider_event set received_at = (received_at at time zone 'UTC' - interval '1 hour') at time zone 'UTC'",
    );
    await late.startWorkerHere();
    await expectSeen(late, 'pi_backlog', 'refund.created waiting');
    expect(await balance(late, customerId)).toBe(0);
    await deliver(late, payment(customerId, 'pi_backlog', 100));
    await expectSeen(late, 'pi_backlog', 'refund.created applied', 'payment_intent.succeeded applied');
    expect(await balance(late, customerId)).toBe(0);
    await late.expectAllWell();
  });
});

describe('a lost dispute before its payment', () => {
  it('waits, is parked when the payment does not show up, and is applied with it when it does', async () => {
    const customerId = await rig.traffic.newCustomer();
    const lost = { paymentId: 'pi_lost', disputeId: 'du_lost', amount: 1000, ...USD, status: 'lost' };
    await deliver(
      rig,
      told(customerId, -1000, (eventId) => stripeDispute({ ...lost, type: 'closed', eventId })),
    );
    await expectSeen(rig, 'pi_lost', 'charge.dispute.closed waiting');
    await waitToBeOver(rig, 'pi_lost');
    await expectSeen(rig, 'pi_lost', 'charge.dispute.closed parked unknown_payment');
    await deliver(rig, payment(customerId, 'pi_lost', 1000));
    await expectSeen(rig, 'pi_lost', 'charge.dispute.closed applied', 'payment_intent.succeeded applied');
    expect(await entries(rig, 'pi_lost')).toEqual([
      ['payment', 1000],
      ['dispute', -1000],
    ]);
  });
});

describe('an event of an unknown', () => {
  it.each([
    ['customer', 'unknown_customer', { metadata: { wallet_customer_id: 'cus_nobody', wallet_purpose: 'topup' } }],
    ['payer', 'no_customer', { customer: null, metadata: { wallet_purpose: 'topup' } }],
  ])('%s is parked, with its refund, and both are applied by a replay for a customer', async (_, reason, whose) => {
    const customerId = await rig.traffic.newCustomer();
    const paymentId = `pi_${reason}`;
    const paid = told(customerId, 800, (eventId) =>
      stripePaymentSucceeded({ eventId, paymentId, amount: 800, ...USD, ...whose }),
    );
    // One after the other: in one batch events of one millisecond have no order, and the refund may wait for what comes behind it.
    await deliver(rig, paid);
    await expectSeen(rig, paymentId, `payment_intent.succeeded parked ${reason}`);
    await deliver(rig, refund(customerId, paymentId, 300));
    await expectSeen(rig, paymentId, `payment_intent.succeeded parked ${reason}`, 'refund.created waiting');
    await waitToBeOver(rig, paymentId);
    await expectSeen(
      rig,
      paymentId,
      `payment_intent.succeeded parked ${reason}`,
      'refund.created parked unknown_payment',
    );
    expect(await balance(rig, customerId)).toBe(0);
    const id = await idOf(paid);
    const replay = () => rig.traffic.call('POST', `/events/${id}/replay`, { customer_id: customerId });
    expect((await replay()).status).toBe(200);
    await expectSeen(rig, paymentId, 'payment_intent.succeeded applied', 'refund.created applied');
    expect(await balance(rig, customerId)).toBe(500);
    expect(await replay()).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
  });

  it('wallet is parked, and its neighbours are not held up', async () => {
    const customerId = await rig.traffic.newCustomer();
    const metadata = { wallet_customer_id: customerId, wallet_purpose: 'topup' };
    const yen = told(customerId, 0, (eventId) =>
      stripePaymentSucceeded({ eventId, paymentId: 'pi_yen', currency: 'jpy', metadata }),
    );
    await deliver(rig, yen, payment(customerId, 'pi_dollars', 30));
    await expectSeen(rig, 'pi_yen', 'payment_intent.succeeded parked unsupported_currency');
    await expectSeen(rig, 'pi_dollars', 'payment_intent.succeeded applied');
    expect(await balance(rig, customerId)).toBe(30);
  });
});

/** Our own id of an event of the provider. */
async function idOf({ eventId }: TrafficEvent): Promise<string> {
  const { rows } = await rig.database.pool.query('select event_id from provider_event where delivery_key = $1', [
    eventId,
  ]);
  return rows[0].event_id;
}
