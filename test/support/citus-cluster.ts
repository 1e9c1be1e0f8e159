import pg from 'pg';
import { distribute } from '../../src/commands/distribute.ts';
import { migrate } from '../../src/commands/migrate.ts';
import { createUser } from '../../src/db/service-users.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { ROLES_OF, USERS } from './database-users.ts';

/**
 * A Citus cluster that somebody else started, for npm run test:citus: CITUS_URL is its coordinator's superuser, CITUS_WORKERS the same of the
 * workers. A test's database is a clone, on every node, of one whose tables are spread.
 */
export function citusNodes(): readonly string[] {
  const coordinator = process.env.CITUS_URL;
  if (!coordinator) return [];
  return [coordinator, ...(process.env.CITUS_WORKERS ?? '').split(',').filter((url) => url !== '')];
}

/** What processes of the service need to be told. */
export const BACKEND: Readonly<Record<string, string>> = citusNodes().length > 0 ? { DATABASE_BACKEND: 'citus' } : {};

/** Makes `chokin_template` on every node, spread by merchant. @returns the coordinator's URL */
export async function makeCitusTemplate(): Promise<string> {
  const nodes = citusNodes();
  const [coordinator = ''] = nodes;
  const logger = createLogger('warn', 'test');
  for (const node of nodes) {
    await onNode(node, 'drop database if exists chokin_template with (force)', 'create database chokin_template');
  }
  const template = await joinNodes('chokin_template');
  await migrate(template, logger);
  const { password } = new URL(template);
  for (const user of ['web', 'worker', 'operator'] as const)
    await createUser(template, { name: USERS[user], roles: ROLES_OF[user], password });
  await distribute(template, logger);
  for (const node of nodes) {
    // Citus keeps a session of its own in each database that was used, and one that is used cannot be cloned.
    await onNode(
      node,
      'alter database chokin_template allow_connections false',
      "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'chokin_template'",
    );
  }
  return coordinator;
}

/** Makes the databases of this name on all nodes one cluster. @returns the coordinator's URL of it */
export async function joinNodes(name: string): Promise<string> {
  const [coordinator = '', ...workers] = citusNodes();
  for (const node of [coordinator, ...workers]) await onNode(of(node, name), 'create extension citus');
  const url = of(coordinator, name);
  const { hostname, port } = new URL(coordinator);
  await onNode(url, `select citus_set_coordinator_host('${hostname}', ${port})`);
  for (const worker of workers) {
    const at = new URL(worker);
    await onNode(url, `select citus_add_node('${at.hostname}', ${at.port})`);
  }
  return url;
}

/** Runs the statement on the coordinator and every worker. */
export async function onEveryNode(statement: string): Promise<void> {
  await Promise.all(citusNodes().map((node) => onNode(node, statement)));
}

const NO_DATABASE = '3D000';

/** The nodes hold sessions at each other for a while, and Citus makes those of its own again at once: one that is made at this moment keeps its database. */
export async function dropOnEveryNode(name: string): Promise<void> {
  await onEveryNode(`alter database ${name} allow_connections false`).catch((error: unknown) => {
    if (!(error instanceof pg.DatabaseError) || error.code !== NO_DATABASE) throw error;
  });
  for (const node of citusNodes())
    for (let left = 10; left >= 0; left -= 1) {
      const error = await onNode(node, `drop database if exists ${name} with (force)`).catch(
        (failed: unknown) => failed,
      );
      if (error === undefined) break;
      if (left === 0 || !(error instanceof pg.DatabaseError) || error.code !== '55006') throw error;
    }
}

function of(node: string, database: string): string {
  const url = new URL(node);
  url.pathname = `/${database}`;
  return url.href;
}

async function onNode(url: string, ...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
