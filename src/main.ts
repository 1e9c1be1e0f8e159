import { join } from 'node:path';
import { startWorker } from '../jobs/worker.ts';
import { systemClock } from './clock.ts';
import { runCommand } from './command.ts';
import { type Config, loadConfig, warnOfUnknownVariables } from './config.ts';
import { ensureEncryptionKey, writeDatabaseUrl } from './data-dir.ts';
import { startEmbeddedPostgres } from './db/embedded.ts';
import { migrate } from './db/migrate.ts';
import { createServiceUsers } from './db/service-users.ts';
import { createLogger } from './log.ts';
import { createMetrics } from './metrics.ts';
import { endOnCrash, onShutdown } from './shutdown.ts';
import { startTracing, type Tracing } from './tracing.ts';
import { startWeb } from './web.ts';

const HELP = `Usage: npm start

Runs the whole service in one process: the database (an embedded Postgres in DATA_DIR, unless DATABASE_URL names
yours), its migration, the HTTP API with the webhook receiver, and the worker. Prints its URL, and the API key
when it made one. Ctrl-C or SIGTERM stops it cleanly. .env.example lists every variable.`;

/** The composition root of the whole service, for development and small deployments. */
async function main(): Promise<void> {
  let config = loadConfig();
  const logger = createLogger(config.LOG_LEVEL, 'chokin');
  endOnCrash(logger);
  warnOfUnknownVariables(logger);
  // The database is closed last; web and worker together, since platforms give a process 30 seconds in all.
  let stopDatabase = async () => {};
  const open: (() => Promise<void>)[] = [];
  let tracing: Tracing | null = null;
  const close = async () => {
    await Promise.all(open.splice(0).map((closeOne) => closeOne()));
    await Promise.all([stopDatabase(), tracing?.close()]);
  };
  onShutdown(close, logger);
  try {
    let databaseUrl = config.DATABASE_URL?.reveal();
    if (databaseUrl === undefined) {
      console.log(`Starting the embedded Postgres in ${config.DATA_DIR} …`);
      const postgres = await startEmbeddedPostgres({ dataDir: join(config.DATA_DIR, 'postgres') });
      stopDatabase = () => postgres.stop();
      databaseUrl = postgres.databaseUrl;
      // It holds the superuser's password, which must not end up in a log.
      const urlFile = await writeDatabaseUrl(config.DATA_DIR, databaseUrl);
      console.log(`Its URL is in ${urlFile}, where npx chokin and npm run audit look for it.`);
      config = await withLocalKey(config);
    }
    await migrate(databaseUrl, logger);
    // The embedded database is ours to make users in; in another, both work as the user who migrates (see the README).
    const urls =
      config.DATABASE_URL === undefined
        ? await createServiceUsers(databaseUrl)
        : { chokin_web: databaseUrl, chokin_worker: databaseUrl };
    tracing = await startTracing(config, logger);
    const shared = { logger, clock: systemClock, metrics: createMetrics(), tracing };
    const web = await startWeb({ config, databaseUrl: urls.chokin_web, ...shared });
    open.push(() => web.close());
    const worker = await startWorker({ config, databaseUrl: urls.chokin_worker, ...shared });
    open.push(() => worker.close());
  } catch (error) {
    await close();
    throw error;
  }
}

/** The embedded database has an encryption key of its own, which opens what it sealed also after another was configured. */
async function withLocalKey(config: Config): Promise<Config> {
  return { ...config, ENCRYPTION_KEY: [...config.ENCRYPTION_KEY, await ensureEncryptionKey(config.DATA_DIR)] };
}

runCommand({ help: HELP, run: main });
