import type { PgBoss } from 'pg-boss';
import { type SweepServices, sweepDueWallets } from '../src/ledger/holds/sweep.ts';

/** Ends holds and lots that are over, in wallets that nobody asks. */
export async function workSettleDueWallets(boss: PgBoss, services: SweepServices): Promise<void> {
  await boss.work('settle-due-wallets', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    services.logger.debug(
      { wallets: await sweepDueWallets(services) },
      'wallets in which something ended were settled',
    );
  });
}
