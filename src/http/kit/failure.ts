import { UnreadableSecretError } from '../../crypto/secret-box.ts';
import { BatcherFullError } from '../../db/batcher.ts';
import { ReadersBusyError, ReadTooSlowError } from '../../db/readers.ts';
import { isUnavailable } from '../../db/sqlstate.ts';
import { RefusalError } from '../../errors.ts';
import { ERROR_STATUS } from '../../views/error-status.ts';
import { type PublicRefusal, publicRefusal } from '../../views/refusals.ts';
import type { Reply } from './route.ts';
import { TurnedAwayError } from './turn-away.ts';

/** A failure as an HTTP answer. If it is `unexpected`, it is logged with its stack. */
export interface Failure extends Reply {
  readonly unexpected: boolean;
  /** The message of the answer, for the log. */
  readonly message: string;
}

/**
 * A request without an idempotency key failed, and may have done its work all the same. To send it again could do the work
 * twice, so the caller must look first and its SDK must not repeat it.
 */
export class KeylessError extends Error {
  constructor(cause: unknown) {
    super('a request without an idempotency key failed', { cause });
    this.name = 'KeylessError';
  }
}

/** Turns whatever a handler threw into an answer. The answer to an unexpected error shows nothing of that error. */
export function failureOf(error: unknown): Failure {
  if (error instanceof RefusalError) return foreseen(publicRefusal(error.refusal));
  if (error instanceof TurnedAwayError) return foreseen(error.refusal);
  if (error instanceof KeylessError) return failureOfKeyless(error.cause);
  if (error instanceof BatcherFullError) return foreseen(busy(error));
  if (error instanceof ReadersBusyError) return foreseen({ code: 'TOO_MANY_REQUESTS', message: MANY_READS });
  if (error instanceof ReadTooSlowError) return { ...foreseen(TOO_SLOW), ...replyTo(TOO_SLOW, true) };
  if (isUnavailable(error)) return foreseen(unavailable(AWAY));
  // An encryption key is missing in the configuration. With 503, providers send their events again later.
  if (error instanceof UnreadableSecretError) return { ...foreseen(unavailable(AWAY)), unexpected: true };
  // The path has percent signs that cannot be decoded.
  if (error instanceof URIError) return foreseen({ code: 'NOT_FOUND', message: NOWHERE });
  const unforeseen = { code: 'INTERNAL_SERVER_ERROR', message: 'Something went wrong on our side.' } as const;
  return { ...foreseen(unforeseen), unexpected: true };
}

function failureOfKeyless(cause: unknown): Failure {
  if (cause instanceof BatcherFullError) return { ...foreseen(busy(cause)), ...replyTo(busy(cause), true) };
  const unexpected = !isUnavailable(cause);
  const refused: PublicRefusal = {
    code: unexpected ? 'INTERNAL_SERVER_ERROR' : 'SERVICE_UNAVAILABLE',
    message: UNSURE,
  };
  return { ...foreseen(refused), ...replyTo(refused, true), unexpected };
}

function unavailable(message: string): PublicRefusal {
  return { code: 'SERVICE_UNAVAILABLE', message };
}

function foreseen(refused: PublicRefusal): Failure {
  return { ...replyTo(refused), message: refused.message, unexpected: false };
}

/** A merchant has to slow down; a provider only knows that it has to come again. */
function busy({ sharedBy }: BatcherFullError): PublicRefusal {
  return sharedBy === 'merchant' ? { code: 'TOO_MANY_REQUESTS', message: SLOW_DOWN } : unavailable(BUSY);
}

export const NOWHERE = 'There is nothing at this address.';
const BUSY = 'Too much is waiting to be written. Try again shortly.';
const SLOW_DOWN =
  'Too much of this merchant is waiting; nothing of this was done. Try again after the time in Retry-After.';
const MANY_READS =
  'Too many searches and lists of this merchant are waiting. Try again after the time in Retry-After, with fewer at once.';
const TOO_SLOW: PublicRefusal = {
  code: 'QUERY_TOO_SLOW',
  message: 'This search or list was ended after 5 seconds. Ask for less: a narrower filter, or a smaller page.',
};
const UNSURE =
  'Something went wrong on our side, and the entry may or may not be written. Look at the ledger before trying again; with an idempotency key it is safe to repeat.';
const AWAY = 'The service is not available right now. Try again shortly, with the same idempotency key.';

/** The status, the body `{code, message, …details}` and the headers that a refusal stands for. */
export function replyTo({ code, message, details }: PublicRefusal, noRetry = false): Reply {
  const status = ERROR_STATUS[code];
  const headers: Record<string, string> = {};
  if (code === 'UNAUTHORIZED') headers['www-authenticate'] = 'Bearer';
  // A limit a minute sets a longer time of its own.
  if (code === 'QUERY_TOO_SLOW') headers['retry-after'] = '5';
  if (code === 'SERVICE_UNAVAILABLE' || code === 'TOO_MANY_REQUESTS') headers['retry-after'] = '1';
  // Dodo Payments' SDKs repeat every 409 and 5xx by themselves unless told not to; the answer to these would be the same.
  if (noRetry || status === 409 || status === 501 || code === 'HOLDS_NOT_YET') headers['x-should-retry'] = 'false';
  return { status, headers, body: { code, message, ...details } };
}
