import type { RequestListener } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type ConnectCharger, connectChargers } from './charging/connect.ts';
import { GatewayMinimums } from './charging/minimums.ts';
import { Purchases } from './checkouts/checkouts.ts';
import type { Clock } from './clock.ts';
import { runService } from './commands/service.ts';
import type { Config } from './config/env.ts';
import { ENV_FILE, fromFile } from './config/env-file.ts';
import type { Pool } from './db/pool.ts';
import type { Readiness } from './db/readiness.ts';
import { createApp } from './http/app.ts';
import { watchOperations } from './http/backlog-metrics.ts';
import { watchHealth } from './http/health-metrics.ts';
import { createNoteLimited, type NoteLimited } from './http/kit/limited.ts';
import { type HttpServer, listen } from './http/kit/server.ts';
import { createMetricsApp, type MetricsServices } from './http/metrics.ts';
import { Receiver } from './inbox/receive.ts';
import type { LedgerBatches } from './ledger/batches.ts';
import { type DefaultMerchant, ensureDefaultMerchant } from './merchants/default-merchant.ts';
import { EnabledProviders } from './merchants/enabled-providers.ts';
import { WarningKeeper } from './merchants/key-guard/keep-warnings.ts';
import { KeyGuard } from './merchants/key-guard/key-guard.ts';
import { warnOfPayerMetadata } from './merchants/payer-metadata.ts';
import { noteConfiguredAccounts } from './merchants/source-accounts.ts';
import { createOutgoing } from './outgoing/index.ts';
import { PROVIDERS } from './providers/index.ts';
import type { ProviderName } from './providers/shared/names.ts';
import type { AnyProvider } from './providers/shared/provider.ts';
import { connectWith } from './reconciliation/connect.ts';
import { Runtime, startTelemetry, type Telemetry } from './runtime.ts';
import type { Logger } from './telemetry/log.ts';

export interface WebOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Shows the URL and a new API key: on the console unless given, never in the log. */
  readonly print?: (line: string) => void;
  /** For tests: compares every answer with its documented schema. */
  readonly checkResponses?: boolean;
  /** Shared figures and traces, which the caller closes; without them the process makes its own. */
  readonly telemetry?: Telemetry;
  /** For tests: the adapters that verify deliveries, such as PayPal's with certificates of the test. */
  readonly providers?: Readonly<Record<ProviderName, AnyProvider>>;
}

export interface Web {
  readonly url: string;
  readonly port: number;
  /** Where its health is served besides; null unless HEALTH_PORT is set. */
  readonly healthUrl: string | null;
  /** The default merchant's key if it was made just now; it is shown once and kept nowhere. */
  readonly newApiKey: string | null;
  /** From now on it is not ready, and connections end with their next answer; resolves when balancers have had DRAIN_SECONDS to notice. */
  drain(): Promise<void>;
  /** Takes no new requests, finishes those under way, and closes every connection. */
  close(): Promise<void>;
}

/** How long requests may take to finish at a stop. Platforms allow 30 s in all, and the rest of a stop needs little. */
const REQUESTS_PATIENCE_MS = 20_000;
const HEALTH_PATIENCE_MS = 1_000;

/** The guard of idempotency keys, whose warnings are stored as long as the process runs. */
function guardKeys(
  { clock, metrics, ...storing }: Pick<MetricsServices, 'metrics'> & { clock: Clock; pool: Pool; logger: Logger },
  runtime: Runtime,
): KeyGuard {
  const guard = new KeyGuard({ clock, count: (kind) => metrics.countKeyWarning(kind) });
  const keeper = new WarningKeeper({ guard, ...storing });
  keeper.start();
  runtime.onClose(() => keeper.close());
  return guard;
}

/** Starts the HTTP side: the API and the webhook receiver. The database must be migrated. */
export async function startWeb({ config, databaseUrl, logger, clock, ...options }: WebOptions): Promise<Web> {
  const { print = console.log, checkResponses = false, providers = PROVIDERS } = options;
  const entrance = createEntrance();
  // The port comes first: if another process has it, no key may have been made, since a key is shown only once.
  let noteLimited: NoteLimited = () => {};
  const server = await listen(entrance.handle, {
    port: config.PORT,
    host: config.HOST,
    proxies: config.TRUST_PROXY,
    noteLimited: (limited, whom) => noteLimited(limited, whom),
  });
  const telemetry = options.telemetry ?? (await startTelemetry(config, logger));
  const { metrics } = telemetry;
  const process = { name: 'chokin-web', maxConnections: config.DATABASE_POOL_SIZE, observe: telemetry };
  const runtime = new Runtime({ config, databaseUrl, logger, clock, ...process });
  const { pool, turns, readers, operatorReaders, readiness, box, settings, sources } = runtime;
  let health: HttpServer | null = null;
  // Everything is closed in the reverse order of its opening, also if a later step of the start fails.
  const close = async () => {
    await Promise.all([server.close(entrance.isOpen() ? REQUESTS_PATIENCE_MS : 0), health?.close(HEALTH_PATIENCE_MS)]);
    await runtime.close();
  };
  try {
    health = await listenForHealth({ config, metrics, readiness });
    await runtime.requireUsableDatabase();
    if (options.telemetry === undefined) runtime.onClose(() => telemetry.tracing.close());
    const boss = await runtime.boss();
    const waker = await runtime.waker();
    const outgoing = createOutgoing({ config, pool, readers, boss, clock, logger, box });
    runtime.onClose(() => outgoing.close());
    outgoing.watch.start();

    const ledger = await runtime.ledger();
    const receiver = new Receiver({ pool, boss, clock, logger, providers, observe: telemetry });
    runtime.onClose(() => receiver.drain());
    metrics.watch('chokin_ledger_lane_depth', 'How many postings wait for a transaction.', () => ledger.depth);
    watchHealth(metrics, { readiness, pool });
    watchOperations(metrics, operatorReaders);

    const { accounts, MERCHANT_ID: merchantId } = config;
    const connect = connectWith(config);
    await noteConfiguredAccounts(pool, { sources, accounts, merchantId, connect, now: clock.now(), logger });
    await warnOfPayerMetadata(pool, { sources, merchantId, logger });
    const { webhooks, watch } = outgoing;
    const senderStatus = () => watch.status;
    const onPosted = () => waker.wake();
    const apart = { pool, turns, readers, operatorReaders, readiness };
    const connectCharger = connectChargers({ config, pool, logger, connectApi: connect });
    const shared = { ...apart, config, clock, logger, boss, metrics, onPosted, box, connect, connectCharger };
    noteLimited = createNoteLimited(metrics, logger);
    const keyGuard = guardKeys({ pool, clock, logger, metrics }, runtime);
    const purchases = purchasesOf(runtime, ledger, connectCharger);
    const app = createApp(
      { ...shared, noteLimited, keyGuard, ledger, settings, sources, purchases, receiver, webhooks, senderStatus },
      { checkResponses },
    );
    // The key is made last, so that nothing can fail between making and showing it.
    const { newApiKey, ...apiKey } = await ensureDefaultMerchant(pool, config, clock);
    warnOfApiKey(apiKey, logger);
    entrance.open(app);
    logger.info({ port: server.port, healthPort: health?.port ?? null }, 'the web process is ready');
    print(greeting(server.url, config.API_KEY === undefined, newApiKey));
    const drain = () => drained([readiness, entrance], config.DRAIN_SECONDS);
    return { url: server.url, port: server.port, healthUrl: health?.url ?? null, newApiKey, drain, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function purchasesOf(
  { config, pool, settings, sources, clock, logger }: Runtime,
  ledger: LedgerBatches,
  connect: ConnectCharger,
): Purchases {
  const minimums = new GatewayMinimums(config.GATEWAY_MINIMUMS);
  const providers = new EnabledProviders({ pool, sources });
  return new Purchases({ pool, ledger, settings, sources, providers, minimums, connect, clock, logger });
}

function warnOfApiKey(
  { isApiKeyEnded, earlierKey }: Pick<DefaultMerchant, 'isApiKeyEnded' | 'earlierKey'>,
  logger: Logger,
): void {
  if (isApiKeyEnded) {
    const where = fromFile(['API_KEY']).length > 0 ? ENV_FILE : 'the environment';
    logger.warn(`API_KEY was rotated or revoked by an operator: change it in ${where}`);
  }
  if (earlierKey !== null) {
    logger.warn(
      { keyId: earlierKey.keyId, hint: earlierKey.hint },
      `API_KEY is another than before; the earlier one works on until you end it: npx chokin keys revoke ${earlierKey.keyId}`,
    );
  }
}

/** Serves health and metrics on a port of their own, if HEALTH_PORT is set, so that whoever fills the other is not in their way. */
async function listenForHealth(
  services: MetricsServices & { readonly config: Config; readonly readiness: Readiness },
): Promise<HttpServer | null> {
  const { HEALTH_PORT: port, HOST: host } = services.config;
  return port === undefined ? null : listen(createMetricsApp(services), { port, host });
}

async function drained(parts: readonly { drain(): void }[], seconds: number): Promise<void> {
  for (const part of parts) part.drain();
  await delay(seconds * 1_000);
}

/** Where the service is and which key opens it, with empty lines around, so that a key that is shown once stands out from the log. */
function greeting(url: string, isOurKey: boolean, newApiKey: string | null): string {
  const made = newApiKey === null ? null : `API key   ${newApiKey}\n          Keep it: it is shown this once.`;
  const lines = [`Listening ${url}  (API page: ${url}/docs)`, made ?? (isOurKey ? KEY_IS_KNOWN : null)];
  return `\n${lines.filter((line) => line !== null).join('\n')}\n`;
}

const KEY_IS_KNOWN = `API key   one that was shown when it was made. To make another: npx chokin keys create --name mine --scopes read,write`;

interface Entrance {
  readonly handle: RequestListener;
  open(app: RequestListener): void;
  /** From now on each connection ends with its next answer, so that its client opens the next one elsewhere. */
  drain(): void;
  isOpen(): boolean;
}

/** Lets requests wait that come before the application is ready. */
function createEntrance(): Entrance {
  const { promise, resolve } = Promise.withResolvers<RequestListener>();
  let current: RequestListener | null = null;
  let isDraining = false;
  return {
    handle: (request, response) => {
      if (isDraining) response.shouldKeepAlive = false;
      if (current !== null) current(request, response);
      else promise.then((app) => app(request, response));
    },
    open: (app) => {
      current = app;
      resolve(app);
    },
    drain: () => {
      isDraining = true;
    },
    isOpen: () => current !== null,
  };
}

const HELP = `Usage: npm run web

Serves the HTTP API and the webhook receiver. Needs DATABASE_URL, migrated by npm run migrate, and a worker (npm run
worker) beside it to apply what it receives. Prints its URL, and the API key when it made one. Ctrl-C or SIGTERM lets
the requests under way finish first.
.env.example lists every variable; they come from the environment or from .env in this folder.`;

if (import.meta.main) runService({ help: HELP, name: 'web', start: startWeb });
