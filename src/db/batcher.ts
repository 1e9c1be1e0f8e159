import { invariant } from '../errors.ts';
import { isOutageOfAll } from './apart.ts';
import { type Amount, FairQueue, type FairQueueLimits, type Queued } from './fair-queue.ts';
import { isHeldUp, isOutage } from './sqlstate.ts';

export interface BatcherOptions<Item, Result> {
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
  /** Whose an item is. Owners have their turns, so that none waits for the length of another's line. */
  readonly ownerOf: (item: Item) => string;
  /**
   * Null: a batch is filled in turn from every owner, and one is under way at a time. Else a batch is of one owner alone, and so many owners have one
   * under way beside each other (`transactionsAtOnce` says how many). In both cases an owner's batches are flushed one after another.
   */
  readonly apart: number | null;
  /** About how many bytes an item holds; 0 unless given. */
  readonly bytesOf?: (item: Item) => number;
  /** The most of one flush; a single item is flushed whatever its size. */
  readonly maxBatch: Amount;
  /** The most that may wait; beyond it {@link BatcherFullError}, so that a stalled database cannot eat the memory. */
  readonly maxWaiting: FairQueueLimits;
  /** Who has a share of what may wait; merchants unless given. */
  readonly sharedBy?: ShareHolder;
  /** Told the size of every batch, and how long its first item has waited; for metrics. */
  readonly onFlush?: (size: number, waitedSeconds: number) => void;
}

type ShareHolder = 'merchant' | 'source';

/** More work of one merchant, or one source, waits than its share. Nothing of it was done; everybody else is still served. */
export class BatcherFullError extends Error {
  readonly sharedBy: ShareHolder;
  /** Whose work it is. */
  readonly owner: string;

  constructor(sharedBy: ShareHolder, owner: string) {
    super(`too much work of one ${sharedBy} is waiting`);
    this.name = 'BatcherFullError';
    this.sharedBy = sharedBy;
    this.owner = owner;
  }
}

/** Who is answered what became of an item, by the place that it has among his. */
interface Asker<Result> {
  resolve(result: Result, place: number): void;
  reject(error: unknown, place: number): void;
}

interface Waiting<Item, Result> extends Queued {
  readonly item: Item;
  readonly sinceMs: number;
  readonly asker: Asker<Result>;
  readonly place: number;
}

/** Somebody who has many items, of one batcher or of several, and is answered once all of them are settled: without a promise for each. */
export class ManyAnswers<Result> implements Asker<Result> {
  /** In the order of the places. */
  readonly all: Promise<readonly PromiseSettledResult<Result>[]>;
  readonly #settled: PromiseSettledResult<Result>[];
  readonly #done: (settled: readonly PromiseSettledResult<Result>[]) => void;
  #left: number;

  /** @param count of items, 1 or more, each of which is settled once */
  constructor(count: number) {
    const { promise, resolve } = Promise.withResolvers<readonly PromiseSettledResult<Result>[]>();
    this.all = promise;
    this.#done = resolve;
    this.#settled = new Array(count);
    this.#left = count;
  }

  resolve(value: Result, place: number): void {
    this.#settle({ status: 'fulfilled', value }, place);
  }

  reject(reason: unknown, place: number): void {
    this.#settle({ status: 'rejected', reason }, place);
  }

  #settle(one: PromiseSettledResult<Result>, place: number): void {
    this.#settled[place] = one;
    this.#left -= 1;
    if (this.#left === 0) this.#done(this.#settled);
  }
}

/** A connection that was lost between two statements is noticed sooner than this, and the next batch has a new one. */
const OUTAGE_PATIENCE_MS = 1_000;

/**
 * Turns concurrent callers into batches without a timer: an item that finds the batcher idle is flushed at once, alone; items
 * that arrive while a flush is under way leave together with the next. So an idle system pays no latency, and a busy
 * one commits many items in one transaction. Where owners are kept apart, that holds for each of them.
 *
 * When a batch fails, its items are tried apart, so that one bad item or held row never fails its neighbours; when the
 * database is away, which is nobody's fault, all of them fail at once, and so does what has waited behind them for long.
 * `flush` must bear repetition: a batch may have been committed although it seemed to fail.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  readonly #waiting: FairQueue<Waiting<Item, Result>>;
  /** Each flushes one batch after another until nobody has a turn; null where none runs. */
  readonly #runs: (Promise<void> | null)[];

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
    this.#waiting = new FairQueue(options.maxWaiting);
    this.#runs = Array.from({ length: options.apart ?? 1 }, () => null);
  }

  /** How many items wait for a flush. */
  get depth(): number {
    return this.#waiting.length;
  }

  /** Whether an item of this owner may be submitted now. */
  hasRoom(owner: string): boolean {
    return this.#waiting.hasRoom(owner);
  }

  /**
   * Resolves with the item's result once its batch is durable.
   * @throws {BatcherFullError} if its owner has its share waiting
   * @throws {unknown} what `flush` throws for this item
   */
  submit(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => this.submitFor(item, { resolve, reject }, 0));
  }

  /** The same for somebody with many items, who is answered as {@link submit} would answer. */
  submitFor(item: Item, asker: Asker<Result>, place: number): void {
    const { ownerOf, bytesOf, sharedBy = 'merchant' } = this.#options;
    const [owner, bytes] = [ownerOf(item), bytesOf?.(item) ?? 0];
    if (this.#waiting.add({ item, owner, bytes, sinceMs: performance.now(), asker, place })) this.#begin();
    else asker.reject(new BatcherFullError(sharedBy, owner), place);
  }

  /** Resolves when everything submitted so far is settled. */
  async drain(): Promise<void> {
    while (this.#runs.some((run) => run !== null)) await Promise.all(this.#runs);
  }

  #begin(): void {
    const place = this.#runs.indexOf(null);
    if (place >= 0 && this.#waiting.hasTurn) this.#runs[place] = this.#run(place);
  }

  async #run(place: number): Promise<void> {
    // Items submitted in the same turn of the event loop (one batch request, say) leave together.
    await Promise.resolve();
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      if (this.#options.onFlush !== undefined) this.#options.onFlush(batch.length, secondsSinceFirst(batch));
      const outage = await this.#flush(batch, false);
      const owner = batch[0]?.owner ?? '';
      if (outage !== null) this.#failOverdue(outage, owner);
      this.#waiting.back(owner);
    }
    this.#runs[place] = null;
  }

  #take(): readonly Waiting<Item, Result>[] {
    const { apart, maxBatch } = this.#options;
    return apart === null ? this.#waiting.take(maxBatch) : this.#waiting.takeOfOne(maxBatch);
  }

  /**
   * Fails the items that waited while a batch timed out: in the next batch they would only time out again. Where owners are kept apart, and it may be
   * one node that is away, only those of the batch's owner fail.
   */
  #failOverdue(outage: unknown, owner: string): void {
    const overdueSince = performance.now() - OUTAGE_PATIENCE_MS;
    const isOfAll = this.#options.apart === null || isOutageOfAll(outage);
    const overdue = this.#waiting.takeWhile((one) => one.sinceMs <= overdueSince && (isOfAll || one.owner === owner));
    rejectAll(overdue, outage);
  }

  /** @returns the outage that made it fail, else null; each item is told of its own failure */
  async #flush(batch: readonly Waiting<Item, Result>[], isHurried: boolean): Promise<unknown> {
    try {
      const items = batch.map(({ item }) => item);
      const results = await this.#options.flush(items, isHurried);
      invariant(results.length === batch.length, 'a flush returned another number of results than items');
      for (const [index, { asker, place }] of batch.entries()) asker.resolve(results[index] as Result, place);
      return null;
    } catch (error) {
      const parts = this.#partsOf(batch, error);
      if (parts.length === 0) rejectAll(batch, error);
      return isOutage(error) ? error : this.#flushApart(parts, isHurried || isHeldUp(error));
    }
  }

  async #flushApart(parts: readonly (readonly Waiting<Item, Result>[])[], isHurried: boolean): Promise<unknown> {
    for (const [index, part] of parts.entries()) {
      const outage = await this.#flush(part, isHurried);
      if (outage === null) continue;
      // An outage in the middle would cost each of the others its time-out, one after another.
      rejectAll(parts.slice(index + 1).flat(), outage);
      return outage;
    }
    return null;
  }

  /** The parts in which a failed batch is tried again: by row, then by item; none if that cannot help. */
  #partsOf(batch: readonly Waiting<Item, Result>[], error: unknown): (readonly Waiting<Item, Result>[])[] {
    if (batch.length === 1 || isOutage(error)) return [];
    const { rowOf } = this.#options;
    const rows = rowOf === undefined ? [] : [...Map.groupBy(batch, ({ item }) => rowOf(item)).values()];
    if (rows.length > 1) return rows;
    return rows.length === 1 && isHeldUp(error) ? [] : batch.map((one) => [one]);
  }
}

function rejectAll<Item, Result>(waiting: readonly Waiting<Item, Result>[], error: unknown): void {
  for (const { asker, place } of waiting) asker.reject(error, place);
}

/** The first of a fair batch need not be the one that came first. */
function secondsSinceFirst(batch: readonly { readonly sinceMs: number }[]): number {
  const firstMs = batch.reduce((first, { sinceMs }) => Math.min(first, sinceMs), Number.POSITIVE_INFINITY);
  return (performance.now() - firstMs) / 1000;
}
