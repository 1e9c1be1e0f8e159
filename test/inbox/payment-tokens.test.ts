import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linksOfCustomer } from '../../src/customers/links.ts';
import { createPaymentToken, revokePaymentToken, type TokenRequest } from '../../src/customers/payment-tokens.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { listEvents } from '../../src/inbox/events.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { Tokens } from '../../src/inbox/tokens.ts';
import type { Source } from '../../src/merchants/source.ts';
import { hashToken } from '../../src/payments/token.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { BONUS_RATIO, expectBooksToAgree, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';
import { waitingForLocks } from '../support/lock-waits.ts';
import { disputeFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';
import { providerFixture } from '../support/provider-fixtures.ts';
import { dodoPayment, razorpayPayment, stripePayment, stripePaymentSucceeded } from '../support/signing.ts';
import { lemonSqueezyInvoice, lemonSqueezyOrder, paddleTransaction, polarOrderPaid } from '../support/signing-more.ts';
import { adyenDelivery, paypalCapture } from '../support/signing-paypal-adyen-cashfree.ts';

/* A payment's metadata may be in the payer's hand; a token in it says what the merchant's server agreed on, once. */

const OTHER_MERCHANT = 'bus_other';
const CUSTOMER = { metadata: 'customer' } as const;

let database: TestDatabase;
let inbox: TestInbox;
const sources = {
  stripe: testSource('stripe'),
  razorpay: testSource('razorpay', CUSTOMER),
  dodo: testSource('dodo', CUSTOMER),
  paypal: testSource('paypal', CUSTOMER),
  adyen: testSource('adyen', CUSTOMER),
  cashfree: testSource('cashfree', CUSTOMER),
  paddle: testSource('paddle', CUSTOMER),
  polar: testSource('polar', CUSTOMER),
  lemonsqueezy: testSource('lemonsqueezy', CUSTOMER),
  otherDodo: testSource('dodo', { ...CUSTOMER, sourceId: 'src_other_dodo' }),
} satisfies Readonly<Record<string, Source>>;

beforeAll(async () => {
  database = await createTestDatabase(30);
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: Object.values(sources), works: false, sharesJobs: false });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let made = 0;
const newPaymentId = () => {
  made += 1;
  return String(80_000 + made);
};

async function newCustomer(merchantId = MERCHANT): Promise<string> {
  const [id = ''] = await makeCustomers(database.pool, [`token_payer_${newPaymentId()}`], merchantId);
  return id;
}

async function newToken(customerId: string, terms: Partial<TokenRequest> = {}, now = new Date()): Promise<string> {
  const request = {
    merchantId: MERCHANT,
    customerId,
    purpose: 'topup',
    currency: 'INR',
    amount: 1000,
    creditAmount: null,
    expiresInSeconds: 3600,
    ...terms,
  } as const;
  const rules = { currencies: SETTINGS.currencies, maxBonusRatio: BONUS_RATIO, now };
  return (await transaction(database.pool, (tx) => createPaymentToken(tx, request, rules))).token;
}

/** Applies what is queued, all in one batch. */
async function work(): Promise<void> {
  const options = { batchSize: 50, includeMetadata: true } as const;
  const jobs = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', options);
  await applyEvents(
    inbox.services,
    jobs.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, eventId: data.eventId })),
  );
}

async function parkedReasons(paymentId: string) {
  const query = { state: 'parked', pageSize: 100, pageNumber: 0 } as const;
  const events = await listEvents(autocommit(database.pool), MERCHANT, query);
  return events.filter((event) => event.paymentId === paymentId).map((event) => event.reason);
}

interface Paid {
  readonly amount?: number;
  readonly paymentId?: string;
  readonly currency?: string;
  readonly createdSeconds?: number;
}

/** Pays at Razorpay, where the payer writes the notes. @returns why it was parked, or nothing */
async function pay(notes: Readonly<Record<string, string>>, paid: Paid = {}): Promise<string | undefined> {
  const paymentId = paid.paymentId ?? newPaymentId();
  await inbox.deliver(razorpayPayment({ amount: 1000, ...paid, paymentId, notes }), sources.razorpay);
  await work();
  return (await parkedReasons(paymentId))[0] ?? undefined;
}

const held = async (customerId: string) => [
  await inbox.balance(customerId, 'INR'),
  await inbox.balance(customerId, 'USD'),
];

/** Every event that waits to be applied, each in a transaction of its own, all at the same time. */
async function applyAllAtOnce(): Promise<void> {
  const jobs = await inbox.boss.fetch<{ eventId: string }>('apply-provider-event', {
    batchSize: 50,
    includeMetadata: true,
  });
  await Promise.all(
    jobs.map(({ id, retryCount, retryLimit, data }) =>
      applyEvents(inbox.services, [{ id, retryCount, retryLimit, eventId: data.eventId }]),
    ),
  );
}

describe('a token', () => {
  it('is obeyed where a payer may have written it, and nothing beside it', async () => {
    const customerId = await newCustomer();
    const token = await newToken(customerId, { creditAmount: 1500 });
    const beside = { wallet_purpose: 'order', wallet_credit_amount: '999999' };
    expect(await pay({ wallet_token: token, ...beside }, { amount: 1180 })).toBeUndefined();
    expect(await held(customerId)).toEqual([1500, 0]);
  });

  it('grants what was paid where it says no more, also above what it is for', async () => {
    const customerId = await newCustomer();
    await pay({ wallet_token: await newToken(customerId) }, { amount: 1180 });
    expect(await held(customerId)).toEqual([1180, 0]);
  });

  it('counts for a payment that was tried while it was good, however late the money comes', async () => {
    const customerId = await newCustomer();
    // The payment of the fixture was made on 28 October.
    const token = await newToken(customerId, { expiresInSeconds: 86_400 }, new Date('2026-10-28T00:00:00Z'));
    const toldSeconds = Date.parse('2026-11-02T12:00:00Z') / 1000;
    expect(await pay({ wallet_token: token }, { createdSeconds: toldSeconds })).toBeUndefined();
    expect(await held(customerId)).toEqual([1000, 0]);
  });

  it('is used by one payment; a second one is parked, a repeat of the first changes nothing', async () => {
    const customerId = await newCustomer();
    const token = await newToken(customerId);
    expect(await pay({ wallet_token: token }, { paymentId: 'pay_first' })).toBeUndefined();
    expect(await pay({ wallet_token: token })).toBe('token_used');
    expect(await pay({ wallet_token: token }, { paymentId: 'pay_first' })).toBeUndefined();
    expect(await held(customerId)).toEqual([1000, 0]);
  });

  it('makes an order of a payment, which uses it by succeeding', async () => {
    const customerId = await newCustomer();
    const token = await newToken(customerId, { purpose: 'order' });
    expect(await pay({ wallet_token: token })).toBeUndefined();
    expect(await pay({ wallet_token: token })).toBe('token_used');
    expect(await held(customerId)).toEqual([0, 0]);
  });

  it('is not used by payments that fail, nor by those that are parked', async () => {
    const customerId = await newCustomer();
    const token = await newToken(customerId, { currency: 'USD' });
    const metadata = { wallet_token: token };
    const failed = stripePayment({
      type: 'payment_failed',
      paymentId: 'pi_failed',
      currency: 'usd',
      customer: null,
      metadata,
    });
    await inbox.deliver(failed, sources.stripe);
    await inbox.deliver(
      stripePaymentSucceeded({ paymentId: 'pi_less', amount: 999, currency: 'usd', metadata }),
      sources.stripe,
    );
    await inbox.deliver(
      stripePaymentSucceeded({ paymentId: 'pi_full', amount: 1000, currency: 'usd', metadata }),
      sources.stripe,
    );
    await work();
    expect(await parkedReasons('pi_less')).toEqual(['bad_token']);
    expect(await held(customerId)).toEqual([0, 1000]);
  });

  it('is the whole text at providers that take one', async () => {
    const customerId = await newCustomer();
    const [one, two] = [
      await newToken(customerId, { currency: 'USD' }),
      await newToken(customerId, { currency: 'USD' }),
    ];
    await inbox.deliver(
      paypalCapture({ paymentId: newPaymentId(), value: '10.00', currency: 'USD', customId: one }),
      sources.paypal,
    );
    const paid = { eventCode: 'AUTHORISATION', pspReference: newPaymentId(), merchantReference: two };
    await inbox.deliver(adyenDelivery([{ ...paid, value: 1000, currency: 'USD' }]), sources.adyen);
    await work();
    expect(await held(customerId)).toEqual([0, 2000]);
    expect(Math.max(one.length, two.length)).toBeLessThanOrEqual(80);
  });
});

describe('a token that must not be used', () => {
  it.each<[string, (token: string, customerId: string) => Promise<string | undefined>]>([
    ['one that nobody made', () => pay({ wallet_token: `wt_${'0'.repeat(32)}` })],
    ['one with a letter wrong', (token) => pay({ wallet_token: `${token.slice(0, -1)}z` })],
    ['one in capitals', (token) => pay({ wallet_token: token.toUpperCase() })],
    ['SQL', () => pay({ wallet_token: "wt_' or 1=1; drop table payment_token; --" })],
    ['JSON', () => pay({ wallet_token: '{"wallet_token":{"$ne":null}}' })],
    ['nothing', () => pay({ wallet_token: '' })],
    ['a long text', () => pay({ wallet_token: 'wt_'.repeat(160) })],
    ['its hash', () => pay({ wallet_token: 'a'.repeat(64) })],
    ['less paid', (token) => pay({ wallet_token: token }, { amount: 999 })],
    ['another currency', (token) => pay({ wallet_token: token }, { currency: 'USD' })],
    [
      'another customer beside it',
      async (token) => pay({ wallet_token: token, wallet_customer_id: await newCustomer() }),
    ],
    [
      'one that was revoked',
      async (token, customerId) => {
        await revokePaymentToken(autocommit(database.pool), { merchantId: MERCHANT, customerId, token }, new Date());
        return pay({ wallet_token: token });
      },
    ],
    [
      'one that had ended before',
      async (_, customerId) => {
        const ended = await newToken(customerId, { expiresInSeconds: 60 }, new Date('2026-01-01T00:00:00Z'));
        return pay({ wallet_token: ended });
      },
    ],
    [
      'one of another merchant',
      async () => {
        const foreign = await newCustomer(OTHER_MERCHANT);
        return pay({ wallet_token: await newToken(foreign, { merchantId: OTHER_MERCHANT }) });
      },
    ],
  ])('%s parks its payment and moves nothing', async (_, attempt) => {
    const customerId = await newCustomer();
    const customers = async () => (await database.pool.query('select count(*)::int as n from customer')).rows;
    const token = await newToken(customerId);
    expect(await attempt(token, customerId)).toBe('bad_token');
    expect(await held(customerId)).toEqual([0, 0]);
    const before = await customers();
    expect(await pay({ wallet_token: 'wt_nobody' })).toBe('bad_token');
    expect(await customers()).toEqual(before);
  });

  it('counts what was paid for whom a person says', async () => {
    const [ada, bob] = [await newCustomer(), await newCustomer()];
    const token = await newToken(ada, { creditAmount: 2000 });
    await pay({ wallet_token: token });
    const paymentId = newPaymentId();
    expect(await pay({ wallet_token: token }, { paymentId })).toBe('token_used');
    const query = { state: 'parked', pageSize: 100, pageNumber: 0 } as const;
    const [event] = (await listEvents(autocommit(database.pool), MERCHANT, query)).filter(
      (one) => one.paymentId === paymentId,
    );
    await replayEvent(database.pool, inbox.boss, {
      merchantId: MERCHANT,
      eventId: event?.eventId ?? '',
      customerId: bob,
    });
    await work();
    expect([await held(ada), await held(bob)]).toEqual([
      [2000, 0],
      [1000, 0],
    ]);
  });
});

describe('payments that carry one token', () => {
  it('are credited once, whatever their order, repeats and batches', async () => {
    const step = fc.record({ payment: fc.nat(3), applies: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const customerId = await newCustomer();
        const token = await newToken(customerId, { creditAmount: 1700 });
        const ids = Array.from({ length: 4 }, newPaymentId);
        for (const { payment, applies } of steps) {
          const paymentId = ids[payment] ?? '';
          await inbox.deliver(
            razorpayPayment({ paymentId, amount: 1000, notes: { wallet_token: token } }),
            sources.razorpay,
          );
          if (applies) await work();
        }
        await work();
        expect(await held(customerId)).toEqual([1700, 0]);
        const reasons = (await Promise.all(ids.map(parkedReasons))).flat();
        expect(new Set(reasons)).toEqual(
          new Set(new Set(steps.map((one) => one.payment)).size > 1 ? ['token_used'] : []),
        );
      }),
      { numRuns: 15 },
    );
  });

  it('are credited once where two workers apply them at the same time', async () => {
    for (let round = 0; round < 5; round += 1) {
      const customerId = await newCustomer();
      const token = await newToken(customerId);
      const ids = [newPaymentId(), newPaymentId(), newPaymentId()];
      for (const paymentId of ids) {
        await inbox.deliver(
          razorpayPayment({ paymentId, amount: 1000, notes: { wallet_token: token } }),
          sources.razorpay,
        );
      }
      await applyAllAtOnce();
      expect(await held(customerId)).toEqual([1000, 0]);
      expect((await Promise.all(ids.map(parkedReasons))).flat()).toEqual(['token_used', 'token_used']);
    }
  });

  it('wait for whoever holds the token', async () => {
    const customerId = await newCustomer();
    const token = await newToken(customerId);
    const paymentId = newPaymentId();
    await inbox.deliver(razorpayPayment({ paymentId, amount: 1000, notes: { wallet_token: token } }), sources.razorpay);
    let applied: Promise<void> | null = null;
    await transaction(database.pool, async (tx) => {
      await tx.query("select from payment_token where merchant_id = 'bus_default' and customer_id = $1 for update", [
        customerId,
      ]);
      applied = work();
      await expect
        .poll(() => waitingForLocks(database.pool, '%payment_token%'), { timeout: 30_000 })
        .toBeGreaterThan(0);
      await tx.query('update payment_token set revoked_at = now() where customer_id = $1', [customerId]);
    });
    await applied;
    expect(await parkedReasons(paymentId)).toEqual(['bad_token']);
    expect(await held(customerId)).toEqual([0, 0]);
  });
});

describe('a renewal', () => {
  it('is named by the token of the first payment of its subscription, and credited what was paid', async () => {
    const customerId = await newCustomer();
    const token = await newToken(customerId, { currency: 'USD', creditAmount: 1500 });
    const of = (subscriptionId: string | null, amount: number) => {
      const paymentId = newPaymentId();
      const body = dodoPayment({
        paymentId,
        amount,
        currency: 'USD',
        metadata: { wallet_token: token },
        subscriptionId,
      });
      return { paymentId, deliver: () => inbox.deliver(body, sources.dodo) };
    };
    for (const one of [of('sub_1', 1000), of('sub_1', 900)]) {
      await one.deliver();
      await work();
    }
    expect(await held(customerId)).toEqual([0, 2400]);
    const others = [of('sub_2', 1000), of(null, 1000)];
    for (const one of others) await one.deliver();
    await work();
    expect((await Promise.all(others.map(({ paymentId }) => parkedReasons(paymentId)))).flat()).toEqual(
      Array(2).fill('token_used'),
    );
    expect(await held(customerId)).toEqual([0, 2400]);
  });
});

interface JsonObject {
  [name: string]: unknown;
}

/** Puts a value into a body that is still to be signed. */
function put(body: string, path: readonly string[], value: unknown): string {
  const json: JsonObject = JSON.parse(body);
  let at: JsonObject = json;
  for (const name of path.slice(0, -1)) at = Object(at[name]);
  at[path.at(-1) ?? ''] = value;
  return JSON.stringify(json);
}

const atOtherDodo = (body: string) => put(body, ['business_id'], 'bus_of_the_other_dodo');

interface Renewal {
  readonly paymentId: string;
  readonly token: string;
  readonly series: string;
  readonly isFirst: boolean;
}

/** Ten dollars by each provider whose renewals carry the first payment's metadata. */
const RENEWALS: Readonly<Record<string, readonly [source: keyof typeof sources, body: (one: Renewal) => string]>> = {
  Paddle: [
    'paddle',
    ({ paymentId, token, series }) => {
      const paid = { paymentId, amount: '1000', currency: 'USD', customData: { wallet_token: token } };
      return put(paddleTransaction(paid), ['data', 'subscription_id'], `sub_${series}`);
    },
  ],
  Polar: [
    'polar',
    ({ paymentId, token, series }) => {
      const paid = { paymentId, amount: 1000, tax: 0, currency: 'usd', metadata: { wallet_token: token } };
      return put(polarOrderPaid(paid), ['data', 'subscription_id'], series);
    },
  ],
  Dodo: [
    'dodo',
    ({ paymentId, token, series }) =>
      dodoPayment({
        ...{ paymentId, amount: 1000, currency: 'USD', metadata: { wallet_token: token } },
        subscriptionId: `sub_${series}`,
      }),
  ],
  'Lemon Squeezy': [
    'lemonsqueezy',
    ({ paymentId: resourceId, token, series, isFirst }) => {
      const paid = { resourceId, amount: 1000, currency: 'USD', customer: series, customData: { wallet_token: token } };
      return isFirst
        ? lemonSqueezyOrder({ ...paid, status: 'paid', testMode: true })
        : lemonSqueezyInvoice('success', { ...paid, status: 'paid', billingReason: 'renewal', testMode: true });
    },
  ],
  "PayPal's subscriptions": [
    'paypal',
    ({ paymentId, token, series }) => {
      const sale: JsonObject = JSON.parse(JSON.stringify(providerFixture('paypal', 'PAYMENT.SALE.COMPLETED')));
      const resource = { ...Object(sale.resource), id: paymentId, custom: token, billing_agreement_id: `I-${series}` };
      return JSON.stringify({ ...sale, resource: { ...resource, amount: { total: '10.00', currency: 'USD' } } });
    },
  ],
  "Cashfree's subscriptions": [
    'cashfree',
    ({ paymentId, token, series }) =>
      JSON.stringify({
        data: {
          ...{ cf_payment_id: paymentId, payment_type: 'CHARGE', payment_amount: 10, payment_currency: 'USD' },
          subscription_details: { cf_subscription_id: series, subscription_tags: { wallet_token: token } },
        },
        ...{ event_time: '2026-10-28T15:30:00+05:30', type: 'SUBSCRIPTION_PAYMENT_SUCCESS' },
      }),
  ],
  'several payments of one invoice of Stripe': [
    'stripe',
    ({ paymentId, token, series }) =>
      put(
        stripePaymentSucceeded({
          paymentId,
          amount: 1000,
          currency: 'usd',
          customer: null,
          metadata: { wallet_token: token },
        }),
        ['data', 'object', 'payment_details'],
        { order_reference: `in_1${series}` },
      ),
  ],
  "several captures of one of PayPal's orders": [
    'paypal',
    ({ paymentId, token, series }) =>
      put(
        paypalCapture({ paymentId, value: '10.00', currency: 'USD', customId: token }),
        ['resource', 'supplementary_data', 'related_ids', 'order_id'],
        `O${series}`,
      ),
  ],
};

describe('a later payment of what a token was used for', () => {
  it.each(Object.entries(RENEWALS))('%s: is named by it, used or ended, and credited what was paid', async (_, row) => {
    const [source, body] = row;
    const customerId = await newCustomer();
    const token = await newToken(customerId, { currency: 'USD', creditAmount: 1500 }, new Date('2026-10-28T09:00:00Z'));
    const expires = (at: string) =>
      database.pool.query('update payment_token set expires_at = $2 where customer_id = $1', [customerId, at]);
    await expires('2030-01-01');
    const series = newPaymentId();
    const pays = async (of: string, isFirst = false) => {
      const paymentId = newPaymentId();
      await inbox.deliver(body({ paymentId, token, series: of, isFirst }), sources[source]);
      await work();
      const reasons = await Promise.all([paymentId, `order_${paymentId}`, `invoice_${paymentId}`].map(parkedReasons));
      return reasons.flat()[0];
    };
    expect([await pays(series, true), await inbox.balance(customerId)]).toEqual([undefined, 1500]);
    await expires('2020-01-01');
    expect([await pays(series), await inbox.balance(customerId)]).toEqual([undefined, 2500]);
    expect([await pays(newPaymentId()), await inbox.balance(customerId)]).toEqual(['token_used', 2500]);
    // Revoked counts at once, for renewals too.
    await revokePaymentToken(autocommit(database.pool), { merchantId: MERCHANT, customerId, token }, new Date());
    expect([await pays(series), await inbox.balance(customerId)]).toEqual(['bad_token', 2500]);
  });

  it('is not one at another source, though both name their subscription alike', async () => {
    const customerId = await newCustomer();
    const token = await newToken(customerId, { currency: 'USD' });
    const subscriptionId = `sub_${newPaymentId()}`;
    const paid = { amount: 1000, currency: 'USD', metadata: { wallet_token: token }, subscriptionId };
    const [first, second] = [newPaymentId(), newPaymentId()];
    await inbox.deliver(dodoPayment({ ...paid, paymentId: first }), sources.dodo);
    await work();
    await inbox.deliver(atOtherDodo(dodoPayment({ ...paid, paymentId: second })), sources.otherDodo);
    await work();
    expect([await parkedReasons(first), await parkedReasons(second)]).toEqual([[], ['token_used']]);
    expect(await inbox.balance(customerId)).toBe(1000);
  });
});

describe('a token that two sources are told of', () => {
  it('is used once, also where two workers apply both at the same time and name the payment alike', async () => {
    for (let round = 0; round < 4; round += 1) {
      const customerId = await newCustomer();
      const token = await newToken(customerId, { currency: 'USD', creditAmount: 1700 });
      const paid = { amount: 1000, currency: 'USD', metadata: { wallet_token: token }, paymentId: newPaymentId() };
      await inbox.deliver(dodoPayment(paid), sources.dodo);
      await inbox.deliver(atOtherDodo(dodoPayment(paid)), sources.otherDodo);
      await applyAllAtOnce();
      expect(await inbox.balance(customerId)).toBe(1700);
      expect(await parkedReasons(paid.paymentId)).toEqual(['token_used']);
    }
  });
});

describe('a link', () => {
  const linksOf = (customerId: string) => {
    const query = { merchantId: MERCHANT, customerId, pageSize: 10, pageNumber: 0 };
    return linksOfCustomer(autocommit(database.pool), query);
  };

  it('is not learnt from a token that a payer may have carried over', async () => {
    const customerId = await newCustomer();
    const paid = { customer: 'cust_of_the_payer', amount: 1000, currency: 'INR' };
    const carrying = { wallet_token: await newToken(customerId) };
    await inbox.deliver(razorpayPayment({ ...paid, paymentId: newPaymentId(), notes: carrying }), sources.razorpay);
    await work();
    await inbox.deliver(razorpayPayment({ ...paid, paymentId: newPaymentId(), notes: {} }), sources.razorpay);
    await work();
    expect(await held(customerId)).toEqual([1000, 0]);
    expect(await linksOf(customerId)).toEqual([]);
  });

  it('is learnt from a token where payers can write nothing, so that what comes after is found', async () => {
    const customerId = await newCustomer();
    const metadata = { wallet_token: await newToken(customerId, { currency: 'USD' }) };
    const paid = { customer: 'cus_of_stripe', amount: 1000, currency: 'usd' };
    const paymentId = `pi_${newPaymentId()}`;
    await inbox.deliver(stripePaymentSucceeded({ ...paid, paymentId, metadata }), sources.stripe);
    await work();
    await inbox.deliver(stripePaymentSucceeded({ ...paid, paymentId: `${paymentId}_2`, metadata: {} }), sources.stripe);
    await work();
    expect(await linksOf(customerId)).toMatchObject([{ cause: 'payment', paymentId }]);
    expect(await held(customerId)).toEqual([0, 2000]);
  });

  it('is made or moved by no token that parks, wherever it is', async () => {
    const [ada, bob] = [await newCustomer(), await newCustomer()];
    const token = await newToken(ada, { currency: 'USD' });
    const beside = { wallet_token: token, wallet_customer_id: bob };
    const paymentId = `pi_${newPaymentId()}`;
    const paid = { customer: 'cus_of_parked', amount: 1000, currency: 'usd', metadata: beside, paymentId };
    await inbox.deliver(stripePaymentSucceeded(paid), sources.stripe);
    await work();
    expect(await parkedReasons(paymentId)).toEqual(['bad_token']);
    expect([await linksOf(ada), await linksOf(bob), await held(ada), await held(bob)]).toEqual([
      [],
      [],
      [0, 0],
      [0, 0],
    ]);
  });
});

describe('the tokens of a batch', () => {
  const first = { paymentId: 'batch_first', postings: 1, purpose: 'topup' } as const;

  it('are used by the first payment that posts, and a later one does not take them over', async () => {
    const token = await newToken(await newCustomer());
    const tokenHash = hashToken(token);
    const fact = paymentFact({ metadata: { wallet_token: token }, seriesId: 'sub_1' });
    const [unused, used] = await transaction(database.pool, async (tx) => {
      const tokens = await Tokens.lock(tx, [{ fact, payment: newPayment() }]);
      tokens.note(fact, newPayment({ tokenHash, purpose: 'topup' }));
      const before = tokens.of(fact, newPayment());
      tokens.note(fact, newPayment({ ...first, tokenHash }));
      tokens.note(fact, newPayment({ ...first, tokenHash, paymentId: 'batch_second' }));
      await tokens.save(tx, new Date());
      return [before, tokens.of(fact, newPayment())];
    });
    expect(unused).toMatchObject({ usedPaymentId: null, seriesId: null });
    expect(used).toMatchObject({ usedPaymentId: 'batch_first', usedSourceId: 'src_stripe', seriesId: 'sub_1' });
    const stored = await transaction(database.pool, async (tx) => {
      const tokens = await Tokens.lock(tx, [{ fact, payment: newPayment() }]);
      return tokens.of(fact, newPayment());
    });
    expect(stored).toEqual(used);
  });

  it('belong to no series where a refund or a payment alone uses them', async () => {
    for (const make of [refundFact, paymentFact]) {
      const token = await newToken(await newCustomer());
      const fact = make({ metadata: { wallet_token: token } });
      const used = await transaction(database.pool, async (tx) => {
        const tokens = await Tokens.lock(tx, [{ fact, payment: newPayment() }]);
        tokens.note(fact, newPayment({ ...first, tokenHash: hashToken(token) }));
        return tokens.of(fact, newPayment());
      });
      expect(used).toMatchObject({ usedPaymentId: 'batch_first', seriesId: null });
    }
  });

  it('decide about a payment until it has used its own, by whatever fact; an unknown one decides nothing', async () => {
    const token = await newToken(await newCustomer());
    const tokenHash = hashToken(token);
    const decided = newPayment({ tokenHash, purpose: 'topup' });
    const found = await transaction(database.pool, async (tx) => {
      const tokens = await Tokens.lock(tx, [{ fact: disputeFact(), payment: decided }]);
      const unknown = newPayment({ ...first, tokenHash: hashToken('none') });
      tokens.note(paymentFact(), unknown);
      await tokens.save(tx, new Date());
      return [
        tokens.of(disputeFact(), decided)?.tokenHash,
        tokens.of(disputeFact(), newPayment({ ...first, tokenHash })),
        tokens.of(disputeFact(), newPayment()),
        tokens.of(paymentFact({ metadata: { wallet_token: `wt_${'0'.repeat(32)}` } }), newPayment()),
      ];
    });
    expect(found).toEqual([tokenHash, null, null, null]);
  });
});
