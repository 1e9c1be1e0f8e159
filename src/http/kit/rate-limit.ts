import { createHash, randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import type { Clock } from '../../clock.ts';
import type { Pool } from '../../db/pool.ts';
import type { Caller } from '../../merchants/api-keys.ts';
import type { Logger } from '../../telemetry/log.ts';
import { networkOf } from './address.ts';
import { setHeader } from './answer-headers.ts';
import type { NoteLimited } from './limited.ts';
import { SharedLimit, type Used } from './shared-limit.ts';
import { turnAway } from './turn-away.ts';

/** Wrong keys a minute from one address. Keys are too long to be guessed; the limit only saves us the work of checking. */
const FAILED_AUTHENTICATIONS_PER_MINUTE = 60;

/**
 * Pages for people that one address gets in a minute: the API's document has 300 kB and whoever asks sends 60 bytes, so a stranger could
 * have a process write a gigabyte in two seconds. A browser takes six of them for the whole of /docs.
 */
const PAGES_PER_MINUTE = 120;

const TOO_MUCH_WORK = 'Too many requests. Try again after the time in Retry-After.';
const TOO_MANY_PAGES = 'Too many pages were asked for from this address. Try again after the time in Retry-After.';
const WRONG_KEYS = 'Too many wrong keys came from this address. Try again after the time in Retry-After.';

interface LimitServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly noteLimited: NoteLimited;
}

export interface RateLimits {
  /**
   * @param work how many requests it counts for, 1 unless given
   * @throws {TurnedAwayError} TOO_MANY_REQUESTS when the caller's key had used up its minute before
   */
  countRequest(response: ServerResponse, caller: Caller, work?: number): Promise<void> | undefined;
  /** Counts a key that may turn out wrong for the address that it came from, before anything is asked about it. */
  countGuess(address: string): Promise<Guess>;
}

/** A key that is not known to be right, counted for its address. */
interface Guess {
  /** More came from the address in this minute than may be wrong. */
  readonly isOver: boolean;
  /** It was wrong. @throws {TurnedAwayError} TOO_MANY_REQUESTS if it was one too many */
  wasWrong(response: ServerResponse): void;
  /** It was right, or nothing could be found out: it does not count. */
  takeBack(): Promise<void>;
}

/**
 * Makes the limits, which callers see in `X-RateLimit-*` and `Retry-After`. The limit of a key is a promise to its merchant, so
 * it is counted over all processes (docs/decisions/0002-rate-limits.md). The limit of failed authentications protects a process,
 * so each process counts its own.
 * @param perMinute requests of a key in a minute; 0 switches the limit of keys off
 */
export function createRateLimits(perMinute: number, { pool, clock, logger, noteLimited }: LimitServices): RateLimits {
  const byKey = perMinute === 0 ? null : new SharedLimit({ limit: perMinute, pool, logger });
  const byAddress = new RateLimiterMemory({ points: FAILED_AUTHENTICATIONS_PER_MINUTE, duration: 60 });
  const salt = randomBytes(16);
  // Whoever has something left is let in with the whole of its work: else a batch larger than the limit never could be.
  const admit = (
    response: ServerResponse,
    limit: number,
    { requests, msLeft, work = 1, message }: Used & { readonly work?: number; readonly message: string },
  ) => {
    setHeader(response, 'x-ratelimit-limit', limit);
    setHeader(response, 'x-ratelimit-remaining', Math.max(limit - requests, 0));
    setHeader(response, 'x-ratelimit-reset', Math.ceil((clock.now().getTime() + msLeft) / 1000));
    if (requests - work < limit) return;
    setHeader(response, 'retry-after', Math.ceil(msLeft / 1000));
    turnAway('TOO_MANY_REQUESTS', message);
  };
  return {
    countRequest(response, { merchantId, keyId }, work = 1) {
      return byKey?.count(keyId, work).then((used) => {
        if (used.requests - work >= perMinute) noteLimited({ who: 'merchant', limit: 'requests' }, merchantId);
        admit(response, perMinute, { ...used, work, message: TOO_MUCH_WORK });
      });
    },
    async countGuess(address) {
      const place = placeOf(address, salt);
      const { consumedPoints: requests, msBeforeNext: msLeft } = await byAddress.penalty(place);
      const isOver = requests > FAILED_AUTHENTICATIONS_PER_MINUTE;
      return {
        isOver,
        wasWrong: (response) => {
          if (isOver) noteLimited({ who: 'address', limit: 'wrong keys' }, address);
          admit(response, FAILED_AUTHENTICATIONS_PER_MINUTE, { requests, msLeft, message: WRONG_KEYS });
        },
        takeBack: async () => {
          await byAddress.reward(place);
        },
      };
    },
  };
}

/**
 * Bounds what strangers are written of the pages that need no key. Each process counts its own, since the limit protects a process.
 * @returns a handler of Express, which throws TurnedAwayError TOO_MANY_REQUESTS when the address had its pages of this minute
 */
export function createPageLimit({ noteLimited }: Pick<LimitServices, 'noteLimited'>): RequestHandler {
  const byAddress = new RateLimiterMemory({ points: PAGES_PER_MINUTE, duration: 60 });
  const salt = randomBytes(16);
  return async (request, response, next) => {
    const address = request.ip ?? '';
    const { consumedPoints, msBeforeNext } = await byAddress.penalty(placeOf(address, salt));
    if (consumedPoints <= PAGES_PER_MINUTE) return next();
    noteLimited({ who: 'address', limit: 'pages' }, address);
    response.setHeader('retry-after', Math.ceil(msBeforeNext / 1000));
    return turnAway('TOO_MANY_REQUESTS', TOO_MANY_PAGES);
  };
}

/**
 * One of 65,536 places for an address, so that many addresses cannot fill the memory. Two addresses in one place share a limit
 * of failures, which harms neither, since a right key always passes. The salt keeps a stranger from choosing another's place.
 */
export function placeOf(address: string, salt: Buffer): string {
  const digest = createHash('sha256').update(salt).update(networkOf(address)).digest();
  return String(digest.readUInt16BE());
}
