import type { PoolClient } from 'pg';
import { afterAll, beforeAll, expect, inject, it, onTestFinished } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { createBoss } from '../../src/db/boss.ts';
import { createPool, type Pool, settingsOf } from '../../src/db/pool.ts';
import { probeWay } from '../../src/db/pooler-probe.ts';
import { beginWith } from '../../src/db/session-settings.ts';
import { autocommit, timedAutocommit, transaction } from '../../src/db/transaction.ts';
import { requireUsableWay } from '../../src/db/way.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type RenumberingProxy, startRenumberingProxy } from '../support/renumbering-proxy.ts';

/** Connections that look as if they passed a pooler, for machines without one: a proxy makes up the number of their session. See pooler.test.ts. */

const logger = createLogger('silent', 'test');
let database: TestDatabase;
let proxy: RenumberingProxy;
beforeAll(async () => {
  database = await createTestDatabase();
  proxy = await startRenumberingProxy(inject('clusterUrl'));
});
afterAll(async () => {
  await proxy.stop();
  await database.drop();
});

function open(databaseUrl: string): Pool {
  const pool = createPool({ databaseUrl, applicationName: 'passing', maxConnections: 1, logger });
  onTestFinished(() => pool.end());
  return pool;
}

const BOUNDS = "select current_setting('statement_timeout') as longest, current_setting('lock_timeout') as wait";

it('bring their settings along with each transaction, by its first statement, and leave none in the session', async () => {
  const pool = open(proxy.through(database.url));
  const outside = async () => (await pool.query(BOUNDS)).rows;
  expect(await outside()).toEqual([{ longest: '2min', wait: '10s' }]);
  expect((await autocommit(pool).query(BOUNDS)).rows).toEqual([{ longest: '15s', wait: '3s' }]);
  expect((await autocommit(pool).queryArrays(BOUNDS, [])).rows).toEqual([['15s', '3s']]);
  expect((await timedAutocommit(pool, () => 700).query(BOUNDS)).rows).toEqual([{ longest: '700ms', wait: '3s' }]);
  expect((await transaction(pool, (tx) => tx.query(BOUNDS))).rows).toEqual([{ longest: '15s', wait: '3s' }]);
  expect(await outside()).toEqual([{ longest: '2min', wait: '10s' }]);
});

it.each([
  ['the newest passes none', [false, true]],
  ['the newest passes one', [true, false]],
])('are asked one by one where those of a pool differ: %s', async (_, aside) => {
  const databaseUrl = proxy.through(database.url);
  const pool = createPool({ databaseUrl, applicationName: 'passing', maxConnections: 2, logger });
  onTestFinished(() => pool.end());
  onTestFinished(() => {
    proxy.stepAside(false);
    // Those of a test that failed: the pool ends once it has all of them.
    for (const client of clients) if (out.has(client)) client.release(true);
  });
  const clients: PoolClient[] = [];
  const out = new Set<PoolClient>();
  const take = async () => {
    const client = await pool.connect();
    out.add(client);
    return client;
  };
  const giveBack = (client: PoolClient | undefined) => {
    if (client !== undefined && out.delete(client)) client.release();
  };
  for (const isAside of aside) {
    proxy.stepAside(isAside);
    clients.push(await take());
  }
  const outside = async (index: number) => (await clients[index]?.query(BOUNDS))?.rows;
  const kept = await Promise.all([outside(0), outside(1)]);
  // Only one is free at a time, so that it is known which one serves.
  for (const index of [0, 1]) {
    giveBack(clients[index]);
    expect((await autocommit(pool).query(BOUNDS)).rows).toEqual([{ longest: '15s', wait: '3s' }]);
    if (aside[index] === false) {
      expect((await timedAutocommit(pool, () => 700).query(BOUNDS)).rows).toEqual([{ longest: '700ms', wait: '3s' }]);
    }
    clients[index] = await take();
    expect(await outside(index)).toEqual(kept[index]);
  }
  for (const client of clients) giveBack(client);
});

it('are asked for nothing once the time is over, which rejects as a statement that fails does', async () => {
  const over = timedAutocommit(open(proxy.through(database.url)), () => {
    throw new Error('the time is over');
  });
  await expect(over.query(BOUNDS).catch((error: Error) => error.message)).resolves.toBe('the time is over');
  await expect(over.queryArrays(BOUNDS, []).catch((error: Error) => error.message)).resolves.toBe('the time is over');
});

it('keep a single statement that writes, and undo one that fails', async () => {
  const pool = open(proxy.through(database.ownerUrl));
  await autocommit(pool).query('create table note (id integer primary key)');
  await autocommit(pool).query('insert into note values ($1)', [1]);
  await expect(autocommit(pool).query('insert into note values ($1)', [1])).rejects.toMatchObject({ code: '23505' });
  expect((await autocommit(pool).query('select id from note')).rows).toEqual([{ id: 1 }]);
});

it('send nothing more than before where they pass none', async () => {
  const pool = open(database.url);
  const sent: unknown[] = [];
  const client = await pool.connect();
  const query = client.query.bind(client);
  Object.assign(client, {
    query: (...given: Parameters<typeof query>) => {
      sent.push(given[0]);
      return query(...given);
    },
  });
  client.release();
  await autocommit(pool).query('select 1');
  await transaction(pool, (tx) => tx.query('select 2'));
  expect(sent).toEqual([
    expect.objectContaining({ text: 'select 1' }),
    'begin',
    expect.objectContaining({ text: 'select 2' }),
    'commit',
  ]);
});

it('are found out', async () => {
  expect(await probeWay(database.url, 'test')).toMatchObject({ isPooled: false });
  expect(await probeWay(proxy.through(database.url), 'test')).toEqual({
    isPooled: true,
    keepsSessions: true,
    keepsStatements: true,
  });
});

it('let a migration through that keeps its session, and a worker listen', async () => {
  expect(await migrate(proxy.through(database.ownerUrl), logger)).toEqual([]);
  const databaseUrl = proxy.through(database.url);
  const warned: string[] = [];
  const boss = createBoss({
    ...{ databaseUrl, applicationName: 'passing', maxConnections: 2, works: true },
    logger: createLogger('warn', 'test', { write: (line) => warned.push(line) }),
  });
  await boss.start();
  onTestFinished(() => boss.stop({ graceful: false }));
  const { rows } = await database.pool.query(
    "select from pg_stat_activity where datname = current_database() and query ilike 'listen%'",
  );
  expect([rows.length, warned]).toEqual([1, []]);
});

it('are refused at start where a setting does not get through', async () => {
  const pool = open(database.url);
  const options = { pool, databaseUrl: database.url, directUrl: undefined, applicationName: 'test', logger };
  await requireUsableWay(options);
  // As under a pooler that gives the right number and another session.
  await pool.query('set lock_timeout = 0');
  await expect(requireUsableWay(options)).rejects.toThrow('lock_timeout is 0 and not 3000 in a transaction');
});

it('are refused at start where the direct way leads to another database', async () => {
  const other = await createTestDatabase();
  onTestFinished(() => other.drop());
  const pool = open(database.url);
  const options = { pool, databaseUrl: database.url, applicationName: 'test', logger };
  await requireUsableWay({ ...options, directUrl: database.url });
  await expect(requireUsableWay({ ...options, directUrl: other.url })).rejects.toThrow('leads to another database');
});

it('begin so that no value ends its quotes', () => {
  expect(beginWith({ application_name: "a'; drop table entry; --" })).toContain(
    "; set local application_name = 'a''; drop table entry; --'",
  );
  expect(settingsOf(database.pool)).toMatchObject({ statement_timeout: '15000', datestyle: 'ISO, YMD' });
});
