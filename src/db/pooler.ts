import type pg from 'pg';
import { beginWith, type Settings } from './session-settings.ts';

/*
 * A pooler between us and the server gives each transaction whatever session is free. So nothing may be left in a session, and each
 * transaction brings its settings along. From outside, one that keeps sessions is not told apart for certain, so it is served in the same way.
 */

/** How transactions begin on the connections that pass a pooler. */
const beginnings = new WeakMap<pg.ClientBase, string>();

/** Whether the newest connection of a pool passes a pooler. */
const pools = new WeakMap<pg.Pool, boolean>();

/** Notes that a connection passes a pooler, so that each of its transactions wants these settings. */
export function notePassing(client: pg.ClientBase, settings: Settings): void {
  beginnings.set(client, beginWith(settings));
}

/** Notes of a pool whether its connections pass a pooler. */
export function notePool(pool: pg.Pool, passes: boolean): void {
  pools.set(pool, passes);
}

/** How a transaction begins on this connection. */
export function beginningOn(client: pg.ClientBase): string {
  return beginnings.get(client) ?? 'begin';
}

/** Whether the connections of a pool do not pass a pooler, as far as it is known: then each statement may be sent by itself. */
export function isDirect(pool: pg.Pool): boolean {
  return pools.get(pool) === false;
}

/** Whether the connections of a pool pass a pooler. Opens the first one if there was none yet. */
export async function passesPooler(pool: pg.Pool): Promise<boolean> {
  const known = pools.get(pool);
  if (known !== undefined) return known;
  const client = await pool.connect();
  const passes = beginnings.has(client);
  client.release();
  pools.set(pool, passes);
  return passes;
}
