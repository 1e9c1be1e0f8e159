import { setTimeout as delay } from 'node:timers/promises';

/** Spreads what each source is asked over time, so that a mass of wallets does not meet its provider's limit. Of one process. */
export class Pace {
  readonly #everyMs: number;
  readonly #next = new Map<string, number>();

  constructor(perSecond: number) {
    this.#everyMs = 1000 / perSecond;
  }

  /** Resolves when it is the caller's turn, in the order of the calls. */
  async take(sourceId: string, signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const at = Math.max(now, this.#next.get(sourceId) ?? 0);
    this.#next.set(sourceId, at + this.#everyMs);
    if (at > now) await delay(at - now, undefined, { signal });
  }
}
