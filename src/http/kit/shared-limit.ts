import { RateLimiterMemory, RateLimiterPostgres } from 'rate-limiter-flexible';
import type { Pool } from '../../db/pool.ts';
import type { Logger } from '../../telemetry/log.ts';

const MINUTE_SECONDS = 60;
/** A process counts up to one of these parts of the limit by itself before it adds it to the database. */
const PARTS = 100;
/** Far more keys than merchants use in a minute. With more, the counts are forgotten, which costs one more query for each key. */
const MAX_KEYS = 10_000;

/** How much of its limit a key has used in this minute, as far as this process knows. */
export interface Used {
  /** Requests, this one included. */
  readonly requests: number;
  /** Until the minute is over. */
  readonly msLeft: number;
}

/**
 * Counts the requests of a key in a minute, over all processes on one database. Each process counts in memory and adds portions
 * of a hundredth of the limit to the count in the database, so that few requests cause a query. Only two kinds of requests wait
 * for it: the first of a minute, and those that come faster than the database answers. All processes together let through the
 * limit and about two portions more for each process; a limit of less than 200 is exact. While the database does not answer,
 * each process counts by itself.
 */
export class SharedLimit {
  readonly #here: RateLimiterMemory;
  readonly #everywhere: RateLimiterPostgres;
  readonly #limit: number;
  readonly #portion: number;
  readonly #logger: Logger;
  /** Requests that were counted here and not in the database yet. */
  readonly #uncounted = new Map<string, number>();
  /** The portions that are being added to the database now. */
  readonly #adding = new Map<string, Promise<Used>>();

  /** `limit` is in requests a minute, from 1. */
  constructor({ limit, pool, logger }: { readonly limit: number; readonly pool: Pool; readonly logger: Logger }) {
    const options = { points: limit, duration: MINUTE_SECONDS, keyPrefix: '' };
    this.#here = new RateLimiterMemory(options);
    const table = { tableName: 'rate_limit', tableCreated: true };
    this.#everywhere = new RateLimiterPostgres({ ...options, ...table, storeClient: pool, storeType: 'pool' });
    this.#limit = limit;
    this.#portion = Math.max(1, Math.floor(limit / PARTS));
    this.#logger = logger;
  }

  /** Counts a request, or work that counts for several. If there were as many `requests` as the limit before it, it is to be refused. */
  async count(key: string, work = 1): Promise<Used> {
    const { consumedPoints, msBeforeNext, isFirstInDuration } = await this.#here.penalty(key, work);
    const used = { requests: consumedPoints, msLeft: msBeforeNext };
    // A request that is refused here needs no query.
    if (consumedPoints - work >= this.#limit) return used;
    const uncounted = isFirstInDuration ? work : (this.#uncounted.get(key) ?? 0) + work;
    const isDue = isFirstInDuration || uncounted >= this.#portion;
    if (this.#uncounted.size >= MAX_KEYS) this.#uncounted.clear();
    this.#uncounted.set(key, isDue ? 0 : uncounted);
    if (!isDue) return used;
    // Requests that come faster than the database answers wait for it: else its count could be late without a limit.
    const isAhead = this.#adding.has(key);
    const added = this.#add(key, uncounted, used).finally(() => {
      if (this.#adding.get(key) === added) this.#adding.delete(key);
    });
    this.#adding.set(key, added);
    return isFirstInDuration || this.#portion === 1 || isAhead ? added : used;
  }

  /** Adds to the count of all processes, and takes it over. Never rejects. */
  async #add(key: string, requests: number, used: Used): Promise<Used> {
    try {
      const all = await this.#everywhere.penalty(key, requests);
      // The minute has just ended.
      if (all.msBeforeNext <= 0) return used;
      const since = this.#uncounted.get(key) ?? 0;
      const known = (await this.#here.get(key))?.consumedPoints ?? 0;
      const total = Math.max(all.consumedPoints + since, known);
      await this.#here.set(key, total, all.msBeforeNext / 1000);
      return { requests: all.consumedPoints, msLeft: all.msBeforeNext };
    } catch (error) {
      this.#logger.warn({ err: error }, 'requests are counted by this process alone');
      return used;
    }
  }
}
