import type { Logger } from '../telemetry/log.ts';
import { bigint, text } from './codec.ts';
import { Failures } from './failures.ts';
import type { Pool } from './pool.ts';
import { isHeldUp } from './sqlstate.ts';
import { statement } from './statement.ts';
import { autocommit } from './transaction.ts';

export interface StatisticsServices {
  readonly pool: Pool;
  readonly logger: Logger;
  /** Ends the work after the table under way. */
  readonly signal?: AbortSignal;
}

/**
 * Gathers statistics of the tables that have outgrown theirs: those that were never looked at, and those of which more has changed
 * than autovacuum waits for, because it is off, held up or busy elsewhere. A table that somebody else holds is left for the next time.
 * @returns the names of the tables
 * @throws {unknown} at the end, what failed first of a table; at once if the database is away
 */
export async function refreshStatistics({ pool, logger, signal }: StatisticsServices): Promise<readonly string[]> {
  const db = autocommit(pool);
  const refreshed: string[] = [];
  const failures = new Failures(null);
  const refresh = async (name: string) => {
    try {
      await REFRESH.run(db, { name });
      return true;
    } catch (error) {
      if (!isHeldUp(error)) throw error;
      logger.info({ table: name }, 'a table is held, so its statistics stay as they are for now');
      return false;
    }
  };
  for (const { name, rows } of await OUTGROWN.all(db)) {
    if (signal?.aborted) break;
    const warn = (err: unknown) => logger.warn({ err, table: name }, 'statistics of a table could not be gathered');
    if ((await failures.outlive(() => refresh(name), warn)) !== true) continue;
    refreshed.push(name);
    logger.info({ table: name, rows }, 'a table had outgrown its statistics');
  }
  failures.rethrow();
  return refreshed;
}

/** So many changed rows are too few to matter; it is also what a table of a few pages may hold. */
const FEW_ROWS = 1_000;

/** Autovacuum comes at a fiftieth or a tenth (migration 0032), so what has reached this was passed over. */
const OUTGROWN = statement({
  acrossMerchants: 'statistics are of tables',
  params: {},
  row: { name: text, rows: bigint },
  text: () => `
    select format('%I.%I', n.nspname, c.relname) as name, greatest(c.reltuples, s.n_live_tup, 0)::bigint as rows
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_stat_all_tables s on s.relid = c.oid
    where n.nspname in ('public', 'pgboss') and c.relkind = 'r'
      and c.relowner = (select relowner from pg_class where oid = 'public.entry'::regclass)
      and pg_relation_size(c.oid) > 8 * current_setting('block_size')::bigint
      and (c.reltuples < 0
        or (s.last_analyze is null and s.last_autoanalyze is null)
        or s.n_mod_since_analyze > ${FEW_ROWS} + 0.2 * greatest(c.reltuples, 0))
    order by s.n_mod_since_analyze desc, 1`,
});

const REFRESH = statement({
  acrossMerchants: 'statistics are of tables',
  params: { name: text },
  text: ({ name }) => `select refresh_statistics(${name}::text::regclass)`,
});
