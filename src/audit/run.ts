import type { Clock } from '../clock.ts';
import { bigint, float, integer, timestamptz } from '../db/codec.ts';
import type { Pool } from '../db/pool.ts';
import { statement } from '../db/statement.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import type { Logger } from '../telemetry/log.ts';
import { type AuditReport, type AuditSettings, audit } from './checks.ts';
import { startOfWeek } from './marks.ts';

export interface AuditServices extends Omit<AuditSettings, 'now' | 'wholeSince' | 'onProgress'> {
  /** Reads every entry, also what was proved this week. */
  readonly isFull?: boolean;
  /** It must have no statement timeout, since an audit may read every entry. */
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PROGRESS_MS = 10_000;

/** Audits the books, from where they were proved, stores the result for the metric, and logs an error for every disagreement. */
export async function runAudit(services: AuditServices): Promise<AuditReport> {
  const { pool, clock, logger, rule, isFull = false } = services;
  const startedAt = performance.now();
  const now = clock.now();
  const wholeSince = isFull ? now : startOfWeek(now);
  const report = await audit(autocommit(pool), { rule, now, wholeSince, onProgress: progressIn(logger) });
  const durationMs = Math.round(performance.now() - startedAt);
  const { disagreements } = report;
  await INSERT_RUN.run(autocommit(pool), { disagreements: disagreements.length, durationMs, finishedAt: clock.now() });
  for (const { rule, subject, detail } of disagreements) logger.error({ rule, subject, detail }, 'the books disagree');
  if (disagreements.length === 0) logger.info({ durationMs, ...report.read }, 'the books agree');
  return report;
}

/** Logs what a run looks at and how far it has come, every ten seconds at the most. */
export function progressIn(logger: Logger): NonNullable<AuditSettings['onProgress']> {
  let nextMs = performance.now() + PROGRESS_MS;
  return (progress) => {
    if (performance.now() < nextMs) return;
    nextMs = performance.now() + PROGRESS_MS;
    logger.info(progress, 'the audit goes on');
  };
}

/** What the last audit found and how long ago, or null if there was none yet. */
export async function lastAudit(db: Queryable): Promise<{ disagreements: number; ageSeconds: number } | null> {
  return LAST_RUN.first(db);
}

interface Oldest {
  readonly before: Date;
  /** At most so many. */
  readonly limit: number;
}

/** Whence runs come that ended before a time, but for the newest of all. */
const runsBefore = ({ before, limit }: Readonly<Record<keyof Oldest, string>>) => `
  from audit_run
  where finished_at < ${before} and run_id < (select max(run_id) from audit_run)
  order by run_id limit ${limit}`;

/** Deletes results of audits that ended before a time, the oldest first. @returns how many */
export async function forgetAuditRuns(db: Queryable, { before, limit }: Oldest): Promise<number> {
  return FORGET_RUNS.run(db, { before, limit });
}

const FORGET_RUNS = statement({
  params: { before: timestamptz, limit: bigint },
  text: (p) => `
    with old as (select run_id ${runsBefore(p)})
    delete from audit_run r using old where r.run_id = old.run_id`,
});

/** How many {@link forgetAuditRuns} would delete. */
export async function countAuditRuns(db: Queryable, { before, limit }: Oldest): Promise<number> {
  return (await COUNT_RUNS.one(db, { before, limit })).count;
}

const COUNT_RUNS = statement({
  params: { before: timestamptz, limit: bigint },
  row: { count: bigint },
  text: (p) => `select count(*) from (select 1 ${runsBefore(p)}) r`,
});

const INSERT_RUN = statement({
  params: { disagreements: integer, durationMs: integer, finishedAt: timestamptz },
  text: ({ disagreements, durationMs, finishedAt }) => `
    insert into audit_run (disagreements, duration_ms, finished_at)
    values (${disagreements}, ${durationMs}, ${finishedAt})`,
});

const LAST_RUN = statement({
  params: {},
  row: { disagreements: integer, ageSeconds: float },
  text: () => `
    select disagreements, extract(epoch from now() - finished_at)::float8 as age_seconds
    from audit_run order by run_id desc limit 1`,
});
