import { signStripe, stripePaymentSucceeded } from '../../support/signing.ts';
import { eventually } from '../../support/wait.ts';
import { BASELINE_QUEUES } from '../baseline-database.ts';
import { anyCustomer } from '../fill.ts';
import { drive, type LoadRequest } from '../load.ts';
import { beside, besideBoth, type Measured, type Row, type Run } from '../row.ts';
import { inboxBatches, SQL_LIMIT } from '../sql-limits.ts';
import { limitSide, lookAtTables, settle } from './kit.ts';

/** W1: provider events, from the first that is posted until the last is credited. */

/** A payment of a customer, who is the same customer at the provider each time: who pays for many of ours makes them wait for his link. */
export const paymentOf = (customerId: string, metadata: Readonly<Record<string, string>> = {}, amount = 1) =>
  stripePaymentSucceeded({
    ...{ amount, customer: `${customerId}_at_stripe` },
    metadata: { wallet_customer_id: customerId, ...metadata },
  });

const eventRequest = (body: string): LoadRequest => ({
  method: 'POST',
  path: '/webhooks/stripe',
  headers: { ...signStripe(body) },
  body,
});

const PATIENCE_MS = 120_000;

interface Crediting {
  readonly url: string;
  readonly callers: number;
  readonly seconds: number;
  /** The body of one event. */
  readonly body: () => string;
  readonly prepare?: (count: number) => Promise<void>;
  /** Whether nothing that was taken waits to be credited. */
  readonly isDone: () => Promise<boolean>;
}

/**
 * Events posted as fast as they are taken, and the clock stopped when the last of them is credited. As many as would take the length of
 * a measurement at the rate of the one before.
 */
async function crediting({
  url,
  callers,
  seconds,
  body,
  isDone,
  prepare: prepareFor,
}: Crediting): Promise<{ prepare: () => Promise<void>; measure: () => Promise<Measured> }> {
  let rate = 200 / seconds;
  let requests: LoadRequest[] = [];
  const prepare = async () => {
    const count = Math.max(callers, Math.round(rate * seconds));
    await prepareFor?.(count);
    requests = Array.from({ length: count }, () => eventRequest(body()));
  };
  const measure = async () => {
    const count = requests.length;
    const startedAt = performance.now();
    const { p50Ms, p99Ms } = await drive(url, callers, PATIENCE_MS / 1000, () => requests.pop() ?? null);
    await eventually('every event to be credited', isDone, PATIENCE_MS);
    rate = count / ((performance.now() - startedAt) / 1000);
    return { value: rate, requests: count, p50Ms, p99Ms };
  };
  // Processes that have just started compile what they do.
  for (let round = 0; round < 2; round += 1) {
    await prepare();
    await measure();
  }
  return { prepare, measure };
}

/** @param prepare makes what so many bodies are about, before the clock starts */
export async function ourCrediting(
  { rig, seconds }: Run,
  callers: number,
  body: () => string,
  prepare: (count: number) => Promise<void> = async () => {},
) {
  const { url } = await rig.ours();
  const pool = rig.pool(await rig.main());
  const isDone = async () =>
    (await pool.query("select 1 from provider_event where state = 'pending' limit 1")).rowCount === 0;
  const credit = await crediting({ url, callers, seconds, body, isDone, prepare });
  await settle(pool);
  await lookAtTables(pool);
  return {
    prepare: credit.prepare,
    measure: async () => {
      const result = await credit.measure();
      await settle(pool);
      return result;
    },
  };
}

async function baselineCrediting({ rig, seconds }: Run, strength: 'strong' | 'naive', callers: number) {
  const database = await rig.baseline();
  const { url } = await rig.server(`${strength}-web`, database);
  await rig.server(`${strength}-worker`, database);
  const pool = rig.pool(database);
  const isDone = async () => {
    const left = await pool.query("select 1 from pgboss.job where name = $1 and state < 'completed' limit 1", [
      BASELINE_QUEUES[strength],
    ]);
    return left.rowCount === 0;
  };
  const credit = await crediting({ url, callers, seconds, body: () => paymentOf(anyCustomer()), isDone });
  await lookAtTables(pool);
  return credit;
}

const events = (callers: number): Row => ({
  id: 'W1',
  name: `events until credited, ${callers} callers`,
  unit: '/s',
  claims: [
    beside('strong baseline', 5, 'strong'),
    besideBoth('HTTP + HMAC and inbox batches', ['HTTP + HMAC', 'inbox batches'], 0.25),
    beside('naive baseline', null, 'naive'),
    beside('HTTP + HMAC', null),
    beside('inbox batches of 500', null, 'inbox batches'),
  ],
  sides: async (run) => {
    const body = paymentOf(anyCustomer());
    const request = eventRequest(body);
    const sqlPool = run.rig.pool(await run.rig.baseline(), SQL_LIMIT);
    return {
      ours: await ourCrediting(run, callers, () => paymentOf(anyCustomer())),
      strong: await baselineCrediting(run, 'strong', callers),
      naive: await baselineCrediting(run, 'naive', callers),
      'HTTP + HMAC': await limitSide(run, 'hmac', { concurrency: callers, next: () => request }),
      'inbox batches': () => inboxBatches(sqlPool, run.seconds, body),
    };
  },
});

export const EVENT_ROWS: readonly Row[] = [events(64), events(256)];
