const WINDOW_MS = 60_000;
/** Unknown certificates that are asked for in a minute, whoever names them. PayPal itself brings a new one every few months. */
const PER_MINUTE = 60;
/** Of these, what one network may cause. */
const PER_MINUTE_OF_ONE = 4;
/** Requests to PayPal at a time, and of these one network's: slow answers to one leave room for others. */
const AT_A_TIME = 8;
const AT_A_TIME_OF_ONE = 2;

interface Share {
  granted: number;
  underWay: number;
}

/**
 * How many fetches of unknown certificates may begin. Anybody can name certificates that there are not, so each network from
 * which deliveries come has a share: invented names of one leave room for a new certificate that PayPal's own network names.
 */
export class FetchShares {
  readonly #shares = new Map<string, Share>();
  #windowStart = Number.NEGATIVE_INFINITY;
  #granted = 0;
  #underWay = 0;

  /** Takes a place for a fetch that `from` causes, and returns what gives it back; null if there is none at `now`. */
  take(from: string, now: Date): (() => void) | null {
    this.#startWindow(now.getTime());
    const share = this.#shares.get(from) ?? { granted: 0, underWay: 0 };
    if (this.#granted >= PER_MINUTE || this.#underWay >= AT_A_TIME) return null;
    if (share.granted >= PER_MINUTE_OF_ONE || share.underWay >= AT_A_TIME_OF_ONE) return null;
    this.#shares.set(from, share);
    this.#count(share, 1);
    share.granted += 1;
    this.#granted += 1;
    return () => this.#count(share, -1);
  }

  #count(share: Share, change: number): void {
    share.underWay += change;
    this.#underWay += change;
  }

  /** A clock that was set back begins a new minute too. Networks with a fetch under way are remembered, so there are few. */
  #startWindow(nowMs: number): void {
    const ageMs = nowMs - this.#windowStart;
    if (ageMs >= 0 && ageMs < WINDOW_MS) return;
    this.#windowStart = nowMs;
    this.#granted = 0;
    for (const [from, share] of this.#shares) {
      share.granted = 0;
      if (share.underWay === 0) this.#shares.delete(from);
    }
  }
}
