import pg from 'pg';
import { onCitus } from './backend.ts';
import { asOfOnePostgres } from './node-errors.ts';

/** Groups of Postgres' error codes by what to do about them (PostgreSQL manual, appendix A). */

/** What keeps the keys of requests apart that may come to two wallets of one customer at once. */
const OF_KEYS = ['entry_idempotency_key', 'checkout_idempotency_key', 'topup_key_of_request'];

/**
 * The transaction lost a race and may simply run again: serialization failure, deadlock, or an idempotency key that
 * another transaction wrote meanwhile, whose entry, checkout or top-up the repetition finds.
 */
export function isRaceLost(error: unknown): boolean {
  if (hasCode(error, ['23505'])) return error instanceof pg.DatabaseError && OF_KEYS.includes(error.constraint ?? '');
  return hasCode(error, ['40001', '40P01']);
}

/** A statement waited too long for a lock or ran too long: a matter of what it touched, not of the database as a whole. */
export function isHeldUp(error: unknown): boolean {
  return hasCode(error, ['55P03', '57014']);
}

/** A statement ran for longer than its connection allows. */
export function isTimedOut(error: unknown): boolean {
  return hasCode(error, ['57014']);
}

/** The session, or the server that it is of, only reads: after a failover it may never write again. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof ReadOnlyServerError || hasCode(error, ['25006']);
}

/** The server could not keep what was written: its disk is full or broken, or it only reads. */
export function isWriteRefused(error: unknown): boolean {
  return isReadOnly(error) || hasCode(error, ['53100', '58000', '58030', '58P01', '58P02']);
}

/** The database as a whole is away: what failed with this tells nothing about the work, and other work would fare no better. */
export function isOutage(error: unknown): boolean {
  return isUnavailable(error) && !isHeldUp(error) && !isRaceLost(error);
}

/** A new connection reached a server that only reads: a standby, or one whose `default_transaction_read_only` is on. */
export class ReadOnlyServerError extends Error {
  constructor() {
    super('the database only reads: it is a standby, or default_transaction_read_only is on');
    this.name = 'ReadOnlyServerError';
  }
}

/** The connection was lost while COMMIT was under way: the transaction may or may not have happened. */
export class OutcomeUnknownError extends Error {
  constructor(cause: unknown) {
    super('the connection to the database was lost during COMMIT', { cause });
    this.name = 'OutcomeUnknownError';
  }
}

/** The connection did not answer a statement in time. It will not answer another one either, so none should be sent. */
export function isUnanswered(error: unknown): boolean {
  if (error instanceof OutcomeUnknownError) return true;
  return error instanceof Error && error.message === 'Query read timeout';
}

/**
 * The database cannot serve us now: it is gone, starting, stopping, full, out of connections, too slow, or too busy with
 * others who won every race. What failed with this may or may not have been committed, so the caller must be able to
 * repeat it.
 */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof OutcomeUnknownError || error instanceof ReadOnlyServerError || isRaceLost(error)) return true;
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? '';
    const outage = ['08', '53', '58'].some((group) => code.startsWith(group));
    return outage || ['57P01', '57P02', '57P03', '57P05', '57014', '55P03', '25P03', '25006'].includes(code);
  }
  // Node's system errors (ECONNRESET, EHOSTUNREACH, …) and those of its TLS and DNS: there are too many to list.
  if ('code' in error && typeof error.code === 'string' && /^(E[A-Z]|ERR_(TLS|SSL|SOCKET))/.test(error.code))
    return true;
  return UNAVAILABLE_MESSAGES.some((text) => error.message.includes(text));
}

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

/** Whether Postgres itself answered with this error. */
export function isDatabaseError(error: unknown): boolean {
  return error instanceof pg.DatabaseError;
}

/** Postgres quotes rows and values in these parts of an error, which would travel with it into the jobs' output. */
export function withoutValues(error: unknown): never {
  if (error instanceof pg.DatabaseError)
    for (const part of ['detail', 'where', 'internalQuery'] as const) delete error[part];
  throw onCitus() ? asOfOnePostgres(error) : error;
}
