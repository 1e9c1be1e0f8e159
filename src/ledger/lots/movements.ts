import { type Entry, type WalletKey, walletKeyText } from '../entry.ts';
import type { Lot, LotMovement } from './lot.ts';

/** What entries moved in lots: those of a batch, and those of earlier ones that it undoes. */
export class LotMovements {
  readonly #made: LotMovement[] = [];
  readonly #byEntry = new Map<string, LotMovement[]>();

  /** @param known of entries that the batch undoes */
  constructor(known: readonly LotMovement[]) {
    for (const movement of known) this.#keep(movement);
  }

  /** Those of the batch. */
  get made(): readonly LotMovement[] {
    return this.#made;
  }

  /** Those of an entry, also of one in an earlier batch. */
  of(entry: WalletKey & Pick<Entry, 'seq'>): readonly LotMovement[] {
    return this.#byEntry.get(textOf(entry)) ?? [];
  }

  add({ seq }: Pick<Entry, 'seq'>, { merchantId, customerId, currency, lotNo }: Lot, amountMinor: number): void {
    const movement = { merchantId, customerId, currency, seq, lotNo, amountMinor };
    const own = this.#byEntry.get(textOf(movement)) ?? [];
    const before = own.findIndex((one) => one.lotNo === lotNo);
    const same = own[before];
    if (same === undefined) {
      this.#made.push(movement);
      this.#keep(movement);
      return;
    }
    // Several earlier entries had taken from the lot: it is one movement all the same.
    const both = { ...same, amountMinor: same.amountMinor + amountMinor };
    own[before] = both;
    this.#made[this.#made.lastIndexOf(same)] = both;
  }

  #keep(movement: LotMovement): void {
    const text = textOf(movement);
    const own = this.#byEntry.get(text) ?? [];
    own.push(movement);
    this.#byEntry.set(text, own);
  }
}

const textOf = (entry: WalletKey & Pick<Entry, 'seq'>): string => `${walletKeyText(entry)}\0${entry.seq}`;
