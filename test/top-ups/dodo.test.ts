import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { type ConnectCharger, connectChargers, type OpenCharger } from '../../src/charging/connect.ts';
import { GatewayMinimums } from '../../src/charging/minimums.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import type { WalletKey } from '../../src/ledger/entry.ts';
import { postBatch } from '../../src/ledger/store.ts';
import type { Source } from '../../src/merchants/source.ts';
import { connectWith } from '../../src/reconciliation/connect.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { type ChargeServices, chargeTopUps } from '../../src/top-ups/charge.ts';
import { deleteRule, putRule } from '../../src/top-ups/manage.ts';
import { Pace } from '../../src/top-ups/pace.ts';
import type { TopUpTerms } from '../../src/top-ups/rule.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type ChargedPayment, DodoCharging } from '../support/dodo-charging.ts';
import { dyingAfter } from '../support/dying-pool.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { type DodoPayment, dodoPayment } from '../support/signing.ts';

/** Wallets that are filled up by on-demand subscriptions, where every request is another charge. */

const KEY = 'dodo.test.charges';
const START = new Date('2026-03-10T12:00:00Z');
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ORIGIN = { sourceId: 'src_dodo', chargeKey: new Secret(KEY) };

let database: TestDatabase;
let inbox: TestInbox;
let dodo: DodoCharging;
let services: ChargeServices;
let url: string;
let now = START;
let customers = 0;
const source = testSource('dodo', ORIGIN);
const live = testSource('dodo', { ...ORIGIN, sourceId: 'src_live', mode: 'live' });
const TERMS: Omit<TopUpTerms, 'payment'> = {
  ...{ enabled: true, threshold: 1000, mode: 'amount', amount: 2000, target: null, maxCharge: 2000 },
  ...{ monthlyCap: 100_000, maxPerDay: 10, minIntervalSeconds: 600, timeZone: 'UTC' },
  consent: { acceptedAt: START, textVersion: '1' },
};

beforeAll(async () => {
  database = await createTestDatabase();
  dodo = new DodoCharging(KEY);
  dodo.now = () => now;
  url = await dodo.start();
  inbox = await startInbox(database, { sources: [source, live] });
  Object.assign(inbox.services, { clock: { now: () => now } });
  services = {
    ...{ pool: inbox.services.pool, sources: inbox.services.sources, clock: { now: () => now } },
    ...{ logger: createLogger('silent', 'test'), connect: chargers(), pace: new Pace(1000) },
    minimums: new GatewayMinimums(new Map([['dodo/USD', 50]])),
    heal: async () => {},
    onPosted: () => {},
    signal: new AbortController().signal,
  };
  // The key is of the account that the source's events come from: whoever is charged first is not to keep all others waiting.
  const first = await begin();
  await run();
  await tell(first);
  services = { ...services, connect: chargers() };
});

beforeEach(() => {
  dodo.plays.length = 0;
});

afterAll(async () => {
  const { disagreements } = await audit(autocommit(database.pool));
  expect(disagreements.filter(({ rule }) => rule.startsWith('11'))).toEqual([]);
  await inbox.stop();
  await dodo.stop();
  await database.drop();
});

/** One that has asked for nobody's account yet. */
function chargers(): ConnectCharger {
  const apiUrls = new Map([['dodo', url]] as const);
  const connectApi = connectWith({ apiUrls });
  const logger = createLogger('silent', 'test');
  return connectChargers({ config: { apiUrls }, pool: inbox.services.pool, logger, connectApi });
}

/** Chargers of which something else happens after the provider has answered, or before it is asked. */
function meddled(meddle: (charger: OpenCharger) => Partial<OpenCharger>): ConnectCharger {
  return async (of) => {
    const charger = await services.connect(of);
    return charger === null ? null : { ...charger, ...meddle(charger) };
  };
}

const pass = (milliseconds: number) => {
  now = new Date(now.getTime() + milliseconds);
};
const run = (changes: Partial<ChargeServices> = {}) => chargeTopUps({ ...services, ...changes });

type Customer = WalletKey & { readonly subscription: string; readonly payer: string };

async function putAgain(key: Customer, terms: Partial<TopUpTerms> = {}, at: Source = source): Promise<void> {
  const payment = { sourceId: at.sourceId, providerCustomerId: key.payer, paymentMethodId: key.subscription };
  const { merchantId, customerId, currency } = key;
  const rule = { ...{ merchantId, customerId, currency }, ...TERMS, payment, ...terms, source: at };
  await transaction(database.pool, (tx) => putRule(tx, rule, { currencies: SETTINGS.currencies, now }));
}

/** A customer below the threshold, with a subscription and a rule. */
async function begin(says = 'yes', at: Source = source): Promise<Customer> {
  customers += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`c${customers}`]);
  const [subscription, payer] = [`sub_${customers}`, `cus_d${customers}`];
  const key = { merchantId: MERCHANT, customerId, currency: 'USD', subscription, payer };
  dodo.addSubscription({ id: subscription, customerId: payer, says });
  const one = posting({ customerId, amountMinor: 900, isCredit: true, idempotencyKey: null });
  await transaction(database.pool, (tx) => postBatch(tx, [one], { ...SETTINGS, now }));
  await putAgain(key, {}, at);
  return key;
}

async function attempts({ customerId }: WalletKey) {
  const { rows } = await database.pool.query<{ state: string; topup_id: string; decline_code: string | null }>(
    'select state, topup_id, reason, decline_code, is_late from topup where customer_id = $1 order by created_at, topup_id',
    [customerId],
  );
  return rows;
}

async function ruleOf({ customerId }: WalletKey) {
  const { rows } = await database.pool.query('select * from topup_rule where customer_id = $1', [customerId]);
  return rows[0];
}

const askedOf = ({ subscription }: Customer) => dodo.asked.filter((one) => one === subscription);

const paymentsOf = ({ subscription }: Customer) =>
  dodo.payments.filter(({ subscriptionId }) => subscriptionId === subscription);

function eventOf(payment: ChargedPayment | undefined, more: DodoPayment = {}, errorCode: string | null = null): string {
  if (payment === undefined) throw new Error('nothing was paid');
  const { id: paymentId, amount, currency, metadata, subscriptionId, customerId } = payment;
  const event = JSON.parse(
    dodoPayment({ paymentId, amount, currency, metadata, subscriptionId, customer: { id: customerId }, ...more }),
  );
  return JSON.stringify({ ...event, data: { ...event.data, error_code: errorCode } });
}

/** Dodo tells of the customer's newest payment. */
const tell = (key: Customer, more: DodoPayment = {}, errorCode: string | null = null) =>
  inbox.play([eventOf(paymentsOf(key).at(-1), more, errorCode)]);

const balance = ({ customerId }: WalletKey) => inbox.balance(customerId);

describe('filling a wallet up by an on-demand subscription', () => {
  it('charges once, and the event of the payment credits it once', async () => {
    const key = await begin();
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(await balance(key)).toBe(900);
    for (let minutes = 0; minutes < 9; minutes += 1) {
      pass(MINUTE);
      await run();
    }
    await tell(key);
    await tell(key);
    expect(await balance(key)).toBe(2900);
    expect(await attempts(key)).toMatchObject([{ state: 'succeeded' }]);
    expect(paymentsOf(key)).toHaveLength(1);
  });

  it('wants the rule to name a subscription', async () => {
    const key = await begin();
    for (const paymentMethodId of [null, 'pm_1', 'sub_', 'sub_../x']) {
      const payment = { sourceId: source.sourceId, providerCustomerId: key.payer, paymentMethodId };
      await expect(putAgain(key, { payment })).rejects.toMatchObject({
        refusal: { code: 'INVALID_FIELD', field: 'payment.payment_method_id' },
      });
    }
  });

  it('tries again an hour after a soft decline, and not after a hard one before the saved method is another', async () => {
    const soft = await begin('INSUFFICIENT_FUNDS');
    const hard = await begin('LOST_CARD');
    await run();
    expect(await attempts(soft)).toMatchObject([{ state: 'declined', decline_code: 'insufficient_funds' }]);
    expect(await ruleOf(soft)).toMatchObject({ suspended_reason: null });
    expect(await attempts(hard)).toMatchObject([{ state: 'declined', decline_code: 'lost_card' }]);
    expect(await ruleOf(hard)).toMatchObject({ suspended_reason: 'declined' });
    pass(HOUR);
    await run();
    expect(await attempts(soft)).toHaveLength(2);
    pass(48 * HOUR);
    await run();
    expect(await attempts(hard)).toHaveLength(1);
    dodo.addSubscription({ id: hard.subscription, customerId: hard.payer, methodId: 'pm_new' });
    pass(24 * HOUR);
    await run();
    expect(await attempts(hard)).toMatchObject([{ state: 'declined' }, { state: 'charged' }]);
  });

  it('hears of a decline that comes as an event, and what kind it is', async () => {
    const soft = await begin('processing');
    const hard = await begin('processing');
    await run();
    expect(await attempts(soft)).toMatchObject([{ state: 'processing' }]);
    await tell(soft, { type: 'failed' }, 'INSUFFICIENT_FUNDS');
    await tell(hard, { type: 'failed' }, 'CARD_DECLINED');
    expect(await attempts(soft)).toMatchObject([{ state: 'declined', decline_code: 'insufficient_funds' }]);
    expect(await ruleOf(soft)).toMatchObject({ suspended_reason: null });
    expect(await attempts(hard)).toMatchObject([{ state: 'declined', decline_code: 'card_declined' }]);
    expect(await ruleOf(hard)).toMatchObject({ suspended_reason: 'declined' });
  });

  it('charges nobody by a subscription of another currency or another customer', async () => {
    const key = await begin();
    dodo.addSubscription({ id: key.subscription, customerId: key.payer, fields: { currency: 'EUR' } });
    const theirs = await begin();
    dodo.addSubscription({ id: theirs.subscription, customerId: 'cus_other' });
    await run();
    for (const one of [key, theirs]) {
      expect(await attempts(one)).toMatchObject([{ state: 'declined', decline_code: 'no_payment_method' }]);
      expect(paymentsOf(one)).toEqual([]);
      expect(askedOf(one)).toEqual([]);
    }
  });

  it('lets the event come before the answer: what is paid stays so, what failed is not waited for', async () => {
    const paid = await begin();
    dodo.plays.push(() => tell(paid));
    await run();
    expect(await attempts(paid)).toMatchObject([{ state: 'succeeded' }]);
    expect(await balance(paid)).toBe(2900);
    const failed = await begin('processing');
    const connect = meddled((charger) => ({
      async chargeSaved(request, key) {
        const answer = await charger.chargeSaved(request, key);
        await tell(failed, { type: 'failed' }, 'INSUFFICIENT_FUNDS');
        return answer;
      },
    }));
    await run({ connect });
    expect(await attempts(failed)).toMatchObject([{ state: 'declined' }]);
    expect(paymentsOf(failed)).toHaveLength(1);
  });
});

describe('a charge of which the outcome is not known', () => {
  it.each(['lost', 'error', 'unread'] as const)(
    'since its answer was %s, is looked for, and is one payment',
    async (play) => {
      const key = await begin();
      dodo.plays.push(play);
      await run();
      expect(await attempts(key)).toMatchObject([{ state: 'unknown' }]);
      pass(MINUTE);
      await run();
      expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
      await tell(key);
      expect(await balance(key)).toBe(2900);
      expect(paymentsOf(key)).toHaveLength(1);
      expect(askedOf(key)).toHaveLength(1);
    },
  );

  it('and came to nothing is declined, as the list says', async () => {
    const key = await begin('EXPIRED_CARD');
    dodo.plays.push('lost');
    await run();
    pass(MINUTE);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'declined', decline_code: 'expired_card' }]);
    expect(await ruleOf(key)).toMatchObject({ suspended_reason: 'declined' });
  });

  it.each(['a limit', 'a refused connection'])(
    'for %s, is never asked again: it has failed after 23 hours, without a decline, and is charged once',
    async (cause) => {
      const key = await begin();
      const connect = meddled((charger) => ({
        async chargeSaved(request, name) {
          await dodo.stop();
          const answer = await charger.chargeSaved(request, name);
          await dodo.start();
          return answer;
        },
      }));
      if (cause === 'a limit') dodo.plays.push([429, 'RATE_LIMITED']);
      await run(cause === 'a limit' ? {} : { connect });
      const asked = askedOf(key).length;
      for (const step of [MINUTE, MINUTE, HOUR, 10 * HOUR, 11 * HOUR, 57 * MINUTE]) {
        pass(step);
        await run();
        expect(await attempts(key)).toMatchObject([{ state: 'unknown' }]);
      }
      expect(askedOf(key)).toHaveLength(asked);
      pass(2 * HOUR);
      await run();
      expect(await attempts(key)).toMatchObject([{ state: 'failed', reason: 'outcome_unknown' }]);
      expect(await ruleOf(key)).toMatchObject({ failures_in_a_row: 0, suspended_reason: null });
      pass(HOUR);
      await run();
      expect(await attempts(key)).toMatchObject([{ state: 'failed' }, { state: 'charged' }]);
      expect(paymentsOf(key)).toHaveLength(1);
    },
  );

  it('is credited late, where a payment comes up after it had failed', async () => {
    const key = await begin();
    dodo.plays.push([503, 'SERVICE_UNAVAILABLE']);
    await run();
    pass(24 * HOUR);
    await run();
    const [attempt] = await attempts(key);
    expect(attempt).toMatchObject({ state: 'failed' });
    dodo.addPayment({
      ...{
        subscriptionId: key.subscription,
        customerId: key.payer,
        amount: 2000,
        currency: 'USD',
        status: 'succeeded',
      },
      metadata: { wallet_customer_id: key.customerId, wallet_topup_id: attempt?.topup_id ?? '' },
    });
    await tell(key);
    expect(await attempts(key)).toMatchObject([{ state: 'succeeded', is_late: true }]);
    expect(await balance(key)).toBe(2900);
  });

  it('is looked for also after the rule is gone, and while Dodo lists nothing nothing is known', async () => {
    const key = await begin();
    dodo.plays.push('lost');
    await run();
    const { merchantId, customerId, currency } = key;
    await transaction(database.pool, (tx) => deleteRule(tx, { merchantId, customerId, currency }, now));
    await dodo.stop();
    pass(30 * HOUR);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'unknown' }]);
    await dodo.start();
    pass(HOUR);
    await run();
    expect(await attempts(key)).toMatchObject([{ state: 'charged' }]);
    expect(askedOf(key)).toHaveLength(1);
  });

  it('since its worker was killed at any of its statements, is one payment in the end', async () => {
    for (let statements = 0, isDead = true; isDead; statements += 1) {
      const key = await begin();
      const victim = dyingAfter(inbox.services.pool, statements);
      await run({ pool: victim.pool }).catch(() => {});
      isDead = victim.isDead();
      expect(statements).toBeLessThan(100);
      for (let hours = 0; hours < 30 && paymentsOf(key).length === 0; hours += 1) {
        pass(HOUR);
        await run();
      }
      pass(2 * MINUTE);
      await run();
      const states = (await attempts(key)).map(({ state }) => state);
      expect(states.at(-1), `killed at statement ${statements}`).toBe('charged');
      expect(states.slice(0, -1).filter((state) => state !== 'failed')).toEqual([]);
      await tell(key);
      expect(await balance(key)).toBe(2900);
      expect(paymentsOf(key)).toHaveLength(1);
    }
  });
});

describe('the key that charges', () => {
  const ofLive = () => database.pool.query('delete from topup_due where merchant_id = $1', [MERCHANT]);

  it('charges one at a time before an event has come, and nobody where it does not find what the source was told of', async () => {
    await ofLive();
    const keys = [await begin('yes', live), await begin('yes', live)];
    await run({ connect: chargers() });
    pass(2 * MINUTE);
    await run({ connect: chargers() });
    expect(keys.flatMap(paymentsOf)).toHaveLength(1);
    const first = keys.find((key) => paymentsOf(key).length === 1);
    const second = keys.find((key) => paymentsOf(key).length === 0);
    if (first === undefined || second === undefined) throw new Error('not one was charged');
    await inbox.play([eventOf(paymentsOf(first).at(-1))], live);
    // Of another account: it does not know the payment.
    const [payment] = paymentsOf(first);
    const known = dodo.payments.splice(0);
    pass(2 * MINUTE);
    await run({ connect: chargers() });
    expect(dodo.payments).toEqual([]);
    dodo.payments.push(...known);
    expect(payment?.status).toBe('succeeded');
    pass(2 * MINUTE);
    await run({ connect: chargers() });
    expect(paymentsOf(second)).toHaveLength(1);
  });
});
