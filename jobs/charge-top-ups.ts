import type { PgBoss } from 'pg-boss';
import { connectChargers } from '../src/charging/connect.ts';
import type { Config } from '../src/config/env.ts';
import { healTopUp } from '../src/reconciliation/heal-top-up.ts';
import type { ReconcileServices } from '../src/reconciliation/services.ts';
import { chargeTopUps, scanForTopUps } from '../src/top-ups/charge.ts';
import { GatewayMinimums } from '../src/top-ups/minimums.ts';
import { Pace } from '../src/top-ups/pace.ts';

type TopUpJobServices = Omit<ReconcileServices, 'signal'> & { readonly config: Config; readonly signal: AbortSignal };

/** The safety net is wider than a debit's own note, and reads all rules. */
const SCAN_EVERY_MS = 5 * 60_000;

/** Fills wallets up that are below their threshold, and goes on with what is under way. */
export async function workChargeTopUps(boss: PgBoss, { config, ...services }: TopUpJobServices): Promise<void> {
  const charging = {
    ...services,
    connect: connectChargers(config),
    minimums: new GatewayMinimums(config.GATEWAY_MINIMUMS),
    pace: new Pace(config.CHARGE_RATE),
    heal: healTopUp(services),
  };
  let scannedAtMs = Number.NEGATIVE_INFINITY;
  await boss.work('charge-top-ups', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    if (performance.now() - scannedAtMs >= SCAN_EVERY_MS) {
      scannedAtMs = performance.now();
      await scanForTopUps(charging);
    }
    services.logger.debug(await chargeTopUps(charging), 'wallets were looked at that may have to be filled up');
  });
}
