import type { RequestListener } from 'node:http';
import { type Clock, systemClock } from './clock.ts';
import { runCommand } from './commands/command.ts';
import { endOnCrash, onShutdown } from './commands/shutdown.ts';
import { type Config, loadConfig, warnOfUnknownVariables } from './config/env.ts';
import { ENV_FILE, fromFile } from './config/environment.ts';
import { ledgerSettings } from './config/ledger-settings.ts';
import { SecretBox } from './crypto/secret-box.ts';
import { createPool } from './db/pool.ts';
import { createBoss } from './db/queues.ts';
import { createApp } from './http/app.ts';
import { watchOperations } from './http/backlog-metrics.ts';
import { listen } from './http/kit/server.ts';
import { Receiver } from './inbox/receive.ts';
import { LedgerLanes } from './ledger/batches.ts';
import { ensureDefaultMerchant } from './merchants/default-merchant.ts';
import { warnOfPayerMetadata } from './merchants/payer-metadata.ts';
import { SourceDirectory } from './merchants/sources.ts';
import { createOutgoing } from './outgoing/index.ts';
import { createNudger } from './outgoing/wake-announcer.ts';
import { PROVIDERS } from './providers/index.ts';
import { PROVIDER_NAMES, type ProviderName } from './providers/shared/names.ts';
import type { AnyProvider } from './providers/shared/provider.ts';
import { connectWith } from './reconciliation/connect.ts';
import { createLogger, type Logger } from './telemetry/log.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';
import { startTracing, type Tracing } from './telemetry/tracing.ts';

export interface WebOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Where the URL and a new API key are shown; the console unless given, and never the log. */
  readonly print?: (line: string) => void;
  /** Compare every answer with its documented schema; for tests. */
  readonly checkResponses?: boolean;
  /** Where its figures go, if not into a registry of its own. */
  readonly metrics?: Metrics;
  /** Where its traces go, if not where the configuration says; null for nowhere. */
  readonly tracing?: Tracing | null;
  /** The adapters that verify deliveries, if others than those of every provider: PayPal's with certificates of a test. */
  readonly providers?: Readonly<Record<ProviderName, AnyProvider>>;
}

export interface Web {
  readonly url: string;
  readonly port: number;
  /** The default merchant's key if it was made just now; it is shown once and kept nowhere. */
  readonly newApiKey: string | null;
  /** Takes no new requests, finishes those under way, and closes every connection. */
  close(): Promise<void>;
}

/** Platforms allow 30 seconds in all; what comes after the requests needs little. */
const REQUESTS_PATIENCE_MS = 20_000;

/** Starts the HTTP side: the API and the webhook receiver. The database must be migrated. */
export async function startWeb({ config, databaseUrl, logger, clock, ...options }: WebOptions): Promise<Web> {
  const {
    print = console.log,
    checkResponses = false,
    providers = PROVIDERS,
    metrics = createMetrics(PROVIDER_NAMES),
  } = options;
  const maxConnections = config.DATABASE_POOL_SIZE;
  const entrance = createEntrance();
  // First of all: where another process has the port, nothing may have been made that is shown once, such as a key.
  const server = await listen(entrance.handle, { port: config.PORT, host: config.HOST });
  const pool = createPool({ databaseUrl, applicationName: 'chokin-web', maxConnections, logger });
  const boss = createBoss({ databaseUrl, applicationName: 'chokin-web-jobs', maxConnections: 2, works: false, logger });
  // What is open is closed in reverse order, also when a later step of the start fails.
  const open: (() => Promise<unknown>)[] = [() => pool.end()];
  const close = async () => {
    await server.close(entrance.isOpen() ? REQUESTS_PATIENCE_MS : 0);
    for (const closeOne of open.splice(0).reverse()) await closeOne();
  };
  try {
    const tracing = options.tracing === undefined ? await startTracing(config, logger) : options.tracing;
    if (options.tracing === undefined) open.push(async () => tracing?.close());
    await boss.start();
    open.push(() => boss.stop({ graceful: false }));
    const nudger = createNudger(boss, logger);
    open.push(() => nudger.close());
    const box = new SecretBox(config.ENCRYPTION_KEY);
    const outgoing = createOutgoing({ config, pool, boss, clock, logger, box });
    open.push(() => outgoing.close());
    outgoing.watch.start();

    const settings = ledgerSettings(config);
    const onPosted = () => nudger.nudge();
    const ledger = new LedgerLanes({ pool, settings, clock, onPosted, metrics, tracing });
    const receiver = new Receiver({ pool, boss, clock, logger, providers, metrics, tracing });
    open.push(() => Promise.all([ledger.drain(), receiver.drain()]));
    metrics.watch('chokin_ledger_lane_depth', 'How many postings wait for a transaction.', () => ledger.depth);

    watchOperations(metrics, pool);

    const sources = new SourceDirectory(config, box);
    await warnOfPayerMetadata(pool, { sources, merchantId: config.MERCHANT_ID, logger });
    const { webhooks, watch } = outgoing;
    const senderStatus = () => watch.status;
    const shared = { config, pool, clock, logger, boss, metrics, onPosted, box, connect: connectWith(config) };
    const app = createApp(
      { ...shared, ledger, settings, sources, receiver, webhooks, senderStatus },
      { checkResponses },
    );
    // Last of all: nothing that can fail stands between the making of a key and its showing.
    const { newApiKey, isApiKeyEnded } = await ensureDefaultMerchant(pool, config, clock);
    if (isApiKeyEnded) {
      const where = fromFile(['API_KEY']).length > 0 ? ENV_FILE : 'the environment';
      logger.warn(`API_KEY was rotated or revoked by an operator: change it in ${where}`);
    }
    entrance.open(app);
    logger.info({ port: server.port }, 'the web process is ready');
    print(`Listening ${server.url}  (API page: ${server.url}/docs)`);
    if (newApiKey !== null) print(`API key   ${newApiKey}\n          Keep it: it is shown this once.`);
    else if (config.API_KEY === undefined) print(KEY_IS_KNOWN);
    return { url: server.url, port: server.port, newApiKey, close };
  } catch (error) {
    await close();
    throw error;
  }
}

const KEY_IS_KNOWN = `API key   one that was shown when it was made. To make another: npx chokin keys create --name mine --scopes read,write`;

interface Entrance {
  readonly handle: RequestListener;
  open(app: RequestListener): void;
  isOpen(): boolean;
}

/** Lets requests wait that come before the application is there. */
function createEntrance(): Entrance {
  const { promise, resolve } = Promise.withResolvers<RequestListener>();
  let current: RequestListener | null = null;
  return {
    handle: (request, response) => {
      if (current !== null) current(request, response);
      else promise.then((app) => app(request, response));
    },
    open: (app) => {
      current = app;
      resolve(app);
    },
    isOpen: () => current !== null,
  };
}

const HELP = `Usage: npm run web

Serves the HTTP API and the webhook receiver. Needs DATABASE_URL, migrated by npm run migrate, and a worker (npm run
worker) beside it to apply what it receives. Prints its URL, and the API key when it made one. Ctrl-C or SIGTERM lets
the requests under way finish first.
.env.example lists every variable; they come from the environment or from .env in this folder.`;

async function main(): Promise<void> {
  const config = loadConfig();
  if (config.DATABASE_URL === undefined)
    throw new Error('DATABASE_URL: wants the database to work on (npm start brings its own)');
  const logger = createLogger(config.LOG_LEVEL, 'web');
  endOnCrash(logger);
  warnOfUnknownVariables(logger);
  const starting = startWeb({ config, databaseUrl: config.DATABASE_URL.reveal(), logger, clock: systemClock });
  // Asked to stop while it starts, it starts and then stops.
  onShutdown(async () => (await starting).close(), logger);
  await starting;
}

if (import.meta.main) runCommand({ help: HELP, run: main });
