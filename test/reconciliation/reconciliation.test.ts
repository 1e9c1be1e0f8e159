import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startWorker, type Worker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { connectStripe } from '../../src/providers/stripe/api.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree, MERCHANT } from '../support/ledger.ts';
import { API_KEYS, ProviderApiServer, type ServedProvider } from '../support/provider-api-server.ts';
import { type JsonObject, providerFixture } from '../support/provider-fixtures.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import {
  DODO_SECRET,
  dodoPayment,
  RAZORPAY_SECRET,
  razorpayPayment,
  STRIPE_SECRET,
  signDodo,
  signRazorpay,
  signStripe,
  stripeDispute,
  stripePayment,
  stripePaymentSucceeded,
  stripeRefund,
} from '../support/signing.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

let app: TestApp;
let worker: Worker;
let apis: Readonly<Record<ServedProvider, ProviderApiServer>>;
let receiver: WebhookReceiver;
let environment: Record<string, string>;

const HOUR_MS = 3_600_000;
const NOW = Date.now();
const ago = (hours: number) => new Date(NOW - hours * HOUR_MS);
const SINCE = ago(48).toISOString();

beforeAll(async () => {
  const [stripe, dodo, razorpay] = await Promise.all([
    ProviderApiServer.start('stripe'),
    ProviderApiServer.start('dodo'),
    ProviderApiServer.start('razorpay'),
  ]);
  apis = { stripe, dodo, razorpay };
  environment = {
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    STRIPE_API_KEY: API_KEYS.stripe,
    STRIPE_API_URL: stripe.url,
    DODO_WEBHOOK_SECRET: DODO_SECRET,
    DODO_API_KEY: API_KEYS.dodo,
    DODO_API_URL: dodo.url,
    RAZORPAY_WEBHOOK_SECRET: RAZORPAY_SECRET,
    RAZORPAY_API_KEY: API_KEYS.razorpay,
    RAZORPAY_API_URL: razorpay.url,
    PADDLE_WEBHOOK_SECRET: 'pdl_ntfset_secret',
    ENCRYPTION_KEY,
    ALLOW_PRIVATE_ENDPOINTS: 'true',
  };
  app = await startTestApp({ environment });
  worker = await startWorker({
    config: loadConfig(environment),
    databaseUrl: app.database.workerUrl,
    logger: createLogger('silent', 'test'),
    clock: systemClock,
  });
  receiver = await WebhookReceiver.start();
  await app.call('POST', '/webhook-endpoints', { url: receiver.url, event_types: ['payment.reconciled'] });
});

afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await worker.close();
  await app.close();
  await Promise.all([...Object.values(apis).map((api) => api.close()), receiver.close()]);
});

const SIGNED = {
  stripe: (paymentId: string, amount: number, metadata: Record<string, string>) => {
    const body = stripePaymentSucceeded({ paymentId, amount, currency: 'usd', metadata });
    return { body, headers: signStripe(body) };
  },
  dodo: (paymentId: string, amount: number, metadata: Record<string, string>) => {
    const body = dodoPayment({ paymentId, amount, currency: 'USD', metadata });
    return { body, headers: signDodo(body) };
  },
  razorpay: (paymentId: string, amount: number, metadata: Record<string, string>) => {
    const body = razorpayPayment({ paymentId, amount, currency: 'USD', notes: metadata });
    return { body, headers: signRazorpay(body) };
  },
};

/** A payment that the provider has, and whose webhook arrives unless it is dropped. */
async function pay(
  provider: ServedProvider,
  paymentId: string,
  amount: number,
  customerId: string,
  {
    isDropped = false,
    hoursAgo = 20,
    metadata = {},
  }: { isDropped?: boolean; hoursAgo?: number; metadata?: Record<string, string> } = {},
): Promise<JsonObject> {
  const all = { wallet_customer_id: customerId, ...metadata };
  const object = apis[provider].addPayment({
    id: paymentId,
    amount,
    currency: 'USD',
    metadata: all,
    createdAt: ago(hoursAgo),
  });
  if (isDropped) return object;
  const { body, headers } = SIGNED[provider](paymentId, amount, all);
  expect((await app.call('POST', `/webhooks/${provider}`, body, { ...headers })).status).toBe(200);
  return object;
}

async function reconcile(provider: string, since = SINCE) {
  const started = await app.call('POST', '/reconciliation', { source_id: `src_${provider}`, since });
  expect(started.status).toBe(200);
  return finished(started.body.run_id);
}

const finished = (runId: string) =>
  eventually(
    'the reconciliation to end',
    async () => {
      const { status, body } = await app.call('GET', `/reconciliation/${runId}`);
      return status === 200 && body.status !== 'running' && body;
    },
    60_000,
  );

interface FoundItem {
  readonly outcome: string;
  readonly reason: string | null;
  readonly event_id: string | null;
}

/** What a run found, by object id. */
async function itemsOf(runId: string, outcome?: string): Promise<Record<string, FoundItem>> {
  const found: Record<string, FoundItem> = {};
  for (let page = 0; ; page += 1) {
    const { status, body } = await app.call('GET', `/reconciliation/${runId}/items?page_size=100&page_number=${page}`);
    expect({ status, body }).toMatchObject({ status: 200 });
    for (const item of body.items) if (outcome === undefined || item.outcome === outcome) found[item.id] = item;
    if (body.items.length < 100) return found;
  }
}

const balance = async (customerId: string) => {
  const { body } = await app.call('GET', `/customers/${customerId}/wallets`);
  return body.items.find((wallet: { currency: string }) => wallet.currency === 'USD').balance;
};

const allApplied = () =>
  eventually('every event to be applied', async () => {
    const { body } = await app.call('GET', '/events?status=pending');
    return body.items.length === 0;
  });

describe('a day of dropped deliveries', () => {
  it.each(['stripe', 'dodo', 'razorpay'] as const)(
    'of %s is healed by one run, and once',
    async (provider) => {
      const customers = [await app.newCustomer(), await app.newCustomer(), await app.newCustomer()];
      const expected = new Map(customers.map((customerId) => [customerId, 0]));
      const add = (customerId: string, amount: number) =>
        expected.set(customerId, (expected.get(customerId) ?? 0) + amount);
      const count = 230;
      for (let index = 0; index < count; index += 1) {
        const customerId = customers[index % 3] ?? '';
        // Two of three never arrive.
        await pay(provider, `pay_${provider}_${index}`, 1000 + index, customerId, { isDropped: index % 3 !== 0 });
        add(customerId, 1000 + index);
      }
      // Refunds: of a payment that arrived and of one that did not; and one of a payment made before the window, which may
      // have been handled by somebody else: neither is taken in.
      await pay(provider, `pay_${provider}_old`, 5000, customers[0] ?? '', { isDropped: true, hoursAgo: 400 });
      for (const [refundId, paymentId, amount, owner] of [
        ['a', '0', 400, 0],
        ['b', '1', 1001, 1],
        ['c', 'old', 5000, 0],
      ] as const) {
        const refund = {
          id: `ref_${provider}_${refundId}`,
          paymentId: `pay_${provider}_${paymentId}`,
          amount,
          currency: 'USD',
        };
        apis[provider].addRefund({ ...refund, createdAt: ago(10) });
        if (paymentId !== 'old') add(customers[owner] ?? '', -amount);
      }
      await allApplied();
      apis[provider].failNext(429, { after: 1, count: 2, retryAfterSeconds: 1 });
      apis[provider].failNext(500, { after: 1 });

      const run = await reconcile(provider);
      const dropped = Array.from({ length: count }, (_, index) => index).filter((index) => index % 3 !== 0).length;
      expect(run).toMatchObject({ status: 'finished', problem: null, missing: 0, differing: 1, unknown: 0 });
      expect(run).toMatchObject({ healed: dropped + 2, matched: count - dropped });
      const items = await itemsOf(run.run_id, 'differing');
      expect(items[`ref_${provider}_c`]?.reason).toMatch(/^the success of its payment is not known here/);
      for (const [customerId, amount] of expected) expect(await balance(customerId)).toBe(amount);

      const again = await reconcile(provider);
      expect(again).toMatchObject({ status: 'finished', healed: 0, differing: 1, unknown: 0, missing: 0 });
      expect(again.matched).toBe(count + 2);
      for (const [customerId, amount] of expected) expect(await balance(customerId)).toBe(amount);

      // The late webhook of a healed payment changes nothing.
      const { body, headers } = SIGNED[provider](`pay_${provider}_1`, 1001, { wallet_customer_id: customers[1] ?? '' });
      await app.call('POST', `/webhooks/${provider}`, body, { ...headers });
      await allApplied();
      expect(await balance(customers[1] ?? '')).toBe(expected.get(customers[1] ?? ''));

      // Each healed payment is told of once; a payment and its refund that were healed together, in one message.
      await eventually('every healed payment to be announced', async () => {
        const { rows } = await app.database.pool.query<{ count: number }>(
          "select count(distinct payload::jsonb -> 'data' ->> 'payment_id') from webhook_message where event_type = 'payment.reconciled' and payload::jsonb -> 'data' ->> 'provider' = $1",
          [provider],
        );
        return rows[0]?.count === dropped + 1;
      });
      const { rows } = await app.database.pool.query('select 1 from unsent_message');
      expect(rows).toEqual([]);
    },
    120_000,
  );
});

describe('what a run finds', () => {
  it('credits bonus packs and refunds of orders as their webhooks would have', async () => {
    const customerId = await app.newCustomer();
    const options = { isDropped: true, hoursAgo: 5 };
    await pay('stripe', 'pi_bonus', 1000, customerId, { ...options, metadata: { wallet_credit_amount: '1500' } });
    await pay('stripe', 'pi_order', 3000, customerId, { ...options, metadata: { wallet_purpose: 'order' } });
    apis.stripe.addRefund({ id: 're_order', paymentId: 'pi_order', amount: 700, currency: 'USD', createdAt: ago(4) });
    apis.stripe.addDispute({
      id: 'dp_bonus',
      paymentId: 'pi_bonus',
      amount: 1000,
      currency: 'USD',
      status: 'lost',
      createdAt: ago(3),
    });
    const run = await reconcile('stripe', ago(6).toISOString());
    expect(run).toMatchObject({ status: 'finished', healed: 4, differing: 0 });
    expect(await balance(customerId)).toBe(1500 + 700 - 1500);
    const { body } = await app.call('GET', '/payments/pi_bonus');
    expect(body.items[0]).toMatchObject({
      status: 'succeeded',
      disputes: [{ dispute_id: 'dp_bonus', status: 'lost' }],
    });
    expect(body.items[0].events.map((event: { origin: string }) => event.origin)).toEqual([
      'reconciliation',
      'reconciliation',
    ]);
  });

  it('says what differs and why, what the provider does not know, and changes nothing of it', async () => {
    const customerId = await app.newCustomer();
    const less = await pay('stripe', 'pi_less', 1000, customerId, { hoursAgo: 2 });
    await pay('stripe', 'pi_nobody', 1000, 'cus_nobody', { isDropped: true, hoursAgo: 2 });
    apis.stripe.addPayment({
      id: 'pi_peso',
      amount: 5000,
      currency: 'MXN',
      createdAt: ago(2),
      metadata: { wallet_customer_id: customerId },
    });
    apis.stripe.addPayment({ id: 'pi_open', status: 'requires_payment_method', createdAt: ago(2) });
    const phantom = SIGNED.stripe('pi_phantom', 800, { wallet_customer_id: customerId });
    await app.call('POST', '/webhooks/stripe', phantom.body, { ...phantom.headers });
    await allApplied();
    const before = await balance(customerId);
    expect(before).toBe(1800);
    // Received "now", which is after the window; moved into it, as if it had come an hour ago.
    await app.database.pool.query(
      "update payment set created_at = now() - interval '1 hour' where payment_id = 'pi_phantom'",
    );
    Object.assign(less, { amount: 900, amount_received: 900 });

    const run = await reconcile('stripe', ago(2.5).toISOString());
    expect(run).toMatchObject({ status: 'finished', healed: 0, differing: 3, unknown: 1 });
    const items = await itemsOf(run.run_id);
    expect(items.pi_less).toMatchObject({
      outcome: 'differing',
      reason: 'is 1000 here and 900 at the provider, in minor units',
    });
    expect(items.pi_nobody).toMatchObject({ outcome: 'differing', reason: 'its event is parked: unknown_customer' });
    expect(items.pi_peso?.reason).toMatch(/^its event is parked: unsupported_currency/);
    expect(items.pi_phantom).toMatchObject({ outcome: 'unknown', event_id: null });
    expect(items.pi_open).toBeUndefined();
    expect(await balance(customerId)).toBe(before);

    // Nothing is taken in twice, and what is parked is said again until a person has handled it.
    const again = await reconcile('stripe', ago(2.5).toISOString());
    expect(again).toMatchObject({ healed: 0, differing: 3, unknown: 1 });
    expect((await itemsOf(again.run_id)).pi_nobody).toMatchObject({ event_id: items.pi_nobody?.event_id });
    const replayed = await app.call('POST', `/events/${items.pi_nobody?.event_id}/replay`, { customer_id: customerId });
    expect(replayed.status).toBe(200);
    await allApplied();
    expect(await balance(customerId)).toBe(before + 1000);
    expect(await reconcile('stripe', ago(2.5).toISOString())).toMatchObject({ differing: 2, unknown: 1 });
    const { body: metrics } = await app.call('GET', '/metrics');
    expect(metrics).toMatch(/^chokin_reconciliation_unresolved 5$/m);
  });
});

describe('a payment of Stripe made before the window and paid within it', () => {
  /** The event of a PaymentIntent made long ago, in the API version of when it happened. */
  function paidEvent(paymentId: string, amount: number, customerId: string, api_version: string) {
    const metadata = { wallet_customer_id: customerId };
    const payment = apis.stripe.addPayment({ id: paymentId, amount, currency: 'USD', metadata, createdAt: ago(300) });
    const created = Math.floor(ago(5).getTime() / 1000);
    const type = 'payment_intent.succeeded';
    const event = { object: 'event', type, created, livemode: false, api_version, data: { object: { ...payment } } };
    return { id: `evt_${paymentId}`, ...event };
  }

  it('is taken in by its event, page after page and once, and every request names the API version', async () => {
    const customerId = await app.newCustomer();
    const versions = ['2026-10-28.endive', '2024-06-20', '2019-12-03'];
    const events = Array.from({ length: 205 }, (_, index) =>
      paidEvent(`pi_late_${index}`, 1000 + index, customerId, versions[index % 3] ?? ''),
    );
    apis.stripe.events = [{ ...events[0], id: 'evt_other', type: 'charge.succeeded' }, ...events];
    const before = apis.stripe.headers.length;
    const total = events.reduce((sum, _, index) => sum + 1000 + index, 0);
    expect(await reconcile('stripe')).toMatchObject({ status: 'finished', problem: null, healed: 205, missing: 0 });
    expect(await balance(customerId)).toBe(total);
    expect(await reconcile('stripe')).toMatchObject({ healed: 0, missing: 0 });
    expect(await balance(customerId)).toBe(total);
    const asked = apis.stripe.headers.slice(before).map((headers) => headers['stripe-version']);
    expect(new Set(asked)).toEqual(new Set(['2026-10-28.endive']));
    const { rows } = await app.database.pool.query(
      "select body from provider_event where payment_id = 'pi_late_1' and origin = 'reconciliation'",
    );
    expect(rows.map(({ body }) => JSON.parse(String(body)))).toMatchObject([
      { id: 'evt_pi_late_1', api_version: '2024-06-20' },
    ]);
    // The late webhook is the same event.
    const body = JSON.stringify(events[1]);
    expect((await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) })).status).toBe(200);
    await allApplied();
    expect(await balance(customerId)).toBe(total);
  });

  it('is missed by a key that may not read events, and the rest of the comparison goes on', async () => {
    const customerId = await app.newCustomer();
    apis.stripe.events = 403;
    await pay('stripe', 'pi_without_events', 700, customerId, { isDropped: true });
    expect(await reconcile('stripe')).toMatchObject({ status: 'finished', problem: null, healed: 1 });
    expect(await balance(customerId)).toBe(700);
    const account = { apiKey: new Secret(API_KEYS.stripe), mode: 'test', baseUrl: apis.stripe.url } as const;
    const page = await connectStripe(account).list('payment', { since: ago(1), until: ago(0) }, null);
    expect(page).toEqual({ listed: [], next: null, notice: expect.stringContaining('read access to Events') });
    apis.stripe.events = [];
  });
});

describe('the names of a Stripe subscription that no webhook told of', () => {
  const created = () => Math.floor(ago(2).getTime() / 1000);
  const event = (id: string, type: string, object: object) => ({
    ...{ id, object: 'event', type, created: created(), livemode: false, api_version: '2026-10-28.endive' },
    data: { object: { created: created(), ...object } },
  });
  const invoicePaid = (invoice: string, metadata: object) => {
    const subscription_details = { subscription: 'sub_lost', metadata };
    const parent = { type: 'subscription_details', subscription_details };
    return event(`evt_${invoice}`, 'invoice.paid', {
      id: invoice,
      object: 'invoice',
      customer: `cus_${invoice}`,
      parent,
    });
  };
  const invoicePayment = (invoice: string, paymentId: string) =>
    event(`evt_pays_${invoice}`, 'invoice_payment.paid', {
      ...{ id: `inpay_${invoice}`, object: 'invoice_payment', invoice, status: 'paid' },
      payment: { type: 'payment_intent', payment_intent: paymentId },
    });

  it('are taken in before its payments, as the events that they are, and once', async () => {
    const customerId = await app.newCustomer();
    const { body: token } = await app.call('POST', `/customers/${customerId}/payment-metadata`, {
      ...{ purpose: 'topup', currency: 'USD', amount: 2000, credit_amount: 3000 },
    });
    const names = [
      invoicePaid('in_1named', { wallet_customer_id: customerId }),
      invoicePaid('in_1token', token.metadata),
      invoicePaid('in_1nobodys', {}),
      invoicePayment('in_1nobodys', 'pi_nobodys'),
    ];
    apis.stripe.events = names;
    for (const invoice of ['in_1named', 'in_1token'])
      apis.stripe.addPayment({
        ...{ id: `pi_of_${invoice}`, amount: 2000, currency: 'USD', customerId: `cus_${invoice}`, metadata: {} },
        ...{ createdAt: ago(2), fields: { payment_details: { order_reference: invoice } } },
      });
    expect(await reconcile('stripe')).toMatchObject({ status: 'finished', problem: null, healed: 2, missing: 0 });
    expect(await balance(customerId)).toBe(5000);
    const { rows } = await app.database.pool.query(
      "select delivery_key from provider_event where event_type like 'invoice%' and origin = 'reconciliation' order by 1",
    );
    expect(rows).toEqual([{ delivery_key: 'evt_in_1named' }, { delivery_key: 'evt_in_1token' }]);
    const body = JSON.stringify(names[1]);
    expect((await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) })).status).toBe(200);
    expect(await reconcile('stripe')).toMatchObject({ healed: 0, missing: 0 });
    expect(await balance(customerId)).toBe(5000);
    apis.stripe.events = [];
  });

  it('say of a payment which invoice it paid, where that names somebody', async () => {
    const customerId = await app.newCustomer();
    const body = JSON.stringify(invoicePaid('in_1hidden', { wallet_customer_id: customerId }));
    expect((await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) })).status).toBe(200);
    await allApplied();
    apis.stripe.events = [invoicePayment('in_1hidden', 'pi_hidden')];
    apis.stripe.addPayment({
      ...{ id: 'pi_hidden', amount: 1500, currency: 'USD', customerId: 'cus_another', metadata: {}, createdAt: ago(2) },
    });
    expect(await reconcile('stripe')).toMatchObject({ status: 'finished', problem: null });
    expect(await balance(customerId)).toBe(1500);
    apis.stripe.events = [];
  });
});

describe('what a webhook did not tell of what is unfinished here', () => {
  it('is asked for as long as it holds money, be it the end of a dispute or of its last round', async () => {
    const customerId = await app.newCustomer();
    const held = async () => (await app.call('GET', `/customers/${customerId}/wallets/USD`)).body.held;
    for (const id of ['long', 'again']) {
      await pay('stripe', `pi_${id}`, 1000, customerId, { hoursAgo: 6100 });
      const about = { paymentId: `pi_${id}`, disputeId: `dp_${id}`, amount: 700, currency: 'usd' };
      const rounds = id === 'long' ? [] : (['won', 'needs_response'] as const);
      for (const [round, status] of ['needs_response' as const, ...rounds].entries()) {
        const type = status === 'won' ? 'closed' : 'updated';
        const body = stripeDispute({ ...about, type, status, createdSeconds: 1_780_000_000 + round });
        await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) });
        await allApplied();
      }
      const ended = {
        id: about.disputeId,
        paymentId: about.paymentId,
        amount: 700,
        currency: 'USD',
        createdAt: ago(6090),
      };
      apis.stripe.addDispute({ ...ended, status: 'won' });
    }
    const { pool } = app.database;
    await pool.query(
      "update payment set created_at = now() - interval '254 days' where payment_id in ('pi_long', 'pi_again')",
    );
    await pool.query(
      "update payment_part set created_at = now() - interval '253 days' where payment_id in ('pi_long', 'pi_again')",
    );
    expect(await held()).toBe(1400);
    expect(await reconcile('stripe', ago(0.2).toISOString())).toMatchObject({ status: 'finished', healed: 2 });
    expect(await held()).toBe(0);
  });

  it('is asked for, however long ago it was made', async () => {
    const customerId = await app.newCustomer();
    const metadata = { wallet_customer_id: customerId };
    // A bank debit that was pending for ten days, a refund and a dispute that were undecided for longer.
    const pending = apis.stripe.addPayment({
      id: 'pi_slow',
      amount: 900,
      currency: 'USD',
      metadata,
      status: 'processing',
      createdAt: ago(240),
    });
    const processing = stripePayment({ type: 'processing', paymentId: 'pi_slow', currency: 'usd', metadata });
    await app.call('POST', '/webhooks/stripe', processing, { ...signStripe(processing) });
    await pay('stripe', 'pi_slow_paid', 1000, customerId, { hoursAgo: 700 });
    for (const body of [
      stripeRefund({ paymentId: 'pi_slow_paid', refundId: 're_slow', amount: 300, currency: 'usd', status: 'pending' }),
      stripeDispute({
        paymentId: 'pi_slow_paid',
        disputeId: 'dp_slow',
        amount: 700,
        currency: 'usd',
        status: 'needs_response',
      }),
    ]) {
      await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) });
    }
    apis.stripe.addRefund({
      id: 're_slow',
      paymentId: 'pi_slow_paid',
      amount: 300,
      currency: 'USD',
      createdAt: ago(690),
    });
    apis.stripe.addDispute({
      id: 'dp_slow',
      paymentId: 'pi_slow_paid',
      amount: 700,
      currency: 'USD',
      status: 'lost',
      createdAt: ago(680),
    });
    await allApplied();
    expect(await balance(customerId)).toBe(1000);
    const pool = app.database.pool;
    await pool.query("update payment set created_at = now() - interval '10 days' where payment_id like 'pi_slow%'");
    await pool.query(
      "update payment_part set created_at = now() - interval '29 days' where payment_id = 'pi_slow_paid'",
    );
    Object.assign(pending, { status: 'succeeded', amount_received: 900 });
    const run = await reconcile('stripe', ago(0.2).toISOString());
    expect(run).toMatchObject({ status: 'finished', healed: 3, differing: 0, unknown: 0 });
    expect(await balance(customerId)).toBe(1000 - 300 - 700 + 900);
    // Nothing is unfinished any more, so nothing is asked for.
    apis.stripe.requests.length = 0;
    await reconcile('stripe', ago(0.2).toISOString());
    expect(apis.stripe.requests.filter(({ path }) => path.split('/').length > 3)).toEqual([]);
  });

  it('is not taken in where its payment is not known: an opened dispute must not credit an old payment', async () => {
    const customerId = await app.newCustomer();
    await pay('stripe', 'pi_elsewhere', 10_000, customerId, { isDropped: true, hoursAgo: 2000 });
    const object = { paymentId: 'pi_elsewhere', amount: 1000, currency: 'USD', createdAt: ago(0.3) };
    apis.stripe.addDispute({ ...object, id: 'dp_elsewhere', status: 'needs_response' });
    apis.stripe.addRefund({ ...object, id: 're_elsewhere', status: 'failed' });
    apis.stripe.addRefund({ ...object, id: 're_elsewhere_too' });
    const run = await reconcile('stripe', ago(0.4).toISOString());
    expect(run).toMatchObject({ status: 'finished', healed: 0, differing: 2 });
    expect(await balance(customerId)).toBe(0);
    // Asked for on purpose, from before it was made, all of it is taken in.
    expect(await reconcile('stripe', ago(2001).toISOString())).toMatchObject({ status: 'finished' });
    expect(await balance(customerId)).toBe(10_000 - 1000);
  });
});

describe('what changes between two runs', () => {
  it('is taken in anew by the second: a loss, then its reversal; a refund, then its failure', async () => {
    const customerId = await app.newCustomer();
    await pay('stripe', 'pi_changing', 10_000, customerId, { hoursAgo: 0.25 });
    await allApplied();
    const object = { paymentId: 'pi_changing', currency: 'USD', createdAt: ago(0.24) };
    const dispute = apis.stripe.addDispute({ ...object, id: 'dp_changing', amount: 4000, status: 'lost' });
    const refund = apis.stripe.addRefund({ ...object, id: 're_changing', amount: 500 });
    const payment = await pay('stripe', 'pi_later', 700, customerId, { isDropped: true, hoursAgo: 0.24 });
    Object.assign(payment, { status: 'processing', amount_received: 0 });
    const since = ago(0.26).toISOString();
    expect(await reconcile('stripe', since)).toMatchObject({ status: 'finished', healed: 2 });
    expect(await balance(customerId)).toBe(10_000 - 4000 - 500);
    Object.assign(dispute, { status: 'won' });
    Object.assign(refund, { status: 'failed' });
    Object.assign(payment, { status: 'succeeded', amount_received: 700 });
    expect(await reconcile('stripe', since)).toMatchObject({ status: 'finished', healed: 3, missing: 0 });
    expect(await balance(customerId)).toBe(10_000 + 700);
    expect(await reconcile('stripe', since)).toMatchObject({ status: 'finished', healed: 0, differing: 0 });
    expect(await balance(customerId)).toBe(10_000 + 700);
  });
});

describe('a dry run', () => {
  it('says what it would take in, and takes in nothing', async () => {
    const customerId = await app.newCustomer();
    await pay('dodo', 'pay_dry', 700, customerId, { isDropped: true, hoursAgo: 0.5 });
    const body = { source_id: 'src_dodo', since: ago(0.6).toISOString(), dry_run: true };
    const { body: started } = await app.call('POST', '/reconciliation', body);
    const run = await finished(started.run_id);
    expect(run).toMatchObject({ status: 'finished', dry_run: true, missing: 1, healed: 0 });
    expect(await itemsOf(run.run_id)).toMatchObject({ pay_dry: { outcome: 'missing', event_id: null } });
    expect((await app.call('GET', '/payments/pay_dry')).status).toBe(404);
    expect(await balance(customerId)).toBe(0);
    expect(await reconcile('dodo', ago(0.6).toISOString())).toMatchObject({ healed: 1 });
    expect(await balance(customerId)).toBe(700);
  });
});

describe('what is parked', () => {
  it('wants a person and is not taken in again, until somebody has dismissed it', async () => {
    const customerId = await app.newCustomer();
    await pay('dodo', 'pay_odd', 400, customerId, { hoursAgo: 0.3, metadata: { wallet_credit_amount: 'many' } });
    await allApplied();
    const since = ago(0.35).toISOString();
    const run = await reconcile('dodo', since);
    expect(run).toMatchObject({ differing: 1, healed: 0 });
    const { pay_odd: item } = await itemsOf(run.run_id);
    expect(item?.reason).toBe('an event of it is parked: invalid_metadata');
    expect((await app.call('POST', `/events/${item?.event_id}/dismiss`, { note: 'credited by hand' })).status).toBe(
      200,
    );
    expect(await reconcile('dodo', since)).toMatchObject({ differing: 0, matched: 1 });
  });
});

describe('what was told of without its data', () => {
  it('is taken in, which closes the thin event that was parked', async () => {
    const customerId = await app.newCustomer();
    await pay('stripe', 'pi_thin', 500, customerId, { isDropped: true, hoursAgo: 0.3 });
    const thin = providerFixture('stripe', 'v1.payment_intent.succeeded');
    const body = JSON.stringify({
      ...thin,
      livemode: false,
      related_object: { id: 'pi_thin', type: 'payment_intent' },
    });
    expect((await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) })).status).toBe(200);
    await allApplied();
    const statuses = async () => {
      const { body: answer } = await app.call('GET', '/payments/pi_thin');
      return answer.items[0].events.map((event: { status: string }) => event.status);
    };
    expect(await statuses()).toEqual(['parked']);
    expect(await reconcile('stripe', ago(0.35).toISOString())).toMatchObject({ healed: 1 });
    await eventually('the thin event to be closed', async () => (await statuses()).join() === 'ignored,applied');
    expect(await balance(customerId)).toBe(500);
  });
});

describe('a run that cannot get on', () => {
  it('ends with the reason where the key is wrong, and leaves what passes by itself to be taken up again', async () => {
    apis.razorpay.failNext(401);
    const refused = await reconcile('razorpay', ago(1).toISOString());
    expect(refused).toMatchObject({ status: 'failed', problem: expect.stringContaining('refuses the API key (401)') });
    expect(JSON.stringify(refused)).not.toContain(API_KEYS.razorpay.split(':')[1]);
  });

  it('is left where it is while the provider is away, and then goes on; a source has one at a time', async () => {
    const customerId = await app.newCustomer();
    for (let index = 0; index < 120; index += 1) {
      await pay('razorpay', `pay_away_${index}`, 100, customerId, { isDropped: true, hoursAgo: 0.5 });
    }
    apis.razorpay.failNext(503, { after: 1, count: 2 });
    const { body: first } = await app.call('POST', '/reconciliation', {
      source_id: 'src_razorpay',
      since: ago(1).toISOString(),
    });
    const { body: second } = await app.call('POST', '/reconciliation', {
      source_id: 'src_razorpay',
      since: ago(9).toISOString(),
    });
    expect(second).toMatchObject({ run_id: first.run_id, since: first.since });
    expect(await finished(first.run_id)).toMatchObject({ status: 'finished', listed: 120, healed: 120, problem: null });
    expect(await balance(customerId)).toBe(12_000);
  });
});

describe('POST /reconciliation', () => {
  it.each([
    ['a source that is not there', { source_id: 'src_gone', since: SINCE }, 404, 'NOT_FOUND'],
    ['a source without an API key', { source_id: 'src_paddle', since: SINCE }, 409, 'CONFLICT'],
    [
      'a window that is turned around',
      { source_id: 'src_stripe', since: SINCE, until: ago(90).toISOString() },
      422,
      'INVALID_REQUEST_BODY',
    ],
    ['a window too long', { source_id: 'src_stripe', since: '2020-01-01T00:00:00Z' }, 422, 'INVALID_REQUEST_BODY'],
    ['a moment that is none', { source_id: 'src_stripe', since: 'yesterday' }, 422, 'INVALID_REQUEST_BODY'],
  ])('refuses %s', async (_what, body, status, code) => {
    expect(await app.call('POST', '/reconciliation', body)).toMatchObject({ status, body: { code } });
  });

  it('is for its merchant alone', async () => {
    const other = await app.newKey('bus_other', ['read', 'write']);
    const { body } = await app.call('GET', '/reconciliation');
    const runId = body.items[0].run_id;
    expect((await app.call('GET', '/reconciliation', undefined, other)).body).toEqual({ items: [] });
    for (const path of [`/reconciliation/${runId}`, `/reconciliation/${runId}/items`]) {
      expect((await app.call('GET', path, undefined, other)).status).toBe(404);
    }
    const stolen = await app.call('POST', '/reconciliation', { source_id: 'src_stripe', since: SINCE }, other);
    expect(stolen.status).toBe(404);
    expect(body.items[0].business_id).toBe(MERCHANT);
  });
});

describe('the payment of a checkout', () => {
  it('matches with what was bought and refunded of it', async () => {
    const customerId = await app.newCustomer();
    await app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, {
      ...{ amount: 10, entry_type: 'credit', currency: 'USD', idempotency_key: `${customerId}-start` },
    });
    const opened = await app.call('POST', `/customers/${customerId}/checkouts`, {
      ...{ total: 40, currency: 'USD', idempotency_key: `${customerId}-order` },
      ...{ gateway_minimum: 50, allow_credit_purchase: true },
    });
    expect(opened.body).toMatchObject({ wallet_part: 10, credit_bought: 20, payment: { amount: 50 } });
    const { metadata } = opened.body.payment;
    await pay('stripe', 'pi_of_checkout', 50, customerId, { metadata });
    await allApplied();
    const refund = { id: 're_of_checkout', paymentId: 'pi_of_checkout', amount: 15, currency: 'USD' };
    apis.stripe.addRefund({ ...refund, createdAt: ago(10) });
    const healed = await itemsOf((await reconcile('stripe')).run_id);
    expect([healed.pi_of_checkout, healed.re_of_checkout?.outcome]).toEqual([undefined, 'healed']);
    expect(await balance(customerId)).toBe(25);
    const lost = await app.call('POST', `/customers/${customerId}/checkouts`, {
      ...{ total: 100, currency: 'USD', idempotency_key: `${customerId}-lost`, gateway_minimum: 50 },
    });
    expect(lost.body).toMatchObject({ status: 'open', wallet_part: 25, payment: { amount: 75 } });
    // The buyer has paid, and no webhook has said so.
    const dropped = { isDropped: true, metadata: lost.body.payment.metadata };
    await pay('stripe', 'pi_of_lost_checkout', 75, customerId, dropped);
    const found = await itemsOf((await reconcile('stripe')).run_id);
    expect(found.pi_of_lost_checkout?.outcome).toBe('healed');
    const { body: completed } = await app.call('GET', `/customers/${customerId}/checkouts/${lost.body.checkout_id}`);
    expect(completed).toMatchObject({ status: 'completed', captured: 25 });
    expect(completed.payment).toMatchObject({ payment_id: 'pi_of_lost_checkout', source_id: 'src_stripe' });
    expect(await balance(customerId)).toBe(0);
    const again = await itemsOf((await reconcile('stripe')).run_id);
    expect(again.pi_of_lost_checkout).toBeUndefined();
    expect([again.pi_of_checkout, again.re_of_checkout]).toEqual([undefined, undefined]);
  });
});
