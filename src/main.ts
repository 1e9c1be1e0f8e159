import { createServer } from 'node:net';
import { join } from 'node:path';
import { startWorker } from '../jobs/worker.ts';
import { runCommand } from './commands/command.ts';
import { migrate } from './commands/migrate.ts';
import { endOnCrash, onShutdown } from './commands/shutdown.ts';
import { ensureEncryptionKey, writeDatabaseUrl } from './config/data-dir.ts';
import { lockData } from './config/data-lock.ts';
import { databasePlace } from './config/database-place.ts';
import { type Config, loadConfig, warnOfUnknownVariables } from './config/env.ts';
import { DatabaseClock } from './db/database-clock.ts';
import { startEmbeddedPostgres } from './db/embedded.ts';
import { createServiceUsers } from './db/service-users.ts';
import { startTelemetry } from './runtime.ts';
import { createLogger, type Logger } from './telemetry/log.ts';
import { startWeb, type Web } from './web.ts';

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
  // A process that is asked to stop during its start first finishes it, since a half-started database server cannot be stopped.
  const stop = async (isDraining: boolean) => {
    const web = await starting.catch(() => null);
    if (isDraining) await web?.drain();
    await opened.close();
  };
  onShutdown(stop, logger, config.DRAIN_SECONDS);
  try {
    await starting;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** What was opened and must be closed, in the order of its opening. */
class Opened {
  readonly #stages: (() => Promise<unknown>)[][] = [];

  /** Things of the same stage are closed at the same time. */
  add(stage: 'next' | 'same', close: () => Promise<unknown>): void {
    if (stage === 'same') this.#stages.at(-1)?.push(close);
    else this.#stages.push([close]);
  }

  async close(): Promise<void> {
    for (const stage of this.#stages.splice(0).reverse()) await Promise.all(stage.map((close) => close()));
  }
}

async function start(given: Config, logger: Logger, opened: Opened): Promise<Web> {
  const { config, databaseUrl, isEmbedded, announce } = await openDatabase(given, opened);
  // No other process works on the embedded database.
  await migrate(
    config.DATABASE_DIRECT_URL?.reveal() ?? databaseUrl,
    logger,
    isEmbedded ? { closeRelease: 'once' } : {},
  );
  // In the embedded database each part has a user of its own; in any other, both use the one who migrates (docs/operating.md).
  const urls = isEmbedded
    ? await createServiceUsers(databaseUrl)
    : { chokin_web: databaseUrl, chokin_worker: databaseUrl };
  const telemetry = await startTelemetry(config, logger);
  opened.add('next', () => telemetry.tracing.close());
  const shared = { logger, clock: new DatabaseClock(), telemetry };
  const web = await startWeb({ config, databaseUrl: urls.chokin_web, ...shared });
  // Web and worker are closed together, since platforms give a process 30 seconds in all.
  opened.add('next', () => web.close());
  announce(web.url);
  const worker = await startWorker({ config, databaseUrl: urls.chokin_worker, ...shared });
  opened.add('same', () => worker.close());
  return web;
}

interface OpenDatabase {
  /** The configuration, with the encryption key of the embedded database if that is used. */
  readonly config: Config;
  readonly databaseUrl: string;
  readonly isEmbedded: boolean;
  /** Notes where this process listens, which a second start in the same folder prints. */
  announce(url: string): void;
}

/** The database that DATABASE_URL names, or the embedded one, started. */
async function openDatabase(config: Config, opened: Opened): Promise<OpenDatabase> {
  const given = config.DATABASE_URL?.reveal();
  if (given !== undefined) return { config, databaseUrl: given, isEmbedded: false, announce: () => {} };
  const { folder, reason } = await databasePlace(config.DATA_DIR);
  const lock = await lockData(folder);
  opened.add('next', () => lock.release());
  // Before a database is made and started for nothing.
  await requirePort(config);
  console.log(`Starting the embedded Postgres in ${folder}${reason === null ? '' : ` (${reason})`} …`);
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') });
  opened.add('next', () => postgres.stop());
  // The URL holds the superuser's password, which must not get into a log, so it goes to a file.
  const urlFile = await writeDatabaseUrl(config.DATA_DIR, postgres.databaseUrl);
  console.log(`Its URL is in ${urlFile}, where npx chokin and npm run audit look for it.`);
  return {
    config: await withLocalKey(config),
    databaseUrl: postgres.databaseUrl,
    isEmbedded: true,
    announce: (url) => lock.announce(url),
  };
}

/** @throws {Error} as listening will, if another process has the port */
async function requirePort({ HOST: host, PORT: port }: Config): Promise<void> {
  if (port === 0) return;
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, host, resolve));
  await new Promise((resolve) => server.close(resolve));
}

/** Adds the embedded database's own encryption key, so that secrets sealed with it open also after another key was configured. */
async function withLocalKey(config: Config): Promise<Config> {
  return { ...config, ENCRYPTION_KEY: [...config.ENCRYPTION_KEY, await ensureEncryptionKey(config.DATA_DIR)] };
}

runCommand({ help: HELP, run: main });
