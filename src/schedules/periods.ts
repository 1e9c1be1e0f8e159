import { invariant } from '../errors.ts';

/*
 * When the periods of a schedule are due. Pure.
 *
 * Every period is counted from the anchor, never from the one before it: a month from 31 January ends on 28 February, and two months
 * on 31 March. What is counted is the time that a clock on the wall of the schedule's zone shows. Where a summer time skips that
 * time, the period is due as much later; where the time comes twice, at the first of them.
 */

export const EVERY = ['day', 'week', 'month', 'year'] as const;

type Every = (typeof EVERY)[number];

export interface Calendar {
  readonly anchorAt: Date;
  readonly every: Every;
  /** A name of the IANA time zone database, such as `Europe/Berlin`. */
  readonly timeZone: string;
}

/** A century of days, and the number of the first period that no schedule has: one that gets there is finished. */
export const MOST_PERIODS = 36_525;
/** An anchor is past by no more than this, so that most of a schedule's periods are still before it. */
export const MOST_ANCHOR_YEARS = 20;

export function isAnchor(anchorAt: Date, now: Date): boolean {
  return now.getTime() - anchorAt.getTime() <= MOST_ANCHOR_YEARS * 365.25 * 86_400_000;
}

/** When period `k` is due; period 0 is due at the anchor. */
export function periodAt({ anchorAt, every, timeZone }: Calendar, k: number): Date {
  invariant(Number.isSafeInteger(k) && k >= 0 && k <= MOST_PERIODS, `the period ${k} of a schedule`);
  const anchor = Temporal.Instant.fromEpochMilliseconds(anchorAt.getTime()).toZonedDateTimeISO(timeZone);
  return new Date(anchor.add({ [`${every}s`]: k }).epochMilliseconds);
}

/** How many periods are due by then, which is also the number of the first that is not. */
export function periodsUntil(calendar: Calendar, now: Date): number {
  let [low, high] = [0, 1];
  while (high < MOST_PERIODS && periodAt(calendar, high) <= now) high = Math.min(2 * high, MOST_PERIODS);
  // Each period below `low` is due by then, and none from `high` on: periods are never due before those they follow.
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (periodAt(calendar, middle) <= now) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether there is a time zone of this name; those that are a mere offset know no summer time, and are none. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]*$/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
