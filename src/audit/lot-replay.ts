import { type Entry, type LotTerms, MAY_OVERDRAW } from '../ledger/entry.ts';
import { type Drainable, drain, inDrainOrder } from '../ledger/lots/drain.ts';
import { isOver, type Lot, type LotChange, parseLotId } from '../ledger/lots/lot.ts';
import { daysAfter } from '../ledger/lots/notices.ts';
import { type Pauses, timeOfLot } from '../ledger/lots/pauses.ts';
import { fingerprint } from '../ledger/post.ts';

/** A lot as the books have it, with every change of its terms. */
export type StoredLot = Pick<
  Lot,
  'lotNo' | 'kind' | 'name' | 'priority' | 'expiresAt' | 'originSeq' | 'originKey' | 'createdAt'
> & {
  readonly changes: readonly Pick<LotChange, 'createdAt' | 'oldExpiresAt' | 'oldPriority'>[];
};

/** What an entry moved in a lot; below 0 it took it out. */
export interface StoredMovement {
  readonly lot: StoredLot;
  readonly amount: number;
}

/** Clocks of processes differ: of what lies no further apart, nobody knows which came first. */
const CLOCKS_DIFFER_MS = 60_000;
const DAY_MS = 86_400_000;

/**
 * Follows the lots of one wallet through its entries, oldest first, and says of each what it must have moved there by the order in
 * which credit is spent. What was moved is believed for the next, so that each is judged by itself. Not judged are debits near a
 * change of terms, and what takes back credit in a wallet where payments have lots or were given some back: the keys that steer it
 * stand on no entry. Pure.
 */
export class LotReplay {
  readonly #open = new Map<number, { readonly lot: StoredLot; readonly remaining: number }>();
  /** Of what payments, refunds and disputes took credit back. */
  readonly #takenBack = new Set<string>();
  #isSteered = false;

  /**
   * @param pauses in force when the entry was written; only captures look at them
   * @returns what is wrong, in words; null if nothing is, or nothing can be said
   */
  take(entry: Entry, moved: readonly StoredMovement[], pauses: Pauses): string | null {
    const wanted = entry.isCredit ? this.#wantedOfCredit(entry, moved) : this.#wantedOfDebit(entry, pauses);
    for (const movement of moved) this.#apply(entry, movement);
    if (!entry.isCredit && MAY_OVERDRAW.has(entry.eventType)) this.#takenBack.add(entry.referenceObjectId ?? '');
    if (wanted === null) return null;
    const [has, wants] = [textOf(moved.map(({ lot, amount }) => [lot.lotNo, amount])), textOf(wanted)];
    return has === wants ? null : `it moved ${has} in lots, and by their order ${wants}`;
  }

  /** What repaid a debt is in no lot. What is given again after some was taken goes back first to where that came from. */
  #wantedOfCredit(
    { seq, eventType, amountMinor, afterBalance, referenceObjectId }: Entry,
    moved: readonly StoredMovement[],
  ) {
    const isPlain = eventType === 'merchant_adjustment';
    const opened = moved.filter(({ lot }) => !this.#open.has(lot.lotNo) && (isPlain || lot.originSeq === seq));
    if (!isPlain && (opened.length === 0 || this.#takenBack.has(referenceObjectId ?? ''))) return null;
    const given = Math.min(amountMinor, Math.max(afterBalance, 0));
    return opened.slice(0, 1).map(({ lot }) => [lot.lotNo, given] as const);
  }

  #wantedOfDebit(entry: Entry, pauses: Pauses): readonly (readonly [number, number])[] | null {
    const { eventType, amountMinor, createdAt, referenceObjectId, customerId, beforeBalance } = entry;
    if (eventType === 'credit_expired' || eventType === 'credit_voided') {
      const named = referenceObjectId === null ? null : parseLotId(referenceObjectId, customerId);
      return named === null ? null : [[named.lotNo, -amountMinor]];
    }
    const isBaseFirst = MAY_OVERDRAW.has(eventType);
    const open = [...this.#open.values()];
    if (isBaseFirst && (this.#isSteered || open.some(({ lot }) => lot.originKey !== null))) return null;
    if (open.some(({ lot }) => isChangedNear(lot, createdAt))) return null;
    const lots = open.map(({ lot, remaining }) => ({ ...termsAt(lot, createdAt), remaining })).sort(inDrainOrder);
    const base = beforeBalance - lots.reduce((sum, { remaining }) => sum + remaining, 0);
    // Without lots there is nothing to say of a base that is a debt.
    if (lots.length === 0) return [];
    const ended = lots.filter((lot) =>
      isOver(lot, timeOfLot(pauses, { ...entry, createdAt: lot.createdAt }, createdAt)),
    );
    return takenFrom({ lots, ended: eventType === 'hold_captured' ? ended : [] }, entry, base).map(
      ([lotNo, amount]) => [lotNo, -amount],
    );
  }

  #apply({ seq, eventType }: Entry, { lot, amount }: StoredMovement): void {
    const remaining = (this.#open.get(lot.lotNo)?.remaining ?? 0) + amount;
    if (remaining > 0) this.#open.set(lot.lotNo, { lot, remaining });
    else this.#open.delete(lot.lotNo);
    // What is given back to a lot, or follows a closed one, is taken again first.
    if (amount > 0 && lot.originSeq !== seq && eventType !== 'merchant_adjustment') this.#isSteered = true;
  }
}

interface Drained {
  readonly lots: readonly Drainable[];
  /** Those that are over, by their own time, and were kept for what is captured. */
  readonly ended: readonly Drainable[];
}

/** A capture takes first what is over and was kept for it. */
function takenFrom({ lots, ended }: Drained, { eventType, amountMinor }: Entry, base: number) {
  const taken = new Map<number, number>();
  let left = amountMinor;
  for (const lot of ended) {
    const amount = Math.min(left, lot.remaining);
    taken.set(lot.lotNo, amount);
    left -= amount;
  }
  const rest = lots.map((lot) => ({ ...lot, remaining: lot.remaining - (taken.get(lot.lotNo) ?? 0) }));
  const parts = drain(rest, { base, amount: left, isBaseFirst: MAY_OVERDRAW.has(eventType) });
  for (const { lot, amount } of parts) taken.set(lot.lotNo, (taken.get(lot.lotNo) ?? 0) + amount);
  return [...taken].filter(([, amount]) => amount > 0);
}

/** The terms that the lot had then: those that the first change after it replaced. */
function termsAt({ changes, ...lot }: StoredLot, at: Date) {
  const next = changes.find(({ createdAt }) => createdAt > at);
  return next === undefined ? lot : { ...lot, expiresAt: next.oldExpiresAt, priority: next.oldPriority };
}

function isChangedNear({ changes }: StoredLot, at: Date): boolean {
  return changes.some(({ createdAt }) => Math.abs(createdAt.getTime() - at.getTime()) <= CLOCKS_DIFFER_MS);
}

function textOf(moved: readonly (readonly [number, number])[]): string {
  const sorted = moved.filter(([, amount]) => amount !== 0).sort(([one], [other]) => one - other);
  return sorted.length === 0 ? 'nothing' : sorted.map(([lotNo, amount]) => `${amount} of lot ${lotNo}`).join(', ');
}

/**
 * Whether the lot that an entry opened has the terms that its request asked for, as far as the entry's fingerprint tells. Without a key
 * there is none.
 */
export function hasTermsOfRequest(entry: Entry, stored: StoredLot): boolean {
  if (entry.fingerprint === null) return true;
  const { kind, name, priority, expiresAt } = termsAt(stored, new Date(0));
  const ends: LotTerms['end'][] = expiresAt === null ? [null] : [{ at: expiresAt }];
  const days = expiresAt === null ? 0 : (expiresAt.getTime() - entry.createdAt.getTime()) / DAY_MS;
  const isInDays = expiresAt !== null && daysAfter(entry.createdAt, Math.round(days)).getTime() === expiresAt.getTime();
  if (isInDays) ends.push({ days: Math.round(days) });
  return ends.some((end) => fingerprint({ ...entry, terms: { kind, name, priority, end } }) === entry.fingerprint);
}
