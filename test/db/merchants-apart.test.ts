import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { chooseBackend, onCitus } from '../../src/db/backend.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { Receiver } from '../../src/inbox/receive.ts';
import { requeueStranded } from '../../src/inbox/recover-stranded.ts';
import { insertSharedJobs, type SharedEvents } from '../../src/inbox/shared-jobs.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import { sweepDueWallets } from '../../src/ledger/holds/sweep.ts';
import { checkLowBalances } from '../../src/ledger/low-balance/scan.ts';
import { releaseOutbox } from '../../src/ledger/outbox.ts';
import { announce } from '../../src/outgoing/announce.ts';
import { claimParts, keepClaims } from '../../src/outgoing/claim.ts';
import { createOutgoing } from '../../src/outgoing/index.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyDueOnce, giveEachEventItsJob, startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';
import { type ProxiedStatement, StatementProxy } from '../support/statement-proxy.ts';
import { eventually } from '../support/wait.ts';
import { WebhookReceiver } from '../support/webhook-receiver.ts';

/**
 * On Citus no transaction of the busy paths is of two merchants: docs/decisions/0071-a-transaction-for-each-merchant.md. Method: one Postgres behind a
 * proxy that notes the merchants whose ids each transaction sends, and the program as it is on Citus.
 */

const MERCHANTS = ['bus_north', 'bus_east', 'bus_south', 'bus_west'];
const [NORTH = '', EAST = ''] = MERCHANTS;
const NAME = 'apart';
const logger = createLogger('silent', 'test');
const sources = MERCHANTS.map((merchantId) => testSource('stripe', { merchantId, sourceId: `src_of_${merchantId}` }));
const before = onCitus() ? 'citus' : 'postgres';

let database: TestDatabase;
let inbox: TestInbox;
let boss: PgBoss;
let proxy: StatementProxy;
let pool: Pool;
let endpoint: WebhookReceiver;
/** Of each transaction that was ended, its merchants and how it ended. */
const ended: { readonly merchants: readonly string[]; readonly how: string }[] = [];
let open = new Map<number, Set<string>>();
let mostOpen = 0;

function note(statement: ProxiedStatement): null {
  const { applicationName, connection, sql } = statement;
  if (applicationName !== NAME) return null;
  const text = sql.trim();
  const own = open.get(connection);
  if (text.startsWith('begin')) open.set(connection, new Set());
  else if (own !== undefined && (text === 'commit' || text === 'rollback')) {
    ended.push({ merchants: [...own].sort(), how: text });
    open.delete(connection);
  } else if (own !== undefined) {
    for (const merchantId of MERCHANTS) if (statement.holds(merchantId)) own.add(merchantId);
  }
  mostOpen = Math.max(mostOpen, open.size);
  return null;
}

/** The merchants of each transaction that committed, of those that are of any. */
const committed = () =>
  ended.filter(({ how, merchants }) => how === 'commit' && merchants.length > 0).map(({ merchants }) => merchants);

const ofOneEach = () => committed().every((merchants) => merchants.length === 1);

beforeAll(async () => {
  database = await createTestDatabase();
  for (const merchantId of MERCHANTS) await makeCustomers(database.pool, ['a', 'b'], merchantId);
  inbox = await startInbox(database, { sources, works: false });
  boss = inbox.boss;
  proxy = await StatementProxy.start(database.url);
  proxy.inject(note);
  pool = newPool();
  endpoint = await WebhookReceiver.start();
});
beforeEach(() => {
  chooseBackend('citus');
  ended.length = 0;
  open = new Map();
  mostOpen = 0;
});
afterAll(async () => {
  chooseBackend(before);
  await expectBooksToAgree(database.pool);
  await endpoint.close();
  await inbox.stop();
  await pool.end();
  await proxy.close();
  await database.drop();
});

const newPool = (maxConnections = 24) =>
  createPool({ databaseUrl: proxy.url, applicationName: NAME, maxConnections, logger });
const ledgerOf = (of = pool) =>
  new LedgerBatches({ pool: of, settings: SETTINGS, clock: systemClock, onPosted: () => {} });
const credit = (merchantId: string, key: string, customerId = 'cus_a') =>
  posting({ merchantId, customerId, amountMinor: 100, idempotencyKey: key });
const entries = async (merchantId: string, key: string) =>
  (
    await database.pool.query('select 1 from entry where merchant_id = $1 and idempotency_key like $2', [
      merchantId,
      `${key}%`,
    ])
  ).rowCount;

/** Fails whatever is asked of this merchant that holds `text`, until it is mended or the test is over. */
function breaks(merchantId: string, text: string, raises = 'XX001'): () => void {
  const mend = proxy.inject((one) =>
    one.applicationName === NAME && one.sql.includes(text) && one.holds(merchantId)
      ? { when: 'before', connection: 'kept', raises }
      : null,
  );
  onTestFinished(mend);
  return mend;
}

/** Applies what is due, of which one job alone fails, and makes all of it due again. */
async function failsOnce(queue: 'apply-provider-event' | 'apply-provider-events'): Promise<void> {
  const results = await applyDueOnce({ ...inbox.services, pool });
  const failed = results.filter(({ status }) => status !== 'completed').map(({ id }) => id);
  expect(failed).toHaveLength(1);
  await boss.fail(queue, failed);
  await database.pool.query("update pgboss.job set start_after = now() where state < 'active'");
}

const deliver = (receiver: Receiver, paymentId: string, source = sources[0]) => {
  const body = stripePaymentSucceeded({ paymentId, amount: 100, metadata: { wallet_customer_id: 'cus_a' } });
  const delivery = { rawBody: Buffer.from(body), headers: { ...signStripe(body) } };
  return source === undefined ? Promise.reject(new Error('no source')) : receiver.receive(source, delivery);
};

const newReceiver = () => new Receiver({ pool, boss, clock: systemClock, logger });
const applied = async (paymentIds: readonly string[]) =>
  (
    await database.pool.query<{ merchant_id: string }>(
      "select merchant_id from provider_event where state = 'applied' and payment_id = any ($1) order by merchant_id",
      [paymentIds],
    )
  ).rows.map(({ merchant_id }) => merchant_id);

describe('postings of several merchants', () => {
  it('are a transaction for each of them, beside each other within the bound, and each is posted once', async () => {
    const own = newPool(12);
    onTestFinished(() => own.end());
    const ledger = ledgerOf(own);
    const keys = Array.from({ length: 10 }, (_, index) => `own_${index}`);
    const all = MERCHANTS.flatMap((merchantId) => keys.map((key) => credit(merchantId, key)));
    const results = await Promise.all(all.map((one) => ledger.post(one)));
    expect(results.every(({ kind }) => kind === 'created')).toBe(true);
    expect(committed().sort()).toEqual(MERCHANTS.map((merchantId) => [merchantId]).sort());
    // (12 - 4) / 4 in this pool, for each batcher; all are of one here.
    expect(mostOpen).toBeLessThanOrEqual(2);
    for (const merchantId of MERCHANTS) expect(await entries(merchantId, 'own_')).toBe(10);
  });

  it('do not wait for one whose commit takes its time', async () => {
    const ledger = ledgerOf();
    const later = Promise.withResolvers<void>();
    let isHeld = false;
    const release = proxy.inject(({ applicationName, sql }) => {
      // The rule before this one has just noted whose transaction ends.
      if (applicationName !== NAME || sql !== 'commit' || isHeld || !ended.at(-1)?.merchants.includes(NORTH))
        return null;
      isHeld = true;
      return { when: 'before', connection: 'kept', meanwhile: () => later.promise };
    });
    onTestFinished(release);
    onTestFinished(() => later.resolve());
    const slow = ledger.post(credit(NORTH, 'slow'));
    await vi.waitUntil(() => isHeld, { timeout: 30_000 });
    await Promise.all(MERCHANTS.slice(1).map((merchantId) => ledger.post(credit(merchantId, 'quick'))));
    later.resolve();
    expect((await slow).kind).toBe('created');
  });

  it('fail for one of them alone: what another posts is posted by one try', async () => {
    const ledger = ledgerOf();
    const mend = breaks(NORTH, 'insert into entry');
    const settled = await Promise.allSettled(
      MERCHANTS.flatMap((merchantId) => ['broken_1', 'broken_2'].map((key) => ledger.post(credit(merchantId, key)))),
    );
    mend();
    expect(settled.map(({ status }) => status === 'rejected')).toEqual([true, true, ...Array(6).fill(false)]);
    expect(await entries(NORTH, 'broken_')).toBe(0);
    for (const merchantId of MERCHANTS.slice(1)) {
      expect(await entries(merchantId, 'broken_')).toBe(2);
      expect(ended.filter(({ merchants }) => merchants.includes(merchantId))).toHaveLength(1);
    }
  });

  it.skipIf(before === 'citus')('are one transaction on one Postgres', async () => {
    chooseBackend('postgres');
    const own = newPool();
    const ledger = ledgerOf(own);
    await Promise.all(MERCHANTS.map((merchantId) => ledger.post(credit(merchantId, 'one'))));
    expect(committed()).toEqual([MERCHANTS.toSorted()]);
    await own.end();
  });
});

describe('deliveries of several merchants', () => {
  it('are stored by a transaction for each of them, whose job is of his events alone, and so are they applied', async () => {
    const receiver = newReceiver();
    const ids = ['pi_1', 'pi_2', 'pi_3'];
    await Promise.all(sources.flatMap((source) => ids.map((id) => deliver(receiver, id, source))));
    await receiver.drain();
    expect(committed().length).toBeGreaterThanOrEqual(MERCHANTS.length);
    expect(ofOneEach()).toBe(true);
    const { rows } = await database.pool.query<{ merchants: number }>(
      `select (select count(distinct e ->> 0)::integer from jsonb_array_elements(data -> 'events') e) as merchants
       from pgboss.job where name = 'apply-provider-events' and state < 'active'`,
    );
    expect(new Set(rows.map(({ merchants }) => merchants))).toEqual(new Set([1]));
    ended.length = 0;
    const results = await applyDueOnce({ ...inbox.services, pool });
    expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['completed']));
    expect(committed()).toHaveLength(MERCHANTS.length);
    expect(ofOneEach()).toBe(true);
    expect(await applied(ids)).toEqual(MERCHANTS.flatMap((id) => [id, id, id]).sort());
  });

  it('of whom one fails leave the others applied, and his are tried again', async () => {
    const receiver = newReceiver();
    await Promise.all(sources.map((source) => deliver(receiver, 'pi_fails', source)));
    await receiver.drain();
    ended.length = 0;
    const mend = breaks(NORTH, 'insert into entry');
    const results = await applyDueOnce({ ...inbox.services, pool });
    mend();
    expect(results.map(({ status }) => status)).toEqual(MERCHANTS.map(() => 'completed'));
    expect(await applied(['pi_fails'])).toEqual(MERCHANTS.filter((id) => id !== NORTH).sort());
    expect(ended.filter(({ merchants }) => merchants.includes(EAST))).toHaveLength(1);
    await database.pool.query("update pgboss.job set start_after = now() where state < 'active'");
    await applyDueOnce({ ...inbox.services, pool });
    expect(await applied(['pi_fails'])).toEqual(MERCHANTS.toSorted());
  });

  it('whose node is away are tried again, and nobody else waits for it', async () => {
    const receiver = newReceiver();
    await Promise.all(sources.map((source) => deliver(receiver, 'pi_away', source)));
    const away = breaks(NORTH, 'provider_event', '08006');
    await failsOnce('apply-provider-events');
    away();
    await applyDueOnce({ ...inbox.services, pool });
    await applyDueOnce({ ...inbox.services, pool });
    expect(await applied(['pi_away'])).toEqual(MERCHANTS.toSorted());
  });

  it('that are retried wait for nobody whose node is away', async () => {
    const receiver = newReceiver();
    await Promise.all(sources.map((source) => deliver(receiver, 'pi_retried', source)));
    const away = breaks(NORTH, 'provider_event', '08006');
    // They are taken apart, and then each is applied by itself.
    for (let round = 0; round < 2; round += 1) {
      await database.pool.query("update pgboss.job set retry_count = 1 where state < 'active'");
      await failsOnce('apply-provider-events');
    }
    expect(await applied(['pi_retried'])).toEqual(MERCHANTS.filter((id) => id !== NORTH).sort());
    away();
    await applyDueOnce({ ...inbox.services, pool });
    await applyDueOnce({ ...inbox.services, pool });
    expect(await applied(['pi_retried'])).toEqual(MERCHANTS.toSorted());
  });

  it('that share a job from before are applied by it', async () => {
    const receiver = newReceiver();
    const receipts = await Promise.all(sources.map((source) => deliver(receiver, 'pi_mixed', source)));
    await boss.deleteAllJobs('apply-provider-events');
    const events = receipts.flatMap((one, index) =>
      one.kind === 'stored' ? [{ merchantId: MERCHANTS[index] ?? '', eventId: one.eventId }] : [],
    );
    const mixed: SharedEvents = { events, bytes: 1_000, priority: 0 };
    await transaction(database.pool, (tx) => insertSharedJobs(boss, tx, [mixed]));
    expect((await applyDueOnce({ ...inbox.services, pool })).map(({ status }) => status)).toEqual(['completed']);
    expect(await applied(['pi_mixed'])).toEqual(MERCHANTS.toSorted());
  });

  it('with a job each are applied by a transaction for each merchant', async () => {
    await giveEachEventItsJob(database);
    const receiver = newReceiver();
    const ids = ['pi_single_1', 'pi_single_2'];
    await Promise.all(sources.flatMap((source) => ids.map((id) => deliver(receiver, id, source))));
    await receiver.drain();
    ended.length = 0;
    const results = await applyDueOnce({ ...inbox.services, pool });
    expect(results).toHaveLength(2 * MERCHANTS.length);
    expect(committed()).toHaveLength(MERCHANTS.length);
    expect(ofOneEach()).toBe(true);
    expect(await applied(ids)).toHaveLength(2 * MERCHANTS.length);
  });

  it('with a job each wait for nobody whose node is away', async () => {
    const receiver = newReceiver();
    await Promise.all(sources.map((source) => deliver(receiver, 'pi_single_away', source)));
    const away = breaks(NORTH, 'provider_event', '08006');
    await failsOnce('apply-provider-event');
    expect(await applied(['pi_single_away'])).toEqual(MERCHANTS.filter((id) => id !== NORTH).sort());
    await database.pool.query("update pgboss.job set retry_count = 1 where state < 'active'");
    await Promise.all(sources.slice(1).map((source) => deliver(receiver, 'pi_single_again', source)));
    await database.pool.query("update pgboss.job set retry_count = 1 where state < 'active'");
    await failsOnce('apply-provider-event');
    expect(await applied(['pi_single_again'])).toHaveLength(MERCHANTS.length - 1);
    away();
    await applyDueOnce({ ...inbox.services, pool });
    expect(await applied(['pi_single_away'])).toEqual(MERCHANTS.toSorted());
  });
});

it('news of several merchants is claimed, marked, sent and settled by transactions for each of them', async () => {
  const config = { SVIX_TOKEN: undefined, SVIX_SERVER_URL: undefined, ALLOW_PRIVATE_ENDPOINTS: true };
  const outgoing = createOutgoing({ config, boss, clock: systemClock, logger, box: BOX, pool });
  const asked = { url: endpoint.url, description: '', eventTypes: null, disabled: false };
  await announce({ pool, publisher: outgoing.publisher, logger, maxSeconds: 30 });
  for (const merchantId of MERCHANTS) await outgoing.webhooks.createEndpoint(merchantId, asked);
  const ledger = ledgerOf();
  for (const merchantId of MERCHANTS) await ledger.post(credit(merchantId, 'news'));
  ended.length = 0;
  const told = await announce({ pool, publisher: outgoing.publisher, logger, maxSeconds: 30 });
  expect(told.wallets).toBe(MERCHANTS.length);
  expect(await outgoing.deliverer.deliverDue()).toBe(MERCHANTS.length);
  expect(endpoint.received).toHaveLength(MERCHANTS.length);
  const { rows } = await database.pool.query("select 1 from webhook_delivery where state <> 'delivered'");
  expect(rows).toEqual([]);
  // Claimed, marked and settled.
  expect(committed().length).toBeGreaterThanOrEqual(3 * MERCHANTS.length);
  expect(ofOneEach()).toBe(true);
  await outgoing.close();
});

it('claims are kept while one merchant keeps his waiting, and his that cannot be kept leave the others kept', async () => {
  const ledger = ledgerOf();
  for (const merchantId of MERCHANTS) await ledger.post(credit(merchantId, 'kept'));
  const later = Promise.withResolvers<void>();
  const silent = proxy.inject((one) =>
    one.applicationName === NAME && one.sql.includes('for update of u skip locked') && one.holds(NORTH)
      ? { when: 'before', connection: 'kept', meanwhile: () => later.promise }
      : null,
  );
  onTestFinished(silent);
  onTestFinished(() => later.resolve());
  const leases = async () => {
    const { rows } = await database.pool.query<{ merchant_id: string; claimed_until: Date }>(
      'select merchant_id, claimed_until from unannounced_wallet where claimed_until > now() order by merchant_id',
    );
    return new Map(rows.map((row) => [row.merchant_id, row.claimed_until.getTime()]));
  };
  const others = MERCHANTS.filter((id) => id !== NORTH).sort();
  const claiming = claimParts(pool, 100);
  await eventually('what is not held up to be claimed', async () => (await leases()).size === others.length);
  const first = await leases();
  expect([...first.keys()]).toEqual(others);
  await eventually('the leases to be renewed', async () =>
    [...(await leases())].every(([merchantId, until]) => until > (first.get(merchantId) ?? 0)),
  );
  silent();
  later.resolve();
  const claims = (await claiming).map(({ claim }) => claim);
  expect(claims).toHaveLength(MERCHANTS.length);

  await database.pool.query('update unannounced_wallet set claimed_until = now()');
  // The first of them in order.
  const mend = breaks(EAST, 'claimed_until = now() +', '08006');
  await keepClaims(pool, claims);
  mend();
  expect([...(await leases()).keys()]).toEqual(MERCHANTS.filter((id) => id !== EAST).sort());
  await releaseOutbox(autocommit(database.pool), claims);
});

it('events that have lost their jobs get others by a transaction for each merchant', async () => {
  const receiver = newReceiver();
  await Promise.all(sources.map((source) => deliver(receiver, 'pi_stranded', source)));
  await receiver.drain();
  await boss.deleteAllJobs('apply-provider-event');
  await boss.deleteAllJobs('apply-provider-events');
  ended.length = 0;
  const inTwoMinutes = { now: () => new Date(Date.now() + 120_000) };
  const swept = await requeueStranded({ pool, boss, clock: inTwoMinutes, logger, waitSeconds: 60 });
  expect(swept).toEqual({ enqueued: MERCHANTS.length, parked: 0 });
  expect(committed()).toEqual(expect.arrayContaining(MERCHANTS.map((merchantId) => [merchantId])));
  expect(ofOneEach()).toBe(true);
  await applyDueOnce({ ...inbox.services, pool });
  expect(await applied(['pi_stranded'])).toEqual(MERCHANTS.toSorted());
});

it('wallets that are due and balances that are low are looked at by transactions for each merchant', async () => {
  await database.pool.query(
    "insert into wallet_due (merchant_id, customer_id, currency, due_at) select merchant_id, customer_id, currency, now() - interval '1 day' from wallet where customer_id = 'cus_a' and merchant_id = any ($1)",
    [MERCHANTS],
  );
  const common = { pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} };
  expect(await sweepDueWallets({ ...common, signal: new AbortController().signal, logger })).toBeGreaterThan(0);
  expect(committed().length).toBeGreaterThanOrEqual(MERCHANTS.length);
  await checkLowBalances({ ...common, logger });
  expect(ofOneEach()).toBe(true);
});
