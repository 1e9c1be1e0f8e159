import { describe, expect, it } from 'vitest';
import { KeyGuard, type KeyGuardMode } from '../../../src/merchants/key-guard/key-guard.ts';
import { RecentPostings } from '../../../src/merchants/key-guard/recent-postings.ts';
import { posting } from '../../support/ledger.ts';

const START = new Date('2026-11-29T15:20:30Z');
const CLOCK_KEY = `job-${START.getTime()}`;

function newGuard() {
  const counted: string[] = [];
  let now = START;
  const guard = new KeyGuard({ clock: { now: () => now }, count: (kind) => counted.push(kind) });
  const as = (mode: KeyGuardMode, merchantId = 'bus_one') => ({ merchantId, keyId: 'key_1', mode });
  return {
    guard,
    as,
    counted,
    pass: (seconds: number) => {
      now = new Date(now.getTime() + seconds * 1000);
    },
  };
}

describe('the guard of keys', () => {
  it('flags a key that holds the time, refuses it where that is wanted, and looks at none where it is off', () => {
    const { guard, as, counted } = newGuard();
    expect(guard.checkKey(as('off'), CLOCK_KEY, 'cus_a')).toBe(false);
    expect(guard.checkKey(as('flag'), 'order-4711', 'cus_a')).toBe(false);
    expect(guard.checkKey(as('flag'), null, 'cus_a')).toBe(false);
    expect(guard.checkKey(as('flag'), CLOCK_KEY, 'cus_a')).toBe(true);
    expect(() => guard.checkKey(as('refuse'), CLOCK_KEY, 'cus_a')).toThrow('UNSTABLE_KEY');
    expect(counted).toEqual(['unstable_key', 'unstable_key']);
    expect([...guard.take().values()].flat()).toMatchObject([
      { kind: 'unstable_key', idempotencyKey: CLOCK_KEY, customerId: 'cus_a', apiKeyId: 'key_1', isRefused: false },
      { kind: 'unstable_key', isRefused: true },
    ]);
    expect(guard.take().size).toBe(0);
  });

  it('flags what is the same but for its key within a minute, or has none, and refuses it never', () => {
    const { guard, as, pass } = newGuard();
    const write = (idempotencyKey: string | null, more: object = {}) =>
      guard.notePosting(as('refuse'), posting({ amountMinor: 5, isCredit: false, idempotencyKey, ...more }));
    expect(write('a')).toBe(false);
    expect(write('b')).toBe(true);
    expect([...guard.take().values()].flat()).toMatchObject([
      { kind: 'near_duplicate', idempotencyKey: 'b', otherKey: 'a', isRefused: false },
    ]);
    expect(write(null)).toBe(true);
    expect(write(null)).toBe(true);
    pass(60);
    expect(write('c')).toBe(true);
    pass(60.001);
    expect(write('d')).toBe(false);
  });

  it.each([
    ['customer', { customerId: 'cus_b' }],
    ['currency', { currency: 'INR' }],
    ['direction', { isCredit: true }],
    ['amount', { amountMinor: 6 }],
    ['reason', { reason: 'other' }],
    ['reference', { referenceObjectId: 'other' }],
    ['date of account', { effectiveAt: new Date('2026-11-01T00:00:00Z') }],
    ['merchant', { merchantId: 'bus_other' }],
  ])('takes what has another %s for something else', (_, more) => {
    const { guard, as } = newGuard();
    const one = posting({ amountMinor: 5, isCredit: false, idempotencyKey: 'a' });
    guard.notePosting(as('flag'), one);
    expect(guard.notePosting(as('flag'), { ...one, idempotencyKey: 'b', ...more })).toBe(false);
  });

  it('keeps so many warnings of a merchant that nobody else has less room, and counts them all', () => {
    const { guard, as, counted } = newGuard();
    for (let count = 0; count < 250; count += 1) guard.checkKey(as('flag'), CLOCK_KEY, 'cus_a');
    guard.checkKey(as('flag', 'bus_two'), CLOCK_KEY, 'cus_a');
    const taken = guard.take();
    expect([taken.get('bus_one')?.length, taken.get('bus_two')?.length, counted.length]).toEqual([100, 1, 251]);
  });
});

describe('the memory of postings', () => {
  it('is bounded, and drops the oldest of whoever has most, so that one merchant pushes out no other', () => {
    const recent = new RecentPostings(100);
    const note = (merchantId: string, amountMinor: number) =>
      recent.note(posting({ merchantId, amountMinor, idempotencyKey: `${merchantId} ${Math.random()}` }), 0);
    note('bus_small', 1);
    for (let amount = 1; amount <= 1000; amount += 1) note('bus_large', amount);
    expect(recent.size).toBe(100);
    expect(note('bus_small', 1)).not.toBeNull();
    expect(note('bus_large', 1)).toBeNull();
    expect(note('bus_large', 1000)).not.toBeNull();
    for (let amount = 1; amount <= 1000; amount += 1) note('bus_other', amount);
    expect(recent.size).toBe(100);
    expect(note('bus_small', 1)).not.toBeNull();
  });
});
