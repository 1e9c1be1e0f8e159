import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Queryable } from '../../src/db/transaction.ts';
import { ROOT } from './cli.ts';

/** The privileges of a grantee on a table, in the order of GRANT's manual, columns sorted: `select, update (a, b)`. */
export type Privileges = Readonly<Record<string, string>>;

const ORDER = ['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger', 'maintain'];

/**
 * What each grantee but the owner may do to each table, view and sequence outside of the system's schemas, as the
 * catalogue has it; `public` stands for everybody. What an extension brings along is its own. Partitions are left out unless somebody was granted something on them.
 */
export async function privilegesOf(db: Queryable): Promise<ReadonlyMap<string, Privileges>> {
  const { rows } = await db.query<{ relation: string; grantee: string | null; granted: string[] | null }>(`
    with relation as (
      select c.oid, format('%s.%s', nspname, relname) as name, relowner, relispartition, relacl
      from pg_class c join pg_namespace n on n.oid = relnamespace
      where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and nspname not like 'pg\\_%' and nspname <> 'information_schema'
        and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')),
    granted as (
      select oid, grantee, lower(privilege_type) as privilege, null as attname
      from relation, aclexplode(relacl) where grantee <> relowner
      union all
      select oid, grantee, lower(privilege_type), attname
      from relation join pg_attribute on attrelid = oid, aclexplode(attacl) where grantee <> relowner),
    listed as (
      select oid, case grantee when 0 then 'public' else grantee::regrole::text end as grantee,
        privilege || coalesce(' (' || string_agg(attname, ', ' order by attname) || ')', '') as privilege
      from granted group by oid, grantee, privilege, attname is null)
    select name as relation, grantee, array_agg(privilege) as granted
    from relation left join listed using (oid)
    where grantee is not null or (not relispartition and not name like any (array['%\\_seq', 'pgboss.queue\\_stats\\_%']))
    group by name, grantee`);
  const found = new Map<string, Record<string, string>>();
  for (const { relation, grantee, granted } of rows) {
    const privileges = found.get(relation) ?? {};
    if (grantee !== null && granted !== null) privileges[grantee] = inOrder(granted).join(', ');
    found.set(relation, privileges);
  }
  return found;
}

function inOrder(privileges: readonly string[]): string[] {
  const rank = (privilege: string) => ORDER.indexOf(privilege.split(' ')[0] ?? '');
  return [...privileges].sort((a, b) => rank(a) - rank(b));
}

/** Privileges as written in a list, in the form of {@link privilegesOf}; null for none. */
export function normalised(text: string): string | null {
  if (text === '') return null;
  const words = text.match(/\w+(?: \([^)]*\))?/g) ?? [];
  return inOrder(
    words.map((word) =>
      word.replace(/\((.*)\)/, (_all, columns: string) => `(${columns.split(', ').sort().join(', ')})`),
    ),
  ).join(', ');
}

/** Every string of `src` and `jobs` that is not of the command line alone, where the statements are. */
export async function sourceTexts(): Promise<string> {
  const texts: string[] = [];
  for (const folder of ['src', 'jobs']) {
    for (const name of await readdir(join(ROOT, folder), { recursive: true })) {
      if (name.endsWith('.ts') && !name.endsWith('grants.ts'))
        texts.push(await readFile(join(ROOT, folder, name), 'utf8'));
    }
  }
  return texts.join('\n');
}

/** Whether a statement in the texts uses the privilege on the table. */
export function isUsed(texts: string, table: string, privilege: string): boolean {
  const name = `(?:public\\.)?${table}\\b(?! *\\()`;
  // Of one that is written beside others in one statement, its own part.
  const inserted = `insert into ${table}\\b(?:(?!insert into)[^;\`])*`;
  const patterns: Readonly<Record<string, string>> = {
    // To change rows is to look for them first.
    select: `(?:from|join|update) ${name}|${inserted}(?:returning|do update)`,
    insert: `insert into ${table}\\b`,
    update: `update ${name}|${inserted}do update|from ${name}[^;\`]*for (?:update|share|key share)`,
    delete: `delete from ${name}`,
  };
  return new RegExp(patterns[privilege] ?? '(?!)', 'i').test(texts);
}
