import pg from 'pg';
import { InvariantError } from '../errors.ts';
import type { Logger } from '../telemetry/log.ts';
import type { DatabaseClock } from './database-clock.ts';
import { connectionString } from './database-url.ts';
import { prepareSession } from './session.ts';
import { MEANING, type Settings } from './session-settings.ts';

export type Pool = pg.Pool;

export interface PoolOptions {
  readonly databaseUrl: string;
  readonly applicationName: string;
  readonly maxConnections: number;
  readonly logger: Logger;
  /** The longest a statement may take; 0 for no bound, for an audit of large books. */
  readonly statementTimeoutMs?: number;
  /** Is set by what each new connection is told of the time. */
  readonly clock?: DatabaseClock | null;
}

const { INT8, TIMESTAMPTZ } = pg.types.builtins;
const parseTimestamp = pg.types.getTypeParser(TIMESTAMPTZ);

const settingsOfPool = new WeakMap<Pool, Settings>();

/** What the statements of a pool work under. */
export function settingsOf(pool: Pool): Settings {
  return settingsOfPool.get(pool) ?? MEANING;
}

/**
 * A connection pool in which nothing waits for ever, `bigint` arrives as a number, and what cannot be read throws.
 * The bounds: 5 s for a connection (a provider gives up after 5 to 15), 15 s a statement (the slowest we run is a page
 * of a scan), 3 s for a lock (a batch holds its wallets for milliseconds), 10 s idle inside a transaction (a worker
 * that froze must not hold wallets).
 */
export function createPool(options: PoolOptions): Pool {
  const { databaseUrl, applicationName, maxConnections, logger, statementTimeoutMs = 15_000 } = options;
  const isForScans = statementTimeoutMs === 0;
  const settings = {
    application_name: applicationName,
    statement_timeout: `${statementTimeoutMs}`,
    lock_timeout: '3000',
    idle_in_transaction_session_timeout: '10000',
    // Every statement of the service has an index to use. Plans are kept with the connection, and one that was made while
    // a table was empty would scan it for as long as it grew, until the next autovacuum (docs/performance.md).
    enable_seqscan: isForScans ? 'on' : 'off',
  };
  const pool = new pg.Pool({
    connectionString: connectionString(databaseUrl),
    application_name: applicationName,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    // Statements do not wait for the answers of those before them; what may rely on that is said in transaction.ts.
    pipeline: true,
    // The client's own bound is for a server that does not answer at all, so it is a little longer.
    query_timeout: isForScans ? 0 : statementTimeoutMs + 5_000,
    // What reads whole tables may do it on a standby.
    onConnect: async (client) => {
      const { time } = await prepareSession(client, settings, isForScans ? 'may only read' : 'must write');
      options.clock?.note(time);
    },
    types: {
      getTypeParser: (id: number, format?: 'text' | 'binary') => {
        if (id === INT8) return parseInt8;
        return id === TIMESTAMPTZ ? readTimestamp : pg.types.getTypeParser(id, format);
      },
    },
  });
  settingsOfPool.set(pool, { ...MEANING, ...settings });
  // Without these listeners, a server that goes away while a connection is idle or checked out ends the process.
  const lost = (which: string) => (error: Error) => {
    // A pool that is closed does not wait until its connections are; npm start may stop the server meanwhile.
    if (!pool.ending) logger.warn({ err: error }, `${which} database connection was lost`);
  };
  pool.on('error', lost('an idle'));
  pool.on('connect', (client) => {
    client.on('error', lost('a'));
  });
  return pool;
}

/** Opens the first connection of a pool, so that what can be known from it is known. */
export async function opened(pool: Pool): Promise<Pool> {
  (await pool.connect()).release();
  return pool;
}

/** Every `bigint` column has a CHECK that keeps it exact in a JavaScript number; a value beyond is a broken invariant. */
function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new InvariantError(`the database returned ${text}, beyond exact integers`);
  return value;
}

/**
 * Of a time as Postgres writes it in UTC, such as `2026-11-30 01:02:03.456789+00`, its milliseconds; null for one of another form, or of a
 * year of another length. The driver's own way by patterns takes three times as long, which was 2 % of a read.
 */
export function millisecondsOf(text: string): number | null {
  const end = text.length - 3;
  if (end < 19 || !text.endsWith('+00') || text[0] === '0' || text[10] !== ' ' || text[4] !== '-') return null;
  if (text[7] !== '-' || text[13] !== ':' || text[16] !== ':' || (end > 19 && text[19] !== '.')) return null;
  let fraction = 0;
  for (let place = 20; place < 23; place += 1) fraction = fraction * 10 + (place < end ? digit(text, place) : 0);
  const year = two(text, 0) * 100 + two(text, 2);
  return Date.UTC(year, two(text, 5) - 1, two(text, 8), two(text, 11), two(text, 14), two(text, 17), fraction);
}

const digit = (text: string, place: number): number => text.charCodeAt(place) - 48;
const two = (text: string, place: number): number => digit(text, place) * 10 + digit(text, place + 1);

/** Under another `datestyle` the driver would take a time that it cannot read for null: an expired key would be valid for ever. */
function readTimestamp(text: string): unknown {
  const milliseconds = millisecondsOf(text);
  if (milliseconds !== null) return new Date(milliseconds);
  const value: unknown = parseTimestamp(text);
  if (value === null)
    throw new InvariantError(`the database wrote the time ${text}, which is not ISO 8601; see datestyle`);
  return value;
}
