import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { dismissEvent } from '../../src/inbox/dismiss.ts';
import { eventsOfPayment } from '../../src/inbox/events.ts';
import { entryId } from '../../src/ledger/entry.ts';
import { postBatch } from '../../src/ledger/store.ts';
import type { Source } from '../../src/merchants/source.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import {
  dodoDispute,
  dodoPayment,
  dodoRefund,
  stripeDispute,
  stripePaymentSucceeded,
  stripeRefund,
} from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/* What providers tell of seldom, from the delivery to the wallet. */

let database: TestDatabase;
let inbox: TestInbox;
const stripe = testSource('stripe');
const dodo = testSource('dodo');
const cashfree = testSource('cashfree');
const orders = testSource('cashfree', { sourceId: 'src_orders', defaultPurpose: 'order' });

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [stripe, dodo, cashfree, orders], waitSeconds: 0 });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let made = 0;
/** A customer, and the id of a payment that nobody has heard of. */
async function begin(): Promise<{ customer: string; paymentId: string }> {
  made += 1;
  const [customer = ''] = await makeCustomers(database.pool, [`rare${made}`]);
  return { customer, paymentId: `rare_payment_${made}` };
}

/** Delivers each once the one before it was applied or parked, wherever it waited meanwhile. */
async function tell(source: Source, ...bodies: readonly string[]): Promise<void> {
  for (const body of bodies) {
    await inbox.deliver(body, source);
    await eventually('nothing to wait any more', async () => {
      const { pending = 0, waiting = 0 } = await inbox.states();
      return pending + waiting === 0;
    });
  }
}

async function told({ sourceId }: Source, paymentId: string): Promise<string[]> {
  const events = await eventsOfPayment(autocommit(database.pool), { merchantId: MERCHANT, sourceId, paymentId });
  return events.map(({ state, reason }) => (reason === null ? state : `${state} ${reason}`));
}

const parkedAs = async (reason: string): Promise<number> =>
  (await database.pool.query("select 1 from provider_event where state = 'parked' and reason = $1", [reason]))
    .rowCount ?? 0;

/** Tells the same of a new payment in several orders, and says what each leaves of 10000. */
async function leftIn(
  source: Source,
  orders: (of: { customer: string; paymentId: string }) => readonly (readonly string[])[],
): Promise<(number | undefined)[]> {
  const lefts: (number | undefined)[] = [];
  for (let index = 0; ; index += 1) {
    const one = await begin();
    const bodies = orders(one)[index];
    if (bodies === undefined) return lefts;
    await tell(source, ...bodies);
    lefts.push(await inbox.balance(one.customer, source.provider === 'cashfree' ? 'INR' : 'USD'));
  }
}

const day = (date: number): string => `2026-11-${String(date).padStart(2, '0')}T10:00:00.000000Z`;

/** A body of Dodo with more said in its data. */
function dodoAt(body: string, date: number, more: object = {}): string {
  const event = JSON.parse(body);
  return JSON.stringify({ ...event, timestamp: day(date), data: { ...event.data, ...more } });
}

const dodoPaid = ({ customer, paymentId }: { customer: string; paymentId: string }) =>
  dodoAt(dodoPayment({ paymentId, amount: 10_000, currency: 'USD', metadata: { wallet_customer_id: customer } }), 1);

describe('a dispute of Dodo that the card scheme resolved by itself', () => {
  const rdr = { is_resolved_by_rdr: true, created_at: day(3) };
  const lost = (paymentId: string, more: object) =>
    dodoAt(dodoDispute({ type: 'lost', paymentId, disputeId: 'dis_rdr', amount: '3000', currency: 'USD' }), 5, more);
  const refund = (paymentId: string, date: number) =>
    dodoAt(
      dodoRefund({ paymentId, refundId: `ref_${paymentId}`, amount: 3000, currency: 'USD', isPartial: true }),
      date,
    );

  it.each<[string, object, number, number]>([
    ['tells the money of the refund that resolved it', rdr, 4, 7000],
    ['is money of its own beside a refund from before it was opened', rdr, 2, 4000],
    ['is money of its own where it was not resolved so', { ...rdr, is_resolved_by_rdr: false }, 4, 4000],
  ])('%s, whichever comes first', async (_, more, refundedOn, left) => {
    const lefts = await leftIn(dodo, (one) => [
      [dodoPaid(one), refund(one.paymentId, refundedOn), lost(one.paymentId, more)],
      [dodoPaid(one), lost(one.paymentId, more), refund(one.paymentId, refundedOn)],
    ]);
    expect(lefts).toEqual([left, left]);
  });

  it('counts by itself as long as no refund is told', async () => {
    expect(await leftIn(dodo, (one) => [[dodoPaid(one), lost(one.paymentId, rdr)]])).toEqual([7000]);
  });
});

describe('a dispute of Dodo that is lost, won and lost again under one id', () => {
  it.each(['dispute', null])('takes what its newest round takes, told in stage %s', async (dispute_stage) => {
    const one = await begin();
    const ids = { paymentId: one.paymentId, disputeId: `dis_${one.paymentId}` };
    const dispute = (type: 'lost' | 'won', date: number) =>
      dodoAt(dodoDispute({ type, ...ids, amount: '10000', currency: 'USD' }), date, { dispute_stage });
    const lefts: (number | undefined)[] = [];
    for (const body of [dodoPaid(one), dispute('lost', 2), dispute('won', 3), dispute('lost', 4)]) {
      await tell(dodo, body);
      lefts.push(await inbox.balance(one.customer));
    }
    expect(lefts).toEqual([10_000, 0, 10_000, 0]);
    // An older round that is told again later changes nothing.
    await tell(dodo, `${dispute('won', 3)} `);
    expect(await inbox.balance(one.customer)).toBe(0);
  });
});

const stripePaid = ({ customer, paymentId }: { customer: string; paymentId: string }) =>
  stripePaymentSucceeded({
    ...{ paymentId, amount: 10_000, currency: 'usd' },
    metadata: { wallet_customer_id: customer },
  });

describe('several disputes of one payment', () => {
  const closed = (paymentId: string, disputeId: string, status: 'lost' | 'won', amount: number) =>
    stripeDispute({
      type: 'closed',
      paymentId,
      disputeId: `${disputeId}_${paymentId}`,
      status,
      amount,
      currency: 'usd',
    });

  it('each take what was lost in them; that another was won gives nothing of it back', async () => {
    const lefts = await leftIn(stripe, (one) => {
      const [paid, a, b, won] = [
        stripePaid(one),
        closed(one.paymentId, 'du_a', 'lost', 3000),
        closed(one.paymentId, 'du_b', 'lost', 4000),
        closed(one.paymentId, 'du_c', 'won', 2000),
      ];
      return [
        [paid, a, b, won],
        [paid, won, b, a],
        [won, b, a, paid],
      ];
    });
    expect(lefts).toEqual([3000, 3000, 3000]);
  });
});

describe('a refund under way or failed, of a payment that was never heard of', () => {
  it.each(['pending', 'failed'] as const)('parks as one that succeeded does: %s', async (status) => {
    const { customer, paymentId } = await begin();
    const type = status === 'failed' ? 'failed' : 'created';
    const refund = stripeRefund({ type, paymentId, status, amount: 4000, currency: 'usd' });
    await tell(stripe, refund);
    expect(await told(stripe, paymentId)).toEqual(['parked unknown_payment']);
    await tell(stripe, stripePaid({ customer, paymentId }));
    expect([await told(stripe, paymentId), await inbox.balance(customer)]).toEqual([['applied', 'applied'], 10_000]);
  });
});

/** What Stripe tells of a charge that was made without a PaymentIntent, as older integrations do. */
function bareCharge(chargeId: string, customer: string) {
  const event = (type: string, object: object) => {
    made += 1;
    const head = { id: `evt_bare_${made}`, object: 'event', created: 1_795_000_000 + made, livemode: false };
    return JSON.stringify({ ...head, api_version: '2025-08-27.basil', type, data: { object } });
  };
  const charge = {
    ...{ id: chargeId, object: 'charge', amount: 10_000, amount_captured: 10_000, amount_refunded: 0, captured: true },
    ...{ currency: 'usd', customer: null, payment_intent: null, receipt_email: null, status: 'succeeded' },
    metadata: { wallet_customer_id: customer },
  };
  const ofCharge = { charge: chargeId, payment_intent: null, currency: 'usd' };
  return {
    charge: (type: string, more: object = {}) => event(type, { ...charge, ...more }),
    refund: (refundId: string, amount: number, more: object = {}) =>
      event('refund.created', {
        ...{ id: refundId, object: 'refund', amount, status: 'succeeded', reason: null, metadata: {}, ...ofCharge },
        ...more,
      }),
    dispute: (status: string, amount: number) =>
      event('charge.dispute.closed', { id: `du_${chargeId}`, object: 'dispute', status, amount, ...ofCharge }),
  };
}

describe('a charge of Stripe without a PaymentIntent', () => {
  it('is a payment under its own id, whose refunds and disputes are found by it', async () => {
    const { customer, paymentId } = await begin();
    const bare = bareCharge(paymentId, customer);
    const steps: [string, number][] = [
      [bare.charge('charge.succeeded'), 10_000],
      [bare.refund('re_bare', 2000), 8000],
      // The running total tells the same refund once more, and then one of which nobody told.
      [bare.charge('charge.refunded', { amount_refunded: 2000 }), 8000],
      [bare.charge('charge.refunded', { amount_refunded: 2500 }), 7500],
      [bare.dispute('lost', 3000), 4500],
      [bare.dispute('won', 3000), 7500],
    ];
    for (const [body, left] of steps) {
      await tell(stripe, body);
      expect(await inbox.balance(customer)).toBe(left);
    }
    expect(new Set(await told(stripe, paymentId))).toEqual(new Set(['applied']));
  });

  it('that is captured later is paid then, with what was captured; one that failed is not', async () => {
    const { customer, paymentId } = await begin();
    const bare = bareCharge(paymentId, customer);
    await tell(stripe, bare.charge('charge.succeeded', { captured: false, amount_captured: 0 }));
    expect(await inbox.balance(customer)).toBe(0);
    await tell(stripe, bare.charge('charge.captured', { amount_captured: 6000 }));
    expect(await inbox.balance(customer)).toBe(6000);
    const other = await begin();
    await tell(stripe, bareCharge(other.paymentId, other.customer).charge('charge.failed', { status: 'failed' }));
    expect([await told(stripe, other.paymentId), await inbox.balance(other.customer)]).toEqual([['applied'], 0]);
  });

  it('that was never heard of leaves its refund parked under its id; a refund that names neither is malformed', async () => {
    const { customer, paymentId } = await begin();
    await tell(stripe, bareCharge(paymentId, customer).refund('re_unheard', 2000));
    expect(await told(stripe, paymentId)).toEqual(['parked unknown_payment']);
    const before = await parkedAs('malformed');
    await tell(stripe, bareCharge(paymentId, customer).refund('re_nothing', 2000, { charge: null }));
    expect(await parkedAs('malformed')).toBe(before + 1);
    await tell(stripe, bareCharge(paymentId, customer).charge('charge.succeeded'));
    expect(await inbox.balance(customer)).toBe(8000);
  });
});

/** What Cashfree tells of a subscription: a charge, or the small payment by which a mandate is authorised. */
function subscription(customer: string, paymentId: string) {
  const event = (type: string, data: object) =>
    JSON.stringify({ type, event_time: '2026-11-20T10:00:00+05:30', data: { cf_payment_id: paymentId, ...data } });
  const paid = (payment_type: 'CHARGE' | 'AUTH', more: object) => ({
    ...{ payment_type, payment_amount: 100, payment_currency: 'INR', customer_details: null, ...more },
    subscription_details: { cf_subscription_id: 'cf_1', subscription_tags: { wallet_customer_id: customer } },
  });
  return {
    succeeded: (type: 'CHARGE' | 'AUTH', more: object = {}) => event('SUBSCRIPTION_PAYMENT_SUCCESS', paid(type, more)),
    failed: (type: 'CHARGE' | 'AUTH', more: object = {}) => event('SUBSCRIPTION_PAYMENT_FAILED', paid(type, more)),
    refunded: () =>
      event('SUBSCRIPTION_REFUND_STATUS', {
        ...{ cf_refund_id: `cf_refund_${paymentId}`, refund_amount: 100, refund_status: 'SUCCESS' },
      }),
  };
}

describe('the payment that authorises a mandate at Cashfree', () => {
  const isReturned = { authorization_details: { authorization_amount_refund: true } };
  const isKept = { authorization_details: { authorization_amount_refund: false } };

  it.each([cashfree, orders])('and its return move nothing, at $sourceId', async (source) => {
    const { customer, paymentId } = await begin();
    const auth = subscription(customer, paymentId);
    await tell(source, auth.succeeded('AUTH', isReturned), auth.refunded());
    expect([await told(source, paymentId), await inbox.balance(customer, 'INR')]).toEqual([['applied', 'applied'], 0]);
  });

  it.each([cashfree, orders])(
    'is left to a person where it is kept, and so is its refund, at $sourceId',
    async (source) => {
      const { customer, paymentId } = await begin();
      const auth = subscription(customer, paymentId);
      const before = await parkedAs('manual_correction');
      await tell(source, auth.succeeded('AUTH', isKept), auth.refunded());
      expect(await parkedAs('manual_correction')).toBe(before + 1);
      expect((await told(source, paymentId)).at(-1)).toBe('parked unknown_payment');
      expect(await inbox.balance(customer, 'INR')).toBe(0);
    },
  );
});

describe('the charge of a Cashfree subscription', () => {
  it('that failed credits nothing, and is credited once a further try succeeds', async () => {
    const { customer, paymentId } = await begin();
    const charge = subscription(customer, paymentId);
    await tell(cashfree, charge.failed('CHARGE'));
    expect([await told(cashfree, paymentId), await inbox.balance(customer, 'INR')]).toEqual([['applied'], 0]);
    await tell(cashfree, charge.succeeded('CHARGE'), charge.refunded());
    expect([await told(cashfree, paymentId), await inbox.balance(customer, 'INR')]).toEqual([
      ['applied', 'applied', 'applied'],
      0,
    ]);
  });
});

describe('a lost dispute that somebody took from the wallet by hand before its payment was known', () => {
  it.each<[string, 'entry' | 'amount' | 'nothing']>([
    ['with the entry that took it', 'entry'],
    ['with the amount', 'amount'],
    ['with nothing', 'nothing'],
  ])('is not taken again once the payment comes, dismissed %s', async (_, said) => {
    const { customer, paymentId } = await begin();
    const lost = (eventId: string) =>
      stripeDispute({
        ...{ eventId, type: 'closed', paymentId, disputeId: `du_${paymentId}`, status: 'lost' },
        ...{ amount: 3000, currency: 'usd' },
      });
    await tell(stripe, lost(`evt_first_${paymentId}`));
    expect(await told(stripe, paymentId)).toEqual(['parked unknown_payment']);
    const write = (amountMinor: number, isCredit: boolean) =>
      transaction(database.pool, (tx) =>
        postBatch(tx, [posting({ customerId: customer, amountMinor, isCredit })], { ...SETTINGS, now: new Date() }),
      );
    await write(3000, true);
    const [taken] = await write(3000, false);
    if (taken?.kind !== 'created') throw new Error('nothing was written by hand');
    const [event] = await eventsOfPayment(autocommit(database.pool), {
      ...{ merchantId: MERCHANT, sourceId: stripe.sourceId, paymentId },
    });
    await dismissEvent(inbox.services, {
      ...{ merchantId: MERCHANT, eventId: event?.eventId ?? '', note: 'debited by hand' },
      amountMinor: said === 'amount' ? 3000 : null,
      entryId: said === 'entry' ? entryId(taken.entry) : null,
    });
    await tell(stripe, stripePaid({ customer, paymentId }), lost(`evt_again_${paymentId}`));
    expect([await told(stripe, paymentId), await inbox.balance(customer)]).toEqual([
      ['dismissed', 'applied', 'applied'],
      10_000,
    ]);
  });
});
