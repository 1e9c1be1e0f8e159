import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grantKey, parseGrantKey } from '../../src/ledger/keys.ts';
import type { PostingResult } from '../../src/ledger/post.ts';
import {
  afterPeriods,
  duePeriods,
  firstPeriodFrom,
  type GrantSchedule,
  NO_REFILL,
  nextDueAt,
  withNextAt,
} from '../../src/schedules/grant-schedule.ts';
import { EVERY, periodAt } from '../../src/schedules/periods.ts';
import { isTooOld } from '../../src/schedules/refill.ts';
import { MERCHANT } from '../support/ledger.ts';

const ANCHOR = new Date('2026-01-31T00:00:00Z');

function schedule(overrides: Partial<GrantSchedule> = {}): GrantSchedule {
  return withNextAt({
    ...{ merchantId: MERCHANT, customerId: 'cus_a', currency: 'USD', scheduleId: 'monthly', incarnation: 1 },
    ...{ amountMinor: 500, every: 'month', anchorAt: ANCHOR, timeZone: 'UTC' },
    ...{ lotName: 'Monthly', lotPriority: 50, lotDays: null, charge: false, endsAt: null, count: null },
    ...NO_REFILL,
    ...{ firstPeriod: 0, done: 0, nextAt: null, paused: false, actor: 'operator' },
    ...{ createdAt: ANCHOR, updatedAt: ANCHOR, endedAt: null },
    ...overrides,
  });
}

const at = (text: string) => new Date(`${text}T00:00:00Z`);
const shown = (own: GrantSchedule, now: Date) =>
  duePeriods(own, now).map((one) => [one.period, 'posting' in one ? 'granted' : one.skippedFor]);
const refused = (code: 'LOT_LIMIT_EXCEEDED' | 'UNSUPPORTED_CURRENCY'): PostingResult => ({
  kind: 'refused',
  refusal: { code, limit: 100, currency: 'USD', supported: [] },
});

describe('the periods of a schedule that are due', () => {
  it('grant the amount, once by key, with an end that is counted from when they were due', () => {
    const [one] = duePeriods(schedule({ lotDays: 30 }), at('2026-02-01'));
    expect(one).toMatchObject({
      period: 0,
      posting: {
        ...{ amountMinor: 500, isCredit: true, idempotencyKey: 'grant_USD_monthly_1_0', referenceObjectId: 'monthly' },
        terms: { kind: 'promo', name: 'Monthly', priority: 50, end: { at: at('2026-03-02') } },
        metadata: { schedule_id: 'monthly', period: 0, due_at: ANCHOR.toISOString() },
      },
    });
  });

  it.each<[string, Partial<GrantSchedule>, string, (number | string)[][]]>([
    ['before the anchor: none', {}, '2026-01-30', []],
    [
      'two that were missed',
      { done: 1 },
      '2026-03-31',
      [
        [1, 'granted'],
        [2, 'granted'],
      ],
    ],
    ['none beyond the count', { count: 1 }, '2026-03-31', [[0, 'granted']]],
    ['a count from the first that is granted', { count: 1, firstPeriod: 1, done: 1 }, '2026-05-31', [[1, 'granted']]],
    ['none at the end', { endsAt: at('2026-02-28') }, '2026-03-31', [[0, 'granted']]],
    ['none while it is paused', { paused: true }, '2026-03-31', []],
    ['none once it has ended', { endedAt: ANCHOR }, '2026-03-31', []],
    [
      'none whose credit is over by now',
      { lotDays: 30 },
      '2026-03-15',
      [
        [0, 'expired'],
        [1, 'granted'],
      ],
    ],
  ])('are %s', (_, more, now, periods) => {
    expect(shown(schedule(more), at(now))).toEqual(periods);
  });

  it('are made up for, the newest twelve of them, and the others are told of', () => {
    const own = schedule();
    const due = duePeriods(own, at('2027-04-30'));
    expect(due.map((one) => ('posting' in one ? 'granted' : one.skippedFor))).toEqual([
      ...Array.from({ length: 4 }, () => 'too_old'),
      ...Array.from({ length: 12 }, () => 'granted'),
    ]);
    const results = Array.from({ length: 12 }, (_, index) => (index < 2 ? refused('LOT_LIMIT_EXCEEDED') : GRANTED));
    const { schedule: after, skipped } = afterPeriods(own, due, { results, now: at('2027-04-30') });
    expect(after).toMatchObject({ done: 16, nextAt: at('2027-05-31') });
    expect(skipped).toEqual([
      {
        ...{ scheduleId: 'monthly', amount: 500, fromPeriod: 0, toPeriod: 3, reason: 'too_old' },
        ...{ firstDueAt: ANCHOR.toISOString(), lastDueAt: at('2026-04-30').toISOString() },
      },
      expect.objectContaining({ fromPeriod: 4, toPeriod: 5, reason: 'LOT_LIMIT_EXCEEDED' }),
    ]);
  });

  it('stay due where the service cannot grant now', () => {
    const own = schedule();
    const now = at('2026-02-01');
    const after = afterPeriods(own, duePeriods(own, now), { results: [refused('UNSUPPORTED_CURRENCY')], now });
    expect(after).toMatchObject({ schedule: { done: 0, nextAt: new Date(now.getTime() + 3_600_000) }, skipped: [] });
  });

  it('come to an end with the last that is counted, and none of a schedule is due for ever', () => {
    const anchorAt = new Date('1900-01-01T00:00:00Z');
    const now = at('2026-01-15');
    const firstPeriod = firstPeriodFrom({ anchorAt, every: 'day', timeZone: 'UTC' }, now);
    const own = schedule({ every: 'day', anchorAt, firstPeriod, done: firstPeriod });
    expect(own.nextAt).toBeNull();
    // As a database may have one that was made before this was refused.
    const listed = { ...own, nextAt: at('1999-12-31') };
    expect(afterPeriods(listed, duePeriods(listed, now), { results: [], now }).schedule.nextAt).toBeNull();
  });

  it('are each settled once, whenever and however often a worker looks', () => {
    const calendar = fc.record({ every: fc.constantFrom(...EVERY), count: fc.option(fc.integer({ min: 1, max: 40 })) });
    const looks = fc.array(fc.integer({ min: 0, max: 40 * 86_400 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(calendar, looks, fc.option(fc.integer({ min: 1, max: 60 })), (own, steps, lotDays) => {
        let now = ANCHOR;
        let current = schedule({ ...own, lotDays, timeZone: 'America/New_York' });
        const settled: number[] = [];
        for (const seconds of steps) {
          now = new Date(now.getTime() + seconds * 1000);
          const due = duePeriods(current, now);
          const granted = due.filter((one) => 'posting' in one);
          expect(granted.length).toBeLessThanOrEqual(12);
          const results = granted.map(() => GRANTED);
          const after = afterPeriods(current, due, { results, now });
          const skipped = after.skipped.flatMap(({ fromPeriod, toPeriod }) => range(fromPeriod, toPeriod));
          settled.push(...[...granted.map(({ period }) => period), ...skipped].sort((a, b) => a - b));
          current = after.schedule;
          // What is left is not due yet.
          expect(duePeriods(current, now)).toEqual([]);
          if (current.nextAt !== null) expect(current.nextAt.getTime()).toBeGreaterThan(now.getTime());
        }
        expect(settled).toEqual(range(0, current.done - 1));
        if (own.count !== null) expect(current.done).toBeLessThanOrEqual(own.count);
        if (current.done > 0) expect(periodAt(current, current.done - 1).getTime()).toBeLessThanOrEqual(now.getTime());
      }),
      { numRuns: 300 },
    );
  });
});

/** afterPeriods looks at refusals alone. */
const GRANTED: PostingResult = { kind: 'repeated', wallet: null, entry: Object.create(null) };

const range = (from: number, to: number) =>
  Array.from({ length: Math.max(to - from + 1, 0) }, (_, index) => from + index);

describe('a new schedule', () => {
  it('begins with the first period that is not past', () => {
    const calendar = { anchorAt: ANCHOR, every: 'month', timeZone: 'UTC' } as const;
    expect(
      [at('2026-01-01'), ANCHOR, at('2026-02-01'), at('2026-02-28'), at('2026-03-01')].map((now) =>
        firstPeriodFrom(calendar, now),
      ),
    ).toEqual([0, 0, 1, 1, 2]);
  });

  it('has nothing to come after its last period', () => {
    expect(nextDueAt(schedule({ count: 1 }))).toEqual(ANCHOR);
    expect(nextDueAt(schedule({ count: 1, done: 1 }))).toBeNull();
    expect(schedule({ endsAt: ANCHOR }).nextAt).toBeNull();
  });
});

describe('the key of a grant', () => {
  it('names one period of one schedule, and is taken apart into it', () => {
    const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
    const tricky = fc.constantFrom('a', 'a_1', 'a_1_0', '1', '_1_1', '0_0');
    const part = fc.record({
      currency: fc.constantFrom('USD', 'INR'),
      scheduleId: fc.oneof(tricky, id),
      incarnation: fc.integer({ min: 1, max: 12 }),
      period: fc.integer({ min: 0, max: 12 }),
    });
    fc.assert(
      fc.property(part, (own) => {
        expect(parseGrantKey(grantKey(own))).toEqual(own);
      }),
      { numRuns: 1000 },
    );
  });

  it.each(['api:grant_USD_a_1_0', 'grant_USD_a_1', 'grant_USD_a_0_1', 'grant_USD_a_1_01', 'sched:sen_1'])(
    'is not %s',
    (key) => {
      expect(parseGrantKey(key)).toBeNull();
    },
  );
});

it('a period waits for 31 days to be charged, to the moment', () => {
  const dueAt = at('2026-03-01');
  expect(isTooOld({ dueAt }, at('2026-04-01'))).toBe(false);
  expect(isTooOld({ dueAt }, new Date(at('2026-04-01').getTime() + 1))).toBe(true);
});
