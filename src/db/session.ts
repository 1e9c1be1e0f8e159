import { bigint, boolean, text } from './codec.ts';
import { MEANING } from './session-settings.ts';
import { ReadOnlyServerError } from './sqlstate.ts';
import { rowsOf, statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** A server that takes a session and then says nothing is as good as none: a request waits for a connection as long (pool.ts). */
const ANSWER_WITHIN_MS = 5_000;

/**
 * Sets what a session works under, in one round trip. It is done by a statement and not by parameters of the connection: a pooler
 * refuses most of those, and options of the URL would win over them.
 * @param bounds further settings by name, such as `statement_timeout`
 * @throws {ReadOnlyServerError} if it must write and nothing can be written there, so that no such session gets into a pool
 * @throws {Error} that stands for an outage, if the server does not answer in time
 */
export async function prepareSession(
  db: Queryable,
  bounds: Readonly<Record<string, string>>,
  use: 'must write' | 'may only read' = 'must write',
): Promise<void> {
  const settings = Object.entries({ ...MEANING, ...bounds }).map(([name, value]) => ({ name, value }));
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error('timeout exceeded when trying to connect')), ANSWER_WITHIN_MS);
  try {
    const { isReadOnly } = await Promise.race([PREPARE.one(db, { settings }), late.promise]);
    if (isReadOnly && use === 'must write') throw new ReadOnlyServerError();
  } finally {
    clearTimeout(timer);
  }
}

const PREPARE = statement({
  params: { settings: rowsOf({ name: text, value: text }) },
  row: { isReadOnly: boolean, count: bigint },
  text: ({ settings }) => `
    select current_setting('transaction_read_only') = 'on' as is_read_only, count(set_config(s.name, s.value, false)) as count
    from ${settings('s')}`,
});
