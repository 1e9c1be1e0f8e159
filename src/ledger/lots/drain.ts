import { BASE_PRIORITY, type Lot } from './lot.ts';

/** In which order credit is spent (docs/wallets.md). Pure. */

/** What of a lot decides when it is spent. */
export type Drainable = Pick<Lot, 'lotNo' | 'kind' | 'priority' | 'expiresAt' | 'remaining'>;

/**
 * The order in which lots are spent: by priority, then by the earlier end, promotional ones before others, then as they were given.
 * @returns below 0 if `one` goes first
 */
export function inDrainOrder(one: Drainable, other: Drainable): number {
  return (
    one.priority - other.priority ||
    endMs(one) - endMs(other) ||
    Number(other.kind === 'promo') - Number(one.kind === 'promo') ||
    one.lotNo - other.lotNo
  );
}

// Infinity less itself would be no number.
const endMs = ({ expiresAt }: Drainable): number => expiresAt?.getTime() ?? Number.MAX_SAFE_INTEGER;

/** Whether the lot is spent before the base, which stands at priority 50, never ends, and comes after what is promotional. */
export function isBeforeBase({ priority, expiresAt, kind }: Drainable): boolean {
  return priority === BASE_PRIORITY ? expiresAt !== null || kind === 'promo' : priority < BASE_PRIORITY;
}

interface Draining {
  /** What the wallet has besides its lots. */
  readonly base: number;
  readonly amount: number;
  /** What takes back meets the base first. */
  readonly isBaseFirst: boolean;
}

export interface LotPart<One extends Drainable = Lot> {
  readonly lot: One;
  readonly amount: number;
}

/**
 * What a debit takes out of which lots, sorted by {@link inDrainOrder}. The rest of it is the base's, and beyond that a debt.
 */
export function drain<One extends Drainable>(
  lots: readonly One[],
  { base, amount, isBaseFirst }: Draining,
): readonly LotPart<One>[] {
  const parts: LotPart<One>[] = [];
  let left = isBaseFirst ? amount - Math.min(amount, base) : amount;
  let isBaseDone = isBaseFirst;
  for (const lot of lots) {
    if (!isBaseDone && !isBeforeBase(lot)) {
      left -= Math.min(left, base);
      isBaseDone = true;
    }
    if (left === 0) break;
    const taken = Math.min(left, lot.remaining);
    parts.push({ lot, amount: taken });
    left -= taken;
  }
  return parts;
}
