import type pg from 'pg';
import { PgBoss } from 'pg-boss';
import { z } from 'zod';
import { InvariantError } from '../errors.ts';
import type { Logger } from '../telemetry/log.ts';
import { onCitus } from './backend.ts';
import { keptOfBoss } from './boss-statements.ts';
import { connectionString } from './database-url.ts';
import { probeWay } from './pooler-probe.ts';
import { prepareSession } from './session.ts';

export interface BossOptions {
  readonly databaseUrl: string;
  /** Where it listens if a pooler is in the way that keeps no session; undefined if there is no such place, and it looks by the clock. */
  readonly directUrl?: string | undefined;
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
export function createBoss(options: BossOptions): PgBoss {
  const { databaseUrl, applicationName, maxConnections, works, logger } = options;
  const settings = { application_name: applicationName, enable_seqscan: 'off' };
  let passesPooler = false;
  const onConnect = async (client: pg.ClientBase) => {
    passesPooler = (await prepareSession(client, settings)).isPooled;
  };
  const boss = new PgBoss({
    ...connectionOf(options, databaseUrl),
    max: maxConnections,
    // Without indexes, for the reason given in db/pool.ts, the fetch of jobs would scan and sort the whole queue. Through a pooler, which
    // pg-boss's statements pass one by one, their user's own settings are what there is (roles.ts).
    ...{ onConnect },
    backend: onCitus() ? 'citus' : 'postgres',
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
  keepPlans(boss);
  if (works) listenWhereItCan(boss, options, () => passesPooler);
  boss.on('warning', ({ message: warning, data }) =>
    logger.warn({ warning, reason: reasonOf.parse(data).error }, 'pg-boss warned'),
  );
  return boss;
}

function connectionOf({ applicationName }: BossOptions, databaseUrl: string) {
  const way = { connectionString: connectionString(databaseUrl), application_name: applicationName };
  return { ...way, connectionTimeoutMillis: 5_000, ...BOUNDS };
}

/** Has its own connections keep what they made of its frequent statements. The pool that it hands them to takes a name with a text, as any of pg's. */
function keepPlans(boss: PgBoss): void {
  const db = boss.getDb();
  const execute = db.executeSql.bind(db);
  db.executeSql = (text, values) => Reflect.apply(execute, db, [keptOfBoss(text), values]);
}

/**
 * Notifications come to one session. Through a pooler that keeps none they would be lost without a word, while pg-boss relied on
 * them and looked for jobs every 30 s only.
 */
function listenWhereItCan(boss: PgBoss, options: BossOptions, passesPooler: () => boolean): void {
  const { databaseUrl, directUrl, applicationName, logger } = options;
  const db = boss.getDb();
  const listenHere = db.listen?.bind(db);
  if (listenHere === undefined) throw new InvariantError('this pg-boss cannot listen');
  db.listen = async (...listening) => {
    if (!passesPooler()) return listenHere(...listening);
    if (directUrl === undefined) {
      if ((await probeWay(databaseUrl, applicationName)).keepsSessions) return listenHere(...listening);
      throw new Error(NOT_LISTENING);
    }
    // Another pg-boss, of which nothing but this connection is ever used.
    const direct = new PgBoss({ ...connectionOf(options, directUrl), max: 1, supervise: false, schedule: false });
    logErrorsOf(direct, logger);
    const there = direct.getDb();
    if ('open' in there && typeof there.open === 'function') await there.open();
    if (there.listen === undefined) throw new InvariantError('this pg-boss cannot listen');
    return there.listen(...listening);
  };
}

const NOT_LISTENING =
  'DATABASE_URL goes through a pooler, by which nobody can listen: jobs are looked for every 2 s. Set DATABASE_DIRECT_URL to the server itself, and they are taken up at once';

const text = z.string().optional().catch(undefined);
const reasonOf = z.object({ error: text }).catch({ error: undefined });
const reported = z.object({ message: text, code: text, queue: text }).catch({});

/** pg-boss emits some of its errors as plain objects, with the queue, and with values that Postgres quotes. */
export function logErrorsOf(boss: PgBoss, logger: Logger): void {
  boss.on('error', (error) => {
    const { message: reason, code, queue } = reported.parse(error);
    logger.warn({ reason, code, queue }, 'pg-boss reported an error');
  });
}
