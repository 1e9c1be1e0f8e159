import type { Pool } from '../../db/pool.ts';
import { autocommit } from '../../db/transaction.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { KeyGuard } from './key-guard.ts';
import { storeWarnings } from './warning-store.ts';

const EVERY_MS = 10_000;

/** Stores what the guard found, aside from requests: one statement for each merchant who has any, every ten seconds at most. */
export class WarningKeeper {
  readonly #guard: KeyGuard;
  readonly #pool: Pool;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | null = null;

  constructor({ guard, pool, logger }: { readonly guard: KeyGuard; readonly pool: Pool; readonly logger: Logger }) {
    this.#guard = guard;
    this.#pool = pool;
    this.#logger = logger;
  }

  start(): void {
    this.#timer = setInterval(() => void this.store(), EVERY_MS);
    this.#timer.unref();
  }

  /** Stores what there is. What cannot be stored now is lost: it was counted, and nothing depends on it. */
  async store(): Promise<void> {
    for (const [merchantId, warnings] of this.#guard.take()) {
      await storeWarnings(autocommit(this.#pool), merchantId, warnings).catch((error: unknown) =>
        this.#logger.warn({ err: error, merchantId, warnings: warnings.length }, 'warnings of keys were not stored'),
      );
    }
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.store();
  }
}
