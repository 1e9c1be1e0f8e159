import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MIGRATIONS_DIR } from '../../src/db/schema.ts';
import { statementsOf } from '../../src/db/sql-statements.ts';
import { createTestDatabase } from '../support/database.ts';

/** Migrations are sent statement by statement (src/commands/migrate.ts). */

describe('the statements of a file', () => {
  it.each([
    ['', []],
    [' ;; -- nothing; at all\n /* ; */ ; ', []],
    ['select 1', ['select 1']],
    ['select 1;select 2 ;\n', ['select 1;', 'select 2 ;']],
    ['-- why; so\nselect 1; -- that;\nselect 2;', ['-- why; so\nselect 1;', '-- that;\nselect 2;']],
    ['select /* a /* ; */ b; */ 1; select 2', ['select /* a /* ; */ b; */ 1;', 'select 2']],
    ["select 'a;b''c;', '--'; select 2", ["select 'a;b''c;', '--';", 'select 2']],
    ["select 'a\\'; select 2", ["select 'a\\';", 'select 2']],
    [String.raw`select E'a\';b', e'\\'; select 2`, [String.raw`select E'a\';b', e'\\';`, 'select 2']],
    ["select e'a'\n  'b\\';'; select 2", ["select e'a'\n  'b\\';';", 'select 2']],
    ["select date'2026-01-01', type'\\'; select 2", ["select date'2026-01-01', type'\\';", 'select 2']],
    ['select 1 as "a;""b;"; select 2', ['select 1 as "a;""b;";', 'select 2']],
    ['do $$ begin a; end $$; select 2', ['do $$ begin a; end $$;', 'select 2']],
    ['do $a$ b; $$ c; $b$ $a$; select 2', ['do $a$ b; $$ c; $b$ $a$;', 'select 2']],
    ['do $É$ b; $É$; select 2', ['do $É$ b; $É$;', 'select 2']],
    ['select a$$, b$$; select $1$$;$$', ['select a$$, b$$;', 'select $1$$;$$']],
    [
      'create rule r as on insert to t do instead (select 1; select 2); select 2',
      ['create rule r as on insert to t do instead (select 1; select 2);', 'select 2'],
    ],
    ["select 'open; select 2", ["select 'open; select 2"]],
    ['do $a$ open; $b$', ['do $a$ open; $b$']],
    ['select 1 /* open /* ; */', ['select 1 /* open /* ; */']],
  ])('%j', (sql, statements) => {
    expect(statementsOf(sql)).toEqual(statements);
  });

  it('are the whole of it, whatever stands in it', () => {
    const parts = fc.constantFrom(
      ...['select', ' ', '\n', ';', "'", "e'", '"', '$', '$$', '$a$', '--', '/*', '*/', '(', ')', '\\', 'é', '1', '\r'],
    );
    fc.assert(
      fc.property(fc.array(parts), (pieces) => {
        const sql = pieces.join('');
        const found = statementsOf(sql);
        let at = 0;
        for (const one of found) {
          const next = sql.indexOf(one, at);
          expect(next).toBeGreaterThanOrEqual(at);
          expect(sql.slice(at, next)).toMatch(/^(?:\s|;|--.*[\n\r]|\/\*[\s\S]*\*\/)*$/);
          at = next + one.length;
        }
      }),
    );
  });
});

/** All that migrations make, but the rows. */
const SCHEMA = `
  select 'column ' || format('%s.%s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid)) as made
  from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped
  union all select format('table %s %s %s %s', oid::regclass, relkind, reloptions, relacl) from pg_class where relnamespace = 'public'::regnamespace
  union all select 'index ' || pg_get_indexdef(indexrelid) from pg_index join pg_class c on c.oid = indexrelid
    where c.relnamespace = 'public'::regnamespace
  union all select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
    where connamespace = 'public'::regnamespace
  union all select format('function %s %s', pg_get_functiondef(oid), proacl) from pg_proc where pronamespace = 'public'::regnamespace
  union all select 'trigger ' || pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'public'::regnamespace and not t.tgisinternal
  union all select format('comment %s %s', objoid::regclass, description) from pg_description where classoid = 'pg_class'::regclass
    and objoid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
  order by 1`;

describe('the migrations', () => {
  /** What they make, each of them run as its parts by itself, in one transaction. */
  async function madeBy(partsOf: (sql: string) => readonly string[]): Promise<readonly string[]> {
    const database = await createTestDatabase(2, 'template1');
    onTestFinished(() => database.drop());
    const client = await database.pool.connect();
    for (const file of files)
      for (const part of ['begin', ...partsOf(await readFile(join(MIGRATIONS_DIR, file), 'utf8')), 'commit'])
        await client.query(part);
    const { rows } = await client.query<{ made: string }>(SCHEMA);
    client.release();
    return rows.map(({ made }) => made);
  }

  const files = readdirSync(MIGRATIONS_DIR).toSorted();

  // What begins or ends a transaction would divide a migration, and what has statements within it is not known to be one.
  it.each(files)('%s is of statements, each of which is whole by itself', async (file) => {
    const statements = statementsOf(await readFile(join(MIGRATIONS_DIR, file), 'utf8'));
    expect(statements).not.toEqual([]);
    for (const one of statements) {
      const sql = one.replaceAll(/^\s*--.*$/gm, '').trim();
      expect(sql).toMatch(
        /^(?:alter|comment|create|delete|do|drop|grant|insert|revoke|select|update|with)\b[\s\S]*;$/i,
      );
      expect(sql).not.toMatch(/\bbegin atomic\b/i);
    }
  });

  it('make the same schema statement by statement as they make in one string each', async () => {
    const [whole, divided] = await Promise.all([madeBy((sql) => [sql]), madeBy(statementsOf)]);
    expect(whole.length).toBeGreaterThan(500);
    expect(divided).toEqual(whole);
  });
});
