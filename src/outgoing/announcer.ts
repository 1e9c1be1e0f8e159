import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { unannouncedDueInSeconds } from '../ledger/outbox.ts';
import { type AnnounceOptions, announce } from './announce.ts';
import { createTicker, type Ticker } from './ticker.ts';
import { unsentDueInSeconds } from './unsent.ts';

export type AnnouncerOptions = Omit<AnnounceOptions, 'signal' | 'maxSeconds'>;

/** A run that has more to say than that ends by itself and is followed by the next, which looks at the list afresh. */
const MAX_SECONDS = 40;

/**
 * The announcer of a process: announces when it is woken, and by itself when its ticker finds something due. One run at a
 * time, since the memory that a run may take is the process's.
 */
export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #closing = new AbortController();
  readonly #ticker: Ticker;
  #running: Promise<void> | null = null;
  #isWanted = false;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    const { pool, logger } = options;
    this.#ticker = createTicker({
      look: () => announcementsDueInSeconds(pool),
      wake: () => this.#wakeAlone(),
      logger,
    });
  }

  /**
   * Announces what is due now. While a run is under way, another follows it.
   * @returns settled when the run under way is
   * @throws if the database cannot be reached
   */
  wake(): Promise<void> {
    if (this.#closing.signal.aborted) return this.#running ?? Promise.resolve();
    if (this.#running !== null) this.#isWanted = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
      if (this.#isWanted) this.#wakeAlone();
    });
    return this.#running;
  }

  /** For which no job fails: the next tick tries again. */
  #wakeAlone(): void {
    this.wake().catch((error: unknown) => this.#options.logger.warn({ err: error }, 'announcing failed'));
  }

  /** Begins no wallet any more, and lets those under way finish. */
  async close(): Promise<void> {
    this.#ticker.close();
    this.#closing.abort();
    await this.#running?.catch(() => {});
  }

  async #run(): Promise<void> {
    this.#isWanted = false;
    const { signal } = this.#closing;
    const result = await announce({ ...this.#options, maxSeconds: MAX_SECONDS, signal });
    this.#options.logger.debug(result, 'balance changes were announced');
    this.#isWanted ||= result.unfinished;
    this.#ticker.expect(result.retryAfterSeconds);
  }
}

/** How long until a wallet or a message is due: 0 if one is now, null if none is going to be. */
async function announcementsDueInSeconds(pool: Pool): Promise<number | null> {
  const db = autocommit(pool);
  const dues = [await unannouncedDueInSeconds(db), await unsentDueInSeconds(db)].filter((due) => due !== null);
  return dues.length === 0 ? null : Math.min(...dues);
}
