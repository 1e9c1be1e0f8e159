import { invariant } from '../errors.ts';
import { isHeldUp, isUnavailable } from './sqlstate.ts';

export interface LaneOptions<Item, Result> {
  /** Does the work of a whole batch atomically and returns one result for each item, in order. */
  readonly flush: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** The most items of one flush. */
  readonly maxBatch: number;
  /** The most items that may wait; beyond it {@link LaneFullError}, so that a stalled database cannot eat the memory. */
  readonly maxWaiting: number;
  /** Told the size of every batch, and how long its first item has waited; for metrics. */
  readonly onFlush?: (size: number, waitedSeconds: number) => void;
}

/** More work waits than the lane may hold. The caller should answer that it is busy. */
export class LaneFullError extends Error {
  constructor() {
    super('too much work is waiting');
    this.name = 'LaneFullError';
  }
}

/** A batch that was held up by one locked wallet is tried apart like any other: the rest need not wait for it. */
function isOutage(error: unknown): boolean {
  return isUnavailable(error) && !isHeldUp(error);
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly sinceMs: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Turns concurrent callers into batches without a timer: an item that finds the lane idle is flushed at once, alone; items
 * that arrive while a flush is under way leave together with the next. So an idle system pays no latency, and a busy
 * one commits many items in one transaction.
 *
 * When a batch fails, its items are tried apart, so that one bad item never fails its neighbours; when the database is
 * away, which is nobody's fault, all of them fail at once. `flush` must bear repetition: a batch may have been
 * committed although it seemed to fail.
 */
export class Lane<Item, Result> {
  readonly #options: LaneOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  #running: Promise<void> | null = null;

  constructor(options: LaneOptions<Item, Result>) {
    this.#options = options;
  }

  /** How many items wait for a flush. */
  get depth(): number {
    return this.#waiting.length;
  }

  /** Resolves with the item's result once its batch is durable. */
  submit(item: Item): Promise<Result> {
    if (this.#waiting.length >= this.#options.maxWaiting) return Promise.reject(new LaneFullError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, sinceMs: performance.now(), resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when everything submitted so far is settled. */
  async drain(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  async #run(): Promise<void> {
    // Items submitted in the same turn of the event loop (one batch request, say) leave together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.maxBatch);
      await this.#flush(batch);
    }
    this.#running = null;
  }

  async #flushApart(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    for (const [index, { item, resolve, reject }] of batch.entries()) {
      try {
        const [result] = await this.#options.flush([item]);
        resolve(result as Result);
      } catch (error) {
        reject(error);
        // An outage in the middle would cost each of the others its time-out, one after another.
        if (isOutage(error)) {
          for (const other of batch.slice(index + 1)) other.reject(error);
          return;
        }
      }
    }
  }

  async #flush(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      this.#options.onFlush?.(batch.length, (performance.now() - (batch[0]?.sinceMs ?? 0)) / 1000);
      const results = await this.#options.flush(batch.map(({ item }) => item));
      invariant(results.length === batch.length, 'a flush returned another number of results than items');
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (batch.length === 1 || isOutage(error)) for (const { reject } of batch) reject(error);
      else await this.#flushApart(batch);
    }
  }
}
