import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { stripePayment, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** Bonus rules, from the API to the bonuses that payments are given by them. */

let app: TestApp;
let inbox: TestInbox;
const stripe = testSource('stripe');
const other = testSource('stripe', { sourceId: 'src_other' });

beforeAll(async () => {
  app = await startTestApp();
  inbox = await startInbox(app.database, { sources: [stripe, other] });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const put = (id: string, rule: object) =>
  app.call('PUT', `/bonus-rules/${id}`, { currency: 'USD', min_paid: 1000, ...rule });

/** Runs with these rules alone. */
async function withRules<Result>(rules: Record<string, object>, run: () => Promise<Result>): Promise<Result> {
  for (const [id, rule] of Object.entries(rules)) expect(await put(id, rule)).toMatchObject({ status: 200 });
  try {
    return await run();
  } finally {
    for (const id of Object.keys(rules)) await app.call('DELETE', `/bonus-rules/${id}`);
  }
}

let number = 0;
const newId = () => {
  number += 1;
  return `pi_rule${number}`;
};

const event = (customer: string, paymentId: string, amount: number, metadata: Record<string, string> = {}) =>
  stripePaymentSucceeded({
    paymentId,
    amount,
    currency: 'usd',
    metadata: { wallet_customer_id: customer, ...metadata },
  });

/** Lets a customer pay; returns the bonus of the payment and the rule that gave it. */
async function pay(customer: string, amount: number, metadata: Record<string, string> = {}, source = stripe) {
  const id = newId();
  await inbox.play([event(customer, id, amount, metadata)], source);
  return bonusOf(id);
}

async function bonusOf(paymentId: string) {
  const [life] = (await app.call('GET', `/payments/${paymentId}`)).body.items;
  return [life.bonus, life.bonus_rule_id];
}

describe('a bonus rule', () => {
  it('is made, shown, replaced, listed and deleted', async () => {
    const made = await put('b_summer', { percent: 10, max_bonus: 800, expires_in_days: 90 });
    expect(made).toMatchObject({ status: 200, body: { rule_id: 'b_summer', percent: 10, fixed: null, priority: 50 } });
    const { created_at: createdAt } = made.body;
    await put('a_winter', { fixed: 500, priority: 10, sources: ['src_stripe'] });
    expect(await put('b_summer', { percent: 12.5 })).toMatchObject({
      body: { percent: 12.5, max_bonus: null, created_at: createdAt },
    });
    const { body } = await app.call('GET', '/bonus-rules');
    expect(body.items.map((one: { rule_id: string }) => one.rule_id)).toEqual(['a_winter', 'b_summer']);
    expect((await app.call('GET', '/bonus-rules/a_winter')).body).toMatchObject({
      fixed: 500,
      sources: ['src_stripe'],
    });
    for (const id of ['a_winter', 'b_summer']) {
      expect((await app.call('DELETE', `/bonus-rules/${id}`)).status).toBe(204);
      expect((await app.call('DELETE', `/bonus-rules/${id}`)).status).toBe(404);
    }
    expect((await app.call('GET', '/bonus-rules/a_winter')).status).toBe(404);
  });

  it.each<[string, object, string]>([
    ['both a share and an amount', { percent: 10, fixed: 5 }, 'percent'],
    ['neither', {}, 'percent'],
    ['a share of three decimals', { percent: 1.005 }, 'percent'],
    ['more than the ratio allows', { percent: 100.01 }, 'percent'],
    ['an amount above that of the least payment', { fixed: 1001 }, 'fixed'],
    ['a most below the least', { percent: 10, max_paid: 999 }, 'max_paid'],
    [
      'an end before the beginning',
      { percent: 1, starts_at: '2026-02-01T00:00:00Z', ends_at: '2026-02-01T00:00:00Z' },
      'ends_at',
    ],
  ])('refuses %s', async (_what, rule, field) => {
    const { status, body } = await put('refused', rule);
    expect([status, body.message]).toEqual([422, expect.stringContaining(`${field}:`)]);
  });

  it('gives a share, rounded down and to a most, and takes back the same shares as of what was paid', async () => {
    await withRules({ tenth: { percent: 10, max_bonus: 800, expires_in_days: 90 } }, async () => {
      const customer = await app.newCustomer();
      const id = newId();
      await inbox.play([event(customer, id, 9000)]);
      expect(await bonusOf(id)).toEqual([800, 'tenth']);
      const back = (refundId: string, amount: number) =>
        stripeRefund({ paymentId: id, refundId, amount, currency: 'usd', status: 'succeeded' });
      await inbox.play([back(`re_${id}a`, 3000), back(`re_${id}b`, 6000)]);
      const [life] = (await app.call('GET', `/payments/${id}`)).body.items;
      const entries = life.entries.map(
        (one: { event_type: string; amount: number }) => `${one.event_type} ${one.amount}`,
      );
      expect(entries.toSorted()).toEqual(
        [
          'payment 9000',
          'bonus 800',
          'bonus_reversal 266',
          'payment_reversal 3000',
          'bonus_reversal 534',
          'payment_reversal 6000',
        ].toSorted(),
      );
      expect(await pay(await app.newCustomer(), 1019)).toEqual([101, 'tenth']);
      const { items } = (await app.call('GET', `/customers/${customer}/wallets/lots?status=closed`)).body;
      expect(items).toMatchObject([{ kind: 'promo', origin: { payment_id: id } }]);
    });
  });

  it('counts by priority, and only where it fits: amount, currency, source and time', async () => {
    const rules = {
      big: { percent: 20, min_paid: 5000, priority: 1 },
      elsewhere: { percent: 50, priority: 2, sources: ['src_other'] },
      over: { percent: 90, priority: 3, ends_at: '2020-01-01T00:00:00Z' },
      rupees: { currency: 'INR', percent: 90, priority: 3 },
      small: { fixed: 100, max_paid: 2000, priority: 4 },
    };
    await withRules(rules, async () => {
      const customer = await app.newCustomer();
      expect(await pay(customer, 5000)).toEqual([1000, 'big']);
      expect(await pay(customer, 4999)).toEqual([0, null]);
      expect(await pay(customer, 2000)).toEqual([100, 'small']);
      expect(await pay(customer, 999)).toEqual([0, null]);
      expect(await pay(customer, 2000, {}, other)).toEqual([1000, 'elsewhere']);
    });
  });

  it('yields to what the payment says itself', async () => {
    await withRules({ tenth: { percent: 10 } }, async () => {
      const customer = await app.newCustomer();
      expect(await pay(customer, 5000, { wallet_bonus_amount: '7' })).toEqual([7, null]);
      expect(await pay(customer, 5000, { wallet_credit_amount: '5000' })).toEqual([0, null]);
      expect(await pay(customer, 5000, { wallet_purpose: 'order' })).toEqual([0, null]);
    });
  });

  it('is decided once, whatever becomes of the rule', async () => {
    const [customer, id, before] = [await app.newCustomer(), newId(), newId()];
    await inbox.play([event(customer, before, 5000)]);
    await withRules({ tenth: { percent: 10 } }, () => inbox.play([event(customer, id, 5000)]));
    await withRules({ fifth: { percent: 20 } }, () =>
      inbox.play([event(customer, id, 5000), event(customer, before, 5000)]),
    );
    expect([await bonusOf(id), await bonusOf(before)]).toEqual([
      [500, 'tenth'],
      [0, null],
    ]);
  });

  it('gives each customer so many, those that were refunded included', async () => {
    await withRules({ twice: { percent: 10, per_customer_limit: 2 } }, async () => {
      const customer = await app.newCustomer();
      const id = newId();
      await inbox.play([event(customer, id, 1000)]);
      await inbox.play([
        stripeRefund({ paymentId: id, refundId: `re_${id}`, amount: 1000, currency: 'usd', status: 'succeeded' }),
      ]);
      expect(await pay(customer, 1000)).toEqual([100, 'twice']);
      expect(await pay(customer, 1000)).toEqual([0, null]);
      expect(await pay(await app.newCustomer(), 1000)).toEqual([100, 'twice']);
    });
  });

  it('gives on the first top-up alone, and again after all before were refunded in full', async () => {
    await withRules({ first: { percent: 10, first_top_up_only: true } }, async () => {
      const customer = await app.newCustomer();
      const id = newId();
      await inbox.play([event(customer, id, 1000)]);
      expect([await bonusOf(id), await pay(customer, 1000)]).toEqual([
        [100, 'first'],
        [0, null],
      ]);
      const old = await app.newCustomer();
      const refunded = newId();
      await inbox.play([event(old, refunded, 1000)]);
      await inbox.play([
        stripeRefund({
          paymentId: refunded,
          refundId: `re_${refunded}`,
          amount: 1000,
          currency: 'usd',
          status: 'succeeded',
        }),
      ]);
      expect(await pay(old, 1000)).toEqual([100, 'first']);
    });
  });

  it('gives none as on the first top-up where a try before named another currency', async () => {
    await withRules({ first: { percent: 10, first_top_up_only: true } }, async () => {
      const customer = await app.newCustomer();
      const id = newId();
      await pay(customer, 1000);
      const metadata = { wallet_customer_id: customer };
      await inbox.play([
        stripePayment({ type: 'payment_failed', paymentId: id, amount: 1000, currency: 'inr', metadata }),
        event(customer, id, 1000),
      ]);
      expect(await bonusOf(id)).toEqual([0, null]);
      const next = newId();
      const newcomer = await app.newCustomer();
      await inbox.play([
        stripePayment({
          ...{ type: 'payment_failed', paymentId: next, amount: 1000, currency: 'inr' },
          metadata: { wallet_customer_id: newcomer },
        }),
        event(newcomer, next, 1000),
      ]);
      expect(await bonusOf(next)).toEqual([100, 'first']);
    });
  });

  it('gives one bonus where two first top-ups come at once, in one batch or to two workers', async () => {
    const second = await startInbox(app.database, { sources: [stripe, other] });
    try {
      await withRules({ first: { percent: 10, first_top_up_only: true } }, async () => {
        for (let round = 0; round < 5; round += 1) {
          const customer = await app.newCustomer();
          const ids = Array.from({ length: 4 }, newId);
          await Promise.all(ids.map((id) => inbox.deliver(event(customer, id, 1000))));
          await inbox.settled();
          const given = await Promise.all(ids.map(bonusOf));
          expect(given.filter(([bonus]) => bonus > 0)).toEqual([[100, 'first']]);
        }
      });
    } finally {
      await second.stop();
    }
  });

  it('decides about the second of two first top-ups only once the first is there, since both wait for the wallet', async () => {
    const second = await startInbox(app.database, { sources: [stripe, other] });
    const customer = await app.newCustomer();
    const holder = await app.database.pool.connect();
    const waiting = () => waitingForLocks(app.database.pool);
    try {
      await withRules({ first: { percent: 10, first_top_up_only: true } }, async () => {
        await holder.query('begin');
        await holder.query("select from wallet where merchant_id = 'bus_default' and customer_id = $1 for update", [
          customer,
        ]);
        const ids = Array.from({ length: 2 }, newId);
        for (const [index, id] of ids.entries()) {
          await inbox.deliver(event(customer, id, 1000));
          await eventually(`${index + 1} workers to wait for the wallet`, async () => (await waiting()) === index + 1);
        }
        await holder.query('rollback');
        await inbox.settled();
        const given = await Promise.all(ids.map(bonusOf));
        expect(given.filter(([bonus]) => bonus > 0)).toEqual([[100, 'first']]);
      });
    } finally {
      holder.release();
      await second.stop();
    }
  });
});
