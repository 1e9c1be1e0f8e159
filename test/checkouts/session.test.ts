import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { StripeCharging } from '../support/stripe-charging.ts';

const KEY = 'rk_test_charging0123456789';
const SESSION = {
  ...{ source_id: 'src_stripe', success_url: 'https://shop.example/paid', cancel_url: 'https://shop.example/cart' },
  description: 'Two lamps',
};
let now = new Date();
let stripe: StripeCharging;
let app: TestApp;
let keys = 0;

beforeAll(async () => {
  stripe = new StripeCharging(KEY);
  stripe.now = () => Math.floor(now.getTime() / 1000);
  const environment = { STRIPE_API_URL: await stripe.start(), STRIPE_CHARGING_KEY: KEY };
  app = await startTestApp({ environment, clock: { now: () => now } });
});
afterEach(() => {
  stripe.plays.length = 0;
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
  await stripe.stop();
});

async function shopper(balance: number) {
  const id = await app.newCustomer();
  const call = (method: string, path: string, body?: object) => app.call(method, `/customers/${id}${path}`, body);
  await call('POST', '/wallets/ledger-entries', { amount: balance, currency: 'USD', entry_type: 'credit' });
  keys += 1;
  const asked = { total: 5000, currency: 'USD', idempotency_key: `s${keys}`, session: SESSION };
  return {
    id,
    call,
    open: (more: object = {}) => call('POST', '/checkouts', { ...asked, ...more }),
    held: async () => (await call('GET', '/wallets/USD')).body.held,
  };
}

describe('a page of the provider', () => {
  it('is asked for once what is held is durable, over what is left, until 15 minutes before the hold ends', async () => {
    const ada = await shopper(2000);
    let held = 0;
    stripe.plays.push(async () => {
      held = await ada.held();
    });
    const { status, body } = await ada.open();
    const session = stripe.sessions.at(-1);
    expect([status, held]).toEqual([200, 2000]);
    expect(body).toMatchObject({ status: 'open', payment_part: 3000, payment: { url: session?.url, amount: 3000 } });
    expect(session).toMatchObject({
      ...{ amount: 3000, currency: 'usd', name: 'Two lamps', successUrl: SESSION.success_url },
      cancelUrl: SESSION.cancel_url,
      metadata: { wallet_customer_id: ada.id, wallet_checkout_id: body.checkout_id },
      expiresAt: Math.floor(now.getTime() / 1000) + 3600,
    });
    expect(Date.parse(body.expires_at) - now.getTime()).toBe((3600 + 900) * 1000);
    expect(stripe.keys.at(-1)).toBe(body.checkout_id);
    const again = await ada.open();
    expect([again.status, again.body.code, again.body.checkout.payment.url]).toEqual([
      409,
      'IDEMPOTENCY_KEY_EXISTS',
      session?.url,
    ]);
  });

  it.each(['lost', 'error', 'limited'] as const)(
    'that was not made (%s) leaves the checkout open, and the same request asks again',
    async (play) => {
      const ada = await shopper(2000);
      // More often than the adapter tries by itself.
      stripe.plays.push(...Array(8).fill(play));
      const failed = await ada.open();
      expect([failed.status, failed.body.code]).toEqual([503, 'PROVIDER_UNAVAILABLE']);
      const { checkout_id } = failed.body.checkout;
      expect(failed.body.checkout).toMatchObject({ status: 'open', wallet_part: 2000, payment: { url: null } });
      expect(await ada.held()).toBe(2000);
      stripe.plays.length = 0;
      if (play === 'error') stripe.forgetKeys();
      const asked = stripe.keys.length;
      const [one, two] = await Promise.all([ada.open(), ada.open()]);
      // Whoever comes second may find the page there already.
      const answers = [one, two].map(({ status, body }) => [status, (body.checkout ?? body).payment.url]);
      expect(answers).toContainEqual([200, stripe.sessions.at(-1)?.url]);
      expect(new Set(answers.map(([, url]) => url)).size).toBe(1);
      expect(new Set(stripe.keys.slice(asked))).toEqual(new Set([checkout_id]));
      expect((await ada.open()).status).toBe(409);
      expect((await ada.call('GET', `/checkouts/${checkout_id}`)).body.payment.url).toBe(stripe.sessions.at(-1)?.url);
      expect(await ada.held()).toBe(2000);
    },
  );

  it('is not asked for any more once it would have ended, though the job that ends the checkout has not been there', async () => {
    const ada = await shopper(2000);
    stripe.plays.push(...Array(8).fill('limited'));
    expect((await ada.open()).status).toBe(503);
    stripe.plays.length = 0;
    const asked = stripe.keys.length;
    for (const seconds of [3600, 900]) {
      now = new Date(now.getTime() + seconds * 1000);
      const again = await ada.open();
      expect([again.status, again.body.code]).toEqual([409, 'IDEMPOTENCY_KEY_EXISTS']);
      expect(again.body.checkout).toMatchObject({ status: 'open', payment: { url: null } });
    }
    expect(stripe.keys).toHaveLength(asked);
    now = new Date();
  });

  it('is not asked for where the wallet pays all, nor again once the checkout is cancelled', async () => {
    const ada = await shopper(6000);
    const asked = stripe.keys.length;
    expect((await ada.open()).body).toMatchObject({ status: 'completed', payment: null });
    const bob = await shopper(2000);
    stripe.plays.push(...Array(8).fill('limited'));
    const { checkout_id } = (await bob.open()).body.checkout;
    await bob.call('POST', `/checkouts/${checkout_id}/cancel`);
    stripe.plays.length = 0;
    const known = stripe.keys.length;
    const again = await bob.open();
    expect([again.status, again.body.checkout.status]).toEqual([409, 'cancelled']);
    expect(stripe.keys.slice(asked, known).every((key) => key === checkout_id)).toBe(true);
    expect(stripe.keys).toHaveLength(known);
  });

  it.each<[string, object]>([
    ['too short a time for a page', { expires_in_seconds: 1859 }],
    ['too long a time for a page', { expires_in_seconds: 86_341 }],
    ['no address', { session: { ...SESSION, success_url: 'shop' } }],
    ['an address that runs', { session: { ...SESSION, success_url: 'javascript:alert(1)' } }],
  ])('is refused with %s', async (_, wrong) => {
    const ada = await shopper(2000);
    const { status } = await ada.open(wrong);
    expect([status, await ada.held()]).toEqual([422, 0]);
  });

  it('lives as long as the provider allows', async () => {
    for (const expires_in_seconds of [1860, 86_340]) {
      const ada = await shopper(2000);
      expect((await ada.open({ expires_in_seconds })).status).toBe(200);
    }
    now = new Date();
  });
});
