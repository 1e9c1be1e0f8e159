import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import {
  bearer,
  eventsToSettle,
  newSecretOf,
  type Operator,
  operatorOf,
  type Shop,
  sourcesPath,
  startTestWorker,
} from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import {
  RAZORPAY_SECRET,
  razorpayRefund,
  signRazorpay,
  signStripe,
  stripePaymentSucceeded,
} from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** One account at a provider is one source: its payments are credited once, whoever is told of them. */

let app: TestApp;
let operator: Operator;
let worker: Worker;
const logged: string[] = [];

beforeAll(async () => {
  app = await startTestApp({ logger: createLogger('warn', 'test', { write: (line) => logged.push(line) }) });
  operator = operatorOf(app);
  worker = await startTestWorker(app);
});
afterAll(async () => {
  await worker.close();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const captured = (accountId: string | null, paymentId: string, customerId: string, amount = 10_000) =>
  JSON.stringify({
    ...{ entity: 'event', event: 'payment.captured', created_at: 1_790_000_000 },
    ...(accountId === null ? {} : { account_id: accountId }),
    payload: {
      payment: {
        entity: {
          ...{ id: paymentId, amount, currency: 'INR', status: 'captured', captured: true, customer_id: null },
          ...{ email: 'void@razorpay.com', notes: { wallet_customer_id: customerId } },
        },
      },
    },
  });

async function send(shop: Pick<Shop, 'source' | 'secret'>, body: string): Promise<void> {
  const headers = { authorization: '', ...signRazorpay(body, shop.secret) };
  expect((await app.call('POST', shop.source.webhook_path, body, headers)).status).toBe(200);
  await eventsToSettle(app);
}
const rupees = async ({ key, customerId }: Pick<Shop, 'key' | 'customerId'>): Promise<number> =>
  (await app.call('GET', `/customers/${customerId}/wallets/INR`, undefined, key)).body.balance;
const parked = async ({ key }: Pick<Shop, 'key'>) =>
  (await app.call('GET', '/events?status=parked', undefined, key)).body.items;

/** Another source of the shop's merchant. */
async function secondSource(shop: Shop, body: object = {}): Promise<Shop> {
  const secret = newSecretOf('razorpay');
  const source = await operator.newSource(shop.merchantId, 'razorpay', { webhook_secret: secret, ...body });
  return { ...shop, source, secret, path: `${sourcesPath(shop.merchantId)}/${source.source_id}` };
}

describe('a webhook secret', () => {
  it('of another source is refused, which is named to its own merchant alone', async () => {
    const shop = await operator.newShop('razorpay');
    const create = (merchantId: string, webhook_secret: string) =>
      operator.call('POST', sourcesPath(merchantId), { provider: 'razorpay', name: 'again', webhook_secret });
    const again = await create(shop.merchantId, shop.secret);
    expect(again).toMatchObject({
      status: 409,
      body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE', source_id: shop.source.source_id },
    });
    const other = await operator.newMerchant();
    const stolen = await create(other, shop.secret);
    expect(stolen).toMatchObject({ status: 409, body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE' } });
    expect(JSON.stringify(stolen.body)).not.toContain(shop.source.source_id);
    // The environment's source is one as well.
    expect(await create(other, RAZORPAY_SECRET)).toMatchObject({ status: 409 });
    expect((await operator.call('GET', sourcesPath(other))).body.items).toEqual([]);
    // At its own source, and at one of another provider, the secret is no other account's.
    expect((await operator.call('POST', `${shop.path}/webhook-secrets`, { webhook_secret: shop.secret })).status).toBe(
      200,
    );
    expect(await operator.newSource(other, 'cashfree', { webhook_secret: shop.secret })).toMatchObject({
      enabled: true,
    });
    const added = await operator.newSource(other, 'razorpay');
    const path = `${sourcesPath(other)}/${added.source_id}/webhook-secrets`;
    expect(await operator.call('POST', path, { webhook_secret: shop.secret })).toMatchObject({ status: 409 });
  });

  it('is found though an earlier release stored it without a hash, and of two that are set at once one is refused', async () => {
    const shop = await operator.newShop('razorpay');
    await app.database.pool.query('update source_secret set keyed_hash = null where merchant_id = $1', [
      shop.merchantId,
    ]);
    const secret = newSecretOf('razorpay');
    const create = (webhook_secret: string) =>
      operator.call('POST', sourcesPath(shop.merchantId), { provider: 'razorpay', name: 'again', webhook_secret });
    expect((await create(shop.secret)).status).toBe(409);
    const statuses = (await Promise.all([create(secret), create(secret), create(secret)])).map((one) => one.status);
    expect(statuses.sort()).toEqual([200, 409, 409]);
  });
});

describe('the account of a source', () => {
  it('is the one that its first event names; an event of another is parked and moves nothing', async () => {
    const shop = await operator.newShop('razorpay');
    await send(shop, captured('acc_A', 'pay_own', shop.customerId));
    await send(shop, captured('acc_B', 'pay_foreign', shop.customerId));
    await send(shop, captured(null, 'pay_silent', shop.customerId, 500));
    expect(await rupees(shop)).toBe(10_500);
    expect(await parked(shop)).toMatchObject([
      { reason: 'foreign_account', payment_id: 'pay_foreign', detail: 'the event is of acc_B' },
    ]);
    expect((await app.call('GET', '/payments/pay_foreign', undefined, shop.key)).status).toBe(404);
    expect((await operator.call('GET', shop.path)).body.accounts).toEqual(['acc_A']);

    // Once the operator adds the account, the event is applied.
    expect((await operator.call('PATCH', shop.path, { accounts: ['acc_A', 'acc_B'] })).status).toBe(200);
    const [event] = await parked(shop);
    await app.call('POST', `/events/${event.event_id}/replay`, {}, shop.key);
    await eventsToSettle(app);
    expect(await rupees(shop)).toBe(20_500);
  });

  it('belongs to one source alone: a payment that two sources are told of is credited once', async () => {
    const shop = await operator.newShop('razorpay');
    const second = await secondSource(shop);
    await send(shop, captured('acc_C', 'pay_twice', shop.customerId));
    await send(second, captured('acc_C', 'pay_twice', shop.customerId));
    expect(await rupees(shop)).toBe(10_000);
    expect(await parked(shop)).toMatchObject([
      {
        reason: 'foreign_account',
        detail: `the event is of acc_C, which is the account of ${shop.source.source_id}`,
      },
    ]);
    const named = await operator.call('PATCH', second.path, { accounts: ['acc_C'] });
    expect(named).toMatchObject({
      status: 409,
      body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE', source_id: shop.source.source_id },
    });
    // Another merchant hears neither which source nor whose.
    const stranger = await operator.newShop('razorpay');
    await send(stranger, captured('acc_C', 'pay_thrice', stranger.customerId));
    expect(await rupees(stranger)).toBe(0);
    expect(await parked(stranger)).toMatchObject([{ reason: 'foreign_account', detail: 'the event is of acc_C' }]);
  });

  it('that another merchant claimed by an event of his own making is given back by the operator', async () => {
    const [thief, owner] = [await operator.newShop('razorpay'), await operator.newShop('razorpay')];
    await send(thief, captured(null, 'pay_before', thief.customerId, 100));
    await send(owner, captured('acc_H', 'pay_known', owner.customerId));
    // To have been there before is of no use against another merchant.
    await send(thief, captured('acc_H', 'pay_shared', thief.customerId));
    expect(await rupees(thief)).toBe(100);
    await send(thief, captured('acc_I', 'pay_claimed', thief.customerId));
    await send(owner, captured('acc_I', 'pay_held', owner.customerId));
    expect(await rupees(owner)).toBe(10_000);
    expect((await operator.call('PATCH', owner.path, { accounts: ['acc_H', 'acc_I'] })).status).toBe(200);
    const [event] = await parked(owner);
    await app.call('POST', `/events/${event.event_id}/replay`, {}, owner.key);
    await send(thief, captured('acc_I', 'pay_again', thief.customerId));
    expect(await rupees(owner)).toBe(20_000);
    expect(await rupees(thief)).toBe(10_100);
  });

  it('may have two sources that were there before accounts were known: a payment belongs to the first to post it', async () => {
    const shop = await operator.newShop('razorpay');
    const second = await secondSource(shop);
    // Events without an account stand for those that the release before applied.
    await send(shop, captured(null, 'pay_old_first', shop.customerId, 100));
    await send(second, captured(null, 'pay_old_second', shop.customerId, 100));
    await send(shop, captured('acc_D', 'pay_1', shop.customerId));
    await send(second, captured('acc_D', 'pay_1', shop.customerId));
    await send(second, captured('acc_D', 'pay_2', shop.customerId));
    await send(shop, captured('acc_D', 'pay_2', shop.customerId));
    expect(await rupees(shop)).toBe(20_200);
    expect(await parked(shop)).toMatchObject([
      { reason: 'known_at_another_source', detail: `the payment is known at ${second.source.source_id}` },
      { reason: 'known_at_another_source', detail: `the payment is known at ${shop.source.source_id}` },
    ]);
  });

  it('may have been told a payment by two sources that both posted it: both go on taking back, and neither adopts the other', async () => {
    const shop = await operator.newShop('razorpay');
    const second = await secondSource(shop);
    // As above: without an account, as the release before posted it twice.
    for (const one of [shop, second]) await send(one, captured(null, 'pay_posted_twice', shop.customerId));
    expect(await rupees(shop)).toBe(20_000);
    await send(shop, captured('acc_J', 'pay_learns_first', shop.customerId, 100));
    await send(second, captured('acc_J', 'pay_learns_second', shop.customerId, 100));
    const refund = (refundId: string, amount: number) =>
      JSON.stringify({
        ...JSON.parse(razorpayRefund({ paymentId: 'pay_posted_twice', refundId, amount, currency: 'INR' })),
        account_id: 'acc_J',
      });
    for (const one of [shop, second, shop]) await send(one, refund('rfnd_part', 4000));
    expect(await rupees(shop)).toBe(12_200);
    for (const one of [second, shop]) await send(one, refund('rfnd_rest', 6000));
    expect(await rupees(shop)).toBe(200);
    expect(await parked(shop)).toEqual([]);
    const adopt = await operator.call('POST', `${second.path}/adopt`, { from: shop.source.source_id, dry_run: false });
    expect(adopt).toMatchObject({ status: 409, body: { message: expect.stringContaining('pay_posted_twice') } });
  });

  it('of Stripe is never learnt: an event of Connect is parked unless its account was named', async () => {
    const shop = await operator.newShop('stripe');
    const deliver = async (paymentId: string, account: object) => {
      const body = JSON.stringify({
        ...JSON.parse(
          stripePaymentSucceeded({
            ...{ paymentId, amount: 700, currency: 'usd' },
            metadata: { wallet_customer_id: shop.customerId },
          }),
        ),
        ...account,
      });
      const headers = { authorization: '', ...signStripe(body, shop.secret) };
      expect((await app.call('POST', shop.source.webhook_path, body, headers)).status).toBe(200);
      await eventsToSettle(app);
    };
    const dollars = async () =>
      (await app.call('GET', `/customers/${shop.customerId}/wallets/USD`, undefined, shop.key)).body.balance;
    await deliver('pi_own', {});
    await deliver('pi_connected', { account: 'acct_connected' });
    await deliver('pi_context', { context: 'acct_connected' });
    await deliver('pi_unreadable', { account: 'acct_\0' });
    await deliver('pi_object', { context: {} });
    expect(await dollars()).toBe(700);
    expect((await parked(shop)).map((one: { reason: string }) => one.reason)).toEqual(Array(4).fill('foreign_account'));
    await operator.call('PATCH', shop.path, { accounts: ['acct_connected'] });
    await deliver('pi_named', { account: 'acct_connected' });
    expect(await dollars()).toBe(1400);
  });

  it.each(['acc_\0', 'acc_\ud800', 'a'.repeat(201), ''])(
    'that no database can hold (%j) is none: its event is applied at once, and teaches nothing',
    async (account) => {
      const shop = await operator.newShop('razorpay');
      await send(
        shop,
        captured(account, `pay_odd_account_${account.length}_${account.codePointAt(4)}`, shop.customerId),
      );
      expect(await rupees(shop)).toBe(10_000);
      const learnt = await app.database.pool.query('select 1 from source_account where source_id = $1', [
        shop.source.source_id,
      ]);
      expect(learnt.rowCount).toBe(0);
      const failed = await app.database.pool.query(
        "select 1 from pgboss.job where name in ('apply-provider-event', 'apply-provider-events') and (retry_count > 0 or state in ('retry', 'failed'))",
      );
      expect(failed.rowCount).toBe(0);
    },
  );

  it('is taken by one of many events that come at once', async () => {
    const shop = await operator.newShop('razorpay');
    const second = await secondSource(shop);
    const { key } = await operator.newKey(shop.merchantId);
    await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const one = n % 2 === 0 ? shop : second;
        const body = captured('acc_E', `pay_race_${Math.floor(n / 2)}`, shop.customerId, 100);
        await app.call('POST', one.source.webhook_path, body, { authorization: '', ...signRazorpay(body, one.secret) });
      }),
    );
    await eventsToSettle(app);
    expect(await rupees({ ...shop, key: bearer(key) })).toBe(1000);
    expect(await parked(shop)).toHaveLength(10);
  });
});

describe('a source that takes the place of another', () => {
  it('adopts it by the operator’s route: the worker moves its payments, whose refunds then find them', async () => {
    const shop = await operator.newShop('razorpay');
    const second = await secondSource(shop);
    await send(shop, captured('acc_F', 'pay_moved', shop.customerId));
    const adopt = (dry_run: boolean) =>
      operator.call('POST', `${second.path}/adopt`, { from: shop.source.source_id, dry_run });
    const planned = {
      from: shop.source.source_id,
      into: second.source.source_id,
      payments: 1,
      events: 1,
      accounts: ['acc_F'],
    };
    expect(await adopt(true)).toMatchObject({ status: 200, body: { ...planned, status: 'planned' } });
    expect(await adopt(false)).toMatchObject({ status: 200, body: { ...planned, status: 'started' } });
    await eventually('the payments to be moved', async () => (await adopt(true)).body.payments === 0);
    const refund = razorpayRefund({ paymentId: 'pay_moved', amount: 10_000, currency: 'INR', customer: null });
    await send(second, JSON.stringify({ ...JSON.parse(refund), account_id: 'acc_F' }));
    expect(await rupees(shop)).toBe(0);
    expect((await operator.call('GET', second.path)).body.accounts).toEqual(['acc_F']);
    expect((await operator.call('GET', shop.path)).body.accounts).toEqual([]);
    const stranger = await operator.newShop('razorpay');
    const taken = await operator.call('POST', `${stranger.path}/adopt`, { from: second.source.source_id });
    expect(taken).toMatchObject({ status: 404 });
  });
});
