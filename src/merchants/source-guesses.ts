import { RateLimiterMemory } from 'rate-limiter-flexible';

/** Ids of sources that one network may have looked up in a minute and that there are not, and that all may. */
const PER_MINUTE = 60;
const PER_MINUTE_OF_ALL = 600;

/** An id that is not known to be a source's, counted for the network that named it. */
interface Guess {
  /** More were named in this minute than may be wrong. */
  readonly isOver: boolean;
  /** It was right, or nothing could be found out: it does not count. */
  takeBack(): Promise<unknown>;
}

/** Counts look-ups of sources that there may not be, since anybody can make up ids. */
export class SourceGuesses {
  readonly #each = new RateLimiterMemory({ points: PER_MINUTE, duration: 60 });
  readonly #all = new RateLimiterMemory({ points: PER_MINUTE_OF_ALL, duration: 60 });

  /** Counts an id before it is looked up, so that many at once are counted too. */
  async count(from: string): Promise<Guess> {
    const all = await this.#all.penalty('all');
    // Networks beyond it are not remembered, so that many of them take no memory.
    if (all.consumedPoints > PER_MINUTE_OF_ALL) return { isOver: true, takeBack: () => this.#all.reward('all') };
    const one = await this.#each.penalty(from);
    const takeBack = () => Promise.all([this.#all.reward('all'), this.#each.reward(from)]);
    return { isOver: one.consumedPoints > PER_MINUTE, takeBack };
  }
}
