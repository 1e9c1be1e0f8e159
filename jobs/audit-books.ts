import type { PgBoss } from 'pg-boss';
import { runAudit } from '../src/audit/run.ts';
import type { Clock } from '../src/clock.ts';
import type { Pool } from '../src/db/pool.ts';
import type { Logger } from '../src/telemetry/log.ts';

/** Proves the books on a schedule. `pool` has no statement timeout, since an audit reads every entry. */
export async function workAuditBooks(boss: PgBoss, pool: Pool, clock: Clock, logger: Logger): Promise<void> {
  await boss.work('audit-books', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await runAudit(pool, clock, logger);
  });
}
