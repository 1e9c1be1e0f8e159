import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import {
  ADAPTERS,
  ALL_SOURCES,
  PAID_MINOR,
  providerOf,
  SIGNED_PROVIDERS,
  type SignedProvider,
  signed,
} from '../security/signed-providers.ts';
import { eventsToSettle, startTestWorker } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { API_KEYS, ProviderApiServer, type ServedProvider } from '../support/provider-api-server.ts';
import { type JsonObject, providerFixture } from '../support/provider-fixtures.ts';
import { paypalCapture, signAdyen } from '../support/signing-paypal-adyen-cashfree.ts';
import { eventually } from '../support/wait.ts';

/**
 * F18: one payment is told in several events: under other event ids, in events of other types, by webhook and by the
 * provider's API. It is credited once: what counts is the payment, never the event.
 */
const SERVED: readonly ServedProvider[] = ['stripe', 'dodo', 'razorpay'];
const HOUR_MS = 3_600_000;

let app: TestApp;
let worker: Worker;
let apis: ReadonlyMap<ServedProvider, ProviderApiServer>;

beforeAll(async () => {
  const servers = await Promise.all(SERVED.map((provider) => ProviderApiServer.start(provider)));
  apis = new Map(SERVED.flatMap((provider, index) => (servers[index] ? [[provider, servers[index]]] : [])));
  const environment = { ...ALL_SOURCES, ...Object.fromEntries([...apis].flatMap(apiVariables)) };
  app = await startTestApp({ environment, providers: ADAPTERS });
  worker = await startTestWorker(app, environment);
});

afterAll(async () => {
  await worker.close();
  await expectBooksToAgree(app.database.pool);
  await app.close();
  await Promise.all([...apis.values()].map((api) => api.close()));
});

function apiVariables([provider, { url }]: readonly [ServedProvider, ProviderApiServer]): [string, string][] {
  const name = provider.toUpperCase();
  return [
    [`${name}_API_KEY`, API_KEYS[provider]],
    [`${name}_API_URL`, url],
  ];
}

async function deliver(provider: ProviderName, body: string): Promise<void> {
  const headers = { authorization: '', ...signed(providerOf(provider), body) };
  const { status, body: answer } = await app.call('POST', `/webhooks/${provider}`, body, headers);
  expect({ status, answer }).toEqual({ status: 200, answer: { received: true } });
}

/** The payment in another event: of another id, and of other bytes where the bytes are the id. */
function toldAgain(provider: ProviderName, customerId: string, paymentId: string, time: number): string {
  const body = providerOf(provider).payment(customerId, paymentId);
  return provider === 'adyen' ? body : JSON.stringify({ ...JSON.parse(body), time });
}

async function entriesOf(customerId: string): Promise<unknown[]> {
  const { rows } = await app.database.pool.query(
    'select event_type, amount from entry where customer_id = $1 order by currency, seq',
    [customerId],
  );
  return rows;
}

const CREDITED = { event_type: 'payment', amount: PAID_MINOR };

/** The fixture that the payments of the table are made of, and the fixtures of events that tell of the same payment. */
const SIBLINGS: Readonly<Record<ProviderName, readonly [string, ...string[]]>> = {
  stripe: [
    'payment_intent.succeeded',
    'payment_intent.created',
    'payment_intent.processing',
    'charge.succeeded',
    'checkout.session.completed',
    'invoice.paid',
  ],
  dodo: ['payment.succeeded', 'payment.processing'],
  razorpay: ['payment.captured', 'payment.authorized', 'order.paid'],
  paddle: ['transaction.completed', 'transaction.created', 'transaction.paid'],
  polar: ['order.paid', 'order.created', 'order.updated', 'checkout.updated'],
  lemonsqueezy: ['order_created', 'subscription_payment_success.initial', 'subscription_created'],
  paypal: ['PAYMENT.CAPTURE.COMPLETED'],
  adyen: ['AUTHORISATION', 'CAPTURE', 'PENDING'],
  cashfree: ['PAYMENT_SUCCESS_WEBHOOK', 'PAYMENT_CHARGES_WEBHOOK', 'PAYMENT_USER_DROPPED_WEBHOOK'],
};

type Leaf = string | number;

function leaves(value: unknown, path = ''): [string, Leaf][] {
  if (typeof value === 'string' || typeof value === 'number') return [[path, value]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, `${path}/${name}`));
}

/** Everything that was put into the payment's fixture, put into another one wherever it has the same. */
function siblingOf(provider: ProviderName, payment: string, name: string): string {
  const [own] = SIBLINGS[provider];
  const is = new Map(leaves(JSON.parse(payment)));
  const changes = new Map(leaves(providerFixture(provider, own)).map(([path, was]) => [was, is.get(path)]));
  const inTestMode = (key: string, value: unknown) => (key === 'test_mode' ? true : value);
  const text = JSON.stringify(providerFixture(provider, name), (key, value) =>
    inTestMode(key, changes.get(value) ?? value),
  );
  expect(text).not.toBe(JSON.stringify(providerFixture(provider, name)));
  return provider === 'adyen' ? signAdyen(JSON.parse(text) as JsonObject) : text;
}

/** Other events of a payment. The fixtures of PayPal's captures are of different ones. */
function siblingsOf({ provider, payment }: SignedProvider, customerId: string, paymentId: string): readonly string[] {
  if (provider === 'paypal') return [paypalCapture({ type: 'PENDING', paymentId, customId: customerId })];
  const [, ...names] = SIBLINGS[provider];
  return names.map((name) => siblingOf(provider, payment(customerId, paymentId), name));
}

describe.each(SIGNED_PROVIDERS)('$provider', (one) => {
  const { provider, payment } = one;

  it('one payment in twenty events at once, each delivered twice, is credited once', async () => {
    const customerId = await app.newCustomer();
    const paymentId = `pay_many_${provider}`;
    const bodies = Array.from({ length: 20 }, (_, time) => toldAgain(provider, customerId, paymentId, time));
    await Promise.all([...bodies, ...bodies].map((body) => deliver(provider, body)));
    await eventsToSettle(app);
    expect(await entriesOf(customerId)).toEqual([CREDITED]);
    const { rows } = await app.database.pool.query(
      `select e.state, count(*) from provider_event e join payment p using (merchant_id, source_id, payment_id)
       where p.customer_id = $1 group by 1`,
      [customerId],
    );
    // The signature of Adyen's covers no id of the event, so there what it signs is the event.
    expect(rows).toEqual([{ state: 'applied', count: provider === 'adyen' ? 1 : 20 }]);
  });

  it.each(['before', 'after'])(
    'one payment in events of all types, with the others %s it, is credited once',
    async (when) => {
      const customerId = await app.newCustomer();
      const paymentId = `pay_${when}_${provider}`;
      const own = payment(customerId, paymentId);
      const others = siblingsOf(one, customerId, paymentId);
      const inOrder = when === 'before' ? [...others, own] : [own, ...others];
      for (const body of [...inOrder, ...inOrder]) await deliver(provider, body);
      await eventsToSettle(app);
      expect(await entriesOf(customerId)).toEqual([CREDITED]);
      expect((await app.call('GET', '/events?status=parked')).body.items).toEqual([]);
    },
  );
});

describe.concurrent('by webhook and by the provider’s API', () => {
  it.each(SERVED)(
    '%s: a payment is credited once, whichever comes first, and when they come at once',
    async (provider) => {
      const api = apis.get(provider);
      const count = 30;
      const customers = await Promise.all(Array.from({ length: count }, () => app.newCustomer()));
      const deliveries = customers.map((customerId, index) => async () => {
        const paymentId = `pay_both_${provider}_${index}`;
        const bodies = [1, 2].map((time) => toldAgain(provider, customerId, paymentId, time));
        await Promise.all(bodies.map((body) => deliver(provider, body)));
      });
      for (const [index, customerId] of customers.entries()) {
        const { currency } = providerOf(provider);
        const id = `pay_both_${provider}_${index}`;
        const metadata = { wallet_customer_id: customerId };
        api?.addPayment({ id, amount: PAID_MINOR, currency, metadata, createdAt: new Date(Date.now() - HOUR_MS) });
      }
      const third = (n: number) => deliveries.filter((_, index) => index % 3 === n).map((all) => all());
      await Promise.all(third(0));
      const [run] = await Promise.all([reconcile(provider), ...third(1)]);
      expect(run).toMatchObject({ status: 'finished', problem: null, missing: 0, differing: 0, unknown: 0 });
      expect(run.healed + run.matched).toBe(count);
      expect(run.healed).toBeGreaterThanOrEqual(count / 3);
      await Promise.all(third(2));
      await eventsToSettle(app);
      for (const customerId of customers) expect(await entriesOf(customerId)).toEqual([CREDITED]);
      expect(await reconcile(provider)).toMatchObject({ status: 'finished', healed: 0, matched: count });
    },
  );
});

async function reconcile(provider: ServedProvider) {
  const since = new Date(Date.now() - 2 * HOUR_MS).toISOString();
  const { status, body } = await app.call('POST', '/reconciliation', { source_id: `src_${provider}`, since });
  expect(status).toBe(200);
  return eventually('the reconciliation to end', async () => {
    const { body: run } = await app.call('GET', `/reconciliation/${body.run_id}`);
    return run.status !== 'running' && run;
  });
}
