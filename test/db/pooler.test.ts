import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { loadConfig } from '../../src/config/env.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { probeWay } from '../../src/db/pooler-probe.ts';
import { statement } from '../../src/db/statement.ts';
import { autocommit, timedAutocommit, transaction } from '../../src/db/transaction.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb } from '../../src/web.ts';
import { API_KEY } from '../support/app.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Pooler, type PoolerOptions, poolerVersion, startPooler } from '../support/pooler.ts';

/** The service behind a real PgBouncer. */

const version = await poolerVersion();
if (version === null)
  console.warn('SKIPPED: there is no PgBouncer on this machine, so nothing is tested behind one. Set PGBOUNCER to it.');
const keepsStatements = version?.keepsStatements === true;
if (version !== null && !keepsStatements) console.warn(`SKIPPED: ${version.text} is too old for all but the refusal.`);

const silent = createLogger('silent', 'test');
let database: TestDatabase;
const poolers: Pooler[] = [];
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  for (const pooler of poolers) await pooler.stop();
  await database.drop();
});

async function pooler(options: PoolerOptions): Promise<Pooler> {
  const started = await startPooler(inject('clusterUrl'), options);
  poolers.push(started);
  return started;
}

function open(databaseUrl: string, more: { statementTimeoutMs?: number; maxConnections?: number } = {}): Pool {
  const pool = createPool({ databaseUrl, applicationName: 'pooler-test', maxConnections: 4, logger: silent, ...more });
  onTestFinished(() => pool.end());
  return pool;
}

const RIGHT = {
  statement_timeout: '15s',
  lock_timeout: '3s',
  idle_in_transaction_session_timeout: '10s',
  enable_seqscan: 'off',
  bytea_output: 'hex',
};

const inForce = `select ${Object.keys(RIGHT)
  .map((name) => `current_setting('${name}') as ${name}`)
  .join(', ')}`;

interface Started {
  readonly databaseUrl: string;
  readonly directUrl?: string;
}

/** Both processes, started, and what they logged. */
async function start({ databaseUrl, directUrl }: Started) {
  const lines: string[] = [];
  const logger = createLogger('warn', 'test', { write: (line) => lines.push(line) });
  const config = loadConfig({
    PORT: '0',
    API_KEY,
    DATABASE_URL: databaseUrl,
    // One database is reached by several ways here, and takes itself for a copy at each but the first.
    SENDING: 'on',
    ...(directUrl === undefined ? {} : { DATABASE_DIRECT_URL: directUrl }),
  });
  const shared = { config, databaseUrl, logger, clock: systemClock };
  const web = await startWeb({ ...shared, print: () => {}, checkResponses: true });
  onTestFinished(() => web.close());
  const worker = await startWorker(shared);
  onTestFinished(() => worker.close());
  return { web, lines };
}

describe.skipIf(!keepsStatements)('behind a pooler that takes sessions away', () => {
  let through: Pooler;
  beforeAll(async () => {
    through = await pooler({ mode: 'transaction', size: 3 });
  });

  it('each statement has its bounds, whatever pool it comes from, and nothing stays in a session', async () => {
    const url = through.through(database.url);
    const [requests, scans, reads] = [
      open(url),
      open(url, { statementTimeoutMs: 0 }),
      open(url, { statementTimeoutMs: 5_000 }),
    ];
    const expected = [
      RIGHT,
      { ...RIGHT, statement_timeout: '0', enable_seqscan: 'on' },
      { ...RIGHT, statement_timeout: '1s' },
    ];
    const ways = [
      () => autocommit(requests).query(inForce),
      () => autocommit(scans).query(inForce),
      () => timedAutocommit(reads, () => 1_000).query(inForce),
      () => transaction(requests, (tx) => tx.query(inForce)),
    ];
    for (let round = 0; round < 5; round += 1) {
      const found = await Promise.all([...ways, ...ways].map(async (way) => (await way()).rows[0]));
      expect(found).toEqual([...expected, RIGHT, ...expected, RIGHT]);
    }
    const raw = new pg.Client({ connectionString: url });
    await raw.connect();
    for (let one = 0; one < 6; one += 1)
      expect((await raw.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '2min' }]);
    await raw.end();
  });

  it('a statement that takes too long ends, and one that fails leaves nothing open', async () => {
    const pool = open(through.through(database.url), { maxConnections: 1 });
    await expect(timedAutocommit(pool, () => 50).query('select pg_sleep(5)')).rejects.toMatchObject({ code: '57014' });
    await expect(autocommit(pool).query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    expect((await autocommit(pool).query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it('prepared statements are found in every session', async () => {
    const pool = open(through.through(database.url));
    const one = statement({ name: 'pooler-test-one', params: {}, text: () => 'select 1 as one' });
    await Promise.all(Array.from({ length: 40 }, () => one.run(autocommit(pool))));
  });

  it('is found out, and one that keeps sessions is told apart', async () => {
    expect(await probeWay(through.through(database.url), 'test')).toEqual({
      isPooled: true,
      keepsSessions: false,
      keepsStatements: true,
    });
    const kept = await pooler({ mode: 'session' });
    expect(await probeWay(kept.through(database.url), 'test')).toEqual({
      isPooled: true,
      keepsSessions: true,
      keepsStatements: true,
    });
    expect(await probeWay(database.url, 'test')).toEqual({
      isPooled: false,
      keepsSessions: true,
      keepsStatements: true,
    });
  });

  it('migrate does not begin, and leaves neither a lock nor a setting behind', async () => {
    const url = through.through(database.ownerUrl);
    await expect(migrate(url, silent)).rejects.toThrow(
      /takes the session away after each transaction\. Set DATABASE_DIRECT_URL/,
    );
    const { rows } = await database.pool.query("select from pg_locks where locktype = 'advisory'");
    expect(rows).toEqual([]);
    expect(await migrate(database.ownerUrl, silent)).toEqual([]);
  });

  it('the processes run, and say once that they cannot listen', async () => {
    const { web, lines } = await start({ databaseUrl: through.through(database.url) });
    expect((await fetch(`${web.url}/readyz`)).status).toBe(200);
    const said = lines.filter((line) => line.includes('Set DATABASE_DIRECT_URL to the server itself'));
    expect(said).toHaveLength(1);
    expect(lines.filter((line) => line.includes('lacks some'))).toEqual([]);
    const { rows } = await database.pool.query(
      "select from pg_stat_activity where datname = current_database() and query ilike 'listen%'",
    );
    expect(rows).toEqual([]);
  });

  it('with a direct URL the worker listens there', async () => {
    const { lines } = await start({ databaseUrl: through.through(database.url), directUrl: database.url });
    expect(lines).toEqual([]);
    const { rows } = await database.pool.query(
      "select from pg_stat_activity where datname = current_database() and query ilike 'listen%'",
    );
    expect(rows).toHaveLength(1);
  });

  it('a direct URL that is none is refused', async () => {
    const url = through.through(database.url);
    await expect(start({ databaseUrl: url, directUrl: url })).rejects.toThrow(
      'DATABASE_DIRECT_URL goes through a pooler that takes the session away',
    );
  });

  it('a user without settings of its own is told of', async () => {
    const name = 'chokin_unset';
    const { password } = new URL(database.ownerUrl);
    await database.pool.query(`create role ${name} login superuser password '${password}'`);
    onTestFinished(async () => void (await database.pool.query(`drop owned by ${name}; drop role ${name}`)));
    const unset = await pooler({ mode: 'transaction', users: [name] });
    const url = new URL(unset.through(database.url));
    url.username = name;
    const { lines } = await start({ databaseUrl: url.href });
    expect(lines.join('')).toContain('enable_seqscan is on and not off');
  });
});

describe.skipIf(!keepsStatements)('behind a pooler that keeps sessions', () => {
  it('all of it works, migrate too, and it listens', async () => {
    const kept = await pooler({ mode: 'session', size: 60 });
    expect(await migrate(kept.through(database.ownerUrl), silent)).toEqual([]);
    const { web, lines } = await start({ databaseUrl: kept.through(database.url) });
    expect((await fetch(`${web.url}/readyz`)).status).toBe(200);
    expect(lines).toEqual([]);
  });
});

describe.skipIf(version === null)('behind a pooler that is too old, or set wrongly', () => {
  it('both processes refuse to start, and name the setting', async () => {
    const old = await pooler({ mode: 'transaction', losesStatements: true });
    const databaseUrl = old.through(database.url);
    const config = loadConfig({ PORT: '0', API_KEY });
    const shared = { config, databaseUrl, logger: silent, clock: systemClock };
    await expect(startWeb({ ...shared, print: () => {} })).rejects.toThrow(
      'loses prepared statements. PgBouncer keeps them from version 1.21 on',
    );
    await expect(startWorker(shared)).rejects.toThrow(
      'PgBouncer keeps them from version 1.21 on, with max_prepared_statements = 200',
    );
  });

  it('options that it refuses are named', async () => {
    const old = await pooler({ mode: 'transaction' });
    const pool = open(`${old.through(database.url)}?options=-c%20work_mem=7MB`);
    await expect(pool.query('select 1')).rejects.toThrow(/unsupported startup parameter/);
  });
});

describe.skipIf(version === null)(
  'statements that leave without waiting, through a pooler that takes sessions away',
  () => {
    it('stay in their transaction, and fail with it, whoever else has its session the next moment', async () => {
      const through = await pooler({ mode: 'transaction', size: 2 });
      await database.pool.query('create table mark (id integer primary key, x bigint not null)');
      await database.pool.query('grant all on mark to public');
      const pool = open(through.through(database.directUrl), { maxConnections: 8 });
      const X = 'select txid_current()::bigint as x, $1::integer as n';
      const one = async (id: number) =>
        transaction(pool, async (tx) => {
          const [first, second] = await Promise.all([tx.query<{ x: number }>(X, [1]), tx.query<{ x: number }>(X, [2])]);
          expect(second.rows[0]?.x).toBe(first.rows[0]?.x);
          // Every seventh is there already.
          const key = id % 7 === 0 ? -1 : id;
          tx.withoutWaiting(tx.query('insert into mark values ($1, txid_current())', [key]));
          return first.rows[0]?.x;
        });
      await database.pool.query('insert into mark values (-1, 0)');
      const ids = Array.from({ length: 200 }, (_, id) => id);
      const ended = await Promise.allSettled(ids.map(one));
      const { rows } = await database.pool.query<{ id: number; x: number }>('select id, x from mark where id >= 0');
      const kept = new Map(rows.map(({ id, x }) => [id, x]));
      for (const [id, end] of ended.entries()) {
        if (end.status === 'fulfilled') expect(kept.get(id)).toBe(end.value);
        else expect([end.reason.code, kept.has(id)]).toEqual(['23505', false]);
      }
      expect(kept.size).toBe(ids.filter((id) => id % 7 !== 0).length);
    }, 60_000);
  },
);
