import { setTimeout as delay } from 'node:timers/promises';
import type { PgBoss } from 'pg-boss';
import type { Logger } from '../telemetry/log.ts';

/** Tells the worker that there is something to announce. */
export interface Nudger {
  /** Returns at once, however often it is called. A nudge that is lost is made up for by the worker's ticker. */
  nudge(): void;
  /** Sends what was asked for and nothing more. */
  close(): Promise<void>;
}

/** A job costs a commit with a notification; at most one is made in this time, and never two at once. */
const QUIET_MS = 100;

export function createNudger(boss: Pick<PgBoss, 'send'>, logger: Logger): Nudger {
  const closing = new AbortController();
  let isWanted = false;
  let running: Promise<void> | null = null;

  const run = async () => {
    while (isWanted) {
      isWanted = false;
      try {
        await boss.send('announce-balance-changes', {});
      } catch (error) {
        logger.debug({ err: error }, 'the announcer was not nudged; the ticker will do it');
      }
      if (!closing.signal.aborted) await delay(QUIET_MS, null, { signal: closing.signal }).catch(() => {});
    }
    running = null;
  };

  return {
    nudge: () => {
      if (closing.signal.aborted) return;
      isWanted = true;
      running ??= run();
    },
    close: async () => {
      closing.abort();
      await running;
    },
  };
}
