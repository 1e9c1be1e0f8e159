import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { eraseAndRetain } from '../../src/retention/erase-and-retain.ts';
import { MOST_PER_RUN, retain } from '../../src/retention/retain.ts';
import { type Forgettable, forgottenBefore, type RetentionRule, retentionRule } from '../../src/retention/rule.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { stripePaymentSucceeded } from '../support/signing.ts';

/** What is deleted by its age: ignored events, messages, recoveries, alerts, reconciliations and audit runs; and that a run may end anywhere. */

const RULE: RetentionRule = { eventBodies: 90, ignoredEvents: 14, messages: 30, history: 365 };
const OTHER = 'bus_other';
const logger = createLogger('silent', 'test');

let database: TestDatabase;
let inbox: TestInbox;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a', 'b']);
  await makeCustomers(database.pool, ['a'], OTHER);
  inbox = await startInbox(database);
  pool = createPool({ databaseUrl: database.workerUrl, applicationName: 'test-forget', maxConnections: 4, logger });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await pool.end();
  await database.drop();
});

const run = (merchantId: string | null = MERCHANT, isDryRun = false, using = pool) =>
  retain({ pool: using, clock: systemClock, logger, rule: RULE }, { merchantId, isDryRun });
const countOf = async (what: Forgettable, isDryRun = false) =>
  (await run(what === 'audit_runs' ? null : MERCHANT, isDryRun)).find((one) => one.what === what)?.count;
const sql = (text: string, values: readonly unknown[] = []) => database.pool.query(text, [...values]);
const idsIn = async (table: string, column: string) =>
  (await sql(`select ${column} as id from ${table} order by 1`)).rows.map(({ id }) => id);

describe('the days of each kind', () => {
  it('are counted from now; 0 keeps it for ever', () => {
    const now = new Date('2026-11-01T00:00:00Z');
    expect(forgottenBefore(RULE, 'ignored_events', now)).toEqual(new Date('2026-10-18T00:00:00Z'));
    expect(forgottenBefore({ ...RULE, history: 0 }, 'alerts', now)).toBeNull();
  });

  it('come from the environment, and are safe where nothing is set', () => {
    expect(retentionRule(loadConfig({}))).toEqual(RULE);
    const wants = (name: string, value: string) => () => loadConfig({ [name]: value });
    expect(retentionRule(loadConfig({ RETENTION_MESSAGE_DAYS: '0' })).messages).toBe(0);
    expect(wants('RETENTION_MESSAGE_DAYS', '29')).toThrow('wants a whole number from 30 to 36500, or 0 for ever');
    expect(wants('RETENTION_EVENT_BODY_DAYS', '6')).toThrow('from 7');
  });
});

describe('an ignored event', () => {
  const ignored = JSON.stringify({
    id: 'evt_ping',
    object: 'event',
    type: 'ping',
    livemode: false,
    created: 1,
    data: { object: {} },
  });

  it('is deleted after two weeks, and one that comes again is ignored again', async () => {
    const states = async () => (await sql('select state from provider_event')).rows.map(({ state }) => state);
    await inbox.deliver(ignored);
    expect(await countOf('ignored_events')).toBe(0);
    await sql(
      "update provider_event set settled_at = (settled_at at time zone 'UTC' - interval '15 days') at time zone 'UTC'",
    );
    expect(await countOf('ignored_events', true)).toBe(1);
    expect(await states()).toEqual(['ignored']);
    expect(await countOf('ignored_events')).toBe(1);
    expect(await states()).toEqual([]);
    expect(await inbox.deliver(ignored)).toMatchObject({ kind: 'stored', state: 'ignored' });
    expect(await inbox.deliver(ignored)).toEqual({ kind: 'duplicate' });
  });
});

describe('a message of the embedded sender', () => {
  beforeEach(async () => {
    await sql('delete from webhook_delivery');
    await sql('delete from webhook_message');
    await sql('delete from webhook_recovery');
    await sql(
      `insert into webhook_endpoint (merchant_id, endpoint_id, url, secret, created_at, updated_at)
       values ($1, 'ep_1', 'https://a.example/', 's', now(), now()) on conflict do nothing`,
      [MERCHANT],
    );
    await sql(
      `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at)
       select $1, id, 'wallet.created', '{}', now() - days * interval '1 day'
       from (values ('old', 31), ('pending', 31), ('young', 29)) m (id, days)`,
      [MERCHANT],
    );
    await sql(
      `insert into webhook_delivery (merchant_id, message_id, endpoint_id, state, next_attempt_at)
       select merchant_id, message_id, 'ep_1', case when message_id = 'pending' then 'pending' else 'failed' end,
         case when message_id = 'pending' then now() end from webhook_message`,
    );
    await sql(
      `insert into webhook_attempt (merchant_id, attempt_id, message_id, endpoint_id, duration_ms, created_at)
       select merchant_id, 'at_' || message_id, message_id, 'ep_1', 1, created_at from webhook_message`,
    );
  });

  it('is deleted after 30 days with its deliveries and attempts, unless it is still to be delivered', async () => {
    expect(await countOf('messages', true)).toBe(1);
    expect(await countOf('messages')).toBe(1);
    expect(await idsIn('webhook_message', 'message_id')).toEqual(['pending', 'young']);
    expect(await idsIn('webhook_delivery', 'message_id')).toEqual(['pending', 'young']);
    expect(await idsIn('webhook_attempt', 'message_id')).toEqual(['pending', 'young']);
  });

  it('stays while a recovery that may offer it is under way; recoveries that ended are deleted after 30 days', async () => {
    const recover = (id: string, state: string, daysAgo: number) =>
      sql(
        `insert into webhook_recovery (merchant_id, recovery_id, endpoint_id, since, until, state, phase, created_at, not_before, finished_at)
         values ($1, $2, 'ep_1', now() - interval '32 days', now(), $3, 'kept', now(), now(),
           case when $3 <> 'running' then now() - $4 * interval '1 day' end)`,
        [MERCHANT, id, state, daysAgo],
      );
    await recover('running', 'running', 0);
    await recover('past', 'finished', 31);
    await recover('stopped', 'stopped', 40);
    await recover('recent', 'finished', 3);
    expect(await countOf('messages')).toBe(0);
    expect(await idsIn('webhook_recovery', 'recovery_id')).toEqual(['recent', 'running']);
    await sql("update webhook_recovery set state = 'finished', finished_at = now() where state = 'running'");
    expect(await countOf('messages')).toBe(1);
    expect(await countOf('recoveries')).toBe(0);
  });
});

describe('an alert', () => {
  it('is deleted a year after it was told, but never the newest of a wallet', async () => {
    await sql(
      `insert into wallet_alert (merchant_id, customer_id, currency, alert_seq, kind, balance, version, created_at)
       select $1, 'cus_a', 'USD', n, 'low', 1, 0, now() - (1000 - n * 100) * interval '1 day' from generate_series(1, 5) n`,
      [MERCHANT],
    );
    // The last two are not told yet; all are older than a year.
    const told = (seq: number) =>
      sql(
        `update wallet set alert_seq = 5, announced_alert_seq = $2, announced_version = version, alerts_armed = true
         where merchant_id = $1 and customer_id = 'cus_a' and currency = 'USD'`,
        [MERCHANT, seq],
      );
    await told(3);
    expect(await countOf('alerts', true)).toBe(3);
    expect(await countOf('alerts')).toBe(3);
    await told(5);
    expect(await countOf('alerts')).toBe(1);
    expect(await idsIn('wallet_alert', 'alert_seq')).toEqual([5]);
    await expectBooksToAgree(database.pool);
  });

  it('that is young cannot be deleted, not even by the owner of the database', async () => {
    await sql(
      `insert into wallet_alert (merchant_id, customer_id, currency, alert_seq, kind, balance, version, created_at)
       values ($1, 'cus_a', 'USD', 6, 'low', 1, 0, now())`,
      [MERCHANT],
    );
    await expect(sql('delete from wallet_alert where alert_seq = 6')).rejects.toMatchObject({ code: '23001' });
    await sql(
      "update wallet set alert_seq = 6, announced_alert_seq = 6 where customer_id = 'cus_a' and currency = 'USD' and merchant_id = $1",
      [MERCHANT],
    );
  });
});

describe('a reconciliation', () => {
  const compared = (runId: string, years: number, { source = 'src_stripe', state = 'finished', dryRun = false } = {}) =>
    sql(
      `insert into reconciliation (merchant_id, run_id, source_id, provider, since, until, requested_by, dry_run, state, phase,
         created_at, updated_at, finished_at)
       select $1, $2, $3, 'stripe', at - interval '1 day', at, 'schedule', $5, $4, 'settling', at, at, case when $4 <> 'running' then at end
       from (select now() - $6 * interval '1 year' as at) t`,
      [MERCHANT, runId, source, state, dryRun, years],
    );
  const found = (runId: string, eventId: string | null = null) =>
    sql(
      `insert into reconciliation_item (merchant_id, run_id, kind, object_id, outcome, event_id, found_at)
       select $1, $2, 'payment', 'pi_' || n, 'differing', $3, now() from generate_series(1, 3) n`,
      [MERCHANT, runId, eventId],
    );
  const left = () => idsIn('reconciliation', 'run_id');

  it('is deleted with what it found after a year, but never the last of a source', async () => {
    await compared('old', 3);
    await compared('dry', 3, { dryRun: true });
    await compared('failed', 2, { state: 'failed' });
    await compared('last', 1.5);
    await compared('dry-after', 1.4, { dryRun: true });
    await compared('gone', 2, { source: 'src_gone' });
    await compared('running', 2, { source: 'src_slow', state: 'running' });
    await found('old');
    await found('last');
    expect(await countOf('reconciliations', true)).toBe(4);
    expect(await countOf('reconciliations')).toBe(4);
    expect(await left()).toEqual(['gone', 'last', 'running']);
    expect((await sql('select distinct run_id from reconciliation_item')).rows).toEqual([{ run_id: 'last' }]);
    await compared('young', 0.5);
    expect(await countOf('reconciliations')).toBe(1);
    expect(await left()).toEqual(['gone', 'running', 'young']);
  });

  it('stays while an event that it brought waits for a person, and is deleted by twenties', async () => {
    await sql(
      `insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, reason, origin,
         received_at, settled_at)
       values ('evt_parked', $1, 'src_stripe', 'stripe', 'parked', 'ping', '', 'parked', 'malformed', 'reconciliation', now(), now())`,
      [MERCHANT],
    );
    for (let run = 0; run < 45; run += 1) await compared(`many-${run}`, 2);
    await found('many-7', 'evt_parked');
    expect(await countOf('reconciliations')).toBe(44);
    expect(await left()).toEqual(['gone', 'many-7', 'running', 'young']);
    await sql("delete from reconciliation; delete from provider_event where event_id = 'evt_parked'");
  });
});

describe('the result of an audit', () => {
  it('is deleted after a year, but never the newest', async () => {
    await sql(
      "insert into audit_run (disagreements, duration_ms, finished_at) select 0, 1, now() - interval '2 years' from generate_series(1, 3)",
    );
    expect(await countOf('audit_runs', true)).toBe(2);
    expect(await countOf('audit_runs')).toBe(2);
    expect((await sql('select from audit_run')).rowCount).toBe(1);
  });
});

describe('a run', () => {
  const fill = (count: number, merchantId: string) =>
    sql(
      `insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, received_at, settled_at)
       select $2 || n, $2, 'src_stripe', 'stripe', 'k' || n, 'ping', '', 'ignored', now() - interval '20 days', now() - interval '20 days'
       from generate_series(1, $1) n`,
      [count, merchantId],
    );

  it('is bounded, and the next one goes on; another merchant has its own share', async () => {
    await fill(MOST_PER_RUN + 30, OTHER);
    await fill(7, MERCHANT);
    const results = (await run(null)).filter(({ what }) => what === 'ignored_events');
    expect(results).toEqual([
      { merchantId: MERCHANT, what: 'ignored_events', count: 7, kept: 0, isDone: true },
      { merchantId: OTHER, what: 'ignored_events', count: MOST_PER_RUN, kept: 0, isDone: false },
    ]);
    const [, second] = await run(OTHER);
    expect(second).toMatchObject({ count: 30, isDone: true });
  });

  it('that loses its connection in the middle has done whole batches, and the next one does the rest', async () => {
    const paymentIds = Array.from({ length: 12 }, (_, n) => `pi_kill_${n}`);
    for (const paymentId of paymentIds)
      await inbox.deliver(
        stripePaymentSucceeded({ paymentId, amount: 100, currency: 'usd', metadata: { wallet_customer_id: 'cus_b' } }),
      );
    await inbox.settled();
    await sql(
      "update provider_event set settled_at = (settled_at at time zone 'UTC' - interval '100 days') at time zone 'UTC' where payment_id like 'pi_kill_%'",
    );
    const bodies = async () =>
      (await sql("select from provider_event where payment_id like 'pi_kill_%' and length(body) = 0")).rowCount;
    const killed = createPool({
      databaseUrl: database.workerUrl,
      applicationName: 'to-be-killed',
      maxConnections: 2,
      logger,
    });
    killed.on('error', () => {});
    // The batch waits for this row's table to be free, and dies while it does.
    await transaction(database.pool, async (tx) => {
      await tx.query('lock table provider_event in access exclusive mode');
      const dying = expect(run(MERCHANT, false, killed)).rejects.toThrow();
      await expect
        .poll(async () => {
          const { rowCount } = await sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'to-be-killed' and wait_event_type = 'Lock'",
          );
          return rowCount;
        })
        .toBeGreaterThan(0);
      await dying;
    });
    await killed.end();
    expect(await bodies()).toBe(0);
    await expectBooksToAgree(database.pool);
    const both = await Promise.all([run(), run()]);
    const taken = both.flat().filter(({ what }) => what === 'event_bodies');
    expect(taken.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(12);
    expect(await bodies()).toBe(12);
    await expectBooksToAgree(database.pool);
  });

  it('leaves what somebody holds, and takes it the next time', async () => {
    await sql("update provider_event set settled_at = now() - interval '20 days' where state = 'ignored'");
    await transaction(database.pool, async (tx) => {
      await tx.query("select from provider_event where merchant_id = 'bus_default' and state = 'ignored' for update");
      expect(await countOf('ignored_events')).toBe(0);
    });
    expect(await countOf('ignored_events')).toBe(1);
  });

  it('takes from the ledger nothing', async () => {
    const now = new Date(Date.now() - 4000 * 86_400_000);
    await transaction(database.pool, (tx) => postBatch(tx, [posting({ amountMinor: 500 })], { ...SETTINGS, now }));
    const before = (await sql('select count(*) from entry')).rows;
    await run(null);
    expect((await sql('select count(*) from entry')).rows).toEqual(before);
  });
});

describe('what cannot be forgotten of one merchant', () => {
  it('keeps nobody else’s, nor his of other kinds, and the job fails at its end', async () => {
    const old = "(now() at time zone 'UTC' - interval '2 years') at time zone 'UTC'";
    for (const merchantId of [MERCHANT, OTHER])
      await sql(
        `insert into webhook_message (merchant_id, message_id, event_type, payload, created_at) values ($1, 'whm_old', 'wallet.created', '{}', ${old})`,
        [merchantId],
      );
    await sql(
      `insert into audit_run (disagreements, duration_ms, finished_at) values (0, 4711, ${old}), (0, 1, now())`,
    );
    const messages = async () =>
      (await sql("select merchant_id as id from webhook_message where message_id = 'whm_old' order by 1")).rows.map(
        ({ id }) => id,
      );
    const runs = async () => (await sql('select 1 from audit_run where duration_ms = 4711')).rowCount;
    await sql(`
      create function refuse_delete() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
      create trigger refuse_delete before delete on webhook_message for each row
      when (old.merchant_id = '${MERCHANT}') execute function refuse_delete()`);
    const job = () => eraseAndRetain({ pool, clock: systemClock, logger, rule: RULE });
    await expect(job()).rejects.toThrow('refused');
    expect([await messages(), await runs()]).toEqual([[MERCHANT], 0]);
    await sql('drop trigger refuse_delete on webhook_message; drop function refuse_delete');
    await job();
    expect(await messages()).toEqual([]);
  });
});
