import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { connectionString } from './database-url.ts';
import { isPooled } from './session.ts';

/** What is between a URL and its server, as far as it matters. */
export interface Way {
  /** Whether there is a pooler at all. */
  readonly isPooled: boolean;
  /** Whether a connection kept its session all the time. */
  readonly keepsSessions: boolean;
  /** Whether a statement that was prepared once is known wherever it is run again. */
  readonly keepsStatements: boolean;
}

/**
 * A pooler may choose by turns, the newest first, or at random. That it gave two connections the same two sessions all along, as if it
 * kept them, happens once in many thousand times at so many tries.
 */
const TRIES = 24;
/** Where it is known to take sessions away, a statement that was lost is met sooner or later. */
const TRIES_WITHOUT_SESSIONS = 150;
/** "prepared statement … already exists" and "… does not exist". */
const LOST_STATEMENT: ReadonlySet<string> = new Set(['42P05', '26000']);

/** Finds out what is between a URL and its server, by two connections that run prepared statements by turns. */
export async function probeWay(databaseUrl: string, applicationName: string): Promise<Way> {
  const clients = [1, 2].map(
    () =>
      new pg.Client({
        ...{ connectionString: connectionString(databaseUrl), application_name: applicationName },
        ...{ connectionTimeoutMillis: 10_000, query_timeout: 10_000 },
      }),
  );
  // One that is lost fails its next statement, too.
  for (const client of clients) client.on('error', () => {});
  try {
    for (const client of clients) await client.connect();
    const [first] = clients;
    if (first === undefined || !(await isPooled(first)))
      return { isPooled: false, keepsSessions: true, keepsStatements: true };
    return { isPooled: true, ...(await takeTurns(clients)) };
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
  }
}

async function takeTurns(clients: readonly pg.Client[]): Promise<Omit<Way, 'isPooled'>> {
  const id = randomBytes(6).toString('hex');
  const seen = clients.map(() => new Set<number>());
  const isKept = () => seen.every(({ size }) => size < 2) && new Set(seen.flatMap((pids) => [...pids])).size > 1;
  try {
    for (let tries = 0; tries < (isKept() ? TRIES : TRIES_WITHOUT_SESSIONS); tries += 1) {
      // Both at first, then whichever: a pooler that takes turns, too, must not stay in step.
      const at = tries < 2 ? tries : Math.floor(Math.random() * clients.length);
      // Two that meet in one session both prepare the first there; one that comes to another's session misses its second.
      const name = Math.random() < 0.5 ? `probe-${id}` : `probe-${id}-${at}`;
      const result = await clients[at]?.query<{ pid: number }>({ name, text: 'select pg_backend_pid() as pid' });
      for (const { pid } of result?.rows ?? []) seen[at]?.add(pid);
    }
  } catch (error) {
    if (error instanceof pg.DatabaseError && LOST_STATEMENT.has(error.code ?? ''))
      return { keepsSessions: false, keepsStatements: false };
    throw error;
  }
  return { keepsSessions: isKept(), keepsStatements: true };
}
