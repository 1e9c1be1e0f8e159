import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../src/telemetry/log.ts';
import {
  eventsToSettle,
  newSecretOf,
  operatorOf,
  sourcesPath,
  startSecondWeb,
  startTestWorker,
} from '../support/admin.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { API_KEYS, ProviderApiServer } from '../support/provider-api-server.ts';
import { STRIPE_SECRET, signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { eventually } from '../support/wait.ts';

/** Two sources of one Stripe account, from before anybody knew: what one of them forgets must not make payments count twice. */

let stripe: ProviderApiServer;
let app: TestApp;
let worker: Awaited<ReturnType<typeof startTestWorker>>;
let stored: Awaited<ReturnType<ReturnType<typeof operatorOf>['newSource']>>;
let path: string;
let logged: string[] = [];
const logger = createLogger('info', 'test', { write: (line) => logged.push(line) });
const withoutKey = (): Record<string, string> => ({ STRIPE_API_URL: stripe.url, STRIPE_WEBHOOK_SECRET: STRIPE_SECRET });
const keyed = () => ({ ...withoutKey(), STRIPE_API_KEY: API_KEYS.stripe });

beforeAll(async () => {
  stripe = await ProviderApiServer.start('stripe');
  stripe.otherApiKeys = /^Bearer sk_test_ofADuplicate\d+$/;
  // Nobody knows the environment's account when the other source is made.
  stripe.account = 500;
  app = await startTestApp({ environment: keyed() });
  worker = await startTestWorker(app, keyed());
});
beforeEach(async () => {
  await app.database.pool.query('delete from source_account');
  await app.database.pool.query('update source set enabled = false');
  stripe.account = 'acct_double';
  stored = await operatorOf(app).newSource('bus_default', 'stripe', { api_key: newKey(), webhook_secret: newSecret() });
  path = `${sourcesPath('bus_default')}/${stored.source_id}`;
  await start(keyed());
  logged = [];
});
afterAll(async () => {
  await worker.close();
  await app.close();
  await stripe.close();
});

let made = 0;
let ownSecret = '';
function newSecret(): string {
  ownSecret = newSecretOf('stripe');
  return ownSecret;
}
function newKey(): string {
  made += 1;
  return `sk_test_ofADuplicate${made}`;
}
async function start(environment: Record<string, string>): Promise<void> {
  await (await startSecondWeb(app, environment, logger)).close();
}
const change = (body: object) => operatorOf(app).call('PATCH', path, body);
const ofEnvironment = (isShared: boolean) => ({ source_id: 'src_stripe', account: 'acct_double', is_shared: isShared });
const ofStored = (isShared: boolean) => ({ ...ofEnvironment(isShared), source_id: stored.source_id });

/** The environment's first. */
async function rows(): Promise<unknown> {
  const found = await app.database.pool.query(
    "select source_id, account, is_shared from source_account order by source_id <> 'src_stripe', account",
  );
  return found.rows;
}

/** What one payment credits that Stripe tells to both sources. */
async function creditedOnceToldToBoth(): Promise<number> {
  made += 1;
  const customer = await app.newCustomer();
  const body = stripePaymentSucceeded({
    ...{ paymentId: `pi_both${made}`, amount: 700, currency: 'usd' },
    metadata: { wallet_customer_id: customer },
  });
  for (const [to, signedWith] of [
    [stored.webhook_path, ownSecret],
    ['/webhooks/stripe', STRIPE_SECRET],
  ] as const) {
    const headers = { authorization: '', ...signStripe(body, signedWith) };
    expect((await app.call('POST', to, body, headers)).status).toBe(200);
    await eventsToSettle(app);
  }
  return (await app.call('GET', `/customers/${customer}/wallets/USD`)).body.balance;
}

describe('a payment that both of two sources of one account are told of is credited once', () => {
  it('and the one that knows the account by its key answers for it', async () => {
    expect(await rows()).toEqual([ofEnvironment(true), ofStored(false)]);
    await change({ api_key: null });
    expect(await rows()).toEqual([ofEnvironment(false), ofStored(true)]);
    // The key of an account that it shares already is no further source of it.
    expect((await change({ api_key: newKey() })).body.accounts).toEqual(['acct_double']);
    expect(await rows()).toEqual([ofEnvironment(false), ofStored(true)]);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['as long as both have their keys', async () => {}],
    [
      'after one got another key and Stripe did not say whose',
      async () => {
        stripe.account = 429;
        expect((await change({ api_key: newKey() })).status).toBe(200);
      },
    ],
    [
      'after one got the key of another account',
      async () => {
        stripe.account = 'acct_elsewhere';
        expect((await change({ api_key: newKey() })).body.accounts).toEqual(['acct_double', 'acct_elsewhere']);
      },
    ],
    [
      'after one lost its key',
      async () => {
        expect((await change({ api_key: null })).body.accounts).toEqual(['acct_double']);
      },
    ],
    ['after a start without the key of the other', () => start(withoutKey())],
    [
      'after both lost their keys',
      async () => {
        await start(withoutKey());
        await change({ api_key: null });
      },
    ],
    ['after an operator named other accounts', () => change({ accounts: ['acct_connected'] })],
    [
      'after an operator named the account and took it back without a key',
      async () => {
        await app.database.pool.query('delete from source_account');
        await change({ accounts: ['acct_double'], api_key: null });
        await start(keyed());
        await change({ accounts: [] });
      },
    ],
  ])('%s', async (_when, forget) => {
    await forget();
    expect(await creditedOnceToldToBoth()).toBe(700);
  });
});

describe('the accounts of two such sources', () => {
  it('may be set by the operator at the one that answers for them, and not at the other', async () => {
    const both = ['acct_connected', 'acct_double'];
    expect(await change({ accounts: both })).toMatchObject({ status: 200, body: { accounts: both } });
    expect(await rows()).toEqual([
      ofEnvironment(true),
      { ...ofStored(false), account: 'acct_connected' },
      ofStored(false),
    ]);
    // The environment's answers for it now.
    await change({ api_key: null });
    const refusal = { code: 'ACCOUNT_OF_ANOTHER_SOURCE', source_id: 'src_stripe' };
    expect(await change({ accounts: both })).toMatchObject({ status: 409, body: refusal });
    expect(await rows()).toEqual([
      ofEnvironment(false),
      { ...ofStored(false), account: 'acct_connected' },
      ofStored(true),
    ]);
  });

  const warned = () =>
    logged
      .filter((line) => line.includes('accounts at a provider have two sources'))
      .map((line) => JSON.parse(line).sources);
  const named = (sourceId: string, account: string) => ({ merchantId: 'bus_default', sourceId, accounts: [account] });

  it('are warned of at a start by the further one alone, though STRIPE_ACCOUNT names the first one’s', async () => {
    await change({ api_key: null });
    await start({ ...keyed(), STRIPE_ACCOUNT: 'acct_double' });
    expect(warned()).toEqual([[named(stored.source_id, 'acct_double')]]);
    expect(await rows()).toEqual([ofEnvironment(false), ofStored(true)]);
  });

  it('are warned of once, where STRIPE_ACCOUNT names one that is the other’s and known to be shared', async () => {
    await start({ ...keyed(), STRIPE_ACCOUNT: 'acct_double' });
    expect(warned()).toEqual([[named('src_stripe', 'acct_double')]]);
  });

  it('are of whom the operator names where nobody answers for them', async () => {
    await app.database.pool.query('update source_account set is_shared = true');
    expect((await change({ accounts: ['acct_double'] })).status).toBe(200);
    expect(await rows()).toEqual([ofEnvironment(true), ofStored(false)]);
  });
});

describe('a comparison of the further one of two sources of an account', () => {
  const ownersProblem = 'the API key opens the account of src_stripe: one account is one source';

  /** Makes the environment's source the first one. */
  async function ownedByEnvironment(): Promise<void> {
    await change({ api_key: null });
    await change({ api_key: newKey() });
    expect(await rows()).toEqual([ofEnvironment(false), ofStored(true)]);
  }

  async function compare(): Promise<{ readonly status: string; readonly problem: string | null }> {
    const since = new Date(Date.now() - 3_600_000).toISOString();
    await app.database.pool.query("update reconciliation_source set known_since = now() - interval '1 day'");
    const started = await app.call('POST', '/reconciliation', { source_id: stored.source_id, since });
    return eventually('the comparison to end', async () => {
      const { body } = await app.call('GET', `/reconciliation/${started.body.run_id}`);
      return body.status !== 'running' && body;
    });
  }

  it('fails as long as the first one can be compared', async () => {
    await ownedByEnvironment();
    expect(await compare()).toMatchObject({ status: 'failed', problem: ownersProblem });
  });

  it.each(['has no key', 'is not configured any more', 'is disabled', 'has a key that cannot be read'])(
    'goes on where the first one %s',
    async (state) => {
      await ownedByEnvironment();
      stripe.account = 500;
      const apiKey = state === 'has no key' ? {} : { api_key: newKey() };
      const { source_id: made } = await operatorOf(app).newSource('bus_default', 'stripe', apiKey);
      stripe.account = 'acct_double';
      const owner = state === 'is not configured any more' ? 'src_gone' : made;
      const sql = {
        'is disabled': 'update source set enabled = false where source_id = $1',
        'has a key that cannot be read':
          "update source_secret set sealed = left(sealed, 40) || 'AAAA' || substr(sealed, 45) where source_id = $1 and purpose = 'api'",
      }[state];
      if (sql !== undefined) await app.database.pool.query(sql, [owner]);
      await app.database.pool.query('update source_account set source_id = $1 where not is_shared', [owner]);
      expect(await compare()).toMatchObject({ status: 'finished', problem: null });
      expect(await rows()).toContainEqual(ofStored(true));
    },
  );
});
