import type { Queryable } from '../db/transaction.ts';
import { invariant } from '../errors.ts';

export interface ReconciliationBacklog {
  readonly healed: number;
  /** What the last run of each source left for a person. */
  readonly unreconciled: number;
  /** Sources whose last run failed. */
  readonly failedSources: number;
  /** Of the source that has gone without a finished run for the longest; null if none has had one. */
  readonly reconciliationAgeSeconds: number | null;
}

/**
 * What comparing with the providers came to, over all merchants and the last week: a source that is not compared any more
 * (it was removed or disabled) is not an alarm for ever.
 */
export async function reconciliationBacklog(db: Queryable): Promise<ReconciliationBacklog> {
  const { rows } = await db.query<{
    healed: number;
    unreconciled: number;
    failed: number;
    age_seconds: number | null;
  }>(`
    with recent as (
      select merchant_id, run_id, source_id, state, finished_at,
        row_number() over (partition by merchant_id, source_id order by finished_at desc) as rank,
        max(finished_at) filter (where state = 'finished') over (partition by merchant_id, source_id) as last_finished_at
      from reconciliation where state <> 'running' and not dry_run and created_at > now() - interval '7 days'),
    counted as (
      select r.rank, i.outcome, count(*) as count
      from recent r join reconciliation_item i using (merchant_id, run_id) group by r.rank, i.outcome)
    select
      (select coalesce(sum(count), 0)::bigint from counted where outcome = 'healed') as healed,
      (select coalesce(sum(count), 0)::bigint from counted where rank = 1 and outcome in ('differing', 'unknown')) as unreconciled,
      (select count(*) from recent where rank = 1 and state = 'failed') as failed,
      (select extract(epoch from now() - min(last_finished_at))::float8 from recent where rank = 1) as age_seconds`);
  const [row] = rows;
  invariant(row !== undefined, 'a count without a row');
  const { healed, unreconciled, failed: failedSources, age_seconds: reconciliationAgeSeconds } = row;
  return { healed, unreconciled, failedSources, reconciliationAgeSeconds };
}
