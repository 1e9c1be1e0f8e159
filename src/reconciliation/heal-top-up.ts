import { RefusalError } from '../errors.ts';
import type { TopUp } from '../top-ups/tables.ts';
import type { ReconcileServices } from './services.ts';
import { latestUntil, startRun } from './start.ts';

/** Before the attempt was written here, by another clock, its payment may have been made there. */
const CLOCK_SKEW_MS = 5 * 60_000;

/** Looks for the payment of a top-up that the provider's API called a success, and no event confirmed: by comparing its source since then. */
export function healTopUp(services: ReconcileServices): (topUp: TopUp) => Promise<void> {
  const { clock, boss, logger } = services;
  return async ({ merchantId, sourceId, topUpId, createdAt }) => {
    const until = latestUntil(clock.now());
    const since = new Date(createdAt.getTime() - CLOCK_SKEW_MS);
    if (sourceId === null || since >= until) return;
    try {
      await startRun(services, { merchantId, sourceId, since, until, requestedBy: 'schedule', isDryRun: false });
      await boss.send('reconcile-payments', {});
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      logger.warn(
        { merchantId, sourceId, topUpId, reason: error.message },
        'a top-up was charged and no event confirms it, and its source cannot be compared',
      );
    }
  };
}
