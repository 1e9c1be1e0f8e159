/**
 * The closed list of what may go wrong in a way a caller can cause or mend, with the HTTP status of each.
 * Nothing else in the code names a status for a failure. The wallet codes and the body `{code, message}`
 * are Dodo Payments' own, so that a client written for Dodo reads ours.
 */
export const ERROR_STATUS = {
  INVALID_QUERY_PARAMS: 400,
  INSUFFICIENT_WALLET_FUNDS: 400,
  BALANCE_LIMIT_EXCEEDED: 400,
  INVALID_IDEMPOTENCY_KEY: 400,
  UNAUTHORIZED: 401,
  INVALID_SIGNATURE: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CUSTOMER_NOT_FOUND: 404,
  NOT_SERVED_HERE: 404,
  METHOD_NOT_ALLOWED: 405,
  IDEMPOTENCY_KEY_EXISTS: 409,
  CONFLICT: 409,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  INVALID_REQUEST_BODY: 422,
  UNSUPPORTED_CURRENCY: 422,
  MAXIMUM_KEYS_REACHED: 422,
  IDEMPOTENCY_KEY_REUSED: 422,
  TOO_MANY_REQUESTS: 429,
  INTERNAL_SERVER_ERROR: 500,
  NOT_IMPLEMENTED: 501,
  SERVICE_UNAVAILABLE: 503,
} as const satisfies Record<string, number>;

export type ErrorCode = keyof typeof ERROR_STATUS;

/** A failure that may happen, as a value. `details` become further fields of the HTTP error body. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export function refusal(code: ErrorCode, message: string, details?: Record<string, unknown>): Refusal {
  return details === undefined ? { code, message } : { code, message, details };
}

/** Carries a refusal out of a place that cannot return it, such as a middleware or a request handler. */
export class RefusalError extends Error {
  readonly refusal: Refusal;

  constructor(refused: Refusal) {
    super(refused.message);
    this.name = 'RefusalError';
    this.refusal = refused;
  }
}

/** Throws a {@link RefusalError}; a function so that it can stand in an expression. */
export function refuse(code: ErrorCode, message: string, details?: Record<string, unknown>): never {
  throw new RefusalError(refusal(code, message, details));
}

/** What must never happen: a mistake in this program, or books that disagree with themselves. */
export class InvariantError extends Error {
  constructor(message: string) {
    super(`Invariant broken: ${message}`);
    this.name = 'InvariantError';
  }
}

/**
 * Stops the work at hand when `condition` does not hold. It stays on in production: with other people's
 * money, an operation that fails loudly is better than one that goes on with wrong numbers.
 * @throws {InvariantError}
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
