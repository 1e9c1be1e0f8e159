import { setTimeout as delay } from 'node:timers/promises';
import type { PgBoss } from 'pg-boss';
import type { Clock } from '../src/clock.ts';
import { runService } from '../src/commands/service.ts';
import type { Config } from '../src/config/env.ts';
import { cancelStatements } from '../src/db/cancel.ts';
import { QUEUE_NAMES } from '../src/db/queues.ts';
import type { Readiness } from '../src/db/readiness.ts';
import { autocommit } from '../src/db/transaction.ts';
import { watchHealth } from '../src/http/health-metrics.ts';
import { type HttpServer, listen } from '../src/http/kit/server.ts';
import { createMetricsApp } from '../src/http/metrics.ts';
import { requireMode } from '../src/merchants/default-merchant.ts';
import { warnOfSecrets } from '../src/merchants/secret-warning.ts';
import { forgetKeylessAccounts } from '../src/merchants/source-accounts.ts';
import type { Announcer } from '../src/outgoing/announcer.ts';
import { createOutgoing } from '../src/outgoing/index.ts';
import { retryRefusedAtStart } from '../src/outgoing/retry-refused.ts';
import { Sending } from '../src/outgoing/sending.ts';
import { connectWith } from '../src/reconciliation/connect.ts';
import { retentionRule } from '../src/retention/rule.ts';
import { Runtime, startTelemetry, type Telemetry } from '../src/runtime.ts';
import type { Logger } from '../src/telemetry/log.ts';
import type { Metrics } from '../src/telemetry/metrics.ts';
import { workAdoptSource } from './adopt-source.ts';
import { workAnnounceBalanceChanges } from './announce-balance-changes.ts';
import { workApplyProviderEvent } from './apply-provider-event.ts';
import { workApplyProviderEvents } from './apply-provider-events.ts';
import { workAuditBooks } from './audit-books.ts';
import { workChargeTopUps } from './charge-top-ups.ts';
import { workCheckLowBalances } from './check-low-balances.ts';
import { workDeleteOldTokens } from './delete-old-tokens.ts';
import { workDeliverWebhook } from './deliver-webhook.ts';
import { workExpireCheckouts } from './expire-checkouts.ts';
import { workPostScheduled } from './post-scheduled.ts';
import { workReconcilePayments } from './reconcile-payments.ts';
import { workRecoverEndpoints } from './recover-endpoints.ts';
import { workRefreshStatistics } from './refresh-statistics.ts';
import { workRequeueStrandedEvents } from './requeue-stranded-events.ts';
import { workRetain } from './retain.ts';
import { workSettleDueWallets } from './settle-due-wallets.ts';
import { workWatchEndpoints } from './watch-endpoints.ts';

export interface WorkerOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Shared figures and traces, which the caller closes; without them the process makes its own. */
  readonly telemetry?: Telemetry;
}

export interface Worker {
  /** Where its metrics are served; null unless WORKER_METRICS_PORT is set. */
  readonly metricsUrl: string | null;
  /** Takes no new jobs, lets those under way finish (25 s at most), and closes every connection. */
  close(): Promise<void>;
}

/** Starts every job of the service. The database must be migrated. */
export async function startWorker({ config, databaseUrl, logger, clock, ...options }: WorkerOptions): Promise<Worker> {
  const telemetry = options.telemetry ?? (await startTelemetry(config, logger));
  const process = { name: 'chokin-worker', maxConnections: config.DATABASE_POOL_SIZE, observe: telemetry };
  const jobs = { works: true, maxConnections: 8 };
  const runtime = new Runtime({ config, databaseUrl, logger, clock, ...process, jobs });
  try {
    if (options.telemetry === undefined) {
      runtime.onClose(() => telemetry.tracing.close());
      watchHealth(telemetry.metrics, runtime);
    }
    return await startJobs(runtime, telemetry);
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

async function startJobs(runtime: Runtime, observe: Telemetry): Promise<Worker> {
  const { config, logger, clock, pool, box, settings, sources } = runtime;
  await runtime.requireUsableDatabase();
  await requireMode(autocommit(pool), config);
  const auditName = `chokin-audit-${process.pid}`;
  const auditPool = runtime.scanPool(auditName);
  const boss = await runtime.boss();
  const [waker, topUpWaker] = [await runtime.waker(), await runtime.waker('charge-top-ups')];
  const outgoing = createOutgoing({ config, pool, boss, clock, logger, box, observe });
  runtime.onClose(() => outgoing.close());
  outgoing.watch.start();
  const onPosted = () => waker.wake();
  const wakes = { onPosted, onTopUpDue: () => topUpWaker.wake() };
  await forgetKeylessAccounts(pool, sources);
  const shutdown = new AbortController();
  const { signal } = shutdown;
  const shared = { pool, boss, clock, logger };
  const { UNKNOWN_PAYMENT_WAIT_SECONDS: waitSeconds, NAMING_WAIT_SECONDS: namingWaitSeconds } = config;
  const rules = { waitSeconds, namingWaitSeconds, maxBonusRatio: config.MAX_BONUS_RATIO };
  const applying = { ...shared, sources, settings, ...rules, ...wakes, observe };
  await Promise.all([workApplyProviderEvents(boss, applying), workApplyProviderEvent(boss, applying)]);
  const { publisher } = outgoing;
  let announcer: Announcer | null = null;
  const sending = new Sending({ config, pool, logger });
  sending.watch(observe.metrics);
  const reconciling = { ...shared, sources, connect: connectWith(config), onPosted };
  await sending.begin(async () => {
    // Before all else: a copy of the database that charged people would charge them beside the original.
    await workChargeTopUps(boss, { config, ...reconciling, signal });
    announcer = await workAnnounceBalanceChanges(boss, { pool, publisher, logger, observe });
    await workDeliverWebhook(boss, outgoing);
    await workRecoverEndpoints(boss, outgoing, signal);
  });
  await workWatchEndpoints(boss, outgoing, signal);
  await workCheckLowBalances(boss, { pool, settings, clock, onPosted, logger });
  const dueServices = { pool, settings, clock, onPosted, signal, logger };
  await workSettleDueWallets(boss, dueServices);
  await workPostScheduled(boss, { ...dueServices, topUps: await runtime.waker('charge-top-ups') });
  await workExpireCheckouts(boss, dueServices);
  await workRequeueStrandedEvents(boss, { ...shared, waitSeconds });
  await workDeleteOldTokens(boss, shared);
  await workRetain(boss, { pool, clock, logger, rule: retentionRule(config), signal, observe });
  await workRefreshStatistics(boss, { pool: runtime.scanPool('chokin-worker-statistics'), logger, signal });
  await workAuditBooks(boss, { pool: auditPool, clock, logger, rule: settings.rule });
  const adoptionPool = runtime.scanPool('chokin-worker-adoption');
  await workAdoptSource(boss, { pool: adoptionPool, clock, logger, sources, settings });
  await workReconcilePayments(boss, { ...reconciling, lookbackHours: config.RECONCILE_LOOKBACK_HOURS, signal });
  await schedule(config, boss);
  const warned = warnOfSecrets({ db: autocommit(pool), box, sources }, { logger, signal });
  const retried = retryRefusedAtStart({ pool, logger, onDue: onPosted, signal });
  const server = await serveMetrics(config, observe.metrics, runtime.readiness);
  logger.info({ metricsPort: server?.port ?? null }, 'the worker is ready');

  return {
    metricsUrl: server?.url ?? null,
    close: async () => {
      shutdown.abort();
      // First no queue takes further jobs; only then does pg-boss close, which happens one thing after another.
      await Promise.all(QUEUE_NAMES.map((name) => boss.offWork(name, { wait: false })));
      await sending.close();
      const announced = patiently([announcer?.close(), outgoing.deliverer.close()]);
      const stopped = boss.stop({ graceful: true, timeout: JOBS_PATIENCE_MS });
      // An audit may take longer than a platform waits. It changes nothing but its own marks, and goes on from them when it runs again, so it is cancelled.
      await cancelStatements(autocommit(pool), auditName);
      await Promise.all([announced, stopped, retried, warned]);
      await server?.close(METRICS_PATIENCE_MS);
      await runtime.close();
    },
  };
}

/** How long jobs may take to finish at a stop. Platforms send SIGKILL after 30 s. */
const JOBS_PATIENCE_MS = 25_000;
const METRICS_PATIENCE_MS = 1_000;

/** Waits for all of it, but not longer than jobs may take. */
function patiently(work: readonly (Promise<void> | undefined)[]): Promise<unknown> {
  return Promise.race([Promise.all(work), delay(JOBS_PATIENCE_MS, null, { ref: false })]);
}

async function serveMetrics(config: Config, metrics: Metrics, readiness: Readiness): Promise<HttpServer | null> {
  if (config.WORKER_METRICS_PORT === undefined) return null;
  const app = createMetricsApp({ metrics, config, readiness });
  return listen(app, { port: config.WORKER_METRICS_PORT, host: config.HOST });
}

/**
 * Makes the schedules, and runs each scheduled job except the audit once now. These jobs look at the state of the database, so a
 * run that was missed while no worker was up is made up for by the next one; the run at the start makes that soon.
 */
async function schedule(config: Config, boss: PgBoss): Promise<void> {
  const schedules = {
    'check-low-balances': config.LOW_BALANCE_CRON,
    'audit-books': config.AUDIT_CRON,
    'settle-due-wallets': '* * * * *',
    'post-scheduled': '* * * * *',
    'expire-checkouts': '* * * * *',
    'charge-top-ups': '* * * * *',
    'requeue-stranded-events': '*/2 * * * *',
    'recover-endpoints': '* * * * *',
    'watch-endpoints': '*/5 * * * *',
    'delete-old-tokens': '20 * * * *',
    retain: config.RETENTION_CRON,
    'refresh-statistics': '*/5 * * * *',
  };
  for (const [name, cron] of Object.entries(schedules)) {
    await boss.schedule(name, cron, {});
    if (name !== 'audit-books') await boss.send(name, {});
  }
  // It has a key of its own, so that a queued job that begins no new run cannot keep it out.
  await boss.schedule('reconcile-payments', config.RECONCILE_CRON, { isScheduled: true }, { singletonKey: 'schedule' });
  await boss.send('reconcile-payments', {});
}

const HELP = `Usage: npm run worker

Runs the jobs: applies provider events, announces balance changes, delivers webhooks, checks for low balances, audits
the books. Needs DATABASE_URL, migrated by npm run migrate. Any number of workers may run at once; Ctrl-C or SIGTERM
lets the jobs under way finish first.
.env.example lists every variable; they come from the environment or from .env in this folder.`;

if (import.meta.main) runService({ help: HELP, name: 'worker', start: startWorker });
