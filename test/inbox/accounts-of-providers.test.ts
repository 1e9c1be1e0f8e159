import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import {
  eventsToSettle,
  newSecretOf,
  type Operator,
  operatorOf,
  type Shop,
  secretOf,
  sourcesPath,
  startTestWorker,
} from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { dodoPayment, type SignedHeaders, signDodo, signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { lemonSqueezyOrder, polarOrderPaid, signLemonSqueezy, signPolar } from '../support/signing-more.ts';
import {
  ADYEN_HEADERS,
  adyenDelivery,
  paypalCapture,
  signAdyen,
  signPaypal,
  testPaypal,
} from '../support/signing-paypal-adyen-cashfree.ts';

/** Whose account an event is of, at each provider that says so, from the delivery to the wallet. */

let app: TestApp;
let operator: Operator;
let worker: Worker;

const environment = {
  STRIPE_WEBHOOK_SECRET: secretOf('stripe'),
  STRIPE_ACCOUNT: 'acct_named',
  ADYEN_WEBHOOK_SECRET: secretOf('adyen'),
  ADYEN_ACCOUNTS: 'ShopEU,ShopUS',
};

beforeAll(async () => {
  app = await startTestApp({ environment, providers: { ...PROVIDERS, paypal: testPaypal() } });
  operator = operatorOf(app);
  worker = await startTestWorker(app, environment);
});
afterAll(async () => {
  await worker.close();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

interface Paid {
  readonly account: string | null;
  /** Counts the payments, since some ids are numbers. */
  readonly number: number;
  readonly customerId: string;
}

/** A payment of ten dollars as the provider tells it, signed with `secret`. */
interface Teller {
  readonly accounts: readonly [string, string, string];
  tell(paid: Paid, secret: string): { readonly body: string; readonly headers: SignedHeaders };
}

const MONEY = { amount: 1000, currency: 'USD' } as const;
const named = (customerId: string) => ({ wallet_customer_id: customerId });

const TELLERS = {
  dodo: {
    accounts: ['bus_first', 'bus_second', 'bus_shared'],
    tell: ({ account, number, customerId }, secret) => {
      const event = JSON.parse(dodoPayment({ paymentId: `pay_${number}`, ...MONEY, metadata: named(customerId) }));
      const body = JSON.stringify({ ...event, business_id: account });
      return { body, headers: signDodo(body, secret) };
    },
  },
  lemonsqueezy: {
    accounts: ['70001', '70002', '70003'],
    tell: ({ account, number, customerId }, secret) => {
      const event = JSON.parse(
        lemonSqueezyOrder({ resourceId: String(number), ...MONEY, customData: named(customerId), testMode: true }),
      );
      event.data.attributes.store_id = Number(account);
      const body = JSON.stringify(event);
      return { body, headers: signLemonSqueezy(body, secret) };
    },
  },
  polar: {
    accounts: ['org_first', 'org_second', 'org_shared'],
    tell: ({ account, number, customerId }, secret) => {
      const event = JSON.parse(
        polarOrderPaid({ paymentId: `ord_${number}`, amount: 1000, currency: 'usd', metadata: named(customerId) }),
      );
      const organization_id = account;
      const { product, customer } = event.data;
      const body = JSON.stringify({
        ...event,
        data: {
          ...event.data,
          ...{ product: { ...product, organization_id }, customer: { ...customer, organization_id } },
        },
      });
      return { body, headers: signPolar(body, secret) };
    },
  },
  adyen: {
    accounts: ['FirstECOM', 'SecondECOM', 'SharedECOM'],
    tell: ({ account, number, customerId }, secret) => {
      const item = { eventCode: 'AUTHORISATION', pspReference: `PSP${number}`, value: 1000, currency: 'USD' };
      const delivery = adyenDelivery([{ ...item, merchantReference: customerId }], secret);
      const body = signAdyen(JSON.parse(delivery.replaceAll('ChokinECOM', `${account}`)), secret);
      return { body, headers: ADYEN_HEADERS };
    },
  },
} as const satisfies Partial<Record<ProviderName, Teller>>;

let payments = 0;

async function send(path: string, { body, headers }: { body: string; headers: SignedHeaders }): Promise<void> {
  expect((await app.call('POST', path, body, { authorization: '', ...headers })).status).toBe(200);
  await eventsToSettle(app);
}
const dollars = async (customerId: string, key?: Shop['key']): Promise<number> =>
  (await app.call('GET', `/customers/${customerId}/wallets/USD`, undefined, key)).body.balance;
const parked = async (key?: Shop['key']) => (await app.call('GET', '/events?status=parked', undefined, key)).body.items;

describe.each(Object.keys(TELLERS) as (keyof typeof TELLERS)[])('an account of %s', (provider) => {
  const { accounts, tell }: Teller = TELLERS[provider];
  const [own, other, shared] = accounts;
  const next = (shop: Pick<Shop, 'customerId' | 'secret'>, account: string, number?: number) => {
    payments += 1;
    return tell({ account, number: number ?? payments, customerId: shop.customerId }, shop.secret);
  };

  it('is the first that its source is told of: what is of another is parked until that is added', async () => {
    const shop = await operator.newShop(provider);
    await send(shop.source.webhook_path, next(shop, own));
    await send(shop.source.webhook_path, next(shop, other));
    expect(await dollars(shop.customerId, shop.key)).toBe(1000);
    expect((await operator.call('GET', shop.path)).body.accounts).toEqual([own]);
    const [event, ...more] = await parked(shop.key);
    expect(more).toEqual([]);
    expect(event).toMatchObject({ reason: 'foreign_account', detail: `the event is of ${other}` });
    expect(event.payment_id).toContain(String(payments));
    expect((await app.call('GET', `/payments/${event.payment_id}`, undefined, shop.key)).status).toBe(404);

    expect((await operator.call('PATCH', shop.path, { accounts: [own, other] })).status).toBe(200);
    await app.call('POST', `/events/${event.event_id}/replay`, {}, shop.key);
    await eventsToSettle(app);
    expect(await dollars(shop.customerId, shop.key)).toBe(2000);
  });

  it('is one source’s: a payment that two are told of is credited once, and no other merchant takes it', async () => {
    const shop = await operator.newShop(provider);
    const secret = newSecretOf(provider);
    const source = await operator.newSource(shop.merchantId, provider, { webhook_secret: secret });
    const stranger = await operator.newShop(provider);
    await send(shop.source.webhook_path, next(shop, shared));
    const number = payments;
    await send(source.webhook_path, next({ ...shop, secret }, shared, number));
    await send(stranger.source.webhook_path, next(stranger, shared, number));
    expect([await dollars(shop.customerId, shop.key), await dollars(stranger.customerId, stranger.key)]).toEqual([
      1000, 0,
    ]);
    const detail = `the event is of ${shared}`;
    expect(await parked(shop.key)).toMatchObject([
      { reason: 'foreign_account', detail: `${detail}, which is the account of ${shop.source.source_id}` },
    ]);
    expect(await parked(stranger.key)).toMatchObject([{ reason: 'foreign_account', detail }]);
    const path = `${sourcesPath(shop.merchantId)}/${source.source_id}`;
    expect(await operator.call('PATCH', path, { accounts: [shared] })).toMatchObject({
      status: 409,
      body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE', source_id: shop.source.source_id },
    });
  });
});

describe('the account of the environment’s source', () => {
  const stripe = (paymentId: string, customerId: string, account: object, secret = secretOf('stripe')) => {
    const payment = stripePaymentSucceeded({
      ...{ paymentId, amount: 1000, currency: 'usd' },
      metadata: named(customerId),
    });
    const body = JSON.stringify({ ...JSON.parse(payment), ...account });
    return { body, headers: signStripe(body, secret) };
  };

  it('is the one that STRIPE_ACCOUNT names: of its own events and of those that carry it', async () => {
    const customer = await app.newCustomer();
    await send('/webhooks/stripe', stripe('pi_silent', customer, {}));
    await send('/webhooks/stripe', stripe('pi_named', customer, { account: 'acct_named' }));
    await send('/webhooks/stripe', stripe('pi_other', customer, { account: 'acct_other' }));
    expect(await dollars(customer)).toBe(2000);
    expect(await parked()).toMatchObject([
      { reason: 'foreign_account', payment_id: 'pi_other', detail: 'the event is of acct_other' },
    ]);
    // A second source of it is refused, and what that one is told of it is parked.
    const second = await operator.newShop('stripe');
    const refused = await operator.call('PATCH', second.path, { accounts: ['acct_named'] });
    expect(refused).toMatchObject({ status: 409, body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE' } });
    await send(
      second.source.webhook_path,
      stripe('pi_second', second.customerId, { account: 'acct_named' }, second.secret),
    );
    expect(await dollars(second.customerId, second.key)).toBe(0);
    expect(await parked(second.key)).toMatchObject([{ reason: 'foreign_account', payment_id: 'pi_second' }]);
  });

  it('is each that ADYEN_ACCOUNTS names, and no other', async () => {
    const customer = await app.newCustomer();
    for (const account of ['ShopEU', 'ShopUS', 'ShopAU']) {
      payments += 1;
      const paid = { account, number: payments, customerId: customer };
      await send('/webhooks/adyen', TELLERS.adyen.tell(paid, secretOf('adyen')));
    }
    expect(await dollars(customer)).toBe(2000);
    expect((await parked())[0]).toMatchObject({ reason: 'foreign_account', detail: 'the event is of ShopAU' });
  });
});

describe('the webhook id of PayPal, which is its account', () => {
  const capture = (paymentId: string, customId: string, webhookId: string) => {
    const body = paypalCapture({ paymentId, customId, value: '10.00', currency: 'USD' });
    return { body, headers: signPaypal(body, webhookId) };
  };

  it('may be a second one beside the first, and is no other source’s then', async () => {
    const shop = await operator.newShop('paypal');
    const second = newSecretOf('paypal');
    const toSecond = capture('capture_second', shop.customerId, second);
    await send(shop.source.webhook_path, capture('capture_first', shop.customerId, shop.secret));
    const deliver = () =>
      app.call('POST', shop.source.webhook_path, toSecond.body, { authorization: '', ...toSecond.headers });
    expect(await deliver()).toMatchObject({ status: 401, body: { code: 'INVALID_SIGNATURE' } });

    const path = `${shop.path}/webhook-secrets`;
    expect((await operator.call('POST', path, { webhook_secret: second })).status).toBe(200);
    expect((await deliver()).status).toBe(200);
    await send(shop.source.webhook_path, capture('capture_third', shop.customerId, shop.secret));
    await eventsToSettle(app);
    expect(await dollars(shop.customerId, shop.key)).toBe(3000);

    for (const webhook_secret of [shop.secret, second]) {
      const again = { provider: 'paypal', name: 'again', webhook_secret };
      expect(await operator.call('POST', sourcesPath(shop.merchantId), again)).toMatchObject({
        status: 409,
        body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE', source_id: shop.source.source_id },
      });
      const theirs = await operator.call('POST', sourcesPath(await operator.newMerchant()), again);
      expect(theirs).toMatchObject({ status: 409, body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE' } });
      expect(JSON.stringify(theirs.body)).not.toContain(shop.source.source_id);
    }
  });
});
