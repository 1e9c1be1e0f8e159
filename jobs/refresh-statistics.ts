import type { PgBoss } from 'pg-boss';
import { refreshStatistics, type StatisticsServices } from '../src/db/statistics.ts';

/** Gathers statistics of tables that have outgrown theirs, so that plans are made for what is there. */
export async function workRefreshStatistics(boss: PgBoss, services: StatisticsServices): Promise<void> {
  await boss.work('refresh-statistics', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await refreshStatistics(services);
  });
}
