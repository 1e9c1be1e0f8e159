import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { outboxDueInSeconds } from '../ledger/outbox-waiting.ts';
import { type AnnounceOptions, announce } from './announce.ts';
import { PassingOver } from './pass-over.ts';
import { createTicker, type Ticker } from './ticker.ts';
import { unsentDueInSeconds } from './unsent.ts';

export type AnnouncerOptions = Omit<AnnounceOptions, 'signal' | 'maxSeconds' | 'passing'>;

/** After this time a run ends even if more is due; the next run follows at once and reads the list again. */
const MAX_SECONDS = 40;

/**
 * The announcer of a process: it announces when it is woken, and when its ticker finds something due. Only one run goes on at a
 * time, since the limit on memory is for the whole process.
 */
export class Announcer {
  readonly #options: AnnouncerOptions;
  readonly #closing = new AbortController();
  readonly #ticker: Ticker;
  readonly #passing: PassingOver;
  #running: Promise<void> | null = null;
  #isWanted = false;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    const { pool, logger } = options;
    this.#passing = new PassingOver(options);
    this.#ticker = createTicker({
      look: () => newsDueInSeconds(pool),
      wake: () => this.#wakeAlone(),
      logger,
    });
  }

  /**
   * Announces what is due now. If a run is under way, another one follows it.
   * @returns a promise that settles with the run under way
   * @throws {Error} if the database cannot be reached
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

  /** Wakes without a caller that waits: a failure is logged, and the next tick tries again. */
  #wakeAlone(): void {
    this.wake().catch((error: unknown) => this.#options.logger.warn({ err: error }, 'announcing failed'));
  }

  /** Begins no further wallet, and waits for those under way. */
  async close(): Promise<void> {
    this.#ticker.close();
    this.#closing.abort();
    await this.#running?.catch(() => {});
  }

  async #run(): Promise<void> {
    this.#isWanted = false;
    const { signal } = this.#closing;
    const result = await announce({ ...this.#options, maxSeconds: MAX_SECONDS, signal, passing: this.#passing });
    this.#options.logger.debug(result, 'balance changes were announced');
    this.#isWanted ||= result.unfinished;
    this.#ticker.expect(result.retryAfterSeconds);
  }
}

/** Seconds until a wallet or a message is due: 0 if one is due now, null if none waits. */
async function newsDueInSeconds(pool: Pool): Promise<number | null> {
  const db = autocommit(pool);
  const dues = [await outboxDueInSeconds(db), await unsentDueInSeconds(db)].filter((due) => due !== null);
  return dues.length === 0 ? null : Math.min(...dues);
}
