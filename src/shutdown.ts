import type { Logger } from './log.ts';

/** Platforms send SIGKILL after 30 seconds; a process that has not stopped by itself then has lost control of how. */
const PATIENCE_MS = 30_000;

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
        process.exit(0);
      },
      (error: unknown) => {
        logger.error({ err: error }, 'stopping failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}
