import { onCitus, SPREAD } from './backend.ts';
import { array, boolean, text } from './codec.ts';
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

/**
 * Statements are written in another way for tables that are spread over a Citus cluster, and some of those for one Postgres would be misread
 * there without an error.
 * @throws {Error} that says what to set or to run, if the tables are not as DATABASE_BACKEND says
 */
export async function requireBackend(db: Queryable): Promise<void> {
  await requireSpreadToBeKnown(db);
  if (!onCitus()) return;
  const left = (await TABLES.all(db, { tables: SPREAD })).filter(({ isSpread }) => !isSpread);
  if (left.length > 0)
    throw new Error(
      `DATABASE_BACKEND is citus, and these tables are not spread: ${list(left)}. Stop every process of the service, and run npm run distribute.`,
    );
}

/** For what is run before they are spread as well. @throws {Error} that says what to set, if they are and DATABASE_BACKEND does not say so */
export async function requireSpreadToBeKnown(db: Queryable): Promise<void> {
  if (onCitus()) return;
  const spread = (await TABLES.all(db, { tables: SPREAD })).filter(({ isSpread }) => isSpread);
  if (spread.length > 0)
    throw new Error(
      `These tables of the database are spread over a Citus cluster: ${list(spread)}. Set DATABASE_BACKEND=citus for every process and command.`,
    );
}

function list(tables: readonly { readonly name: string }[]): string {
  const names = tables.map(({ name }) => name);
  return names.length > 3 ? `${names.slice(0, 3).join(', ')} …` : names.join(', ');
}

/** Whether a table is spread is known from its trigger, which the coordinator gives it, since only a cluster has the catalogue that says it. */
const TABLES = statement({
  params: { tables: array(text) },
  row: { name: text, isSpread: boolean },
  text: ({ tables }) => `
    select relname::text as name, exists (
      select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
      where t.tgrelid = c.oid and p.proname = 'citus_truncate_trigger') as is_spread
    from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and relname = any (${tables}::text[])
    order by 1`,
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
