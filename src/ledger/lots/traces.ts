import type { Entry } from '../entry.ts';

/** Where earlier entries took credit from and gave it back to, for what undoes them. Pure. */

interface Piece {
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

/** What an entry moved in lots, in the order in which they are spent; amounts are above 0. */
export type PartsOf = (entry: Entry) => readonly { readonly lotNo: number; readonly amount: number }[];

/** Follows entries that undo one another, oldest first: what was moved last is undone first. */
export function followTraces(entries: readonly Entry[], partsOf: PartsOf): Traces {
  let taken: readonly Piece[] = [];
  let given: readonly Piece[] = [];
  for (const entry of [...entries].sort((one, other) => one.seq - other.seq)) {
    const parts = partsOf(entry).map((part) => ({ ...part, entry }));
    if (entry.isCredit) {
      taken = without(taken, entry.amountMinor);
      given = [...given, ...parts];
    } else {
      const inBase = parts.reduce((rest, { amount }) => rest - amount, entry.amountMinor);
      given = without(given, entry.amountMinor);
      taken = [...taken, { lotNo: null, amount: inBase, entry }, ...parts];
    }
  }
  return { taken, given };
}

/** The pieces but the last of this amount. */
function without(pieces: readonly Piece[], amount: number): readonly Piece[] {
  let left = amount;
  const rest = pieces.toReversed().map((piece) => {
    const gone = Math.min(left, piece.amount);
    left -= gone;
    return { ...piece, amount: piece.amount - gone };
  });
  return rest.reverse().filter((piece) => piece.amount > 0);
}
