import pg from 'pg';
import { boolean, text } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** A place where this database runs. */
export interface Home {
  /** The server and the database on it: a dump that is restored has another one, a promoted standby the same. */
  readonly databaseIdentity: string;
  /** Where it is found: a copy of the whole server has the same identity, so this tells them apart. */
  readonly address: string;
}

/** Host, port and name of the database that a URL leads to. */
export function addressOf(databaseUrl: string): string {
  const { host, port, database } = new pg.Client({ connectionString: databaseUrl });
  return `${host}:${port}/${database}`;
}

/** Which server and database this is; without the server's part where nobody may ask for it. */
export async function readDatabaseIdentity(db: Queryable): Promise<string> {
  const { mayIdentify } = await MAY_IDENTIFY.one(db);
  const server = mayIdentify ? (await SERVER.one(db)).identifier : '';
  return `${server}:${(await DATABASE.one(db)).oid}`;
}

/** Where workers have sent from; empty before the first. */
export async function listHomes(db: Queryable): Promise<readonly Home[]> {
  return LIST_HOMES.all(db);
}

/** Notes a place from which workers send from now on. */
export async function noteHome(db: Queryable, home: Home): Promise<void> {
  await NOTE_HOME.run(db, home);
}

const MAY_IDENTIFY = statement({
  params: {},
  row: { mayIdentify: boolean },
  text: () => "select has_function_privilege('pg_control_system()', 'execute') as may_identify",
});

const SERVER = statement({
  params: {},
  row: { identifier: text },
  text: () => 'select system_identifier::text as identifier from pg_control_system()',
});

const DATABASE = statement({
  params: {},
  row: { oid: text },
  text: () => 'select oid::text as oid from pg_database where datname = current_database()',
});

/** One row for each time that somebody said that the database moved. */
const LIST_HOMES = statement({
  params: {},
  row: { databaseIdentity: text, address: text },
  text: () => 'select database_identity, address from installation_home order by noted_at limit 1000',
});

const NOTE_HOME = statement({
  params: { databaseIdentity: text, address: text },
  text: (p) => `
    insert into installation_home (database_identity, address) values (${p.databaseIdentity}, ${p.address})
    on conflict do nothing`,
});
