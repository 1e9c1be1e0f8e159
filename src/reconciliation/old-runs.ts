import { bigint, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/** Runs that ended long ago, with what they found. */

interface Oldest {
  readonly merchantId: string;
  readonly before: Date;
  /** At most so many. */
  readonly limit: number;
}

/** A run may have ten thousand items, which are deleted with it. */
export const RUNS_AT_ONCE = 20;

/**
 * Whence runs come that ended before a time. The newest of each source that really compared stays, and so does a run at one of whose
 * events somebody still has to look.
 */
const runsBefore = ({ merchantId, before, limit }: Readonly<Record<keyof Oldest, string>>) => `
  from reconciliation r
  where r.merchant_id = ${merchantId} and r.created_at < ${before} and r.finished_at < ${before}
    and (r.dry_run or exists (
      select from reconciliation newer
      where newer.merchant_id = ${merchantId} and newer.created_at > r.created_at and newer.source_id = r.source_id
        and newer.state = 'finished' and not newer.dry_run offset 0))
    and not exists (
      select from reconciliation_item i
      join provider_event e on e.event_id = i.event_id and e.merchant_id = ${merchantId}
      where i.merchant_id = ${merchantId} and i.run_id = r.run_id and e.state in ('parked', 'waiting', 'pending') offset 0)
  order by r.created_at limit ${limit}`;

/** Deletes runs that ended before a time, the oldest first. @returns how many */
export async function forgetRuns(db: Queryable, { merchantId, before, limit }: Oldest): Promise<number> {
  return FORGET_RUNS.run(db, { merchantId, before, limit });
}

const OLDEST = { merchantId: text, before: timestamptz, limit: bigint };

const FORGET_RUNS = statement({
  params: OLDEST,
  text: (p) => `
    with old as (select r.run_id ${runsBefore(p)})
    delete from reconciliation r using old where r.merchant_id = ${p.merchantId} and r.run_id = old.run_id`,
});

/** How many {@link forgetRuns} would delete. */
export async function countRuns(db: Queryable, { merchantId, before, limit }: Oldest): Promise<number> {
  return (await COUNT_RUNS.one(db, { merchantId, before, limit })).count;
}

const COUNT_RUNS = statement({
  params: OLDEST,
  row: { count: bigint },
  text: (p) => `select count(*) from (select 1 ${runsBefore(p)}) r`,
});
