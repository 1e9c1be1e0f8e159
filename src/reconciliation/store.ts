import type { Queryable, Tx } from '../db/transaction.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { Outcome, Phase, RequestedBy, Run } from './run.ts';

/** Runs in the database. `item-store.ts` has what they found. */

export interface RunKey {
  readonly merchantId: string;
  readonly runId: string;
}

export type NewRun = Pick<
  Run,
  'merchantId' | 'runId' | 'sourceId' | 'provider' | 'since' | 'until' | 'requestedBy' | 'isDryRun'
>;

/** @returns false if a run of the same source is under way */
export async function insertRun(db: Queryable, run: NewRun, phase: Phase, now: Date): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into reconciliation (merchant_id, run_id, source_id, provider, since, until, requested_by, dry_run, state, phase, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, 'running', $9, $10, $10) on conflict do nothing`,
    [
      run.merchantId,
      run.runId,
      run.sourceId,
      run.provider,
      run.since.toISOString(),
      run.until.toISOString(),
      run.requestedBy,
      run.isDryRun,
      phase,
      now.toISOString(),
    ],
  );
  return rowCount === 1;
}

/** A page of the merchant's runs, newest first. */
export async function listRuns(
  db: Queryable,
  merchantId: string,
  { pageSize, pageNumber }: { readonly pageSize: number; readonly pageNumber: number },
): Promise<readonly Run[]> {
  const { rows } = await db.query<RunRow>(
    `select ${COLUMNS} from reconciliation r where merchant_id = $1 order by created_at desc, run_id desc limit $2 offset $3`,
    [merchantId, pageSize, pageNumber * pageSize],
  );
  return rows.map(toRun);
}

export async function getRun(db: Queryable, { merchantId, runId }: RunKey): Promise<Run | null> {
  const { rows } = await db.query<RunRow>(
    `select ${COLUMNS} from reconciliation r where merchant_id = $1 and run_id = $2`,
    [merchantId, runId],
  );
  return rows[0] === undefined ? null : toRun(rows[0]);
}

/** The run of a source that is under way, or null. */
export async function runningRun(db: Queryable, merchantId: string, sourceId: string): Promise<Run | null> {
  const { rows } = await db.query<RunRow>(
    `select ${COLUMNS} from reconciliation r where merchant_id = $1 and source_id = $2 and state = 'running'`,
    [merchantId, sourceId],
  );
  return rows[0] === undefined ? null : toRun(rows[0]);
}

/**
 * Every run under way that a worker is to work on, of every merchant, oldest first. What somebody runs at a terminal is
 * left to them, unless they have not been seen for a while.
 */
export async function runningRuns(db: Queryable): Promise<readonly RunKey[]> {
  const { rows } = await db.query<{ merchant_id: string; run_id: string }>(
    `select merchant_id, run_id from reconciliation
     where state = 'running' and (requested_by <> 'cli' or updated_at < now() - interval '10 minutes')
     order by created_at, run_id limit 1000`,
  );
  return rows.map((row) => ({ merchantId: row.merchant_id, runId: row.run_id }));
}

/** Forgets runs that nobody looks at any more, with what they found. */
export async function deleteOldRuns(db: Queryable, keepDays: number): Promise<void> {
  await db.query(
    "delete from reconciliation where state <> 'running' and created_at < now() - make_interval(days => $1)",
    [keepDays],
  );
}

/** Takes a run for oneself, or keeps it, for `seconds` by the database's clock. @returns false if somebody else has it */
export async function lease(
  db: Queryable,
  { merchantId, runId }: RunKey,
  by: string,
  seconds: number,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update reconciliation set leased_by = $3, leased_until = now() + make_interval(secs => $4)
     where merchant_id = $1 and run_id = $2 and state = 'running' and (leased_by is null or leased_by = $3 or leased_until < now())`,
    [merchantId, runId, by, seconds],
  );
  return rowCount === 1;
}

export async function release(db: Queryable, { merchantId, runId }: RunKey, by: string): Promise<void> {
  await db.query(
    'update reconciliation set leased_by = null, leased_until = null where merchant_id = $1 and run_id = $2 and leased_by = $3',
    [merchantId, runId, by],
  );
}

export interface Advance {
  readonly phase: Phase;
  readonly cursor: string | null;
  readonly listed: number;
  readonly matched: number;
}

/** Moves a run on. @returns false if it is not ours any more; nothing that was done for it may then be kept */
export async function advance(
  tx: Tx,
  { merchantId, runId }: RunKey,
  by: string,
  step: Advance,
  now: Date,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update reconciliation
     set phase = $4, cursor = $5, listed = listed + $6, matched = matched + $7, problem = null, updated_at = $8
     where merchant_id = $1 and run_id = $2 and leased_by = $3 and state = 'running'`,
    [merchantId, runId, by, step.phase, step.cursor, step.listed, step.matched, now.toISOString()],
  );
  return rowCount === 1;
}

/** Says what keeps a run from getting on. Only whoever has it may. */
export async function noteProblem(
  db: Queryable,
  { merchantId, runId }: RunKey,
  by: string,
  problem: string,
  now: Date,
): Promise<void> {
  await db.query(
    `update reconciliation set problem = left($4, 500), updated_at = $5
     where merchant_id = $1 and run_id = $2 and leased_by = $3 and state = 'running'`,
    [merchantId, runId, by, problem, now.toISOString()],
  );
}

/**
 * Ends a run. Only whoever has it may; to end it twice changes nothing. One that is finished and follows on what was
 * compared before moves on the time up to which its source is compared.
 */
export async function endRun(
  db: Queryable,
  { merchantId, runId }: RunKey,
  by: string,
  state: 'finished' | 'failed',
  problem: string | null,
  now: Date,
): Promise<void> {
  await db.query(
    `with ended as (
       update reconciliation
       set state = $4, problem = left($5, 500), finished_at = $6, updated_at = $6, leased_by = null, leased_until = null
       where merchant_id = $1 and run_id = $2 and leased_by = $3 and state = 'running'
       returning merchant_id, source_id, since, until, dry_run)
     update reconciliation_source s
     set compared_until = greatest(s.compared_until, e.until)
     from ended e
     where $4 = 'finished' and not e.dry_run and s.merchant_id = e.merchant_id and s.source_id = e.source_id
       and e.since <= coalesce(s.compared_until, s.known_since)`,
    [merchantId, runId, by, state, problem, now.toISOString()],
  );
}

const COLUMNS = `r.merchant_id, r.run_id, r.source_id, r.provider, r.since, r.until, r.requested_by, r.state, r.phase, r.cursor,
  r.dry_run, r.listed, r.matched, r.problem, r.created_at, r.finished_at,
  (select coalesce(jsonb_object_agg(outcome, count), '{}') from (
     select i.outcome, count(*) as count from reconciliation_item i
     where i.merchant_id = r.merchant_id and i.run_id = r.run_id group by i.outcome) as counted) as outcomes`;

interface RunRow {
  merchant_id: string;
  run_id: string;
  source_id: string;
  provider: ProviderName;
  since: Date;
  until: Date;
  requested_by: RequestedBy;
  dry_run: boolean;
  state: Run['state'];
  phase: Phase;
  cursor: string | null;
  listed: number;
  matched: number;
  problem: string | null;
  created_at: Date;
  finished_at: Date | null;
  outcomes: Partial<Record<Outcome, number>>;
}

function toRun(row: RunRow): Run {
  return {
    merchantId: row.merchant_id,
    runId: row.run_id,
    sourceId: row.source_id,
    provider: row.provider,
    since: row.since,
    until: row.until,
    requestedBy: row.requested_by,
    isDryRun: row.dry_run,
    state: row.state,
    phase: row.phase,
    cursor: row.cursor,
    listed: row.listed,
    matched: row.matched,
    outcomes: { missing: 0, healed: 0, differing: 0, unknown: 0, ...row.outcomes },
    problem: row.problem,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
  };
}
