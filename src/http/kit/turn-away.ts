import type { ErrorCode } from '../../views/error-status.ts';
import type { PublicRefusal } from '../../views/refusals.ts';

/** A request that the HTTP side itself refuses, before any service is asked. */
export class TurnedAwayError extends Error {
  readonly refusal: PublicRefusal;

  constructor(refusal: PublicRefusal) {
    super(refusal.message);
    this.name = 'TurnedAwayError';
    this.refusal = refusal;
  }
}

/** Ends a request with an answer of the HTTP side's own. @throws {TurnedAwayError} */
export function turnAway(code: ErrorCode, message: string, details?: PublicRefusal['details']): never {
  throw new TurnedAwayError({ code, message, ...(details === undefined ? {} : { details }) });
}
