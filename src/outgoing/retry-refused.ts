import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { retryRefusedWallets } from '../ledger/refused-wallets.ts';
import type { Logger } from '../telemetry/log.ts';
import { retryUnsent } from './unsent.ts';

/** Short failures are tried again sooner than this, so what waits longer was refused. */
const REFUSED_SECONDS = 60;
/** At the start, and a minute later: by then a worker of the former release, whose messages may be refused again, has stopped. */
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
 * What was refused is tried only every 15 minutes, since the same request will hardly succeed. But a new release may have
 * removed the cause, so a worker that starts makes all of it due at once, and again a minute later. Never throws.
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

/** Makes due what was refused: wallets, and messages that belong to no wallet. */
async function retryRefused(pool: Pool): Promise<void> {
  const db = autocommit(pool);
  await retryRefusedWallets(db, REFUSED_SECONDS);
  await retryUnsent(db, REFUSED_SECONDS);
}
