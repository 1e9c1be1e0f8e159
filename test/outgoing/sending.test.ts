import { randomBytes } from 'node:crypto';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { onCitus } from '../../src/db/backend.ts';
import { createPool } from '../../src/db/pool.ts';
import { transaction } from '../../src/db/transaction.ts';
import { decideSending, Sending } from '../../src/outgoing/sending.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { putRule } from '../../src/top-ups/manage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { urlAs } from '../support/database-users.ts';
import { MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';
import { eventually } from '../support/wait.ts';

const logger = createLogger('silent', 'test');
const HERE = { databaseIdentity: '7:16384', address: 'db.example/chokin' };

describe('whether a worker sends', () => {
  it.each([
    { what: 'a database that never sent', setting: 'auto', homes: [], decision: 'send' },
    { what: 'where it sent before', setting: 'auto', homes: [HERE], decision: 'send' },
    {
      what: 'one of several places',
      setting: 'auto',
      homes: [{ ...HERE, address: 'pooler/chokin' }, HERE],
      decision: 'send',
    },
    {
      what: 'a dump that was restored',
      setting: 'auto',
      homes: [{ ...HERE, databaseIdentity: '7:5' }],
      decision: 'moved',
    },
    {
      what: 'a copy of the whole server',
      setting: 'auto',
      homes: [{ ...HERE, address: 'copy/chokin' }],
      decision: 'moved',
    },
    {
      what: 'a place that somebody vouches for',
      setting: 'on',
      homes: [{ ...HERE, address: 'x/y' }],
      decision: 'send',
    },
    { what: 'a copy that is meant to be quiet', setting: 'off', homes: [HERE], decision: 'off' },
  ] as const)('$what: $decision', ({ setting, homes, decision }) => {
    expect(decideSending(setting, HERE, homes)).toBe(decision);
  });
});

/** As a dump that was restored beside the original: the same rows in another database. */
async function restoredCopy(original: TestDatabase): Promise<{ readonly url: string; readonly workerUrl: string }> {
  const name = `chokin_${randomBytes(6).toString('hex')}`;
  await original.pool.end();
  const cluster = createPool({ databaseUrl: inject('clusterUrl'), applicationName: 'test', maxConnections: 1, logger });
  onTestFinished(async () => {
    await cluster.query(`drop database if exists ${name} with (force)`);
    await cluster.end();
  });
  const from = new URL(original.ownerUrl).pathname.slice(1);
  // A pooler keeps sessions whose client has gone.
  await cluster.query('select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = $1', [from]);
  await cluster.query(`create database ${name} template ${from}`);
  const url = new URL(inject('clusterUrl'));
  url.pathname = `/${name}`;
  return { url: url.href, workerUrl: urlAs('worker', url.href) };
}

async function databaseThatSent(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  const config = loadConfig({});
  const worker = await startWorker({ config, databaseUrl: database.workerUrl, logger, clock: systemClock });
  await makeCustomers(database.pool, ['ada']);
  await eventually('the wallets to be announced', async () => {
    const { rowCount } = await database.pool.query('select 1 from unannounced_wallet');
    return rowCount === 0;
  });
  await worker.close();
  const [customerId = ''] = await makeCustomers(database.pool, ['bob']);
  const now = new Date();
  const rule: Parameters<typeof putRule>[1] = {
    ...{ merchantId: MERCHANT, customerId, currency: 'USD', enabled: true, threshold: 1000 },
    mode: 'amount',
    ...{ amount: 2000, target: null, maxCharge: 2000, monthlyCap: 2000, maxPerDay: 3, minIntervalSeconds: 600 },
    ...{ timeZone: 'UTC', payment: null, consent: { acceptedAt: now, textVersion: '1' }, source: null },
  };
  await transaction(database.pool, (tx) => putRule(tx, rule, { currencies: SETTINGS.currencies, now }));
  return database;
}

// Of a cluster, a copy is one of every node.
describe.skipIf(onCitus())('a copy that was restored elsewhere', { timeout: 60_000 }, () => {
  it('announces nothing and charges nobody until a worker is started with SENDING=on, and loses nothing by that', async () => {
    const copy = await restoredCopy(await databaseThatSent());
    const pool = createPool({ databaseUrl: copy.url, applicationName: 'test', maxConnections: 2, logger });
    onTestFinished(() => pool.end());
    const waiting = async () => (await pool.query('select 1 from unannounced_wallet')).rowCount ?? 0;
    const start = (environment: Record<string, string>) =>
      startWorker({ config: loadConfig(environment), databaseUrl: copy.workerUrl, logger, clock: systemClock });
    const attempts = async () => (await pool.query('select 1 from topup')).rowCount ?? 0;
    for (const environment of [{}, { SENDING: 'off' }]) {
      await pool.query("delete from pgboss.job where name = 'charge-top-ups'");
      await pool.query("delete from pgboss.job where name = 'check-low-balances'");
      const quiet = await start(environment);
      // A job of the same start that was done: had the announcer been there, so were its own.
      await eventually('a job to be done', async () => {
        const done = "select 1 from pgboss.job where name = 'check-low-balances' and state = 'completed'";
        return (await pool.query(done)).rowCount === 1;
      });
      expect(await waiting()).toBe(2);
      await quiet.close();
      // Nobody is charged by a copy, nor asked to charge: not even the job is taken, nor the list of wallets read.
      const taken = "select 1 from pgboss.job where name = 'charge-top-ups' and state <> 'created'";
      expect((await pool.query(taken)).rowCount).toBe(0);
      expect(await attempts()).toBe(0);
    }
    const speaking = await start({ SENDING: 'on' });
    await eventually('the wallets to be announced', async () => (await waiting()) === 0);
    await eventually('the wallet to be filled up', async () => (await attempts()) === 1);
    await speaking.close();
  });

  it('is known by its port, by the folder of an embedded one, and by the direct way where a pooler is in the other', async () => {
    const database = await createTestDatabase();
    onTestFinished(() => database.drop());
    const homesOf = async (environment: Record<string, string>) => {
      await database.pool.query('delete from installation_home');
      const sending = new Sending({ config: loadConfig(environment), pool: database.pool, logger });
      await sending.begin(async () => {});
      await sending.close();
      return (await database.pool.query('select address from installation_home')).rows.map(({ address }) => address);
    };
    const DATABASE_URL = 'postgres://u:p@db.example:6432/pooled';
    const DATABASE_DIRECT_URL = 'postgres://u:p@db.example/chokin';
    expect(await homesOf({ DATABASE_URL })).toEqual(['db.example:6432/pooled']);
    expect(await homesOf({ DATABASE_URL, DATABASE_DIRECT_URL })).toEqual(['db.example:5432/chokin']);
    expect(await homesOf({ DATA_DIR: '/srv/chokin' })).toEqual(['DATA_DIR /srv/chokin']);
  });

  it('is looked at again by a quiet worker, which sends once another was started with SENDING=on', async () => {
    const database = await createTestDatabase();
    onTestFinished(() => database.drop());
    await database.pool.query(
      "insert into installation_home (database_identity, address) values ('7:5', 'old/chokin')",
    );
    const sendingBy = (setting: 'auto' | 'on') => {
      const { pool, workerUrl } = database;
      const config = loadConfig({ DATABASE_URL: workerUrl, SENDING: setting });
      const sending = new Sending({ config, pool, logger, lookAgainMs: 20 });
      onTestFinished(() => sending.close());
      return sending;
    };
    const started: string[] = [];
    const begin = (who: string, setting: 'auto' | 'on') => sendingBy(setting).begin(async () => void started.push(who));
    await begin('quiet', 'auto');
    expect(started).toEqual([]);
    await begin('vouched for', 'on');
    await eventually('the quiet one to begin', () => started.length === 2);
    await begin('the next', 'auto');
    expect(started).toEqual(['vouched for', 'quiet', 'the next']);
  });
});
