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

/** The names of all that a session of ours sets. */
export const OWN_SETTINGS: ReadonlySet<string> = new Set([
  ...Object.keys(MEANING),
  ...['application_name', 'enable_seqscan', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'],
]);
