import type pg from 'pg';
import { bigint, boolean, integer, text } from './codec.ts';
import type { TimeReading } from './database-clock.ts';
import { notePassing } from './pooler.ts';
import { MEANING, type Settings } from './session-settings.ts';
import { ReadOnlyServerError } from './sqlstate.ts';
import { rowsOf, statement } from './statement.ts';
import { Tx } from './transaction.ts';

/** A server that takes a session and then says nothing is as good as none: a request waits for a connection as long (pool.ts). */
const ANSWER_WITHIN_MS = 5_000;

/**
 * Sets what a session works under, in one round trip. It is done by a statement and not by parameters of the connection: a pooler
 * refuses most of those, and options of the URL would win over them. Where a pooler is in the way nothing is set, since the next
 * transaction may get another session, and this one somebody else; then each transaction sets all of it for itself (pooler.ts).
 * @returns whether a pooler is in the way, and what the server's clock showed
 * @throws {ReadOnlyServerError} if it must write and nothing can be written there, so that no such session gets into a pool
 * @throws {Error} that stands for an outage, if the server does not answer in time
 */
export async function prepareSession(
  client: pg.ClientBase,
  bounds: Settings,
  use: 'must write' | 'may only read' = 'must write',
): Promise<{ readonly isPooled: boolean; readonly time: TimeReading }> {
  const settings = asRows(bounds);
  const askedAtMs = performance.now();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error('timeout exceeded when trying to connect')), ANSWER_WITHIN_MS);
  try {
    const asked = PREPARE.one(new Tx(client), { settings, processId: processIdOf(client) });
    const { isReadOnly, isPooled, nowMs: databaseMs } = await Promise.race([asked, late.promise]);
    if (isReadOnly && use === 'must write') throw new ReadOnlyServerError();
    if (isPooled) notePassing(client, bounds);
    return { isPooled, time: { askedAtMs, answeredAtMs: performance.now(), databaseMs } };
  } finally {
    clearTimeout(timer);
  }
}

/** Sets the same for a session that is kept to its end: that of a migration, which is never begun through a pooler that takes sessions away. */
export async function prepareKeptSession(client: pg.ClientBase, bounds: Settings): Promise<void> {
  await SET.run(new Tx(client), { settings: asRows(bounds) });
}

/** Whether somebody stands between this connection and its server, who made up a session's number of his own. */
export async function isPooled(client: pg.ClientBase): Promise<boolean> {
  return (await PREPARE.one(new Tx(client), { settings: [], processId: processIdOf(client) })).isPooled;
}

const asRows = (bounds: Settings) =>
  Object.entries({ ...MEANING, ...bounds }).map(([name, value]) => ({ name, value }));

/** The number that the connection was given for its session, which the driver's types do not have; 0 if it was given none. */
function processIdOf(client: pg.ClientBase): number {
  return 'processID' in client && typeof client.processID === 'number' ? client.processID : 0;
}

const PREPARE = statement({
  params: { settings: rowsOf({ name: text, value: text }), processId: integer },
  row: { isReadOnly: boolean, isPooled: boolean, nowMs: bigint, count: bigint },
  text: ({ settings, processId }) => `
    select current_setting('transaction_read_only') = 'on' as is_read_only, pg_backend_pid() <> ${processId} as is_pooled,
      (extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms, count(set_config(s.name, s.value, false)) as count
    from ${settings('s')} where pg_backend_pid() = ${processId}`,
});

const SET = statement({
  params: { settings: rowsOf({ name: text, value: text }) },
  row: { count: bigint },
  text: ({ settings }) => `select count(set_config(s.name, s.value, false)) as count from ${settings('s')}`,
});
