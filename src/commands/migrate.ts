import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { loadConfig, warnOfUnknownVariables } from '../config/env.ts';
import { installQueues } from '../db/queues.ts';
import { installRoles } from '../db/roles.ts';
import { isHeldUp, isRaceLost } from '../db/sqlstate.ts';
import { createLogger, type Logger } from '../telemetry/log.ts';
import { runCommand } from './command.ts';

const MIGRATIONS_DIR = join(import.meta.dirname, '../../migrations');

/** Any number, the same in every release: it makes migrators of one database take turns. */
const MIGRATE_LOCK = 6_301_873_202;

/**
 * A migration needs a table for itself for a moment, and whoever comes after it queues behind it: if it waited for a long
 * audit to end, the whole service would. So it gives way before a posting's own patience (3 s, pool.ts) is over, and
 * comes back a little later.
 */
const LOCK_TIMEOUT_MS = 2_000;
const RETRY_AFTER_MS = 3_000;
const MAX_ATTEMPTS = 100;

export interface MigrateOptions {
  /** The folder of the SQL files; that of this release unless given. */
  readonly dir?: string;
}

/**
 * Brings the database to this release's schema: our tables by the numbered SQL files, then the queues, then the roles of
 * web and worker. Safe to run again, also after it was killed at any point, and from several processes at once: they take
 * turns, and the later ones find nothing to do.
 * @returns the names of the migrations that were new
 */
export async function migrate(
  databaseUrl: string,
  logger: Logger,
  { dir = MIGRATIONS_DIR }: MigrateOptions = {},
): Promise<string[]> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'chokin-migrate',
    connectionTimeoutMillis: 10_000,
  });
  // Lost while the queues are made, by connections of their own; the next statement fails of it.
  client.on('error', (error) => logger.warn({ err: error }, 'the database connection was lost'));
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATE_LOCK]);
    await client.query(`set lock_timeout = ${LOCK_TIMEOUT_MS}`);
    const applied = await runMigrations(client, dir, logger);
    await installQueues(databaseUrl, logger);
    const sql = await installRoles(client);
    if (sql.length > 0) logger.warn({ sql }, LEFT_OUT);
    return applied;
  } finally {
    await client.end();
  }
}

const LEFT_OUT =
  'this user may not complete the roles of the database: an administrator has to run this SQL in it. Until then the processes cannot run under them';

async function runMigrations(client: pg.Client, dir: string, logger: Logger): Promise<string[]> {
  const applied: string[] = [];
  for (let attempt = 1; ; attempt += 1) {
    try {
      const [next] = await runner({
        dbClient: client,
        dir,
        direction: 'up',
        // One at a time, each in its own transaction, so that only the one that was held up is repeated.
        count: 1,
        migrationsTable: 'schema_migration',
        checkOrder: true,
        noLock: true,
        log: (message) => logger.debug(message),
      });
      if (next === undefined) return applied;
      applied.push(next.name);
    } catch (error) {
      // Tables that it takes one after another may be taken the other way round by the service: a deadlock.
      if (!(isHeldUp(error) || isRaceLost(error)) || attempt >= MAX_ATTEMPTS) throw error;
      logger.info('the service is busy with a table that is to change; trying again');
      await client.query('rollback');
      await delay(RETRY_AFTER_MS);
    }
  }
}

const HELP = `Usage: npm run migrate

Brings the database that DATABASE_URL names to this release's schema and queues. Run it once at each
release, before the new web and worker processes start (the Procfile does). Running it again is harmless.`;

async function main(): Promise<void> {
  const config = loadConfig();
  if (config.DATABASE_URL === undefined)
    throw new Error('DATABASE_URL: wants the database to migrate (npm start migrates its embedded one by itself)');
  const logger = createLogger(config.LOG_LEVEL, 'migrate');
  warnOfUnknownVariables(logger);
  const applied = await migrate(config.DATABASE_URL.reveal(), logger);
  console.log(applied.length === 0 ? 'The database is up to date.' : `Applied ${applied.join(', ')}.`);
}

if (import.meta.main) runCommand({ help: HELP, run: main });
