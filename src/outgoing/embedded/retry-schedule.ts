/** Svix's retry schedule, so that both senders have the same: eight tries over about 28 hours. */
const STEPS_SECONDS = [0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000];

/** After a timeout or a 429, the receiver is given this long at least. */
const MIN_SECONDS_WHEN_OVERLOADED = 60;

export interface FailedTry {
  /** How many tries there have been, this one included. */
  readonly attempts: number;
  /** True after a timeout or a 429. */
  readonly overloaded: boolean;
  /** What the receiver asked for in `Retry-After`; null if it did not. */
  readonly retryAfterSeconds: number | null;
}

/**
 * Seconds until the next try, or null if this was the last. The step is varied by ±20 % (`random` is in [0, 1)), so that a
 * receiver that comes back does not get everything at once. What the receiver asked for is followed up to twice the step.
 */
export function nextTryInSeconds(
  { attempts, overloaded, retryAfterSeconds }: FailedTry,
  random: number,
): number | null {
  const step = STEPS_SECONDS[attempts];
  if (step === undefined) return null;
  const jittered = step * (0.8 + 0.4 * random);
  const wished = Math.min(retryAfterSeconds ?? 0, 2 * step);
  return Math.max(jittered, wished, overloaded ? MIN_SECONDS_WHEN_OVERLOADED : 0);
}

/** A `Retry-After` header in seconds from `now`: it is a number of seconds or an HTTP date (RFC 9110, section 10.2.3). */
export function parseRetryAfter(header: string | undefined, now: Date): number | null {
  if (header === undefined) return null;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header);
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, Math.ceil((at - now.getTime()) / 1000));
}
