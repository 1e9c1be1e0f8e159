import { FairQueue } from '../../db/fair-queue.ts';
import type { NoteLimited } from './limited.ts';
import { turnAway } from './turn-away.ts';

/** The most reads that wait, of one merchant and in all. They have no body, so they take little memory. */
const MAX_WAITING = { each: { items: 500, bytes: 0 }, total: { items: 2_000, bytes: 0 } };
const ONE = { items: 1, bytes: 0 };

interface Waiting {
  readonly owner: string;
  readonly bytes: 0;
  readonly begin: () => void;
}

/**
 * Bounds how many reads a process makes at once, since an answer may take megabytes while it is made, and connections that postings
 * need. Merchants take turns, so that nobody waits behind all that another asks.
 */
export class ReadTurns {
  readonly #waiting = new FairQueue<Waiting>(MAX_WAITING);
  readonly #note: NoteLimited;
  #free: number;

  constructor(atOnce: number, note: NoteLimited) {
    this.#free = atOnce;
    this.#note = note;
  }

  /**
   * Runs `read` when it is the merchant's turn.
   * @throws {TurnedAwayError} TOO_MANY_REQUESTS if too many of the merchant's wait already
   */
  async take<T>(merchantId: string, read: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(merchantId);
    try {
      return await read();
    } finally {
      // The next one has this one's place.
      const [next] = this.#waiting.take(ONE);
      if (next === undefined) this.#free += 1;
      else next.begin();
    }
  }

  #wait(owner: string): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.add({ owner, bytes: 0, begin: resolve })) return;
      this.#note({ who: 'merchant', limit: 'reads' }, owner);
      turnAway('TOO_MANY_REQUESTS', 'Too many requests of this merchant wait already. Try again after Retry-After.');
    });
  }
}
