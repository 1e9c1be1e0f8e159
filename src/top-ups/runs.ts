import { type ChargeServices, chargeTopUps } from './charge.ts';
import { scanForTopUps } from './scan.ts';

/** The safety net is wider than a debit's own note, and reads all rules. */
const SCAN_EVERY_MS = 5 * 60_000;

/** @returns what fills wallets up, each time that it is called, and now and then looks for those that no debit has noted */
export function topUpRuns(services: ChargeServices): () => Promise<{ topUps: number; wallets: number }> {
  let scannedAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - scannedAtMs >= SCAN_EVERY_MS) {
      scannedAtMs = performance.now();
      await scanForTopUps(services);
    }
    return chargeTopUps(services);
  };
}
