import { bigint, boolean, float, integer, json, named, nullable, oneOf, text, timestamptz } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import { columns, pick, type Row, table, values } from '../db/table.ts';
import type { Queryable, Tx } from '../db/transaction.ts';
import type { ProviderName } from '../providers/shared/names.ts';
import type { ComparisonResult, Phase, RequestedBy, Run } from './run.ts';

/** Runs in the database. `item-store.ts` has what they found. */

export interface RunKey {
  readonly merchantId: string;
  readonly runId: string;
}

/** A run and the process that works on it; only the holder of the lease may change the run. */
export interface RunLease extends RunKey {
  /** A random id of that process's work. */
  readonly leasedBy: string;
}

export type NewRun = Pick<
  Run,
  'merchantId' | 'runId' | 'sourceId' | 'provider' | 'since' | 'until' | 'requestedBy' | 'isDryRun'
>;

/**
 * Stores a new run in state `running`; `phase` is its first.
 * @returns false if a run of the same source is under way already
 */
export async function insertRun(db: Queryable, run: NewRun & { readonly phase: Phase }, now: Date): Promise<boolean> {
  return (await INSERT_RUN.run(db, { ...run, now })) === 1;
}

const RUN = table('reconciliation', {
  merchantId: text,
  runId: text,
  sourceId: text,
  provider: oneOf<ProviderName>(),
  since: timestamptz,
  until: timestamptz,
  requestedBy: oneOf<RequestedBy>(),
  state: oneOf<Run['state']>(),
  phase: oneOf<Phase>(),
  cursor: nullable(text),
  isDryRun: named('dry_run', boolean),
  listed: bigint,
  matched: bigint,
  problem: nullable(text),
  createdAt: timestamptz,
  finishedAt: nullable(timestamptz),
});
const NEW_RUN = pick(
  RUN.shape,
  'merchantId',
  'runId',
  'sourceId',
  'provider',
  'since',
  'until',
  'requestedBy',
  'isDryRun',
  'phase',
);

const INSERT_RUN = statement({
  params: { ...NEW_RUN, now: timestamptz },
  text: (p) => `
    insert into reconciliation (${columns(NEW_RUN)}, state, created_at, updated_at)
    values (${values(NEW_RUN, p)}, 'running', ${p.now}, ${p.now})
    on conflict do nothing`,
});

const COUNTED_RUN = { ...RUN.shape, outcomes: json<Partial<Record<ComparisonResult, number>>>() };
const COUNTED_COLUMNS = `${columns(RUN.shape, 'r')},
  (select coalesce(jsonb_object_agg(outcome, count), '{}') from (
     select i.outcome, count(*) as count from reconciliation_item i
     where i.merchant_id = r.merchant_id and i.run_id = r.run_id group by i.outcome) as counted) as outcomes`;

function toRun(run: Row<typeof COUNTED_RUN>): Run {
  return { ...run, outcomes: { missing: 0, healed: 0, differing: 0, unknown: 0, ...run.outcomes } };
}

interface RunQuery {
  /** Only runs that come after this one in the list; null for all. */
  readonly after?: string | null;
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/** A page of the merchant's runs, newest first. */
export async function listRuns(
  db: Queryable,
  merchantId: string,
  { after = null, pageSize, pageNumber }: RunQuery,
): Promise<readonly Run[]> {
  const runs = await LIST_RUNS.all(db, { merchantId, after, pageSize, offset: pageNumber * pageSize });
  return runs.map(toRun);
}

const LIST_RUNS = statement({
  params: { merchantId: text, after: nullable(text), pageSize: bigint, offset: bigint },
  row: COUNTED_RUN,
  text: ({ merchantId, after, pageSize, offset }) => `
    select ${COUNTED_COLUMNS} from reconciliation r where merchant_id = ${merchantId}
      and (${after}::text is null or (created_at, run_id) < (
        select c.created_at, c.run_id from reconciliation c where c.merchant_id = ${merchantId} and c.run_id = ${after}))
    order by created_at desc, run_id desc limit ${pageSize} offset ${offset}`,
});

/** @returns null if the merchant has no such run */
export async function getRun(db: Queryable, { merchantId, runId }: RunKey): Promise<Run | null> {
  const run = await GET_RUN.first(db, { merchantId, runId });
  return run === null ? null : toRun(run);
}

const GET_RUN = statement({
  params: { merchantId: text, runId: text },
  row: COUNTED_RUN,
  text: ({ merchantId, runId }) => `
    select ${COUNTED_COLUMNS} from reconciliation r where merchant_id = ${merchantId} and run_id = ${runId}`,
});

/** The run of a source that is under way, or null. */
export async function runningRun(db: Queryable, merchantId: string, sourceId: string): Promise<Run | null> {
  const run = await RUNNING_RUN.first(db, { merchantId, sourceId });
  return run === null ? null : toRun(run);
}

const RUNNING_RUN = statement({
  params: { merchantId: text, sourceId: text },
  row: COUNTED_RUN,
  text: ({ merchantId, sourceId }) => `
    select ${COUNTED_COLUMNS} from reconciliation r
    where merchant_id = ${merchantId} and source_id = ${sourceId} and state = 'running'`,
});

/**
 * The runs that a worker should work on, of every merchant, the oldest first; 1,000 at most. A run that a person started
 * at a terminal is left to that terminal, unless nothing moved there for ten minutes.
 */
export async function runningRuns(db: Queryable): Promise<readonly RunKey[]> {
  return RUNNING_RUNS.all(db);
}

const RUNNING_RUNS = statement({
  acrossMerchants: 'a worker works on all of them',
  params: {},
  row: { merchantId: text, runId: text },
  text: () => `
    select merchant_id, run_id from reconciliation
    where state = 'running' and (requested_by <> 'cli' or updated_at < now() - interval '10 minutes')
    order by created_at, run_id limit 1000`,
});

/** Deletes runs that ended more than `keepDays` days ago, with their items. */
export async function deleteOldRuns(db: Queryable, keepDays: number): Promise<void> {
  await DELETE_OLD.run(db, { keepDays });
}

const DELETE_OLD = statement({
  acrossMerchants: 'age is the same for all of them',
  params: { keepDays: integer },
  text: ({ keepDays }) =>
    `delete from reconciliation where state <> 'running' and created_at < now() - make_interval(days => ${keepDays})`,
});

/**
 * Takes a run, or renews the lease on it, for `seconds` by the database's clock.
 * @returns false if another process holds it, or the run has ended
 */
export async function lease(
  db: Queryable,
  { merchantId, runId, leasedBy }: RunLease,
  seconds: number,
): Promise<boolean> {
  return (await LEASE.run(db, { merchantId, runId, leasedBy, seconds })) === 1;
}

const LEASE = statement({
  params: { merchantId: text, runId: text, leasedBy: text, seconds: float },
  text: ({ merchantId, runId, leasedBy, seconds }) => `
    update reconciliation set leased_by = ${leasedBy}, leased_until = now() + make_interval(secs => ${seconds})
    where merchant_id = ${merchantId} and run_id = ${runId} and state = 'running'
      and (leased_by is null or leased_by = ${leasedBy} or leased_until < now())`,
});

/** Gives the lease back, so that another process need not wait until it ends. */
export async function release(db: Queryable, { merchantId, runId, leasedBy }: RunLease): Promise<void> {
  await RELEASE.run(db, { merchantId, runId, leasedBy });
}

const RELEASE = statement({
  params: { merchantId: text, runId: text, leasedBy: text },
  text: ({ merchantId, runId, leasedBy }) => `
    update reconciliation set leased_by = null, leased_until = null
    where merchant_id = ${merchantId} and run_id = ${runId} and leased_by = ${leasedBy}`,
});

/** Where a run goes on, and by how much its counts grow. */
export interface Advance {
  readonly phase: Phase;
  readonly cursor: string | null;
  readonly listed: number;
  readonly matched: number;
  readonly now: Date;
}

/**
 * Notes what a page came to and where the run goes on.
 * @returns false if the lease was lost: the caller must roll its transaction back
 */
export async function advance(
  tx: Tx,
  { merchantId, runId, leasedBy }: RunLease,
  { phase, cursor, listed, matched, now }: Advance,
): Promise<boolean> {
  const step = { phase, cursor, listed, matched, now };
  return (await ADVANCE.run(tx, { merchantId, runId, leasedBy, ...step })) === 1;
}

const ADVANCE = statement({
  params: {
    ...pick(RUN.shape, 'merchantId', 'runId', 'phase', 'cursor', 'listed', 'matched'),
    leasedBy: text,
    now: timestamptz,
  },
  text: (p) => `
    update reconciliation
    set phase = ${p.phase}, cursor = ${p.cursor}, listed = listed + ${p.listed}, matched = matched + ${p.matched},
      problem = null, updated_at = ${p.now}
    where merchant_id = ${p.merchantId} and run_id = ${p.runId} and leased_by = ${p.leasedBy} and state = 'running'`,
});

/** Notes why a run makes no progress; at most 500 characters are kept. Changes nothing without the lease. */
export async function noteProblem(
  db: Queryable,
  { merchantId, runId, leasedBy }: RunLease,
  { problem, now }: { readonly problem: string; readonly now: Date },
): Promise<void> {
  await NOTE_PROBLEM.run(db, { merchantId, runId, leasedBy, problem, now });
}

const NOTE_PROBLEM = statement({
  params: { merchantId: text, runId: text, leasedBy: text, problem: text, now: timestamptz },
  text: ({ merchantId, runId, leasedBy, problem, now }) => `
    update reconciliation set problem = left(${problem}, 500), updated_at = ${now}
    where merchant_id = ${merchantId} and run_id = ${runId} and leased_by = ${leasedBy} and state = 'running'`,
});

/** How a run ended, when, and why it failed. */
export interface RunEnd {
  readonly state: 'finished' | 'failed';
  readonly problem: string | null;
  readonly now: Date;
}

/**
 * Ends a run. Changes nothing without the lease, or if the run has ended already. A finished run whose window begins where
 * the source was compared up to, or before, also moves that time on to the end of its window.
 */
export async function endRun(
  db: Queryable,
  { merchantId, runId, leasedBy }: RunLease,
  { state, problem, now }: RunEnd,
): Promise<void> {
  const ended = await END_RUN.first(db, { merchantId, runId, leasedBy, state, problem, now });
  if (ended === null || state !== 'finished' || ended.dryRun) return;
  const { sourceId, since, until } = ended;
  await NOTE_COMPARED.run(db, { merchantId, sourceId, since, until });
}

const END_RUN = statement({
  params: { merchantId: text, runId: text, leasedBy: text, state: text, problem: nullable(text), now: timestamptz },
  row: { sourceId: text, since: timestamptz, until: timestamptz, dryRun: boolean },
  text: ({ merchantId, runId, leasedBy, state, problem, now }) => `
    update reconciliation
    set state = ${state}, problem = left(${problem}, 500), finished_at = ${now}, updated_at = ${now}, leased_by = null,
      leased_until = null
    where merchant_id = ${merchantId} and run_id = ${runId} and leased_by = ${leasedBy} and state = 'running'
    returning source_id, since, until, dry_run`,
});

const NOTE_COMPARED = statement({
  params: { merchantId: text, sourceId: text, since: timestamptz, until: timestamptz },
  text: ({ merchantId, sourceId, since, until }) => `
    update reconciliation_source
    set compared_until = greatest(compared_until, ${until})
    where merchant_id = ${merchantId} and source_id = ${sourceId} and ${since} <= coalesce(compared_until, known_since)`,
});
