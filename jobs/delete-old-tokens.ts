import type { PgBoss } from 'pg-boss';
import type { Clock } from '../src/clock.ts';
import { deleteOldTokens } from '../src/customers/payment-tokens.ts';
import type { Pool } from '../src/db/pool.ts';
import type { Logger } from '../src/telemetry/log.ts';

interface Services {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Runs the scheduled deletion of tokens that ended unused long ago. */
export async function workDeleteOldTokens(boss: PgBoss, services: Services): Promise<void> {
  await boss.work('delete-old-tokens', { batchSize: 1, pollingIntervalSeconds: 10 }, async () => {
    services.logger.debug({ deleted: await deleteOldTokens(services) }, 'old tokens were deleted');
  });
}
