import { invariant } from '../errors.ts';

/** Days and months as people of a time zone count them: their first moments, whatever the clocks there do in between. */

const MINUTE = 60_000;

/** One formatter a zone, since making one costs far more than using it. */
const FORMATTERS = new Map<string, Intl.DateTimeFormat>();

function formatterOf(zone: string): Intl.DateTimeFormat {
  const known = FORMATTERS.get(zone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'iso8601',
    hourCycle: 'h23',
    ...{ year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' },
  });
  // A text from outside may name a zone in any case, so the texts are not bounded by the number of zones.
  if (FORMATTERS.size >= 1_000) FORMATTERS.clear();
  FORMATTERS.set(zone, made);
  return made;
}

interface LocalDate {
  readonly year: number;
  /** From 1. */
  readonly month: number;
  readonly day: number;
}

/** What clocks of the zone show, as the time at which clocks of UTC show the same. */
function shownAt(time: Date, zone: string): number {
  const parts = new Map(
    formatterOf(zone)
      .formatToParts(time)
      .map(({ type, value }) => [type, Number(value)]),
  );
  const part = (type: Intl.DateTimeFormatPartTypes) => {
    const value = parts.get(type);
    invariant(value !== undefined, `a date has no ${type}`);
    return value;
  };
  return Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
}

/** The date there. */
export function localDate(time: Date, zone: string): LocalDate {
  const shown = new Date(shownAt(time, zone));
  return { year: shown.getUTCFullYear(), month: shown.getUTCMonth() + 1, day: shown.getUTCDate() };
}

/** The first moment of a date there; where midnight is skipped, what comes after it. Months and days may be out of their range. */
function beginningOf({ year, month, day }: LocalDate, zone: string): Date {
  const wanted = Date.UTC(year, month - 1, day);
  const offsetAt = (time: number) => shownAt(new Date(time), zone) - time;
  // Offsets change by at most a day around it, so these two are all that may hold at midnight.
  const offsets = [offsetAt(wanted - 24 * 60 * MINUTE), offsetAt(wanted + 24 * 60 * MINUTE)];
  const candidates = offsets.map((offset) => wanted - offset);
  const exact = candidates.filter((time) => shownAt(new Date(time), zone) === wanted);
  // Where clocks go back over midnight it comes twice, and the day begins with the first.
  if (exact.length > 0) return new Date(Math.min(...exact));
  // Where they skip midnight, the date begins with the first moment that shows it: the one at which they are put forward.
  let [low, high] = [Math.min(...candidates), Math.max(...candidates)];
  while (high - low > 1000) {
    const middle = Math.floor((low + high) / 2000) * 1000;
    if (shownAt(new Date(middle), zone) >= wanted) high = middle;
    else low = middle;
  }
  return new Date(high);
}

export interface Period {
  readonly since: Date;
  readonly until: Date;
}

export function dayOf(time: Date, zone: string): Period {
  const date = localDate(time, zone);
  return { since: beginningOf(date, zone), until: beginningOf({ ...date, day: date.day + 1 }, zone) };
}

export function monthOf(time: Date, zone: string): Period {
  const first = { ...localDate(time, zone), day: 1 };
  return { since: beginningOf(first, zone), until: beginningOf({ ...first, month: first.month + 1 }, zone) };
}

/** Today and this month there. */
export function periodsOf(
  { timeZone }: { readonly timeZone: string },
  now: Date,
): { readonly day: Period; readonly month: Period } {
  return { day: dayOf(now, timeZone), month: monthOf(now, timeZone) };
}
