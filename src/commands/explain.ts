import { ConfigError, VARIABLES } from '../config/env.ts';
import { ENV_FILE, fromFile, settingOf } from '../config/env-file.ts';
import { connectionHint } from '../db/connection-hint.ts';
import { LOSES_STATEMENTS } from '../db/way.ts';
import { RefusalError } from '../errors.ts';
import { publicRefusal } from '../views/refusals.ts';

/** Nobody answers at the database's address: that of DATABASE_URL, or else the one that `npm start` left. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'EPIPE', 'ETIMEDOUT'],
]);
/** What the driver and its pool say of a server that takes a connection and then nothing. */
const SILENT = /timeout exceeded when trying to connect|connection timeout|Query read timeout|terminated unexpectedly/;

const HINTS: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL:
    'This machine does not have that address. Set HOST to one of its own, such as 127.0.0.1, or to 0.0.0.0 for all.',
  EADDRINUSE: 'Another process has this port. Set PORT to a free one, or to 0 for any.',
  EACCES: 'Set HOST and PORT to an address this account may listen on, and DATA_DIR to a folder it may write to.',
  '42P05': LOSES_STATEMENTS,
  '26000': LOSES_STATEMENTS,
  '25006': 'The database only reads: let DATABASE_URL lead to the primary, or wait until the failover is over.',
  '28000':
    'The server does not let this user in from here: see its pg_hba.conf, and whether the user in DATABASE_URL is there and may log in.',
  '53100': 'The disk of the server is full: make room there, and try again.',
  '53300':
    'The server has no connection left. Lower DATABASE_POOL_SIZE or the number of processes, raise its max_connections, or put a pooler in between.',
  '55P03': 'Another session holds a lock on what this needs. Try again; pg_stat_activity says who, if it stays so.',
  '57014': 'The server gave a statement up for taking too long. Try again when it has less work.',
  '57P01': 'The server was stopped meanwhile. Try again once it runs.',
  '57P03': 'The server starts, stops or recovers. Try again in a moment.',
  '28P01': 'The password in DATABASE_URL is not the one the server knows.',
  '3D000': 'Create the database that DATABASE_URL names first.',
  '42P01': 'The tables are missing or old. Run npm run migrate first.',
  '42501':
    'The user in DATABASE_URL may not do this. Run npm run migrate as the owner, and see "The users of the database" in docs/operating.md.',
};

/** The message for a person at a terminal: what went wrong and, if it is known, what to do. */
export function explain(error: unknown): string {
  if (error instanceof RefusalError) return withOrigins(publicRefusal(error.refusal).message);
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const hint =
    UNREACHABLE.has(code) || SILENT.test(error.message) ? unreachable(error) : (connectionHint(error) ?? HINTS[code]);
  // A host with several addresses fails with an error that has a code but no message.
  const message = error.message === '' ? `cannot connect (${code})` : error.message;
  const text = hint === undefined ? message : `${message}\n${hint}`;
  return error instanceof ConfigError ? text : withOrigins(text);
}

function unreachable(error: Error): string {
  if ('hostname' in error && error.hostname === settingOf('HOST')) {
    return 'There is no such address. Set HOST to one of this machine, such as 127.0.0.1, or to 0.0.0.0 for all.';
  }
  return settingOf('DATABASE_URL') === null
    ? 'npm start is not running here: start it, or set DATABASE_URL to a Postgres of your own.'
    : 'Nobody answers there. Is DATABASE_URL right, and does that Postgres run?';
}

/** Adds which variables of the message come from the `.env` file, since people look in the environment first. */
function withOrigins(text: string): string {
  const words = new Set(text.match(/[A-Z][A-Z_]+/g));
  const names = fromFile(VARIABLES.filter((name) => words.has(name)));
  return names.length === 0 ? text : `${text}\n(From the file ${ENV_FILE}: ${names.join(', ')}.)`;
}
