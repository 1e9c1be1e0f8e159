import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { type MigrationBuilder, type RunnerOption, runner } from 'node-pg-migrate';
import pg from 'pg';
import { loadConfig, warnOfUnknownVariables } from '../config/env.ts';
import { onCitus } from '../db/backend.ts';
import { connectionString } from '../db/database-url.ts';
import { closeRelease } from '../db/installation.ts';
import { probeWay } from '../db/pooler-probe.ts';
import { installQueues } from '../db/queues.ts';
import { installRoles } from '../db/roles.ts';
import { MIGRATIONS_DIR } from '../db/schema.ts';
import { isPooled, prepareKeptSession } from '../db/session.ts';
import { statementsOf } from '../db/sql-statements.ts';
import { isHeldUp, isRaceLost } from '../db/sqlstate.ts';
import { missingRights, requireEncoding, requireSpreadToBeKnown } from '../db/suitable.ts';
import { Tx } from '../db/transaction.ts';
import { takesSessions } from '../db/way.ts';
import { createLogger, type Logger } from '../telemetry/log.ts';
import { buildIndexes } from './build-indexes.ts';
import { runCommand } from './command.ts';
import { awaitTurn, endTurn, TURN_MS } from './migrate-turn.ts';
import { widenKeys } from './widen-keys.ts';

/**
 * A migration locks a table for a moment. While it waits for this lock, all later statements wait behind it: if it waited for a
 * long audit, so would the whole service. So it gives up before a posting does (3 s, pool.ts), and tries again a little later.
 */
const LOCK_TIMEOUT_MS = 2_000;
const RETRY_AFTER_MS = 3_000;
const MAX_ATTEMPTS = 100;

/** Nothing of it is given up for taking long, whatever the server's own settings; a plan is of no matter. */
const SESSION = {
  ...{ application_name: 'chokin-migrate', statement_timeout: '0', lock_timeout: `${LOCK_TIMEOUT_MS}` },
  ...{ idle_in_transaction_session_timeout: '0', enable_seqscan: 'on' },
};

/**
 * A later migration may give a table a trigger that is spread by now, and change several tables and read them in one transaction, for which Citus
 * must not change the parts of one side by side.
 */
const ON_CITUS = { 'citus.enable_unsafe_triggers': 'on', 'citus.multi_shard_modify_mode': 'sequential' };

export interface MigrateOptions {
  /** The folder of the SQL files; that of this release unless given. */
  readonly dir?: string;
  /** Notes that no process of an older release runs any more. `again`: also if it was noted before; `once`: only if it was not. */
  readonly closeRelease?: 'again' | 'once';
  /** How long another migration is waited for. */
  readonly turnMs?: number;
}

/**
 * Brings the database to this release's schema: our tables by the numbered SQL files, then the queues, then the roles of web
 * and worker. It may be run again, also after it was killed at any point. Several processes may run it at once: they take turns,
 * and the later ones find nothing to do.
 * @returns the names of the migrations that were new
 */
export async function migrate(
  databaseUrl: string,
  logger: Logger,
  { dir = MIGRATIONS_DIR, closeRelease: when, turnMs = TURN_MS }: MigrateOptions = {},
): Promise<string[]> {
  const client = new pg.Client({
    connectionString: connectionString(databaseUrl),
    application_name: 'chokin-migrate',
    connectionTimeoutMillis: 10_000,
  });
  // The connection may be lost while pg-boss makes the queues through others; then the next statement fails.
  client.on('error', (error) => logger.warn({ err: error }, 'the database connection was lost'));
  await client.connect();
  try {
    await requireSession(client, databaseUrl);
    await prepareKeptSession(client, onCitus() ? { ...SESSION, ...ON_CITUS } : SESSION);
    await requireEncoding(new Tx(client));
    await requireSpreadToBeKnown(new Tx(client));
    await awaitTurn(client, logger, turnMs);
    const applied = await install(client, { databaseUrl, dir, logger });
    const { rights, settings } = await installRoles(client);
    if (rights.length > 0) logger.warn({ sql: rights }, RIGHTS_LEFT_OUT);
    if (settings.length > 0) logger.warn({ sql: settings }, SETTINGS_LEFT_OUT);
    if (when !== undefined) await closeRelease(new Tx(client), when);
    await buildIndexes(client, logger);
    await widenKeys(client, logger);
    return applied;
  } finally {
    // A pooler that keeps sessions may give this one to the next.
    await endTurn(client).catch(() => {});
    await client.end();
  }
}

/** @throws {Error} that says what to set, if a pooler would leave the lock of a migration, and its settings, to somebody else */
async function requireSession(client: pg.Client, databaseUrl: string): Promise<void> {
  if (!(await isPooled(client))) return;
  const { keepsSessions } = await probeWay(databaseUrl, SESSION.application_name);
  if (!keepsSessions) throw new Error(takesSessions('DATABASE_URL'));
}

interface Install {
  readonly databaseUrl: string;
  readonly dir: string;
  readonly logger: Logger;
}

/** The tables, then the queues. */
async function install(client: pg.Client, { databaseUrl, dir, logger }: Install): Promise<string[]> {
  try {
    const applied = await runMigrations(client, dir, logger);
    await installQueues(databaseUrl, logger);
    return applied;
  } catch (error) {
    // The tools say it in many ways that they may not, one of them without the reason.
    const missing = await client
      .query('rollback')
      .then(() => missingRights(new Tx(client)))
      .catch(() => null);
    throw missing === null ? error : new Error(missing, { cause: error });
  }
}

const RIGHTS_LEFT_OUT =
  'this user may not complete the roles of the database: an administrator has to run this SQL in it. Until then the processes cannot run under them';

const SETTINGS_LEFT_OUT =
  'this user may not give the users of the processes their settings: an administrator should run this SQL. The processes run without them, under bounds of their own, but what such a user does by itself has none';

/** Each statement comes by itself, in the file's one transaction: Citus sends a node the whole string that one stands in, and the node takes only one. */
const BY_STATEMENT: NonNullable<RunnerOption['migrationLoaderStrategies']> = [
  {
    extensions: ['.sql'],
    loader: (paths) =>
      Promise.all(
        paths.map(async (path) => {
          const statements = statementsOf(await readFile(path, 'utf8'));
          const up = (step: MigrationBuilder) => {
            for (const one of statements) step.sql(one);
          };
          return { id: path, filePaths: [path], actions: { up, down: false } };
        }),
      ),
  },
];

async function runMigrations(client: pg.Client, dir: string, logger: Logger): Promise<string[]> {
  const applied: string[] = [];
  for (let attempt = 1; ; attempt += 1) {
    try {
      const [next] = await runner({
        dbClient: client,
        dir,
        direction: 'up',
        // One migration at a time, each in its own transaction, so that only one that had to give up is repeated.
        count: 1,
        migrationsTable: 'schema_migration',
        migrationLoaderStrategies: BY_STATEMENT,
        // Work that is done side by side lands in another order than its numbers have, and a database of any commit comes up whole.
        checkOrder: false,
        noLock: true,
        log: (message) => logger.debug(message),
      });
      if (next === undefined) return applied;
      applied.push(next.name);
    } catch (error) {
      // Deadlocks count too: the service may lock the same tables in the opposite order.
      if (!(isHeldUp(error) || isRaceLost(error)) || attempt >= MAX_ATTEMPTS) throw error;
      logger.info('the service is busy with a table that is to change; trying again');
      await client.query('rollback');
      await delay(RETRY_AFTER_MS);
    }
  }
}

const HELP = `Usage: npm run migrate

Brings the database that DATABASE_URL names to this release's schema and queues. Run it once at each
release, before the new web and worker processes start (the Procfile does). Running it again is harmless.

  --close-release   note as well that the last process of the release before has ended: from now on the audit
                    takes an entry without a hash for a forgery. Without it, that begins a week after the migration.`;

async function main(switches: ReadonlySet<string>): Promise<void> {
  const config = loadConfig();
  if (config.DATABASE_URL === undefined)
    throw new Error('DATABASE_URL: wants the database to migrate (npm start migrates its embedded one by itself)');
  const logger = createLogger(config.LOG_LEVEL, 'migrate');
  warnOfUnknownVariables(logger);
  const applied = await migrate(
    (config.DATABASE_DIRECT_URL ?? config.DATABASE_URL).reveal(),
    logger,
    switches.has('close-release') ? { closeRelease: 'again' } : {},
  );
  console.log(applied.length === 0 ? 'The database is up to date.' : `Applied ${applied.join(', ')}.`);
}

if (import.meta.main) runCommand({ help: HELP, switches: ['close-release'], run: main });
