import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Calendar,
  EVERY,
  isAnchor,
  isTimeZone,
  MOST_ANCHOR_YEARS,
  periodAt,
  periodsUntil,
} from '../../src/schedules/periods.ts';

/**
 * Aim: periods fall where a calendar on the wall says. Method: what the clocks of a zone show is asked of Intl, which knows nothing of
 * how periods are computed.
 */

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'America/Sao_Paulo',
];
const anchor = fc.date({ min: new Date('2005-01-01T00:00:00Z'), max: new Date('2035-12-31T23:59:59Z') });
const calendar: fc.Arbitrary<Calendar> = fc.record({
  anchorAt: anchor.filter((date) => !Number.isNaN(date.getTime())),
  every: fc.constantFrom(...EVERY),
  timeZone: fc.constantFrom(...ZONES),
});
const k = fc.integer({ min: 0, max: 400 });

/** What a clock in the zone shows, as if it were UTC. */
function wall(date: Date, timeZone: string): Date {
  const format = new Intl.DateTimeFormat('en', {
    ...{ timeZone, calendar: 'gregory', hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric' },
    ...{ hour: 'numeric', minute: 'numeric', second: 'numeric' },
  });
  const parts = new Map<string, number>(format.formatToParts(date).map(({ type, value }) => [type, Number(value)]));
  const [year = 0, month = 0, day = 0] = ['year', 'month', 'day'].map((name) => parts.get(name));
  const [hour = 0, minute = 0, second = 0] = ['hour', 'minute', 'second'].map((name) => parts.get(name));
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second, date.getUTCMilliseconds()));
}

/** The same by arithmetic on the wall alone: so many days or months on, and the last day of a month that is too short. */
function expectedWall({ anchorAt, every, timeZone }: Calendar, number: number): Date {
  const from = wall(anchorAt, timeZone);
  if (every === 'day' || every === 'week') {
    return new Date(from.getTime() + number * (every === 'day' ? 1 : 7) * 86_400_000);
  }
  const months = from.getUTCMonth() + number * (every === 'month' ? 1 : 12);
  const last = new Date(Date.UTC(from.getUTCFullYear(), months + 1, 0)).getUTCDate();
  const to = new Date(from);
  to.setUTCFullYear(from.getUTCFullYear(), months, Math.min(from.getUTCDate(), last));
  return to;
}

describe('the periods of a schedule', () => {
  it('are due when the clock on the wall says so, or as much later as it skips there', () => {
    fc.assert(
      fc.property(calendar, k, (own, number) => {
        const at = periodAt(own, number);
        const late = wall(at, own.timeZone).getTime() - expectedWall(own, number).getTime();
        // Half an hour on Lord Howe, an hour elsewhere, and Samoa has left out a whole day.
        expect([0, 1_800_000, 3_600_000, 86_400_000]).toContain(late);
        if (late > 0) {
          const before = new Date(at.getTime() - 86_400_000);
          const offset = (date: Date) => wall(date, own.timeZone).getTime() - date.getTime();
          expect(offset(at)).toBeGreaterThan(offset(before));
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('begin at the anchor and never go back', () => {
    fc.assert(
      fc.property(calendar, k, (own, number) => {
        expect(periodAt(own, 0)).toEqual(own.anchorAt);
        expect(periodAt(own, number + 1).getTime()).toBeGreaterThanOrEqual(periodAt(own, number).getTime());
      }),
    );
  });

  it('are counted: those due by a time are the ones before the first that is not', () => {
    fc.assert(
      fc.property(calendar, k, fc.integer({ min: -1, max: 1 }), (own, number, by) => {
        const now = new Date(periodAt(own, number).getTime() + by);
        const due = periodsUntil(own, now);
        expect(periodAt(own, due).getTime()).toBeGreaterThan(now.getTime());
        if (due > 0) expect(periodAt(own, due - 1).getTime()).toBeLessThanOrEqual(now.getTime());
      }),
    );
  });

  it.each([
    [
      '31 January',
      '2026-01-30T23:00:00Z',
      'month',
      'Europe/Berlin',
      ['2026-02-27T23:00', '2026-03-30T22:00', '2026-04-29T22:00'],
    ],
    [
      '29 February',
      '2028-02-29T12:00:00Z',
      'year',
      'UTC',
      ['2029-02-28T12:00', '2030-02-28T12:00', '2031-02-28T12:00', '2032-02-29T12:00'],
    ],
    [
      'the day on which summer begins',
      '2026-03-28T01:30:00Z',
      'day',
      'Europe/Berlin',
      ['2026-03-29T01:30', '2026-03-30T00:30'],
    ],
    [
      'the day on which it ends, at its first half past two',
      '2026-10-24T00:30:00Z',
      'day',
      'Europe/Berlin',
      ['2026-10-25T00:30', '2026-10-26T01:30'],
    ],
  ] as const)('from %s', (_, anchorAt, every, timeZone, due) => {
    const own = { anchorAt: new Date(anchorAt), every, timeZone };
    expect(
      due.map((__, index) =>
        periodAt(own, index + 1)
          .toISOString()
          .slice(0, 16),
      ),
    ).toEqual(due);
  });
});

describe('a time zone', () => {
  it.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5'])('is %s', (name) => {
    expect(isTimeZone(name)).toBe(true);
  });

  it.each(['', 'Berlin', '+01:00', 'Europe/Nowhere', 'UTC\n', '[u-ca=hebrew]'])('is not %j', (name) => {
    expect(isTimeZone(name)).toBe(false);
  });
});

it('an anchor is past by twenty years at most', () => {
  const now = new Date('2026-03-10T12:00:00Z');
  const first = now.getTime() - MOST_ANCHOR_YEARS * 365.25 * 86_400_000;
  expect(isAnchor(new Date(first), now)).toBe(true);
  expect(isAnchor(new Date(first - 1), now)).toBe(false);
});
