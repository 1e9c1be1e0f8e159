import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RUNTIME_ROLES, TABLE_GRANTS } from '../../src/db/grants.ts';
import { createPool } from '../../src/db/pool.ts';
import { statementsOf } from '../../src/db/sql-statements.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { isUsed, normalised, privilegesOf, sourceTexts } from '../support/database-privileges.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { startProcess } from '../support/process.ts';
import { eventually } from '../support/wait.ts';

let database: TestDatabase;
let users: Record<'web' | 'worker', pg.Client>;

beforeAll(async () => {
  database = await createTestDatabase();
  users = {
    web: new pg.Client({ connectionString: database.webUrl }),
    worker: new pg.Client({ connectionString: database.workerUrl }),
  };
  await Promise.all([users.web.connect(), users.worker.connect()]);
  await makeCustomers(database.pool, ['a']);
  const now = new Date();
  await transaction(database.pool, (tx) => postBatch(tx, [posting({ amountMinor: 500 })], { ...SETTINGS, now }));
  const rows = `
    create schema other;
    create table other.secret as select 'of another application' as text;
    insert into provider_event (event_id, merchant_id, source_id, provider, delivery_key, event_type, body, state, received_at)
    values ('evt_a', 'bus_default', 'src_stripe', 'stripe', 'k', 't', '{}', 'applied', now());
    insert into wallet_alert (merchant_id, customer_id, currency, alert_seq, kind, balance, version, created_at)
    values ('bus_default', 'cus_a', 'USD', 1, 'low', 1, 1, now());
    update wallet set alert_seq = 1, alerts_armed = true where customer_id = 'cus_a' and currency = 'USD'`;
  for (const one of statementsOf(rows)) await database.pool.query(one);
});

afterAll(async () => {
  await Promise.all([users.web.end(), users.worker.end()]);
  await database.drop();
});

const WHO = ['web', 'worker'] as const;

/** The code with which Postgres refuses a statement, or what it did instead. */
async function codeOf(client: { query(sql: string): Promise<unknown> }, sql: string): Promise<string | undefined> {
  try {
    await client.query(sql);
    return 'allowed';
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code;
    throw error;
  }
}

const REFUSED = '42501';

describe('the list of grants', () => {
  it('names every table, and is what the database has: no more, no less, and nothing for everybody', async () => {
    const listed = TABLE_GRANTS.map(({ table, privileges }) => {
      const granted = RUNTIME_ROLES.map((role) => [role, normalised(privileges[role])] as const);
      return [table, Object.fromEntries(granted.filter(([, privilege]) => privilege !== null))] as const;
    });
    const found = await privilegesOf(autocommit(database.pool));
    expect(Object.fromEntries([...found].filter(([table]) => table !== 'other.secret').sort())).toEqual(
      Object.fromEntries([...listed].sort()),
    );
  });

  it('lets nobody change history, nor what was received', () => {
    const privileges = new Map(TABLE_GRANTS.map((one) => [one.table, one.privileges]));
    expect(privileges.get('public.entry')).toEqual({ chokin_web: 'select, insert', chokin_worker: 'select, insert' });
    expect(privileges.get('public.wallet_alert')).toEqual({ chokin_web: 'insert', chokin_worker: 'select, insert' });
    for (const text of Object.values(privileges.get('public.provider_event') ?? {}))
      expect(text).toMatch(/^select, insert, update \((?:(?!body|merchant_id|delivery_key|received_at)\w+(?:, )?)+\)$/);
  });

  it('grants nothing that no statement uses, and everything that one writes but for the owner', async () => {
    const texts = await sourceTexts();
    const superfluous: string[] = [];
    const forgotten: string[] = [];
    // Its statements stand in a package; test/http/rate-limits makes them as the web process's user.
    const ours = TABLE_GRANTS.filter(({ table }) => table.startsWith('public.') && table !== 'public.rate_limit');
    for (const { table: name, privileges } of ours) {
      const table = name.replace('public.', '');
      const granted = Object.values(privileges).join(', ');
      for (const privilege of ['select', 'insert', 'update', 'delete']) {
        const isGranted = new RegExp(`\\b${privilege}\\b`).test(granted);
        const used = isUsed(texts, table, privilege);
        if (isGranted && !used) superfluous.push(`${table}: ${privilege}`);
        if (!isGranted && used && privilege !== 'select') forgotten.push(`${table}: ${privilege}`);
      }
    }
    // npm run migrate is the owner's.
    const owners = ['installation: update'];
    expect({ superfluous, forgotten }).toEqual({ superfluous: [], forgotten: owners });
  });
});

describe('history', () => {
  const changes = (table: string) => [
    `update ${table} set created_at = created_at`,
    `delete from ${table}`,
    `truncate ${table}`,
  ];
  const structure = (table: string) => [
    `alter table ${table} disable trigger all`,
    `alter table ${table} disable trigger ${table}_is_insert_only`,
    `drop trigger ${table}_is_insert_only on ${table}`,
    `alter table ${table} drop column created_at`,
    `alter table ${table} rename to elsewhere`,
    `alter table ${table} owner to current_user`,
    `create rule nothing as on insert to ${table} do instead nothing`,
    `create trigger mine before insert on ${table} for each row execute function refuse_change()`,
    `drop table ${table} cascade`,
    `do $$ begin lock table ${table} in access exclusive mode; end $$`,
  ];

  it.each(['entry', 'wallet_alert'])(
    'of %s is closed to web and worker, and to the owner by its triggers',
    async (table) => {
      for (const who of WHO)
        for (const sql of [...changes(table), ...structure(table)])
          expect([who, sql, await codeOf(users[who], sql)]).toEqual([who, sql, REFUSED]);
      for (const sql of changes(table).concat(`truncate wallet cascade`))
        expect([sql, await codeOf(database.pool, sql)]).toEqual([sql, '23001']);
    },
  );

  it('cannot be opened by a session’s settings, nor by what the triggers call', async () => {
    for (const who of WHO) {
      for (const sql of [
        'set session_replication_role = replica',
        'create or replace function refuse_change() returns trigger language plpgsql as $$ begin return new; end $$',
        'drop function refuse_change() cascade',
        "update provider_event set body = ''",
        "update provider_event set delivery_key = 'other'",
        "copy (select 1) to program 'true'",
        "select pg_read_file('postgresql.conf')",
        'select rolpassword from pg_authid',
      ])
        expect([who, sql, await codeOf(users[who], sql)]).toEqual([who, sql, REFUSED]);
    }
    await expectBooksToAgree(database.pool);
  });
});

describe('web and worker', () => {
  it('make nothing in the database, in either schema', async () => {
    for (const who of WHO) {
      for (const sql of [
        'create table mine (a int)',
        'create table pgboss.mine (a int)',
        'create schema mine',
        'create function mine() returns int language sql as $$ select 1 $$',
        'create publication mine',
        'create role mine',
        'create index on wallet (balance)',
        'alter table wallet add column mine text',
        'drop schema pgboss cascade',
        "select pgboss.delete_queue('audit-books')",
        'insert into schema_migration (name, run_on) values (null, null)',
      ])
        expect([who, sql, await codeOf(users[who], sql)]).toEqual([who, sql, REFUSED]);
    }
  });

  it('become nobody else', async () => {
    const { rows } = await database.pool.query<{ owner: string }>('select current_user as owner');
    for (const [who, other] of [
      ['web', 'chokin_worker'],
      ['worker', 'chokin_web'],
    ] as const) {
      for (const sql of [
        `set role ${rows[0]?.owner}`,
        `set role ${other}`,
        `set role ${other}_login`,
        `set session authorization ${rows[0]?.owner}`,
        `alter role ${other} login`,
        `grant ${other} to current_user`,
      ])
        expect([who, sql, await codeOf(users[who], sql)]).toEqual([who, sql, REFUSED]);
    }
  });

  it('read only what is theirs', async () => {
    for (const who of WHO) expect(await codeOf(users[who], 'select * from other.secret')).toBe(REFUSED);
    expect(await codeOf(users.worker, 'select * from api_key')).toBe(REFUSED);
    expect(await codeOf(users.worker, 'select * from public.source_secret')).toBe('allowed');
    expect(await codeOf(users.web, 'select * from reconciliation_source')).toBe(REFUSED);
  });

  it('find tables in the two schemas alone, also behind a temporary one of the same name', async () => {
    for (const who of WHO) {
      await users[who].query('create temporary table if not exists wallet (nothing int)');
      const { rows } = await users[who].query('select balance from wallet where balance > 0');
      expect(rows).toEqual([{ balance: '500' }]);
    }
  });

  it('wait for nothing for ever, whatever their connection sets; the pool sets less', async () => {
    const settings = `select name, setting from pg_settings
      where name in ('search_path', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') order by 1`;
    const seen = async (client: { query(sql: string): Promise<{ rows: { name: string; setting: string }[] }> }) =>
      Object.fromEntries((await client.query(settings)).rows.map(({ name, setting }) => [name, setting]));
    const defaults = {
      search_path: 'public, pgboss, pg_temp',
      statement_timeout: '120000',
      lock_timeout: '10000',
      idle_in_transaction_session_timeout: '30000',
    };
    for (const who of WHO) expect(await seen(users[who])).toEqual(defaults);
    const logger = createLogger('silent', 'test');
    const pool = createPool({ databaseUrl: database.webUrl, applicationName: 'test', maxConnections: 1, logger });
    expect(await seen(pool)).toEqual({
      ...defaults,
      statement_timeout: '15000',
      lock_timeout: '3000',
      idle_in_transaction_session_timeout: '10000',
    });
    await pool.end();
  });
});

describe('npm start', () => {
  it('runs web and worker of its own database under their roles', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chokin-roles-'));
    await chmod(folder, 0o755);
    const environment = { DATA_DIR: join(folder, 'data'), PORT: '0', LOG_LEVEL: 'info', DATABASE_BACKEND: 'postgres' };
    const service = startProcess('src/main.ts', environment);
    await service.printed('the worker is ready', 60_000);
    const owner = new pg.Client({
      connectionString: (await readFile(join(folder, 'data/database-url'), 'utf8')).trim(),
    });
    await owner.connect();
    const seen = await eventually('both to be connected', async () => {
      const { rows } = await owner.query<{ name: string; user: string }>(
        "select distinct application_name as name, usename as user from pg_stat_activity where application_name ~ '^chokin-(web|worker)(-jobs)?$' order by 1",
      );
      return rows.length >= 4 && rows.map(({ name, user }) => `${name}: ${user}`);
    });
    expect(seen).toEqual([
      'chokin-web: chokin_web_login',
      'chokin-web-jobs: chokin_web_login',
      'chokin-worker: chokin_worker_login',
      'chokin-worker-jobs: chokin_worker_login',
    ]);
    await owner.end();
    expect(await service.end('SIGTERM')).toBe(0);
    await rm(folder, { recursive: true, force: true });
  });
});
