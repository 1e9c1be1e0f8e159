import pg from 'pg';

/**
 * What the code relies on whatever the server, the database, the user or the URL says: how times, intervals, bytes and texts are
 * written, and that each statement sees what others committed before it. Under
 * `datestyle = 'SQL, DMY'` an expired API key was taken for one that never ends.
 */
export const MEANING = {
  datestyle: 'ISO, YMD',
  intervalstyle: 'postgres',
  timezone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: '1',
  standard_conforming_strings: 'on',
  default_transaction_isolation: 'read committed',
} as const;

/** Settings by name, in the words in which `pg_settings` has them. */
export type Settings = Readonly<Record<string, string>>;

/** The names of all that a session of ours sets. */
export const OWN_SETTINGS: ReadonlySet<string> = new Set([
  ...Object.keys(MEANING),
  ...['application_name', 'enable_seqscan', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'],
]);

/** How a transaction begins that cannot rely on its session: with all settings, in one round trip. */
export function beginWith(settings: Settings): string {
  const all = Object.entries({ ...MEANING, ...settings });
  const each = all.map(([name, value]) => `; set local ${name} = ${pg.escapeLiteral(value)}`);
  return `begin isolation level ${MEANING.default_transaction_isolation}${each.join('')}`;
}
