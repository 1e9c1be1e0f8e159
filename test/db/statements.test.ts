import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DeclaredStatement, declaredStatements } from '../../src/db/statement.ts';
import { columnName, declaredTables } from '../../src/db/table.ts';
import { ROOT } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { describeStatement } from '../support/describe-statement.ts';
import { type SqlPlaces, sqlPlaces } from '../support/sql-texts.ts';

/**
 * Every statement of the program, as Postgres understands it: its text is valid, and the types of what goes in and what comes
 * out are those that the code relies on.
 */

/** What belongs to a connection and not to the program's data: transactions, roles, migrations, pg-boss' own statements. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set([
  'src/db/embedded.ts',
  'src/db/pooler-probe.ts',
  'src/db/queues.ts',
  'src/db/roles.ts',
  'src/db/service-users.ts',
  'src/db/statement.ts',
  'src/db/transaction.ts',
  'src/db/driver-query.ts',
  'src/commands/migrate.ts',
  'src/commands/migrate-turn.ts',
  'src/commands/build-indexes.ts',
  'src/commands/widen-keys.ts',
  'src/commands/distribute.ts',
]);

async function sources(): Promise<ReadonlyMap<string, SqlPlaces>> {
  const found = new Map<string, SqlPlaces>();
  for (const folder of ['src', 'jobs'])
    for (const name of await readdir(join(ROOT, folder), { recursive: true }))
      if (name.endsWith('.ts')) {
        const file = `${folder}/${name.replaceAll('\\', '/')}`;
        found.set(file, sqlPlaces(await readFile(join(ROOT, file), 'utf8')));
      }
  return found;
}

const places = await sources();
for (const [file, { declared }] of places) if (declared > 0) await import(join(ROOT, file));

let database: TestDatabase;
/** By itself: statements of the pools leave without waiting, and none is only described. */
let client: pg.Client;
let typeNames: ReadonlyMap<number, string>;
let oidOf: ReadonlyMap<string, number>;
/** `table oid.column number` → NOT NULL */
let notNull: ReadonlyMap<string, boolean>;
let merchantTables: readonly string[];
/** Functions of the database that act on a merchant's tables: their first argument is the merchant. */
let merchantFunctions: readonly string[];

beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client({ connectionString: database.ownerUrl });
  await client.connect();
  const types = await client.query<{ oid: number; name: string }>(
    'select oid, oid::regtype::text as name from pg_type',
  );
  typeNames = new Map(types.rows.map(({ oid, name }) => [oid, name]));
  const claimed = new Set([
    ...declaredStatements().flatMap((one) => [
      ...one.parameterTypes,
      ...Object.values(one.row).map(({ type }) => type),
    ]),
    ...declaredTables().flatMap(({ shape }) => Object.values(shape).map(({ type }) => type)),
  ]);
  const oids = await client.query<{ name: string; oid: number }>(
    'select name, name::regtype::oid as oid from unnest($1::text[]) as name',
    [[...claimed]],
  );
  oidOf = new Map(oids.rows.map(({ name, oid }) => [name, oid]));
  const attributes = await client.query<{ id: string; attnotnull: boolean }>(
    "select attrelid || '.' || attnum as id, attnotnull from pg_attribute where attnum > 0",
  );
  notNull = new Map(attributes.rows.map((row) => [row.id, row.attnotnull]));
  const merchants = await client.query<{ name: string }>(
    "select table_name as name from information_schema.columns where column_name = 'merchant_id' and table_schema = 'public'",
  );
  merchantTables = merchants.rows.map(({ name }) => name);
  const functions = await client.query<{ name: string }>(
    "select proname as name from pg_proc where pronamespace = 'public'::regnamespace and proargnames[1] = 'merchant'",
  );
  merchantFunctions = functions.rows.map(({ name }) => name);
});

afterAll(async () => {
  await client?.end();
  await database?.drop();
});

/** Of the tests' names: a prepared statement's own, or how the text begins. */
const titleOf = ({ name, text }: DeclaredStatement) => name ?? text.replaceAll(/\s+/g, ' ').trim().slice(0, 90);

describe('what the program says to the database', () => {
  it('is declared as a statement, wherever it stands', () => {
    const undeclared = [...places]
      .filter(([file]) => !OF_THE_CONNECTION.has(file))
      .flatMap(([file, place]) => place.undeclared.map((what) => `${file}:${what}`));
    expect(undeclared).toEqual([]);
  });

  it('is declared when its file is loaded, so that this test knows all of it', () => {
    const written = [...places.values()].reduce((sum, { declared }) => sum + declared, 0);
    expect(declaredStatements().length).toBeGreaterThanOrEqual(written);
  });

  it('is prepared under names that are given once', () => {
    const names = declaredStatements().flatMap(({ name }) => name ?? []);
    expect(names).toEqual([...new Set(names)]);
  });
});

describe.each(declaredStatements().map((one) => [titleOf(one), one] as const))('%s', (_, declared) => {
  it('is what Postgres understands by it, with the types that the code says', async () => {
    const { parameterTypes, columns } = await describeStatement(client, declared.text);
    const nameOf = (type: string) => typeNames.get(oidOf.get(type) ?? 0);
    expect(parameterTypes.map((oid) => typeNames.get(oid))).toEqual(declared.parameterTypes.map(nameOf));
    const claims = Object.entries(declared.row);
    if (claims.length === 0) return;
    expect(columns.map(({ name, dataTypeID }) => [name, typeNames.get(dataTypeID)])).toEqual(
      claims.map(([name, codec]) => [columnName(name, codec), nameOf(codec.type)]),
    );
    const tooSure = claims.filter(([, codec], index) => {
      const column = columns[index];
      return !codec.isNullable && !codec.isPresent && notNull.get(`${column?.tableID}.${column?.columnID}`) === false;
    });
    expect(tooSure.map(([name]) => `${name} may be null`)).toEqual([]);
  });

  it('names its merchant as one value, or says why it is about several', () => {
    const tables = [...declared.text.matchAll(/\b(?:from|join|into|update|using)\s+(?:only\s+)?([a-z_]+)\b/gi)];
    const called = [...declared.text.matchAll(/\b([a-z_]+)\(/g)];
    const isMerchants =
      tables.some(([, name = '']) => merchantTables.includes(name)) ||
      called.some(([, name = '']) => merchantFunctions.includes(name));
    expect(declared.namesMerchant).toBe(isMerchants && declared.acrossMerchants === null);
  });
});

describe.each(declaredTables().map((one) => [one.name, one] as const))('the table %s', (name, { shape }) => {
  it('has the columns that are declared, of the same types and as nullable', async () => {
    const { rows } = await client.query<{ name: string; type: string; nullable: boolean }>(
      `select attname as name, atttypid::regtype::text as type, not attnotnull as nullable
       from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
      [name],
    );
    const declared = Object.entries(shape).map(([key, codec]) => ({
      name: columnName(key, codec),
      type: typeNames.get(oidOf.get(codec.type) ?? 0),
      nullable: codec.isNullable,
    }));
    expect(rows).toEqual(expect.arrayContaining(declared));
  });
});
