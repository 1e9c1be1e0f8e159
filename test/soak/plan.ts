/** Numbers from a seed (mulberry32): the same seed draws the same plan and the same traffic. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** A whole number, both ends included. */
  int(minimum: number, maximum: number): number {
    return minimum + Math.floor(this.next() * (maximum - minimum + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    const one = list[this.int(0, list.length - 1)];
    if (one === undefined) throw new Error('nothing to pick from');
    return one;
  }

  /** A generator of its own, so that what one part of the soak draws does not depend on how often another drew. */
  fork(): Random {
    return new Random(this.int(0, 4_294_967_295));
  }
}

/** What a soak does; everything is drawn from the seed, the fault rates too. */
export interface Plan {
  readonly seed: number;
  readonly merchants: number;
  readonly customersEach: number;
  /** Providers and callers at work at once. */
  readonly providers: number;
  readonly callers: number;
  /** How often, from 0 to 1, an event is delivered more than once, is dropped first, is overtaken, comes with a flipped bit. */
  readonly duplicated: number;
  readonly dropped: number;
  readonly reordered: number;
  readonly corrupted: number;
  /** How often Svix fails. */
  readonly svixFailing: number;
  readonly killEveryMs: number;
  readonly restartEveryMs: number;
  /** Strangers and hostile holders of a key at work at once. */
  readonly hostile: number;
}

export function drawPlan(seed: number): Plan {
  const random = new Random(seed);
  const rate = (maximum: number) => Math.round(random.next() * maximum * 100) / 100;
  return {
    seed,
    merchants: random.int(1, 3),
    customersEach: random.int(1, 12),
    providers: random.int(2, 12),
    callers: random.int(2, 12),
    duplicated: rate(0.5),
    dropped: rate(0.3),
    reordered: rate(0.5),
    corrupted: rate(0.1),
    svixFailing: rate(0.5),
    killEveryMs: random.int(2_000, 20_000),
    restartEveryMs: random.int(60_000, 300_000),
    hostile: random.int(1, 3),
  };
}
