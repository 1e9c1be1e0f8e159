import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { citusNodes, dropOnEveryNode, onEveryNode } from './citus-cluster.ts';
import { urlAs } from './database-users.ts';

export interface TestDatabase {
  /** As the operator, who may do what web and worker together may: the least that serves every command. */
  readonly url: string;
  readonly webUrl: string;
  readonly workerUrl: string;
  /** As `url`, and past a pooler if there is one. */
  readonly directUrl: string;
  /** As the owner, who migrates, rotates secrets, and stands outside of every grant. */
  readonly ownerUrl: string;
  /** The owner's, for what a test looks up and tampers with. */
  readonly pool: Pool;
  /** Closes the pool and drops the database. */
  drop(): Promise<void>;
}

/**
 * A database of the caller's own, cloned from the migrated template, or from an empty one. There is no falling back: no
 * Postgres, no test.
 */
export async function createTestDatabase(
  maxConnections = 20,
  template: 'chokin_template' | 'template1' = 'chokin_template',
): Promise<TestDatabase> {
  const clusterUrl = inject('clusterUrl');
  const name = `chokin_${randomBytes(6).toString('hex')}`;
  const isSpread = template === 'chokin_template' && citusNodes().length > 0;
  const onNodes = (statement: string) => (isSpread ? onEveryNode(statement) : onCluster(clusterUrl, statement));
  await onNodes(`create database ${name} template ${template}`);
  // The service's users bring it along to the nodes; the owner, as whom tests do what they do, does not. Shorter than an idle transaction may last.
  if (isSpread) await onNodes(`alter database ${name} set lock_timeout = '8s'`);
  const url = new URL(clusterUrl);
  url.pathname = `/${name}`;
  const serviceUrl = new URL(inject('serviceUrl'));
  serviceUrl.pathname = url.pathname;
  const pool = createPool({
    databaseUrl: url.href,
    applicationName: 'test',
    maxConnections,
    logger: createLogger('silent', 'test'),
  });
  // A transaction takes many times as many round trips there.
  if (isSpread) pool.options.connectionTimeoutMillis = 60_000;
  // A clone would be the same installation as the template, and share its applications at a real Svix server.
  if (template === 'chokin_template') {
    await pool.query('update installation set installation_id = $1', [`ins_${randomBytes(16).toString('hex')}`]);
  }
  return {
    url: urlAs('operator', serviceUrl.href),
    webUrl: urlAs('web', serviceUrl.href),
    workerUrl: urlAs('worker', serviceUrl.href),
    directUrl: urlAs('operator', url.href),
    ownerUrl: url.href,
    pool,
    drop: async () => {
      if (!pool.ended) await pool.end();
      await (isSpread ? dropOnEveryNode(name) : onNodes(`drop database if exists ${name} with (force)`));
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
