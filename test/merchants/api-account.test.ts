import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../src/telemetry/log.ts';
import {
  eventsToSettle,
  newSecretOf,
  type Operator,
  operatorOf,
  type Shop,
  sourcesPath,
  startSecondWeb,
  startTestWorker,
} from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { API_KEYS, ProviderApiServer } from '../support/provider-api-server.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** Stripe's account is known from the API key: Stripe is asked whose it is. */

let stripe: ProviderApiServer;
let app: TestApp;
let operator: Operator;
let logged: string[] = [];
const environment = (): Record<string, string> => ({ STRIPE_API_URL: stripe.url });
const logger = createLogger('info', 'test', { write: (line) => logged.push(line) });

beforeAll(async () => {
  stripe = await ProviderApiServer.start('stripe');
  stripe.otherApiKeys = /^Bearer sk_test_ofAnAccount\d+$/;
  app = await startTestApp({ environment: environment(), logger });
  operator = operatorOf(app);
});
beforeEach(() => {
  logged = [];
});
afterEach(() => {
  stripe.account = 'acct_nobodys';
});
afterAll(async () => {
  await app.close();
  await stripe.close();
});

let keys = 0;
const newKey = (): string => {
  keys += 1;
  return `sk_test_ofAnAccount${keys}`;
};
const create = (merchantId: string, body: object) =>
  operator.call('POST', sourcesPath(merchantId), {
    ...{ provider: 'stripe', name: 'again', webhook_secret: newSecretOf('stripe') },
    ...body,
  });
const accountsOf = async ({ path }: Pick<Shop, 'path'>) => (await operator.call('GET', path)).body.accounts;
const learntFrom = async (sourceId: string): Promise<unknown> =>
  (
    await app.database.pool.query('select account, learnt_from, is_shared from source_account where source_id = $1', [
      sourceId,
    ])
  ).rows;

describe('the account of an API key', () => {
  it('is asked for when a source is made with one, and a second source of it is refused', async () => {
    stripe.account = 'acct_first';
    const shop = await operator.newShop('stripe', { api_key: newKey() });
    expect(shop.source.accounts).toEqual(['acct_first']);
    expect(await learntFrom(shop.source.source_id)).toEqual([
      { account: 'acct_first', learnt_from: 'api', is_shared: false },
    ]);
    // A key is another, the account is not.
    expect(await create(shop.merchantId, { api_key: newKey() })).toMatchObject({
      status: 409,
      body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE', source_id: shop.source.source_id },
    });
    const other = await operator.newMerchant();
    const refused = await create(other, { api_key: newKey() });
    expect(refused).toMatchObject({ status: 409, body: { code: 'ACCOUNT_OF_ANOTHER_SOURCE' } });
    for (const secret of [shop.source.source_id, shop.merchantId, 'acct_first'])
      expect(JSON.stringify(refused.body)).not.toContain(secret);
    expect((await operator.call('GET', sourcesPath(other))).body.items).toEqual([]);
  });

  it('is asked for when a source gets a key or another one, and goes with the key', async () => {
    const shop = await operator.newShop('stripe');
    const second = await operator.newShop('stripe');
    expect(await accountsOf(shop)).toEqual([]);
    stripe.account = 'acct_second';
    expect((await operator.call('PATCH', shop.path, { api_key: newKey() })).body.accounts).toEqual(['acct_second']);
    expect(await operator.call('PATCH', second.path, { api_key: newKey() })).toMatchObject({ status: 409 });
    expect((await operator.call('GET', second.path)).body.secrets).toHaveLength(1);
    // What the operator names stands beside it.
    const named = await operator.call('PATCH', shop.path, { accounts: ['acct_connected'] });
    expect(named.body.accounts).toEqual(['acct_connected', 'acct_second']);
    stripe.account = 'acct_third';
    expect((await operator.call('PATCH', shop.path, { api_key: newKey() })).body.accounts).toEqual([
      'acct_connected',
      'acct_third',
    ]);
    expect((await operator.call('PATCH', shop.path, { api_key: null })).body.accounts).toEqual(['acct_connected']);
    expect((await operator.call('PATCH', second.path, { api_key: newKey() })).body.accounts).toEqual(['acct_third']);
  });

  it('that another merchant claimed by the operator’s word alone is not given away by a key', async () => {
    const claimer = await operator.newShop('stripe', { accounts: ['acct_claimed'] });
    stripe.account = 'acct_claimed';
    expect((await create(await operator.newMerchant(), { api_key: newKey() })).status).toBe(409);
    expect(await accountsOf(claimer)).toEqual(['acct_claimed']);
  });

  it('is not asked for where no key says it: a key charges at Dodo as it is set, and at no provider that knows no charges', async () => {
    const shop = await operator.newShop('dodo');
    expect((await operator.call('PATCH', shop.path, { charge_key: 'dodo.charges' })).status).toBe(200);
    const other = await operator.newShop('razorpay');
    expect(await operator.call('PATCH', other.path, { charge_key: 'rzp_test_a:b' })).toMatchObject({
      ...{ status: 422, body: { message: expect.stringContaining('is for sources of Stripe and Dodo') } },
    });
  });

  it('has to be that of the key that charges as well, as far as both are known', async () => {
    stripe.account = 'acct_reads';
    const shop = await operator.newShop('stripe', { api_key: newKey() });
    stripe.account = 'acct_charges';
    const refused = await operator.call('PATCH', shop.path, { charge_key: newKey() });
    expect(refused).toMatchObject({ status: 422, body: { message: expect.stringContaining('charge_key') } });
    expect((await operator.call('GET', shop.path)).body.secrets).toHaveLength(2);
    // Both at once are of one account again.
    expect((await operator.call('PATCH', shop.path, { api_key: newKey(), charge_key: newKey() })).status).toBe(200);
    stripe.account = 403;
    expect((await operator.call('PATCH', shop.path, { charge_key: newKey() })).status).toBe(200);
    stripe.account = 'acct_others';
    expect((await operator.call('PATCH', shop.path, { accounts: ['acct_others'], charge_key: newKey() })).status).toBe(
      200,
    );
  });

  it('is one source’s of many that are made at once', async () => {
    stripe.account = 'acct_raced';
    const merchants = await Promise.all(Array.from({ length: 4 }, () => operator.newMerchant()));
    const answers = await Promise.all(merchants.map((one) => create(one, { api_key: newKey() })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409]);
  });

  it.each(['hang', 'cut', 'half', 'html', 'other', 401, 403, 404, 429, 500] as const)(
    'is not waited for long where Stripe answers by %s: the source is made, and the log says that',
    async (account) => {
      stripe.account = account;
      const merchantId = await operator.newMerchant();
      const startMs = performance.now();
      const made = await create(merchantId, { api_key: newKey() });
      expect(performance.now() - startMs).toBeLessThan(9_000);
      expect(made).toMatchObject({ status: 200, body: { accounts: [] } });
      expect(JSON.stringify(made.body) + logged.join('')).not.toContain('private.example');
    },
    20_000,
  );

  it('of a form that Stripe does not use is not taken for one', async () => {
    stripe.account = 'somebody@private.example';
    expect((await create(await operator.newMerchant(), { api_key: newKey() })).body.accounts).toEqual([]);
  });
});

describe('two sources of one account that are there already', () => {
  it('are told of at the start and where they are compared; each payment is credited by one of them', async () => {
    const keyed = { ...environment(), STRIPE_WEBHOOK_SECRET: STRIPE_SECRET, STRIPE_API_KEY: API_KEYS.stripe };
    // Nobody knows the environment's account when the other source is made.
    stripe.account = 500;
    const two = await startTestApp({ environment: keyed });
    const secret = newSecretOf('stripe');
    stripe.account = 'acct_double';
    const stored = await operatorOf(two).newSource('bus_default', 'stripe', {
      api_key: newKey(),
      webhook_secret: secret,
    });
    const again = await startSecondWeb(two, keyed, logger);
    const worker = await startTestWorker(two, keyed);
    try {
      expect(logged.join('')).toMatch(/"src_stripe".*accounts at a provider have two sources/);
      const since = new Date(Date.now() - 3_600_000).toISOString();
      await two.database.pool.query("update reconciliation_source set known_since = now() - interval '1 day'");
      const started = await two.call('POST', '/reconciliation', { source_id: 'src_stripe', since });
      const run = await eventually('the comparison to end', async () => {
        const { body } = await two.call('GET', `/reconciliation/${started.body.run_id}`);
        return body.status !== 'running' && body;
      });
      const problem = `the API key opens the account of ${stored.source_id}: one account is one source`;
      expect(run).toMatchObject({ status: 'failed', problem });

      const customer = await two.newCustomer();
      const body = stripePaymentSucceeded({
        ...{ paymentId: 'pi_both', amount: 700, currency: 'usd' },
        metadata: { wallet_customer_id: customer },
      });
      for (const [path, signedWith] of [
        [stored.webhook_path, secret],
        ['/webhooks/stripe', STRIPE_SECRET],
      ] as const) {
        const headers = { authorization: '', ...signStripe(body, signedWith) };
        expect((await two.call('POST', path, body, headers)).status).toBe(200);
        await eventsToSettle(two);
      }
      expect((await two.call('GET', `/customers/${customer}/wallets/USD`)).body.balance).toBe(700);
      const parked = (await two.call('GET', '/events?status=parked')).body.items;
      expect(parked).toMatchObject([{ reason: 'known_at_another_source' }]);
    } finally {
      await worker.close();
      await again.close();
      await two.close();
    }
  });

  it('of two merchants: neither hears whose the other is', async () => {
    // As it is where the release before never asked.
    stripe.account = 500;
    const shop = await operator.newShop('stripe', { api_key: newKey() });
    const stranger = await operator.newShop('stripe', { api_key: newKey() });
    stripe.account = 'acct_of_both';
    const worker = await startTestWorker(app, environment());
    try {
      const compare = async ({ source, key }: Shop) => {
        const since = new Date(Date.now() - 3_600_000).toISOString();
        const { body } = await app.call('POST', '/reconciliation', { source_id: source.source_id, since }, key);
        return eventually('the comparison to end', async () => {
          const { body: run } = await app.call('GET', `/reconciliation/${body.run_id}`, undefined, key);
          return run.status !== 'running' && run;
        });
      };
      stripe.otherApiKeys = /^Bearer sk_test_ofAnAccount\d+$/;
      await compare(shop);
      const run = await compare(stranger);
      expect(run.problem).toBe("the API key opens the account of another merchant's source: one account is one source");
      expect(JSON.stringify(run)).not.toContain(shop.source.source_id);
      expect(await accountsOf(stranger)).toEqual(['acct_of_both']);
      const { findings } = (await operator.call('GET', sourcesPath(stranger.merchantId))).body;
      expect(findings).toEqual([
        {
          ...{ source_id: stranger.source.source_id, kind: 'shared_account', account: 'acct_of_both' },
          ...{ secret_id: null, other_source_id: null },
        },
      ]);
      expect(await learntFrom(shop.source.source_id)).toMatchObject([{ is_shared: false }]);
    } finally {
      await worker.close();
    }
  });
});

describe('a start', () => {
  it('notes the account of the environment’s key, does not wait for it long, and the worker forgets it with the key', async () => {
    stripe.account = 'acct_started';
    const first = await startTestApp({ environment: environment() });
    const rows = async () =>
      (await first.database.pool.query('select source_id, account, learnt_from from source_account')).rows;
    const keyless = { ...environment(), STRIPE_WEBHOOK_SECRET: STRIPE_SECRET };
    const startWith = async (key: Record<string, string>) => {
      await (await startSecondWeb(first, { ...keyless, ...key }, logger)).close();
    };
    try {
      await startWith({ STRIPE_API_KEY: API_KEYS.stripe });
      expect(await rows()).toEqual([{ source_id: 'src_stripe', account: 'acct_started', learnt_from: 'api' }]);
      stripe.account = 'hang';
      const startMs = performance.now();
      await startWith({ STRIPE_API_KEY: API_KEYS.stripe });
      expect(performance.now() - startMs).toBeLessThan(12_000);
      expect(logged.join('')).toContain('the provider does not say whose account the API key opens');
      expect(logged.join('')).toContain('stripe does not answer in time');
      expect(await rows()).toHaveLength(1);
      // The comparing is the worker's, so a web process may be given no key.
      await startWith({});
      expect(await rows()).toHaveLength(1);
      await (await startTestWorker(first, keyless)).close();
      expect(await rows()).toEqual([]);
    } finally {
      await first.close();
    }
  });
});
