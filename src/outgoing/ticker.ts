import type { Logger } from '../telemetry/log.ts';

/**
 * Every worker looks at the work lists at least this often, and announces if something is due. This needs no job: only one job
 * may be queued at a time, so a job that is due later would keep out one that is due sooner.
 *
 * Merchants hear of everything within 30 s, in every case. The longest ways, in seconds (`test/outgoing/ticker.test.ts`):
 * - the wake-up after a commit is lost: 15 until the next look;
 * - Svix comes back: 10 for a call that still hangs, 10 of pause or back-off, 1 of rounding;
 * - a worker dies: 15 until its leases end, of which every other worker learns in time, 1 of rounding.
 */
export const TICK_SECONDS = 15;
/** If something is due sooner, the next look is sooner too, but in whole seconds: many retries shall cause few looks. */
export const ROUNDING_SECONDS = 1;

export interface Ticker {
  /** Says that something is due in so many seconds, so that the ticker looks by then; null says nothing. */
  expect(seconds: number | null): void;
  close(): void;
}

export interface TickerOptions {
  /** How long until something is due: 0 if it is now, null if nothing waits. */
  readonly look: () => Promise<number | null>;
  readonly wake: () => void;
  readonly logger: Logger;
}

/** Looks at once, and again and again until it is closed. */
export function createTicker({ look, wake, logger }: TickerOptions): Ticker {
  let timer: NodeJS.Timeout | undefined;
  let nextMs = Number.POSITIVE_INFINITY;
  let isClosed = false;

  const expect = (due: number | null) => {
    if (isClosed) return;
    const seconds = due === null ? TICK_SECONDS : Math.max(ROUNDING_SECONDS, Math.ceil(due));
    const inMs = Math.min(seconds, TICK_SECONDS) * 1000;
    // The next look is only ever moved forward: a later date from one caller must not delay what another waits for.
    if (performance.now() + inMs >= nextMs) return;
    nextMs = performance.now() + inMs;
    clearTimeout(timer);
    timer = setTimeout(tick, inMs);
  };

  const tick = async () => {
    nextMs = Number.POSITIVE_INFINITY;
    try {
      const due = await look();
      if (due === 0 && !isClosed) wake();
      expect(due === 0 ? null : due);
    } catch (error) {
      logger.debug({ err: error }, 'it is not known what is to be announced; the next look will tell');
      expect(null);
    }
  };

  void tick();
  return {
    expect,
    close: () => {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
