import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { type Bearer, eventsToSettle, type Operator, operatorOf, startTestWorker } from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { dodoPayment, signDodo, signStripe, stripePaymentSucceeded } from '../support/signing.ts';

/** What really signed events do that come in by sources which the operator made. */

let app: TestApp;
let operator: Operator;
let worker: Worker;

beforeAll(async () => {
  app = await startTestApp();
  operator = operatorOf(app);
  // Events are applied without any secret: a worker that lacks the key must not park what was paid.
  worker = await startTestWorker(app, { ENCRYPTION_KEY: '' });
});
afterAll(async () => {
  await worker.close();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const send = (path: string, body: string, headers: Record<string, string>) =>
  app.call('POST', path, body, { authorization: '', ...headers });
const balance = async (key: Bearer, customerId: string): Promise<number> =>
  (await app.call('GET', `/customers/${customerId}/wallets/USD`, undefined, key)).body.balance;
const paid = (customerId: string, amount: number, paymentId: string) =>
  stripePaymentSucceeded({ paymentId, amount, currency: 'usd', metadata: { wallet_customer_id: customerId } });

describe('events of a source', () => {
  it('of Stripe and of Dodo credit a wallet of its merchant alone', async () => {
    const stripe = await operator.newShop('stripe');
    const dodo = await operator.newShop('dodo');
    const ours = await app.newCustomer();
    const first = paid(stripe.customerId, 700, 'pi_shop');
    expect((await send(stripe.source.webhook_path, first, signStripe(first, stripe.secret))).status).toBe(200);
    const metadata = { wallet_customer_id: dodo.customerId };
    const second = dodoPayment({ paymentId: 'pay_shop', amount: 900, currency: 'USD', metadata });
    expect((await send(dodo.source.webhook_path, second, signDodo(second, dodo.secret))).status).toBe(200);
    // A customer of another merchant is nobody here, however the metadata names her.
    const third = paid(ours, 500, 'pi_foreign_customer');
    expect((await send(stripe.source.webhook_path, third, signStripe(third, stripe.secret))).status).toBe(200);
    await eventsToSettle(app);
    expect(await balance(stripe.key, stripe.customerId)).toBe(700);
    expect(await balance(dodo.key, dodo.customerId)).toBe(900);
    expect((await app.call('GET', `/customers/${ours}/wallets/USD`)).body.balance).toBe(0);
    const parked = await app.call('GET', '/events?status=parked', undefined, stripe.key);
    expect(parked.body.items).toMatchObject([{ reason: 'unknown_customer', source_id: stripe.source.source_id }]);
    expect((await app.call('GET', '/payments/pi_shop')).status).toBe(404);
  });

  it('of two merchants never meet, whatever ids the provider uses twice', async () => {
    const [a, b] = [await operator.newShop(), await operator.newShop()];
    const eventId = 'evt_the_same';
    for (const [shop, amount] of [
      [a, 1100],
      [b, 2200],
    ] as const) {
      const metadata = { wallet_customer_id: shop.customerId };
      const options = { eventId, paymentId: 'pi_the_same', amount, currency: 'usd', metadata };
      const body = stripePaymentSucceeded(options);
      for (let time = 0; time < 2; time += 1) {
        expect((await send(shop.source.webhook_path, body, signStripe(body, shop.secret))).status).toBe(200);
      }
    }
    await eventsToSettle(app);
    for (const [shop, amount] of [
      [a, 1100],
      [b, 2200],
    ] as const) {
      expect(await balance(shop.key, shop.customerId)).toBe(amount);
      const { body } = await app.call('GET', '/payments/pi_the_same', undefined, shop.key);
      expect(body.items).toMatchObject([
        {
          source_id: shop.source.source_id,
          business_id: shop.merchantId,
          customer_id: shop.customerId,
          credited: amount,
        },
      ]);
    }
  });

  it('are accepted under each of its secrets, and under none that was removed', async () => {
    const shop = await operator.newShop();
    const [oldest] = shop.source.secrets;
    const deliver = async (secret: string) => {
      const body = stripePaymentSucceeded();
      return (await send(shop.source.webhook_path, body, signStripe(body, secret))).status;
    };
    const newer = 'whsec_theNewerOfTwoSecrets';
    expect(await deliver(newer)).toBe(401);
    const added = await operator.call('POST', `${shop.path}/webhook-secrets`, { webhook_secret: newer });
    expect(added).toMatchObject({ status: 200, body: { secrets: [{ hint: '…rets' }, oldest] } });
    expect([await deliver(newer), await deliver(shop.secret)]).toEqual([200, 200]);
    const removed = await operator.call('DELETE', `${shop.path}/webhook-secrets/${oldest.secret_id}`);
    expect(removed).toMatchObject({ status: 200, body: { secrets: [{ hint: '…rets' }] } });
    expect([await deliver(newer), await deliver(shop.secret)]).toEqual([200, 401]);

    const [last] = removed.body.secrets;
    const only = await operator.call('DELETE', `${shop.path}/webhook-secrets/${last.secret_id}`);
    expect(only).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect((await operator.call('DELETE', `${shop.path}/webhook-secrets/sec_none`)).status).toBe(404);
    const add = (n: number) =>
      operator.call('POST', `${shop.path}/webhook-secrets`, { webhook_secret: `whsec_of_many_${n}` });
    const statuses = [];
    for (let n = 0; n < 5; n += 1) statuses.push((await add(n)).status);
    expect(statuses).toEqual([200, 200, 200, 200, 409]);
  });

  it('are refused with the secret of another source, and nothing is stored', async () => {
    const [a, b] = [
      await operator.newShop('stripe', { webhook_secret: 'whsec_of_the_first_merchant' }),
      await operator.newShop('stripe', { webhook_secret: 'whsec_of_the_second_merchant' }),
    ];
    const body = paid(b.customerId, 100, 'pi_forged');
    const headers = signStripe(body, 'whsec_of_the_first_merchant');
    expect(await send(b.source.webhook_path, body, headers)).toMatchObject({
      status: 401,
      body: { code: 'INVALID_SIGNATURE' },
    });
    expect((await send(a.source.webhook_path.replace('stripe', 'dodo'), body, headers)).status).toBe(404);
    for (const { key } of [a, b]) expect((await app.call('GET', '/events', undefined, key)).body.items).toEqual([]);
  });

  it('are turned away while it is disabled', async () => {
    const shop = await operator.newShop();
    const deliver = async () => {
      const body = paid(shop.customerId, 100, 'pi_enabled');
      return (await send(shop.source.webhook_path, body, signStripe(body, shop.secret))).status;
    };
    const statuses = [];
    for (const enabled of [false, true]) {
      await operator.call('PATCH', shop.path, { enabled });
      statuses.push(await deliver());
    }
    expect(statuses).toEqual([404, 200]);
    await eventsToSettle(app);
    expect(await balance(shop.key, shop.customerId)).toBe(100);
  });

  it('that are live are parked by a test source', async () => {
    const shop = await operator.newShop();
    const metadata = { wallet_customer_id: shop.customerId };
    const body = stripePaymentSucceeded({ amount: 700, currency: 'usd', metadata, livemode: true });
    await send(shop.source.webhook_path, body, signStripe(body, shop.secret));
    await eventsToSettle(app);
    const { body: parked } = await app.call('GET', '/events?status=parked', undefined, shop.key);
    expect(parked.items).toMatchObject([{ reason: 'wrong_mode', detail: 'the event is live, the source is test' }]);
    expect(await balance(shop.key, shop.customerId)).toBe(0);
  });

  it.each([
    ['create', 'applied', 'applied'],
    ['linked', 'parked', 'applied'],
    ['named', 'parked', 'parked'],
  ])('belong to whom the rule %s says', async (rule, ofStranger, ofKnown) => {
    const shop = await operator.newShop('stripe', { customer_link_rule: rule });
    const deliver = async (paymentId: string, customer: string, metadata: Record<string, string>) => {
      const body = stripePaymentSucceeded({ paymentId, amount: 100, currency: 'usd', customer, metadata });
      await send(shop.source.webhook_path, body, signStripe(body, shop.secret));
      await eventsToSettle(app);
    };
    await deliver('pi_stranger', 'cus_stranger', {});
    await deliver('pi_named', 'cus_known', { wallet_customer_id: shop.customerId });
    await deliver('pi_known', 'cus_known', {});
    const { body } = await app.call('GET', '/events', undefined, shop.key);
    const states = body.items.map((one: { payment_id: string; status: string }) => [one.payment_id, one.status]);
    expect(Object.fromEntries(states)).toEqual({ pi_stranger: ofStranger, pi_named: 'applied', pi_known: ofKnown });
    expect(await balance(shop.key, shop.customerId)).toBe(ofKnown === 'applied' ? 200 : 100);
  });
});
