import type { Request, RequestHandler, Response } from 'express';
import { ipKeyGenerator, rateLimit } from 'express-rate-limit';
import { RefusalError, refusal } from '../../errors.ts';
import type { Caller } from '../../merchants/api-keys.ts';

const MINUTE_MS = 60_000;

/** Keys are too long to be guessed; this many wrong ones a minute from one address only cost us work. */
const FAILED_AUTHENTICATIONS_PER_MINUTE = 60;

export interface RateLimits {
  /** @throws {RefusalError} TOO_MANY_REQUESTS when the caller's key has used up its minute */
  countRequest(request: Request, response: Response, caller: Caller): Promise<void>;
  /** @throws {RefusalError} TOO_MANY_REQUESTS when too many keys that do not exist came from the address */
  countFailedAuthentication(request: Request, response: Response): Promise<void>;
}

/** Limits per process and minute, told in `X-RateLimit-*` and `Retry-After`. `perMinute` 0 switches the first off. */
export function createRateLimits(perMinute: number): RateLimits {
  const callers = new WeakMap<Request, Caller>();
  const options = {
    windowMs: MINUTE_MS,
    legacyHeaders: true,
    standardHeaders: false,
    validate: false,
    handler: ((_request, _response, next) =>
      next(
        new RefusalError(refusal('TOO_MANY_REQUESTS', 'Too many requests. Try again after the time in Retry-After.')),
      )) satisfies RequestHandler,
  };
  const byKey = rateLimit({
    ...options,
    limit: perMinute,
    keyGenerator: (request) => callers.get(request)?.keyId ?? '',
  });
  const byAddress = rateLimit({
    ...options,
    limit: FAILED_AUTHENTICATIONS_PER_MINUTE,
    keyGenerator: (request) => ipKeyGenerator(request.ip ?? ''),
  });
  return {
    async countRequest(request, response, caller) {
      if (perMinute === 0) return;
      callers.set(request, caller);
      await run(byKey, request, response);
    },
    countFailedAuthentication: (request, response) => run(byAddress, request, response),
  };
}

function run(middleware: RequestHandler, request: Request, response: Response): Promise<void> {
  return new Promise((resolve, reject) => {
    middleware(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(error)));
  });
}
