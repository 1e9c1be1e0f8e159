import { setTimeout as delay } from 'node:timers/promises';
import type { DestinationStream } from 'pino';
import { systemClock } from '../clock.ts';

/** How much may wait for a slow reader, in characters: more lines than many refusals at once make in a second. */
const MAX_WAITING = 8_000_000;

/** Pino's number for a warning. */
const WARN_LEVEL = 40;

/**
 * Standard output as the destination of the log. Its reader may stop reading or end, which must not stop the service: the
 * process never waits for a full pipe, and the size of what waits is limited. Lines beyond the limit are dropped, and their
 * number is logged when there is room again. After the reader has ended, nothing is written any more.
 */
class StandardOutput implements DestinationStream {
  readonly #stream = process.stdout;
  #dropped = 0;
  #isClosed = false;

  constructor() {
    // On both streams: without a listener, Node ends the process when the reader goes away.
    this.#stream.on('error', (error) => {
      if ('code' in error && error.code === 'EPIPE') this.#isClosed = true;
    });
    process.stderr.on('error', () => {});
    this.#stream.on('drain', () => this.#tellOfDropped());
  }

  write(line: string): void {
    if (this.#isClosed) return;
    if (this.#stream.writableLength + line.length > MAX_WAITING) this.#dropped += 1;
    else this.#stream.write(line);
  }

  /** Resolves when everything is written out, or after `patienceMs`. */
  async flush(patienceMs: number): Promise<void> {
    if (this.#isClosed || this.#stream.writableLength === 0) return;
    const { promise: isOut, resolve } = Promise.withResolvers<void>();
    this.#stream.write('', () => resolve());
    await Promise.race([isOut, delay(patienceMs)]);
  }

  #tellOfDropped(): void {
    if (this.#dropped === 0) return;
    const time = systemClock.now().getTime();
    const msg = 'log lines were dropped, since nobody read them';
    const line = JSON.stringify({ level: WARN_LEVEL, time, pid: process.pid, lines: this.#dropped, msg });
    this.#dropped = 0;
    this.#stream.write(`${line}\n`);
  }
}

let shared: StandardOutput | null = null;

/** The only instance of this process. */
export function standardOutput(): StandardOutput {
  shared ??= new StandardOutput();
  return shared;
}
