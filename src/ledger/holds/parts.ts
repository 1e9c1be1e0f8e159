import type { Wallet } from '../entry.ts';

/** How many of these wallets, from the first on, have so few open holds and lots together that these may be read at once; at least one. */
export function countWithin(wallets: readonly Pick<Wallet, 'openHolds' | 'openLots'>[], most: number): number {
  let rows = 0;
  const end = wallets.findIndex(({ openHolds, openLots }, index) => {
    rows += openHolds + openLots;
    return index > 0 && rows > most;
  });
  return end === -1 ? wallets.length : end;
}
