import { setTimeout as delay } from 'node:timers/promises';
import { migrate } from '../../../src/commands/migrate.ts';
import type { Pool } from '../../../src/db/pool.ts';
import { transaction } from '../../../src/db/transaction.ts';
import { invariant } from '../../../src/errors.ts';
import { putRule } from '../../../src/top-ups/manage.ts';
import { StripeCharging } from '../../support/stripe-charging.ts';
import { eventually } from '../../support/wait.ts';
import { customer, debit, forgetNews, MERCHANT, newKey, openFor, post, postAll, SETTINGS } from '../fill.ts';
import { drive, type LoadRequest } from '../load.ts';
import { beside, itself, median, type Row, type Run } from '../row.ts';
import { ourSide } from './kit.ts';

/** What rules that fill wallets up cost plain debits, and how soon they act. */

const CALLERS = 64;
/** So many wallets have rules, of each row its own. */
const OWNERS = 2_000;
const ABOVE_ALL = 1_500_000_000;
const CHARGE_KEY = 'sk_test_ChokinBenchmark';
const PATIENCE_MS = 120_000;

/** A rule that asks the merchant to charge. */
async function giveRules(pool: Pool, customers: readonly string[], threshold: number): Promise<void> {
  const now = new Date();
  const terms = {
    ...{
      enabled: true,
      mode: 'amount' as const,
      amount: 1_000_000_000,
      target: null,
      maxCharge: 1_000_000_000,
      payment: null,
    },
    ...{ monthlyCap: 9_000_000_000, maxPerDay: 10, minIntervalSeconds: 60, timeZone: 'UTC', source: null, threshold },
    consent: { acceptedAt: now, textVersion: '1' },
  };
  for (const customerId of customers) {
    const key = { merchantId: MERCHANT, customerId, currency: 'USD' };
    await transaction(pool, (tx) => putRule(tx, { ...key, ...terms }, { currencies: SETTINGS.currencies, now }));
  }
}

/** So often it is looked: counting takes from what is measured. */
const LOOK_EVERY_MS = 200;

/** Waits until merchants were asked so often to charge. */
async function asked(pool: Pool, count: number): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const { rows } = await pool.query<{ count: number }>('select count(*) as count from topup');
    if ((rows[0]?.count ?? 0) >= count) return;
    invariant(performance.now() < deadline, 'merchants were not asked in time');
    await delay(LOOK_EVERY_MS);
  }
}

interface Ruled {
  readonly name: string;
  readonly bar: number;
  /** Whose wallets have the rules. */
  readonly first: number;
  readonly threshold: number;
  /** How many attempts come of that. */
  readonly asks: number;
}

const ruledRow = ({ name, bar, first, threshold, asks }: Ruled): Row => ({
  ...{ id: 'top-ups', name: `debits, ${name}, ${CALLERS} callers`, unit: '/s', claims: [beside('no rule', bar)] },
  sides: async (run) => {
    const pool = run.rig.pool(await run.rig.main());
    await run.rig.ours();
    await giveRules(
      pool,
      Array.from({ length: OWNERS }, (_, index) => customer(first + index)),
      threshold,
    );
    await asked(pool, asks);
    await forgetNews(pool);
    // Rules write to wallets: what they left is tidied up, and both sides have pages of the same kind.
    await pool.query('vacuum (analyze) wallet');
    const owner = (from: number) => customer(from + Math.floor(Math.random() * OWNERS));
    return {
      ours: await ourSide(run, CALLERS, () => debit(owner(first))),
      'no rule': await ourSide(run, CALLERS, () => debit(owner(first + OWNERS))),
    };
  },
});

const DUE = 10_000;
const BEFORE = 150;
const IN_A_BATCH = 1_000;

/** All of them are debited below their thresholds at once; until each was looked at, and its merchant asked. */
const mass: Row = {
  ...{ id: 'top-ups', name: '10,000 wallets due at once, until all are decided', unit: 's', rounds: 1 },
  claims: [itself(20)],
  sides: async ({ rig, scale }) => {
    const count = Math.round(DUE * scale);
    const customers = Array.from({ length: count }, (_, index) => customer(index));
    let url = '';
    const databaseUrl = await rig.database('bench_due', async (database) => {
      await migrate(database, rig.logger);
      url = (await rig.server('web', database)).url;
      const pool = rig.pool(database);
      await openFor(pool, customers);
      await postAll(
        pool,
        customers.map((customerId) => ({ customerId, amountMinor: BEFORE })),
      );
      await giveRules(pool, customers, BEFORE);
      await forgetNews(pool);
      await pool.query('vacuum analyze');
    });
    await rig.server('worker', databaseUrl);
    const pool = rig.pool(databaseUrl);
    const debits = customers.map((customer_id) => ({
      ...{ customer_id, amount: 1, currency: 'USD', entry_type: 'debit', reason: 'bench', idempotency_key: newKey() },
    }));
    return {
      ours: async () => {
        const startedAt = performance.now();
        const batches: LoadRequest[] = [];
        for (let from = 0; from < count; from += IN_A_BATCH)
          batches.push(post('/ledger-entries/batch', { entries: debits.slice(from, from + IN_A_BATCH) }));
        await drive(url, 2, PATIENCE_MS / 1000, () => batches.pop() ?? null);
        await asked(pool, count);
        return { value: (performance.now() - startedAt) / 1000, requests: count };
      },
    };
  },
};

const EACH_SECOND = 10;
const CHARGED = 50;

async function chargedSides({ rig }: Run) {
  const stripe = new StripeCharging(CHARGE_KEY);
  const environment = {
    ...{ STRIPE_API_URL: await stripe.start(), STRIPE_API_KEY: CHARGE_KEY, STRIPE_CHARGING_KEY: CHARGE_KEY },
    CHARGE_RATE: '25',
  };
  rig.onStop(() => stripe.stop());
  let url = '';
  const databaseUrl = await rig.database('bench_charges', async (database) => {
    await migrate(database, rig.logger);
    url = (await rig.server('web', database, environment)).url;
  });
  await rig.server('worker', databaseUrl, environment);
  const pool = rig.pool(databaseUrl);
  const send = (request: LoadRequest) => {
    const requests = [request];
    return drive(url, 1, PATIENCE_MS / 1000, () => requests.pop() ?? null);
  };
  let made = 0;
  const ours = async () => {
    const customers = Array.from({ length: CHARGED }, (_, index) => customer(made + index));
    made += CHARGED;
    await openFor(pool, customers);
    await postAll(
      pool,
      customers.map((customerId) => ({ customerId, amountMinor: 1_000 })),
    );
    for (const customerId of customers) {
      const provider = `cus_of_${customerId}`;
      stripe.addMethod({ id: `pm_of_${customerId}`, customerId: provider, fingerprint: null });
      const rule = {
        ...{ enabled: true, threshold: 1_000, mode: 'amount', amount: 2_000, monthly_cap: 20_000 },
        payment: { source_id: 'src_stripe', provider_customer_id: provider },
        consent: { accepted_at: new Date().toISOString(), text_version: '1' },
      };
      await send({ ...post(`/customers/${customerId}/wallets/USD/top-up-rule`, rule), method: 'PUT' });
    }
    const waits: number[] = [];
    for (const customerId of customers) {
      await send(debit(customerId));
      const answeredAt = performance.now();
      void eventually(
        'a charge to be asked for',
        () => stripe.intents.some(({ metadata }) => metadata.wallet_customer_id === customerId),
        PATIENCE_MS,
      ).then(() => waits.push(performance.now() - answeredAt));
      await delay(1000 / EACH_SECOND);
    }
    await eventually('every charge to be asked for', () => waits.length === CHARGED, PATIENCE_MS);
    waits.sort((a, b) => a - b);
    return { value: (waits[Math.floor(0.95 * CHARGED)] ?? Number.NaN) / 1000, requests: CHARGED, p50Ms: median(waits) };
  };
  return { ours };
}

const charge: Row = {
  ...{ id: 'top-ups', name: `debit until the charge is asked for, ${EACH_SECOND} a second, p95`, unit: 's', rounds: 2 },
  claims: [itself(3)],
  sides: chargedSides,
};

export const TOP_UP_ROWS: readonly Row[] = [
  ruledRow({ name: 'with a rule and far above it', bar: 0.98, first: 6_000, threshold: 10, asks: 0 }),
  ruledRow({ name: 'below a rule and waiting', bar: 0.95, first: 10_000, threshold: ABOVE_ALL, asks: OWNERS }),
  mass,
  charge,
];
