import { describe, expect, it, type TestContext } from 'vitest';
import { applyEvents } from '../../src/inbox/apply.ts';
import { createTestDatabase } from '../support/database.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { paymentEvent } from '../support/fault-traffic.ts';
import { giveEachEventItsJob, startInbox } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';
import { type Fault, type FaultRule, StatementProxy } from '../support/statement-proxy.ts';
import { eventually } from '../support/wait.ts';

/**
 * F5: a worker freezes while it applies events (SIGSTOP), for so long that its jobs are given to another one, and then
 * goes on as if nothing had been. Whatever it does then is rolled back: each payment is credited once.
 */
const QUEUE = 'apply-provider-event';
const EVENTS = 12;
/** A heartbeat of 10 s that is looked for every 5 s (src/db/queues.ts), and the first retry. */
const TAKEN_OVER_MS = 30_000;

interface Point {
  readonly name: string;
  readonly when: Fault['when'];
  readonly statement: string;
  /** How often each job was given out in the end, besides the first time. */
  readonly retries: number;
}

const POINTS: readonly Point[] = [
  { name: 'before COMMIT', when: 'before', statement: 'commit', retries: 1 },
  { name: 'after it locked the wallets', when: 'after', statement: 'for update of w', retries: 1 },
  { name: 'after it wrote the entries', when: 'after', statement: 'insert into entry', retries: 1 },
  { name: 'after COMMIT', when: 'after', statement: 'commit', retries: 0 },
];

describe.concurrent('a worker that freezes', () => {
  it('and goes on when another one has claimed its jobs: it posts everything and can commit nothing of it', {
    timeout: 180_000,
  }, async ({ onTestFinished }) => {
    const rig = await startRig(onTestFinished);
    const { proxy, database } = rig;
    const secondProxy = await StatementProxy.start(database.url);
    onTestFinished(() => secondProxy.close());
    const [first, second] = [await rig.startWorker(), await rig.startWorker({ DATABASE_URL: secondProxy.url })];
    const [letFirst, letSecond] = [holdClaims(rig), holdTransactions(secondProxy)];
    const [byFirst, bySecond] = [new Applying(), new Applying()];
    proxy.inject(byFirst.follow);
    secondProxy.inject(bySecond.follow);
    for (const { child } of [first, second]) child.kill('SIGSTOP');
    await database.pool.query('update pgboss.queue set retry_delay = 0, retry_backoff = false where name = $1', [
      QUEUE,
    ]);
    await deliverEvents(rig);
    first.child.kill('SIGCONT');
    await eventually('the first to claim the jobs', () => areClaimed(rig, 0));
    first.child.kill('SIGSTOP');
    second.child.kill('SIGCONT');
    // The minute of its claim goes by.
    await database.pool.query("update pgboss.job set started_on = now() - interval '1 minute' where name = $1", [
      QUEUE,
    ]);
    await eventually('the second to claim them', () => areClaimed(rig, 1));

    first.child.kill('SIGCONT');
    letFirst();
    const failures = () => first.output().split('an event could not be applied and is retried').length - 1;
    await eventually('the first to have failed with each', () => failures() === EVENTS);
    // It tried them together and then each by itself.
    expect(byFirst.transactions).toHaveLength(1 + EVENTS);
    for (const one of byFirst.transactions) expect(one).toMatchObject({ posts: true, end: 'rollback' });
    expect((await database.pool.query('select 1 from entry')).rowCount).toBe(0);
    letSecond();
    expect(await first.end('SIGTERM')).toBe(0);
    await rig.expectAllWell();
    expect(bySecond.transactions.filter(({ end }) => end === 'commit')).toHaveLength(EVENTS);
  });

  it.for(POINTS.slice(0, rounds(1, POINTS.length)))(
    '$name, and goes on when another one has done its work: each payment is credited once',
    { timeout: 120_000 },
    async ({ when, statement, retries }, { onTestFinished }) => {
      const rig = await startRig(onTestFinished);
      // No worker is there yet, so that the first one applies them together.
      await deliverEvents(rig);
      const applying = new Applying();
      const { promise, resolve } = Promise.withResolvers<void>();
      const fault: Fault = { when, connection: 'kept', meanwhile: () => promise };
      const armed = rig.proxy.arm(
        1,
        fault,
        ({ connection, sql }) => applying.on(connection) !== undefined && sql.includes(statement),
      );
      rig.proxy.inject(applying.follow);
      const first = await rig.startWorker();
      await eventually('the first to be there', () => armed.hit !== null);
      first.child.kill('SIGSTOP');
      await rig.startWorker();
      await eventually('all to be applied', async () => (await jobsOf(rig)).every(isDone(retries)), TAKEN_OVER_MS);

      first.child.kill('SIGCONT');
      resolve();
      expect(await first.end('SIGTERM')).toBe(0);
      await rig.expectAllWell();
      expect((await jobsOf(rig)).every(isDone(retries))).toBe(true);
    },
  );

  it.for(POINTS.slice(0, rounds(1, POINTS.length)))(
    '$name with jobs of many events, and goes on when another one has done its work: each payment is credited once',
    { timeout: 120_000 },
    async ({ when, statement, retries }, { onTestFinished }) => {
      const rig = await startRig(onTestFinished, 'jobs of many');
      await deliverEvents(rig);
      const applying = new Applying();
      const { promise, resolve } = Promise.withResolvers<void>();
      const fault: Fault = { when, connection: 'kept', meanwhile: () => promise };
      const armed = rig.proxy.arm(
        1,
        fault,
        ({ connection, sql }) => applying.on(connection) !== undefined && sql.includes(statement),
      );
      rig.proxy.inject(applying.follow);
      const first = await rig.startWorker();
      await eventually('the first to be there', () => armed.hit !== null);
      first.child.kill('SIGSTOP');
      await rig.startWorker();
      const ofEvents = async () => [await jobsIn(rig, 'apply-provider-events'), await jobsIn(rig, QUEUE)].flat();
      const areDone = async () => (await ofEvents()).every(({ state }) => state === 'completed');
      await eventually('all to be applied', async () => (await areDone()) && (await areApplied(rig)), TAKEN_OVER_MS);
      const before = await ofEvents();

      first.child.kill('SIGCONT');
      resolve();
      expect(await first.end('SIGTERM')).toBe(0);
      await rig.expectAllWell();
      expect(await ofEvents()).toEqual(before);
      const shared = await jobsIn(rig, 'apply-provider-events');
      expect(Math.max(...shared.map((job) => job.retries))).toBe(retries);
    },
  );

  it('finds, when it completes a job that was given out again, that it is not its own any more', async () => {
    const database = await createTestDatabase();
    const [customerId = ''] = await makeCustomers(database.pool, ['frozen']);
    const inbox = await startInbox(database, { works: false, sharesJobs: false });
    const { boss, services } = inbox;
    const claim = async () => {
      const [job] = await boss.fetch<{ eventId: string }>(QUEUE, { batchSize: 1, includeMetadata: true });
      if (job === undefined) throw new Error('there is no job');
      return { id: job.id, retryCount: job.retryCount, retryLimit: job.retryLimit, eventId: job.data.eventId };
    };
    await inbox.deliver(stripePaymentSucceeded({ amount: 100, metadata: { wallet_customer_id: customerId } }));
    const stale = await claim();
    // Its claim expired and the job was given out again.
    await boss.fail(QUEUE, stale.id);
    await database.pool.query('update pgboss.job set start_after = now() where id = $1', [stale.id]);
    const current = await claim();
    expect(current).toEqual({ ...stale, retryCount: 1 });
    expect(await applyEvents(services, [stale])).toMatchObject([{ status: 'failed' }]);
    expect(await inbox.states()).toEqual({ pending: 1 });
    expect(await inbox.balance(customerId)).toBe(0);
    expect(await applyEvents(services, [current])).toMatchObject([{ status: 'completed' }]);
    expect(await inbox.balance(customerId)).toBe(100);
    await expectBooksToAgree(database.pool);
    await inbox.stop();
    await database.drop();
  });
});

/** With a job for each event, which can be followed one by one, or with jobs of many. */
async function startRig(
  onTestFinished: TestContext['onTestFinished'],
  kind: 'jobs of one event' | 'jobs of many' = 'jobs of one event',
): Promise<FaultRig> {
  const rig = await FaultRig.start();
  onTestFinished(() => rig.close());
  if (kind === 'jobs of one event') await giveEachEventItsJob(rig.database);
  await rig.startWebHere();
  return rig;
}

/** For three customers in turn. */
async function deliverEvents({ traffic }: FaultRig): Promise<void> {
  const customers = [await traffic.newCustomer(), await traffic.newCustomer(), await traffic.newCustomer()];
  const events = Array.from({ length: EVENTS }, (_, index) => paymentEvent(customers[index % 3] ?? '', 10 + index));
  await Promise.all(events.map((event) => traffic.deliver(event)));
}

/** Holds the answer that brings a worker its jobs, until the function returned is called. */
function holdClaims({ proxy, database }: FaultRig): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  const untilLet = async () => {
    const { rowCount } = await database.pool.query(
      "select 1 from pgboss.job where name = $1 and state = 'active' limit 1",
      [QUEUE],
    );
    if (rowCount === 1) await promise;
  };
  proxy.inject(({ sql, holds }) => {
    if (!sql.includes('SKIP LOCKED') || !holds(QUEUE)) return null;
    return { when: 'after', connection: 'kept', meanwhile: untilLet };
  });
  return resolve;
}

/** Holds every transaction of a worker before it begins, until the function returned is called. */
function holdTransactions(proxy: StatementProxy): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  proxy.inject(({ applicationName, sql }) => {
    if (applicationName !== 'chokin-worker' || sql !== 'begin') return null;
    return { when: 'before', connection: 'kept', meanwhile: () => promise };
  });
  return resolve;
}

interface Transaction {
  readonly connection: number;
  /** Whether it came to write entries. */
  posts: boolean;
  end: 'commit' | 'rollback' | null;
}

/** Follows the transactions that apply events. */
class Applying {
  readonly transactions: Transaction[] = [];

  readonly follow: FaultRule = ({ connection, sql }) => {
    const open = this.on(connection);
    if (
      /from provider_event\s+where merchant_id = \$\d+ and event_id = any \(\$\d+\)\s+order by event_id for update/.test(
        sql,
      )
    ) {
      this.transactions.push({ connection, posts: false, end: null });
    } else if (open !== undefined && sql.includes('insert into entry')) open.posts = true;
    else if (open !== undefined && (sql === 'commit' || sql === 'rollback')) open.end = sql;
    return null;
  };

  /** The one that is open on a connection. */
  on(connection: number): Transaction | undefined {
    return this.transactions.find((one) => one.connection === connection && one.end === null);
  }
}

interface Job {
  readonly state: string;
  readonly retries: number;
}

const isDone =
  (retries: number) =>
  (job: Job): boolean =>
    job.state === 'completed' && job.retries === retries;

async function jobsOf(rig: FaultRig): Promise<readonly Job[]> {
  const jobs = await jobsIn(rig, QUEUE);
  expect(jobs).toHaveLength(EVENTS);
  return jobs;
}

async function jobsIn({ database }: FaultRig, queue: string): Promise<readonly Job[]> {
  const { rows } = await database.pool.query<Job>(
    'select state, retry_count as retries from pgboss.job where name = $1 order by id',
    [queue],
  );
  return rows;
}

async function areApplied({ database }: FaultRig): Promise<boolean> {
  const { rowCount } = await database.pool.query("select 1 from provider_event where state = 'applied'");
  return rowCount === EVENTS;
}

async function areClaimed(rig: FaultRig, retries: number): Promise<boolean> {
  return (await jobsOf(rig)).every((job) => job.state === 'active' && job.retries === retries);
}
