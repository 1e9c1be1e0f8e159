import { mayBeOfOneMerchant } from './apart.ts';
import { isOutage } from './sqlstate.ts';

/**
 * What fails in a walk over many merchants. One's trouble must not keep the walk from the others: it goes on, and fails at its end, so that its job is tried
 * again.
 */
export class Failures {
  #first: { readonly error: unknown } | null = null;

  /**
   * Does a part of the work that is of one merchant, or that no other part waits for.
   * @param tell told of why it failed
   * @returns what came of it; null if it failed
   * @throws {Error} if the database is away: other parts would fare no better
   */
  async outlive<Result>(work: () => Promise<Result>, tell: (error: unknown) => void): Promise<Result | null> {
    try {
      return await work();
    } catch (error) {
      if (isOutage(error) && !mayBeOfOneMerchant(error)) throw error;
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
