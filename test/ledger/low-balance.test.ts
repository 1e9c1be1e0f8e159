import { describe, expect, it } from 'vitest';
import type { AlertState } from '../../src/ledger/entry.ts';
import { decideLowBalance, effectiveThreshold, type LowBalanceRule, raise } from '../../src/ledger/low-balance/rule.ts';
import { NOW, wallet } from '../support/wallets.ts';

/** Low below 1000, recovered from 1100, an hour between alerts. */
const RULE: LowBalanceRule = {
  defaultThresholds: new Map([['USD', 1000]]),
  marginPercent: 10,
  minIntervalSeconds: 3600,
  reminderSeconds: 0,
};

const minutes = (count: number) => new Date(NOW.getTime() + count * 60_000);

interface Tick {
  readonly balance: number;
  /** Minutes since the first. */
  readonly at?: number;
}

/**
 * Lets a wallet have these balances at these times, as postings would: a lower balance than before is a debit. Returns what
 * was said at each, such as `low`, `low again` or nothing.
 */
function watch(
  ticks: readonly Tick[],
  rule: Partial<LowBalanceRule> = {},
  from: Partial<AlertState> = {},
  currency = 'USD',
) {
  let state: AlertState = wallet(from);
  let before = 0;
  return ticks.map(({ balance, at = 0 }) => {
    const moment = { balance, isDebit: balance < before, now: minutes(at) };
    const { alerts, ...next } = decideLowBalance({ ...RULE, ...rule }, currency, state, moment);
    state = { ...state, ...next };
    before = balance;
    return alerts.map(({ kind, reminder }) => (reminder ? `${kind} again` : kind)).join(' ');
  });
}

const balances = (...all: number[]): Tick[] => all.map((balance, index) => ({ balance, at: index * 60 }));

describe('decideLowBalance', () => {
  it.each<[string, Tick[], string[]]>([
    ['says low once a crossing', balances(2000, 999, 500, 998), ['', 'low', '', '']],
    ['does not call the threshold itself low', balances(2000, 1000), ['', '']],
    ['recovers at threshold plus margin, not before', balances(2000, 999, 1099, 1100), ['', 'low', '', 'recovered']],
    ['hovering raises no second alert', balances(2000, 999, 1001, 999, 1050, 900), ['', 'low', '', '', '', '']],
    ['says low again after a recovery', balances(2000, 999, 1100, 999), ['', 'low', 'recovered', 'low']],
    ['says depleted beside low', balances(2000, 0), ['', 'low depleted']],
    ['says depleted once an episode', balances(2000, 999, 0, 500, 0), ['', 'low', 'depleted', '', '']],
    ['says depleted for a debt', balances(2000, -5), ['', 'low depleted']],
    ['says both again after a recovery', balances(2000, 0, 5000, 0), ['', 'low depleted', 'recovered', 'low depleted']],
    ['is silent about a wallet that never held credit', balances(0, 0), ['', '']],
    ['is silent about a welcome gift below the threshold', balances(500, 600, 999), ['', '', '']],
    ['speaks once the gift is spent from', balances(500, 499, 0), ['', 'low', 'depleted']],
    ['speaks once the threshold was reached', balances(500, 1000, 999), ['', '', 'low']],
    ['calls a debt low, even of a wallet that held nothing', balances(0, -5), ['', 'low depleted']],
  ])('%s', (_, ticks, said) => {
    expect(watch(ticks)).toEqual(said);
  });

  it('waits the minimum interval between two low alerts, and then makes up for it', () => {
    const ticks = [
      { balance: 2000 },
      { balance: 999, at: 1 },
      { balance: 1100, at: 2 },
      { balance: 999, at: 3 },
      { balance: 998, at: 60 },
      { balance: 998, at: 61 },
      { balance: 998, at: 62 },
    ];
    expect(watch(ticks)).toEqual(['', 'low', 'recovered', '', '', 'low', '']);
  });

  it('says nothing of a recovery from a low balance that it never mentioned', () => {
    const ticks = [2000, 999, 1100, 999, 1100].map((balance, at) => ({ balance, at }));
    expect(watch(ticks)).toEqual(['', 'low', 'recovered', '', '']);
  });

  it('reminds of a balance that stays low, if it is told to', () => {
    const ticks = [
      { balance: 999 },
      { balance: 999, at: 119 },
      { balance: 999, at: 120 },
      { balance: 999, at: 121 },
      { balance: 1050, at: 300 },
      { balance: 999, at: 301 },
    ];
    expect(watch(ticks, { reminderSeconds: 7200 }, { alertsArmed: true })).toEqual([
      'low',
      '',
      'low again',
      '',
      '',
      'low again',
    ]);
  });

  it('keeps, through its reminders, since when the balance is low', () => {
    const low = wallet({ alertsArmed: true, lowSince: NOW, lowAlertedAt: NOW });
    const moment = { balance: 5, isDebit: false, now: minutes(60) };
    const decision = decideLowBalance({ ...RULE, reminderSeconds: 60 }, 'USD', low, moment);
    expect(decision).toMatchObject({ lowSince: NOW, lowAlertedAt: minutes(60), alerts: [{ reminder: true }] });
  });

  it.each<[string, Partial<AlertState>, string, Tick[], string[]]>([
    [
      "the wallet's own threshold goes before the default",
      { lowThreshold: 100 },
      'USD',
      balances(999, 99, 110),
      ['', 'low', 'recovered'],
    ],
    [
      'with a threshold of 0 only a debt is low',
      { lowThreshold: 0 },
      'USD',
      balances(5, 0, -1, 0, 1),
      ['', 'depleted', 'low', '', 'recovered'],
    ],
    [
      'without any threshold only nothing is worth a word',
      {},
      'EUR',
      balances(5, 0, 0, 1, 0),
      ['', 'depleted', '', '', 'depleted'],
    ],
    [
      'a small margin is rounded up',
      { lowThreshold: 1 },
      'USD',
      balances(5, 0, 1, 2),
      ['', 'low depleted', '', 'recovered'],
    ],
  ])('%s', (_, from, currency, ticks, said) => {
    expect(watch(ticks, {}, from, currency)).toEqual(said);
  });

  it('notices a threshold that was raised, and one that was taken away', () => {
    const low = { alertsArmed: true, lowSince: NOW, lowAlertedAt: NOW };
    expect(watch(balances(1500), { defaultThresholds: new Map([['USD', 2000]]) }, { alertsArmed: true })).toEqual([
      'low',
    ]);
    expect(watch(balances(500), { defaultThresholds: new Map() }, low)).toEqual(['recovered']);
  });

  it('names the threshold it went by', () => {
    expect(effectiveThreshold(RULE, 'USD', null)).toBe(1000);
    expect(effectiveThreshold(RULE, 'USD', 0)).toBe(0);
    expect(effectiveThreshold(RULE, 'EUR', null)).toBeNull();
  });
});

describe('raise', () => {
  it('numbers the alerts of a wallet and takes the decision into its state', () => {
    const before = wallet({ balance: 0, version: 7, alertsArmed: true, alertSeq: 2 });
    const { wallet: after, alerts } = raise(
      before,
      decideLowBalance(RULE, 'USD', before, { balance: 0, isDebit: true, now: NOW }),
      NOW,
    );
    expect(alerts.map(({ kind, alertSeq, version, threshold }) => [kind, alertSeq, version, threshold])).toEqual([
      ['low', 3, 7, 1000],
      ['depleted', 4, 7, 1000],
    ]);
    expect(after).toMatchObject({ alertSeq: 4, lowSince: NOW, lowAlertedAt: NOW, depletedSince: NOW, balance: 0 });
  });
});
