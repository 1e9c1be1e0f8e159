import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBoss } from '../../../src/db/boss.ts';
import { createLogger } from '../../../src/telemetry/log.ts';
import { customerWithOverdueLot, expectLotExpiredOnce, LOT_OPERATIONS } from '../../support/fault-lots.ts';
import {
  customerWithOverdueHold,
  expectApplied,
  expectExpiredOnce,
  expectToldOnce,
  isOfWeb,
  WEB_OPERATIONS,
} from '../../support/fault-operations.ts';
import { FaultRig } from '../../support/fault-rig.ts';
import {
  customerWithDueEntries,
  customerWithDueGrant,
  expectGrantedOnce,
  expectPostedOnce,
} from '../../support/fault-schedules.ts';
import { newDebit, paymentEvent, type TrafficEvent } from '../../support/fault-traffic.ts';
import type { ServiceProcess } from '../../support/process.ts';
import { drawnPoints } from '../../support/rounds.ts';
import { atEveryStatement, type Fault, type ProxiedStatement, type UnderFault } from '../../support/statement-proxy.ts';
import { eventually } from '../../support/wait.ts';
import { WebhookReceiver } from '../../support/webhook-receiver.ts';

/**
 * F1 and F2: the process is killed with -9 at every statement of an operation, while the statement waits on its way to the
 * server, or its result on the way back. Then another process starts, and the caller tries again or the job is taken over. Every second
 * statement from one that is drawn, since each kill takes seconds; all of them by `npm run test:all`.
 */
const POINTS = drawnPoints(2);
const tried: { operation: string; fault: string; points: number; wellAfterSeconds?: number }[] = [];
let rig: FaultRig;
let receiver: WebhookReceiver;
let victim: ServiceProcess;

beforeEach(async () => {
  rig = await FaultRig.start();
  receiver = await WebhookReceiver.start();
});

afterEach(async () => {
  await rig.close();
  await receiver.close();
});

afterAll(() => console.table(tried));

const kill = (when: Fault['when']): Fault => ({ when, connection: 'cut', meanwhile: () => victim.end('SIGKILL') });

describe('kill -9 of web at every statement: the caller tries again and all is done, once,', () => {
  it.each([...WEB_OPERATIONS, ...LOT_OPERATIONS])(
    '$name',
    async ({ name, statements, prepare }) => {
      victim = await rig.startWeb();
      const attempt = await prepare(rig, 0);
      for (const when of ['before', 'after'] as const) {
        const once = (under: UnderFault) =>
          attempt(async (operation) => {
            const outcome = await under(operation);
            if (outcome.hit !== null) victim = await rig.startWeb();
            return outcome;
          });
        const { length: points } = await atEveryStatement(rig.proxy, kill(when), isOfWeb, once, POINTS);
        tried.push({ operation: name, fault: `killed ${when}`, points });
        expect(points).toBeGreaterThanOrEqual(Math.floor(statements / POINTS.step));
      }
      await rig.startWorker();
      await rig.expectAllWell();
    },
    120_000,
  );
});

describe('kill -9 of the worker at every statement: the next one does the work, once, in 30 s,', () => {
  it('apply a payment', async () => {
    await rig.startWebHere();
    const customerId = await rig.traffic.newCustomer();
    const events: TrafficEvent[] = [];
    await killWorkersEverywhere('apply a payment', 11, async () => {
      const event = paymentEvent(customerId, 10);
      events.push(event);
      await rig.traffic.deliver(event);
      const [stored] = await read<{ event_id: string; state: string }>(
        'select event_id from provider_event where delivery_key = $1',
        [event.eventId],
      );
      const isDone = async () => {
        const [found] = await read<{ state: string }>('select state from provider_event where delivery_key = $1', [
          event.eventId,
        ]);
        return found?.state === 'applied';
      };
      return { marker: stored?.event_id ?? '', isDone };
    });
    for (const event of events) await expectApplied(rig, event);
    // Some forty kills of 4 s each.
  }, 360_000);

  it('announce a debit', async () => {
    await rig.startWebHere();
    await rig.traffic.call('POST', '/webhook-endpoints', { url: receiver.url });
    const customers: string[] = [];
    await killWorkersEverywhere('announce a debit', 9, async () => {
      const customerId = await rig.traffic.newCustomer(10_000);
      customers.push(customerId);
      await rig.traffic.debit(newDebit(customerId, 5));
      const isDone = async () => {
        const wallets = await read<{ told: boolean }>(
          'select announced_version = version as told from wallet where customer_id = $1',
          [customerId],
        );
        return wallets.every(({ told }) => told);
      };
      return { marker: customerId, isDone };
    });
    for (const customerId of customers) await expectToldOnce(rig, customerId);
  }, 180_000);

  it.each([
    { what: 'a hold', customerWithOne: customerWithOverdueHold, open: 'hold', expectEnded: expectExpiredOnce },
    { what: 'a lot', customerWithOne: customerWithOverdueLot, open: 'lot', expectEnded: expectLotExpiredOnce },
  ])(
    'end $what that is over',
    async ({ what, customerWithOne, open, expectEnded }) => {
      await rig.startWebHere();
      const { url: databaseUrl } = rig.database;
      const logger = createLogger('silent', 'test');
      const boss = createBoss({ databaseUrl, applicationName: 'test-jobs', maxConnections: 1, works: false, logger });
      await boss.start();
      const customers: string[] = [];
      await killWorkersEverywhere(`end ${what} that is over`, 6, async () => {
        const customerId = await customerWithOne(rig);
        customers.push(customerId);
        await boss.send('settle-due-wallets', {});
        const isDone = async () =>
          (await read(`select 1 as one from ${open} where customer_id = $1`, [customerId])).length === 0;
        return { marker: customerId, isDone };
      });
      await eventually(
        'the list to be empty',
        async () => (await read('select 1 as one from wallet_due', [])).length === 0,
      );
      for (const customerId of customers) await expectEnded(rig, customerId);
      await boss.stop({ graceful: false });
    },
    240_000,
  );
});

describe('kill -9 of the worker while it posts what is scheduled: the next one does it, once, in 30 s,', () => {
  it.each([
    { what: 'scheduled entries', customerWithOne: customerWithDueEntries, expectDone: expectPostedOnce },
    { what: 'a grant', customerWithOne: customerWithDueGrant, expectDone: expectGrantedOnce },
  ])(
    'post $what',
    async ({ what, customerWithOne, expectDone }) => {
      await rig.startWebHere();
      const { url: databaseUrl } = rig.database;
      const logger = createLogger('silent', 'test');
      const boss = createBoss({ databaseUrl, applicationName: 'test-jobs', maxConnections: 1, works: false, logger });
      await boss.start();
      const customers: string[] = [];
      const isSettled = async (customerId: string) => {
        const due = `select 1 as one from scheduled_entry where customer_id = $1 and due_at <= now()
          union all select 1 from grant_schedule where customer_id = $1 and next_at <= now()`;
        return (await read(due, [customerId])).length === 0;
      };
      await killWorkersEverywhere(`post ${what}`, 7, async () => {
        const customerId = await customerWithOne(rig);
        customers.push(customerId);
        await boss.send('post-scheduled', {});
        return { marker: customerId, isDone: () => isSettled(customerId) };
      });
      for (const customerId of customers) {
        await eventually('everything to be posted', () => isSettled(customerId), 30_000);
        await expectDone(rig, customerId);
      }
      await boss.stop({ graceful: false });
    },
    // On a busy machine three and a half minutes were seen.
    420_000,
  );
});

/**
 * Gives one worker after another something to do, which `prepare` makes, and kills each at a later statement. What a dead
 * one left behind is not waited for, so that the next may be killed while it takes that over; in the end all must be
 * well. Counted are the statements of the transactions that name the `marker`, from where they do.
 */
async function killWorkersEverywhere(
  operation: string,
  atLeast: number,
  prepare: () => Promise<{ marker: string; isDone: () => Promise<boolean> }>,
): Promise<void> {
  for (const when of ['before', 'after'] as const) {
    let work = { marker: '', isDone: async () => false };
    const counts = (statement: ProxiedStatement) => isInTransaction(statement);
    let isInTransaction = transactionsThatName('');
    const attempt = async (under: UnderFault) => {
      work = await prepare();
      isInTransaction = transactionsThatName(work.marker);
      await under(async () => {
        victim = rig.spawn('jobs/worker.ts');
        const isOver = async () => victim.child.signalCode !== null || (await work.isDone());
        await eventually('the worker to be killed or to be done', isOver, 30_000);
      });
      await victim.end('SIGKILL');
    };
    const { length: points } = await atEveryStatement(rig.proxy, kill(when), counts, attempt, POINTS);
    tried.push({ operation, fault: `killed ${when}`, points });
    expect(points).toBeGreaterThanOrEqual(Math.floor(atLeast / POINTS.step));
  }
  const startedAt = performance.now();
  await rig.startWorker();
  await rig.expectAllWell();
  const last = tried.at(-1);
  if (last !== undefined) last.wellAfterSeconds = Math.round((performance.now() - startedAt) / 1000);
}

function transactionsThatName(marker: string): (statement: ProxiedStatement) => boolean {
  const open = new Set<number>();
  return ({ applicationName, connection, sql, holds }) => {
    if (applicationName !== 'chokin-worker') return false;
    if (holds(marker)) open.add(connection);
    const counts = open.has(connection);
    if (sql === 'commit') open.delete(connection);
    return counts;
  };
}

async function read<Row extends Record<string, unknown>>(sql: string, values: readonly unknown[]): Promise<Row[]> {
  return (await rig.database.pool.query<Row>(sql, [...values])).rows;
}
