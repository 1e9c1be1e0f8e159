import type { PgBoss } from 'pg-boss';
import { type AuditServices, runAudit } from '../src/audit/run.ts';

/** Proves the books on a schedule. */
export async function workAuditBooks(boss: PgBoss, services: AuditServices): Promise<void> {
  await boss.work('audit-books', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await runAudit(services);
  });
}
