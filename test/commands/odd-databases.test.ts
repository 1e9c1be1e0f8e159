import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { startWorker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { loadConfig } from '../../src/config/env.ts';
import { chooseBackend } from '../../src/db/backend.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb } from '../../src/web.ts';
import { API_KEY } from '../support/app.ts';
import { startProcess } from '../support/process.ts';

/** Databases and users as somebody else made them: each works, or one line says what to run. */

const silent = createLogger('silent', 'test');
const config = loadConfig({ PORT: '0', API_KEY });
let admin: pg.Client;
const made: string[] = [];
beforeAll(async () => {
  admin = await connect(inject('clusterUrl'));
});
afterAll(async () => {
  for (const sql of made.toReversed()) await admin.query(sql);
  await admin.end();
});

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

/** A new database, made with these words and owned by a user who may do nothing else; the owner's URL and ours. */
async function newDatabase(words = ''): Promise<{ name: string; owner: string; ownerUrl: string; url: string }> {
  const id = randomBytes(6).toString('hex');
  const [name, owner] = [`odd_${id}`, `owner_${id}`];
  await admin.query(`create role ${owner} login password '${owner}'`);
  made.push(`drop role ${owner}`);
  await admin.query(`create database ${name} owner ${owner} ${words}`);
  made.push(`drop database ${name} with (force)`);
  const url = new URL(inject('clusterUrl'));
  url.pathname = `/${name}`;
  const ownerUrl = new URL(url);
  ownerUrl.username = owner;
  ownerUrl.password = owner;
  return { name, owner, ownerUrl: ownerUrl.href, url: url.href };
}

async function inDatabase(url: string, sql: string): Promise<void> {
  const client = await connect(url);
  await client.query(sql);
  await client.end();
}

/** Both processes come up on it. */
async function serves(databaseUrl: string): Promise<void> {
  const shared = { config, databaseUrl, logger: silent, clock: systemClock };
  const web = await startWeb({ ...shared, print: () => {}, checkResponses: true });
  onTestFinished(() => web.close());
  const worker = await startWorker(shared);
  onTestFinished(() => worker.close());
  expect((await fetch(`${web.url}/readyz`)).status).toBe(200);
}

describe('a database whose encoding', () => {
  const words = (encoding: string) => `encoding '${encoding}' template template0 lc_collate 'C' lc_ctype 'C'`;

  it('cannot write every name is refused by migrate and by every start', async () => {
    const { ownerUrl } = await newDatabase(words('LATIN1'));
    const cure = /has the encoding LATIN1, .*create database … encoding 'UTF8' template template0/;
    await expect(migrate(ownerUrl, silent)).rejects.toThrow(cure);
    // One that an earlier release migrated.
    const older = await newDatabase();
    await migrate(older.ownerUrl, silent);
    await admin.query("update pg_database set encoding = pg_char_to_encoding('LATIN1') where datname = $1", [
      older.name,
    ]);
    const shared = { config, databaseUrl: older.ownerUrl, logger: silent, clock: systemClock };
    await expect(startWeb({ ...shared, print: () => {} })).rejects.toThrow(cure);
    await expect(startWorker(shared)).rejects.toThrow(cure);
  });

  it('is none at all serves, as before', async () => {
    const { ownerUrl } = await newDatabase(words('SQL_ASCII'));
    await migrate(ownerUrl, silent);
    await serves(ownerUrl);
  });
});

describe('a database whose tables', () => {
  it('are spread over a cluster is refused by migrate and by every start that does not know of it', async () => {
    const { ownerUrl, url } = await newDatabase();
    await migrate(ownerUrl, silent);
    await inDatabase(url, IS_SPREAD);
    const cure = 'are spread over a Citus cluster: customer, wallet. Set DATABASE_BACKEND=citus ';
    await expect(migrate(ownerUrl, silent)).rejects.toThrow(cure);
    const shared = { config, databaseUrl: ownerUrl, logger: silent, clock: systemClock };
    await expect(startWeb({ ...shared, print: () => {} })).rejects.toThrow(cure);
    await expect(startWorker(shared)).rejects.toThrow(cure);
    for (const command of ['audit', 'rotate-secrets']) {
      const environment = { DATABASE_URL: ownerUrl, ENCRYPTION_KEY: randomBytes(32).toString('base64') };
      const run = startProcess(`src/commands/${command}.ts`, environment);
      expect([command, await run.exited]).toEqual([command, 1]);
      expect(run.output()).toContain(cure);
    }
  });

  it('are not spread yet is migrated, and refused by every start that takes them for spread', async () => {
    const { ownerUrl, url } = await newDatabase();
    chooseBackend('citus');
    onTestFinished(() => chooseBackend('postgres'));
    await migrate(ownerUrl, silent);
    await inDatabase(url, IS_SPREAD);
    const cure = /are not spread: audit_mark, bonus_rule, checkout …\. Stop every process .* npm run distribute/;
    const shared = { config, databaseUrl: ownerUrl, logger: silent, clock: systemClock };
    await expect(startWeb({ ...shared, print: () => {} })).rejects.toThrow(cure);
    await expect(startWorker(shared)).rejects.toThrow(cure);
  });
});

/** As the coordinator marks the tables that it has spread. */
const IS_SPREAD = `
  create function citus_truncate_trigger() returns trigger language plpgsql as $$ begin return null; end $$;
  create trigger truncate_trigger_1 after truncate on customer for each statement execute function citus_truncate_trigger();
  create trigger truncate_trigger_2 after truncate on wallet for each statement execute function citus_truncate_trigger()`;

it('a database with settings of its own is migrated and serves', async () => {
  const { name, ownerUrl } = await newDatabase();
  for (const setting of ['standard_conforming_strings = off', "statement_timeout = '20ms'", "datestyle = 'SQL, DMY'"])
    await admin.query(`alter database ${name} set ${setting}`);
  await admin.query(`alter database ${name} set default_transaction_isolation = 'serializable'`);
  await migrate(ownerUrl, silent);
  await serves(ownerUrl);
  expect(await migrate(ownerUrl, silent)).toEqual([]);
});

describe('an owner who', () => {
  it('may make nothing in public reads what to run, and migrates once that has run', async () => {
    const { owner, ownerUrl, url } = await newDatabase();
    await inDatabase(
      url,
      'alter schema public owner to postgres; revoke all on schema public from public, pg_database_owner',
    );
    const grant = `create schema if not exists public; grant usage, create on schema public to ${owner}`;
    await expect(migrate(ownerUrl, silent)).rejects.toThrow(
      `may not make tables in its schema public. Make it the owner of the database, or let an administrator run in it: ${grant}`,
    );
    await inDatabase(url, grant);
    expect(await migrate(ownerUrl, silent)).not.toEqual([]);
  });

  it('is no owner, and may make no schema, reads what to run', async () => {
    const { name, ownerUrl, owner, url } = await newDatabase();
    await admin.query(`alter database ${name} owner to postgres`);
    await inDatabase(url, `grant usage, create on schema public to ${owner}`);
    const grant = `grant create on database ${name} to ${owner}`;
    await expect(migrate(ownerUrl, silent)).rejects.toThrow(
      `may not make schemas in it. Make it the owner of the database, or let an administrator run in it: ${grant}`,
    );
    await admin.query(grant);
    await migrate(ownerUrl, silent);
    expect(await migrate(ownerUrl, silent)).toEqual([]);
  });
});

it('a worker in another mode than the merchant is refused, as web is', async () => {
  const { ownerUrl } = await newDatabase();
  await migrate(ownerUrl, silent);
  const shared = { databaseUrl: ownerUrl, logger: silent, clock: systemClock };
  const web = await startWeb({ ...shared, config, print: () => {}, checkResponses: true });
  await web.close();
  const live = { ...shared, config: loadConfig({ PORT: '0', API_KEY, MODE: 'live' }) };
  const refusal = 'MODE: the merchant bus_default exists in test mode. Set MODE=test';
  await expect(startWeb({ ...live, print: () => {} })).rejects.toThrow(refusal);
  await expect(startWorker(live)).rejects.toThrow(refusal);
});
