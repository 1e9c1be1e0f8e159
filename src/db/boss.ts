import type pg from 'pg';
import { PgBoss } from 'pg-boss';
import { z } from 'zod';
import type { Logger } from '../telemetry/log.ts';
import { connectionString } from './database-url.ts';
import { prepareSession } from './session.ts';
import { Tx } from './transaction.ts';

export interface BossOptions {
  readonly databaseUrl: string;
  readonly applicationName: string;
  readonly maxConnections: number;
  /** True in the worker, which maintains queues, keeps the schedule and listens; false where jobs are only made. */
  readonly works: boolean;
  readonly logger: Logger;
}

/** Passed on to pg: without a bound, a statement whose answer is lost would block its queue for ever. */
const BOUNDS = { query_timeout: 20_000, keepAlive: true } as const;

/**
 * A pg-boss that expects its schema to exist (`npm run migrate` made it). Not started.
 * The monitor looks every 5 s for jobs whose worker died: together with the 10 s heartbeat, another worker takes over
 * within about 15 s.
 */
export function createBoss({ databaseUrl, applicationName, maxConnections, works, logger }: BossOptions): PgBoss {
  const settings = { application_name: applicationName, enable_seqscan: 'off' };
  const boss = new PgBoss({
    connectionString: connectionString(databaseUrl),
    application_name: applicationName,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    ...BOUNDS,
    // Without indexes, for the reason given in db/pool.ts, the fetch of jobs would scan and sort the whole queue.
    ...{ onConnect: (client: pg.ClientBase) => prepareSession(new Tx(client), settings) },
    migrate: false,
    createSchema: false,
    supervise: works,
    schedule: works,
    useListenNotify: works,
    superviseIntervalSeconds: 5,
    monitorIntervalSeconds: 5,
    maintenanceIntervalSeconds: 300,
  });
  // Without a listener, an outage of the database would end the process.
  logErrorsOf(boss, logger);
  boss.on('warning', (warning) => logger.warn({ warning: warning.message }, 'pg-boss warned'));
  return boss;
}

const text = z.string().optional().catch(undefined);
const reported = z.object({ message: text, code: text, queue: text }).catch({});

/** pg-boss emits some of its errors as plain objects, with the queue, and with values that Postgres quotes. */
export function logErrorsOf(boss: PgBoss, logger: Logger): void {
  boss.on('error', (error) => {
    const { message: reason, code, queue } = reported.parse(error);
    logger.warn({ reason, code, queue }, 'pg-boss reported an error');
  });
}
