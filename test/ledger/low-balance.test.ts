import { describe, expect, it } from 'vitest';
import type { AlertState } from '../../src/ledger/entry.ts';
import {
  believing,
  decideLowBalance,
  effectiveThreshold,
  type LowBalanceRule,
  lastWord,
  raise,
} from '../../src/ledger/low-balance/rule.ts';
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
  let state = wallet({ ...from, currency });
  let before = 0;
  return ticks.map(({ balance, at = 0 }) => {
    const moment = { balance, isDebit: balance < before, now: minutes(at) };
    const { alerts, ...next } = decideLowBalance({ ...RULE, ...rule }, state, moment);
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
    ['says depleted once, however often a debt changes', balances(2000, 0, -5, -1), ['', 'low depleted', '', '']],
    [
      'says low of a wallet that is no longer empty and still low',
      balances(2000, 999, 0, 500, 400, 0),
      ['', 'low', 'depleted', 'low', '', 'depleted'],
    ],
    [
      'says low, not recovered, of a wallet that was empty and is above its threshold by less than the margin',
      balances(2000, 0, 1050, 1100),
      ['', 'low depleted', 'low', 'recovered'],
    ],
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

  it('waits the minimum interval between two depleted alerts, and then makes up for it', () => {
    const ticks = [2000, 0, 2000, 0, 2000, 0].map((balance, at) => ({ balance, at }));
    const later = [
      { balance: 0, at: 60 },
      { balance: 0, at: 61 },
      { balance: 2000, at: 62 },
    ];
    const said = ['', 'low depleted', 'recovered', '', '', '', '', 'low depleted', 'recovered'];
    expect(watch([...ticks, ...later])).toEqual(said);
  });

  it('says depleted within the interval of a low alert, and the other way round only after it', () => {
    const ticks = [
      { balance: 2000 },
      { balance: 999, at: 1 },
      { balance: 2000, at: 2 },
      { balance: 0, at: 3 },
      { balance: 500, at: 4 },
      { balance: 500, at: 61 },
    ];
    expect(watch(ticks)).toEqual(['', 'low', 'recovered', 'depleted', '', 'low']);
  });

  it('does not say low of an empty wallet that was called depleted: the last word would be wrong', () => {
    const ticks = [
      { balance: 2000 },
      { balance: 999, at: 1 },
      { balance: 2000, at: 2 },
      { balance: 0, at: 3 },
      { balance: -5, at: 70 },
    ];
    expect(watch(ticks)).toEqual(['', 'low', 'recovered', 'depleted', '']);
  });

  it('says low at least of an empty wallet while depleted is held back', () => {
    const ticks = [
      { balance: 2000 },
      { balance: 999, at: 1 },
      { balance: 0, at: 30 },
      { balance: 2000, at: 31 },
      { balance: 0, at: 61 },
      { balance: 0, at: 89 },
      { balance: 0, at: 90 },
    ];
    expect(watch(ticks)).toEqual(['', 'low', 'depleted', 'recovered', 'low', '', 'depleted']);
  });

  it('says nothing of a recovery from a low balance that it never mentioned', () => {
    const ticks = [2000, 999, 1100, 999, 1100].map((balance, at) => ({ balance, at }));
    expect(watch(ticks)).toEqual(['', 'low', 'recovered', '', '']);
  });

  it('recovers from a depletion that it mentioned, though the low balance before it was held back', () => {
    const ticks = [2000, 999, 2000, 0, 2000].map((balance, at) => ({ balance, at }));
    expect(watch(ticks)).toEqual(['', 'low', 'recovered', 'depleted', 'recovered']);
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

  it('reminds of an empty wallet by the word for it', () => {
    const ticks = [{ balance: 0 }, { balance: 0, at: 119 }, { balance: -5, at: 120 }];
    expect(watch(ticks, { reminderSeconds: 7200 }, { alertsArmed: true })).toEqual([
      'low depleted',
      '',
      'depleted again',
    ]);
  });

  it('reminds no oftener than the minimum interval allows', () => {
    const ticks = [{ balance: 999 }, { balance: 999, at: 59 }, { balance: 999, at: 60 }];
    expect(watch(ticks, { reminderSeconds: 60 }, { alertsArmed: true })).toEqual(['low', '', 'low again']);
  });

  it('keeps, through its reminders, since when the balance is low', () => {
    const low = wallet({ alertsArmed: true, lowSince: NOW, lowAlertedAt: NOW });
    const moment = { balance: 5, isDebit: false, now: minutes(60) };
    const decision = decideLowBalance({ ...RULE, reminderSeconds: 60 }, low, moment);
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
      ['', 'depleted', '', '', 'recovered'],
    ],
    [
      'without any threshold only nothing is worth a word, and the end of it',
      {},
      'EUR',
      balances(5, 0, 0, 1, 0),
      ['', 'depleted', '', 'recovered', 'depleted'],
    ],
    [
      'a small margin is rounded up',
      { lowThreshold: 1 },
      'USD',
      balances(5, 0, 1, 2),
      ['', 'low depleted', 'low', 'recovered'],
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

describe('believing', () => {
  const FORGOTTEN = wallet({ alertsArmed: true, alertSeq: 3, lowAlertedAt: NOW });
  const decide = (balance: number, last: Parameters<typeof believing>[1], state = FORGOTTEN) =>
    decideLowBalance(RULE, believing(state, last), { balance, isDebit: false, now: minutes(5) }).alerts.map(
      ({ kind }) => kind,
    );

  it.each<[string, number, Parameters<typeof believing>[1], string[]]>([
    ['a full wallet whose last word was depleted', 2000, { kind: 'depleted', createdAt: NOW }, ['recovered']],
    ['a full wallet whose last word was low', 2000, { kind: 'low', createdAt: NOW }, ['recovered']],
    ['an empty wallet whose last word was depleted', 0, { kind: 'depleted', createdAt: NOW }, []],
    ['an empty wallet whose last word was low', 0, { kind: 'low', createdAt: NOW }, ['depleted']],
    ['a full wallet that was never spoken of', 2000, null, []],
  ])('puts right, of the state that forgot it, %s', (_, balance, last, said) => {
    expect(decide(balance, last)).toEqual(said);
  });

  it('keeps the minimum interval of what it is reminded of', () => {
    const { depletedAlertedAt, lowSince } = believing(FORGOTTEN, { kind: 'depleted', createdAt: minutes(-1) });
    expect([depletedAlertedAt, lowSince]).toEqual([minutes(-1), null]);
  });

  it('takes back words that no alert said, and leaves a state alone that is right', () => {
    const said = { ...FORGOTTEN, lowSince: NOW, depletedSince: NOW };
    expect(lastWord(believing(said, { kind: 'recovered', createdAt: NOW }))).toBe('recovered');
    expect(lastWord(believing(said, null))).toBe('recovered');
    expect(lastWord(believing(said, { kind: 'low', createdAt: NOW }))).toBe('low');
    expect(believing(said, { kind: 'depleted', createdAt: minutes(-9) })).toBe(said);
  });

  it('counts a depletion that a process of the release before told of, which noted no time', () => {
    const old = { ...FORGOTTEN, depletedSince: NOW, depletedAlertedAt: minutes(-600) };
    const recovered = decideLowBalance(RULE, old, { balance: 500, isDebit: false, now: minutes(61) });
    expect(recovered).toMatchObject({
      alerts: [{ kind: 'low' }],
      depletedSince: null,
      depletedAlertedAt: minutes(-600),
    });
    expect(decide(0, { kind: 'depleted', createdAt: NOW }, old)).toEqual([]);
  });
});

describe('raise', () => {
  it('numbers the alerts of a wallet and takes the decision into its state', () => {
    const before = wallet({ balance: 0, version: 7, alertsArmed: true, alertSeq: 2 });
    const { wallet: after, alerts } = raise(
      before,
      decideLowBalance(RULE, before, { balance: 0, isDebit: true, now: NOW }),
      NOW,
    );
    expect(alerts.map(({ kind, alertSeq, version, threshold }) => [kind, alertSeq, version, threshold])).toEqual([
      ['low', 3, 7, 1000],
      ['depleted', 4, 7, 1000],
    ]);
    expect(after).toMatchObject({ alertSeq: 4, lowSince: NOW, lowAlertedAt: NOW, depletedSince: NOW, balance: 0 });
  });
});
