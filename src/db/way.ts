import type { Logger } from '../telemetry/log.ts';
import { text } from './codec.ts';
import { readInstallationId } from './installation.ts';
import { readDatabaseIdentity } from './installation-home.ts';
import { createPool, type Pool, settingsOf } from './pool.ts';
import { passesPooler } from './pooler.ts';
import { probeWay } from './pooler-probe.ts';
import { rowsOf, statement } from './statement.ts';
import { autocommit, type Queryable, Tx, transaction } from './transaction.ts';

export interface WayToCheck {
  /** The pool that requests and jobs work with. */
  readonly pool: Pool;
  readonly databaseUrl: string;
  readonly directUrl: string | undefined;
  readonly applicationName: string;
  readonly logger: Logger;
}

/**
 * For the start of a process: whether what it relies on gets through to the server, by whatever way.
 * @throws {Error} that says what to set
 */
export async function requireUsableWay({
  pool,
  databaseUrl,
  directUrl,
  applicationName,
  logger,
}: WayToCheck): Promise<void> {
  const wanted = settingsOf(pool);
  const [lost] = await transaction(pool, (tx) => notInForce(tx, wanted));
  if (lost !== undefined)
    throw new Error(
      `${lost} in a transaction of this process: something on the way to the server takes settings away. Let DATABASE_URL name the server itself.`,
    );
  if (await isPooled(pool)) {
    const { keepsStatements } = await probeWay(databaseUrl, applicationName);
    if (!keepsStatements) throw new Error(LOSES_STATEMENTS);
    await warnOfUser(pool, logger);
  }
  if (directUrl === undefined) return;
  if (!(await probeWay(directUrl, applicationName)).keepsSessions)
    throw new Error(takesSessions('DATABASE_DIRECT_URL'));
  if (!(await isSameDatabase(pool, directUrl, { applicationName, logger }))) throw new Error(ELSEWHERE);
}

async function isPooled(pool: Pool): Promise<boolean> {
  const client = await pool.connect();
  client.release();
  return passesPooler(client);
}

/** Another database behind the direct URL would be migrated, audited and listened to, while this one is worked on. */
async function isSameDatabase(
  pool: Pool,
  directUrl: string,
  names: Pick<WayToCheck, 'applicationName' | 'logger'>,
): Promise<boolean> {
  const direct = createPool({ databaseUrl: directUrl, maxConnections: 1, ...names });
  // A copy is the same installation, and servers that do not say who they are have databases of the same number.
  const identify = async (db: Queryable) => `${await readInstallationId(db)} ${await readDatabaseIdentity(db)}`;
  try {
    return (await identify(autocommit(direct))) === (await identify(autocommit(pool)));
  } finally {
    await direct.end();
  }
}

const ELSEWHERE =
  'DATABASE_DIRECT_URL leads to another database than DATABASE_URL. Let it name the same database of the same server, without the pooler.';

/** What is wrong with a pooler that is too old, and the cure. */
export const LOSES_STATEMENTS =
  'DATABASE_URL goes through a pooler that loses prepared statements. PgBouncer keeps them from version 1.21 on, with max_prepared_statements = 200 in pgbouncer.ini; or set pool_mode = session there, or let DATABASE_URL name the server itself.';

/** What is wrong with a URL that has to lead to sessions, and the cure. */
export function takesSessions(variable: string): string {
  return `${variable} goes through a pooler that takes the session away after each transaction. Set DATABASE_DIRECT_URL to the server itself (or to a pooler with pool_mode = session).`;
}

/** What pg-boss works under: one by one, its statements pass a pooler with nothing but the settings of their user. */
const OF_THE_USER = { enable_seqscan: 'off', statement_timeout: '120000' };

async function warnOfUser(pool: Pool, logger: Logger): Promise<void> {
  const client = await pool.connect();
  try {
    const lost = await notInForce(new Tx(client), OF_THE_USER);
    if (lost.length > 0) logger.warn({ lost }, UNGUARDED_USER);
  } finally {
    client.release();
  }
}

const UNGUARDED_USER =
  'through a pooler the statements of the job queue have the settings of their user alone, and it lacks some: run npm run migrate, or what it logs for an administrator, and let the pooler open its connections anew';

/** Which settings are not what they are to be, as sentences. */
async function notInForce(db: Queryable, wanted: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const settings = Object.entries(wanted).map(([name, value]) => ({ name, value }));
  const found = await NOT_IN_FORCE.all(db, { settings });
  return found.map(({ name, value }) => `${name} is ${value} and not ${wanted[name]}`);
}

const NOT_IN_FORCE = statement({
  params: { settings: rowsOf({ name: text, value: text }) },
  row: { name: text, value: text },
  text: ({ settings }) => `
    select w.name, coalesce(s.setting, '') as value
    from ${settings('w')} left join pg_settings s on lower(s.name) = w.name
    where s.setting is distinct from w.value`,
});
