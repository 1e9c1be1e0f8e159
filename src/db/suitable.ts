import { boolean, text } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** In the first every text can be written; under the second Postgres keeps what it is given. */
const ENCODINGS: ReadonlySet<string> = new Set(['UTF8', 'SQL_ASCII']);

/** @throws {Error} that says what to do, if the database cannot keep every text */
export async function requireEncoding(db: Queryable): Promise<void> {
  const { encoding, name } = await ENCODING.one(db);
  if (!ENCODINGS.has(encoding))
    throw new Error(
      `The database ${name} has the encoding ${encoding}, in which most names cannot be written. Make another one: create database … encoding 'UTF8' template template0`,
    );
}

const ENCODING = statement({
  params: {},
  row: { encoding: text, name: text },
  text: () => "select current_setting('server_encoding') as encoding, current_database()::text as name",
});

/** What the user that migrates may not do in its database, as a sentence with the cure; null if it has the rights it needs. */
export async function missingRights(db: Queryable): Promise<string | null> {
  const { mayMakeSchemas, mayMakeTables, grantSchemas, grantTables } = await RIGHTS.one(db);
  const cures = [...(mayMakeTables ? [] : [grantTables]), ...(mayMakeSchemas ? [] : [grantSchemas])];
  if (cures.length === 0) return null;
  const what = mayMakeTables ? 'schemas in it' : 'tables in its schema public';
  return `The user in DATABASE_URL may not make ${what}. Make it the owner of the database, or let an administrator run in it: ${cures.join('; ')}`;
}

const RIGHTS = statement({
  params: {},
  row: { mayMakeSchemas: boolean, mayMakeTables: boolean, grantSchemas: text, grantTables: text },
  text: () => `
    select has_database_privilege(current_database(), 'create') as may_make_schemas,
      coalesce(has_schema_privilege(to_regnamespace('public')::oid, 'create')
        and has_schema_privilege(to_regnamespace('public')::oid, 'usage'), false) as may_make_tables,
      format('grant create on database %I to %I', current_database(), current_user) as grant_schemas,
      format('create schema if not exists public; grant usage, create on schema public to %I', current_user) as grant_tables`,
});
