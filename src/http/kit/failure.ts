import { UnreadableSecretError } from '../../crypto/secret-box.ts';
import { LaneFullError } from '../../db/batcher.ts';
import { isUnavailable } from '../../db/sqlstate.ts';
import { ERROR_STATUS, type Refusal, RefusalError, refusal } from '../../errors.ts';
import type { Reply } from './route.ts';

/** A failure as an HTTP answer, and whether it is a mistake of ours that wants to be logged with its stack. */
export interface Failure extends Reply {
  readonly unexpected: boolean;
}

/**
 * A request without an idempotency key failed, and to send it again might do its work twice: the caller has to look
 * first, and its SDK must not repeat by itself.
 */
export class KeylessError extends Error {
  constructor(cause: unknown) {
    super('a request without an idempotency key failed', { cause });
    this.name = 'KeylessError';
  }
}

/** Turns whatever a handler threw into an answer. What we did not foresee says nothing about itself to the outside. */
export function failureOf(error: unknown): Failure {
  if (error instanceof RefusalError) return { ...replyTo(error.refusal), unexpected: false };
  if (error instanceof KeylessError) return failureOfKeyless(error.cause);
  if (error instanceof LaneFullError) return { ...replyTo(refusal('SERVICE_UNAVAILABLE', BUSY)), unexpected: false };
  if (isUnavailable(error)) return { ...replyTo(refusal('SERVICE_UNAVAILABLE', AWAY)), unexpected: false };
  // A key is missing from the configuration: providers must come again once it is back.
  if (error instanceof UnreadableSecretError)
    return { ...replyTo(refusal('SERVICE_UNAVAILABLE', AWAY)), unexpected: true };
  // A path whose percent signs decode to nothing.
  if (error instanceof URIError) return { ...replyTo(refusal('NOT_FOUND', NOWHERE)), unexpected: false };
  return { ...replyTo(refusal('INTERNAL_SERVER_ERROR', 'Something went wrong on our side.')), unexpected: true };
}

function failureOfKeyless(cause: unknown): Failure {
  if (cause instanceof LaneFullError) {
    return { ...replyTo(refusal('SERVICE_UNAVAILABLE', BUSY), true), unexpected: false };
  }
  const unexpected = !isUnavailable(cause);
  const code = unexpected ? 'INTERNAL_SERVER_ERROR' : 'SERVICE_UNAVAILABLE';
  return { ...replyTo(refusal(code, UNSURE), true), unexpected };
}

export const NOWHERE = 'There is nothing at this address.';
const BUSY = 'Too much is waiting to be written. Try again shortly.';
const UNSURE =
  'Something went wrong on our side, and the entry may or may not be written. Look at the ledger before trying again; with an idempotency key it is safe to repeat.';
const AWAY = 'The service is not available right now. Try again shortly, with the same idempotency key.';

/** The status, the body `{code, message, …details}` and the headers that a refusal stands for. */
export function replyTo({ code, message, details }: Refusal, noRetry = false): Reply {
  const status = ERROR_STATUS[code];
  const headers: Record<string, string> = {};
  if (code === 'UNAUTHORIZED') headers['www-authenticate'] = 'Bearer';
  if (code === 'SERVICE_UNAVAILABLE') headers['retry-after'] = '1';
  // Dodo Payments' SDKs repeat every 409 and 5xx by themselves unless told not to; the answer to these would be the same.
  if (noRetry || status === 409 || status === 501) headers['x-should-retry'] = 'false';
  return { status, headers, body: { code, message, ...details } };
}
