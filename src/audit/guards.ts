import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onCitus } from '../db/backend.ts';
import { array, text } from '../db/codec.ts';
import { FUNCTION_GRANTS, RUNTIME_ROLES, TABLE_GRANTS } from '../db/grants.ts';
import { releaseMigrations } from '../db/schema.ts';
import { spreadGuards } from '../db/spread.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { type Disagreement, MAX_PER_RULE } from './check.ts';
import { normalForm } from './conditions.ts';

/**
 * The guards by which the database itself protects the books: keys, checks, triggers and their functions, and who may write
 * what. Rule 6b compares them with what this release's migrations make, and reports a guard that was removed, emptied, switched
 * off or added.
 */

const RULE = '6b guards';

/** As the migrations make them: the result of {@link readGuards}, which a test keeps up to date. */
export const GUARDS_FILE = join(import.meta.dirname, 'guards.txt');

/** Lines that hold in every release: the triggers that protect history, their functions, and whatever makes them useless. */
const ALWAYS =
  /^(?:CREATE TRIGGER \w+_is_insert_only|function refuse_change|foreign key|rule|triggers are off|row security)| \(off|not logged/;

async function hasNewerMigrations(db: Queryable): Promise<boolean> {
  return (await UNKNOWN_MIGRATIONS.all(db, { known: releaseMigrations() })).length > 0;
}

const UNKNOWN_MIGRATIONS = statement({
  params: { known: array(text) },
  row: { name: text },
  text: ({ known }) => `select name::text as name from schema_migration where name <> all (${known})`,
});

const TABLES = TABLE_GRANTS.map(({ table }) => table).filter((table) => table.startsWith('public.'));

export async function checkGuards(db: Queryable): Promise<readonly Disagreement[]> {
  const made = (await readFile(GUARDS_FILE, 'utf8')).split('\n').filter((line) => line !== '');
  const lines = onCitus() ? spreadGuards(made) : made;
  // While a newer release takes over, only the guards that every release has can be compared.
  const isNewer = await hasNewerMigrations(db);
  const isJudged = (line: string) => !isNewer || ALWAYS.test(line);
  const wanted = new Set(lines.filter(isJudged).map(normalForm));
  const found = new Set((await readGuards(db)).filter(isJudged).map(normalForm));
  const grants = isNewer ? [] : await compareGrants(db);
  const named = [
    ...[...wanted.difference(found)].map((guard) => ({ subject: guard, detail: 'it is gone or was changed' })),
    ...[...found.difference(wanted)].map((guard) => ({ subject: guard, detail: 'this release does not make it' })),
    ...grants,
  ];
  return named.slice(0, MAX_PER_RULE).map((one) => ({ rule: RULE, ...one }));
}

/** The guards of our tables, one line each, sorted. What weakens them is a line too, such as a trigger that is switched off. */
export async function readGuards(db: Queryable): Promise<readonly string[]> {
  const lines = await READ_GUARDS.all(db, { tables: TABLES });
  // Names that are in the search path are written without their schema, and checks over several lines.
  return lines.map(({ line }) => line.replaceAll('public.', '').replaceAll(/\s+/g, ' ')).sort();
}

const READ_GUARDS = statement({
  params: { tables: array(text) },
  row: { line: text },
  text: ({ tables }) => `
  with own as (
    select c.oid, c.relname as name, c.relrowsecurity, c.relpersistence
    from unnest(${tables}::text[]) as t (name) join pg_class c on c.oid = to_regclass(t.name)),
  triggers as (select t.* from pg_trigger t join own on own.oid = t.tgrelid)
  select format('constraint %s.%s %s', name, conname, pg_get_constraintdef(c.oid)) as line
    from own join pg_constraint c on c.conrelid = own.oid where contype in ('c', 'f', 'p', 'u', 'x')
  union all select format('not null %s: %s', name, string_agg(attname, ', ' order by attname))
    from own join pg_attribute on attrelid = own.oid and attnum > 0 and not attisdropped and attnotnull group by name
  union all select pg_get_indexdef(i.indexrelid) || case when indisvalid and indisready then '' else ' (broken)' end
    from own join pg_index i on i.indrelid = own.oid
    where indisunique and not exists (select 1 from pg_constraint where conindid = i.indexrelid and contype in ('p', 'u', 'x'))
  union all select pg_get_triggerdef(oid) || case tgenabled when 'O' then '' else ' (off or for replicas)' end
    from triggers where not tgisinternal
  union all select format('foreign key %s is not enforced by its trigger on %s', c.conname, t.tgrelid::regclass)
    from triggers t join pg_constraint c on c.oid = t.tgconstraint where t.tgisinternal and t.tgenabled <> 'O'
  union all select distinct format('function %s in %s: %s%s%s', f.oid::regprocedure, lanname, encode(sha256(convert_to(prosrc, 'UTF8')), 'hex'),
      case when prosecdef then ' security definer' else '' end, ' set ' || array_to_string(proconfig, ', '))
    from (select tgfoid from triggers where not tgisinternal
      union select oid from pg_proc where prosecdef and pronamespace = 'public'::regnamespace) called (oid)
    join pg_proc f using (oid) join pg_language l on l.oid = f.prolang
  union all select format('rule %s on %s', rulename, name) from own join pg_rewrite on ev_class = own.oid
  union all select format('row security on %s', name) from own where relrowsecurity
  union all select format('%s is not logged, and empty after a crash', name) from own where relpersistence <> 'p'
  union all select format('triggers are off for %s', case when s.setrole = 0 then 'everybody' else s.setrole::regrole::text end)
    from pg_db_role_setting s join unnest(s.setconfig) as setting on setting like 'session_replication_role=%'
    where s.setdatabase in (0, (select oid from pg_database where datname = current_database())) and setting not like '%=origin'`,
});

interface Granted {
  readonly role: string;
  readonly table: string;
  /** Such as `insert` or `update (state)`. */
  readonly privilege: string;
}

/** Compares who may do what with grants.ts. A role without any grant in this database was never installed, and is left out. */
async function compareGrants(db: Queryable): Promise<readonly Omit<Disagreement, 'rule'>[]> {
  const rows = await READ_GRANTS.all(db, { tables: TABLES });
  const textOf = ({ role, table, privilege }: Granted) => `${role} may ${privilege} ${table}`;
  const found = new Set(rows.map(textOf));
  const installed = new Set(rows.map(({ role }) => role));
  const wanted = new Set(
    TABLE_GRANTS.flatMap(({ table, privileges }) =>
      RUNTIME_ROLES.filter((role) => installed.has(role)).flatMap((role) =>
        privilegesIn(privileges[role]).map((privilege) => textOf({ role, table, privilege })),
      ),
    ).filter((text) => text.includes(' public.')),
  );
  const surplus = rows.filter((row) => !wanted.has(textOf(row)) && mayHarm(row)).map(textOf);
  const calls = new Set((await READ_CALLS.all(db)).map(({ role, name }) => `${role} may call ${name}`));
  const wantedCalls = new Set(
    FUNCTION_GRANTS.flatMap(({ name, roles }) =>
      roles.filter((role) => installed.has(role)).map((role) => `${role} may call ${name}`),
    ),
  );
  const powers = await READ_POWERS.all(db, { roles: RUNTIME_ROLES, tables: TABLES });
  return [
    ...[...wanted.difference(found), ...wantedCalls.difference(calls)].map((subject) => ({
      subject,
      detail: 'it is not granted',
    })),
    ...[...surplus, ...calls.difference(wantedCalls)].map((subject) => ({ subject, detail: 'nobody needs that' })),
    ...powers.map(({ text }) => ({ subject: text, detail: 'nobody needs that' })),
  ];
}

/** Whether a grant that grants.ts does not name could do harm. Other roles may read; that is the operator's decision. */
function mayHarm({ role, privilege }: Granted): boolean {
  return RUNTIME_ROLES.some((runtime) => runtime === role) || !privilege.startsWith('select');
}

/** Splits a grant of grants.ts into single privileges of single columns. */
function privilegesIn(text: string): readonly string[] {
  return [...text.matchAll(/(\w+)(?: \(([^)]*)\))?/g)].flatMap(([, privilege = '', columns]) =>
    columns === undefined ? [privilege] : columns.split(', ').map((column) => `${privilege} (${column})`),
  );
}

const READ_GRANTS = statement({
  params: { tables: array(text) },
  row: { role: text, table: text, privilege: text },
  text: ({ tables }) => `
  with own as (select c.oid, t.name, c.relacl, c.relowner from unnest(${tables}::text[]) as t (name) join pg_class c on c.oid = to_regclass(t.name)),
  granted as (
    select grantee, name, relowner, lower(privilege_type) as privilege from own, aclexplode(relacl)
    union all
    select grantee, name, relowner, format('%s (%s)', lower(privilege_type), attname)
    from own join pg_attribute on attrelid = own.oid and not attisdropped, aclexplode(attacl))
  select case grantee when 0 then 'everybody' else grantee::regrole::text end as role, name as "table", privilege
  from granted where grantee <> relowner`,
});

/** Who may call the functions that run as the owner. */
const READ_CALLS = statement({
  params: {},
  row: { role: text, name: text },
  text: () => `
  select case grantee when 0 then 'everybody' else grantee::regrole::text end as role,
    format('public.%s(%s)', proname, oidvectortypes(f.proargtypes)) as name
  from pg_proc f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner)))
  where f.prosecdef and f.pronamespace = 'public'::regnamespace and grantee <> f.proowner`,
});

/** Powers of a role that would make every grant useless. */
const READ_POWERS = statement({
  params: { roles: array(text), tables: array(text) },
  row: { text },
  text: ({ roles, tables }) => `
  select format('%s is a superuser or may pass row security', rolname) as text
    from pg_roles where rolname::text = any (${roles}) and (rolsuper or rolbypassrls)
  union all
  select distinct format('%s may act as %s, who owns the tables', r.rolname, c.relowner::regrole)
    from pg_roles r, unnest(${tables}::text[]) as t (name) join pg_class c on c.oid = to_regclass(t.name)
    where r.rolname::text = any (${roles}) and not r.rolsuper and pg_has_role(r.oid, c.relowner, 'member')`,
});
