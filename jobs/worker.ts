import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, systemClock } from '../src/clock.ts';
import { runCommand } from '../src/commands/command.ts';
import { endOnCrash, onShutdown } from '../src/commands/shutdown.ts';
import { type Config, loadConfig, warnOfUnknownVariables } from '../src/config/env.ts';
import { ledgerSettings } from '../src/config/ledger-settings.ts';
import { SecretBox } from '../src/crypto/secret-box.ts';
import { createPool, type Pool } from '../src/db/pool.ts';
import { createBoss, QUEUE_NAMES } from '../src/db/queues.ts';
import { type HttpServer, listen } from '../src/http/kit/server.ts';
import { createMetricsApp } from '../src/http/metrics.ts';
import { SourceDirectory } from '../src/merchants/sources.ts';
import { createOutgoing } from '../src/outgoing/index.ts';
import { retryRefusedAtStart } from '../src/outgoing/retry-refused.ts';
import { createNudger } from '../src/outgoing/wake-announcer.ts';
import { PROVIDER_NAMES } from '../src/providers/shared/names.ts';
import { connectWith } from '../src/reconciliation/connect.ts';
import { createLogger, type Logger } from '../src/telemetry/log.ts';
import { createMetrics, type Metrics } from '../src/telemetry/metrics.ts';
import { startTracing, type Tracing } from '../src/telemetry/tracing.ts';
import { workAnnounceBalanceChanges } from './announce-balance-changes.ts';
import { workApplyProviderEvent } from './apply-provider-event.ts';
import { workAuditBooks } from './audit-books.ts';
import { workCheckLowBalances } from './check-low-balances.ts';
import { workDeliverWebhook } from './deliver-webhook.ts';
import { workReconcilePayments } from './reconcile-payments.ts';
import { workRecoverEndpoints } from './recover-endpoints.ts';
import { workRequeueStrandedEvents } from './requeue-stranded-events.ts';
import { workWatchEndpoints } from './watch-endpoints.ts';

export interface WorkerOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Where its figures go, if not into a registry of its own. */
  readonly metrics?: Metrics;
  /** Where its traces go, if not where the configuration says; null for nowhere. */
  readonly tracing?: Tracing | null;
}

export interface Worker {
  /** Where its metrics are served; null unless WORKER_METRICS_PORT is set. */
  readonly metricsUrl: string | null;
  /** Takes no new jobs, lets those under way finish (25 s at most), and closes every connection. */
  close(): Promise<void>;
}

/** Starts every job of the service. The database must be migrated. */
export async function startWorker({ config, databaseUrl, logger, clock, ...options }: WorkerOptions): Promise<Worker> {
  const { metrics = createMetrics(PROVIDER_NAMES) } = options;
  const tracing = options.tracing === undefined ? await startTracing(config, logger) : options.tracing;
  const maxConnections = config.DATABASE_POOL_SIZE;
  const pool = createPool({ databaseUrl, applicationName: 'chokin-worker', maxConnections, logger });
  const auditName = `chokin-audit-${process.pid}`;
  const auditPool = createPool({
    databaseUrl,
    applicationName: auditName,
    maxConnections: 1,
    logger,
    statementTimeoutMs: 0,
  });
  const boss = createBoss({
    databaseUrl,
    applicationName: 'chokin-worker-jobs',
    maxConnections: 8,
    works: true,
    logger,
  });
  await boss.start();
  const nudger = createNudger(boss, logger);
  const box = new SecretBox(config.ENCRYPTION_KEY);
  const outgoing = createOutgoing({ config, pool, boss, clock, logger, box, metrics, tracing });
  outgoing.watch.start();
  const settings = ledgerSettings(config);
  const onPosted = () => nudger.nudge();
  const shutdown = new AbortController();
  const { signal } = shutdown;
  const sources = new SourceDirectory(config, box);
  const shared = { pool, boss, clock, logger };
  const waitSeconds = config.UNKNOWN_PAYMENT_WAIT_SECONDS;

  await workApplyProviderEvent(boss, { ...shared, sources, settings, waitSeconds, onPosted, metrics, tracing });
  const { publisher } = outgoing;
  const announcer = await workAnnounceBalanceChanges(boss, { pool, publisher, logger, metrics, tracing });
  await workDeliverWebhook(boss, outgoing);
  await workRecoverEndpoints(boss, outgoing, signal);
  await workWatchEndpoints(boss, outgoing, signal);
  await workCheckLowBalances(boss, { pool, settings, clock, onPosted }, logger);
  await workRequeueStrandedEvents(boss, { ...shared, waitSeconds });
  await workAuditBooks(boss, auditPool, clock, logger);
  const reconciling = { ...shared, sources, connect: connectWith(config), onPosted };
  await workReconcilePayments(boss, { ...reconciling, lookbackHours: config.RECONCILE_LOOKBACK_HOURS, signal });
  await schedule(config, boss);
  const retried = retryRefusedAtStart({ pool, logger, onDue: onPosted, signal });
  const server = await serveMetrics(config, metrics, pool);
  logger.info({ metricsPort: server?.port ?? null }, 'the worker is ready');

  return {
    metricsUrl: server?.url ?? null,
    close: async () => {
      shutdown.abort();
      // Every worker is told to take no more before pg-boss begins to close one thing after another.
      await Promise.all(QUEUE_NAMES.map((name) => boss.offWork(name, { wait: false })));
      const announced = Promise.race([announcer.close(), delay(JOBS_PATIENCE_MS, null, { ref: false })]);
      const stopped = boss.stop({ graceful: true, timeout: JOBS_PATIENCE_MS });
      // An audit reads every entry and may take longer than a platform waits; it writes nothing, and will run again.
      await pool.query('select pg_cancel_backend(pid) from pg_stat_activity where application_name = $1', [auditName]);
      await Promise.all([announced, stopped, retried]);
      await nudger.close();
      await outgoing.close();
      await server?.close(METRICS_PATIENCE_MS);
      await Promise.all([pool.end(), auditPool.end(), options.tracing === undefined ? tracing?.close() : null]);
    },
  };
}

/** Platforms wait for 30 s. */
const JOBS_PATIENCE_MS = 25_000;
const METRICS_PATIENCE_MS = 1_000;

async function serveMetrics(config: Config, metrics: Metrics, pool: Pool): Promise<HttpServer | null> {
  if (config.WORKER_METRICS_PORT === undefined) return null;
  const app = createMetricsApp({ metrics, config, pool });
  return listen(app, { port: config.WORKER_METRICS_PORT, host: config.HOST });
}

/**
 * Schedules what runs by the clock, and runs each of it once now. All of it looks at state, so a tick missed while no
 * worker was up is made up by the next; the run at the start makes that soon.
 */
async function schedule(config: Config, boss: ReturnType<typeof createBoss>): Promise<void> {
  const schedules = {
    'check-low-balances': config.LOW_BALANCE_CRON,
    'audit-books': config.AUDIT_CRON,
    'requeue-stranded-events': '*/2 * * * *',
    'recover-endpoints': '* * * * *',
    'watch-endpoints': '*/5 * * * *',
  };
  for (const [name, cron] of Object.entries(schedules)) {
    await boss.schedule(name, cron, {});
    if (name !== 'audit-books') await boss.send(name, {});
  }
  // Under a key of its own: a job that asks for less must not stand in its way.
  await boss.schedule('reconcile-payments', config.RECONCILE_CRON, { isScheduled: true }, { singletonKey: 'schedule' });
  await boss.send('reconcile-payments', {});
}

const HELP = `Usage: npm run worker

Runs the jobs: applies provider events, announces balance changes, delivers webhooks, checks for low balances, audits
the books. Needs DATABASE_URL, migrated by npm run migrate. Any number of workers may run at once; Ctrl-C or SIGTERM
lets the jobs under way finish first.
.env.example lists every variable; they come from the environment or from .env in this folder.`;

async function main(): Promise<void> {
  const config = loadConfig();
  if (config.DATABASE_URL === undefined)
    throw new Error('DATABASE_URL: wants the database to work on (npm start brings its own)');
  const logger = createLogger(config.LOG_LEVEL, 'worker');
  endOnCrash(logger);
  warnOfUnknownVariables(logger);
  const starting = startWorker({ config, databaseUrl: config.DATABASE_URL.reveal(), logger, clock: systemClock });
  // Asked to stop while it starts, it starts and then stops.
  onShutdown(async () => (await starting).close(), logger);
  await starting;
}

if (import.meta.main) runCommand({ help: HELP, run: main });
