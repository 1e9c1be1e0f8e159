import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AlertState, WalletAlert } from '../../src/ledger/entry.ts';
import { decideLowBalance, type LowBalanceRule, raise } from '../../src/ledger/low-balance/rule.ts';
import { NOW, wallet } from '../support/wallets.ts';

/**
 * Aim: however a balance moves, its merchant hears a bounded number of words, and the last one is right once time has
 * passed. Method: random histories of postings, scans, thresholds and pauses, judged by what the words mean and not by how
 * they are decided.
 */

const RUNS = { numRuns: 1000 };
const HOUR = 3_600_000;

type Step =
  | { readonly do: 'post'; readonly balance: number }
  | { readonly do: 'scan' }
  | { readonly do: 'set threshold'; readonly to: number | null };

/** What happens, and how many seconds after what came before. */
type Timed = Step & { readonly afterSeconds: number };

const balance = fc.constantFrom(-7, 0, 0, 1, 400, 999, 1000, 1050, 1099, 1100, 2000, 2000);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: balance.map((one) => ({ do: 'post', balance: one }) as const) },
  { weight: 2, arbitrary: fc.constant({ do: 'scan' } as const) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(null, 0, 1, 400, 1000, 1100).map((to) => ({ do: 'set threshold', to }) as const),
  },
);
const afterSeconds = fc.oneof(fc.constantFrom(0, 0, 1, 60, 300, 3599, 3600), fc.integer({ min: 0, max: 10_000 }));
const history = fc.array(
  fc.tuple(step, afterSeconds).map(([what, seconds]): Timed => ({ ...what, afterSeconds: seconds })),
  { maxLength: 60 },
);
const rule: fc.Arbitrary<LowBalanceRule> = fc.record({
  defaultThresholds: fc.constantFrom(new Map(), new Map([['USD', 1000]])),
  marginPercent: fc.constantFrom(0, 10),
  minIntervalSeconds: fc.constantFrom(0, 60, 3600),
  reminderSeconds: fc.constantFrom(0, 0, 60, 7200),
});

interface Life {
  readonly alerts: readonly WalletAlert[];
  readonly last: AlertState;
  readonly threshold: number | null;
  readonly balance: number;
  readonly seconds: number;
}

/** Plays a history from an empty wallet, and at its end lets two intervals pass with a scan after each. */
function live(rules: LowBalanceRule, steps: readonly Timed[]): Life {
  let state = wallet();
  let now = NOW;
  const alerts: WalletAlert[] = [];
  const quiet = { do: 'scan', afterSeconds: rules.minIntervalSeconds } as const;
  for (const one of [...steps, quiet, quiet]) {
    now = new Date(now.getTime() + one.afterSeconds * 1000);
    if (one.do === 'set threshold') {
      state = { ...state, lowThreshold: one.to };
      continue;
    }
    const next = one.do === 'post' ? one.balance : state.balance;
    const frozen = Object.freeze({ ...state, balance: next });
    const moment = { balance: next, isDebit: next < state.balance, now };
    const decision = decideLowBalance(rules, frozen, moment);
    expect(decideLowBalance(rules, frozen, moment)).toEqual(decision);
    const raised = raise(frozen, decision, now);
    state = raised.wallet;
    alerts.push(...raised.alerts);
  }
  const threshold = state.lowThreshold ?? rules.defaultThresholds.get('USD') ?? null;
  return { alerts, last: state, threshold, balance: state.balance, seconds: (now.getTime() - NOW.getTime()) / 1000 };
}

/** Every word that is right about a balance; from the words' meaning. */
function rightWords(rules: LowBalanceRule, threshold: number | null, held: number): readonly WalletAlert['kind'][] {
  if (held <= 0) return ['depleted'];
  if (threshold === null) return ['recovered'];
  if (held < threshold) return ['low'];
  return held >= threshold + Math.ceil((threshold * rules.marginPercent) / 100) ? ['recovered'] : ['low', 'recovered'];
}

describe('the words about a balance', () => {
  it('end in the one that is right, once the interval has passed', () => {
    fc.assert(
      fc.property(rule, history, (rules, steps) => {
        const life = live(rules, steps);
        const last = life.alerts.at(-1)?.kind ?? 'recovered';
        const isRight = rightWords(rules, life.threshold, life.balance).includes(last);
        expect(life.last.alertsArmed ? isRight : life.alerts.length === 0).toBe(true);
      }),
      RUNS,
    );
  });

  it('come no oftener than the minimum interval allows, each kind by itself', () => {
    fc.assert(
      fc.property(rule, history, (rules, steps) => {
        const { alerts, seconds } = live(rules, steps);
        for (const kind of ['low', 'depleted'] as const) {
          const times = alerts.filter((alert) => alert.kind === kind).map(({ createdAt }) => createdAt.getTime());
          const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
          expect(Math.min(...gaps, Number.POSITIVE_INFINITY)).toBeGreaterThanOrEqual(rules.minIntervalSeconds * 1000);
        }
        if (rules.minIntervalSeconds > 0)
          expect(alerts.length).toBeLessThanOrEqual(4 * (1 + seconds / rules.minIntervalSeconds));
      }),
      RUNS,
    );
  });

  it('are true when they are said, and no recovery is told of what was never said to be low', () => {
    fc.assert(
      fc.property(rule, history, (rules, steps) => {
        const { alerts } = live(rules, steps);
        alerts.forEach((alert, index) => {
          const before = alerts[index - 1]?.kind ?? 'recovered';
          const right = rightWords(rules, alert.threshold, alert.balance);
          // `low` is said of an empty wallet too, when it was full before.
          expect(alert.kind === 'low' ? [...right, 'low'] : right).toContain(alert.kind);
          if (alert.kind === 'low' && alert.balance <= 0) expect(before).toBe('recovered');
          expect(alert.kind === before).toBe(alert.reminder);
        });
      }),
      RUNS,
    );
  });

  it('stay few when a balance flaps between full and empty 100 times in an hour', () => {
    const rules = {
      defaultThresholds: new Map([['USD', 1000]]),
      marginPercent: 10,
      minIntervalSeconds: 3600,
      reminderSeconds: 0,
    };
    const flaps = Array.from({ length: 200 }, (_, index): Timed => {
      return { do: 'post', balance: index % 2 === 0 ? 2000 : 0, afterSeconds: HOUR / 1000 / 200 };
    });
    const { alerts } = live(rules, flaps);
    expect(alerts.map(({ kind }) => kind)).toEqual(['low', 'depleted', 'recovered', 'low', 'depleted']);
  });
});
