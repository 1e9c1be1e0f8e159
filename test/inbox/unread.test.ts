import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit } from '../../src/db/transaction.ts';
import { dismissEvent } from '../../src/inbox/dismiss.ts';
import type { Source } from '../../src/merchants/source.ts';
import { describePayment } from '../../src/views/payment.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { dodoPayment, dodoRefund, stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { paypalCapture, paypalDispute } from '../support/signing-paypal-adyen-cashfree.ts';
import { eventually } from '../support/wait.ts';

/* Events whose body could not be read as a whole: whoever looks for their payment finds them, and nothing pays beside a hand. */

let database: TestDatabase;
let inbox: TestInbox;
const dodo = testSource('dodo', { metadata: 'all' });
const orders = testSource('dodo', { sourceId: 'src_orders', defaultPurpose: 'order' });
const paypal = testSource('paypal');
const stripe = testSource('stripe');

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [dodo, orders, paypal, stripe], waitSeconds: 0 });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let made = 0;
async function begin(): Promise<{ customer: string; paymentId: string; names: Record<string, string> }> {
  made += 1;
  const [customer = ''] = await makeCustomers(database.pool, [`unread${made}`]);
  return { customer, paymentId: `unread_${made}`, names: { wallet_customer_id: customer } };
}

async function tell(source: Source, ...bodies: readonly string[]): Promise<void> {
  for (const body of bodies) {
    const known = source === orders ? body.replace(/"business_id":"[^"]*"/, '"business_id":"bus_of_orders"') : body;
    await inbox.deliver(known, source);
    await eventually('nothing to wait any more', async () => {
      const { pending = 0, waiting = 0 } = await inbox.states();
      return pending + waiting === 0;
    });
  }
}

const shown = async (paymentId: string) => (await describePayment(autocommit(database.pool), MERCHANT, paymentId))[0];
const told = async (paymentId: string) =>
  (await shown(paymentId))?.events.map(({ status, reason }) => (reason === null ? status : `${status} ${reason}`));

async function dismiss(paymentId: string, amountMinor: number | null): Promise<void> {
  const eventId = (await shown(paymentId))?.events.findLast(({ status }) => status === 'parked')?.event_id ?? '';
  const { pool } = database;
  await dismissEvent(
    { ...inbox.services, pool },
    { merchantId: MERCHANT, eventId, note: 'by hand', amountMinor, entryId: null },
  );
}

const refund = (paymentId: string, refundId: string, amount: number | null) =>
  dodoRefund({ paymentId, refundId, amount, currency: 'USD', isPartial: true });

describe('a refund of unknown amount', () => {
  it('is found with its payment, and told with an amount after it was handled by hand it does not pay again', async () => {
    const { customer, paymentId, names } = await begin();
    const metadata = { ...names, wallet_purpose: 'order' };
    await tell(
      dodo,
      dodoPayment({ paymentId, amount: 6000, currency: 'USD', metadata }),
      refund(paymentId, 're_1', null),
    );
    expect(await told(paymentId)).toEqual(['applied', 'parked unknown_amount']);
    await dismiss(paymentId, 2000);
    await tell(dodo, refund(paymentId, 're_1', 2000));
    expect(await told(paymentId)).toEqual(['applied', 'dismissed', 'parked handled_by_hand']);
    expect(await inbox.balance(customer)).toBe(0);
  });

  it('that was handled by hand leaves to a person what is left for the next one', async () => {
    const { customer, paymentId, names } = await begin();
    await tell(
      dodo,
      dodoPayment({ paymentId, amount: 6000, currency: 'USD', metadata: names }),
      refund(paymentId, 're_2', null),
    );
    await dismiss(paymentId, 2000);
    await tell(dodo, refund(paymentId, 're_3', 5000));
    expect((await told(paymentId))?.at(-1)).toBe('parked handled_by_hand');
    expect(await inbox.balance(customer)).toBe(6000);
  });
});

describe('a thin event of Stripe', () => {
  const thin = (type: string, id: string) =>
    JSON.stringify({
      ...{ id: `evt_thin_${++made}`, object: 'v2.core.event', type: `v1.${type}`, livemode: false, context: null },
      ...{ created: '2020-10-29T06:20:52.246Z', related_object: { id, type: type.split('.')[0], url: `/v1/${id}` } },
    });
  const usd = { currency: 'usd' } as const;
  const histories = (one: { readonly paymentId: string; readonly names: Record<string, string> }) => {
    const { paymentId, names } = one;
    const [refundId, disputeId] = [`re_${paymentId}`, `dp_${paymentId}`];
    const paid = stripePaymentSucceeded({ paymentId, amount: 5000, ...usd, metadata: names });
    const refunded = stripeRefund({ type: 'created', paymentId, refundId, amount: 1000, ...usd, status: 'succeeded' });
    const lost = stripeDispute({ type: 'closed', paymentId, disputeId, amount: 2000, ...usd, status: 'lost' });
    const types = ['payment_intent.succeeded', 'refund.created', 'charge.dispute.closed'];
    const thins = [paymentId, refundId, disputeId].map((id, index) => thin(types[index] ?? '', id));
    return { thins, full: [paid, refunded, lost] };
  };
  const stateOf = async (bodies: readonly string[]) => {
    const ids = bodies.map((body) => JSON.parse(body).id);
    const { rows } = await database.pool.query(
      'select state from provider_event where delivery_key = any ($1) order by array_position($1::text[], delivery_key)',
      [ids],
    );
    return rows.map(({ state }) => state);
  };

  it.each(['before', 'after', 'in one batch with'])(
    'is closed once its snapshot is applied, told %s it',
    async (when) => {
      const { customer, ...one } = await begin();
      const { thins, full } = histories(one);
      if (when === 'in one batch with') {
        for (const body of [...thins, ...full]) await inbox.deliver(body, stripe);
        await inbox.settled();
      } else await tell(stripe, ...(when === 'before' ? [...thins, ...full] : [...full, ...thins]));
      await eventually('all to be closed', async () => (await stateOf(thins)).every((state) => state === 'ignored'));
      expect(await inbox.balance(customer)).toBe(2000);
    },
  );

  it('stays parked while its snapshot is parked or another one is applied, and its payment was heard of', async () => {
    const { customer, ...one } = await begin();
    const { thins, full } = histories(one);
    const [paid = '', refunded = ''] = full;
    await tell(stripe, ...thins, refunded);
    expect(await stateOf(thins)).toEqual(['parked', 'parked', 'parked']);
    expect(await told(one.paymentId)).toEqual(['parked unsupported_payload', 'parked unknown_payment']);
    await tell(stripe, paid);
    await eventually('two to be closed', async () => (await stateOf(thins)).join() === 'ignored,ignored,parked');
    expect(await inbox.balance(customer)).toBe(4000);
  });
});

describe('a thin event of Stripe whose own snapshot is lost', () => {
  const usd = { currency: 'usd' } as const;
  const AT = 1_790_000_000;
  const thinRefund = (id: string, at: number) =>
    JSON.stringify({
      ...{
        id: `evt_thin_${++made}`,
        object: 'v2.core.event',
        type: 'v1.refund.failed',
        livemode: false,
        context: null,
      },
      ...{ created: new Date(at * 1000 + 246).toISOString(), related_object: { id, type: 'refund', url: `/v1/${id}` } },
    });
  const afterRefunds = async () => {
    const { customer, paymentId, names } = await begin();
    const refundOf = (n: number, type: 'created' | 'failed', createdSeconds: number) =>
      stripeRefund({
        ...{ type, paymentId, refundId: `re_${n}_${paymentId}`, amount: 300, ...usd, createdSeconds },
        status: type === 'created' ? 'succeeded' : 'failed',
      });
    await tell(
      stripe,
      stripePaymentSucceeded({ paymentId, amount: 1000, ...usd, metadata: names, createdSeconds: AT }),
      ...[1, 2].map((n) => refundOf(n, 'created', AT + 10)),
      refundOf(1, 'failed', AT + 20),
    );
    expect(await inbox.balance(customer)).toBe(700);
    return { paymentId, refundOf, customer };
  };

  it.each([
    ['of another refund', 2, AT + 20],
    ['of what happened before', 1, AT + 21],
  ] as const)('stays parked beside the snapshot %s', async (_, n, at) => {
    const { paymentId, refundOf, customer } = await afterRefunds();
    await tell(stripe, thinRefund(`re_${n}_${paymentId}`, at));
    expect((await statesOf(paymentId)).sort()).toEqual([...Array(4).fill('applied'), 'parked unsupported_payload']);
    await tell(stripe, refundOf(n, 'failed', at));
    await eventually('it to be closed', async () => (await statesOf(paymentId)).includes('ignored'));
    expect(await inbox.balance(customer)).toBe(n === 2 ? 1000 : 700);
  });

  it('is closed by the snapshot of the same second', async () => {
    const { paymentId } = await afterRefunds();
    await tell(stripe, thinRefund(`re_1_${paymentId}`, AT + 20));
    expect(await statesOf(paymentId)).toContain('ignored');
  });

  /** Events are noted with what they name: thin ones with the refund alone. */
  async function statesOf(paymentId: string): Promise<string[]> {
    const { rows } = await database.pool.query(
      "select concat_ws(' ', state, reason) as state from provider_event where payment_id like '%' || $1",
      [paymentId],
    );
    return rows.map(({ state }) => state);
  }
});

describe('a payment of unknown amount', () => {
  it('is heard of: at a source that sells orders its refund is credited to nobody', async () => {
    const { customer, paymentId, names } = await begin();
    const paid = JSON.parse(dodoPayment({ paymentId, amount: 6000, currency: 'USD', metadata: names }));
    const partly = JSON.stringify({ ...paid, data: { ...paid.data, status: 'partially_captured' } });
    const refunded = dodoRefund({ paymentId, amount: 1000, currency: 'USD', isPartial: true, metadata: names });
    await tell(orders, partly, refunded);
    expect(await told(paymentId)).toEqual(['parked unknown_amount', 'parked unknown_payment']);
    expect(await inbox.balance(customer)).toBe(0);
  });

  it('that is malformed is heard of too, and found', async () => {
    const { customer, paymentId, names } = await begin();
    const bent = dodoPayment({ paymentId, amount: -1, currency: 'USD', metadata: names });
    await tell(
      orders,
      bent,
      dodoRefund({ paymentId, amount: 1000, currency: 'USD', isPartial: true, metadata: names }),
    );
    expect(await told(paymentId)).toEqual(['parked malformed', 'parked unknown_payment']);
    expect(await inbox.balance(customer)).toBe(0);
  });

  it('leaves its refund to a person once it was credited by hand', async () => {
    const { customer, paymentId, names } = await begin();
    const paid = JSON.parse(dodoPayment({ paymentId, amount: 6000, currency: 'USD', metadata: names }));
    await tell(dodo, JSON.stringify({ ...paid, data: { ...paid.data, status: 'partially_captured' } }));
    await dismiss(paymentId, 4000);
    await tell(dodo, refund(paymentId, 're_4', 1000));
    expect(await told(paymentId)).toEqual(['dismissed', 'parked handled_by_hand']);
    expect(await inbox.balance(customer)).toBe(0);
  });
});

describe('a dispute of PayPal that ended without saying whose the money is', () => {
  it('is closed by hand: what is told of it later moves nothing', async () => {
    const { customer, paymentId } = await begin();
    await tell(paypal, paypalCapture({ paymentId, value: '100.00', currency: 'USD', customId: customer }));
    const ended = (outcome: string) =>
      paypalDispute({ paymentIds: [paymentId], disputeId: `PP-${paymentId}`, stage: 'CHARGEBACK', outcome });
    await tell(paypal, ended('NONE'));
    expect(await told(paymentId)).toEqual(['applied', 'parked manual_correction']);
    await dismiss(paymentId, 3000);
    await tell(paypal, ended('RESOLVED_BUYER_FAVOUR'));
    expect((await told(paymentId))?.at(-1)).toBe('parked handled_by_hand');
    expect(await inbox.balance(customer)).toBe(10_000);
  });
});
