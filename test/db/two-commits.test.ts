import type { PgBoss } from 'pg-boss';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { deadLetterOf } from '../../src/db/queues.ts';
import { OutcomeUnknownError } from '../../src/db/sqlstate.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { getEvent } from '../../src/inbox/events.ts';
import { Receiver } from '../../src/inbox/receive.ts';
import { redriveEvents } from '../../src/inbox/recover-dead.ts';
import { requeueStranded } from '../../src/inbox/recover-stranded.ts';
import { replayEvent } from '../../src/inbox/replay.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { createOutgoing, type Outgoing } from '../../src/outgoing/index.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyDueOnce, startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { type Lost, TwoCommits } from '../support/two-commits.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/**
 * On Citus a transaction of one merchant and of the queue has two commits (docs/decisions/0050-citus.md). Whoever dies between them leaves rows
 * without their job, or a job without what it did, and each such gap heals by itself: every transaction that writes both is cut there, both ways.
 */
const APPLY = 'apply-provider-event';
const SHARED = 'apply-provider-events';
const DELIVER = 'deliver-webhook';
const WAYS: readonly Lost[] = ['queue', 'merchants'];
const logger = createLogger('silent', 'test');
/** By when the sweep takes a job for lost. */
const later = { now: () => new Date(Date.now() + 120_000) };

let database: TestDatabase;
let inbox: TestInbox;
let boss: PgBoss;
let two: TwoCommits;
let outgoing: Outgoing;
/** The same, whose transactions may be cut. */
let cut: Outgoing;
let endpoint: WebhookReceiver;
const stripe = testSource('stripe');

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a']);
  inbox = await startInbox(database, { sources: [stripe], works: false });
  boss = inbox.boss;
  two = new TwoCommits(database.pool);
  endpoint = await WebhookReceiver.start();
  const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: true };
  const common = { config, boss, clock: systemClock, logger, box: BOX };
  outgoing = createOutgoing({ ...common, pool: database.pool });
  cut = createOutgoing({ ...common, pool: two.pool });
  const asked = { url: endpoint.url, description: '', eventTypes: null, disabled: false };
  await announceBy(outgoing);
  await outgoing.webhooks.createEndpoint(MERCHANT, asked);
});

afterEach(async () => {
  expect(two.isCut).toBe(true);
  await announceBy(outgoing);
  await forgetJobs();
  await boss.deleteAllJobs(DELIVER);
  await database.pool.query("delete from webhook_delivery where merchant_id = 'bus_default'");
  endpoint.received.length = 0;
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await Promise.all([outgoing.close(), cut.close()]);
  await endpoint.close();
  await inbox.stop();
  await database.drop();
});

const announceBy = ({ publisher }: Outgoing, pool = database.pool) =>
  announce({ pool, publisher, logger, maxSeconds: 10 });

const payment = (paymentId: string, customerId = 'cus_a') =>
  stripePaymentSucceeded({ paymentId, amount: 100, metadata: { wallet_customer_id: customerId } });

const deliver = (body: string, pool = database.pool) =>
  new Receiver({ pool, boss, clock: systemClock, logger }).receive(stripe, {
    rawBody: Buffer.from(body),
    headers: { ...signStripe(body) },
  });

/** Applies the events whose jobs wait. @returns how many jobs there were */
const applyAll = async (): Promise<number> => (await applyDueOnce(inbox.services, 10)).length;

const forgetJobs = () => Promise.all([APPLY, SHARED].map((queue) => boss.deleteAllJobs(queue)));

/** The queue's clock: what a run did not end is taken up again. */
const retried = () =>
  database.pool.query(
    "update pgboss.job set state = 'retry', retry_count = retry_count + 1, start_after = now() where name = $1 and state = 'active'",
    [SHARED],
  );

const sweep = () => requeueStranded({ ...inbox.services, clock: later });

const stateOf = async (eventId: string) => (await getEvent(autocommit(database.pool), MERCHANT, eventId))?.state;

async function parkedEvent(paymentId: string): Promise<string> {
  const receipt = await deliver(payment(paymentId, 'cus_nobody'));
  if (receipt.kind !== 'stored') throw new Error('it was not stored');
  expect(await applyAll()).toBe(1);
  expect(await stateOf(receipt.eventId)).toBe('parked');
  return receipt.eventId;
}

describe.each(WAYS)('between two commits, where what is lost is of the %s,', (lost) => {
  it('an event that is taken in is applied once, though its provider comes again', async () => {
    const before = (await inbox.balance('cus_a')) ?? 0;
    const body = payment(`pi_taken_${lost}`);
    two.cutNext(lost);
    await expect(deliver(body, two.pool)).rejects.toThrow(OutcomeUnknownError);
    // A job of an event that is not there does nothing.
    expect(await applyAll()).toBe(lost === 'queue' ? 0 : 1);
    expect(await inbox.balance('cus_a')).toBe(before);
    expect(await deliver(body)).toMatchObject({ kind: lost === 'queue' ? 'duplicate' : 'stored' });
    expect((await sweep()).enqueued).toBe(lost === 'queue' ? 1 : 0);
    expect((await sweep()).enqueued).toBe(0);
    expect(await applyAll()).toBe(1);
    expect(await inbox.balance('cus_a')).toBe(before + 100);
  });

  it('an event that is being applied is applied once', async () => {
    const before = (await inbox.balance('cus_a')) ?? 0;
    await deliver(payment(`pi_applied_${lost}`));
    two.cutNext(lost);
    const applied = applyDueOnce({ ...inbox.services, pool: two.pool }, 10);
    await expect(applied).rejects.toThrow(OutcomeUnknownError);
    expect(await inbox.balance('cus_a')).toBe(lost === 'queue' ? before + 100 : before);
    expect((await sweep()).enqueued).toBe(lost === 'queue' ? 0 : 1);
    // The job that is still there finds nothing to do.
    if (lost === 'queue') await retried();
    expect(await applyAll()).toBe(1);
    expect(await inbox.balance('cus_a')).toBe(before + 100);
  });

  it('an event that is replayed is applied once', async () => {
    const before = (await inbox.balance('cus_a')) ?? 0;
    const eventId = await parkedEvent(`pi_replayed_${lost}`);
    const replay = { merchantId: MERCHANT, eventId, customerId: 'cus_a' };
    two.cutNext(lost);
    await expect(replayEvent(two.pool, boss, replay)).rejects.toThrow(OutcomeUnknownError);
    if (lost === 'queue') expect(await sweep()).toEqual({ enqueued: 1, parked: 0 });
    else {
      expect(await applyAll()).toBe(1);
      expect(await stateOf(eventId)).toBe('parked');
      await replayEvent(database.pool, boss, replay);
    }
    expect(await applyAll()).toBe(1);
    expect(await stateOf(eventId)).toBe('applied');
    expect(await inbox.balance('cus_a')).toBe(before + 100);
  });

  it('an event whose job was given up is applied once when it is redriven again', async () => {
    const before = (await inbox.balance('cus_a')) ?? 0;
    const receipt = await deliver(payment(`pi_redriven_${lost}`));
    if (receipt.kind !== 'stored') throw new Error('it was not stored');
    const { eventId } = receipt;
    await forgetJobs();
    await boss.send(deadLetterOf(APPLY), { merchantId: MERCHANT, eventId });
    expect(await sweep()).toEqual({ enqueued: 0, parked: 1 });
    two.cutNext(lost);
    await expect(redriveEvents(two.pool, boss, 10)).rejects.toThrow(OutcomeUnknownError);
    if (lost === 'queue') {
      // In plain sight again, as it was before somebody asked.
      expect(await sweep()).toEqual({ enqueued: 0, parked: 1 });
      expect(await redriveEvents(database.pool, boss, 10)).toEqual({ redriven: 1, settled: 0 });
    } else {
      expect(await applyAll()).toBe(1);
      expect(await stateOf(eventId)).toBe('parked');
      await replayEvent(database.pool, boss, { merchantId: MERCHANT, eventId, customerId: null });
    }
    expect(await applyAll()).toBe(1);
    expect(await stateOf(eventId)).toBe('applied');
    expect(await inbox.balance('cus_a')).toBe(before + 100);
  });

  it('the sweep finds again what it found', async () => {
    const before = (await inbox.balance('cus_a')) ?? 0;
    await deliver(payment(`pi_swept_${lost}`));
    await forgetJobs();
    two.cutNext(lost);
    await expect(requeueStranded({ ...inbox.services, pool: two.pool, clock: later })).rejects.toThrow(
      OutcomeUnknownError,
    );
    expect((await sweep()).enqueued).toBe(lost === 'queue' ? 1 : 0);
    expect(await applyAll()).toBe(1);
    expect(await inbox.balance('cus_a')).toBe(before + 100);
  });

  it('a test of an endpoint is sent though nobody was woken, and a wake-up of nothing sends nothing', async () => {
    const [asked] = await outgoing.webhooks.listEndpoints(MERCHANT);
    two.cutNext(lost);
    await expect(cut.webhooks.sendTest(MERCHANT, asked?.id ?? '', 'wallet.created')).rejects.toThrow(
      OutcomeUnknownError,
    );
    expect(await boss.fetch(DELIVER)).toHaveLength(lost === 'queue' ? 0 : 1);
    expect(await outgoing.deliverer.deliverDue()).toBe(lost === 'queue' ? 1 : 0);
    expect(endpoint.received).toHaveLength(lost === 'queue' ? 1 : 0);
    expect(await outgoing.deliverer.deliverDue()).toBe(0);
  });
});
