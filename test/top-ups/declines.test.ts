import { describe, expect, it } from 'vitest';
import { afterDeclines, isHardDecline, methodHash } from '../../src/top-ups/declines.ts';
import { type TopUpTerms, termsProblem } from '../../src/top-ups/rule.ts';

const NOW = new Date('2026-03-10T12:00:00Z');

describe('declines', () => {
  it.each(['authentication_required', 'expired_card', 'lost_card', 'stolen_card', 'pickup_card', 'fraudulent'])(
    '%s is hard',
    (code) => expect(isHardDecline(code)).toBe(true),
  );

  it.each(['insufficient_funds', 'do_not_honor', 'generic_decline', 'a_code_of_tomorrow', null])(
    '%s is soft',
    (code) => {
      expect(isHardDecline(code)).toBe(false);
    },
  );

  it('example 6: further tries after one hour and six, none after the third in a row', () => {
    const times = [NOW];
    for (const inARow of [1, 2]) times.push(afterDeclines(inARow, times.at(-1) ?? NOW) ?? NOW);
    expect(times.map((time) => (time.getTime() - NOW.getTime()) / 3_600_000)).toEqual([0, 1, 7]);
    expect(afterDeclines(3, NOW)).toBeNull();
  });

  it('example 8: the same card attached anew is the same method, another card is another', () => {
    const card = methodHash({ id: 'pm_1', fingerprint: 'abc' });
    expect(methodHash({ id: 'pm_2', fingerprint: 'abc' })).toBe(card);
    expect(methodHash({ id: 'pm_1', fingerprint: 'abd' })).not.toBe(card);
    expect(methodHash({ id: 'abc', fingerprint: null })).not.toBe(card);
  });
});

describe('the terms of a rule', () => {
  const terms: TopUpTerms = {
    ...{ enabled: true, threshold: 1000, mode: 'amount', amount: 2000, target: null, maxCharge: 2000 },
    ...{ monthlyCap: 6000, maxPerDay: 3, minIntervalSeconds: 600, timeZone: 'UTC', payment: null, consent: null },
  };
  const target: Partial<TopUpTerms> = { mode: 'target', amount: null, target: 5000, maxCharge: 5000 };

  it.each<[string | null, Partial<TopUpTerms>]>([
    [null, {}],
    [null, target],
    ['amount', { amount: null }],
    ['target', { target: 5000 }],
    ['max_charge', { maxCharge: 1999 }],
    ['target', { ...target, target: null }],
    ['amount', { ...target, amount: 1 }],
    ['target', { ...target, target: 1000 }],
    ['monthly_cap', { monthlyCap: 1999 }],
    ['time_zone', { timeZone: 'Mars/Olympus' }],
  ])('example 18: the field that is wrong is named: %s', (field, changes) => {
    expect(termsProblem({ ...terms, ...changes })?.field ?? null).toBe(field);
  });
});
