import { type Wallet, walletKeyText } from '../entry.ts';

/** So many wallets are remembered; the next one takes the place of the one that has been there longest. */
const MOST_OWNERS = 20_000;

/**
 * In which wallets a process has seen open lots. It is a guess by which lots are asked for together with the lock, and read behind it: a wallet
 * that it does not name is asked about afterwards, and one that has no lots any more costs a look.
 */
export class LotOwners {
  readonly #openLots = new Map<string, number>();

  /** How many it had when it was last seen; 0 if it had none, or was not seen. */
  openLotsOf(key: Parameters<typeof walletKeyText>[0]): number {
    return this.#openLots.size === 0 ? 0 : (this.#openLots.get(walletKeyText(key)) ?? 0);
  }

  /** @param wallets by {@link walletKeyText} */
  note(wallets: ReadonlyMap<string, Wallet>): void {
    for (const [text, { openLots }] of wallets) {
      if (openLots > 0) this.#openLots.set(text, openLots);
      else if (this.#openLots.size > 0) this.#openLots.delete(text);
    }
    for (const text of this.#openLots.keys()) {
      if (this.#openLots.size <= MOST_OWNERS) break;
      this.#openLots.delete(text);
    }
  }
}
