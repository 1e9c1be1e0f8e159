import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { createLogger } from '../../src/log.ts';

export interface TestDatabase {
  readonly url: string;
  readonly pool: Pool;
  /** Closes the pool and drops the database. */
  drop(): Promise<void>;
}

/** A database of the caller's own, cloned from the migrated template. There is no falling back: no Postgres, no test. */
export async function createTestDatabase(maxConnections = 20): Promise<TestDatabase> {
  const clusterUrl = inject('clusterUrl');
  const name = `chokin_${randomBytes(6).toString('hex')}`;
  await onCluster(clusterUrl, `create database ${name} template chokin_template`);
  const url = new URL(clusterUrl);
  url.pathname = `/${name}`;
  const pool = createPool({
    databaseUrl: url.href,
    applicationName: 'test',
    maxConnections,
    logger: createLogger('silent', 'test'),
  });
  return {
    url: url.href,
    pool,
    drop: async () => {
      if (!pool.ended) await pool.end();
      await onCluster(clusterUrl, `drop database if exists ${name} with (force)`);
    },
  };
}

async function onCluster(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
