import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { connectChargers } from '../../src/charging/connect.ts';
import { GatewayMinimums } from '../../src/charging/minimums.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { postBatch } from '../../src/ledger/store.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { connectWith } from '../../src/reconciliation/connect.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { type ChargeServices, chargeTopUps } from '../../src/top-ups/charge.ts';
import { deleteRule, putRule, resumeRule } from '../../src/top-ups/manage.ts';
import { Pace } from '../../src/top-ups/pace.ts';
import type { TopUpTerms } from '../../src/top-ups/rule.ts';
import { scanForTopUps } from '../../src/top-ups/scan.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { dyingAfter } from '../support/dying-pool.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { drawnPoints, rounds } from '../support/rounds.ts';
import { stripeDispute, stripePayment, stripeRefund } from '../support/signing.ts';
import { StripeCharging } from '../support/stripe-charging.ts';

const KEY = 'sk_test_ChokinCharges';
const START = new Date('2026-03-10T12:00:00Z');
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let database: TestDatabase;
let inbox: TestInbox;
let stripe: StripeCharging;
let services: ChargeServices;
let apiUrls: ReadonlyMap<ProviderName, string>;
let now = START;
let healed: string[] = [];
const source = testSource('stripe', { apiKey: new Secret(KEY), chargeKey: new Secret(KEY) });
const shop = testSource('stripe', { sourceId: 'src_shop' });

beforeAll(async () => {
  database = await createTestDatabase();
  stripe = new StripeCharging(KEY);
  stripe.now = () => Math.floor(now.getTime() / 1000);
  apiUrls = new Map([['stripe', await stripe.start()]]);
  inbox = await startInbox(database, { sources: [source, shop] });
  Object.assign(inbox.services, { clock: { now: () => now } });
  services = {
    pool: inbox.services.pool,
    clock: { now: () => now },
    logger: createLogger('silent', 'test'),
    sources: inbox.services.sources,
    connect: chargers(),
    minimums: new GatewayMinimums(new Map([['stripe/USD', 50]])),
    pace: new Pace(1000),
    heal: async ({ topUpId }) => void healed.push(topUpId),
    onPosted: () => {},
    signal: new AbortController().signal,
  };
});

afterAll(async () => {
  const { disagreements } = await audit(autocommit(database.pool));
  expect(disagreements.filter(({ rule }) => rule.startsWith('11'))).toEqual([]);
  await inbox.stop();
  await stripe.stop();
  await database.drop();
});

/** Else every run of the tests that follow would look at what this one leaves, for days and years of their time. */
afterEach(async () => {
  const never = "'2100-01-01'";
  await database.pool.query(`update topup set look_at = ${never} where look_at is not null`);
  await database.pool.query(`update topup_due set retry_at = ${never}`);
});

/** One that has asked for nobody's account yet. */
function chargers() {
  const connectApi = connectWith({ apiUrls });
  return connectChargers({
    config: { apiUrls },
    pool: inbox.services.pool,
    logger: createLogger('silent', 'test'),
    connectApi,
  });
}

const pass = (milliseconds: number) => {
  now = new Date(now.getTime() + milliseconds);
};
const run = () => chargeTopUps(services);

let customers = 0;
const TERMS: Omit<TopUpTerms, 'payment'> = {
  ...{ enabled: true, threshold: 1000, mode: 'amount', amount: 2000, target: null, maxCharge: 2000 },
  ...{ monthlyCap: 100_000, maxPerDay: 10, minIntervalSeconds: 600, timeZone: 'UTC' },
  consent: { acceptedAt: START, textVersion: '1' },
};

/** Sets the customer's rule, with the card of {@link begin} unless the terms name another. */
async function putAgain(key: WalletKey, terms: Partial<TopUpTerms>): Promise<void> {
  const providerCustomerId = key.customerId.replace('cus_c', 'cus_s');
  const payment = { sourceId: source.sourceId, providerCustomerId, paymentMethodId: null };
  const rule = { ...key, ...TERMS, payment, ...terms, source };
  await transaction(database.pool, (tx) => putRule(tx, rule, { currencies: SETTINGS.currencies, now }));
}

/** A customer with a balance, a card, and a rule. */
async function begin(terms: Partial<TopUpTerms> = {}, balance = 1100): Promise<WalletKey & { readonly card: string }> {
  customers += 1;
  healed = [];
  const [customerId = ''] = await makeCustomers(database.pool, [`c${customers}`]);
  const key = { merchantId: MERCHANT, customerId, currency: 'USD' };
  const provider = `cus_s${customers}`;
  const card = stripe.addMethod({ id: `pm_${customers}`, customerId: provider, fingerprint: `print_${customers}` });
  if (balance > 0) await post(key, balance, true);
  await putAgain(key, {
    payment: { sourceId: source.sourceId, providerCustomerId: provider, paymentMethodId: null },
    ...terms,
  });
  return { ...key, card: card.id };
}

async function post(key: WalletKey, amountMinor: number, isCredit: boolean): Promise<void> {
  const one = posting({ customerId: key.customerId, amountMinor, isCredit, idempotencyKey: null });
  await transaction(database.pool, (tx) => postBatch(tx, [one], { ...SETTINGS, now }));
}

async function attempts({ customerId }: WalletKey) {
  const { rows } = await database.pool.query<{ state: string; amount: number; topup_id: string; payment_id: string }>(
    'select state, amount, topup_id, payment_id from topup where customer_id = $1 order by created_at, topup_id',
    [customerId],
  );
  return rows;
}

async function told({ customerId }: WalletKey): Promise<readonly { type: string; data: Record<string, unknown> }[]> {
  const { rows } = await database.pool.query<{ payload: string }>(
    "select payload from unsent_message where payload like '%' || $1 || '%' order by since, message_id",
    [customerId],
  );
  return rows.map(({ payload }) => JSON.parse(payload));
}

const kindsTold = async (key: WalletKey) => (await told(key)).map(({ type }) => type);

async function ruleOf({ customerId }: WalletKey) {
  const { rows } = await database.pool.query('select * from topup_rule where customer_id = $1', [customerId]);
  return rows[0];
}

const intentsOf = ({ customerId }: WalletKey) =>
  stripe.intents.filter(({ metadata }) => metadata.wallet_customer_id === customerId);

/** Stripe tells of the customer's newest payment, or of another one. */
async function tellPaid(key: WalletKey, more: Parameters<typeof stripePayment>[0] = {}): Promise<void> {
  const intent = intentsOf(key).at(-1);
  if (intent === undefined) throw new Error('nothing was paid');
  const { id: paymentId, amount, currency, metadata } = intent;
  await inbox.play([stripePayment({ paymentId, amount, currency, metadata, ...more })]);
}

describe('filling a wallet up', () => {
  it('example 1: one charge of 2000; its event credits it once; 500 debits while it runs bring no second', async () => {
    const key = await begin();
    await run();
    expect(await attempts(key)).toEqual([]);
    await post(key, 200, false);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'charged', amount: 2000 }]);
    for (let debit = 0; debit < 500; debit += 100) {
      const debits = Array.from({ length: 100 }, () =>
        posting({ ...key, amountMinor: 1, isCredit: false, idempotencyKey: null }),
      );
      await transaction(database.pool, (tx) => postBatch(tx, debits, { ...SETTINGS, now }));
    }
    await run();
    pass(9 * MINUTE);
    await run();
    expect(intentsOf(key)).toHaveLength(1);
    await post(key, 500, true);
    await tellPaid(key);
    await tellPaid(key);
    expect(await inbox.balance(key.customerId)).toBe(2900);
    expect(await attempts(key)).toMatchObject([{ state: 'succeeded' }]);
    expect(await kindsTold(key)).toEqual(['topup.succeeded']);
    pass(HOUR);
    await run();
    expect(intentsOf(key)).toHaveLength(1);
  });

  it('example 2 and 3: the gap is closed by one charge, as far as max_charge lets it', async () => {
    const key = await begin({ threshold: 5000, amount: 1000, maxCharge: 10_000 }, 900);
    await run();
    expect(await attempts(key)).toMatchObject([{ amount: 5000 }]);
    const other = await begin({ threshold: 5000, amount: 1000, maxCharge: 3000 }, 900);
    await run();
    await tellPaid(other);
    expect(await inbox.balance(other.customerId)).toBe(3900);
    pass(599_000);
    await run();
    expect(await attempts(other)).toHaveLength(1);
    pass(1000);
    await run();
    expect(await attempts(other)).toMatchObject([{ amount: 3000 }, { amount: 2000 }]);
  });

  it('example 5: the fourth charge of a month is blocked and told once; on the 1st it charges again', async () => {
    now = new Date('2026-03-20T12:00:00Z');
    const key = await begin({ monthlyCap: 6000, timeZone: 'America/New_York' });
    for (let charge = 1; charge <= 3; charge += 1) {
      await post(key, charge === 1 ? 200 : 2000, false);
      await run();
      await tellPaid(key);
      pass(11 * MINUTE);
    }
    await post(key, 2000, false);
    for (let looks = 0; looks < 3; looks += 1) {
      pass(HOUR);
      await run();
    }
    expect(intentsOf(key)).toHaveLength(3);
    expect((await kindsTold(key)).filter((type) => type === 'topup.blocked')).toHaveLength(1);
    now = new Date('2026-04-01T03:59:59Z');
    await run();
    expect(intentsOf(key)).toHaveLength(3);
    now = new Date('2026-04-01T04:00:00Z');
    await run();
    expect(intentsOf(key)).toHaveLength(4);
    now = START;
  });

  it('finds by its scan what no debit has noted', async () => {
    const key = await begin({}, 900);
    await database.pool.query('delete from topup_due where customer_id = $1', [key.customerId]);
    await run();
    expect(await attempts(key)).toEqual([]);
    expect(await scanForTopUps(services)).toBeGreaterThan(0);
    await run();
    expect(await attempts(key)).toHaveLength(1);
  });

  it('finds by its scan what it can of others where one merchant’s cannot be noted, and fails at its end', async () => {
    const key = await begin({}, 900);
    for (const table of ['merchant', 'customer', 'wallet', 'topup_rule']) {
      const { rows } = await database.pool.query<{ names: string }>(
        `select string_agg(attname, ', ' order by attnum) as names from pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped and attname <> 'merchant_id' and attgenerated = ''`,
        [table],
      );
      const names = rows[0]?.names ?? '';
      const own = table === 'merchant' ? 'merchant_id = $1' : 'customer_id = $1';
      await database.pool.query(
        `insert into ${table} (merchant_id, ${names}) select 'bus_a', ${names} from ${table} where ${own}`,
        [table === 'merchant' ? MERCHANT : key.customerId],
      );
    }
    await database.pool.query('delete from topup_due');
    await database.pool.query("alter table topup_due add constraint refused check (merchant_id <> 'bus_a') not valid");
    await expect(scanForTopUps(services)).rejects.toThrow('refused');
    const { rows } = await database.pool.query('select merchant_id from topup_due where customer_id = $1', [
      key.customerId,
    ]);
    expect(rows).toEqual([{ merchant_id: MERCHANT }]);
    await database.pool.query('alter table topup_due drop constraint refused');
    await database.pool.query("delete from topup_rule where merchant_id = 'bus_a'");
    await database.pool.query("update wallet set topup_below = null where merchant_id = 'bus_a'");
  });

  it('example 17: two workers and many wallets due: one attempt each', async () => {
    const keys = [];
    for (let index = 0; index < rounds(40, 1000); index += 1) keys.push(await begin({}, 900));
    const another = { ...services, connect: chargers(), pace: new Pace(1000) };
    await Promise.all([run(), chargeTopUps(another)]);
    for (const key of keys) {
      expect(await attempts(key)).toHaveLength(1);
      expect(intentsOf(key)).toHaveLength(1);
    }
  }, 600_000);
});

describe('declines', () => {
  const declining = async (says: string) => {
    const key = await begin({}, 900);
    const card = stripe.methods.get(key.card);
    if (card !== undefined) card.says = says;
    return { key, card };
  };

  it('example 6: soft ones at t, t + 1 h and t + 7 h; suspended at the third; three charges in 30 days', async () => {
    const { key } = await declining('insufficient_funds');
    await run();
    expect(await told(key)).toMatchObject([{ type: 'topup.failed', data: { hard: false } }]);
    pass(HOUR - 1000);
    await run();
    expect(intentsOf(key)).toHaveLength(1);
    pass(1000);
    await run();
    pass(6 * HOUR);
    await run();
    expect(intentsOf(key)).toHaveLength(3);
    expect(await ruleOf(key)).toMatchObject({ suspended_reason: 'declined', failures_in_a_row: 3 });
    expect((await kindsTold(key)).toSorted()).toEqual([
      ...['topup.failed', 'topup.failed', 'topup.failed', 'topup.suspended'],
    ]);
    for (let day = 0; day < 30; day += 1) {
      pass(24 * HOUR);
      await post(key, 1, false);
      await run();
    }
    expect(intentsOf(key)).toHaveLength(3);
    await transaction(database.pool, (tx) => resumeRule(tx, key, now));
    await run();
    expect(intentsOf(key)).toHaveLength(4);
  });

  it('example 7: authentication_required suspends at once, told as hard', async () => {
    const { key } = await declining('authentication_required');
    await run();
    const [failed] = (await told(key)).filter(({ type }) => type === 'topup.failed');
    expect(failed?.data).toMatchObject({ hard: true, decline_code: 'authentication_required', next_attempt_at: null });
    expect(await kindsTold(key)).toContain('topup.suspended');
    pass(2 * HOUR);
    await run();
    expect(intentsOf(key)).toHaveLength(1);
  });

  it('example 8: the same card attached anew stays suspended; another is charged at the next look', async () => {
    const { key, card } = await declining('lost_card');
    await run();
    const customerId = card?.customerId ?? '';
    const fingerprint = card?.fingerprint ?? '';
    stripe.addMethod({ id: `${key.card}_again`, customerId, fingerprint });
    pass(25 * HOUR);
    await run();
    expect(await ruleOf(key)).toMatchObject({ suspended_reason: 'declined' });
    stripe.addMethod({ id: `${key.card}_other`, customerId, fingerprint: `other_${fingerprint}` });
    pass(25 * HOUR);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'declined' }, { state: 'charged' }]);
    expect(await kindsTold(key)).toContain('topup.resumed');
  });

  it('have nothing to pay with where the customer has no payment method', async () => {
    const key = await begin({}, 900);
    stripe.methods.delete(key.card);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'declined' }]);
    expect(await ruleOf(key)).toMatchObject({ suspended_reason: 'declined', decline_code: 'no_payment_method' });
  });

  it('of one card are ten in 30 days at most, over all rules', async () => {
    const first = await begin({}, 900);
    for (let rule = 0; rule < 11; rule += 1) {
      const key = rule === 0 ? first : await begin({}, 900);
      const card = stripe.methods.get(key.card);
      if (card === undefined) throw new Error('no card');
      stripe.methods.set(key.card, { ...card, fingerprint: 'one card of many', says: 'do_not_honor' });
      await run();
      const { suspended_reason } = await ruleOf(key);
      expect(suspended_reason).toBe(rule < 9 ? null : 'too_many_declines');
      expect(intentsOf(key)).toHaveLength(rule < 10 ? 1 : 0);
    }
  });

  it('by a dispute of its payment suspend the rule until it is resumed', async () => {
    const key = await begin({}, 900);
    await run();
    await tellPaid(key);
    const paymentId = intentsOf(key)[0]?.id ?? '';
    await inbox.play([stripeDispute({ paymentId, disputeId: `du_${paymentId}`, amount: 2000, currency: 'usd' })]);
    expect(await ruleOf(key)).toMatchObject({ suspended_reason: 'disputed' });
    expect(await kindsTold(key)).toContain('topup.suspended');
  });
});

describe('outcomes that are not known', () => {
  it('example 9: Stripe is down for two hours: no failures, nothing counted, one charge afterwards', async () => {
    const key = await begin({ maxPerDay: 1 }, 900);
    await stripe.stop();
    for (let minutes = 0; minutes < 120; minutes += 10) {
      await run();
      pass(10 * MINUTE);
    }
    expect(await ruleOf(key)).toMatchObject({ failures_in_a_row: 0, suspended_reason: null });
    await stripe.start();
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(intentsOf(key)).toHaveLength(1);
  });

  it.each(['lost', 'limited', 'busy'] as const)('%s: asked again under the same key, charged once', async (play) => {
    const key = await begin({}, 900);
    stripe.plays.push(play);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'unknown' }]);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'unknown' }]);
    pass(MINUTE);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(intentsOf(key)).toHaveLength(1);
    const [{ topup_id: topUpId = '' } = {}] = await attempts(key);
    expect(stripe.keys.filter((one) => one === topUpId)).toHaveLength(2);
    await tellPaid(key);
    expect(await inbox.balance(key.customerId)).toBe(2900);
  });

  it('stays unknown where the key is refused after an answer was lost: what was asked before may have charged', async () => {
    const key = await begin({}, 900);
    stripe.plays.push('lost');
    await run();
    const revoked = { ...services, connect: chargers() };
    const wrongKey = testSource('stripe', { chargeKey: new Secret('sk_test_Revoked') });
    pass(MINUTE);
    await chargeTopUps({ ...revoked, connect: () => revoked.connect(wrongKey) });
    expect(await attempts(key)).toMatchObject([{ state: 'unknown' }]);
    pass(2 * HOUR);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(intentsOf(key)).toHaveLength(1);
  });

  describe('where the customer may not be charged any more', () => {
    const ways: Readonly<Record<string, (key: WalletKey) => Promise<unknown>>> = {
      'the rule is deleted': (key) => transaction(database.pool, (tx) => deleteRule(tx, key, now)),
      'it is disabled': (key) => putAgain(key, { enabled: false }),
      'it charges another customer of Stripe': (key) =>
        putAgain(key, {
          payment: { sourceId: source.sourceId, providerCustomerId: 'cus_else', paymentMethodId: null },
        }),
      'the most that it charges is less': (key) => putAgain(key, { amount: 1000, maxCharge: 1000 }),
      'the wallet is frozen': ({ customerId }) =>
        database.pool.query("update wallet set status = 'frozen' where customer_id = $1", [customerId]),
      'the merchant is suspended': () => database.pool.query('update merchant set suspended_at = now()'),
    };

    afterEach(async () => void (await database.pool.query('update merchant set suspended_at = null')));

    it.each(Object.keys(ways))(
      '%s: nothing is asked again, and the list says that nothing was charged',
      async (name) => {
        const key = await begin({}, 900);
        stripe.plays.push('limited');
        await run();
        await ways[name]?.(key);
        for (let minutes = 0; minutes < 12; minutes += 1) {
          pass(MINUTE);
          await run();
        }
        expect(intentsOf(key)).toEqual([]);
        expect(await attempts(key)).toMatchObject([{ state: 'failed' }]);
      },
    );

    it.each(Object.keys(ways))('%s: the list says what was charged', async (name) => {
      const key = await begin({}, 900);
      stripe.plays.push('lost');
      await run();
      await ways[name]?.(key);
      pass(11 * MINUTE);
      await run();
      expect(intentsOf(key)).toHaveLength(1);
      expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    });

    it('the merchant is suspended: no attempt is begun', async () => {
      const key = await begin({}, 900);
      await database.pool.query('update merchant set suspended_at = now()');
      await run();
      expect(await attempts(key)).toEqual([]);
      await database.pool.query('update merchant set suspended_at = null');
      pass(5 * MINUTE);
      await run();
      expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    });
  });

  it('is of the rule as it stands: one that changed while the payment method was looked up is looked at anew', async () => {
    const key = await begin({}, 900);
    stripe.addMethod({ id: `${key.card}_new`, customerId: `${key.customerId}_new`, fingerprint: null });
    const payment = { sourceId: source.sourceId, providerCustomerId: `${key.customerId}_new`, paymentMethodId: null };
    let isChanged = false;
    await chargeTopUps({
      ...services,
      connect: async (one) => {
        const charger = await services.connect(one);
        if (charger === null || isChanged) return charger;
        const findMethod: typeof charger.findMethod = async (...asked) => {
          const found = await charger.findMethod(...asked);
          isChanged = true;
          await putAgain(key, { payment });
          return found;
        };
        return { ...charger, findMethod };
      },
    });
    await run();
    expect(intentsOf(key)).toMatchObject([{ customer: payment.providerCustomerId }]);
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
  });

  it('an error 500 stays unknown for a day, and then the list of payments says what became of it', async () => {
    const key = await begin({}, 900);
    stripe.plays.push('error');
    await run();
    for (let hours = 0; hours < 24; hours += 1) {
      pass(HOUR);
      await run();
      const { 0: only } = await attempts(key);
      if (hours < 22) expect(only).toMatchObject({ state: 'unknown' });
    }
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(intentsOf(key)).toHaveLength(1);
  });

  it('never asks again once keys may be forgotten, but looks, and fails as a fault where nothing was paid', async () => {
    const key = await begin({}, 900);
    stripe.plays.push('limited');
    await run();
    pass(23 * HOUR);
    stripe.forgetKeys();
    await run();
    expect(intentsOf(key)).toHaveLength(0);
    const [failed] = await told(key);
    expect(failed).toMatchObject({ type: 'topup.failed', data: { reason: 'outcome_unknown', hard: false } });
    expect(await ruleOf(key)).toMatchObject({ failures_in_a_row: 0 });
    pass(HOUR);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'failed' }, { state: 'charged' }]);
  });

  it('example 10: the worker is gone after Stripe accepted: same key, same payment, one credit', async () => {
    const key = await begin({}, 900);
    // Nothing can be written any more once Stripe has accepted.
    stripe.plays.push(async () => {
      await database.pool.query(`alter table topup rename to topup_gone`);
    });
    await expect(run()).rejects.toThrow('does not exist');
    await database.pool.query('alter table topup_gone rename to topup');
    expect(await attempts(key)).toMatchObject([{ state: 'charging' }]);
    await run();
    expect(intentsOf(key)).toHaveLength(1);
    pass(MINUTE);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(intentsOf(key)).toHaveLength(1);
    await tellPaid(key);
    expect(await inbox.balance(key.customerId)).toBe(2900);
  });

  it('example 11: charged and no webhook: nothing credited for 15 minutes, then it is looked for', async () => {
    const key = await begin({}, 900);
    await run();
    pass(14 * MINUTE);
    await run();
    const [{ topup_id: topUpId = '' } = {}] = await attempts(key);
    expect(healed).not.toContain(topUpId);
    pass(MINUTE);
    await run();
    expect(healed).toContain(topUpId);
    expect(await inbox.balance(key.customerId)).toBe(900);
    await tellPaid(key);
    expect(await inbox.balance(key.customerId)).toBe(2900);
  });

  it('example 12: the webhook comes before the answer, which changes nothing', async () => {
    const key = await begin({}, 900);
    stripe.plays.push(() => tellPaid(key));
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'succeeded' }]);
    expect(await inbox.balance(key.customerId)).toBe(2900);
    expect(await kindsTold(key)).toEqual(['topup.succeeded']);
  });

  it('example 13: a payment that takes 26 hours is waited for, and credited when it is paid', async () => {
    const key = await begin({}, 900);
    const card = stripe.methods.get(key.card);
    if (card !== undefined) card.says = 'processing';
    await run();
    for (let hours = 0; hours < 26; hours += 1) {
      pass(HOUR);
      await run();
    }
    expect(await attempts(key)).toMatchObject([{ state: 'processing' }]);
    expect(intentsOf(key)).toHaveLength(1);
    await tellPaid(key);
    expect(await attempts(key)).toMatchObject([{ state: 'succeeded' }]);
  });

  it('a pending payment that fails is a decline', async () => {
    const key = await begin({}, 900);
    const card = stripe.methods.get(key.card);
    if (card !== undefined) card.says = 'processing';
    await run();
    await tellPaid(key, { type: 'payment_failed' });
    expect(await attempts(key)).toMatchObject([{ state: 'declined' }]);
    expect(await ruleOf(key)).toMatchObject({ failures_in_a_row: 1 });
  });

  it('a pending payment goes on whose first try failed, though all of that is told before the answer, the failure last', async () => {
    const key = await begin({}, 900);
    const card = stripe.methods.get(key.card);
    if (card !== undefined) card.says = 'processing';
    const connect: typeof services.connect = async (one) => {
      const charger = await services.connect(one);
      if (charger === null) return null;
      const chargeSaved: typeof charger.chargeSaved = async (...asked) => {
        const answer = await charger.chargeSaved(...asked);
        await tellPaid(key, { type: 'processing', createdSeconds: 30 });
        await tellPaid(key, { type: 'payment_failed', createdSeconds: 10 });
        return answer;
      };
      return { ...charger, chargeSaved };
    };
    await chargeTopUps({ ...services, connect });
    expect(await attempts(key)).toMatchObject([{ state: 'processing' }]);
    await tellPaid(key, { type: 'payment_failed', createdSeconds: 50 });
    expect(await attempts(key)).toMatchObject([{ state: 'declined' }]);
  });
});

describe('a provider that answers slowly', () => {
  it('keeps no wallet waiting that others pay for, however many attempts at it are due', async () => {
    const keys = await Promise.all(Array.from({ length: 130 }, () => begin({}, 900)));
    stripe.plays.push(...keys.map(() => 'limited' as const));
    await run();
    pass(MINUTE);
    const other = await begin({ payment: null }, 900);
    const stopped = new AbortController();
    let calls = 0;
    await chargeTopUps({
      ...services,
      signal: stopped.signal,
      connect: async (one) => {
        const charger = await services.connect(one);
        if (charger === null) return null;
        const chargeSaved: typeof charger.chargeSaved = async () => {
          // As long as pages of slow answers take: what was looked at is due again.
          pass(61_000);
          calls += 1;
          if (calls >= 60) stopped.abort();
          return { kind: 'unknown' };
        };
        return { ...charger, chargeSaved };
      },
    });
    expect(await attempts(other)).toMatchObject([{ state: 'requested' }]);
    pass(2 * HOUR);
    await run();
    for (const key of keys) expect(intentsOf(key)).toHaveLength(1);
  });
});

describe('a worker that is killed', () => {
  it('at any of its statements has charged once, once another has gone on', async () => {
    const { first, step } = drawnPoints(rounds(2, 1));
    for (let statements = first - 1, isDead = true; isDead; statements += step) {
      const key = await begin({}, 900);
      const victim = dyingAfter(inbox.services.pool, statements);
      await chargeTopUps({ ...services, pool: victim.pool }).catch(() => {});
      isDead = victim.isDead();
      expect(statements).toBeLessThan(100);
      for (let minutes = 0; minutes < 3; minutes += 1) {
        pass(MINUTE + 1000);
        await run();
      }
      expect(await attempts(key), `killed at statement ${statements}`).toMatchObject([
        { state: 'charged', amount: 2000 },
      ]);
      expect(intentsOf(key)).toHaveLength(1);
      await tellPaid(key);
      expect(await inbox.balance(key.customerId)).toBe(2900);
    }
  });
});

describe('payments that name a top-up', () => {
  const eventsOf = async (paymentId: string) => {
    const { rows } = await database.pool.query<{ state: string; reason: string | null }>(
      'select state, reason from provider_event where payment_id = $1 order by received_at',
      [paymentId],
    );
    return rows;
  };

  it('example 14: event mode: asked for, expired after a day without an answer, asked for again after an hour', async () => {
    const key = await begin({ payment: null }, 900);
    await run();
    const [requested] = await told(key);
    expect(requested).toMatchObject({ type: 'topup.requested', data: { amount: 2000 } });
    pass(24 * HOUR);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'expired' }]);
    pass(HOUR - 1000);
    await run();
    expect(await attempts(key)).toHaveLength(1);
    pass(1000);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'expired' }, { state: 'requested' }]);
    expect(await ruleOf(key)).toMatchObject({ failures_in_a_row: 0 });
    // The first is paid after all, with tax on top.
    const { metadata } = requested?.data ?? {};
    await inbox.play([
      stripePayment({
        paymentId: `pi_late_${key.customerId}`,
        amount: 2380,
        currency: 'usd',
        metadata: Object(metadata),
      }),
    ]);
    expect(await attempts(key)).toMatchObject([{ state: 'succeeded' }, { state: 'requested' }]);
    expect(await inbox.balance(key.customerId)).toBe(3280);
    expect((await told(key)).at(-1)).toMatchObject({
      type: 'topup.succeeded',
      data: { late: true, amount_paid: 2380 },
    });
  });

  it('are parked where they name another customer, another currency, less, or nothing there is', async () => {
    const key = await begin({ payment: null }, 900);
    const [other = ''] = await makeCustomers(database.pool, [`other_${key.customerId}`]);
    await run();
    const metadata = Object((await told(key))[0]?.data.metadata);
    const wrong = {
      customer: [{ metadata: { ...metadata, wallet_customer_id: other } }, 'topup_mismatch'],
      currency: [{ currency: 'inr', metadata }, 'topup_mismatch'],
      less: [{ amount: 1999, metadata }, 'topup_mismatch'],
      unknown: [{ metadata: { ...metadata, wallet_topup_id: `top_${'0'.repeat(26)}` } }, 'unknown_topup'],
    } as const;
    for (const [name, [payment, reason]] of Object.entries(wrong)) {
      const paymentId = `pi_${name}_${key.customerId}`;
      await inbox.play([stripePayment({ amount: 2000, currency: 'usd', paymentId, ...payment })]);
      expect(await eventsOf(paymentId)).toEqual([{ state: 'parked', reason }]);
    }
    expect(await inbox.balance(key.customerId)).toBe(900);
    expect(await attempts(key)).toMatchObject([{ state: 'requested' }]);
  });

  it('block nobody else, nor decline for him: pending and failed ones of another customer or currency change nothing', async () => {
    const key = await begin({ payment: null }, 900);
    const [other = ''] = await makeCustomers(database.pool, [`blocker_${key.customerId}`]);
    await run();
    const metadata = Object((await told(key))[0]?.data.metadata);
    const wrong = [{ metadata: { ...metadata, wallet_customer_id: other } }, { metadata, currency: 'inr' }];
    for (const [index, payment] of wrong.entries()) {
      const tries = [
        { type: 'processing', createdSeconds: 1 },
        { type: 'payment_failed', createdSeconds: 2 },
      ] as const;
      for (const one of tries) {
        const paymentId = `pi_block_${index}_${key.customerId}`;
        await inbox.play([stripePayment({ amount: 2000, currency: 'usd', paymentId, ...one, ...payment })]);
        expect(await attempts(key)).toMatchObject([{ state: 'requested', payment_id: null }]);
      }
    }
    expect(await ruleOf(key)).toMatchObject({ failures_in_a_row: 0 });
  });

  it('at another source, or by another payment than the one that was charged, end no attempt that charges', async () => {
    const key = await begin({}, 900);
    stripe.plays.push('lost');
    await run();
    const [{ topup_id = '' } = {}] = await attempts(key);
    const metadata = { wallet_customer_id: key.customerId, wallet_purpose: 'topup', wallet_topup_id: topup_id };
    const paid = (paymentId: string) => stripePayment({ paymentId, amount: 2000, currency: 'usd', metadata });
    await inbox.play([paid(`pi_shop_${key.customerId}`)], shop);
    expect(await attempts(key)).toMatchObject([{ state: 'unknown' }]);
    pass(MINUTE);
    await run();
    await inbox.play([paid(`pi_own_${key.customerId}`)]);
    // It was paid, and is credited; but what was charged is still to come.
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(await kindsTold(key)).toContain('topup.paid_twice');
    await tellPaid(key);
    expect(await attempts(key)).toMatchObject([{ state: 'succeeded', payment_id: intentsOf(key)[0]?.id }]);
    expect(await inbox.balance(key.customerId)).toBe(6900);
  });

  it('twice: the second is credited as any top-up, and told of', async () => {
    const key = await begin({ payment: null }, 900);
    await run();
    const metadata = Object((await told(key))[0]?.data.metadata);
    for (const name of ['one', 'two']) {
      const paymentId = `pi_${name}_${key.customerId}`;
      await inbox.play([stripePayment({ amount: 2000, currency: 'usd', paymentId, metadata })]);
      expect(await eventsOf(paymentId)).toEqual([{ state: 'applied', reason: null }]);
    }
    expect(await inbox.balance(key.customerId)).toBe(4900);
    expect((await kindsTold(key)).toSorted()).toEqual(['topup.paid_twice', 'topup.requested', 'topup.succeeded']);
  });

  it('example 15: a refund takes back as for any top-up, the cap counts it, and after 600 s it may charge again', async () => {
    const key = await begin({ monthlyCap: 4000 }, 900);
    await run();
    await tellPaid(key);
    pass(24 * HOUR);
    const paymentId = intentsOf(key)[0]?.id ?? '';
    await inbox.play([stripeRefund({ paymentId, amount: 2000, currency: 'usd', status: 'succeeded' })]);
    expect(await inbox.balance(key.customerId)).toBe(900);
    await run();
    expect(await attempts(key)).toHaveLength(2);
    await tellPaid(key);
    await post(key, 2900, false);
    pass(11 * MINUTE);
    await run();
    expect(await attempts(key)).toHaveLength(2);
    expect(await kindsTold(key)).toContain('topup.blocked');
  });
});

describe('what the database itself says', () => {
  it('lets no second automatic attempt be in flight', async () => {
    const key = await begin({}, 900);
    await run();
    const copy = `insert into topup select (t).* from (select jsonb_populate_record(topup, '{"topup_id": "top_${'1'.repeat(26)}"}') as t
      from topup where customer_id = $1) x`;
    await expect(database.pool.query(copy, [key.customerId])).rejects.toMatchObject({ code: '23505' });
  });
});
