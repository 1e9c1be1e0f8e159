import type { Logger } from '../telemetry/log.ts';
import { standardOutput } from '../telemetry/log-sink.ts';

/** Platforms send SIGKILL after 30 s, so a process ends by itself before that can happen. */
const PATIENCE_MS = 30_000;

/** How long to wait for a slow reader of the log to take the last lines. */
const LOG_PATIENCE_MS = 1_000;

export const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export type StopSignal = keyof typeof EXIT_CODES;

/** A terminal or systemd signals both npm and this process, and npm passes its signal on: one request to stop arrives twice. */
const SAME_SIGNAL_MS = 1_000;

/** Calls `stop` at the first SIGTERM or SIGINT. Another one, more than a second later, ends the process at once. */
export function onStopSignal(stop: (signal: StopSignal) => void): void {
  let firstMs: number | null = null;
  const receive = (signal: StopSignal) => {
    if (firstMs === null) {
      firstMs = performance.now();
      stop(signal);
    } else if (performance.now() - firstMs > SAME_SIGNAL_MS) process.exit(EXIT_CODES[signal]);
  };
  process.on('SIGTERM', receive);
  process.on('SIGINT', receive);
}

/**
 * Runs `close` once, on the first SIGTERM or SIGINT, and then ends the process: with 0, or with 1 if closing failed or
 * took more than 30 s and what it may wait before. Another signal, more than a second later, ends it at once.
 * @param drainSeconds how long `close` waits before it begins, when it is told `isDraining`: after a SIGTERM, which a process manager
 *   sends while balancers still send requests, and not after Ctrl-C
 */
export function onShutdown(close: (isDraining: boolean) => Promise<void>, logger: Logger, drainSeconds = 0): void {
  onStopSignal((signal) => {
    const isDraining = signal === 'SIGTERM' && drainSeconds > 0;
    logger.info({ signal, drainSeconds: isDraining ? drainSeconds : 0 }, 'stopping');
    const timer = setTimeout(
      () => {
        logger.error('stopping took too long');
        process.exit(1);
      },
      PATIENCE_MS + (isDraining ? drainSeconds * 1_000 : 0),
    );
    timer.unref();
    close(isDraining).then(
      () => {
        logger.info('stopped');
        leave(0);
      },
      (error: unknown) => {
        logger.error({ err: error }, 'stopping failed');
        leave(1);
      },
    );
  });
}

/**
 * Ends the process with 1 after an exception that nothing caught or a rejection that nothing handled: its state in memory is
 * unknown, and all that matters is in the database. The error is one line in the log. Node itself would print the whole error,
 * with values of rows that Postgres quotes.
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
