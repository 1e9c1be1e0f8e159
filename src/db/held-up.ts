import { isHeldUp } from './sqlstate.ts';

/** The lock timeout of a merchant for whose row a run has waited in vain. */
const HURRIED_LOCK_TIMEOUT_MS = 50;
/** With so many merchants it is not one's trouble any more: each of them costs the whole timeout once, and jobs of a run expire. */
const MOST_MERCHANTS = 5;

interface OfMerchant {
  readonly merchantId: string;
}

/**
 * Whose rows a run has waited for in vain, since another transaction holds them. The run may be full of work on the same row: if each piece waited as long
 * again, everybody else's would be late. So a merchant for whom it has waited once is hardly waited for any more; others have their whole time.
 */
export class HeldUp {
  readonly #merchants = new Set<string>();

  /** To be called with whatever made a transaction fail. Of a transaction of several merchants nobody knows whose row it was. */
  note(error: unknown, items: readonly OfMerchant[]): void {
    const [merchantId] = items.map((item) => item.merchantId);
    const isOfOne = merchantId !== undefined && items.every((item) => item.merchantId === merchantId);
    if (isOfOne && isHeldUp(error)) this.#merchants.add(merchantId);
  }

  /** What a transaction with these items sets for itself; null to keep the limit of the connection. */
  lockTimeoutMs(items: readonly OfMerchant[]): number | null {
    const isHurried = this.#merchants.size >= MOST_MERCHANTS || items.some((item) => this.has(item));
    return isHurried ? HURRIED_LOCK_TIMEOUT_MS : null;
  }

  has({ merchantId }: OfMerchant): boolean {
    return this.#merchants.has(merchantId);
  }

  /** The items one after another; those of merchants who are found to be held up meanwhile come last. */
  *last<Item extends OfMerchant>(items: readonly Item[]): Generator<Item> {
    const left: Item[] = [];
    for (const item of items) {
      if (this.has(item)) left.push(item);
      else yield item;
    }
    yield* left;
  }
}
