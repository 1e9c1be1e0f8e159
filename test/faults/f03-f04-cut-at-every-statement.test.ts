import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { sweepDueWallets } from '../../src/ledger/holds/sweep.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { DirectPublisher } from '../../src/outgoing/embedded/publisher.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import { DUE_ENTRIES } from '../../src/schedules/post-entries.ts';
import { DUE_GRANTS } from '../../src/schedules/post-grants.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { checkoutNow, openAt, opening } from '../support/checkouts.ts';
import { customerWithOverdueLot, expectLotExpiredOnce, LOT_OPERATIONS } from '../support/fault-lots.ts';
import {
  customerWithOverdueHold,
  expectApplied,
  expectExpiredOnce,
  expectToldOnce,
  isOfWeb,
  WEB_OPERATIONS,
} from '../support/fault-operations.ts';
import { FaultRig } from '../support/fault-rig.ts';
import {
  customerWithDueEntries,
  customerWithDueGrant,
  expectGrantedOnce,
  expectPostedOnce,
  SCHEDULE_OPERATIONS,
} from '../support/fault-schedules.ts';
import { disputeEvents, earlyRefund, newDebit, paymentEvent } from '../support/fault-traffic.ts';
import { testSource, testSources } from '../support/inbox.ts';
import { BONUS_RATIO, posting, SETTINGS } from '../support/ledger.ts';
import { atEveryStatement, type Fault, type ProxiedStatement, type UnderFault } from '../support/statement-proxy.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/**
 * F3 and F4, at every statement and not only at COMMIT: wherever the connection is lost, before a statement reaches the
 * server or after it was executed, trying again completes the operation, once. F1 and F2, where the process is killed
 * there, are in slow/f01-f02-kill-at-every-statement.test.ts.
 */
const CUTS: readonly Fault[] = [
  { when: 'before', connection: 'cut' },
  { when: 'after', connection: 'cut' },
];

const logger = createLogger('silent', 'test');
const tried: { operation: string; fault: string; points: number }[] = [];
let rig: FaultRig;
let receiver: WebhookReceiver;
let pool: Pool;
let services: ApplyServices;

beforeAll(async () => {
  rig = await FaultRig.start();
  receiver = await WebhookReceiver.start();
  await rig.startWebHere();
  await rig.traffic.call('POST', '/webhook-endpoints', { url: receiver.url });
  // What the jobs of a worker run on. The jobs themselves are fetched beside the proxy, and retried without delay.
  pool = createPool({ databaseUrl: rig.proxy.url, applicationName: 'chokin-worker', maxConnections: 4, logger });
  const { url: databaseUrl } = rig.database;
  const boss = createBoss({ databaseUrl, applicationName: 'test-jobs', maxConnections: 2, works: false, logger });
  await boss.start();
  await boss.updateQueue('apply-provider-event', { retryDelay: 0, retryBackoff: false });
  const sources = testSources([testSource('stripe')]);
  const onPosted = () => {};
  const rules = { settings: SETTINGS, maxBonusRatio: BONUS_RATIO, waitSeconds: 900, namingWaitSeconds: 0 };
  services = { pool, boss, sources, ...rules, clock: systemClock, logger, onPosted };
});

afterAll(async () => {
  console.table(tried);
  await pool.end();
  await services.boss.stop({ graceful: false });
  await rig.startWorkerHere();
  await rig.expectAllWell();
  await rig.close();
  await receiver.close();
});

/** Tries every statement of an operation with both cuts, and demands that there were at least so many. */
async function tryEverywhere(
  operation: string,
  atLeast: number,
  counts: (statement: ProxiedStatement) => boolean,
  attempt: (under: UnderFault) => Promise<void>,
): Promise<void> {
  for (const fault of CUTS) {
    const { length: points } = await atEveryStatement(rig.proxy, fault, counts, attempt);
    tried.push({ operation, fault: `cut ${fault.when}`, points });
    expect(points).toBeGreaterThanOrEqual(atLeast);
  }
}

const isOfWorker = ({ applicationName }: ProxiedStatement) => applicationName === 'chokin-worker';

describe('a connection that is cut at every statement: trying again completes, once,', () => {
  it.each([...WEB_OPERATIONS, ...LOT_OPERATIONS, ...SCHEDULE_OPERATIONS])(
    '$name',
    async ({ name, statements, prepare }) => {
      await tryEverywhere(name, statements, isOfWeb, await prepare(rig, 503));
    },
  );

  it('apply a payment', async () => {
    const customerId = await rig.traffic.newCustomer();
    await applyOnce();
    await tryEverywhere('apply a payment', 12, isOfWorker, async (under) => {
      const event = paymentEvent(customerId, 10);
      await rig.traffic.deliver(event);
      await under(applyOnce);
      await applyOnce();
      await expectApplied(rig, event);
    });
  });

  it('apply a payment whose refund came before it', async () => {
    const customerId = await rig.traffic.newCustomer();
    await tryEverywhere('apply a payment, wake its refund', 14, isOfWorker, async (under) => {
      const { refund, payment } = earlyRefund(customerId, 10, 4);
      await rig.traffic.deliver(refund);
      await applyOnce();
      await rig.traffic.deliver(payment);
      await under(applyOnce);
      await applyOnce();
      await applyOnce();
      await expectApplied(rig, payment);
      await expectApplied(rig, refund);
    });
  });

  it('apply the payment of a checkout', async () => {
    await tryEverywhere('apply the payment of a checkout', 14, isOfWorker, async (under) => {
      const customerId = await rig.traffic.newCustomer();
      const credit = posting({ customerId, amountMinor: 20 });
      await transaction(rig.database.pool, (tx) => postBatch(tx, [credit], { ...SETTINGS, now: new Date() }));
      const checkout = await openAt(rig.database.pool, opening(customerId, 100, { gatewayMinimum: 0 }));
      // What was credited beside the traffic is taken again, and nothing is left.
      const paid = paymentEvent(customerId, 80, undefined, { wallet_checkout_id: checkout.checkoutId });
      const event = { ...paid, effectMinor: 0 };
      await rig.traffic.deliver(event);
      await under(applyOnce);
      await applyOnce();
      await expectApplied(rig, event);
      expect(await checkoutNow(rig.database.pool, checkout)).toMatchObject({ state: 'completed', captured: 20 });
    });
  });

  it('apply a dispute that is opened, and its end', async () => {
    const customerId = await rig.traffic.newCustomer();
    await tryEverywhere('apply a dispute', 13, isOfWorker, async (under) => {
      const payment = paymentEvent(customerId, 10);
      await rig.traffic.deliver(payment);
      await applyOnce();
      for (const event of disputeEvents(payment)) {
        await rig.traffic.deliver(event);
        await under(applyOnce);
        await applyOnce();
        await expectApplied(rig, event);
      }
    });
  });

  it('end a hold that is over', async () => {
    const sweep = () => sweepDueWallets({ ...services, signal: new AbortController().signal });
    await tryEverywhere('end a hold that is over', 8, isOfWorker, async (under) => {
      const customerId = await customerWithOverdueHold(rig);
      await under(() => sweep().catch(() => {}));
      await sweep();
      await expectExpiredOnce(rig, customerId);
    });
  });

  it('end a lot that is over', async () => {
    const sweep = () => sweepDueWallets({ ...services, signal: new AbortController().signal });
    await tryEverywhere('end a lot that is over', 8, isOfWorker, async (under) => {
      const customerId = await customerWithOverdueLot(rig);
      await under(() => sweep().catch(() => {}));
      await sweep();
      await expectLotExpiredOnce(rig, customerId);
    });
  });

  it('post scheduled entries that are due', async () => {
    const post = () => settleAllDue({ ...services, signal: new AbortController().signal }, DUE_ENTRIES);
    await tryEverywhere('post scheduled entries', 9, isOfWorker, async (under) => {
      const customerId = await customerWithDueEntries(rig);
      await under(() => post().catch(() => {}));
      await post();
      await expectPostedOnce(rig, customerId);
    });
  });

  it('grant a period that is due', async () => {
    const grant = () => settleAllDue({ ...services, signal: new AbortController().signal }, DUE_GRANTS);
    await tryEverywhere('grant a period', 9, isOfWorker, async (under) => {
      const customerId = await customerWithDueGrant(rig);
      await under(() => grant().catch(() => {}));
      await grant();
      await expectGrantedOnce(rig, customerId);
    });
  });

  it('announce a debit', async () => {
    const customerId = await rig.traffic.newCustomer(10_000);
    await announceOnce();
    await tryEverywhere('announce a debit', 15, isOfWorker, async (under) => {
      await rig.traffic.debit(newDebit(customerId, 5));
      await under(() => announceOnce().catch(() => {}));
      // Time goes by: leases lapse, and what was put off is due. How much time that takes is for the slow tests to show.
      await rig.database.pool.query('update unannounced_wallet set claimed_until = now(), retry_at = now()');
      await announceOnce();
      await expectToldOnce(rig, customerId);
    });
  });
});

/** What the worker does with the jobs it finds. */
async function applyOnce(): Promise<void> {
  const { boss } = services;
  const jobs = await boss.fetch<{ eventId: string }>('apply-provider-event', { batchSize: 250, includeMetadata: true });
  const claims = jobs.map(({ id, retryCount, retryLimit, data }) => ({ id, retryCount, retryLimit, ...data }));
  const results = await applyEvents(services, claims).catch(() => claims.map(({ id }) => ({ id, status: 'failed' })));
  const failed = results.filter(({ status }) => status !== 'completed').map(({ id }) => id);
  if (failed.length > 0) await boss.fail('apply-provider-event', failed);
}

async function announceOnce(): Promise<void> {
  const publisher = new DirectPublisher(services.boss, systemClock);
  await announce({ pool, publisher, logger, maxSeconds: 10 });
}
