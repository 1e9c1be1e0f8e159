import { mayBeOfOneMerchant } from './apart.ts';
import { isHeldUp, isOutage } from './sqlstate.ts';

/** The most that a statement which was ended for its time is taken to have cost (db/pool.ts): the work before it may have done much that counts. */
const MOST_OF_ONE_MS = 15_000;

/** So much of a run's time went to what was held up that it leaves the rest to the next run. */
export class HeldUpTooLongError extends Error {
  constructor(cause: unknown) {
    super('too many statements of this run waited for locks, or ran, for too long: the rest is left to the next run', {
      cause,
    });
    this.name = 'HeldUpTooLongError';
  }
}

/**
 * What fails in a walk over many merchants. One's trouble must not keep the walk from the others: it goes on. The run of a job then calls `rethrow` at its
 * end, so that it fails and is tried again. Where it is looked at again soon anyway, nobody calls it, and the log has what failed: the claims of messages, passing
 * over news and messages, and reconciliations, both what begins those of the schedule (a retry would begin all of them once more) and what works on them.
 */
export class Failures {
  readonly #mostLostMs: number;
  #lostMs = 0;
  #first: { readonly error: unknown } | null = null;

  /**
   * @param mostLostMs so long statements may be held up, all together, before the rest is left: well below the time after which the job is
   *   given up, and another is begun beside it. Null where something else bounds the walk.
   */
  constructor(mostLostMs: number | null) {
    this.#mostLostMs = mostLostMs ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Does a part of the work that is of one merchant, or that no other part waits for.
   * @param tell told of why it failed
   * @returns what came of it; null if it failed
   * @throws {Error} if the database is away: other parts would fare no better
   * @throws {HeldUpTooLongError} without doing it, if too much time was lost before
   */
  async outlive<Result>(work: () => Promise<Result>, tell: (error: unknown) => void): Promise<Result | null> {
    if (this.#lostMs >= this.#mostLostMs) throw new HeldUpTooLongError(this.#first?.error);
    const beganMs = performance.now();
    try {
      return await work();
    } catch (error) {
      if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
      if (isHeldUp(error)) this.#lostMs += Math.min(MOST_OF_ONE_MS, performance.now() - beganMs);
      this.#first ??= { error };
      tell(error);
      return null;
    }
  }

  /** To be called at the end. @throws {unknown} what failed first, if anything did */
  rethrow(): void {
    if (this.#first !== null) throw this.#first.error;
  }
}
