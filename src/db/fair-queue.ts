import { Fifo } from './fifo.ts';

/** A number of things, and how much memory they take together. */
export interface Amount {
  readonly items: number;
  readonly bytes: number;
}

export interface FairQueueLimits {
  /** The most that may wait in all, before what one owner may have shrinks to its even part of this. */
  readonly total: Amount;
  /** The most that may wait of one owner. */
  readonly each: Amount;
}

const ENDLESS: Amount = { items: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY };

/** For items of which something else bounds how many there are. */
export const BOUNDED_ELSEWHERE: FairQueueLimits = { total: ENDLESS, each: ENDLESS };

/** What waits: whose it is, and about how much memory it holds. */
export interface Queued {
  readonly owner: string;
  readonly bytes: number;
}

interface Line<Item> {
  readonly owner: string;
  readonly waiting: Fifo<Item>;
  bytes: number;
  /** How many more may leave in the turn that has begun; 0 between turns. */
  credit: number;
  /** What was taken of it alone is under way: until it is back, it has no turn. */
  isAway: boolean;
}

/**
 * What waits, in a line for each owner, by deficit round robin (Shreedhar and Varghese, 1996) counted in items: in every turn each
 * owner sends as many as every other, so that nobody waits for the length of another's line. A turn that a full batch cut off
 * goes on in the next batch. Or a batch is of one owner alone, who has no other turn until it is back. Pure: no clock, no promises.
 */
export class FairQueue<Item extends Queued> {
  readonly #limits: FairQueueLimits;
  readonly #lines = new Map<string, Line<Item>>();
  /** The lines that hold something and are not away, the next one first. */
  #turns = new Fifo<Line<Item>>();
  #items = 0;
  #bytes = 0;

  constructor(limits: FairQueueLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#items;
  }

  /** Whether anything waits that may be taken now. */
  get hasTurn(): boolean {
    return this.#turns.length > 0;
  }

  /** Whether an owner may add one of this size. Somebody who has nothing waiting always may. */
  hasRoom(owner: string, bytes = 0): boolean {
    const line = this.#lines.get(owner);
    if (line === undefined || line.waiting.length === 0) return true;
    const mine = { items: line.waiting.length + 1, bytes: line.bytes + bytes };
    const { total, each } = this.#limits;
    if (!isWithin(mine, each)) return false;
    if (isWithin({ items: this.#items + 1, bytes: this.#bytes + bytes }, total)) return true;
    // All is taken: whoever has less than an even part is served all the same, so the whole is twice the total at most.
    const owners = this.#lines.size;
    return isWithin(mine, { items: total.items / owners, bytes: total.bytes / owners });
  }

  /** @returns false if the owner has all that it may have waiting; then nothing was added */
  add(item: Item): boolean {
    const { owner, bytes } = item;
    if (!this.hasRoom(owner, bytes)) return false;
    let line = this.#lines.get(owner);
    if (line === undefined) {
      line = { owner, waiting: new Fifo(), bytes: 0, credit: 0, isAway: false };
      this.#lines.set(owner, line);
      this.#turns.push(line);
    }
    line.waiting.push(item);
    line.bytes += bytes;
    this.#items += 1;
    this.#bytes += bytes;
    return true;
  }

  /** Takes a batch, of one item at least if any waits. Those of one owner keep their order. */
  take(max: Amount): Item[] {
    const taken: Item[] = [];
    let bytes = 0;
    const quantum = Math.max(1, Math.floor(max.items / Math.max(1, this.#turns.length)));
    for (let line = this.#turns.peek(); line !== undefined && taken.length < max.items; line = this.#turns.peek()) {
      if (line.credit === 0) line.credit = quantum;
      for (let next = line.waiting.peek(); next !== undefined && line.credit > 0; next = line.waiting.peek()) {
        if (taken.length === max.items || (taken.length > 0 && bytes + next.bytes > max.bytes)) return taken;
        taken.push(next);
        bytes += next.bytes;
        line.credit -= 1;
        this.#leave(line);
      }
      this.#turns.shift();
      if (line.waiting.length === 0) this.#lines.delete(line.owner);
      else this.#turns.push(line);
    }
    return taken;
  }

  /**
   * Takes a batch of the owner alone whose turn it is, of one item at least, in order; empty if nobody has a turn. When it is {@link back}, his next
   * turn comes behind everybody who waits by then.
   */
  takeOfOne(max: Amount): Item[] {
    const line = this.#turns.shift();
    if (line === undefined) return [];
    line.isAway = true;
    const taken: Item[] = [];
    let bytes = 0;
    for (let next = line.waiting.peek(); next !== undefined && taken.length < max.items; next = line.waiting.peek()) {
      if (taken.length > 0 && bytes + next.bytes > max.bytes) break;
      taken.push(next);
      bytes += next.bytes;
      this.#leave(line);
    }
    return taken;
  }

  /** What was taken of this owner alone is done. */
  back(owner: string): void {
    const line = this.#lines.get(owner);
    if (line === undefined || !line.isAway) return;
    line.isAway = false;
    if (line.waiting.length === 0) this.#lines.delete(owner);
    else this.#turns.push(line);
  }

  /** Takes the items from the front of every line for which this is true. */
  takeWhile(isTaken: (item: Item) => boolean): Item[] {
    const taken: Item[] = [];
    const [lines, left] = [this.#turns, new Fifo<Line<Item>>()];
    for (const line of this.#lines.values()) if (line.isAway) this.#takeFrom(line, isTaken, taken);
    for (let line = lines.shift(); line !== undefined; line = lines.shift()) {
      this.#takeFrom(line, isTaken, taken);
      if (line.waiting.length === 0) this.#lines.delete(line.owner);
      else left.push(line);
    }
    this.#turns = left;
    return taken;
  }

  #takeFrom(line: Line<Item>, isTaken: (item: Item) => boolean, taken: Item[]): void {
    for (let next = line.waiting.peek(); next !== undefined && isTaken(next); next = line.waiting.peek()) {
      taken.push(next);
      this.#leave(line);
    }
  }

  #leave(line: Line<Item>): void {
    const { bytes } = line.waiting.shift() ?? { bytes: 0 };
    line.bytes -= bytes;
    this.#items -= 1;
    this.#bytes -= bytes;
  }
}

function isWithin(amount: Amount, limit: Amount): boolean {
  return amount.items <= limit.items && amount.bytes <= limit.bytes;
}
