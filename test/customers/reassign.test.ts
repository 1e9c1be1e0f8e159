import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, Tx } from '../../src/db/transaction.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';

/** A payment that was credited to the wrong customer. */

let app: TestApp;
let inbox: TestInbox;
const stripe = testSource('stripe');
const orders = testSource('stripe', { sourceId: 'src_orders', defaultPurpose: 'order' });

beforeAll(async () => {
  app = await startTestApp();
  inbox = await startInbox(app.database, { sources: [stripe, orders] });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

let number = 0;
const newId = () => {
  number += 1;
  return `pi_move${number}`;
};
const paid = (paymentId: string, customerId: string, amount = 1000) =>
  stripePaymentSucceeded({ paymentId, amount, currency: 'usd', metadata: { wallet_customer_id: customerId } });
const refunded = (paymentId: string, refundId: string, amount: number) =>
  stripeRefund({ paymentId, refundId, amount, currency: 'usd', status: 'succeeded' });
const reassign = (paymentId: string, customerId: string, more: object = {}) =>
  app.call('POST', `/payments/${paymentId}/reassign`, {
    customer_id: customerId,
    reason: 'the wrong account',
    ...more,
  });
const balances = async (...customerIds: readonly string[]) =>
  Promise.all(customerIds.map((customerId) => inbox.balance(customerId)));
const newCustomers = async () => [await app.newCustomer(), await app.newCustomer()] as const;

describe('a payment that is reassigned', () => {
  it('takes along what its bonus has left, spent or not, with its end, and its disputes hold both there', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    const metadata = { wallet_customer_id: a, wallet_bonus_amount: '200', wallet_bonus_expires_in_days: '30' };
    await inbox.play([
      stripePaymentSucceeded({ paymentId: id, amount: 1000, currency: 'usd', metadata }),
      refunded(id, `re_${id}_1`, 500),
      stripeDispute({
        type: 'created',
        paymentId: id,
        disputeId: `du_${id}`,
        amount: 500,
        currency: 'usd',
        status: 'needs_response',
      }),
    ]);
    const lotsOf = async (customerId: string) =>
      (await app.call('GET', `/customers/${customerId}/wallets/lots?status=open`)).body.items;
    const [before] = await lotsOf(a);
    expect((await reassign(id, b)).status).toBe(200);
    expect([await balances(a, b), await lotsOf(a)]).toEqual([[0, 600], []]);
    expect(await lotsOf(b)).toMatchObject([
      { kind: 'promo', remaining: 100, expires_at: before.expires_at, origin: { payment_id: id } },
    ]);
    const [life] = (await app.call('GET', `/payments/${id}`)).body.items;
    expect(life.moves).toMatchObject([{ amount: 500, bonus: 100 }]);
    expect(life.disputes).toMatchObject([{ hold_wanted: 600, hold_id: `hold_${b}_USD_1` }]);
    await inbox.play([
      stripeDispute({
        type: 'closed',
        paymentId: id,
        disputeId: `du_${id}`,
        amount: 500,
        currency: 'usd',
        status: 'lost',
      }),
    ]);
    expect([await balances(a, b), await lotsOf(b)]).toEqual([[0, 0], []]);
    await inbox.play([
      stripeDispute({
        type: 'closed',
        paymentId: id,
        disputeId: `du_${id}`,
        amount: 500,
        currency: 'usd',
        status: 'won',
      }),
    ]);
    expect([await balances(a, b), (await lotsOf(b)).map((one: { remaining: number }) => one.remaining)]).toEqual([
      [0, 600],
      [100],
    ]);
    // And back.
    expect((await reassign(id, a)).status).toBe(200);
    expect(await balances(a, b)).toEqual([600, 0]);
    await inbox.play([refunded(id, `re_${id}_2`, 500)]);
    expect([await balances(a, b), await lotsOf(a)]).toEqual([[0, 0], []]);
  });

  it('takes along what it has left, and later facts are posted at the other customer', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a), refunded(id, `re_${id}_1`, 300)]);
    const answer = await reassign(id, b);
    expect(answer.status).toBe(200);
    expect(await balances(a, b)).toEqual([0, 700]);
    await inbox.play([refunded(id, `re_${id}_2`, 400), paid(id, a)]);
    expect(await balances(a, b)).toEqual([0, 300]);
    const [life] = (await app.call('GET', `/payments/${id}`)).body.items;
    expect(life).toMatchObject({
      customer_id: b,
      moves: [
        {
          from_customer_id: a,
          to_customer_id: b,
          amount: 700,
          currency: 'USD',
          actor: 'api',
          reason: 'the wrong account',
        },
      ],
    });
    expect(life.entries).toMatchObject([
      { customer_id: a, event_type: 'payment', amount: 1000 },
      { customer_id: a, event_type: 'payment_reversal', amount: 300 },
      {
        customer_id: a,
        event_type: 'payment_reversal',
        amount: 700,
        reason: expect.stringContaining('the wrong account'),
      },
      { customer_id: b, event_type: 'payment', amount: 700, reason: expect.stringContaining('the wrong account') },
      { customer_id: b, event_type: 'payment_reversal', amount: 400 },
    ]);
    const states = life.events.map((one: { status: string }) => one.status);
    expect(new Set(states)).toEqual(new Set(['applied']));
  });

  it('gives lots back what it took from them, where it comes back', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a)]);
    const entry = (body: object) => app.call('POST', `/customers/${a}/wallets/ledger-entries`, body);
    await entry({ currency: 'USD', amount: 1000, entry_type: 'debit' });
    const promo = { kind: 'promo', priority: 90, expires_in_days: 30 };
    await entry({ currency: 'USD', amount: 1000, entry_type: 'credit', ...promo });
    for (const customer of [b, a]) expect((await reassign(id, customer)).status).toBe(200);
    const { items } = (await app.call('GET', `/customers/${a}/wallets/lots?status=open`)).body;
    expect(items).toMatchObject([{ kind: 'promo', priority: 90, remaining: 1000 }]);
    expect(await balances(a, b)).toEqual([1000, 0]);
  });

  it('gives an order’s credit under the types of refunds', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a, 6000), refunded(id, `re_${id}`, 2000)], orders);
    await reassign(id, b);
    expect(await balances(a, b)).toEqual([0, 2000]);
    const [life] = (await app.call('GET', `/payments/${id}`)).body.items;
    const types = life.entries.map((one: { event_type: string }) => one.event_type);
    expect(types).toEqual(['refund', 'refund_reversal', 'refund']);
  });

  it('has moved no money yet: only whose it is changes', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a, 6000)], orders);
    expect((await reassign(id, b)).status).toBe(200);
    await inbox.play([refunded(id, `re_${id}`, 2000), paid(id, a, 6000)], orders);
    expect(await balances(a, b)).toEqual([0, 2000]);
  });

  it('takes along what was credited by hand, once it is known how much that was', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    const nobody = { customer: null, email: null, metadata: {} };
    await inbox.play([stripePaymentSucceeded({ paymentId: id, amount: 1000, currency: 'usd', ...nobody })]);
    const [parked] = (await app.call('GET', '/events?status=parked')).body.items;
    const entry = { amount: 1000, currency: 'USD', entry_type: 'credit', reason: 'by hand' };
    const { body } = await app.call('POST', `/customers/${a}/wallets/ledger-entries`, entry);
    expect(body.balance).toBe(1000);
    await app.call('POST', `/events/${parked.event_id}/dismiss`, { note: 'credited by hand' });
    await inbox.play([refunded(id, `re_${id}_1`, 300)]);
    expect((await reassign(id, b)).status).toBe(409);
    const { body: entries } = await app.call('GET', `/customers/${a}/wallets/ledger-entries`);
    const done = { entry_id: entries.items[0].id, note: 'ticket 7' };
    expect((await app.call('POST', `/events/${parked.event_id}/resolve`, done)).status).toBe(200);
    expect((await reassign(id, b)).status).toBe(200);
    expect(await balances(a, b)).toEqual([0, 1000]);
    await inbox.play([refunded(id, `re_${id}_2`, 400)]);
    expect(await balances(a, b)).toEqual([0, 600]);
  });

  it('goes on a hundred times at most, and then says so', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a)]);
    await app.database.pool.query(
      `insert into payment_move (merchant_id, source_id, payment_id, move, from_customer_id, to_customer_id, net, currency, entries, actor, reason, created_at)
       select merchant_id, source_id, payment_id, n, case when n % 2 = 1 then $2 else $3 end, case when n % 2 = 1 then $3 else $2 end,
         0, 'USD', 0, 'api', 'on', now()
       from payment, generate_series(1, 98) as n where payment_id = $1`,
      [id, a, b],
    );
    await app.database.pool.query('update payment set moves = 98 where payment_id = $1', [id]);
    for (const next of [b, a]) expect((await reassign(id, next)).status).toBe(200);
    expect(await reassign(id, b)).toMatchObject({
      status: 409,
      body: { code: 'CONFLICT', message: expect.stringContaining('100 times') },
    });
    expect((await reassign(id, a)).status).toBe(200);
    expect(await balances(a, b)).toEqual([1000, 0]);
  });

  it('is refused if its wallet has spent the money, unless a debt is wanted', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a)]);
    await app.call('POST', `/customers/${a}/wallets/ledger-entries`, {
      amount: 600,
      currency: 'USD',
      entry_type: 'debit',
    });
    expect(await reassign(id, b)).toMatchObject({
      status: 400,
      body: { code: 'INSUFFICIENT_WALLET_FUNDS', available: 400 },
    });
    expect(await balances(a, b)).toEqual([400, 0]);
    expect((await reassign(id, b, { force: true })).status).toBe(200);
    expect(await balances(a, b)).toEqual([-600, 1000]);
  });

  it('is refused if its wallet holds the money, unless a debt is wanted', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a)]);
    const held = { amount: 300, currency: 'USD', idempotency_key: 'work' };
    expect((await app.call('POST', `/customers/${a}/wallets/holds`, held)).status).toBe(200);
    expect(await reassign(id, b)).toMatchObject({
      status: 400,
      body: { code: 'INSUFFICIENT_WALLET_FUNDS', available: 700, shortfall: 300 },
    });
    expect((await reassign(id, b, { force: true })).status).toBe(200);
    expect(await balances(a, b)).toEqual([0, 1000]);
  });

  it('changes nothing when it is asked again, and can go back', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    await inbox.play([paid(id, a)]);
    for (let time = 1; time <= 2; time += 1) expect((await reassign(id, b)).status).toBe(200);
    expect(await balances(a, b)).toEqual([0, 1000]);
    await reassign(id, a);
    await reassign(id, b);
    await inbox.play([stripeDispute({ paymentId: id, amount: 1000, currency: 'usd', status: 'lost', type: 'closed' })]);
    expect(await balances(a, b)).toEqual([0, 0]);
  });

  it('changes nothing either when the repeat comes late, if it says whose the payment was', async () => {
    const [a, b] = await newCustomers();
    const c = await app.newCustomer();
    const id = newId();
    await inbox.play([paid(id, a)]);
    const once = { from_customer_id: a };
    expect((await reassign(id, b, once)).status).toBe(200);
    // Its answer was lost, so it is sent again.
    for (let time = 1; time <= 2; time += 1) expect((await reassign(id, b, once)).status).toBe(200);
    await reassign(id, c, { from_customer_id: b });
    expect(await reassign(id, b, once)).toMatchObject({
      status: 409,
      body: { code: 'CONFLICT', message: expect.stringContaining(c) },
    });
    expect(await balances(a, b, c)).toEqual([0, 0, 1000]);
    const [life] = (await app.call('GET', `/payments/${id}`)).body.items;
    expect(life.moves).toHaveLength(2);
  });

  it('wants a payment and a customer that are there, and a source where two know the id', async () => {
    const [a, b] = await newCustomers();
    const id = newId();
    expect(await reassign('pi_none', a)).toMatchObject({ status: 404 });
    await inbox.play([paid(id, a)]);
    await inbox.play([paid(id, a)], orders);
    expect(await reassign(id, 'cus_none')).toMatchObject({ body: { message: expect.stringContaining('source_id') } });
    expect(await reassign(id, 'cus_none', { source_id: 'src_stripe' })).toMatchObject({
      body: { code: 'CUSTOMER_NOT_FOUND' },
    });
    expect((await reassign(id, b, { source_id: 'src_stripe' })).status).toBe(200);
    expect(await balances(a, b)).toEqual([0, 1000]);
    const failed = newId();
    await inbox.play([
      stripePaymentSucceeded({
        paymentId: failed,
        amount: 10,
        currency: 'usd',
        metadata: { wallet_customer_id: 'cus_typo' },
      }),
    ]);
    expect(await reassign(failed, b)).toMatchObject({ status: 409 });
  });
});

describe('at once', () => {
  it('two reassigns and a refund leave the money in one place, less what was refunded', async () => {
    for (let round = 1; round <= 5; round += 1) {
      const [a, b, c] = [await app.newCustomer(), await app.newCustomer(), await app.newCustomer()];
      const id = newId();
      await inbox.play([paid(id, a)]);
      const answers = await Promise.all([
        reassign(id, b),
        inbox.deliver(refunded(id, `re_${id}`, 300)),
        reassign(id, c),
        reassign(id, b),
      ]);
      for (const one of answers) if ('status' in one) expect(one.status).toBe(200);
      await inbox.settled();
      const { body } = await app.call('GET', `/payments/${id}`);
      const owner = body.items[0].customer_id;
      const held = await balances(a, b, c);
      expect(held.toSorted()).toEqual([0, 0, 700]);
      expect(held[[a, b, c].indexOf(owner)]).toBe(700);
    }
  });
});

it('any history of refunds and moves leaves all of a payment with its last customer', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('refund' as const), amount: fc.integer({ min: 1, max: 400 }) }),
    fc.record({ kind: fc.constant('move' as const), to: fc.integer({ min: 0, max: 2 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 6 }), async (steps) => {
      const people = [await app.newCustomer(), await app.newCustomer(), await app.newCustomer()];
      const id = newId();
      await inbox.play([paid(id, people[0] ?? '')]);
      let [owner, left] = [0, 1000];
      for (const [index, one] of steps.entries()) {
        if (one.kind === 'refund') {
          await inbox.play([refunded(id, `re_${id}_${index}`, one.amount)]);
          left = Math.max(0, left - one.amount);
        } else {
          expect((await reassign(id, people[one.to] ?? '')).status).toBe(200);
          owner = one.to;
        }
        expect(await balances(...people)).toEqual(people.map((_, place) => (place === owner ? left : 0)));
      }
    }),
    { numRuns: 12 },
  );
});

it('the audit names a move whose entries or customer are not as it says', async () => {
  const [a, b] = await newCustomers();
  const id = newId();
  await inbox.play([paid(id, a)]);
  await reassign(id, b);
  const { disagreements } = await audit(autocommit(app.database.pool), { rule: null });
  expect(disagreements).toEqual([]);
  for (const tampering of [
    `update payment_move set net = 999 where payment_id = '${id}'`,
    `update payment set customer_id = '${a}' where payment_id = '${id}'`,
    `update payment_move set entries = 2 where payment_id = '${id}'`,
  ]) {
    const client = await app.database.pool.connect();
    try {
      await client.query('begin');
      await client.query(tampering);
      expect((await audit(new Tx(client), { rule: null })).disagreements, tampering).not.toEqual([]);
    } finally {
      await client.query('rollback');
      client.release();
    }
  }
});
