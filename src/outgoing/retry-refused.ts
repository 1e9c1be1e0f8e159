import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { retryRefusedWallets } from '../ledger/refused-wallets.ts';
import type { Logger } from '../telemetry/log.ts';

/** What passes by itself is tried again sooner than this; what waits longer was refused. */
const REFUSED_SECONDS = 60;
/** At the start, and when a worker of the release before, which may be refused once more meanwhile, has stopped. */
const AT_MS = [0, 60_000];

export interface RetryRefusedOptions {
  readonly pool: Pool;
  readonly logger: Logger;
  /** Called when there may be something to announce. */
  readonly onDue: () => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/**
 * What was refused is tried every quarter of an hour, since the same again hardly helps. But a start is the moment at which the
 * cause may have been mended, so a worker that starts has all of it tried at once, and once more a minute later. Never throws.
 */
export async function retryRefusedAtStart({ pool, logger, onDue, signal }: RetryRefusedOptions): Promise<void> {
  for (const afterMs of AT_MS) {
    await delay(afterMs, null, { signal, ref: false }).catch(() => {});
    if (signal.aborted) return;
    try {
      await retryRefused(pool);
      onDue();
    } catch (error) {
      logger.warn({ err: error }, 'what was refused could not be made due; it is tried in its own time');
    }
  }
}

/** Makes due what was refused: wallets, and messages that belong to none. */
async function retryRefused(pool: Pool): Promise<void> {
  const db = autocommit(pool);
  await retryRefusedWallets(db, REFUSED_SECONDS);
  await db.query('update unsent_message set retry_at = null where retry_at > now() + make_interval(secs => $1)', [
    REFUSED_SECONDS,
  ]);
}
