import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { startWorker, type Worker } from '../../jobs/worker.ts';
import { stripeCharger } from '../../src/charging/stripe.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { Secret } from '../../src/crypto/secret.ts';
import type { ListedKind } from '../../src/providers/shared/api.ts';
import { connectStripe } from '../../src/providers/stripe/api.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { stripeAccount } from '../support/provider-api-dialects.ts';
import { API_KEYS } from '../support/provider-api-server.ts';
import { RecordingProxy } from '../support/recording-proxy.ts';
import { ENCRYPTION_KEY } from '../support/secrets.ts';
import { STRIPE_SECRET, signStripe, stripeDispute, stripePayment, stripeRefund } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';
import { startTool, type Tool } from './tool.ts';

/**
 * Against Stripe's own stripe-mock, which validates each request by Stripe's OpenAPI description (a parameter that Stripe
 * does not have is answered 400) and answers with Stripe's own fixtures, whatever it is asked for. So what is compared
 * here is forms, not amounts.
 */

const { STRIPE_MOCK_URL, STRIPE_MOCK_BINARY } = process.env;
const KINDS: readonly ListedKind[] = ['payment', 'refund', 'dispute'];
const ROUTES = ['/v1/payment_intents', '/v1/refunds', '/v1/disputes'] as const;
const HOUR_MS = 3_600_000;

let mock: Tool | undefined;
let proxy: RecordingProxy;

beforeAll(async () => {
  if (STRIPE_MOCK_URL === undefined && STRIPE_MOCK_BINARY !== undefined) {
    const free = '127.0.0.1:0';
    const args = ['-http-addr', free, '-https-addr', free];
    mock = await startTool(STRIPE_MOCK_BINARY, args, /Listening for HTTP at address: (\S+)/);
  }
  proxy = await RecordingProxy.start(STRIPE_MOCK_URL ?? `http://${mock?.found}`);
});

afterEach(() => {
  proxy.exchanges.length = 0;
});

afterAll(async () => {
  await proxy.close();
  await mock?.stop();
});

/** Every request passed its validator. */
function expectAccepted(): void {
  const refused = proxy.exchanges.filter(({ status }) => status !== 200);
  expect(refused.map(({ path, status, answer }) => `${path}: ${status} ${answer}`)).toEqual([]);
}

const asked = (): ReadonlySet<string> =>
  new Set(proxy.exchanges.map(({ path }) => path.replace(/\?.*$/, '').replace(/(?<=s)\/.+$/, '/:id')));

it('is asked in earnest: what Stripe does not have is refused', async () => {
  const answer = await fetch(`${proxy.url}/v1/refunds?paid_by=ada`, {
    headers: { authorization: `Bearer ${API_KEYS.stripe}` },
  });
  expect(answer.status).toBe(400);
});

it.each(KINDS)('lists and retrieves a %s by requests that Stripe takes, and reads its answers', async (kind) => {
  const api = connectStripe({ apiKey: new Secret(API_KEYS.stripe), mode: 'test', baseUrl: proxy.url });
  const window = { since: new Date('2026-10-28T00:00:00Z'), until: new Date('2026-10-29T00:00:00Z') };
  const first = await api.list(kind, window, null);
  const next = await api.list(kind, window, 'obj_before');
  const one = await api.retrieve(kind, 'obj_1');
  expectAccepted();
  expect(proxy.exchanges).toHaveLength(kind === 'payment' ? 6 : 3);
  for (const { listed } of [first, next]) expect(listed).toEqual([expect.objectContaining({ kind })]);
  expect(one).toEqual({ ...first.listed[0], objectId: 'obj_1', body: expect.any(Buffer) });
});

it('says whose account the key opens, and the double answers alike', async () => {
  const account = { apiKey: new Secret(API_KEYS.stripe), mode: 'test', baseUrl: proxy.url } as const;
  expect(await connectStripe(account).account?.(5_000)).toMatch(/^acct_\w+$/);
  expectAccepted();
  const [exchange] = proxy.exchanges;
  const answered: unknown = JSON.parse(exchange?.answer ?? '');
  const names = Object.keys(stripeAccount('acct_1'));
  expect(answered).toMatchObject(Object.fromEntries(names.map((name) => [name, expect.anything()])));
});

it('takes every request of a whole reconciliation, which comes to its end', async () => {
  const environment = {
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    STRIPE_API_KEY: API_KEYS.stripe,
    STRIPE_API_URL: proxy.url,
    ENCRYPTION_KEY,
  };
  const app = await startTestApp({ environment });
  const worker = await startWorker({
    config: loadConfig(environment),
    databaseUrl: app.database.workerUrl,
    logger: createLogger('silent', 'test'),
    clock: systemClock,
  });
  try {
    await leaveUnfinished(app);
    expect(await reconcile(app)).toMatchObject({ status: 'finished', problem: null });
    expectAccepted();
    expect(asked()).toEqual(
      new Set(['/v1/account', '/v1/events', ...ROUTES.flatMap((route) => [route, `${route}/:id`])]),
    );
    await expectBooksToAgree(app.database.pool);
  } finally {
    await close(worker, app);
  }
});

/** Of every kind one that is not decided, older than the comparison's window: so each is asked for by its id. */
async function leaveUnfinished(app: TestApp): Promise<void> {
  const customer = await app.newCustomer();
  const metadata = { wallet_customer_id: customer };
  const bodies = [
    stripePayment({ type: 'processing', paymentId: 'pi_open', metadata }),
    stripePayment({ paymentId: 'pi_paid', currency: 'usd', metadata }),
    stripeRefund({ paymentId: 'pi_paid', refundId: 're_open', currency: 'usd', amount: 100, status: 'pending' }),
    stripeDispute({ paymentId: 'pi_paid', disputeId: 'du_open', currency: 'usd', amount: 100 }),
  ];
  for (const body of bodies) {
    expect((await app.call('POST', '/webhooks/stripe', body, { ...signStripe(body) })).status).toBe(200);
  }
  await eventually('the webhooks to be applied', async () => {
    const { rows } = await app.database.pool.query("select 1 from provider_event where state <> 'applied'");
    return rows.length === 0;
  });
  await app.database.pool.query("update payment set created_at = now() - interval '3 days'");
  await app.database.pool.query("update payment_part set created_at = now() - interval '3 days'");
}

async function reconcile(app: TestApp): Promise<unknown> {
  const since = new Date(Date.now() - 24 * HOUR_MS).toISOString();
  const started = await app.call('POST', '/reconciliation', { source_id: 'src_stripe', since });
  expect(started.status).toBe(200);
  return eventually(
    'the reconciliation to end',
    async () => {
      const { body } = await app.call('GET', `/reconciliation/${started.body.run_id}`);
      return body.status !== 'running' && body;
    },
    90_000,
  );
}

async function close(worker: Worker, app: TestApp): Promise<void> {
  await worker.close();
  await app.close();
}

it('charges a saved payment method, and lists what was charged', async () => {
  const charger = stripeCharger({ apiKey: new Secret(API_KEYS.stripe), mode: 'test', baseUrl: proxy.url });
  const metadata = { wallet_customer_id: 'cus_a', wallet_purpose: 'topup', wallet_topup_id: 'top_a' };
  const request = { amount: 2000, currency: 'USD', customerId: 'cus_s', methodId: 'pm_card', metadata };
  // Its PaymentIntents are of no status that a confirmed one ends in, which counts as declined.
  expect(await charger.chargeSaved(request, 'top_a')).toMatchObject({ paymentId: expect.stringMatching(/^pi_/) });
  await charger.findMethod('cus_s', null, 'USD');
  await charger.findMethod('cus_s', 'pm_card', 'USD');
  expect(await charger.findCharge({ ...request, topUpId: 'top_a', since: new Date() })).toBeNull();
  expectAccepted();
});

it('opens a page to pay at, and reads where it is', async () => {
  const charger = stripeCharger({ apiKey: new Secret(API_KEYS.stripe), mode: 'test', baseUrl: proxy.url });
  const answer = await charger.createSession({
    ...{ orderId: 'chk_a', amount: 3000, currency: 'USD', description: 'An order' },
    metadata: { wallet_customer_id: 'cus_a', wallet_checkout_id: 'chk_a' },
    ...{ successUrl: 'https://shop.example/done', cancelUrl: 'https://shop.example/cart' },
    expiresAt: new Date(Date.now() + HOUR_MS),
  });
  expectAccepted();
  expect(proxy.exchanges).toHaveLength(1);
  expect(answer).toMatchObject({ kind: 'made', sessionId: expect.stringMatching(/^cs_/) });
});
