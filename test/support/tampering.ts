import type pg from 'pg';
import { onCitus } from '../../src/db/backend.ts';
import { statementsOf } from '../../src/db/sql-statements.ts';

/**
 * Runs statements as one transaction in which no trigger refuses anything, and no key is looked at; for whoever owns the database.
 * Each is sent by itself: Citus would send the nodes all that stands in one string with a setting.
 */
export async function unguarded(pool: pg.Pool, ...statements: readonly string[]): Promise<void> {
  const client = await pool.connect();
  try {
    for (const one of ['begin', WITHOUT_GUARDS, ...statements, 'commit']) await client.query(one);
  } finally {
    await client.query('rollback');
    client.release();
  }
}

const TO_NODES =
  "set local citus.multi_shard_modify_mode = 'sequential'; set local citus.propagate_set_commands = 'local'; ";

/** For a transaction that is open already. */
export const WITHOUT_GUARDS = `${onCitus() ? TO_NODES : ''}set local session_replication_role = 'replica'`;

/** A time of a row moved by a length of time. Citus lets no row's time be moved by what depends on the time zone that is set. */
export const movedBy = (column: string, length: string) =>
  `(${column} at time zone 'UTC' + interval '${length}') at time zone 'UTC'`;

/**
 * Changes tables, or their triggers, within a transaction that reads on: a node of Citus takes one statement at a time, reads nothing beside parts
 * of a table that are changed side by side, and has triggers where it is asked for them.
 */
export async function alterTable(client: pg.ClientBase, sql: string): Promise<void> {
  if (onCitus()) {
    await client.query("set local citus.multi_shard_modify_mode = 'sequential'");
    await client.query('set local citus.enable_unsafe_triggers = on');
  }
  for (const one of statementsOf(sql)) await client.query(one);
}

/** Gives a table a trigger of the test's own, or takes it away, for good. */
export async function changeTriggers(pool: pg.Pool, sql: string): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await alterTable(client, sql);
    await client.query('commit');
  } finally {
    await client.query('rollback');
    client.release();
  }
}
