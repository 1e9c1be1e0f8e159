import type pg from 'pg';
import { beginWith, type Settings } from './session-settings.ts';

/*
 * A pooler between us and the server gives each transaction whatever session is free. So nothing may be left in a session, and each
 * transaction brings its settings along. From outside, one that keeps sessions is not told apart for certain, so it is served in the same way.
 */

/** How transactions begin on the connections that pass a pooler. */
const beginnings = new WeakMap<pg.ClientBase, string>();

/** Notes that a connection passes a pooler, so that each of its transactions wants these settings. */
export function notePassing(client: pg.ClientBase, settings: Settings): void {
  beginnings.set(client, beginWith(settings));
}

/** How a transaction begins on this connection. */
export function beginningOn(client: pg.ClientBase): string {
  return beginnings.get(client) ?? 'begin';
}

/** Whether this connection passes a pooler. If not, a statement may be sent by itself. */
export function passesPooler(client: pg.ClientBase): boolean {
  return beginnings.has(client);
}
