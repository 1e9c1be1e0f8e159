import type { PgBoss } from 'pg-boss';
import { checkLowBalances, type ScanPlace, type ScanServices } from '../src/ledger/low-balance/scan.ts';

/** Runs the scheduled scan for low balances. */
export async function workCheckLowBalances(boss: PgBoss, services: ScanServices): Promise<void> {
  const place: ScanPlace = { after: null };
  await boss.work('check-low-balances', { batchSize: 1, pollingIntervalSeconds: 2 }, async () => {
    services.logger.debug(await checkLowBalances(services, place), 'low balances were checked');
  });
}
