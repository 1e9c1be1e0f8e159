import { Fifo } from './fifo.ts';
import type { Pool } from './pool.ts';
import { isTimedOut } from './sqlstate.ts';
import { type Queryable, timedAutocommit } from './transaction.ts';

export interface ReadersOptions {
  /** A pool for this alone. It has `atOnce` connections. */
  readonly pool: Pool;
  /** The longest that a turn may take, with all of its statements. */
  readonly turnMs: number;
  /** How many may read at once, and how many of one owner; the rest waits in turn. */
  readonly atOnce: number;
  readonly atOnceEach: number;
  /**
   * The most that may wait of one owner, and the longest that anybody waits. That is longer than a turn, so that those who have all
   * connections keep nobody waiting until he gives up.
   */
  readonly waitingEach: number;
  readonly patienceMs: number;
}

/** More of one owner's reading waits than its share, or it waited for too long behind its own. Everybody else is still served. */
export class ReadersBusyError extends Error {
  readonly owner: string;

  constructor(owner: string) {
    super('too much reading of one owner is waiting');
    this.name = 'ReadersBusyError';
    this.owner = owner;
  }
}

/** A search or a list took longer than one may. */
export class ReadTooSlowError extends Error {
  readonly owner: string;

  constructor(owner: string, cause: unknown) {
    super('a search or list took too long', { cause });
    this.name = 'ReadTooSlowError';
    this.owner = owner;
  }
}

interface Waiting {
  readonly begin: () => void;
  /** It gave up. */
  isOver: boolean;
}

interface Line {
  reading: number;
  waiting: number;
  readonly turns: Fifo<Waiting>;
}

/**
 * Searches and lists: what may take long, and what no posting waits for. They have connections of their own, so that no number of them
 * keeps a debit waiting, and take turns by owner, so that none keeps another owner's waiting: nobody has all connections, and
 * whoever waits is served after as many of every other as of his own.
 */
export class Readers {
  readonly #options: ReadersOptions;
  /** Whoever reads or waits, the next one to be served first. */
  readonly #lines = new Map<string, Line>();
  #reading = 0;

  constructor(options: ReadersOptions) {
    this.#options = options;
  }

  /**
   * Does the work once it is the owner's turn. It may take several statements, one after another.
   * @throws {ReadersBusyError} if too much of the owner's waits, or for too long
   * @throws {ReadTooSlowError} if its statements took longer than a turn may
   */
  async read<T>(owner: string, work: (db: Queryable) => Promise<T>): Promise<T> {
    await this.#turn(owner);
    const endsAt = performance.now() + this.#options.turnMs;
    const leftMs = () => {
      const left = endsAt - performance.now();
      if (left <= 0) throw new ReadTooSlowError(owner, 'its statements took too long together');
      return left;
    };
    try {
      return await work(timedAutocommit(this.#options.pool, leftMs));
    } catch (error) {
      throw isTimedOut(error) ? new ReadTooSlowError(owner, error) : error;
    } finally {
      this.#end(owner);
    }
  }

  async #turn(owner: string): Promise<void> {
    const { atOnce, atOnceEach, waitingEach, patienceMs } = this.#options;
    const line = this.#lines.get(owner) ?? { reading: 0, waiting: 0, turns: new Fifo<Waiting>() };
    this.#lines.set(owner, line);
    if (line.waiting === 0 && this.#reading < atOnce && line.reading < atOnceEach) {
      this.#begin(line);
      return;
    }
    if (line.waiting >= waitingEach) throw new ReadersBusyError(owner);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { begin: resolve, isOver: false };
    line.turns.push(waiting);
    line.waiting += 1;
    const timer = setTimeout(() => {
      waiting.isOver = true;
      line.waiting -= 1;
      this.#forget(owner, line);
      reject(new ReadersBusyError(owner));
    }, patienceMs);
    await promise.finally(() => clearTimeout(timer));
  }

  #begin(line: Line): void {
    this.#reading += 1;
    line.reading += 1;
  }

  #end(owner: string): void {
    const line = this.#lines.get(owner);
    if (line !== undefined) {
      this.#reading -= 1;
      line.reading -= 1;
      this.#forget(owner, line);
    }
    this.#serveNext();
  }

  #forget(owner: string, line: Line): void {
    if (line.reading === 0 && line.waiting === 0) this.#lines.delete(owner);
  }

  /** Lets the next one begin, of the owner whose turn it is; that owner then comes last. */
  #serveNext(): void {
    for (const [owner, line] of this.#lines) {
      const next = line.reading < this.#options.atOnceEach ? nextOf(line) : undefined;
      if (next === undefined) continue;
      this.#lines.delete(owner);
      this.#lines.set(owner, line);
      line.waiting -= 1;
      this.#begin(line);
      next.begin();
      return;
    }
  }
}

/** The first of a line that has not given up. */
function nextOf({ turns }: Line): Waiting | undefined {
  for (let next = turns.shift(); next !== undefined; next = turns.shift()) if (!next.isOver) return next;
  return undefined;
}
