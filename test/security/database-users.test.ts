import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { migrate } from '../../src/commands/migrate.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startProcess } from '../support/process.ts';

/** Roles are the whole cluster's, so these tests, which remove and make them, have one of their own. */
let folder: string;
let postgres: EmbeddedPostgres;
let admin: pg.Client;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chokin-users-'));
  await chmod(folder, 0o755);
  postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'cluster'), settings: ['fsync=off'] });
  admin = await connect(postgres.databaseUrl);
});

afterAll(async () => {
  await admin.end();
  await postgres.stop('immediate');
  await rm(folder, { recursive: true, force: true });
});

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

/** A user with nothing but what `rights` say, and databases that are the user's; their URLs. */
async function newOwner(name: string, rights: string, databases: readonly string[]): Promise<string[]> {
  await admin.query(`create role ${name} login password '${name}' ${rights}`);
  for (const database of databases) await admin.query(`create database ${database} owner ${name}`);
  return databases.map((database) => urlOf(name, database));
}

function urlOf(user: string, database: string): string {
  const url = new URL(postgres.databaseUrl);
  url.username = user;
  url.password = user;
  url.pathname = `/${database}`;
  return url.href;
}

/** Migrates, and returns what it says to an administrator. */
async function said(url: string): Promise<readonly { readonly sql: readonly string[]; readonly msg: string }[]> {
  const lines: { sql: string[]; msg: string }[] = [];
  await migrate(url, createLogger('warn', 'test', { write: (line) => void lines.push(JSON.parse(line)) }));
  return lines;
}

/** Migrates, and returns the SQL that it asks an administrator to run. */
async function leftOut(url: string): Promise<readonly string[]> {
  return (await said(url)).flatMap(({ sql }) => sql);
}

it('an owner without the right to make roles is told the SQL for an administrator, and all is well once that has run', async () => {
  const [url = ''] = await newOwner('plain', '', ['plain']);
  const asked = await leftOut(url);
  expect(asked).toEqual(
    expect.arrayContaining([
      'create role chokin_web nologin',
      'create role chokin_worker nologin',
      'grant select, insert on public.entry to chokin_web',
      'alter role "chokin_worker" set search_path = public, pgboss, pg_temp',
    ]),
  );
  const there = new URL(postgres.databaseUrl);
  there.pathname = '/plain';
  const here = await connect(there.href);
  for (const sql of asked) await here.query(sql);
  expect(await leftOut(url)).toEqual([]);

  // The user of the web process, as docs/operating.md has an administrator make it; its settings want the administrator too.
  await here.query("create role web_1 login password 'web_1' in role chokin_web");
  const [aboutSettings, ...more] = await said(url);
  expect([aboutSettings?.msg, more]).toEqual([expect.stringContaining('The processes run without them'), []]);
  const settings = aboutSettings?.sql ?? [];
  expect(settings).toHaveLength(5);
  for (const sql of settings) await here.query(sql);
  expect(await leftOut(url)).toEqual([]);
  // Whatever other tests run on.
  const environment = { PORT: '0', LOG_LEVEL: 'info', DATABASE_BACKEND: 'postgres' };
  const web = startProcess('src/web.ts', { ...environment, DATABASE_URL: urlOf('web_1', 'plain') });
  await web.printed('API key');
  expect(await web.end('SIGTERM')).toBe(0);

  // The web process under the worker's role is refused at its start, and told why.
  await here.query("create role worker_1 login password 'worker_1' in role chokin_worker");
  const wrong = startProcess('src/web.ts', { ...environment, DATABASE_URL: urlOf('worker_1', 'plain') });
  expect(await wrong.exited).toBe(1);
  expect(wrong.output()).toContain('docs/operating.md');
  for (const sql of ['drop owned by chokin_web, chokin_worker', 'drop role chokin_web, chokin_worker, web_1, worker_1'])
    await here.query(sql);
  await here.end();
});

it('an owner who may make roles needs nobody, also where several databases of a cluster are migrated at once', async () => {
  const urls = await newOwner('chief', 'createrole', ['one', 'two', 'three', 'four']);
  expect(await Promise.all([...urls, ...urls].map(leftOut))).toEqual([...urls, ...urls].map(() => []));
  const { rows } = await admin.query(
    "select rolname, rolcanlogin from pg_roles where rolname like 'chokin%' order by 1",
  );
  expect(rows).toEqual([
    { rolname: 'chokin_web', rolcanlogin: false },
    { rolname: 'chokin_worker', rolcanlogin: false },
  ]);
  // The one who made the roles is their administrator and no member: the timeouts of a process are not for migrations.
  const chief = await connect(urls[0] ?? '');
  expect((await chief.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '0' }]);
  await chief.end();
});

it('what was granted by hand goes with the next migration, and a public schema that was open is closed', async () => {
  const [url = ''] = await newOwner('tidy', 'createrole', ['tidy']);
  await leftOut(url);
  const there = new URL(postgres.databaseUrl);
  there.pathname = '/tidy';
  const here = await connect(there.href);
  await here.query('grant delete on entry to chokin_web; grant all (after_balance) on entry to chokin_worker');
  await here.query('grant create on schema public to public');
  const may = async () =>
    (
      await here.query<{ may: boolean[] }>(
        `select array[has_table_privilege('chokin_web', 'entry', 'delete'), has_any_column_privilege('chokin_worker', 'entry', 'update'),
           has_schema_privilege('chokin_web', 'public', 'create')] as may`,
      )
    ).rows[0]?.may;
  expect(await may()).toEqual([true, true, true]);
  // The roles were made by another user, who alone may alter them; the rights are this one's to give.
  expect(await leftOut(url)).toEqual([]);
  expect(await may()).toEqual([false, false, false]);
  await here.end();
});
