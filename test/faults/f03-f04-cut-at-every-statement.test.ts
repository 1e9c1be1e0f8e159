import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { applyEvents } from '../../src/inbox/apply.ts';
import { applySharedJobs } from '../../src/inbox/apply-shared.ts';
import type { ApplyServices } from '../../src/inbox/event-work.ts';
import { sweepDueWallets } from '../../src/ledger/holds/sweep.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { Deliverer } from '../../src/outgoing/embedded/deliverer.ts';
import { DirectPublisher } from '../../src/outgoing/embedded/publisher.ts';
import { DirectSender } from '../../src/outgoing/embedded/send.ts';
import { Settlements } from '../../src/outgoing/embedded/settlements.ts';
import { DeliverySlots } from '../../src/outgoing/embedded/slots.ts';
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
  IS_JOB_OF_EVENT,
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
import { claimShared, claimSingle, testSource, testSources } from '../support/inbox.ts';
import { BONUS_RATIO, posting, SETTINGS } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
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

const BAD_PAYMENTS = `
  create function refuse_bad_payment() returns trigger language plpgsql as $$ begin raise exception 'bad'; end $$;
  create trigger refuse_bad_payment before insert on payment for each row when (new.payment_id like 'pi_bad_%')
    execute function refuse_bad_payment();`;
const OPEN_JOBS_OF = `
  select e.state, count(j.id) as jobs
  from provider_event e left join pgboss.job j on ${IS_JOB_OF_EVENT} and j.state < 'completed'
  where e.delivery_key = $1 group by 1`;

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
  for (const queue of QUEUES) await boss.updateQueue(queue, { retryDelay: 0, retryBackoff: false });
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

  it('apply the events of a job one by one, since one of them is bad: that one goes on alone, the other is credited', async () => {
    const customerId = await rig.traffic.newCustomer();
    const { pool: database } = rig.database;
    await database.query(BAD_PAYMENTS);
    await applyOnce();
    await tryEverywhere('apply a job of many apart', 24, isOfWorker, async (under) => {
      const good = paymentEvent(customerId, 10);
      const bad = { ...paymentEvent(customerId, 10, `pi_bad_${randomUUID()}`), effectMinor: 0 };
      await Promise.all([good, bad].map((event) => rig.traffic.deliver(event)));
      await under(applyOnce);
      // Once more for what was cut off, and once for what was taken apart of it.
      for (let more = 0; more < 2; more += 1) await applyOnce();
      await expectApplied(rig, good);
      const { rows } = await database.query(OPEN_JOBS_OF, [bad.eventId]);
      expect(rows).toEqual([{ state: 'pending', jobs: 1 }]);
      await database.query("delete from pgboss.job where name = 'apply-provider-event'");
      await database.query("update provider_event set state = 'ignored' where delivery_key = $1", [bad.eventId]);
    });
    await database.query('drop function refuse_bad_payment cascade');
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

  it('deliver a message', async () => {
    const customerId = await rig.traffic.newCustomer(10_000);
    const shared = { pool, clock: systemClock, logger };
    const sender = new DirectSender({ clock: systemClock, allowPrivate: true });
    const settlements = new Settlements(shared);
    const deliverer = new Deliverer({ ...shared, settlements, sender, box: BOX, slots: new DeliverySlots() });
    await announceOnce();
    while ((await deliverer.deliverDue()) > 0);
    await tryEverywhere('deliver a message', 7, isOfWorker, async (under) => {
      await rig.traffic.debit(newDebit(customerId, 5));
      await announceOnce();
      const before = receiver.received.length;
      await under(() => deliverer.deliverDue().catch(() => {}));
      // Time goes by, and the lease ends.
      await rig.database.pool.query("update webhook_delivery set next_attempt_at = now() where state = 'pending'");
      await deliverer.deliverDue();
      const sent = receiver.received.slice(before).map(({ body, headers }) => `${headers['webhook-id']} ${body}`);
      expect(sent.length).toBeGreaterThan(0);
      expect(new Set(sent).size).toBe(1);
      const { rows } = await rig.database.pool.query("select from webhook_delivery where state <> 'delivered'");
      expect(rows).toEqual([]);
    });
    await sender.close();
  });
});

/** What the worker does with the jobs it finds: those of many events first, and then what these have left to jobs of one. */
async function applyOnce(): Promise<void> {
  const { boss } = services;
  const shared = await claimShared(boss, 250);
  await failing('apply-provider-events', shared, () => applySharedJobs(services, shared));
  const single = await claimSingle(boss, 250);
  await failing('apply-provider-event', single, () => applyEvents(services, single));
}

const QUEUES = ['apply-provider-events', 'apply-provider-event'] as const;

async function failing(
  queue: (typeof QUEUES)[number],
  claims: readonly { readonly id: string }[],
  work: () => Promise<readonly { readonly id: string; readonly status: string }[]>,
): Promise<void> {
  const results = await work().catch(() => claims.map(({ id }) => ({ id, status: 'failed' })));
  const failed = results.filter(({ status }) => status !== 'completed').map(({ id }) => id);
  if (failed.length > 0) await services.boss.fail(queue, failed);
}

async function announceOnce(): Promise<void> {
  const publisher = new DirectPublisher(systemClock, () => {});
  await announce({ pool, publisher, logger, maxSeconds: 10 });
}
