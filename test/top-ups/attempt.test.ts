import { describe, expect, it } from 'vitest';
import type { ChargeAnswer } from '../../src/charging/charger.ts';
import {
  howToResolve,
  isInFlight,
  nextLook,
  step,
  TOP_UP_STATES,
  type TopUpNews,
  type TopUpState,
} from '../../src/top-ups/attempt.ts';

const answer = (given: ChargeAnswer): TopUpNews => ({ kind: 'answer', answer: given });
const pi = { paymentId: 'pi_1' };
const NEWS = {
  charged: answer({ kind: 'charged', ...pi }),
  pending: answer({ kind: 'processing', ...pi }),
  declined: answer({ kind: 'declined', ...pi, declineCode: 'insufficient_funds' }),
  'nothing to pay with': answer({ kind: 'declined', paymentId: null, declineCode: 'no_payment_method' }),
  refused: answer({ kind: 'refused' }),
  'no answer': answer({ kind: 'unknown' }),
  'lease lapsed': { kind: 'lease_lapsed' },
  'not found': { kind: 'not_found' },
  paid: { kind: 'paid', ...pi },
  'payment failed': { kind: 'payment_failed', ...pi },
  'payment pending': { kind: 'payment_pending', ...pi },
  'merchant failed': { kind: 'merchant_failed', declineCode: null, isHard: false },
  'time over': { kind: 'time_over' },
} as const satisfies Record<string, TopUpNews>;

/** Every change there is; what is not named here changes nothing. */
const CHANGES: Readonly<Record<TopUpState, Partial<Record<keyof typeof NEWS, TopUpState>>>> = {
  requested: {
    ...{ paid: 'succeeded', 'merchant failed': 'declined', 'time over': 'expired', 'payment pending': 'processing' },
  },
  charging: {
    ...{ charged: 'charged', pending: 'processing', declined: 'declined', refused: 'failed', 'no answer': 'unknown' },
    ...{ 'nothing to pay with': 'declined', 'lease lapsed': 'unknown', paid: 'succeeded' },
  },
  // What was asked before may have charged, so neither a refusal nor another payment says what became of it.
  unknown: {
    ...{ charged: 'charged', pending: 'processing', declined: 'declined', refused: 'unknown', 'no answer': 'unknown' },
    ...{ 'nothing to pay with': 'unknown', 'not found': 'failed', paid: 'succeeded' },
  },
  charged: { paid: 'succeeded', 'payment failed': 'declined', 'payment pending': 'processing' },
  processing: { paid: 'succeeded', 'payment failed': 'declined', 'time over': 'failed' },
  succeeded: {},
  declined: { paid: 'succeeded' },
  failed: { paid: 'succeeded' },
  expired: { paid: 'succeeded' },
};

const rows = TOP_UP_STATES.flatMap((state) =>
  Object.entries(NEWS).map(([name, news]) => ({ state, name, news, next: changeOf(state, name) })),
);

function changeOf(state: TopUpState, name: string): TopUpState | null {
  return Object.entries(CHANGES[state]).find(([one]) => one === name)?.[1] ?? null;
}

describe('what news makes of an attempt', () => {
  it.each(rows)('$state, $name: $next', ({ state, news, next }) => {
    expect(step({ state, paymentId: null }, news)?.state ?? null).toBe(next);
  });

  it('example 12: the payment came before the answer, which changes nothing', () => {
    const paid = step({ state: 'charging', paymentId: null }, NEWS.paid);
    expect(paid).toEqual({ state: 'succeeded', paymentId: 'pi_1' });
    for (const late of [NEWS.charged, NEWS.declined, NEWS['no answer'], NEWS.refused]) {
      expect(step({ state: 'succeeded', paymentId: 'pi_1' }, late)).toBeNull();
    }
  });

  it('leaves no way out of success, and only success out of an end', () => {
    for (const state of TOP_UP_STATES.filter((one) => !isInFlight(one))) {
      const next = Object.values(NEWS).flatMap((news) => step({ state, paymentId: null }, news)?.state ?? []);
      expect(new Set(next)).toEqual(new Set(state === 'succeeded' ? [] : ['succeeded']));
    }
  });
});

describe('an outcome that is not known', () => {
  const createdAt = new Date('2026-03-10T12:00:00Z');
  const later = (minutes: number) => new Date(createdAt.getTime() + minutes * 60_000);
  const minutesTo = (date: Date | null, from: Date) => ((date?.getTime() ?? 0) - from.getTime()) / 60_000;

  it('is asked for each minute, then each hour, under the same key, for 23 hours', () => {
    expect(minutesTo(nextLook('unknown', createdAt, later(1)), later(1))).toBe(1);
    expect(minutesTo(nextLook('unknown', createdAt, later(60)), later(60))).toBe(60);
    const asked = (now: number, askedAt: number, isWanted = true) =>
      howToResolve({ createdAt, askedAt: later(askedAt), isWanted, knowsKeys: true }, later(now));
    expect(asked(9, 0, false)).toBe('wait');
    expect(asked(10, 0, false)).toBe('look');
    expect(asked(23 * 60 - 1, 0)).toBe('ask_again');
    expect(asked(23 * 60, 23 * 60 - 1)).toBe('wait');
    expect(asked(23 * 60 + 9, 23 * 60 - 1)).toBe('look');
  });

  it('is only looked for where every request is another charge, and what is not listed is not there after 23 hours', () => {
    for (const isWanted of [true, false]) {
      const how = (minutes: number) =>
        howToResolve({ createdAt, askedAt: createdAt, isWanted, knowsKeys: false }, later(minutes));
      expect([0, 1, 60, 23 * 60 - 1].map(how)).toEqual(['look_on', 'look_on', 'look_on', 'look_on']);
      expect([23 * 60, 48 * 60].map(how)).toEqual(['look', 'look']);
    }
  });

  it('ends for a request that nobody acts on after a day, for a pending payment after three weeks', () => {
    expect(minutesTo(nextLook('requested', createdAt, later(1)), createdAt)).toBe(24 * 60);
    expect(minutesTo(nextLook('processing', createdAt, later(1)), createdAt)).toBe(21 * 24 * 60);
    expect(minutesTo(nextLook('charged', createdAt, later(1)), later(1))).toBe(15);
    expect(nextLook('succeeded', createdAt, later(1))).toBeNull();
  });
});
