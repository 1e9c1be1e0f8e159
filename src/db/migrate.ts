import { join } from 'node:path';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { runCommand } from '../command.ts';
import { loadConfig } from '../config.ts';
import { createLogger, type Logger } from '../log.ts';
import { installQueues } from '../queues.ts';

const MIGRATIONS_DIR = join(import.meta.dirname, '../../migrations');

/** Any number, the same in every release: it makes migrators of one database take turns. */
const MIGRATE_LOCK = 6_301_873_202;

/**
 * Brings the database to this release's schema: our tables by the numbered SQL files, then the queues. Safe to run
 * again, and from several processes at once: they take turns, and the later ones find nothing to do.
 * @returns the names of the migrations that were new
 */
export async function migrate(databaseUrl: string, logger: Logger): Promise<string[]> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'chokin-migrate',
    connectionTimeoutMillis: 10_000,
  });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATE_LOCK]);
    const applied = await runner({
      dbClient: client,
      dir: MIGRATIONS_DIR,
      direction: 'up',
      migrationsTable: 'schema_migration',
      checkOrder: true,
      noLock: true,
      log: (message) => logger.debug(message),
    });
    await installQueues(databaseUrl, logger);
    return applied.map((migration) => migration.name);
  } finally {
    await client.end();
  }
}

const HELP = `Usage: npm run migrate

Brings the database that DATABASE_URL names to this release's schema and queues. Run it once at each
release, before the new web and worker processes start (the Procfile does). Running it again is harmless.`;

async function main(): Promise<void> {
  const config = loadConfig();
  if (config.DATABASE_URL === undefined)
    throw new Error('DATABASE_URL: wants the database to migrate (npm start migrates its embedded one by itself)');
  const applied = await migrate(config.DATABASE_URL.reveal(), createLogger(config.LOG_LEVEL, 'migrate'));
  console.log(applied.length === 0 ? 'The database is up to date.' : `Applied ${applied.join(', ')}.`);
}

if (import.meta.main) runCommand({ help: HELP, run: main });
