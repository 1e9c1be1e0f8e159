import type { Queryable } from '../db/transaction.ts';
import { invariant } from '../errors.ts';

export interface ReconciliationBacklog {
  readonly healed: number;
  /** What the last finished run of each source left for a person. */
  readonly unreconciled: number;
  /** Of the source whose last finished run is the oldest; null if none has finished. */
  readonly reconciliationAgeSeconds: number | null;
}

/** What comparing with the providers came to, over all merchants and the last 90 days. */
export async function reconciliationBacklog(db: Queryable): Promise<ReconciliationBacklog> {
  const { rows } = await db.query<{ healed: number; unreconciled: number; age_seconds: number | null }>(`
    with recent as (
      select merchant_id, run_id, source_id, state, finished_at,
        row_number() over (partition by merchant_id, source_id order by finished_at desc) as rank
      from reconciliation where state = 'finished' and finished_at > now() - interval '90 days'),
    counted as (
      select r.rank, i.outcome, count(*) as count
      from recent r join reconciliation_item i using (merchant_id, run_id) group by r.rank, i.outcome)
    select
      (select coalesce(sum(count), 0)::bigint from counted where outcome = 'healed') as healed,
      (select coalesce(sum(count), 0)::bigint from counted where rank = 1 and outcome in ('differing', 'unknown')) as unreconciled,
      (select extract(epoch from now() - min(finished_at))::float8 from recent where rank = 1) as age_seconds`);
  const [row] = rows;
  invariant(row !== undefined, 'a count without a row');
  return { healed: row.healed, unreconciled: row.unreconciled, reconciliationAgeSeconds: row.age_seconds };
}
