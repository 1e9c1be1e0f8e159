import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/commands/migrate.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { createUser } from '../../src/db/service-users.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { citusNodes, makeCitusTemplate, onEveryNode } from './citus-cluster.ts';
import { ROLES_OF, USERS } from './database-users.ts';
import { startPooler } from './pooler.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The cluster's superuser URL of the database `chokin`. */
    clusterUrl: string;
    /** The same for the service's own users, who may have to pass a pooler. */
    serviceUrl: string;
  }
}

/** Those of a test's database and user, of which a few tests run at once. Where sessions are shared, few are to be enough. */
const SESSIONS = { transaction: 8, session: 60 } as const;

/** Started once a run: a real Postgres, and in it the migrated database `chokin_template` that every test file clones. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (citusNodes().length > 0) {
    const coordinator = await makeCitusTemplate();
    project.provide('clusterUrl', coordinator);
    project.provide('serviceUrl', coordinator);
    return () => onEveryNode('drop database if exists chokin_template with (force)');
  }
  const folder = await mkdtemp(join(tmpdir(), 'chokin-test-'));
  const dataDir = join(folder, 'cluster');
  const { chmod } = await import('node:fs/promises');
  await chmod(folder, 0o755);
  // The cluster is thrown away: it must survive a killed process, not a lost machine.
  const postgres = await startEmbeddedPostgres({
    dataDir,
    binaries: process.env.TEST_POSTGRES,
    settings: ['fsync=off', 'full_page_writes=off', 'max_connections=300'],
  });
  const admin = new pg.Client({ connectionString: postgres.databaseUrl });
  await admin.connect();
  await admin.query('create database chokin_template');
  await admin.end();
  const templateUrl = new URL(postgres.databaseUrl);
  templateUrl.pathname = '/chokin_template';
  await migrate(templateUrl.href, createLogger('warn', 'test'));
  const { password } = templateUrl;
  await createUser(templateUrl.href, { name: USERS.web, roles: ROLES_OF.web, password });
  await createUser(templateUrl.href, { name: USERS.worker, roles: ROLES_OF.worker, password });
  await createUser(templateUrl.href, { name: USERS.operator, roles: ROLES_OF.operator, password });
  project.provide('clusterUrl', postgres.databaseUrl);
  // npm run test:pooler
  const mode = process.env.TEST_POOLER;
  const isPooled = mode === 'transaction' || mode === 'session';
  const pooler = isPooled ? await startPooler(postgres.databaseUrl, { mode, size: SESSIONS[mode] }) : null;
  project.provide('serviceUrl', pooler?.through(postgres.databaseUrl) ?? postgres.databaseUrl);
  return async () => {
    await pooler?.stop();
    await postgres.stop('immediate');
    await rm(folder, { recursive: true, force: true });
  };
}
