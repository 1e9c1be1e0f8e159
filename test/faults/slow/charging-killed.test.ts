import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FaultRig } from '../../support/fault-rig.ts';
import type { ServiceProcess } from '../../support/process.ts';
import { drawnPoints } from '../../support/rounds.ts';
import { stripePaymentSucceeded } from '../../support/signing.ts';
import { atEveryStatement, type Fault, type ProxiedStatement, type UnderFault } from '../../support/statement-proxy.ts';
import { StripeCharging } from '../../support/stripe-charging.ts';
import { eventually } from '../../support/wait.ts';

/**
 * A worker that charges is killed with -9 where it talks to Stripe, and at every statement of its own (every third from one that is drawn;
 * all by `npm run test:all`). Time goes by, another worker goes on, and the customer is charged once and credited once.
 */
const KEY = 'sk_test_ChokinCharges';
const POINTS = drawnPoints(3);
let rig: FaultRig;
let stripe: StripeCharging;
let victim: ServiceProcess;
let customers = 0;

beforeAll(async () => {
  stripe = new StripeCharging(KEY);
  const url = await stripe.start();
  rig = await FaultRig.start({ STRIPE_API_KEY: KEY, STRIPE_CHARGING_KEY: KEY, STRIPE_API_URL: url });
  await rig.startWebHere();
});
afterAll(async () => {
  await rig.close();
  await stripe.stop();
});

/** A customer with a card and a rule, who has just fallen below its threshold. */
const customerToFillUp = (): Promise<string> => customerWithRule(900);

/** A customer with a card and a rule, who has enough, and is to be charged for a period of a schedule that is due. */
async function customerToRefill(): Promise<string> {
  const customerId = await customerWithRule(5000);
  const path = `/customers/${customerId}/wallets/USD/grant-schedules/yearly`;
  const { status } = await rig.traffic.call('PUT', path, { amount: 2000, every: 'year', charge: true });
  expect(status).toBe(200);
  return customerId;
}

async function customerWithRule(balance: number): Promise<string> {
  customers += 1;
  const customerId = await rig.traffic.newCustomer(balance);
  const provider = `cus_s${customers}`;
  stripe.addMethod({ id: `pm_${customers}`, customerId: provider, fingerprint: null });
  const rule = {
    ...{
      enabled: true,
      threshold: 1000,
      mode: 'amount',
      amount: 2000,
      monthly_cap: 20_000,
      min_interval_seconds: 86_400,
    },
    consent: { accepted_at: '2026-01-31T12:00:00Z', text_version: '1' },
    payment: { source_id: 'src_stripe', provider_customer_id: provider },
  };
  const { status } = await rig.traffic.call('PUT', `/customers/${customerId}/wallets/USD/top-up-rule`, rule);
  expect(status).toBe(200);
  return customerId;
}

const attempts = async (customerId: string) =>
  (await rig.database.pool.query<{ state: string }>('select state from topup where customer_id = $1', [customerId]))
    .rows;
const intentsOf = (customerId: string) =>
  stripe.intents.filter(({ metadata }) => metadata.wallet_customer_id === customerId);

async function isCharged(customerId: string): Promise<boolean> {
  return (await attempts(customerId)).some(({ state }) => state === 'charged');
}

/** What a dead worker had for itself is free again. How long that takes is for the leases to say. */
async function timeGoesBy(): Promise<void> {
  await rig.database.pool.query("update topup set look_at = now() where look_at is not null and state <> 'charged'");
  await rig.database.pool.query('update topup_due set retry_at = now()');
  // What could not be settled was put off.
  await rig.database.pool.query(
    'update grant_schedule set next_at = now() where next_at is not null and done = first_period',
  );
}

/** The next worker charges, Stripe tells of it, and all is well, once. */
async function expectFilledUpOnce(customerId: string): Promise<void> {
  await timeGoesBy();
  const next = await rig.startWorker();
  await eventually('the customer to be charged', () => isCharged(customerId), 60_000);
  expect(intentsOf(customerId)).toHaveLength(1);
  const [{ id: paymentId = '', amount = 0, metadata = {} } = {}] = intentsOf(customerId);
  const body = stripePaymentSucceeded({ paymentId, amount, currency: 'usd', metadata });
  await rig.traffic.deliver({ eventId: JSON.parse(body).id, customerId, effectMinor: amount, body });
  await eventually(
    'the top-up to have succeeded',
    async () => (await attempts(customerId)).every(({ state }) => state === 'succeeded'),
    60_000,
  );
  expect(await attempts(customerId)).toHaveLength(1);
  await next.end('SIGKILL');
}

describe('kill -9 of a worker that charges: the customer is charged once and credited once', () => {
  it('example 10, as a process: after Stripe accepted, before anything was noted', async () => {
    const customerId = await customerToFillUp();
    stripe.plays.push(async () => void (await victim.end('SIGKILL')));
    victim = rig.spawn('jobs/worker.ts');
    await eventually('the worker to be killed', () => victim.child.signalCode !== null, 60_000);
    expect(await attempts(customerId)).toEqual([{ state: 'charging' }]);
    expect(intentsOf(customerId)).toHaveLength(1);
    await expectFilledUpOnce(customerId);
    const key = intentsOf(customerId)[0]?.metadata.wallet_topup_id ?? '';
    expect(stripe.keys.filter((one) => one === key).length).toBeGreaterThanOrEqual(2);
  }, 180_000);

  it.each([
    ['before', 'who is low', customerToFillUp],
    ['after', 'who is low', customerToFillUp],
    ['before', 'of whom a period of a schedule is due', customerToRefill],
    ['after', 'of whom a period of a schedule is due', customerToRefill],
  ] as const)(
    'at its statements, %s they reach the server, for a customer %s',
    async (when, _, customerToCharge) => {
      const kill: Fault = { when, connection: 'cut', meanwhile: () => victim.end('SIGKILL') };
      let names = transactionsThatName('');
      const counts = (statement: ProxiedStatement) => names(statement);
      const killed: string[] = [];
      const attempt = async (under: UnderFault) => {
        const customerId = await customerToCharge();
        names = transactionsThatName(customerId);
        await under(async () => {
          victim = rig.spawn('jobs/worker.ts');
          const isOver = async () => victim.child.signalCode !== null || (await isCharged(customerId));
          await eventually('the worker to be killed or to have charged', isOver, 60_000);
        });
        await victim.end('SIGKILL');
        killed.push(customerId);
      };
      const { length: points } = await atEveryStatement(rig.proxy, kill, counts, attempt, POINTS);
      console.info(`a worker that charges, killed ${when}: ${points} points`);
      expect(points).toBeGreaterThanOrEqual(3);
      for (const customerId of killed) await expectFilledUpOnce(customerId);
    },
    900_000,
  );

  it('and the books agree', async () => {
    await rig.startWorker();
    await rig.expectAllWell();
  }, 120_000);
});

function transactionsThatName(marker: string): (statement: ProxiedStatement) => boolean {
  const open = new Set<number>();
  return ({ applicationName, connection, sql, holds }) => {
    if (applicationName !== 'chokin-worker') return false;
    if (holds(marker)) open.add(connection);
    const isCounted = open.has(connection);
    if (sql === 'commit') open.delete(connection);
    return isCounted;
  };
}
