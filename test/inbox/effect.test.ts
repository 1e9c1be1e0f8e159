import { describe, expect, it } from 'vitest';
import { bothEffects, EVENT_EFFECTS, type EventEffect, effectOf } from '../../src/inbox/effect.ts';
import { newPayment } from '../support/payments.ts';

const credit = { isCredit: true };
const debit = { isCredit: false };

describe('the effect of a fact', () => {
  const before = newPayment({ state: 'pending' });
  const after = newPayment({ state: 'succeeded' });

  it.each<[EventEffect, string, Parameters<typeof effectOf>]>([
    ['none', 'all that it says was known', [before, newPayment({ state: 'pending' }), []]],
    ['recorded', 'it told something new, and nothing was due for it', [before, after, []]],
    ['credited', 'entries that credit were due', [before, after, [credit, credit]]],
    ['debited', 'an entry that debits was due', [before, after, [debit]]],
    ['credited_and_debited', 'entries both ways were due', [before, after, [credit, debit, credit]]],
  ])('is %s if %s', (effect, _why, input) => {
    expect(effectOf(...input)).toBe(effect);
  });
});

describe('what several facts of one event did', () => {
  it('is the same in any order', () => {
    for (const one of EVENT_EFFECTS)
      for (const other of EVENT_EFFECTS) expect(bothEffects(one, other)).toBe(bothEffects(other, one));
  });

  it.each<[EventEffect, EventEffect, EventEffect]>([
    ['none', 'none', 'none'],
    ['none', 'recorded', 'recorded'],
    ['recorded', 'debited', 'debited'],
    ['credited', 'credited', 'credited'],
    ['credited', 'debited', 'credited_and_debited'],
    ['credited_and_debited', 'none', 'credited_and_debited'],
    ['credited', 'credited_and_debited', 'credited_and_debited'],
  ])('of %s and %s is %s', (one, other, both) => {
    expect(bothEffects(one, other)).toBe(both);
  });
});
