/** How often one kind of line is logged at most. */
const EVERY_MS = 10_000;
/** Far more kinds than there are. When there are as many, they are forgotten. */
const MAX_KINDS = 1_000;

/**
 * Keeps strangers from filling the log by what they may do any number of times.
 * @param nowMs a clock that never goes back
 * @returns to be asked at each event of a kind: how many there were since the last line, if one is due, else null
 */
export function createSeldom(nowMs: () => number = () => performance.now()): (kind: string) => number | null {
  const seen = new Map<string, { count: number; loggedMs: number }>();
  return (kind) => {
    const before = seen.get(kind) ?? { count: 0, loggedMs: Number.NEGATIVE_INFINITY };
    const count = before.count + 1;
    const isDue = nowMs() - before.loggedMs >= EVERY_MS;
    if (seen.size >= MAX_KINDS && !seen.has(kind)) seen.clear();
    seen.set(kind, isDue ? { count: 0, loggedMs: nowMs() } : { count, loggedMs: before.loggedMs });
    return isDue ? count : null;
  };
}

/** @returns to be asked at each event: whether it is among the first `most` of its ten seconds */
export function createFew(most: number, nowMs: () => number = () => performance.now()): () => boolean {
  let sinceMs = Number.NEGATIVE_INFINITY;
  let count = 0;
  return () => {
    if (nowMs() - sinceMs >= EVERY_MS) [sinceMs, count] = [nowMs(), 0];
    count += 1;
    return count <= most;
  };
}
