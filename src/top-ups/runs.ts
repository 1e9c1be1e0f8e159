import { Failures } from '../db/failures.ts';
import { type ChargeServices, chargeTopUps } from './charge.ts';
import { scanForTopUps } from './scan.ts';

/** The safety net is wider than a debit's own note, and reads all rules. */
const SCAN_EVERY_MS = 5 * 60_000;

/** @returns what fills wallets up, each time that it is called, and now and then looks for those that no debit has noted */
export function topUpRuns(services: ChargeServices): () => Promise<{ topUps: number; wallets: number }> {
  let scannedAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    const failures = new Failures(null);
    if (performance.now() - scannedAtMs >= SCAN_EVERY_MS) {
      scannedAtMs = performance.now();
      // Logged by the scan, merchant by merchant. What it has found is worked on all the same.
      await failures.outlive(
        () => scanForTopUps(services),
        () => {},
      );
    }
    const done = await chargeTopUps(services);
    failures.rethrow();
    return done;
  };
}
