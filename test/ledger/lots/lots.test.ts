import { describe, expect, it } from 'vitest';
import { countPostings } from '../../../src/ledger/count-postings.ts';
import { type LotTerms, type WalletAlert, walletKeyText } from '../../../src/ledger/entry.ts';
import { type CaptureHold, type Hold, holdId, type PlaceHold } from '../../../src/ledger/holds/hold.ts';
import {
  type ChangeLot,
  type Lot,
  type LotMovement,
  lotId,
  parseLotId,
  type VoidLot,
} from '../../../src/ledger/lots/lot.ts';
import type { LotRule } from '../../../src/ledger/lots/notices.ts';
import { type CommandResult, fingerprint, type LedgerCommand, post } from '../../../src/ledger/post.ts';
import { LOT_RULE, MERCHANT, posting } from '../../support/ledger.ts';
import { postInput, wallet } from '../../support/wallets.ts';

/** Each example is one wallet of `cus_a` in USD, whose commands follow one another. Its numbers are those of docs/wallets.md. */

const KEY = { merchantId: MERCHANT, customerId: 'cus_a', currency: 'USD' };
const DEFAULT_RULE: LotRule = {
  noticeDays: [30, 7, 1],
  noticeMinimums: new Map([['USD', 100]]),
  paidExpiryMinDays: null,
};

const time = (text: string) => new Date(`2026-${text}Z`);
const NOON = time('01-01T12:00:00');
const minutes = (count: number) => new Date(NOON.getTime() + count * 60_000);
const daysLater = (count: number) => new Date(NOON.getTime() + count * 86_400_000);

let keys = 0;

function terms(overrides: Partial<LotTerms> = {}): LotTerms {
  return { kind: 'promo', name: null, priority: 50, end: null, ...overrides };
}

const lot = (amountMinor: number, overrides: Partial<LotTerms> = {}) =>
  posting({ amountMinor, terms: terms(overrides) });
const credit = (amountMinor: number) => posting({ amountMinor });
const debit = (amountMinor: number) => posting({ amountMinor, isCredit: false });
const takeBack = (amountMinor: number) => posting({ amountMinor, isCredit: false, eventType: 'payment_reversal' });

function place(amountMinor: number, expiresInSeconds: number): PlaceHold {
  keys += 1;
  return {
    ...{ ...KEY, op: 'place', amountMinor, partial: false, expiresInSeconds, reason: null, referenceObjectId: null },
    ...{ metadata: null, idempotencyKey: `place-${keys}` },
  };
}

const capture = (amountMinor: number): CaptureHold => ({
  ...{ ...KEY, op: 'capture', holdNo: 1, amountMinor, isFinal: true, beyond: 'refuse', late: 'refuse' },
  ...{ reason: null, metadata: null, idempotencyKey: null },
});
const release = { ...KEY, op: 'release', holdNo: 1, reason: null } as const;
const sweep = { ...KEY, op: 'sweep' } as const;

function voidOf(lotNo: number, amountMinor: number | null = null): VoidLot {
  keys += 1;
  return { ...KEY, op: 'void_lot', lotNo, amountMinor, reason: 'a mistake', idempotencyKey: `api:void-${keys}` };
}

function change(lotNo: number, wanted: Partial<ChangeLot>): ChangeLot {
  return { ...KEY, op: 'change_lot', lotNo, end: null, priority: null, reason: 'asked', actor: 'key:one', ...wanted };
}

/** A wallet to which commands are given one after another. */
function books(base = 0, lotRule = DEFAULT_RULE) {
  let own = wallet({ balance: base });
  let quiet: ReadonlySet<string> | null = null;
  const known = new Map();
  const lots = new Map<string, Lot>();
  const holds = new Map<string, Hold>();
  const movements: LotMovement[] = [];
  const alerts: WalletAlert[] = [];
  const holdAlerts: WalletAlert[] = [];
  return {
    alerts,
    holdAlerts,
    movements,
    do(command: LedgerCommand, now = NOON): CommandResult {
      const given = { known, lots: [...lots.values()], holds: [...holds.values()], movements, lotRule, now };
      const result = post([command], postInput([own], given));
      own = result.wallets[0] ?? own;
      quiet = result.holds?.quiet ?? new Set();
      for (const one of [...(result.lots?.open ?? []), ...(result.lots?.closed ?? [])]) lots.set(lotId(one), one);
      for (const one of [...(result.holds?.open ?? []), ...(result.holds?.closed ?? [])]) holds.set(holdId(one), one);
      movements.push(...(result.lots?.movements ?? []));
      for (const entry of result.entries) known.set(`${MERCHANT}\0cus_a\0${entry.idempotencyKey}`, entry);
      alerts.push(...result.alerts.filter(({ kind }) => kind.startsWith('credit_')));
      holdAlerts.push(...result.alerts.filter(({ kind }) => kind === 'hold_expired'));
      const [outcome] = result.outcomes;
      if (outcome === undefined) throw new Error('a command without an outcome');
      return outcome;
    },
    /** What is left of each lot. */
    get left() {
      return [...lots.values()].map(({ remaining }) => remaining);
    },
    get states() {
      return [...lots.values()].map(({ state }) => state);
    },
    lot: (lotNo: number) => lots.get(lotId({ ...KEY, lotNo })),
    get balance() {
      return own.balance;
    },
    /** The wallets of the last command that had nothing to announce; null if it was an entry of the base alone. */
    get quiet() {
      return quiet;
    },
    get base() {
      return own.balance - own.inLots;
    },
    get own() {
      return own;
    },
  };
}

const insufficient = (available: number) => ({
  kind: 'refused',
  refusal: { code: 'INSUFFICIENT_WALLET_FUNDS', available },
});
const refused = (code: string, facts: object = {}) => ({ kind: 'refused', refusal: { code, ...facts } });

describe('the examples of lots', () => {
  it('example 1: a debit drains by priority, then by the earlier end, promotional ones first, then the base', () => {
    const own = books(1000);
    own.do(lot(500, { end: { at: time('01-31T00:00:00') } }));
    own.do(lot(300, { end: { at: time('01-15T00:00:00') } }));
    own.do(lot(400, { kind: 'adjustment', end: { at: time('01-15T00:00:00') } }));
    own.do(lot(400, { priority: 10 }));
    own.do(debit(1500));
    expect(own.left).toEqual([100, 0, 0, 0]);
    expect(own.base).toBe(1000);
  });

  it('example 2: a lot is spent up to its end, exclusive, though no sweeper ran', () => {
    const until = (now: Date) => {
      const own = books();
      own.do(lot(300, { end: { at: NOON } }), minutes(-60));
      return { own, outcome: own.do(debit(300), now) };
    };
    expect(until(new Date(NOON.getTime() - 1)).outcome.kind).toBe('created');
    const { own, outcome } = until(NOON);
    expect(outcome).toMatchObject(insufficient(0));
    expect([own.states, own.balance]).toEqual([['expired'], 0]);
    expect(own.lot(1)).toMatchObject({ expired: 300 });
    expect(own.alerts).toMatchObject([
      {
        kind: 'credit_expired',
        balance: 0,
        version: 2,
        details: { lots: [{ lotId: 'lot_cus_a_USD_1', amount: 300 }] },
      },
    ]);
  });

  /** Promo 300 to 12:00, base 700, a hold of 800 until 12:05. */
  function kept() {
    const own = books(700);
    own.do(lot(300, { end: { at: NOON } }), minutes(-60));
    own.do(place(800, 360), minutes(-1));
    own.do(sweep);
    expect([own.balance, own.own.held, own.left]).toEqual([800, 800, [100]]);
    expect(own.do(debit(1))).toMatchObject(insufficient(0));
    return own;
  }

  it('example 3: a lot does not expire from under a hold, whose capture takes it first', () => {
    const own = kept();
    own.do(capture(650), minutes(3));
    expect([own.balance, own.base, own.states]).toEqual([150, 150, ['drained']]);
  });

  it('example 4: what a hold protected expires when the hold is released', () => {
    const own = kept();
    expect(own.do(release, minutes(3))).toMatchObject({ kind: 'changed', wallet: { balance: 700 } });
    expect([own.balance, own.states]).toEqual([700, ['expired']]);
  });

  it('example 5: a credit that makes room lets it expire before the next debit', () => {
    const own = kept();
    expect(own.do(credit(500), minutes(1))).toMatchObject({ kind: 'created', wallet: { balance: 1200 } });
    expect(own.do(debit(500), minutes(1))).toMatchObject(insufficient(400));
  });

  it('example 6: a credit repays the debt before its lot is filled', () => {
    const own = books();
    own.do(takeBack(500));
    own.do(lot(800, { end: { days: 30 } }));
    expect([own.balance, own.left, own.lot(1)?.amountMinor]).toEqual([300, [300], 300]);
    own.do(sweep, daysLater(30));
    expect([own.balance, own.states]).toEqual([0, ['expired']]);
  });

  it('example 6: a credit of no more than the debt opens no lot', () => {
    const own = books();
    own.do(takeBack(500));
    own.do(lot(500));
    expect([own.balance, own.left]).toEqual([0, []]);
  });

  it('example 11: a void takes no more than is available', () => {
    const own = books(400);
    own.do(lot(600));
    own.do(place(700, 900));
    expect(own.do(voidOf(1))).toMatchObject(insufficient(300));
    const outcome = {
      kind: 'voided',
      lot: { remaining: 300 },
      entry: { amountMinor: 300, eventType: 'credit_voided' },
    };
    expect(own.do(voidOf(1, 300))).toMatchObject(outcome);
    expect([own.balance, own.left]).toEqual([700, [300]]);
  });

  it('example 12: an end that is moved re-arms the notices, but those of the first half of its life', () => {
    const own = books();
    own.do(lot(300, { end: { at: time('03-01T00:00:00') } }), time('02-01T00:00:00'));
    own.do(sweep, time('02-27T00:00:00'));
    expect(own.alerts.map(({ details }) => details)).toMatchObject([{ noticeDays: 7 }]);
    own.do(change(1, { end: { at: time('04-01T00:00:00') } }), time('02-28T00:00:00'));
    for (const day of ['03-01', '03-02', '03-24', '03-25', '03-31']) own.do(sweep, time(`${day}T00:00:00`));
    expect(own.alerts.map(({ details, createdAt }) => [createdAt.toISOString().slice(5, 10), details])).toMatchObject([
      ['02-27', { noticeDays: 7 }],
      ['02-28', { noticeDays: 1 }],
      ['03-25', { noticeDays: 7 }],
      ['03-31', { noticeDays: 1 }],
    ]);
    expect([own.balance, own.states]).toEqual([300, ['open']]);
  });

  it('example 13: the 101st open lot is refused to the API, and not to a payment', () => {
    const own = books();
    for (let count = 0; count < 100; count += 1) own.do(lot(1));
    expect(own.do(lot(1))).toMatchObject(refused('LOT_LIMIT_EXCEEDED', { limit: 100 }));
    const [last, ofPayment] = [credit(1), { ...lot(1), eventType: 'payment' as const }];
    const outcomes = [own.do(last), own.do(ofPayment)];
    expect([outcomes[1]?.kind, own.own.openLots]).toEqual(['created', 101]);
    // The metric tells of it, and of no other entry of that wallet.
    expect(countPostings([last, ofPayment, debit(1)], [...outcomes, own.do(debit(1))])).toMatchObject([
      { direction: 'credit', count: 2, beyondLots: 1 },
      { direction: 'debit', count: 1, beyondLots: 0 },
    ]);
  });

  it('example 14: a key that was used before lots were known still fits its request', () => {
    const request = { ...credit(500), reason: 'Welcome', metadata: { a: 1 }, idempotencyKey: 'api:k' };
    // Made by the release before.
    expect(fingerprint(request)).toBe('83555abfbdde7a6c7c82a636b6f8ecedf74752e011c1ae45b8f730b266a5dba4');
    const own = books();
    own.do(request);
    expect(own.do(request).kind).toBe('repeated');
    expect(own.do({ ...request, terms: terms() })).toMatchObject(refused('IDEMPOTENCY_KEY_REUSED'));
  });

  it('example 16: credit that was paid for ends only where that is allowed, and late', () => {
    const paid = lot(500, { kind: 'paid', end: { days: 365 } });
    expect(books().do(paid)).toMatchObject(refused('PAID_CREDIT_CANNOT_EXPIRE', { minDays: null }));
    const allowed = (paidExpiryMinDays: number) => books(0, { ...DEFAULT_RULE, paidExpiryMinDays }).do(paid).kind;
    expect([allowed(300), allowed(366)]).toEqual(['created', 'refused']);
  });
});

describe('lots', () => {
  it('are taken back after the base, and before there is a debt', () => {
    const own = books(100);
    own.do(lot(300, { priority: 0 }));
    own.do(takeBack(250));
    expect([own.base, own.left, own.lot(1)?.takenBack]).toEqual([0, [150], 150]);
    own.do(takeBack(500));
    expect([own.balance, own.states]).toEqual([-350, ['taken_back']]);
  });

  /** A dispute of 400 that is lost on day 10 and takes a lot of 300 that ends on day 30, and the base of 100. */
  function lost(base = 100) {
    const own = books(base);
    own.do(lot(300, { end: { days: 30 }, name: 'Welcome' }));
    own.do(dispute(1, 400), daysLater(10));
    return own;
  }

  function dispute(count: number, amountMinor: number) {
    const keys = Array.from({ length: count }, (_, index) => `src:dispute:p:d#${index + 1}`);
    const isCredit = count % 2 === 0;
    const eventType = isCredit ? 'dispute_reversal' : 'dispute';
    const restores = keys.slice(0, -1);
    return posting({ amountMinor, isCredit, eventType, idempotencyKey: keys.at(-1) ?? null, restores });
  }

  it('that a dispute closed are followed, where it is won, by a lot of the same terms with the life that was left', () => {
    const own = lost();
    expect([own.balance, own.states]).toEqual([0, ['taken_back']]);
    own.do(dispute(2, 400), daysLater(40));
    expect([own.balance, own.base, own.left]).toEqual([400, 100, [0, 300]]);
    expect(own.lot(2)).toMatchObject({ kind: 'promo', name: 'Welcome', originSeq: 1, expiresAt: daysLater(60) });
    own.do(sweep, daysLater(60));
    expect([own.balance, own.states]).toEqual([100, ['taken_back', 'expired']]);
  });

  it('that are still open are filled again, and what was taken last goes back first', () => {
    const own = lost(300);
    expect([own.base, own.left]).toEqual([0, [200]]);
    own.do(dispute(2, 150), daysLater(11));
    expect([own.base, own.left]).toEqual([50, [300]]);
    expect(own.lot(1)).toMatchObject({ takenBack: 0, expiresAt: daysLater(30) });
  });

  it('get back in one movement what several entries took', () => {
    const own = books();
    own.do(lot(300));
    own.do(dispute(1, 100));
    own.do(dispute(3, 50));
    own.do(dispute(4, 150));
    expect([own.balance, own.left]).toEqual([300, [300]]);
    expect(own.movements.map(({ seq, amountMinor }) => [seq, amountMinor])).toEqual([
      [1, 300],
      [2, -100],
      [3, -50],
      [4, 150],
    ]);
  });

  it('get nothing back before a debt is repaid', () => {
    const own = lost();
    own.do(takeBack(350), daysLater(11));
    own.do(dispute(2, 400), daysLater(12));
    expect([own.balance, own.base, own.left]).toEqual([50, 0, [0, 50]]);
  });

  it('that end with the years are followed by one that ends no later', () => {
    const last = new Date('9999-12-31T23:59:59.999Z');
    const own = books();
    own.do(lot(300, { end: { at: last } }));
    own.do(dispute(1, 300), daysLater(10));
    own.do(dispute(2, 300), daysLater(50));
    expect([own.left, own.lot(2)?.expiresAt]).toEqual([[0, 300], last]);
  });

  it('get back what was theirs where a debt is repaid first, in parts as well as at once', () => {
    const own = books(100);
    own.do(lot(200));
    own.do(dispute(1, 600));
    own.do(dispute(2, 300));
    expect([own.balance, own.left]).toEqual([0, [0]]);
    own.do(dispute(4, 300));
    expect([own.base, own.left]).toEqual([100, [0, 200]]);
  });

  it('that are closed are followed once for each part that comes back, which has the life that was left then and no more than its amount', () => {
    const own = books();
    own.do(lot(300, { end: { days: 30 } }));
    own.do(dispute(1, 300), daysLater(10));
    own.do(dispute(2, 100), daysLater(40));
    own.do(dispute(4, 200), daysLater(50));
    expect(own.left).toEqual([0, 100, 200]);
    expect([own.lot(2), own.lot(3)]).toMatchObject([
      { amountMinor: 100, expiresAt: daysLater(60) },
      { amountMinor: 200, expiresAt: daysLater(70) },
    ]);
  });

  it('that are over and kept by a hold get nothing back, which would be lost at once: one follows them', () => {
    const own = books(300);
    own.do(lot(500, { end: { days: 9 } }));
    own.do(dispute(1, 500), daysLater(4));
    own.do(place(300, 7 * 86_400), daysLater(8));
    own.do(sweep, daysLater(9));
    expect([own.balance, own.left]).toEqual([300, [300]]);
    own.do(dispute(2, 500), daysLater(14));
    expect([own.balance, own.base, own.left]).toEqual([500, 300, [0, 200]]);
    expect(own.lot(2)).toMatchObject({ expiresAt: daysLater(19) });
  });

  it('that a hold kept after their end are what its capture takes first, whatever is spent before them else', () => {
    const own = books();
    own.do(lot(200, { end: { days: 1 } }));
    own.do(lot(300, { priority: 10 }));
    own.do(place(500, 604_800));
    own.do(sweep, daysLater(1));
    own.do(capture(300), daysLater(2));
    expect([own.balance, own.left]).toEqual([200, [0, 200]]);
  });

  it('have ended before it is told of the hold that kept them, so that both say what the wallet does', () => {
    const own = books();
    own.do(lot(100, { end: { days: 1 } }));
    own.do(place(100, 2 * 86_400));
    own.do(sweep, daysLater(2));
    expect(own.balance).toBe(0);
    expect(own.holdAlerts).toMatchObject([{ balance: 0, version: 2, details: { available: 0 } }]);
  });

  it('are told of by hundreds where many end or will end together', () => {
    const own = books();
    const end = { days: 90 };
    for (let count = 0; count < 130; count += 1) own.do({ ...lot(100, { end }), eventType: 'payment' });
    own.do(sweep, daysLater(89));
    own.do(sweep, daysLater(90));
    const sizes = own.alerts.map(({ kind, details }) => [kind, details && 'lots' in details && details.lots.length]);
    expect(sizes).toEqual([
      ['credit_expiring', 100],
      ['credit_expiring', 30],
      ['credit_expired', 100],
      ['credit_expired', 30],
    ]);
  });

  it('are changed a hundred times at most, since each change is kept', () => {
    const own = books();
    own.do(lot(300));
    for (let count = 1; count <= 100; count += 1)
      expect(own.do(change(1, { priority: count % 2 })).kind).toBe('lot_changed');
    expect(own.do(change(1, { priority: 0 })).kind).toBe('lot_changed');
    expect(own.do(change(1, { priority: 1 }))).toMatchObject(refused('LOT_CHANGE_LIMIT', { most: 100 }));
    expect(own.lot(1)).toMatchObject({ changes: 100, priority: 0 });
  });

  it('are no news to the merchant who changes their priority', () => {
    const own = books();
    own.do(lot(300));
    own.do(change(1, { priority: 40 }));
    expect(own.quiet).toEqual(new Set([walletKeyText(KEY)]));
    own.do(debit(10));
    expect(own.quiet).toEqual(new Set());
  });

  it('in a currency that has no wallets any more are refused for that, and not as unknown', () => {
    const gone = (command: LedgerCommand) => {
      const input = { ...postInput([], { lotRule: LOT_RULE }), currencies: new Set(['EUR']) };
      return post([command], input).outcomes[0];
    };
    for (const command of [voidOf(1), change(1, { priority: 1 })]) {
      expect(gone(command)).toMatchObject(refused('UNSUPPORTED_CURRENCY', { currency: 'USD' }));
    }
  });

  it('lose first what was given back, where it is taken again', () => {
    const own = lost();
    own.do(dispute(2, 400), daysLater(11));
    own.do(credit(500), daysLater(11));
    own.do(dispute(3, 400), daysLater(12));
    expect([own.base, own.left]).toEqual([500, [0, 0]]);
    own.do(dispute(4, 400), daysLater(13));
    expect([own.base, own.left]).toEqual([600, [0, 0, 300]]);
  });

  it('of a priority of 50 without an end come after the base, but promotional ones before it', () => {
    const own = books(100);
    own.do(lot(100, { kind: 'adjustment', priority: 60 }));
    own.do(change(1, { priority: 50 }));
    own.do(lot(100));
    own.do(debit(150));
    expect([own.base, own.left]).toEqual([50, [100, 0]]);
  });

  it('that end together expire in the reverse of the order in which they are spent', () => {
    const own = books();
    own.do(lot(100, { priority: 10, end: { days: 1 } }));
    own.do(lot(100, { priority: 20, end: { days: 1 } }));
    own.do(place(150, 604_800));
    own.do(sweep, daysLater(1));
    expect(own.left).toEqual([100, 50]);
  });

  it('count in no list while a hold keeps them after their end', () => {
    const own = books();
    own.do(lot(100, { end: { days: 1 } }));
    own.do(place(100, 604_800));
    own.do(sweep, daysLater(1));
    expect(own.own.dueAt).toEqual(daysLater(7));
    expect(own.do(change(1, { end: { at: daysLater(9) } }), daysLater(2))).toMatchObject({
      ...refused('LOT_NOT_OPEN', { state: 'expired' }),
      lot: { state: 'open', remaining: 100, closedAt: null },
    });
    own.do(sweep, daysLater(7));
    expect([own.balance, own.own.dueAt, own.states]).toEqual([0, null, ['expired']]);
  });

  it('are refused an end that is past, at once and later', () => {
    const own = books();
    expect(own.do(lot(100, { end: { at: NOON } }))).toMatchObject(refused('EXPIRY_IN_THE_PAST'));
    own.do(lot(100, { end: { days: 2 } }));
    expect(own.do(change(1, { end: { at: NOON } }))).toMatchObject(refused('EXPIRY_IN_THE_PAST'));
    expect(own.do(change(1, { end: { at: daysLater(1) } }))).toMatchObject({ kind: 'lot_changed' });
    own.do(lot(100, { kind: 'paid', priority: 10 }));
    expect(own.do(change(2, { end: { at: daysLater(1) } }))).toMatchObject(refused('PAID_CREDIT_CANNOT_EXPIRE'));
    expect(own.do(change(2, { priority: 11 }))).toMatchObject({
      kind: 'lot_changed',
      lot: { changes: 1, priority: 11 },
    });
    expect(own.do(change(3, {}))).toMatchObject(refused('LOT_NOT_FOUND'));
  });

  it('are voided once under a key, and not beyond what is left', () => {
    const own = books(1000);
    own.do(lot(300));
    const part = voidOf(1, 100);
    expect(own.do(voidOf(1, 301))).toMatchObject(refused('LOT_AMOUNT_EXCEEDED', { remaining: 300, required: 301 }));
    expect(own.do(part).kind).toBe('voided');
    expect(own.do(part)).toMatchObject({ kind: 'repeated', entry: { amountMinor: 100 } });
    expect(own.do({ ...part, amountMinor: 50 })).toMatchObject(refused('IDEMPOTENCY_KEY_REUSED'));
    expect(own.do(voidOf(1))).toMatchObject({ kind: 'voided', lot: { state: 'voided', voided: 300 } });
    expect(own.do(voidOf(1))).toMatchObject(refused('LOT_NOT_OPEN', { state: 'voided' }));
    expect(own.do(voidOf(2))).toMatchObject(refused('LOT_NOT_FOUND'));
    expect(own.alerts.map(({ kind }) => kind)).toEqual(['credit_voided', 'credit_voided']);
  });

  it('are told of once for each notice, the last of those that were missed, and not where little is left', () => {
    const own = books();
    own.do(lot(300, { end: { days: 90 } }));
    own.do(lot(99, { end: { days: 90 } }));
    expect(own.own.dueAt).toEqual(daysLater(60));
    own.do(sweep, daysLater(60));
    expect(own.own.dueAt).toEqual(daysLater(83));
    own.do(sweep, daysLater(89));
    own.do(sweep, daysLater(89.5));
    expect(own.alerts.map(({ details }) => details)).toMatchObject([
      { noticeDays: 30, lots: [{ lotId: 'lot_cus_a_USD_1', kind: 'promo', remaining: 300 }] },
      { noticeDays: 1, lots: [{ lotId: 'lot_cus_a_USD_1' }] },
    ]);
    expect(own.own.dueAt).toEqual(daysLater(90));
  });

  it.each([
    ['lot_cus_a_USD_1', { currency: 'USD', lotNo: 1 }],
    ['lot_cus_b_USD_1', null],
    ['hold_cus_a_USD_1', null],
    ['lot_cus_a_USD_0', null],
  ])('have an id that tells which they are: %s', (id, expected) => {
    expect(parseLotId(id, 'cus_a')).toEqual(expected);
  });

  it('need all open ones of their wallet', () => {
    const without = postInput([wallet({ balance: 10, inLots: 5, openLots: 1, lotSeq: 1 })], { lotRule: LOT_RULE });
    expect(() => post([debit(1)], without)).toThrow('a wallet came without its open lots');
    expect(without.wallets.has(walletKeyText(KEY))).toBe(true);
  });
});
