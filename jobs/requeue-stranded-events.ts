import type { PgBoss } from 'pg-boss';
import type { Clock } from '../src/clock.ts';
import type { Pool } from '../src/db/pool.ts';
import { requeueStranded } from '../src/inbox/stranded.ts';
import type { Logger } from '../src/log.ts';

/** Finds stored events that lost their job and enqueues them again. */
export async function workRequeueStrandedEvents(boss: PgBoss, pool: Pool, clock: Clock, logger: Logger): Promise<void> {
  await boss.work('requeue-stranded-events', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    await requeueStranded(pool, boss, clock, logger);
  });
}
