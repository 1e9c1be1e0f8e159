import { describe, expect, it } from 'vitest';
import { dayOf, localDate, monthOf } from '../../src/top-ups/calendar.ts';

const iso = ({ since, until }: { readonly since: Date; readonly until: Date }) => [
  since.toISOString().replace('.000', ''),
  until.toISOString().replace('.000', ''),
];

describe('days and months of a time zone', () => {
  it.each([
    ['UTC', '2026-03-10T23:59:59Z', ['2026-03-10T00:00:00Z', '2026-03-11T00:00:00Z']],
    ['Asia/Kolkata', '2026-03-10T20:00:00Z', ['2026-03-10T18:30:00Z', '2026-03-11T18:30:00Z']],
    // Summer time begins and ends: 23 and 25 hours.
    ['Europe/Berlin', '2026-03-29T12:00:00Z', ['2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z']],
    ['Europe/Berlin', '2026-10-25T12:00:00Z', ['2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z']],
    // Midnight is skipped in Beirut, and comes twice in Havana.
    ['Asia/Beirut', '2026-03-29T12:00:00Z', ['2026-03-28T22:00:00Z', '2026-03-29T21:00:00Z']],
    ['America/Havana', '2026-11-01T12:00:00Z', ['2026-11-01T04:00:00Z', '2026-11-02T05:00:00Z']],
  ])('the day in %s at %s', (zone, time, expected) => {
    expect(iso(dayOf(new Date(time), zone))).toEqual(expected);
  });

  it.each([
    ['UTC', '2026-12-31T23:59:59Z', ['2026-12-01T00:00:00Z', '2027-01-01T00:00:00Z']],
    ['America/New_York', '2026-04-01T03:59:59Z', ['2026-03-01T05:00:00Z', '2026-04-01T04:00:00Z']],
    ['America/New_York', '2026-04-01T04:00:00Z', ['2026-04-01T04:00:00Z', '2026-05-01T04:00:00Z']],
    ['Pacific/Kiritimati', '2026-01-31T10:00:00Z', ['2026-01-31T10:00:00Z', '2026-02-28T10:00:00Z']],
  ])('the month in %s at %s', (zone, time, expected) => {
    expect(iso(monthOf(new Date(time), zone))).toEqual(expected);
  });

  it('puts every moment of two years into exactly one day, which begins and ends it there', () => {
    for (const zone of ['Europe/Berlin', 'America/Havana', 'Asia/Beirut', 'Australia/Lord_Howe', 'Africa/Casablanca']) {
      let day = dayOf(new Date('2026-01-01T12:00:00Z'), zone);
      for (let days = 0; days < 730; days += 1) {
        const next = dayOf(day.until, zone);
        expect(next.since, `${zone} ${day.until.toISOString()}`).toEqual(day.until);
        expect(localDate(new Date(next.until.getTime() - 1000), zone)).toEqual(localDate(next.since, zone));
        day = next;
      }
    }
  });
});
