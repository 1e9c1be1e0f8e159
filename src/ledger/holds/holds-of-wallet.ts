import type { Hold } from './hold.ts';

/** A hold that a batch knows, and whether it has placed or changed it. */
interface Known {
  hold: Hold;
  isChanged: boolean;
}

/** What a batch knows of the holds of one wallet. A hold is found by its number, which is a number here, and by its key, which is a text. */
export class HoldsOfWallet {
  readonly #known = new Map<number | string, Known>();

  find(by: number | string): Hold | null {
    return this.#known.get(by)?.hold ?? null;
  }

  /** As it was read, or as it is now. */
  set(hold: Hold, isChanged: boolean): void {
    const known = this.#known.get(hold.holdNo);
    if (known === undefined) {
      const first = { hold, isChanged };
      this.#known.set(hold.holdNo, first);
      this.#known.set(hold.idempotencyKey, first);
      return;
    }
    known.hold = hold;
    if (isChanged) known.isChanged = true;
  }

  all(): readonly Hold[] {
    return this.#ofKnown(() => true);
  }

  changed(): readonly Hold[] {
    return this.#ofKnown(({ isChanged }) => isChanged);
  }

  #ofKnown(isMeant: (known: Known) => boolean): readonly Hold[] {
    const holds: Hold[] = [];
    for (const [by, known] of this.#known) if (typeof by === 'number' && isMeant(known)) holds.push(known.hold);
    return holds;
  }
}
