import { audit } from '../audit/checks.ts';
import { startOfWeek } from '../audit/marks.ts';
import { auditResponse, renderAudit } from '../audit/report.ts';
import { progressIn } from '../audit/run.ts';
import { locateDatabase } from '../config/data-dir.ts';
import { loadConfig } from '../config/env.ts';
import { DatabaseClock } from '../db/database-clock.ts';
import { opened } from '../db/pool.ts';
import { requireBackend } from '../db/suitable.ts';
import { autocommit } from '../db/transaction.ts';
import { Runtime } from '../runtime.ts';
import { createLogger } from '../telemetry/log.ts';
import { runCommand } from './command.ts';

const HELP = `Usage: npm run audit [-- --full] [--json]

Recomputes every balance of the database that DATABASE_URL names (or that npm start runs here) from its entries, checks the invariants of
src/ledger/README.md, prints the books and every disagreement, and exits 1 if there is one.

What was proved since Sunday is not read again, unless the user may not write how far it came.

  --full   read every entry, and print the trial balance
  --json   print the report as JSON`;

async function main(switches: ReadonlySet<string>): Promise<void> {
  const { config, databaseUrl } = await locateDatabase(loadConfig());
  const logger = createLogger(config.LOG_LEVEL, 'audit');
  const runtime = new Runtime({
    config,
    databaseUrl,
    logger,
    clock: new DatabaseClock(),
    name: 'chokin-audit',
    maxConnections: 1,
  });
  try {
    const db = autocommit(await opened(runtime.scanPool()));
    await requireBackend(db);
    const now = runtime.clock.now();
    const wholeSince = switches.has('full') ? now : startOfWeek(now);
    // With --json nothing else is printed.
    const progress = switches.has('json') ? {} : { onProgress: progressIn(logger) };
    const report = await audit(db, { ...runtime.settings, now, wholeSince, ...progress });
    console.log(switches.has('json') ? JSON.stringify(auditResponse(report), null, 2) : renderAudit(report));
    if (report.disagreements.length > 0) process.exitCode = 1;
  } finally {
    await runtime.close();
  }
}

if (import.meta.main) runCommand({ help: HELP, switches: ['full', 'json'], run: main });
