import pg from 'pg';

/** Groups of Postgres' error codes by what to do about them (PostgreSQL manual, appendix A). */

/** The transaction lost a race and may simply run again: serialization failure, deadlock. */
export function isRaceLost(error: unknown): boolean {
  return hasCode(error, ['40001', '40P01']);
}

/** A row with this key is already there. */
export function isUniqueViolation(error: unknown): boolean {
  return hasCode(error, ['23505']);
}

/**
 * The database cannot serve us now: it is gone, starting, stopping, full, out of connections, or too slow. What failed
 * with this may or may not have been committed, so the caller must be able to repeat it.
 */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? '';
    const outage = ['08', '53', '58'].some((group) => code.startsWith(group));
    return outage || ['57P01', '57P02', '57P03', '57P05', '57014', '55P03', '25P03'].includes(code);
  }
  if ('code' in error && typeof error.code === 'string' && NETWORK_CODES.has(error.code)) return true;
  return UNAVAILABLE_MESSAGES.some((text) => error.message.includes(text));
}

const NETWORK_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT']);

/** The pg driver reports a lost connection and a full pool as plain errors without a code. */
const UNAVAILABLE_MESSAGES = [
  'Connection terminated',
  'timeout exceeded when trying to connect',
  'Client has encountered a connection error',
  'Query read timeout',
  'Cannot use a pool after calling end on the pool',
];

function hasCode(error: unknown, codes: readonly string[]): boolean {
  return error instanceof pg.DatabaseError && error.code !== undefined && codes.includes(error.code);
}
