import type { PgBoss } from 'pg-boss';
import { connectChargers } from '../src/charging/connect.ts';
import { GatewayMinimums } from '../src/charging/minimums.ts';
import type { Config } from '../src/config/env.ts';
import { connectWith } from '../src/reconciliation/connect.ts';
import { healTopUp } from '../src/reconciliation/heal-top-up.ts';
import type { ReconcileServices } from '../src/reconciliation/services.ts';
import { Pace } from '../src/top-ups/pace.ts';
import { topUpRuns } from '../src/top-ups/runs.ts';

type TopUpJobServices = Omit<ReconcileServices, 'signal'> & { readonly config: Config; readonly signal: AbortSignal };

/** Fills wallets up that are below their threshold, and goes on with what is under way. */
export async function workChargeTopUps(boss: PgBoss, { config, ...services }: TopUpJobServices): Promise<void> {
  const run = topUpRuns({
    ...services,
    connect: connectChargers({ config, ...services, connectApi: connectWith(config) }),
    minimums: new GatewayMinimums(config.GATEWAY_MINIMUMS),
    pace: new Pace(config.CHARGE_RATE),
    heal: healTopUp(services),
  });
  await boss.work('charge-top-ups', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    services.logger.debug(await run(), 'wallets were looked at that may have to be filled up');
  });
}
