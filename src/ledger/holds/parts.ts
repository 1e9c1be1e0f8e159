import type { Wallet } from '../entry.ts';

/** How many of these wallets, from the first on, have so few open holds together that these may be read at once; at least one. */
export function countWithin(wallets: readonly Pick<Wallet, 'openHolds'>[], mostHolds: number): number {
  let holds = 0;
  const end = wallets.findIndex(({ openHolds }, index) => {
    holds += openHolds;
    return index > 0 && holds > mostHolds;
  });
  return end === -1 ? wallets.length : end;
}
