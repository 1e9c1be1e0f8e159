import { ConfigError, VARIABLES } from '../config/env.ts';
import { ENV_FILE, fromFile } from '../config/env-file.ts';
import { RefusalError } from '../errors.ts';
import { publicRefusal } from '../views/refusals.ts';

const NO_DATABASE =
  'Nobody answers there. If DATABASE_URL is set, is it right, and does that Postgres run? If it is not, start npm start in this folder.';
const HINTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: NO_DATABASE,
  ENOTFOUND: NO_DATABASE,
  ETIMEDOUT: NO_DATABASE,
  EADDRINUSE: 'Another process has this port. Set PORT to a free one, or to 0 for any.',
  EACCES: 'Set HOST and PORT to an address this account may listen on, and DATA_DIR to a folder it may write to.',
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
  const hint = HINTS[code];
  // A host with several addresses fails with an error that has a code but no message.
  const message = error.message === '' ? `cannot connect (${code})` : error.message;
  const text = hint === undefined ? message : `${message}\n${hint}`;
  return error instanceof ConfigError ? text : withOrigins(text);
}

/** Adds which variables of the message come from the `.env` file, since people look in the environment first. */
function withOrigins(text: string): string {
  const words = new Set(text.match(/[A-Z][A-Z_]+/g));
  const names = fromFile(VARIABLES.filter((name) => words.has(name)));
  return names.length === 0 ? text : `${text}\n(From the file ${ENV_FILE}: ${names.join(', ')}.)`;
}
