import { setTimeout as delay } from 'node:timers/promises';
import type { DestinationStream } from 'pino';
import { systemClock } from '../clock.ts';

/** What may wait for a reader that is slow, in characters: more lines than a burst of refusals makes in a second. */
const MAX_WAITING = 8_000_000;

/** As pino writes a warning. */
const WARN_LEVEL = 40;

/**
 * Standard output as the destination of the log. Whoever reads it may stop reading or go away, which must not stop the
 * service: a pipe that is full never makes the process wait, and what waits for its reader is bounded. Beyond that, lines
 * are dropped, and their number is logged once there is room. When the reader is gone, nothing is written any more.
 */
class StandardOutput implements DestinationStream {
  readonly #stream = process.stdout;
  #dropped = 0;
  #isClosed = false;

  constructor() {
    // Without listeners of ours, a reader that goes away ends the process, on either stream.
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

  /** Resolves when what was written is out, or after `patienceMs`. */
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

/** The one of this process. */
export function standardOutput(): StandardOutput {
  shared ??= new StandardOutput();
  return shared;
}
