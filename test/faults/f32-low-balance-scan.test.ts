import { expect, it } from 'vitest';
import { createBoss } from '../../src/db/boss.ts';
import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit } from '../support/fault-traffic.ts';
import { makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import type { ServiceProcess } from '../support/process.ts';
import type { Fault, ProxiedStatement } from '../support/statement-proxy.ts';
import { eventually } from '../support/wait.ts';

/**
 * F32: the scan for low balances runs in two workers at once, is killed with -9 between and within its pages, or has not
 * run for a day. It looks at state and not at ticks, so that each crossing is told of once, and none is lost.
 */
const QUEUE = 'check-low-balances';
/** Three pages of the scan. */
const WALLETS = 450;
/** No tick comes in between; each worker makes one scan at its start. */
const ENVIRONMENT = { LOW_BALANCE_CRON: '0 0 1 1 *', LOG_LEVEL: 'debug' };
/** A release with other thresholds: only the scan can see that they make wallets low that nobody spends from. */
const RAISED = { LOW_BALANCE_THRESHOLDS: 'USD:9000,INR:50000' };

it.concurrent('two workers that scan at the same time alert once of each wallet', { timeout: 120_000 }, async ({
  onTestFinished,
}) => {
  const rig = await startRig(onTestFinished);
  const askForScan = await startAsking(rig, onTestFinished);
  await makeWallets(rig, 5_000);
  const pages = pairPages(rig);
  // Each worker asks for a scan when it starts. The first one's is under way by the time that the second starts, and waits for its scan.
  const first = await rig.startWorker(RAISED);
  await eventually('a scan to wait for another', () => pages.isOneWaiting());
  const workers = [first, await rig.startWorker(RAISED)];
  await eventually('both scans to end', () => workers.every((worker) => scansOf(worker).length === 1));
  const [one, two] = workers.flatMap(scansOf);
  expect(pages.pairs()).toBe(3);
  expect([one?.wallets, two?.wallets]).toEqual([WALLETS, WALLETS]);
  expect((one?.alerts ?? 0) + (two?.alerts ?? 0)).toBe(WALLETS);
  await rig.expectAllWell();

  pages.end();
  await askForScan();
  await eventually('one more scan to end', () => workers.flatMap(scansOf).length === 3);
  expect(await alertsByWallet(rig)).toEqual({ low: WALLETS });
});

const CANDIDATES = 'left join (select unnest($1::text[]) as currency, unnest($2::bigint[]) as threshold) as d';

interface Point {
  readonly when: Fault['when'];
  /** The k-th statement of the scan that holds this text. */
  readonly text: string;
  readonly k: number;
  /** How many wallets have been alerted of by then. */
  readonly alerted: number;
}

const POINTS: readonly Point[] = [
  // With a page written and not committed, with a page committed of which it was not told, and between two pages.
  { when: 'before', text: 'commit', k: 1, alerted: 0 },
  { when: 'after', text: 'commit', k: 1, alerted: 200 },
  { when: 'before', text: CANDIDATES, k: 2, alerted: 400 },
];

it.concurrent('a worker that is killed in the middle of a scan: the next one goes on, and alerts once of each wallet', {
  timeout: 120_000,
}, async ({ onTestFinished }) => {
  const rig = await startRig(onTestFinished);
  await makeWallets(rig, 5_000);
  for (const { when, text, k, alerted } of POINTS) {
    const worker = rig.spawn('jobs/worker.ts', RAISED);
    const kill: Fault = { when, connection: 'cut', meanwhile: () => worker.end('SIGKILL') };
    const armed = rig.proxy.arm(k, kill, ofScan(text));
    expect(await worker.exited).toBe('SIGKILL');
    armed.disarm();
    expect(await alertsByWallet(rig)).toEqual(alerted === 0 ? {} : { low: alerted });
  }
  // The quarter of a minute passes for which the dead hold wallets to be announced.
  await rig.database.pool.query('update unannounced_wallet set claimed_until = now()');
  const last = await rig.startWorker(RAISED);
  await eventually('a whole scan', () => scansOf(last).length > 0);
  await rig.expectAllWell();
  expect(await alertsByWallet(rig)).toEqual({ low: WALLETS });
});

it.concurrent('a day without a tick: each crossing is told of once by the first scan, and so is a reminder', {
  timeout: 120_000,
}, async ({ onTestFinished }) => {
  const rig = await startRig(onTestFinished);
  const { traffic, database } = rig;
  const askForScan = await startAsking(rig, onTestFinished);
  const newCustomers = Array.from({ length: 4 }, () => traffic.newCustomer(5_000));
  const [seenByScan = '', heldBack = '', stillLow = '', recovered = ''] = await Promise.all(newCustomers);
  // Told of as they happen, since the posting decides; the last of them is held back, for it comes within an hour.
  for (const customerId of [heldBack, stillLow, recovered]) await traffic.debit(newDebit(customerId, 4_500));
  await credit(rig, heldBack, 4_000);
  await traffic.debit(newDebit(heldBack, 4_000));
  const path = `/customers/${recovered}/wallets/USD/low-balance-threshold`;
  expect((await traffic.call('PUT', path, { threshold: 100 })).status).toBe(200);
  // The day passes.
  await database.pool.query(
    "update wallet set low_alerted_at = low_alerted_at - interval '1 day', low_since = low_since - interval '1 day'",
  );
  const reminding = { ...RAISED, LOW_BALANCE_REMINDER_SECONDS: '3600' };
  const worker = await rig.startWorker(reminding);
  await eventually('a scan', () => scansOf(worker).length === 1);
  await askForScan();
  await eventually('another scan', () => scansOf(worker).length === 2);
  await rig.expectAllWell();
  expect(await alertsOf(rig, seenByScan)).toEqual(['low']);
  expect(await alertsOf(rig, heldBack)).toEqual(['low', 'recovered', 'low']);
  expect(await alertsOf(rig, stillLow)).toEqual(['low', 'low again']);
  expect(await alertsOf(rig, recovered)).toEqual(['low', 'recovered']);
});

type OnTestFinished = (then: () => Promise<void>) => void;

async function startRig(onTestFinished: OnTestFinished): Promise<FaultRig> {
  const rig = await FaultRig.start(ENVIRONMENT);
  onTestFinished(() => rig.close());
  await rig.startWebHere();
  return rig;
}

/** Asks for a scan when called, as a tick does. */
async function startAsking({ database }: FaultRig, onTestFinished: OnTestFinished): Promise<() => Promise<void>> {
  const logger = createLogger('silent', 'test');
  const boss = createBoss({
    databaseUrl: database.workerUrl,
    applicationName: 'ticks',
    maxConnections: 2,
    works: false,
    logger,
  });
  await boss.start();
  onTestFinished(() => boss.stop({ graceful: false }));
  return async () => {
    await eventually('a scan to be asked for', () => boss.send(QUEUE, {}));
  };
}

/** Many wallets that hold `creditMinor`. */
async function makeWallets({ database: { pool } }: FaultRig, creditMinor: number): Promise<void> {
  const names = Array.from({ length: WALLETS }, (_, index) => `scan${index}`);
  const customers = await makeCustomers(pool, names);
  const postings = customers.map((customerId) => posting({ customerId, amountMinor: creditMinor }));
  await transaction(pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() }));
}

/** From now on every page that a scan has read waits until another scan has read it too. */
function pairPages({ proxy }: FaultRig) {
  let waiting: PromiseWithResolvers<void> | null = null;
  let pairs = 0;
  const meet = () => {
    const first = waiting;
    waiting = first === null ? Promise.withResolvers() : null;
    if (first === null) return waiting?.promise;
    pairs += 1;
    first.resolve();
  };
  const isPage = ofScan(CANDIDATES);
  const end = proxy.inject((statement) =>
    isPage(statement) ? { when: 'after', connection: 'kept', meanwhile: meet } : null,
  );
  return { isOneWaiting: () => waiting !== null, pairs: () => pairs, end };
}

/** Statements of scans that hold `text`; a COMMIT is one's whose connection has written alerts before. */
function ofScan(text: string): (statement: ProxiedStatement) => boolean {
  let writing: number | null = null;
  return ({ applicationName, connection, sql }) => {
    if (applicationName !== 'chokin-worker') return false;
    if (sql.includes('insert into wallet_alert')) writing = connection;
    return sql.includes(text) && (text !== 'commit' || connection === writing);
  };
}

interface Scan {
  readonly wallets: number;
  readonly alerts: number;
}

/** The scans that a worker has brought to their end. */
function scansOf(worker: ServiceProcess): Scan[] {
  const lines = worker
    .stdout()
    .split('\n')
    .filter((line) => line.includes('"low balances were checked"'));
  return lines.map((line) => JSON.parse(line));
}

/** How many wallets have had exactly these alerts. */
async function alertsByWallet({ database }: FaultRig): Promise<Record<string, number>> {
  const { rows } = await database.pool.query<{ told: string; wallets: number }>(
    `select told, count(*) as wallets
     from (select string_agg(kind, ', ' order by alert_seq) as told from wallet_alert group by customer_id, currency) w
     group by told`,
  );
  return Object.fromEntries(rows.map(({ told, wallets }) => [told, wallets]));
}

async function alertsOf({ database }: FaultRig, customerId: string): Promise<readonly string[]> {
  const { rows } = await database.pool.query<{ kind: string; reminder: boolean }>(
    'select kind, reminder from wallet_alert where customer_id = $1 order by alert_seq',
    [customerId],
  );
  return rows.map(({ kind, reminder }) => (reminder ? `${kind} again` : kind));
}

async function credit({ traffic }: FaultRig, customerId: string, amountMinor: number): Promise<void> {
  const entry = { amount: amountMinor, currency: 'USD', entry_type: 'credit' };
  expect((await traffic.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry)).status).toBe(200);
  traffic.owed.set(customerId, (traffic.owed.get(customerId) ?? 0) + amountMinor);
}
