import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workAuditBooks } from '../../jobs/audit-books.ts';
import { audit } from '../../src/audit/checks.ts';
import { renderAudit } from '../../src/audit/report.ts';
import { lastAudit, runAudit } from '../../src/audit/run.ts';
import { systemClock } from '../../src/clock.ts';
import { createBoss } from '../../src/db/boss.ts';
import { readingBy } from '../../src/db/readers.ts';
import { autocommit, Tx, transaction } from '../../src/db/transaction.ts';
import { watchOperations } from '../../src/http/backlog-metrics.ts';
import { eventBacklog } from '../../src/inbox/backlog.ts';
import { outboxBacklog } from '../../src/ledger/outbox-waiting.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { expectSameOfNewRows } from '../support/audit.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { makeCustomers, posting, RULE, SETTINGS } from '../support/ledger.ts';
import { startProcess } from '../support/process.ts';
import { alterTable, WITHOUT_GUARDS } from '../support/tampering.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;
const logger = createLogger('silent', 'test');

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a', 'b']);
  const postings = [
    posting({ amountMinor: 5000 }),
    posting({ amountMinor: 4500, isCredit: false }),
    posting({ customerId: 'cus_b', currency: 'INR', amountMinor: 70, eventType: 'refund', idempotencyKey: 'k' }),
  ];
  await transaction(database.pool, (tx) => postBatch(tx, postings, { ...SETTINGS, now: new Date() }));
});

afterAll(() => database.drop());

const db = () => autocommit(database.pool);

/** Runs `work` with the guards off and the books changed behind their back, and puts everything back. */
async function tampered(statement: string, work: (rules: string[]) => void | Promise<void>): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(WITHOUT_GUARDS);
    await alterTable(client, statement);
    const { disagreements } = await audit(new Tx(client));
    await work(disagreements.map((one) => one.rule.slice(0, 1)));
    await expectSameOfNewRows(new Tx(client));
  } finally {
    await client.query('rollback');
    client.release();
  }
}

describe('the audit', () => {
  it.each([
    ["update wallet set balance = 7 where customer_id = 'cus_a' and currency = 'USD'", ['1', '2']],
    ["update wallet set version = 9 where customer_id = 'cus_a' and currency = 'USD'", ['2', '3', '3']],
    ["delete from entry where customer_id = 'cus_a' and seq = 1", ['1', '2', '3', '3']],
    [
      "update entry set created_at = (created_at at time zone 'UTC' - interval '1 day') at time zone 'UTC' where customer_id = 'cus_a' and seq = 2",
      ['3', '3', '3'],
    ],
    [
      "alter table entry drop constraint entry_overdraft, drop constraint entry_adds_up; update entry set after_balance = -1 where customer_id = 'cus_a' and seq = 2",
      ['3', '3', '4', '6', '6'],
    ],
    ["delete from wallet where customer_id = 'cus_a'", ['1', '2', '2']],
    ['alter table entry disable trigger entry_is_insert_only', ['6', '6']],
    ["delete from unannounced_wallet where customer_id = 'cus_a' and currency = 'USD'", ['7']],
    [
      "update wallet set announced_alert_seq = alert_seq where customer_id = 'cus_a'; delete from unannounced_wallet where customer_id = 'cus_a' and currency = 'USD'",
      ['7'],
    ],
    [
      "update wallet set announced_version = version where customer_id = 'cus_a'; delete from unannounced_wallet where customer_id = 'cus_a' and currency = 'USD'",
      ['7'],
    ],
    ["delete from wallet_alert where customer_id = 'cus_a'", ['7']],
    [
      "delete from entry where customer_id = 'cus_a' and seq = 2; update wallet set balance = 5000, version = 1, announced_version = -1 where customer_id = 'cus_a' and currency = 'USD'",
      ['3', '7'],
    ],
    ["update wallet set alerts_armed = false where customer_id = 'cus_a'", ['7']],
    [
      "update unannounced_wallet set since = now() - interval '2 hours' where customer_id = 'cus_a' and currency = 'USD'",
      ['7'],
    ],
    [
      "update unannounced_wallet set retry_at = now() + interval '1 year' where customer_id = 'cus_a' and currency = 'USD'",
      ['7'],
    ],
    [
      "update unannounced_wallet set claimed_until = 'infinity' where customer_id = 'cus_a' and currency = 'USD'",
      ['7'],
    ],
    [
      "update unannounced_wallet set claimed_version = 9, claimed_alert_seq = 0 where customer_id = 'cus_a' and currency = 'USD'",
      ['7'],
    ],
    ["delete from wallet where customer_id = 'cus_a' and currency = 'INR'", []],
    [
      "insert into payment (merchant_id, source_id, payment_id, provider, state, refunds, customer_id, posted_credit, postings, created_at, updated_at) values ('bus_default', 'src_stripe', 'p', 'stripe', 'succeeded', 'auto', 'cus_a', 10, 1, now(), now())",
      ['5', '5', '5', '5'],
    ],
    [
      "insert into payment (merchant_id, source_id, payment_id, provider, state, refunds, customer_id, posted_credit, postings, key_version, created_at, updated_at) values ('bus_default', 'src_stripe', 'p', 'stripe', 'succeeded', 'auto', 'cus_a', 10, 1, 2, now(), now())",
      ['5', '5', '5', '5'],
    ],
  ])('names what is wrong after: %s', async (statement, expected) => {
    // The refund of customer b claims a payment that nobody knows; it is there from the start.
    await tampered(statement, (rules) => expect(rules.toSorted()).toEqual([...expected, '5'].toSorted()));
  });

  it('prints the books for people, with the trial balance and every disagreement', async () => {
    const text = renderAudit(await audit(db()));
    expect(text).toMatch(/bus_default +USD +2 +2 +5\.00 USD/);
    expect(text).toMatch(/bus_default +USD +merchant_adjustments +-50\.00 USD +45\.00 USD +-5\.00 USD/);
    expect(text).toContain('1 disagreements');
    expect(
      renderAudit({
        balances: [],
        trialBalance: [],
        read: { wallets: 0, entries: 0 },
        disagreements: [],
        judgedByFacts: 0,
      }),
    ).toContain('The books agree.');
  });

  it('runs as a job, keeps its result, and shows it as a metric', async () => {
    expect(await lastAudit(db())).toBeNull();
    const metrics = createMetrics();
    watchOperations(metrics, readingBy(database.pool));
    expect(await metrics.registry.metrics()).toContain('chokin_audit_disagreements Nan');
    const boss = createBoss({
      databaseUrl: database.url,
      applicationName: 'test',
      maxConnections: 4,
      works: true,
      logger,
    });
    await boss.start();
    // Workers look at once as they begin, and then every ten seconds.
    await boss.send('audit-books', {});
    await workAuditBooks(boss, { pool: database.pool, clock: systemClock, logger, rule: RULE });
    await eventually('the audit to run', async () => (await lastAudit(db()))?.disagreements === 1);
    await boss.stop({ graceful: true });
    const later = createMetrics();
    watchOperations(later, readingBy(database.pool));
    expect(await later.registry.metrics()).toContain('chokin_audit_disagreements 1');
    expect(await later.registry.metrics()).toContain('chokin_wallets_unannounced 4');
  });

  it('says in the log that the books agree, or what does not', async () => {
    const lines: string[] = [];
    const toLines = createLogger('info', 'test', { write: (line) => void lines.push(line) });
    await runAudit({ pool: database.pool, clock: systemClock, logger: toLines, rule: RULE });
    expect(lines.join('')).toContain('the books disagree');
    const clean = await createTestDatabase();
    await runAudit({ pool: clean.pool, clock: systemClock, logger: toLines, rule: null });
    expect(lines.at(-1)).toContain('the books agree');
    expect(await eventBacklog(autocommit(clean.pool))).toEqual({
      parkedEvents: 0,
      waitingEvents: 0,
      oldestPendingEventSeconds: 0,
    });
    expect(await outboxBacklog(autocommit(clean.pool))).toEqual({
      walletsInOutbox: 0,
      oldestInOutboxSeconds: 0,
    });
    await clean.drop();
  });
});

describe('npm run audit', () => {
  const run = async (args: readonly string[], databaseUrl: string) => {
    const command = startProcess(
      'src/commands/audit.ts',
      databaseUrl === '' ? {} : { DATABASE_URL: databaseUrl },
      args,
    );
    const code = await command.exited;
    return { code, output: command.output() };
  };

  it('exits 1 where the books disagree, as text or as JSON', async () => {
    const text = await run([], database.url);
    expect(text.code).toBe(1);
    expect(text.output).toContain('1 disagreements');
    const json = await run(['--json'], database.url);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.output)).toMatchObject({ disagreements: [{ subject: 'bus_default/cus_b' }] });
  });

  it('exits 0 where they agree, and explains itself', async () => {
    const clean = await createTestDatabase();
    expect(await run([], clean.url)).toMatchObject({ code: 0, output: expect.stringContaining('The books agree.') });
    await clean.drop();
    expect(await run(['--help'], '')).toMatchObject({
      code: 0,
      output: expect.stringContaining('Usage: npm run audit'),
    });
    expect(await run([], '')).toMatchObject({
      code: 1,
      output: expect.stringContaining('DATABASE_URL: wants the database to work on'),
    });
  });
});
