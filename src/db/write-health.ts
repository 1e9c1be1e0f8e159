import type pg from 'pg';

/** What is known of a pool's writes: when the server last refused one, unless one was kept since. */
const refusedAtMs = new WeakMap<pg.Pool, number>();

/** A write that failed counts for so long, so that a fault which nobody meets any more is forgotten. */
const COUNTS_FOR_MS = 5_000;

/** Notes that the server could not keep a write: its disk is full, or it only reads. */
export function noteWriteRefused(pool: pg.Pool): void {
  refusedAtMs.set(pool, performance.now());
}

/** Notes that a transaction that wrote is durable. */
export function noteWriteKept(pool: pg.Pool): void {
  refusedAtMs.delete(pool);
}

/** Whether a write was refused in the last five seconds, and none was kept since. */
export function refusesWrites(pool: pg.Pool): boolean {
  const atMs = refusedAtMs.get(pool);
  return atMs !== undefined && performance.now() - atMs < COUNTS_FOR_MS;
}
