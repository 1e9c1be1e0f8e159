import { type Clock, systemClock } from '../clock.ts';

/** What the database's clock showed between two moments of this process. */
export interface TimeReading {
  /** Both by `performance.now()`, which no setting of a clock moves. */
  readonly askedAtMs: number;
  readonly answeredAtMs: number;
  /** Milliseconds since 1970. */
  readonly databaseMs: number;
}

/** Whatever the process's clock and its running time say differently of one stretch: the machine slept, or its clock was set. */
const DOUBT_MS = 1_000;
/** Two clocks of a good machine drift apart by some milliseconds in that time. */
const READ_EVERY_MS = 60_000;
/** So often it is looked whether it is time to read; looking asks nobody. */
const LOOK_EVERY_MS = 1_000;

/**
 * The database's time: what its clock showed when it was last read, and the running time of this process since. So all processes judge
 * ends, periods and signatures by one clock, and one whose own is wrong neither refuses what providers sign nor signs what merchants
 * refuse. Until the database was read it shows the process's own time.
 */
export class DatabaseClock implements Clock {
  /** The process's own clock. */
  readonly own: Clock;
  readonly #running: () => number;
  /** What the database's clock showed when the running time was 0, by the last reading. */
  #originMs: number | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #ownOriginMs = 0;

  constructor(own: Clock = systemClock, running: () => number = () => performance.now()) {
    this.own = own;
    this.#running = running;
  }

  now(): Date {
    return this.#originMs === null ? this.own.now() : new Date(this.#originMs + this.#running());
  }

  /**
   * Takes a reading in. The server looked at its clock somewhere between question and answer, so a time that lies between is left as it
   * is: a slow answer moves nothing.
   */
  note({ askedAtMs, answeredAtMs, databaseMs }: TimeReading): void {
    const earliest = databaseMs - answeredAtMs;
    const latest = databaseMs - askedAtMs;
    const before = this.#originMs ?? (earliest + latest) / 2;
    this.#originMs = Math.min(Math.max(before, earliest), latest);
    this.#readAtMs = this.#running();
    this.#ownOriginMs = this.#ownOrigin();
  }

  /** Whether it wants to be read: it never was, or a minute ago, or the machine slept since, through which the running time stood still. */
  get wantsReading(): boolean {
    const isDoubtful = Math.abs(this.#ownOrigin() - this.#ownOriginMs) > DOUBT_MS;
    return isDoubtful || this.#running() - this.#readAtMs >= READ_EVERY_MS;
  }

  #ownOrigin(): number {
    return this.own.now().getTime() - this.#running();
  }
}

/** Reads it again by `read`, which never throws, before its reading is old. @returns what ends that */
export function keepReading(clock: DatabaseClock, read: () => Promise<unknown>): () => Promise<void> {
  const look = () => {
    if (clock.wantsReading) void read();
  };
  const timer = setInterval(look, LOOK_EVERY_MS).unref();
  return async () => clearInterval(timer);
}
