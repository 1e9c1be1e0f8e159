import type { PgBoss } from 'pg-boss';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createBoss } from '../../src/db/boss.ts';
import { bossDatabase } from '../../src/db/queues.ts';
import { type Tx, transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';

/**
 * F12: a statement fails inside a transaction, and code catches the error and ignores it. Postgres answers the COMMIT that follows
 * with success and the tag ROLLBACK, and has kept nothing: neither what was written nor a job whose id pg-boss already
 * gave. The caller must be told.
 */
let database: TestDatabase;
let boss: PgBoss;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.pool.query('create table note (id integer primary key, text text)');
  await makeCustomers(database.pool, ['a']);
  const { workerUrl: databaseUrl } = database;
  const logger = createLogger('silent', 'test');
  boss = createBoss({ databaseUrl, applicationName: 'test', maxConnections: 2, works: false, logger });
  await boss.start();
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await boss.stop({ graceful: false });
  await database.drop();
});

const QUEUE = 'apply-provider-event';

const swallowAnError = (tx: Tx) => tx.query('insert into note values (1), (1)').catch(() => {});
const sendJob = (tx: Tx) => boss.send(QUEUE, { eventId: 'evt_swallowed' }, { db: bossDatabase(tx) });
const rowsOf = async (table: string) => (await database.pool.query(`select 1 from ${table}`)).rowCount;

it('fails when a statement failed and the error was swallowed, though COMMIT succeeds', async () => {
  const swallowing = transaction(database.pool, async (tx) => {
    await tx.query('insert into note values (1)');
    await tx.query('insert into note values (1)').catch(() => {});
    return 'done';
  });
  await expect(swallowing).rejects.toThrow('rolled back at commit');
  expect(await rowsOf('note')).toBe(0);
});

it('tells the caller that a posting and a job were lost, although the one was decided and the other has an id', async () => {
  let jobId: string | null = null;
  let ran = 0;
  const swallowing = transaction(database.pool, async (tx) => {
    ran += 1;
    jobId = await sendJob(tx);
    const [outcome] = await postBatch(tx, [posting({ amountMinor: 5 })], { ...SETTINGS, now: new Date() });
    expect(outcome).toMatchObject({ kind: 'created', entry: { afterBalance: 5 } });
    await swallowAnError(tx);
    return outcome;
  });
  await expect(swallowing).rejects.toThrow('rolled back at commit (the server said ROLLBACK)');
  expect(ran).toBe(1);
  expect(jobId).toMatch(/^[0-9a-f-]{36}$/);
  expect(await boss.findJobs(QUEUE, { id: jobId ?? '' })).toEqual([]);
  expect(await rowsOf('entry')).toBe(0);
});

it('does not let a job be sent once an error was swallowed', async () => {
  const sendingLate = transaction(database.pool, async (tx) => {
    await swallowAnError(tx);
    await sendJob(tx);
  });
  await expect(sendingLate).rejects.toMatchObject({ code: '25P02' });
  expect(await boss.findJobs(QUEUE)).toEqual([]);
});

it('keeps posting and job where a savepoint undid what failed', async () => {
  const jobId = await transaction(database.pool, async (tx) => {
    await postBatch(tx, [posting({ amountMinor: 5 })], { ...SETTINGS, now: new Date() });
    await tx.savepoint(() => tx.query('insert into note values (1), (1)')).catch(() => {});
    return sendJob(tx);
  });
  expect(await boss.findJobs(QUEUE)).toMatchObject([{ id: jobId, data: { eventId: 'evt_swallowed' } }]);
  expect(await rowsOf('entry')).toBe(1);
});
