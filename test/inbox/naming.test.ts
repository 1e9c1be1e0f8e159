import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPaymentToken } from '../../src/customers/payment-tokens.ts';
import { reassignPayment } from '../../src/customers/reassign.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { dismissEvent, resolveEvent } from '../../src/inbox/dismiss.ts';
import { listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import type { Source } from '../../src/merchants/source.ts';
import { lockGroups, MAX_GROUP_PAYMENTS } from '../../src/payments/group-store.ts';
import { describePayment } from '../../src/views/payment.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { BONUS_RATIO, expectBooksToAgree, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';
import { polarOrderPaid, polarRefund } from '../support/signing-more.ts';
import { eventually } from '../support/wait.ts';

/** Whose a payment is by what only the merchant's own key can write, when that is told in an event of its own. */

let database: TestDatabase;
let inbox: TestInbox;
const razorpay = testSource('razorpay');
const other = testSource('razorpay', { sourceId: 'src_other' });
const obeying = testSource('razorpay', { sourceId: 'src_obeying', metadata: 'all' });
const orders = testSource('razorpay', { sourceId: 'src_orders', defaultPurpose: 'order' });
const cashfree = testSource('cashfree');
const stripe = testSource('stripe');
const naming = testSource('stripe', { sourceId: 'src_naming', customerLinkRule: 'named' });
const polar = testSource('polar', { customerLinkRule: 'named' });
const squeezy = testSource('lemonsqueezy', { defaultPurpose: 'topup' });
const squeezyOrders = testSource('lemonsqueezy', { sourceId: 'src_squeezy_orders', defaultPurpose: 'order' });

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, []);
  const sources = [razorpay, other, obeying, orders, cashfree, stripe, naming, polar, squeezy, squeezyOrders];
  inbox = await startInbox(database, { sources, namingWaitSeconds: 60 });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(database.pool);
  await database.drop();
});

let number = 0;
const fresh = (prefix: string) => `${prefix}${++number}`;
async function newCustomer(): Promise<string> {
  const [customerId = ''] = await makeCustomers(database.pool, [fresh('named')]);
  return customerId;
}
const namingOf = (customerId: string | undefined) =>
  customerId === undefined ? [] : { wallet_customer_id: customerId };

interface Paid {
  readonly id: string;
  readonly amount?: number;
  readonly by?: string | null;
  /** Whom the payment's own notes name, which the payer may have written. */
  readonly notes?: string | undefined;
  /** Whom the order's or subscription's notes name. */
  readonly names?: string | undefined;
  readonly of?: 'order' | 'subscription';
  readonly at?: number;
}
const payment = ({ id, amount = 1000, by = null, notes }: Paid) => ({
  ...{ id, amount, currency: 'INR', status: 'captured', captured: true, method: 'upi', email: 'void@razorpay.com' },
  ...{ order_id: `order_${id}`, invoice_id: null, customer_id: by, notes: namingOf(notes) },
});
const captured = (paid: Paid) =>
  JSON.stringify({
    ...{ entity: 'event', event: 'payment.captured', contains: ['payment'], created_at: paid.at ?? 1_795_000_000 },
    payload: { payment: { entity: payment(paid) } },
  });
const namedBy = ({ of = 'order', ...paid }: Paid) =>
  JSON.stringify({
    ...{ entity: 'event', event: of === 'order' ? 'order.paid' : 'subscription.charged' },
    ...{ contains: [of, 'payment'], created_at: paid.at ?? 1_795_000_000 },
    payload: {
      [of]: { entity: { id: `${of}_${paid.id}`, notes: namingOf(paid.names) } },
      payment: { entity: payment(paid) },
    },
  });

const rupees = (customerId: string) => inbox.balance(customerId, 'INR');
async function eventsOf(paymentId: string) {
  const query = { state: null, pageSize: 200, pageNumber: 0 } as const;
  const events = await listEvents(autocommit(database.pool), MERCHANT, query);
  return events.filter((event) => event.paymentId === paymentId).reverse();
}
const told = async (paymentId: string) =>
  (await eventsOf(paymentId)).map(({ state, reason }) => (reason === null ? state : `${state} ${reason}`));
async function linkOf(providerCustomerId: string) {
  const { rows } = await database.pool.query(
    'select customer_id, cause, payment_id from customer_link where provider_customer_id = $1',
    [providerCustomerId],
  );
  return rows[0];
}
async function ownerOf(paymentId: string): Promise<string> {
  const { rows } = await database.pool.query('select customer_id from payment where payment_id = $1', [paymentId]);
  return rows[0]?.customer_id;
}
/** What waits for a name has waited as long as it may. */
async function endWait(paymentId: string): Promise<void> {
  for (const { state, eventId } of await eventsOf(paymentId)) {
    if (state !== 'waiting') continue;
    await database.pool.query(
      "update provider_event set waiting_since = now() - interval '1 day' where event_id = $1",
      [eventId],
    );
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: null });
  }
  await inbox.settled();
}

describe.each([
  ['an order', 'order'],
  ['a subscription', 'subscription'],
] as const)('a payment of %s of Razorpay that names nobody', (_, of) => {
  it('waits for it to name the customer, and teaches the link', async () => {
    const [ada, id, by] = [await newCustomer(), fresh('pay_'), fresh('cust_')];
    await inbox.play([captured({ id, by })], razorpay);
    expect(await told(id)).toEqual(['waiting']);
    await inbox.play([namedBy({ id, by, of, names: ada })], razorpay);
    expect(await told(id)).toEqual(['applied', 'applied']);
    expect(await rupees(ada)).toBe(1000);
    expect(await linkOf(by)).toEqual({ customer_id: ada, cause: of, payment_id: id });
  });

  it('is in the same wallet whatever the order, and however often it is told', async () => {
    const step = fc.constantFrom('captured', 'named');
    const histories = fc.array(step, { minLength: 1, maxLength: 4 }).filter((all) => all.includes('named'));
    await fc.assert(
      fc.asyncProperty(histories, fc.constantFrom(true, false), async (history, isKnown) => {
        const [ada, id] = [await newCustomer(), fresh('pay_')];
        const by = isKnown ? fresh('cust_') : null;
        for (const [index, what] of history.entries()) {
          const at = 1_795_000_000 + index;
          const body = what === 'named' ? namedBy({ id, by, of, names: ada, at }) : captured({ id, by, at });
          await inbox.play([body, body], razorpay);
        }
        expect(new Set(await told(id))).toEqual(new Set(['applied']));
        expect(await rupees(ada)).toBe(1000);
      }),
      { numRuns: 8 },
    );
  });
});

describe('the wait for a name', () => {
  it('ends with what the source says of customers', async () => {
    const [id, nobodys] = [fresh('pay_'), fresh('pay_')];
    const by = fresh('cust_');
    await inbox.play([captured({ id, by }), captured({ id: nobodys })], razorpay);
    await endWait(id);
    await endWait(nobodys);
    expect(await told(id)).toEqual(['applied']);
    expect(await linkOf(by)).toMatchObject({ cause: 'created', payment_id: id });
    expect(await told(nobodys)).toEqual(['parked no_customer']);
  });

  it('is none for a payment that names somebody, has a better link than one made of itself, or is of no order', async () => {
    const [ada, by] = [await newCustomer(), fresh('cust_')];
    const [named, linked, bare] = [fresh('pay_'), fresh('pay_'), fresh('pay_')];
    await inbox.play([captured({ id: named, notes: ada })], razorpay);
    await inbox.play([namedBy({ id: fresh('pay_'), by, names: ada }), captured({ id: linked, by })], razorpay);
    const withoutOrder = captured({ id: bare, by: fresh('cust_') }).replace(/"order_id":"[^"]*"/, '"order_id":null');
    await inbox.play([withoutOrder], razorpay);
    expect([await told(named), await told(linked), await told(bare)]).toEqual([['applied'], ['applied'], ['applied']]);
    expect(await rupees(ada)).toBe(3000);
  });

  it('keeps its refund from counting as an order’s meanwhile', async () => {
    const id = fresh('pay_');
    await inbox.play([captured({ id, by: fresh('cust_') })], orders);
    const { rows } = await database.pool.query('select state, heard_of from payment where payment_id = $1', [id]);
    expect(rows).toEqual([{ state: 'unknown', heard_of: true }]);
  });

  it('is not ended by an order that names nobody', async () => {
    const id = fresh('pay_');
    await inbox.play([captured({ id }), namedBy({ id })], razorpay);
    expect(await told(id)).toEqual(['waiting']);
  });
});

describe('an order of Polar that names nobody', () => {
  it('ends the wait of nothing: its refund waits on, and comes with it once somebody says whose it is', async () => {
    const [ada, id] = [await newCustomer(), fresh('order_')];
    const refund = polarRefund({ paymentId: id, amount: 500, tax: 0, currency: 'usd', status: 'succeeded' });
    const paid = polarOrderPaid({ paymentId: id, amount: 2000, tax: 0, currency: 'usd', customer: null, metadata: {} });
    await inbox.play([refund, paid, refund.replace('"status":"succeeded"', '"status": "succeeded"')], polar);
    expect(await told(id)).toEqual(['waiting', 'parked no_customer', 'waiting']);
    const eventId = (await eventsOf(id)).find(({ state }) => state === 'parked')?.eventId ?? '';
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: ada });
    await eventually('all of it to be applied', async () => (await told(id)).every((state) => state === 'applied'));
    expect(await inbox.balance(ada)).toBe(1500);
  });
});

describe('whose the payments after it are', () => {
  it('says the name: what was paid before stays where it is', async () => {
    const [ada, by] = [await newCustomer(), fresh('cust_')];
    const [first, second, third] = [fresh('pay_'), fresh('pay_'), fresh('pay_')];
    await inbox.play([captured({ id: first, by, amount: 300 })], razorpay);
    await endWait(first);
    await inbox.play(
      [namedBy({ id: second, by, amount: 1000, names: ada }), captured({ id: third, by, amount: 2000 })],
      razorpay,
    );
    expect(await rupees(ada)).toBe(3000);
    expect(await rupees(await ownerOf(first))).toBe(300);
  });

  it('stays as an operator set it', async () => {
    const [ada, bob, by] = [await newCustomer(), await newCustomer(), fresh('cust_')];
    const first = fresh('pay_');
    await inbox.play([captured({ id: first, by })], razorpay);
    const [event] = await eventsOf(first);
    const replay = { merchantId: MERCHANT, eventId: event?.eventId ?? '', customerId: bob, link: true };
    await replayEvent(database.pool, inbox.boss, replay);
    await inbox.settled();
    await database.pool.query("update customer_link set cause = 'operator' where provider_customer_id = $1", [by]);
    await inbox.play([namedBy({ id: fresh('pay_'), by, names: ada })], razorpay);
    expect(await linkOf(by)).toMatchObject({ customer_id: bob, cause: 'operator' });
    expect(await rupees(ada)).toBe(1000);
  });

  it('is said by neither another source nor a name that is nobody’s', async () => {
    const [ada, by] = [await newCustomer(), fresh('cust_')];
    const [here, there, ghost] = [fresh('pay_'), fresh('pay_'), fresh('pay_')];
    await inbox.play([namedBy({ id: there, by, names: ada })], other);
    await inbox.play([namedBy({ id: ghost, by, names: 'cus_nobody' }), captured({ id: here, by })], razorpay);
    expect(await told(ghost)).toEqual(['parked unknown_customer']);
    expect(await told(here)).toEqual(['waiting']);
    await endWait(here);
    expect(await ownerOf(here)).not.toBe(ada);
  });

  it('is said for each of two payments of one order', async () => {
    const [ada, one, two] = [await newCustomer(), fresh('pay_'), fresh('pay_')];
    await inbox.play([captured({ id: one }), captured({ id: two })], razorpay);
    await inbox.play([namedBy({ id: two, names: ada }), namedBy({ id: one, names: ada })], razorpay);
    expect(await rupees(ada)).toBe(2000);
  });
});

describe('a name that comes after its payment was posted', () => {
  async function postedToShadow(source: Source = razorpay) {
    const [ada, id, by] = [await newCustomer(), fresh('pay_'), fresh('cust_')];
    await inbox.play([captured({ id, by })], source);
    await endWait(id);
    await inbox.play([namedBy({ id, by, names: ada })], source);
    return { ada, id, by, shadow: await ownerOf(id) };
  }

  it('is parked, moves the link of a customer that was made, and is applied once the payment is reassigned', async () => {
    const { ada, id, by, shadow } = await postedToShadow();
    expect(await told(id)).toEqual(['applied', 'parked named_late']);
    expect([await rupees(ada), await rupees(shadow)]).toEqual([0, 1000]);
    expect(await linkOf(by)).toEqual({ customer_id: ada, cause: 'order', payment_id: id });
    const why = { actor: 'api' as const, reason: 'the order says so', force: false };
    const { settings, clock } = inbox.services;
    await reassignPayment(
      { pool: database.pool, settings, clock, onPosted: () => {} },
      { merchantId: MERCHANT, paymentId: id, sourceId: null, customerId: ada, ...why },
    );
    const [, late] = await eventsOf(id);
    await replayEvent(database.pool, inbox.boss, {
      merchantId: MERCHANT,
      eventId: late?.eventId ?? '',
      customerId: null,
    });
    await inbox.settled();
    expect(await told(id)).toEqual(['applied', 'applied']);
    expect([await rupees(ada), await rupees(shadow)]).toEqual([1000, 0]);
  });

  it('closes nothing when it is dismissed', async () => {
    const { id } = await postedToShadow();
    const [, late] = await eventsOf(id);
    const nothing = { note: null, amountMinor: null, entryId: null };
    const services = { ...inbox.services, pool: database.pool };
    await dismissEvent(services, { merchantId: MERCHANT, eventId: late?.eventId ?? '', ...nothing });
    const { rows } = await database.pool.query('select 1 from handled_movement where payment_id = $1', [id]);
    expect(rows).toEqual([]);
  });

  it('moves no link that a payment made', async () => {
    const [ada, bob, by, id] = [await newCustomer(), await newCustomer(), fresh('cust_'), fresh('pay_')];
    await inbox.play([captured({ id, by, notes: bob }), namedBy({ id, by, names: ada })], obeying);
    expect(await told(id)).toEqual(['applied', 'parked named_late']);
    expect(await linkOf(by)).toMatchObject({ customer_id: bob, cause: 'payment' });
  });

  it('still counts for an order’s payment, which has posted nothing', async () => {
    const [ada, bob, id] = [await newCustomer(), await newCustomer(), fresh('pay_')];
    await inbox.play([captured({ id, notes: bob }), namedBy({ id, notes: bob, names: ada })], orders);
    expect(await told(id)).toEqual(['applied', 'applied']);
    expect(await ownerOf(id)).toBe(ada);
  });
});

it('a name that a payer wrote yields to one that he cannot have written, and teaches nothing', async () => {
  const [ada, bob, by, id] = [await newCustomer(), await newCustomer(), fresh('cust_'), fresh('pay_')];
  const paid = { id, by, notes: bob };
  await inbox.play([namedBy({ ...paid, names: ada }), captured(paid)], razorpay);
  expect(await told(id)).toEqual(['applied', 'applied']);
  expect([await rupees(ada), await rupees(bob)]).toEqual([1000, 0]);
  expect(await linkOf(by)).toMatchObject({ customer_id: ada, cause: 'order' });
});

it('a name that is nobody’s is told of even where its payment was posted before', async () => {
  const [ada, id] = [await newCustomer(), fresh('pay_')];
  await inbox.play([captured({ id, notes: ada }), namedBy({ id, names: 'cus_nobody' })], razorpay);
  expect(await told(id)).toEqual(['applied', 'parked unknown_customer']);
  expect(await rupees(ada)).toBe(1000);
});

interface Invoiced {
  readonly id: string;
  readonly invoice: string;
  readonly by?: string | null;
  readonly names?: string | undefined;
  readonly customer?: string;
}
const stripeEvent = (type: string, object: object, more: object = {}) =>
  JSON.stringify({
    ...{ id: fresh('evt_'), object: 'event', type, created: 1_795_000_000, livemode: false, data: { object } },
    ...{ api_version: '2026-10-28.endive', ...more },
  });
const intent = ({ id, by = null }: Pick<Invoiced, 'id' | 'by'>, more: object = {}) =>
  stripeEvent('payment_intent.succeeded', {
    ...{ id, object: 'payment_intent', amount: 2000, amount_received: 2000, currency: 'usd', customer: by },
    ...{ metadata: {}, status: 'succeeded', created: 1_795_000_000, ...more },
  });
const showing = (paid: Invoiced) =>
  intent(paid, { payment_details: { customer_reference: null, order_reference: paid.invoice } });
const invoicePaid = ({ invoice, by = null, names }: Omit<Invoiced, 'id'>, more: object = {}, envelope: object = {}) => {
  const subscription_details = { subscription: 'sub_1', metadata: namingOf(names) };
  const parent = { type: 'subscription_details', subscription_details };
  const object = { id: invoice, object: 'invoice', customer: by, currency: 'usd', amount_paid: 2000, parent, ...more };
  return stripeEvent('invoice.paid', object, envelope);
};
const invoicePayment = ({ id, invoice }: Invoiced) =>
  stripeEvent('invoice_payment.paid', {
    ...{ id: fresh('inpay_'), object: 'invoice_payment', amount_paid: 2000, currency: 'usd', invoice, status: 'paid' },
    payment: { type: 'payment_intent', payment_intent: id },
  });
const invoiced = async () => {
  return { ada: await newCustomer(), id: fresh('pi_'), invoice: fresh('in_1'), by: fresh('cus_') };
};
async function newToken(customerId: string): Promise<string> {
  const terms = { purpose: 'topup', currency: 'USD', amount: 2000, creditAmount: 3000 } as const;
  const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now: new Date('2026-11-18T00:00:00Z') };
  const request = { merchantId: MERCHANT, customerId, ...terms, expiresInSeconds: 2_592_000 };
  return (await transaction(database.pool, (tx) => createPaymentToken(tx, request, rules))).token;
}

describe('the invoice of a Stripe subscription that names the customer', () => {
  it.each([
    ['a source that finds customers by links', stripe],
    ['a source whose payments must be named', naming],
  ])('names its payment in any order, at %s', async (_, source) => {
    const tell = { shown: showing, hidden: (paid: Invoiced) => intent(paid), invoicePaid, invoicePayment };
    const shown = fc.shuffledSubarray(['shown', 'invoicePaid', 'invoicePayment'] as const, { minLength: 2 });
    const known = fc.constant(['invoicePayment', 'hidden', 'invoicePaid'] as const);
    const histories = fc.oneof(
      shown.filter((all) => all.includes('shown') && all.includes('invoicePaid')),
      known,
    );
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        const { ada, ...paid } = await invoiced();
        const told = { ...paid, names: ada };
        const bodies = history.map((what) => tell[what](told));
        await inbox.play([...bodies, ...history.map((what) => tell[what](told))], source);
        expect(await inbox.balance(ada)).toBe(2000);
      }),
      { numRuns: 8 },
    );
  });

  it('names it by itself in the older versions of the API, which show both', async () => {
    const { ada, id, invoice, by } = await invoiced();
    await inbox.play([intent({ id, by }, { invoice })], stripe);
    expect(await told(id)).toEqual(['waiting']);
    const details = { parent: null, subscription_details: { metadata: namingOf(ada) }, payment_intent: id };
    await inbox.play([invoicePaid({ invoice, by }, details, { api_version: '2024-06-20' })], stripe);
    expect(await told(id)).toEqual(['applied', 'applied']);
    expect(await inbox.balance(ada)).toBe(2000);
    expect(await linkOf(by)).toMatchObject({ customer_id: ada, cause: 'subscription' });
  });

  it('moves the link of Stripe’s customer where it cannot be told which payment it names', async () => {
    const { ada, id, invoice, by } = await invoiced();
    await inbox.play([intent({ id, by }), invoicePaid({ invoice, by, names: ada })], stripe);
    expect(await linkOf(by)).toMatchObject({ customer_id: ada, cause: 'subscription' });
    await inbox.play([intent({ id: fresh('pi_'), by })], stripe);
    expect([await inbox.balance(ada), await inbox.balance(await ownerOf(id))]).toEqual([2000, 2000]);
    await inbox.play([invoicePayment({ id, invoice })], stripe);
    expect(await told(id)).toEqual(['applied', 'parked named_late']);
  });

  it('makes the link of the customer that a person names at its replay, and the audit knows why', async () => {
    const { ada, invoice, by } = await invoiced();
    await inbox.play([invoicePaid({ invoice, by, names: 'cus_nobody' })], stripe);
    const { rows } = await database.pool.query<{ id: string }>(
      'select event_id as id from provider_event where position($1::bytea in body) > 0',
      [Buffer.from(invoice)],
    );
    const replay = { merchantId: MERCHANT, eventId: rows[0]?.id ?? '', customerId: ada };
    await replayEvent(database.pool, inbox.boss, replay);
    await inbox.settled();
    expect(await linkOf(by)).toMatchObject({ customer_id: ada, cause: 'subscription' });
    await expectBooksToAgree(database.pool);
  });

  it('teaches nothing if the customer is nobody, the event is of another account, or the source is another', async () => {
    const { ada, id, invoice, by } = await invoiced();
    await inbox.play([invoicePaid({ invoice, by, names: 'cus_nobody' })], stripe);
    await inbox.play([invoicePaid({ invoice, by, names: ada }, {}, { account: 'acct_another' })], stripe);
    await inbox.play([invoicePaid({ invoice, by, names: ada })], naming);
    const { rows } = await database.pool.query(
      "select reason from provider_event where event_type = 'invoice.paid' and state = 'parked' order by received_at desc limit 2",
    );
    expect(rows).toEqual([{ reason: 'foreign_account' }, { reason: 'unknown_customer' }]);
    expect(await linkOf(by)).toBeUndefined();
    await inbox.play([showing({ id, invoice, by })], stripe);
    expect(await told(id)).toEqual(['waiting']);
  });
});

describe('an invoice that was parked before its payment was known', () => {
  it('is found with that payment', async () => {
    const { id, invoice, by } = await invoiced();
    await inbox.play([invoicePaid({ invoice, by, names: 'cus_nobody' }), showing({ id, invoice, by })], stripe);
    await endWait(id);
    const [shown] = await describePayment(autocommit(database.pool), MERCHANT, id);
    expect(shown?.events.map(({ type, reason }) => [type, reason])).toEqual([
      ['invoice.paid', 'unknown_customer'],
      ['payment_intent.succeeded', 'no_customer'],
    ]);
    // Whom the merchant named, nobody knows yet; neither a link nor a new customer is paid instead.
    const eventId = shown?.events[0]?.event_id ?? '';
    const ada = await newCustomer();
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: ada });
    await inbox.settled();
    expect(await inbox.balance(ada)).toBe(2000);
  });
});

describe('an invoice of several payments, one of which was posted before', () => {
  it.each(['in batches of their own', 'at once'])('names those that wait, told %s', async (way) => {
    const [{ ada, by, ...first }, bob, second] = [await invoiced(), await newCustomer(), fresh('pi_')];
    const shows = { payment_details: { order_reference: first.invoice } };
    await inbox.play([intent(first, { ...shows, metadata: namingOf(bob) })], stripe);
    const rest = [showing({ ...first, id: second, by }), invoicePaid({ ...first, by, names: ada })];
    if (way === 'at once') {
      for (const body of rest) await inbox.deliver(body, stripe);
      await inbox.settled();
    } else await inbox.play(rest, stripe);
    await inbox.settled();
    expect(await told(first.id)).toEqual(['applied', 'parked named_late']);
    expect(await told(second)).toEqual(['applied']);
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([2000, 2000]);
  });

  it('makes no link by a name that is parked, and moves one of a customer that was made', async () => {
    const [{ ada, by, ...first }, bob, cat, made] = [
      await invoiced(),
      await newCustomer(),
      await newCustomer(),
      fresh('cus_'),
    ];
    await inbox.play([intent(first, { invoice: first.invoice, metadata: namingOf(bob) })], stripe);
    await inbox.play([invoicePaid({ ...first, by, names: ada })], stripe);
    expect(await told(first.id)).toEqual(['applied', 'parked named_late']);
    expect(await linkOf(by)).toBeUndefined();
    await inbox.play([intent({ id: fresh('pi_'), by: made })], stripe);
    await inbox.play([invoicePaid({ ...first, by: made, names: ada })], stripe);
    expect(await linkOf(made)).toMatchObject({ customer_id: ada, cause: 'subscription' });
    const paidBy = fresh('cus_');
    await inbox.play([intent({ id: fresh('pi_'), by: paidBy }, { metadata: namingOf(cat) })], stripe);
    await inbox.play([invoicePaid({ ...first, by: paidBy, names: ada })], stripe);
    expect(await linkOf(paidBy)).toMatchObject({ customer_id: cat, cause: 'payment' });
    expect(await told(first.id)).toEqual(['applied', ...Array(3).fill('parked named_late')]);
  });

  it('names those that wait also where the first was handled by hand', async () => {
    const [{ ada, by, ...first }, second] = [await invoiced(), fresh('pi_')];
    const refused = { payment_details: { order_reference: first.invoice }, metadata: { wallet_token: 'wt_nobodys' } };
    await inbox.play([intent(first, refused)], stripe);
    const [event] = await eventsOf(first.id);
    const services = { ...inbox.services, pool: database.pool };
    const byHand = { note: null, amountMinor: 2000, entryId: null };
    await dismissEvent(services, { merchantId: MERCHANT, eventId: event?.eventId ?? '', ...byHand });
    await inbox.play([showing({ ...first, id: second, by }), invoicePaid({ ...first, by, names: ada })], stripe);
    await inbox.settled();
    expect(await told(first.id)).toEqual(['dismissed', 'parked handled_by_hand']);
    expect([await told(second), await inbox.balance(ada)]).toEqual([['applied'], 2000]);
  });
});

describe('what a merchant calls an order of its own', () => {
  it.each(['in_store', 'in_1_store', 'in_', 'invoice 1'])('is no invoice, though it were %j', async (reference) => {
    const id = fresh('pi_');
    await inbox.play([showing({ id, invoice: reference, by: fresh('cus_') })], stripe);
    expect(await told(id)).toEqual(['applied']);
    const { rows } = await database.pool.query('select 1 from payment_group where group_id = $1', [reference]);
    expect(rows).toEqual([]);
  });
});

describe('a group of payments', () => {
  const groupId = 'in_1shared';
  const join = (paymentIds: readonly (string | null)[]) =>
    transaction(database.pool, async (tx) => {
      const members = paymentIds.map((paymentId) => {
        return { merchantId: MERCHANT, sourceId: stripe.sourceId, groupId, paymentId };
      });
      return (await lockGroups(tx, members, new Date()))[0]?.paymentIds;
    });
  const writtenBy = async () => {
    const { rows } = await database.pool.query('select xmin from payment_group where group_id = $1', [groupId]);
    return rows[0]?.xmin;
  };

  it('is not written for a payment that it has, and has no more than a hundred', async () => {
    expect(await join(['pi_2', 'pi_1', 'pi_1', null])).toEqual(['pi_1', 'pi_2']);
    const before = await writtenBy();
    expect(await join(['pi_2', null])).toEqual(['pi_1', 'pi_2']);
    expect(await writtenBy()).toBe(before);
    const many = Array.from({ length: 150 }, (_, index) => `pi_0${String(index).padStart(3, '0')}`);
    const full = ['pi_1', 'pi_2', ...many.slice(0, MAX_GROUP_PAYMENTS - 2)].toSorted();
    expect(await join(many)).toEqual(full);
    expect(await join(['pi_later'])).toEqual(full);
  });

  it('names a payment beyond the hundred too, if it is named before that payment is told', async () => {
    const { ada, id, invoice } = await invoiced();
    await inbox.play([invoicePaid({ invoice, names: ada })], stripe);
    const others = Array.from({ length: 100 }, (_, index) => `pi_other${index + 1}`).toSorted();
    await database.pool.query('update payment_group set payment_ids = $1 where group_id = $2', [others, invoice]);
    await inbox.play([showing({ id, invoice })], stripe);
    expect([await told(id), await inbox.balance(ada)]).toEqual([['applied'], 2000]);
  });
});

describe('a token of another customer than the invoice names', () => {
  it.each([
    ['before its payment', ['invoicePaid', 'invoicePayment', 'intent']],
    ['and its payment shows it', ['invoicePaid', 'showing']],
  ] as const)('pays nobody, where the invoice is told %s', async (_, history) => {
    const [{ ada, ...paid }, bob] = [await invoiced(), await newCustomer()];
    const metadata = { wallet_token: await newToken(bob) };
    const tell = {
      invoicePaid: () => invoicePaid({ ...paid, names: ada }),
      invoicePayment: () => invoicePayment(paid),
      intent: () => intent(paid, { metadata }),
      showing: () => intent(paid, { metadata, payment_details: { order_reference: paid.invoice } }),
    };
    await inbox.play(
      history.map((what) => tell[what]()),
      stripe,
    );
    expect((await told(paid.id)).at(-1)).toBe('parked bad_token');
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([0, 0]);
    // Unused: the payment that it was made for still counts.
    await inbox.play([intent({ id: fresh('pi_') }, { metadata })], stripe);
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([0, 3000]);
  });

  it('yields to whom a person chooses, who is credited what was paid', async () => {
    const [{ ada, id, ...paid }, bob] = [await invoiced(), await newCustomer()];
    const metadata = { wallet_token: await newToken(bob) };
    const bodies = [
      invoicePaid({ ...paid, names: ada }),
      invoicePayment({ id, ...paid }),
      intent({ id }, { metadata }),
    ];
    await inbox.play(bodies, stripe);
    const eventId = (await eventsOf(id)).at(-1)?.eventId ?? '';
    await replayEvent(database.pool, inbox.boss, { merchantId: MERCHANT, eventId, customerId: ada });
    await inbox.settled();
    expect([await inbox.balance(ada), await inbox.balance(bob)]).toEqual([2000, 0]);
  });
});

describe('the tags of a Cashfree subscription', () => {
  it('name the customer and make the link, although payers may write an order’s tags', async () => {
    const [ada, id, by] = [await newCustomer(), fresh('7700'), fresh('cf_')];
    const customer_details = { customer_id: by, customer_email: null, customer_name: null };
    const charge = JSON.stringify({
      data: {
        ...{ cf_payment_id: id, payment_type: 'CHARGE', payment_amount: 10, payment_currency: 'INR', customer_details },
        subscription_details: { subscription_tags: namingOf(ada) },
      },
      ...{ event_time: '2026-11-20T10:00:00+05:30', type: 'SUBSCRIPTION_PAYMENT_SUCCESS' },
    });
    const order = JSON.stringify({
      data: {
        ...{ order: { order_id: 'o', order_tags: null }, customer_details },
        payment: { cf_payment_id: id, payment_amount: 10, payment_currency: 'INR' },
      },
      ...{ event_time: '2026-11-20T10:00:00+05:30', type: 'PAYMENT_SUCCESS_WEBHOOK' },
    });
    await inbox.play([order, charge], cashfree);
    expect(await told(id)).toEqual(['applied', 'applied']);
    expect(await rupees(ada)).toBe(1000);
    expect(await linkOf(by)).toEqual({ customer_id: ada, cause: 'subscription', payment_id: id });
  });
});

describe('the refund of a Lemon Squeezy subscription’s first invoice', () => {
  const squeezed = (name: string, type: string, id: string, attributes: object, custom_data: object) =>
    JSON.stringify({
      meta: { event_name: name, test_mode: true, custom_data },
      data: {
        ...{ type, id },
        attributes: {
          ...{ store_id: 1, customer_id: 9, user_email: 'a@example.com', user_name: 'A', currency: 'USD', total: 5000 },
          created_at: '2026-11-20T10:00:00.000000Z',
          ...attributes,
        },
      },
    });

  it('is its order’s, in any order, and of two totals the larger counts', async () => {
    const steps = fc.shuffledSubarray(['order', 'subscription', 'invoice', 'refund'] as const, { minLength: 3 });
    const isTold = (all: readonly string[]) => ['order', 'subscription', 'invoice'].every((step) => all.includes(step));
    await fc.assert(
      fc.asyncProperty(steps.filter(isTold), async (history) => {
        const ada = await newCustomer();
        const [order, subscription] = [String(900_000 + ++number), String(800_000 + ++number)];
        const names = namingOf(ada);
        const told = {
          order: squeezed('order_created', 'orders', order, { status: 'paid' }, names),
          subscription: squeezed(
            'subscription_created',
            'subscriptions',
            subscription,
            { order_id: Number(order) },
            names,
          ),
          invoice: squeezed(
            'subscription_payment_refunded',
            'subscription-invoices',
            String(++number),
            {
              ...{ status: 'partial_refund', billing_reason: 'initial', refunded_amount: 3000 },
              subscription_id: Number(subscription),
            },
            names,
          ),
          refund: squeezed(
            'order_refunded',
            'orders',
            order,
            { status: 'partial_refund', refunded_amount: 2000 },
            names,
          ),
        };
        const bodies = history.map((step) => told[step]);
        await inbox.play([...bodies, ...bodies], squeezy);
        expect(await inbox.balance(ada)).toBe(2000);
      }),
      { numRuns: 6 },
    );
  });

  it('that was handled by hand before its order was known is not taken again', async () => {
    const ada = await newCustomer();
    const [order, subscription] = [String(900_000 + ++number), String(800_000 + ++number)];
    const names = namingOf(ada);
    const partly = { status: 'partial_refund', refunded_amount: 3000 };
    const invoice = squeezed(
      'subscription_payment_refunded',
      'subscription-invoices',
      String(++number),
      { ...partly, billing_reason: 'initial', subscription_id: Number(subscription) },
      names,
    );
    const created = squeezed('subscription_created', 'subscriptions', subscription, { order_id: Number(order) }, names);
    await inbox.play([squeezed('order_created', 'orders', order, { status: 'paid' }, names), invoice], squeezy);
    const group = `subscription_${subscription}`;
    await endWait(group);
    expect(await told(group)).toEqual(['parked unknown_payment']);
    const { rows } = await database.pool.query('select event_id from provider_event where payment_id = $1', [group]);
    const handling = {
      merchantId: MERCHANT,
      eventId: rows[0].event_id,
      note: 'debited',
      amountMinor: 3000,
      entryId: null,
    };
    await dismissEvent(inbox.services, handling);
    const refund = squeezed('order_refunded', 'orders', order, partly, names);
    await inbox.play([created, refund], squeezy);
    expect(await inbox.balance(ada)).toBe(5000);
    // Resolved later, it is still one thing that was done once.
    await resolveEvent(inbox.services, handling);
    const { rows: handled } = await database.pool.query(
      `select payment_id, amount, fact->>'paymentId' as told, fact ? 'ofGroup' as of_group from handled_movement where event_id = $1`,
      [handling.eventId],
    );
    const payment = `order_${order}`;
    expect(handled).toEqual([{ payment_id: payment, amount: 3000, told: payment, of_group: false }]);
    await inbox.play(
      [squeezed('order_refunded', 'orders', order, { status: 'refunded', refunded_amount: 5000 }, names)],
      squeezy,
    );
    expect(await inbox.balance(ada)).toBe(5000);
    expect(await told(payment)).toContain('parked handled_by_hand');
  });

  it('never counts as an order’s of its own while that is not known', async () => {
    const ada = await newCustomer();
    const subscription = String(800_000 + ++number);
    const attributes = {
      ...{
        status: 'refunded',
        billing_reason: 'initial',
        refunded_amount: 5000,
        subscription_id: Number(subscription),
        store_id: 2,
      },
    };
    const body = squeezed('subscription_payment_refunded', 'subscription-invoices', '1', attributes, namingOf(ada));
    await inbox.play([body], squeezyOrders);
    await endWait(`subscription_${subscription}`);
    expect(await told(`subscription_${subscription}`)).toEqual(['parked unknown_payment']);
    expect(await inbox.balance(ada)).toBe(0);
  });
});
