import { join } from 'node:path';
import { startWorker } from '../jobs/worker.ts';
import { systemClock } from './clock.ts';
import { runCommand } from './commands/command.ts';
import { migrate } from './commands/migrate.ts';
import { endOnCrash, onShutdown } from './commands/shutdown.ts';
import { ensureEncryptionKey, writeDatabaseUrl } from './config/data-dir.ts';
import { lockData } from './config/data-lock.ts';
import { databasePlace } from './config/database-place.ts';
import { type Config, loadConfig, warnOfUnknownVariables } from './config/env.ts';
import { startEmbeddedPostgres } from './db/embedded.ts';
import { createServiceUsers } from './db/service-users.ts';
import { PROVIDER_NAMES } from './providers/shared/names.ts';
import { createLogger, type Logger } from './telemetry/log.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { startTracing } from './telemetry/tracing.ts';
import { startWeb } from './web.ts';

const HELP = `Usage: npm start

Runs the whole service in one process: the database (an embedded Postgres in DATA_DIR, unless DATABASE_URL names
yours), its migration, the HTTP API with the webhook receiver, and the worker. Prints its URL, and the API key
when it made one. Ctrl-C or SIGTERM stops it cleanly.
.env.example lists every variable; they come from the environment or from .env in this folder.`;

/** The composition root of the whole service, for development and small deployments. */
async function main(): Promise<void> {
  const config = loadConfig();
  const logger = createLogger(config.LOG_LEVEL, 'chokin');
  endOnCrash(logger);
  warnOfUnknownVariables(logger);
  const opened = new Opened();
  const starting = start(config, logger, opened);
  // Asked to stop while it starts, it starts and then stops: half of a database server cannot be stopped.
  onShutdown(async () => {
    await starting.catch(() => {});
    await opened.close();
  }, logger);
  try {
    await starting;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** What is to be closed, in the order of its opening. */
class Opened {
  readonly #stages: (() => Promise<unknown>)[][] = [];

  /** Of one stage are those that may be closed at the same time. */
  add(stage: 'next' | 'same', close: () => Promise<unknown>): void {
    if (stage === 'same') this.#stages.at(-1)?.push(close);
    else this.#stages.push([close]);
  }

  async close(): Promise<void> {
    for (const stage of this.#stages.splice(0).reverse()) await Promise.all(stage.map((close) => close()));
  }
}

async function start(given: Config, logger: Logger, opened: Opened): Promise<void> {
  const { config, databaseUrl, isOurs, announce } = await openDatabase(given, opened);
  await migrate(databaseUrl, logger);
  // The embedded database is ours to make users in; in another, both work as the user who migrates (docs/operating.md).
  const urls = isOurs ? await createServiceUsers(databaseUrl) : { chokin_web: databaseUrl, chokin_worker: databaseUrl };
  const tracing = await startTracing(config, logger);
  opened.add('next', async () => tracing?.close());
  const shared = { logger, clock: systemClock, metrics: createMetrics(PROVIDER_NAMES), tracing };
  const web = await startWeb({ config, databaseUrl: urls.chokin_web, ...shared });
  // Web and worker are closed together, since platforms give a process 30 seconds in all.
  opened.add('next', () => web.close());
  announce(web.url);
  const worker = await startWorker({ config, databaseUrl: urls.chokin_worker, ...shared });
  opened.add('same', () => worker.close());
}

interface OpenDatabase {
  /** With the key of the embedded database, where that is used. */
  readonly config: Config;
  readonly databaseUrl: string;
  /** It is the embedded one. */
  readonly isOurs: boolean;
  /** Tells whoever tries to start a second one in the same folder where this one listens. */
  announce(url: string): void;
}

/** The database that DATABASE_URL names, or the embedded one, started. */
async function openDatabase(config: Config, opened: Opened): Promise<OpenDatabase> {
  const given = config.DATABASE_URL?.reveal();
  if (given !== undefined) return { config, databaseUrl: given, isOurs: false, announce: () => {} };
  const { folder, reason } = await databasePlace(config.DATA_DIR);
  const lock = await lockData(folder);
  opened.add('next', () => lock.release());
  console.log(`Starting the embedded Postgres in ${folder}${reason === null ? '' : ` (${reason})`} …`);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') });
  opened.add('next', () => postgres.stop());
  // It holds the superuser's password, which must not end up in a log.
  const urlFile = await writeDatabaseUrl(config.DATA_DIR, postgres.databaseUrl);
  console.log(`Its URL is in ${urlFile}, where npx chokin and npm run audit look for it.`);
  return {
    config: await withLocalKey(config),
    databaseUrl: postgres.databaseUrl,
    isOurs: true,
    announce: (url) => lock.announce(url),
  };
}

/** The embedded database has an encryption key of its own, which opens what it sealed also after another was configured. */
async function withLocalKey(config: Config): Promise<Config> {
  return { ...config, ENCRYPTION_KEY: [...config.ENCRYPTION_KEY, await ensureEncryptionKey(config.DATA_DIR)] };
}

runCommand({ help: HELP, run: main });
