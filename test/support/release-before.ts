import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { ROOT } from './cli.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

/** How many migrations that release had. Migrations are never edited, so they still make its schema. */
const MIGRATIONS = 10;

/**
 * A database as the release before the eleventh migration left it, with what
 * `test/fixtures/releases/README.md` tells of, and not migrated any further.
 */
export async function createDatabaseOfReleaseBefore(): Promise<TestDatabase> {
  const database = await createTestDatabase(20, 'template1');
  await runMigrations(database, MIGRATIONS);
  const client = new pg.Client({ connectionString: database.ownerUrl });
  await client.connect();
  try {
    await client.query(await readFile(join(ROOT, 'test/fixtures/releases/before-0011.sql'), 'utf8'));
    // The dump is old, so what waits in it is given a newer time: it would count as waiting for too long.
    await client.query('update unannounced_wallet set since = now()');
    await client.query("update provider_event set waiting_since = now() where state = 'waiting'");
    await client.query("update provider_event set received_at = now() where state = 'pending'");
  } finally {
    await client.end();
  }
  return database;
}

/** Makes the schema that the first `count` migrations make; roles and queues are not touched. */
export async function runMigrations({ ownerUrl }: Pick<TestDatabase, 'ownerUrl'>, count: number): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    await runner({
      dbClient: client,
      dir: join(ROOT, 'migrations'),
      direction: 'up',
      count,
      migrationsTable: 'schema_migration',
      noLock: true,
      log: () => {},
    });
  } finally {
    await client.end();
  }
}
