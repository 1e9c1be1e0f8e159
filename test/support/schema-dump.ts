import type { Queryable } from '../../src/db/transaction.ts';
import { privilegesOf } from './database-privileges.ts';

/** Everything that migrating makes, as lines to compare: what is in the schemas, the queues, and who may do what. */
export async function dumpSchema(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ line: string }>(`
    with mine (oid) as (select oid from pg_namespace where nspname in ('public', 'pgboss')),
      relation as (
        select oid, oid::regclass::text as name from pg_class
        where relnamespace in (select oid from mine) and relname !~ '^queue_stats_')
    select format('column %s.%s %s%s default %s', name, attname, format_type(atttypid, atttypmod),
        case when attnotnull then ' not null' else '' end, pg_get_expr(adbin, adrelid)) as line
      from relation join pg_attribute on attrelid = oid and attnum > 0 and not attisdropped
      left join pg_attrdef on adrelid = attrelid and adnum = attnum
    union all select format('constraint %s %s %s', name, conname, pg_get_constraintdef(c.oid))
      from relation join pg_constraint c on conrelid = relation.oid
    union all select 'index ' || pg_get_indexdef(indexrelid) || case when indisvalid then '' else ' (broken)' end
      from relation join pg_index on indrelid = oid
    union all select 'trigger ' || pg_get_triggerdef(t.oid) from relation join pg_trigger t on tgrelid = relation.oid where not tgisinternal
    union all select format('function %s %s', oid::regprocedure, md5(prosrc)) from pg_proc where pronamespace in (select oid from mine)
    union all select format('queue %s', (to_jsonb(q) - 'created_on' - 'updated_on')::text) from pgboss.queue q
    union all select format('migration %s', name) from schema_migration
    union all select format('pg-boss %s', version) from pgboss.version
    union all select format('schema %s %s', nspname, nspacl) from pg_namespace where oid in (select oid from mine)
    order by 1`);
  const granted = [...(await privilegesOf(db))].map(
    ([table, privileges]) => `granted ${table} ${JSON.stringify(Object.entries(privileges).sort())}`,
  );
  return [...rows.map(({ line }) => line), ...granted.sort()];
}
