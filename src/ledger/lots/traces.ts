import { type Entry, MAY_OVERDRAW } from '../entry.ts';

/** Where earlier entries took credit from and gave it back to, for what undoes them. Pure. */

export interface Piece {
  /** Null: the base, or a debt. */
  readonly lotNo: number | null;
  readonly amount: number;
  /** The entry that moved it. */
  readonly entry: Entry;
}

export interface Traces {
  /** What was taken and not given back, in the order in which it was taken. */
  readonly taken: readonly Piece[];
  /** What was given back into lots and not taken again, likewise. */
  readonly given: readonly Piece[];
}

interface Part {
  readonly lotNo: number;
  readonly amount: number;
  /** Whether the lot is spent before the base. */
  readonly isBeforeBase: boolean;
}

/** What an entry moved in lots, in the order in which they are spent; amounts are above 0. */
export type PartsOf = (entry: Entry) => readonly Part[];

/** Follows entries that undo one another, oldest first: what was moved last is undone first. */
export function followTraces(entries: readonly Entry[], partsOf: PartsOf): Traces {
  const taken: Piece[] = [];
  const given: Piece[] = [];
  for (const entry of [...entries].sort((one, other) => one.seq - other.seq)) {
    const parts = partsOf(entry).map((part) => ({ ...part, entry }));
    // What takes back meets the base first.
    const isFirst = (part: Part) => part.isBeforeBase && !MAY_OVERDRAW.has(entry.eventType);
    if (entry.isCredit) {
      cut(taken, entry.amountMinor);
      given.push(...parts);
    } else {
      const debt = debtBy(entry);
      const inBase = parts.reduce((rest, { amount }) => rest - amount, entry.amountMinor - debt);
      cut(given, entry.amountMinor);
      taken.push(...parts.filter(isFirst), { lotNo: null, amount: inBase, entry });
      taken.push(...parts.filter((part) => !isFirst(part)), { lotNo: null, amount: debt, entry });
    }
  }
  return { taken, given };
}

/** What of a debit nothing was there for. It is the last that was taken, so that the first that goes back repays it. */
function debtBy({ afterBalance, amountMinor }: Entry): number {
  return Math.max(-afterBalance, 0) - Math.max(-afterBalance - amountMinor, 0);
}

/** What is left of the pieces without this amount at their end. */
export function withoutLast(pieces: readonly Piece[], amount: number): readonly Piece[] {
  const left = [...pieces];
  cut(left, amount);
  return left;
}

/** Takes this amount away from the end of the pieces. */
function cut(pieces: Piece[], amount: number): void {
  let left = amount;
  while (left > 0) {
    const last = pieces.pop();
    if (last === undefined) return;
    if (last.amount > left) pieces.push({ ...last, amount: last.amount - left });
    left -= Math.min(left, last.amount);
  }
}
