import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from '../telemetry/log.ts';

/** The number of the lock by which migrations of one database take turns. It may be any, but must be the same in every release. */
const MIGRATE_LOCK = 6_301_873_202;

/** How long another migration is waited for: longer than one takes that builds an index of a large table, and not for ever. */
export const TURN_MS = 20 * 60_000;
const LOOK_EVERY_MS = 100;
/** Two that begin together are soon one after the other, of which nobody wants to read. */
const LOG_AFTER_MS = 2_000;
const LOG_EVERY_MS = 60_000;

/**
 * Waits until no other migration runs. By asking again and again: a statement that waits would be waited for by another
 * migration that builds an index, and both would wait for ever.
 * @throws {Error} that names who holds the lock, if it is held for longer
 */
export async function awaitTurn(client: pg.Client, logger: Logger, patienceMs: number): Promise<void> {
  const beganMs = performance.now();
  let loggedMs = beganMs + LOG_AFTER_MS - LOG_EVERY_MS;
  for (;;) {
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [MIGRATE_LOCK]);
    if (rows[0]?.taken === true) return;
    const nowMs = performance.now();
    if (nowMs - beganMs > patienceMs) throw new Error(tooLong(patienceMs, await holderOf(client)));
    if (nowMs - loggedMs > LOG_EVERY_MS) {
      loggedMs = nowMs;
      const holder = await holderOf(client);
      if (holder !== null) logger.info({ holder }, 'another migration of this database runs; waiting for it to end');
    }
    await delay(LOOK_EVERY_MS);
  }
}

/** Leaves nothing of a migration in a session that may go on. */
export async function endTurn(client: pg.Client): Promise<void> {
  await client.query('rollback; select pg_advisory_unlock_all(); reset all');
}

/** The session that holds the lock. */
interface Holder {
  readonly pid: number;
  readonly applicationName: string | null;
  readonly user: string | null;
  readonly address: string | null;
  /** When that session began, and its last transaction ended. */
  readonly since: string | null;
  readonly idleSince: string | null;
}

async function holderOf(client: pg.Client): Promise<Holder | null> {
  const { rows } = await client.query<Holder>(HOLDER, [MIGRATE_LOCK]);
  return rows[0] ?? null;
}

/** A lock by one number is stored as its two halves. */
const HOLDER = `
  select l.pid, nullif(a.application_name, '') as "applicationName", a.usename::text as "user", host(a.client_addr) as address,
    to_json(a.backend_start) #>> '{}' as since, case when a.state = 'idle' then to_json(a.state_change) #>> '{}' end as "idleSince"
  from pg_locks l left join pg_stat_activity a using (pid)
  where l.locktype = 'advisory' and l.granted and l.objsubid = 1
    and l.database = (select oid from pg_database where datname = current_database())
    and l.classid::bigint = $1::bigint >> 32 and l.objid::bigint = $1::bigint & 4294967295`;

function tooLong(patienceMs: number, holder: Holder | null): string {
  const waited = `Another migration of this database did not end within ${Math.round(patienceMs / 60_000)} minutes.`;
  if (holder === null) return `${waited} Run this again.`;
  const { pid, applicationName, user, address, since, idleSince } = holder;
  const who = `${applicationName ?? 'a session without a name'} of ${user ?? 'another user'} at ${address ?? 'an unknown address'}, connected since ${since ?? '?'}`;
  const does = idleSince === null ? '' : `, doing nothing since ${idleSince}, as a pooler leaves it`;
  return `${waited} Its lock is held by the session ${pid}: ${who}${does}. If no migration runs there, end it: select pg_terminate_backend(${pid})`;
}
