import { bigint, float, nullable } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** Figures of the last week, over all merchants. */
export interface ReconciliationBacklog {
  /** Items that no webhook told of and that are applied by now. */
  readonly healed: number;
  /** Items of each source's last run at which a person must look. */
  readonly unreconciled: number;
  /** Sources whose last run failed. */
  readonly failedSources: number;
  /** How long ago the last finished run was, of the source where that is longest ago; null if no run has finished. */
  readonly reconciliationAgeSeconds: number | null;
}

/** Reads the figures. They look back a week only, so that a source that was removed or disabled is no alarm for ever. */
export async function reconciliationBacklog(db: Queryable): Promise<ReconciliationBacklog> {
  const { failed, ageSeconds, ...counts } = await BACKLOG.one(db);
  return { ...counts, failedSources: failed, reconciliationAgeSeconds: ageSeconds };
}

const BACKLOG = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { healed: bigint, unreconciled: bigint, failed: bigint, ageSeconds: nullable(float) },
  text: () => `
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
      (select extract(epoch from now() - min(last_finished_at))::float8 from recent where rank = 1) as age_seconds`,
});
