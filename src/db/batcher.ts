import { invariant } from '../errors.ts';
import { isHeldUp, isOutage } from './sqlstate.ts';

export interface LaneOptions<Item, Result> {
  /**
   * Does the work of a whole batch atomically and returns one result for each item, in order.
   * @param isHurried the batch was waited for before, in vain: what still is not free should not be waited for as long
   */
  readonly flush: (items: readonly Item[], isHurried: boolean) => Promise<readonly Result[]>;
  /**
   * Names the row that an item locks. Items of one row fail together when it is held by somebody else: each of them would
   * wait for as long, one after another, and everybody behind them. Without this, every item is its own.
   */
  readonly rowOf?: (item: Item) => string;
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

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly sinceMs: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** A connection that was lost between two statements is noticed sooner than this, and the next batch has a new one. */
const OUTAGE_PATIENCE_MS = 1_000;

/**
 * Turns concurrent callers into batches without a timer: an item that finds the lane idle is flushed at once, alone; items
 * that arrive while a flush is under way leave together with the next. So an idle system pays no latency, and a busy
 * one commits many items in one transaction.
 *
 * When a batch fails, its items are tried apart, so that one bad item or held row never fails its neighbours; when the
 * database is away, which is nobody's fault, all of them fail at once, and so does what has waited behind them for long.
 * `flush` must bear repetition: a batch may have been committed although it seemed to fail.
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
      this.#options.onFlush?.(batch.length, (performance.now() - (batch[0]?.sinceMs ?? 0)) / 1000);
      const outage = await this.#flush(batch, false);
      if (outage !== null) this.#failOverdue(outage);
    }
    this.#running = null;
  }

  /** Who waited while a batch timed out would wait as long again for the next one to find the same. */
  #failOverdue(outage: unknown): void {
    const overdueSince = performance.now() - OUTAGE_PATIENCE_MS;
    const overdue = this.#waiting.findIndex(({ sinceMs }) => sinceMs > overdueSince);
    for (const { reject } of this.#waiting.splice(0, overdue === -1 ? this.#waiting.length : overdue)) reject(outage);
  }

  /** @returns the outage that made it fail, or null; the items know of every failure anyway */
  async #flush(batch: readonly Waiting<Item, Result>[], isHurried: boolean): Promise<unknown> {
    try {
      const items = batch.map(({ item }) => item);
      const results = await this.#options.flush(items, isHurried);
      invariant(results.length === batch.length, 'a flush returned another number of results than items');
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
      return null;
    } catch (error) {
      const parts = this.#partsOf(batch, error);
      if (parts.length === 0) for (const { reject } of batch) reject(error);
      return isOutage(error) ? error : this.#flushApart(parts, isHurried || isHeldUp(error));
    }
  }

  async #flushApart(parts: readonly (readonly Waiting<Item, Result>[])[], isHurried: boolean): Promise<unknown> {
    for (const [index, part] of parts.entries()) {
      const outage = await this.#flush(part, isHurried);
      if (outage === null) continue;
      // An outage in the middle would cost each of the others its time-out, one after another.
      for (const { reject } of parts.slice(index + 1).flat()) reject(outage);
      return outage;
    }
    return null;
  }

  /** How a failed batch is tried again: by row, then by item; not at all where that would help nobody. */
  #partsOf(batch: readonly Waiting<Item, Result>[], error: unknown): (readonly Waiting<Item, Result>[])[] {
    if (batch.length === 1 || isOutage(error)) return [];
    const { rowOf } = this.#options;
    const rows = rowOf === undefined ? [] : [...Map.groupBy(batch, ({ item }) => rowOf(item)).values()];
    if (rows.length > 1) return rows;
    return rows.length === 1 && isHeldUp(error) ? [] : batch.map((one) => [one]);
  }
}
