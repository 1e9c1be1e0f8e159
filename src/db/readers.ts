import type { Pool } from './pool.ts';
import { isTimedOut } from './sqlstate.ts';
import { autocommit, type Queryable, throughEach, timedAutocommit } from './transaction.ts';
import { Turns, type TurnsOptions } from './turns.ts';

/** The patience is longer than a turn, so that those who have all connections keep nobody waiting until he gives up. */
export interface ReadersOptions extends Omit<TurnsOptions, 'busy'> {
  /** Who reads here: merchants, each by its id, or the operator for all of them. */
  readonly who: 'merchant' | 'operator';
  /** A pool for this alone. It has `atOnce` connections. */
  readonly pool: Pool;
  /** The longest that a turn may take, with all of its statements. */
  readonly turnMs: number;
}

/** Whose reading met a limit. */
export interface WhoReads extends Pick<ReadersOptions, 'who'> {
  readonly owner: string;
}

/** More of one owner's reading waits than its share, or it waited for too long behind its own. Everybody else is still served. */
export class ReadersBusyError extends Error {
  readonly reader: WhoReads;

  constructor(reader: WhoReads) {
    super('too much reading of one owner is waiting');
    this.name = 'ReadersBusyError';
    this.reader = reader;
  }
}

/** A search or a list took longer than one may. */
export class ReadTooSlowError extends Error {
  readonly reader: WhoReads;

  constructor(reader: WhoReads, cause: unknown) {
    super('a search or list took too long', { cause });
    this.name = 'ReadTooSlowError';
    this.reader = reader;
  }
}

/** Where something is read in its owner's turn, which may take several statements, one after another. */
export interface ReadsInTurn {
  read<T>(owner: string, work: (db: Queryable) => Promise<T>): Promise<T>;
}

/** Reads at once, for a process that has nothing to keep apart. */
export function readingBy(pool: Pool): ReadsInTurn {
  return { read: (_, work) => work(autocommit(pool)) };
}

/** Runs each statement in a turn of its own: for work that waits for somebody else in between. */
export function turnForEach(reads: ReadsInTurn, owner: string): Queryable {
  return throughEach((work) => reads.read(owner, work));
}

/**
 * Searches and lists: what may take long, and what no posting waits for. They have connections of their own, so that no number of them
 * keeps a debit waiting, and take turns by owner, so that none keeps another owner's waiting: nobody has all connections, and
 * whoever waits is served after as many of every other as of his own.
 */
export class Readers implements ReadsInTurn {
  readonly #options: ReadersOptions;
  readonly #turns: Turns;

  constructor(options: ReadersOptions) {
    const { who, ...turns } = options;
    this.#options = options;
    this.#turns = new Turns({ ...turns, busy: (owner) => new ReadersBusyError({ who, owner }) });
  }

  /**
   * Does the work once it is the owner's turn. It may take several statements, one after another.
   * @throws {ReadersBusyError} if too much of the owner's waits, or for too long
   * @throws {ReadTooSlowError} if its statements took longer than a turn may
   */
  read<T>(owner: string, work: (db: Queryable) => Promise<T>): Promise<T> {
    return this.#turns.take(owner, async () => {
      const reader = { who: this.#options.who, owner };
      const endsAt = performance.now() + this.#options.turnMs;
      const leftMs = () => {
        const left = endsAt - performance.now();
        if (left <= 0) throw new ReadTooSlowError(reader, 'its statements took too long together');
        return left;
      };
      try {
        return await work(timedAutocommit(this.#options.pool, leftMs));
      } catch (error) {
        throw isTimedOut(error) ? new ReadTooSlowError(reader, error) : error;
      }
    });
  }
}
