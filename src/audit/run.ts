import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable } from '../db/transaction.ts';
import type { Logger } from '../telemetry/log.ts';
import { type AuditReport, audit } from './checks.ts';

/** Audits the books, keeps the result for the metric, and raises an alarm in the log for every disagreement. */
export async function runAudit(pool: Pool, clock: Clock, logger: Logger): Promise<AuditReport> {
  const startedAt = performance.now();
  const report = await audit(autocommit(pool));
  const durationMs = Math.round(performance.now() - startedAt);
  const { disagreements } = report;
  await pool.query('insert into audit_run (disagreements, duration_ms, finished_at) values ($1, $2, $3)', [
    disagreements.length,
    durationMs,
    clock.now(),
  ]);
  for (const { rule, subject, detail } of disagreements) logger.error({ rule, subject, detail }, 'the books disagree');
  if (disagreements.length === 0) logger.info({ durationMs }, 'the books agree');
  return report;
}

/** What the last audit found and how long ago, or null if there was none yet. */
export async function lastAudit(db: Queryable): Promise<{ disagreements: number; ageSeconds: number } | null> {
  const { rows } = await db.query<{ disagreements: number; age_seconds: number }>(
    'select disagreements, extract(epoch from now() - finished_at)::float8 as age_seconds from audit_run order by run_id desc limit 1',
  );
  return rows[0] === undefined ? null : { disagreements: rows[0].disagreements, ageSeconds: rows[0].age_seconds };
}
