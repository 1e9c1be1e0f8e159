import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { monthOf } from '../../src/top-ups/calendar.ts';
import { amountWanted, type DecideTopUp, decideTopUp } from '../../src/top-ups/decide.ts';
import type { TopUpTerms } from '../../src/top-ups/rule.ts';

const NOW = new Date('2026-03-10T12:00:00Z');
const MINUTE = 60_000;

const RULE: DecideTopUp['rule'] = {
  ...{
    enabled: true,
    threshold: 1000,
    mode: 'amount',
    amount: 2000,
    target: null,
    maxCharge: 2000,
    monthlyCap: 100_000,
  },
  ...{ maxPerDay: 3, minIntervalSeconds: 600, timeZone: 'UTC', payment: null, suspendedReason: null, retryAt: null },
  consent: { acceptedAt: NOW, textVersion: '1' },
};
const TARGET: DecideTopUp['rule'] = { ...RULE, mode: 'target', amount: null, target: 10_000, maxCharge: 20_000 };
const NOTHING_YET = { isInFlight: false, lastAttemptAt: null, attemptsToday: 0, usedThisMonth: 0 };
const DAY = { since: new Date('2026-03-10T00:00:00Z'), until: new Date('2026-03-11T00:00:00Z') };
const MONTH = { since: new Date('2026-03-01T00:00:00Z'), until: new Date('2026-04-01T00:00:00Z') };

interface Changes {
  readonly rule?: Partial<DecideTopUp['rule']>;
  readonly history?: Partial<DecideTopUp['history']>;
  readonly wallet?: Partial<DecideTopUp['wallet']>;
  readonly refill?: number | null;
  readonly gatewayMinimum?: number;
}

function decide({ rule, history, wallet, refill = null, gatewayMinimum = 0 }: Changes = {}, base = RULE) {
  return decideTopUp({
    rule: { ...base, ...rule },
    history: { ...NOTHING_YET, ...history },
    wallet: { balance: 900, isActive: true, ...wallet },
    ...{ refill, gatewayMinimum, day: DAY, month: MONTH, now: NOW },
  });
}

const ago = (milliseconds: number) => new Date(NOW.getTime() - milliseconds);
const inFuture = (milliseconds: number) => new Date(NOW.getTime() + milliseconds);

describe('how much is charged', () => {
  it('example 1: threshold 1000, amount 2000, balance 900: 2000', () => {
    expect(decide()).toEqual({ kind: 'charge', amount: 2000 });
  });

  it('example 2: balance 900, threshold 5000, amount 1000, max_charge 10 000: one charge of 5000', () => {
    const rule = { threshold: 5000, amount: 1000, maxCharge: 10_000 };
    expect(decide({ rule })).toEqual({ kind: 'charge', amount: 5000 });
  });

  it('example 3: the same with max_charge 3000: 3000, and the next not before 600 s', () => {
    const rule = { threshold: 5000, amount: 1000, maxCharge: 3000 };
    expect(decide({ rule })).toEqual({ kind: 'charge', amount: 3000 });
    const history = { lastAttemptAt: ago(10 * MINUTE - 1000) };
    const wallet = { balance: 3900 };
    expect(decide({ rule, history, wallet })).toEqual({ kind: 'wait', why: 'interval', until: inFuture(1000) });
    expect(decide({ rule, history: { lastAttemptAt: ago(10 * MINUTE) }, wallet })).toEqual({
      ...{ kind: 'charge', amount: 2000 },
    });
  });

  it('example 4: target 10 000, balance −500, max_charge 20 000: 10 500', () => {
    expect(decide({ wallet: { balance: -500 } }, TARGET)).toEqual({ kind: 'charge', amount: 10_500 });
  });

  it('example 5: cap 6000, amount 2000: three in the month, the fourth is blocked until the 1st of the next', () => {
    const used = (usedThisMonth: number) => decide({ rule: { monthlyCap: 6000 }, history: { usedThisMonth } });
    expect(used(4000)).toEqual({ kind: 'charge', amount: 2000 });
    expect(used(6000)).toEqual({ kind: 'blocked', block: 'monthly_cap', until: MONTH.until });
    const zone = 'America/New_York';
    expect(monthOf(NOW, zone).until).toEqual(new Date('2026-04-01T04:00:00Z'));
  });

  it.each([
    ['what is left of the cap, where the target allows any amount', { usedThisMonth: 99_000 }, 0, 'charge', 1000],
    [
      'nothing, where what is left of the cap is below the minimum',
      { usedThisMonth: 99_960 },
      50,
      'blocked',
      'monthly_cap',
    ],
    ['nothing, where the cap is used up', { usedThisMonth: 100_000 }, 0, 'blocked', 'monthly_cap'],
  ])('towards a target: %s', (_, history, gatewayMinimum, kind, what) => {
    const decided = decide({ history, gatewayMinimum }, TARGET);
    expect(decided).toMatchObject(kind === 'charge' ? { kind, amount: what } : { kind, block: what });
  });

  it('charges the minimum where less is wanted, unless that is more than max_charge', () => {
    const rule = { threshold: 1000, target: 1010, maxCharge: 60 };
    const wallet = { balance: 990 };
    expect(decide({ rule, wallet, gatewayMinimum: 50 }, TARGET)).toEqual({ kind: 'charge', amount: 50 });
    expect(decide({ rule, wallet, gatewayMinimum: 70 }, TARGET)).toMatchObject({ block: 'below_minimum' });
  });
});

describe('at the limit itself', () => {
  const small = { threshold: 1000, target: 1010 };
  it.each<[string, Changes, number]>([
    ['a back-off is over at its end', { rule: { retryAt: NOW } }, 2000],
    ['an interval is over at its end', { history: { lastAttemptAt: ago(10 * MINUTE) } }, 2000],
    ['the last attempt of a day is made', { history: { attemptsToday: 2 } }, 2000],
    ['all that is left of the cap is charged', { history: { usedThisMonth: 98_000 } }, 2000],
    ['a period is charged that is all the provider charges at least', { refill: 2500, gatewayMinimum: 2500 }, 2500],
  ])('%s', (_, changes, amount) => {
    expect(decide(changes)).toEqual({ kind: 'charge', amount });
  });

  it('the minimum is charged that is all of max_charge', () => {
    const changes = { rule: { ...small, maxCharge: 50 }, wallet: { balance: 990 }, gatewayMinimum: 50 };
    expect(decide(changes, TARGET)).toEqual({ kind: 'charge', amount: 50 });
  });
});

describe('the first that applies decides', () => {
  // Each row breaks one thing more than the row after it.
  const suspended = { suspendedReason: 'declined' } as const;
  const backOff = { retryAt: inFuture(1) };
  const all: Changes = {
    rule: { enabled: false, ...suspended, ...backOff, maxPerDay: 1, monthlyCap: 0 },
    wallet: { isActive: false, balance: 1000 },
    history: { isInFlight: true, lastAttemptAt: NOW, attemptsToday: 1 },
  };
  const steps: readonly (readonly [string, Changes])[] = [
    ['disabled', {}],
    ['not_active', { rule: { enabled: true } }],
    ['suspended', { wallet: { isActive: true } }],
    ['in_flight', { rule: { suspendedReason: null } }],
    ['above', { history: { isInFlight: false } }],
    ['back_off', { wallet: { balance: 999 } }],
    ['interval', { rule: { retryAt: null } }],
    ['max_per_day', { history: { lastAttemptAt: null } }],
    ['monthly_cap', { history: { attemptsToday: 0 } }],
    ['charge', { rule: { monthlyCap: 2000 } }],
  ];
  it.each(steps.map(([name], index) => [name, index] as const))('%s', (name, index) => {
    const changes = steps.slice(0, index + 1).reduce<Changes>(
      (now, [, next]) => ({
        rule: { ...now.rule, ...next.rule },
        wallet: { ...now.wallet, ...next.wallet },
        history: { ...now.history, ...next.history },
      }),
      all,
    );
    const decided = decide(changes);
    expect(decided.kind === 'wait' ? decided.why : decided.kind === 'blocked' ? decided.block : decided.kind).toBe(
      name,
    );
  });
});

describe('for all rules and balances', () => {
  const most = 1_000_000;
  const terms = fc.record({
    mode: fc.constantFrom('amount' as const, 'target' as const),
    size: fc.integer({ min: 1, max: most }),
    threshold: fc.integer({ min: 0, max: most }),
    above: fc.integer({ min: 0, max: most }),
    cap: fc.integer({ min: 0, max: most }),
  });
  const rules = terms.map(({ mode, size, threshold, above, cap }): DecideTopUp['rule'] => {
    const [amount, target] = mode === 'amount' ? [size, null] : [null, threshold + size];
    const maxCharge = mode === 'amount' ? size + above : 1 + above;
    return { ...RULE, mode, amount, target, threshold, maxCharge, monthlyCap: maxCharge + cap };
  });
  const cases = fc.record({
    rule: rules,
    balance: fc.integer({ min: -most, max: most }),
    usedThisMonth: fc.integer({ min: 0, max: 3 * most }),
    gatewayMinimum: fc.integer({ min: 0, max: 500 }),
  });

  it('charges more than nothing, no more than max_charge, and never beyond the cap', () => {
    fc.assert(
      fc.property(cases, ({ rule, balance, usedThisMonth, gatewayMinimum }) => {
        const decided = decide({ rule, wallet: { balance }, history: { usedThisMonth }, gatewayMinimum });
        if (decided.kind !== 'charge') return;
        expect(balance).toBeLessThan(rule.threshold);
        expect(decided.amount).toBeGreaterThanOrEqual(Math.max(1, gatewayMinimum));
        expect(decided.amount).toBeLessThanOrEqual(rule.maxCharge);
        expect(usedThisMonth + decided.amount).toBeLessThanOrEqual(rule.monthlyCap);
      }),
      { numRuns: 2000 },
    );
  });

  it('closes the gap by the least multiple that does, unless max_charge is less', () => {
    fc.assert(
      fc.property(cases, ({ rule, balance }) => {
        if (rule.mode !== 'amount' || rule.amount === null || balance >= rule.threshold) return;
        const charged = amountWanted(rule satisfies TopUpTerms, balance);
        expect(charged % rule.amount).toBe(0);
        const isMost = charged + rule.amount > rule.maxCharge;
        if (!isMost) expect(balance + charged).toBeGreaterThanOrEqual(rule.threshold);
        if (charged > rule.amount) expect(balance + charged - rule.amount).toBeLessThan(rule.threshold);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a period of a schedule', () => {
  const refilled = (changes: Changes = {}) => decide({ refill: 2500, wallet: { balance: 5000 }, ...changes });

  it('is charged with what was agreed, however much is there, and whatever max_charge is', () => {
    expect(refilled()).toEqual({ kind: 'charge', amount: 2500 });
    expect(refilled({ wallet: { balance: -5000 } })).toEqual({ kind: 'charge', amount: 2500 });
    expect(decide({ refill: 2500, wallet: { balance: 5000 } }, TARGET)).toEqual({ kind: 'charge', amount: 2500 });
  });

  it.each<[string, Changes, object]>([
    ['a rule that is not enabled', { rule: { enabled: false } }, { why: 'disabled' }],
    ['a frozen wallet', { wallet: { balance: 5000, isActive: false } }, { why: 'not_active' }],
    ['a suspended rule', { rule: { suspendedReason: 'declined' } }, { why: 'suspended' }],
    ['an attempt under way', { history: { isInFlight: true } }, { why: 'in_flight' }],
    ['a back-off', { rule: { retryAt: inFuture(MINUTE) } }, { why: 'back_off' }],
    ['the interval', { history: { lastAttemptAt: ago(MINUTE) } }, { why: 'interval' }],
    ['the attempts of a day', { history: { attemptsToday: 3 } }, { block: 'max_per_day' }],
    ['the cap', { history: { usedThisMonth: 97_501 } }, { block: 'monthly_cap', until: MONTH.until }],
    ['the minimum', { gatewayMinimum: 2501 }, { block: 'below_minimum', until: MONTH.until }],
  ])('waits for %s as a low balance does', (_, changes, waiting) => {
    expect(refilled(changes)).toMatchObject(waiting);
  });

  it('takes all that is left of the cap, and never a part of what was agreed', () => {
    expect(refilled({ history: { usedThisMonth: 97_500 } })).toEqual({ kind: 'charge', amount: 2500 });
    const left = { refill: 2500, history: { usedThisMonth: 97_501 } };
    expect(decide(left, TARGET)).toMatchObject({ kind: 'blocked', block: 'monthly_cap' });
  });
});
