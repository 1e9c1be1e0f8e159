import type pg from 'pg';

/** What was noted counts for so long, so that a fault which nobody meets any more is forgotten. */
const COUNTS_FOR_MS = 5_000;

/** When the server last answered a transaction of a pool. */
const answeredAtMs = new WeakMap<pg.Pool, number>();

/** Notes that the server answers the sessions of a pool. */
export function noteAnswer(pool: pg.Pool): void {
  answeredAtMs.set(pool, performance.now());
}

/** Whether the server answered a transaction of this pool in the last five seconds. */
export function answeredLately(pool: pg.Pool): boolean {
  const atMs = answeredAtMs.get(pool);
  return atMs !== undefined && performance.now() - atMs < COUNTS_FOR_MS;
}

/** What is known of a pool's writes: when the server last refused one, unless one was kept since. */
const refusedAtMs = new WeakMap<pg.Pool, number>();

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
