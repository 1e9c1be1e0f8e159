import type { Logger } from './log.ts';
import { standardOutput } from './log-sink.ts';

/** Platforms send SIGKILL after 30 seconds; a process that has not stopped by itself then has lost control of how. */
const PATIENCE_MS = 30_000;

/** For the last lines of the log, where their reader is slow. */
const LOG_PATIENCE_MS = 1_000;

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Runs `close` once, on the first SIGTERM or SIGINT, and then ends the process: with 0, or with 1 if closing failed or
 * took more than 30 s. A second signal ends it at once.
 */
export function onShutdown(close: () => Promise<void>, logger: Logger): void {
  let isClosing = false;
  const stop = (signal: keyof typeof EXIT_CODES) => {
    if (isClosing) process.exit(EXIT_CODES[signal]);
    isClosing = true;
    logger.info({ signal }, 'stopping');
    const timer = setTimeout(() => {
      logger.error('stopping took too long');
      process.exit(1);
    }, PATIENCE_MS);
    timer.unref();
    close().then(
      () => {
        logger.info('stopped');
        leave(0);
      },
      (error: unknown) => {
        logger.error({ err: error }, 'stopping failed');
        leave(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

/**
 * An exception that nothing caught, or a rejection that nothing handled, ends the process with 1 after one line in the log:
 * nobody knows what state it is in, and every state that counts is in the database. Left to Node, it would be printed
 * whole, with the values that Postgres quotes.
 */
export function endOnCrash(logger: Logger): void {
  let isLeaving = false;
  process.on('uncaughtException', (error, origin) => {
    if (isLeaving) return;
    isLeaving = true;
    logger.fatal({ err: error, origin }, 'an error that nothing caught ends the process');
    leave(1);
  });
}

function leave(code: number): void {
  standardOutput()
    .flush(LOG_PATIENCE_MS)
    .then(() => process.exit(code));
}
