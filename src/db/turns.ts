import { Fifo } from './fifo.ts';
import { isOutage } from './sqlstate.ts';

export interface TurnsOptions {
  /** How many may have a turn at once, and how many of one owner; the rest waits. */
  readonly atOnce: number;
  readonly atOnceEach: number;
  /** How many of an owner while there is no other; as many as beside others unless given. */
  readonly atOnceAlone?: number;
  /** The most that may wait of one owner, and the longest that anybody waits. */
  readonly waitingEach: number;
  readonly patienceMs: number;
  /** What is thrown where an owner has too much waiting, or waited for too long. */
  readonly busy: (owner: string) => Error;
}

interface Waiting {
  readonly begin: () => void;
  /** It gave up. */
  isOver: boolean;
}

interface Line {
  begun: number;
  /** Why the last turn failed, if that was an outage: whoever waits in vain is told that, and not that the owner does too much. */
  outage: unknown;
  waiting: number;
  readonly turns: Fifo<Waiting>;
}

/**
 * Lets owners work in turn, so that none keeps another waiting: nobody has all turns at once, and whoever waits is served after as
 * many of every other as of his own.
 */
export class Turns {
  readonly #options: TurnsOptions;
  /** Whoever has a turn or waits for one, the next one to be served first. */
  readonly #lines = new Map<string, Line>();
  #begun = 0;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /**
   * Does the work once it is the owner's turn.
   * @throws {unknown} what `busy` makes, if too much of the owner's waits, or for too long; what the work throws
   */
  async take<T>(owner: string, work: () => Promise<T>): Promise<T> {
    const line = await this.#turn(owner);
    try {
      const result = await work();
      line.outage = null;
      return result;
    } catch (error) {
      line.outage = isOutage(error) ? error : null;
      throw error;
    } finally {
      this.#end(owner);
    }
  }

  async #turn(owner: string): Promise<Line> {
    const { atOnce, waitingEach, patienceMs, busy } = this.#options;
    const line = this.#lines.get(owner) ?? { begun: 0, waiting: 0, outage: null, turns: new Fifo<Waiting>() };
    this.#lines.set(owner, line);
    if (line.waiting === 0 && this.#begun < atOnce && line.begun < this.#mostOf()) {
      this.#begin(line);
      return line;
    }
    if (line.waiting >= waitingEach) throw line.outage ?? busy(owner);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = { begin: resolve, isOver: false };
    line.turns.push(waiting);
    line.waiting += 1;
    const timer = setTimeout(() => {
      waiting.isOver = true;
      line.waiting -= 1;
      this.#forget(owner, line);
      reject(line.outage ?? busy(owner));
    }, patienceMs);
    await promise.finally(() => clearTimeout(timer));
    return line;
  }

  /** How many turns an owner may have now. Where another comes, those that are beyond it end by themselves. */
  #mostOf(): number {
    const { atOnceEach, atOnceAlone = atOnceEach } = this.#options;
    return this.#lines.size > 1 ? atOnceEach : atOnceAlone;
  }

  #begin(line: Line): void {
    this.#begun += 1;
    line.begun += 1;
  }

  #end(owner: string): void {
    const line = this.#lines.get(owner);
    if (line !== undefined) {
      this.#begun -= 1;
      line.begun -= 1;
      this.#forget(owner, line);
    }
    while (this.#begun < this.#options.atOnce && this.#serveNext());
  }

  #forget(owner: string, line: Line): void {
    if (line.begun === 0 && line.waiting === 0) this.#lines.delete(owner);
  }

  /** Lets the next one begin, of the owner whose turn it is; that owner then comes last. @returns whether there was one */
  #serveNext(): boolean {
    for (const [owner, line] of this.#lines) {
      const next = line.begun < this.#mostOf() ? nextOf(line) : undefined;
      if (next === undefined) continue;
      this.#lines.delete(owner);
      this.#lines.set(owner, line);
      line.waiting -= 1;
      this.#begin(line);
      next.begin();
      return true;
    }
    return false;
  }
}

/** The first of a line that has not given up. */
function nextOf({ turns }: Line): Waiting | undefined {
  for (let next = turns.shift(); next !== undefined; next = turns.shift()) if (!next.isOver) return next;
  return undefined;
}
