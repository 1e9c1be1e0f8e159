import { setTimeout as delay } from 'node:timers/promises';
import type { PgBoss } from 'pg-boss';
import type { QueueName } from '../db/queues.ts';
import type { Logger } from '../telemetry/log.ts';

/** Tells the worker that there is something to do, such as to announce. */
export interface Waker {
  /** Returns at once and may be called often. If the wake-up is lost, the worker's ticker finds what is due. */
  wake(): void;
  /** Sends a wake-up that was asked for already, and then no more. */
  close(): Promise<void>;
}

/** A job costs a commit with a notification, so at most one is made in this time, and never two at once. */
const QUIET_MS = 100;

/** Makes a waker of a process. Close it, so that a wake-up that was asked for is still sent. */
export function createWaker(
  boss: Pick<PgBoss, 'send'>,
  logger: Logger,
  queue: QueueName = 'announce-balance-changes',
): Waker {
  const closing = new AbortController();
  let isWanted = false;
  let running: Promise<void> | null = null;

  const run = async () => {
    while (isWanted) {
      isWanted = false;
      try {
        await boss.send(queue, {});
      } catch (error) {
        logger.debug({ err: error }, 'a job was not woken; it will look by itself');
      }
      if (!closing.signal.aborted) await delay(QUIET_MS, null, { signal: closing.signal }).catch(() => {});
    }
    running = null;
  };

  return {
    wake: () => {
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
