import { describe, expect, it } from 'vitest';
import { type Entry, idempotencyText, type LotTerms, type Wallet, walletKeyText } from '../../../src/ledger/entry.ts';
import { type Hold, holdId } from '../../../src/ledger/holds/hold.ts';
import { type Lot, type LotChange, lotId } from '../../../src/ledger/lots/lot.ts';
import { type CommandResult, type LedgerCommand, type PostedBatch, post } from '../../../src/ledger/post.ts';
import type { ChangeStatus, InFlight, StatusChange } from '../../../src/ledger/status/status.ts';
import { opening } from '../../support/checkouts.ts';
import { MERCHANT, posting } from '../../support/ledger.ts';
import { NOW, postInput, wallet } from '../../support/wallets.ts';

const DAY = 86_400_000;
const KEY = { merchantId: MERCHANT, customerId: 'cus_a', currency: 'USD' };
const days = (count: number) => new Date(NOW.getTime() + count * DAY);

/** One wallet with all that was ever written of it, given to every batch whole. */
class OneWallet {
  wallet: Wallet;
  now = NOW;
  readonly entries: Entry[] = [];
  readonly holds = new Map<string, Hold>();
  readonly lots = new Map<string, Lot>();
  readonly lotChanges: LotChange[] = [];
  readonly statuses: StatusChange[] = [];
  last: PostedBatch<CommandResult> | null = null;

  constructor(overrides: Partial<Wallet> = {}) {
    this.wallet = wallet({ updatedAt: NOW, ...overrides });
  }

  do(command: LedgerCommand, now = this.now): CommandResult {
    this.now = now;
    const last = this.statuses.at(-1);
    const result = post([command], {
      ...postInput([this.wallet]),
      known: new Map(this.entries.map((entry) => [idempotencyText(entry), entry])),
      holds: [...this.holds.values()],
      lots: [...this.lots.values()],
      statuses: new Map(last === undefined ? [] : [[walletKeyText(KEY), last]]),
      now,
    });
    this.wallet = result.wallets[0] ?? this.wallet;
    this.entries.push(...result.entries);
    for (const one of [...(result.holds?.open ?? []), ...(result.holds?.closed ?? [])])
      this.holds.set(holdId(one), one);
    for (const one of [...(result.lots?.open ?? []), ...(result.lots?.closed ?? [])]) this.lots.set(lotId(one), one);
    this.lotChanges.push(...(result.lots?.changes ?? []));
    this.statuses.push(...result.statuses);
    this.last = result;
    const [outcome] = result.outcomes;
    if (outcome === undefined) throw new Error('a command without an outcome');
    return outcome;
  }

  credit = (amountMinor: number, now?: Date) => this.do(posting({ amountMinor }), now);
  debit = (amountMinor: number, now?: Date) => this.do(posting({ amountMinor, isCredit: false }), now);
  sweep = (now: Date) => this.do({ op: 'sweep', ...KEY }, now);
  set = (status: ChangeStatus['status'], now?: Date, pauseExpiry: boolean | null = null) =>
    this.do({ op: 'change_status', ...KEY, status, pauseExpiry, reason: 'why', actor: 'key:one' }, now);
  hold = (amountMinor: number, key = `k${this.wallet.holdSeq}`) =>
    this.do({
      ...{ op: 'place', ...KEY, amountMinor, partial: false, expiresInSeconds: 900, reason: null },
      ...{ referenceObjectId: null, metadata: null, idempotencyKey: key },
    });
  capture = (amountMinor: number | null, more: Partial<Extract<LedgerCommand, { op: 'capture' }>> = {}) =>
    this.do({
      ...{ op: 'capture', ...KEY, holdNo: 1, amountMinor, isFinal: true, beyond: 'refuse', late: 'refuse' },
      ...{ reason: null, metadata: null, idempotencyKey: null, ...more },
    });
  lot = (amountMinor: number, end: LotTerms['end'], now?: Date) =>
    this.do(posting({ amountMinor, terms: { kind: 'promo', name: null, priority: 50, end } }), now);
  /** The only lot, or that of this number. */
  end = (lotNo = 1) => this.lots.get(`lot_cus_a_USD_${lotNo}`)?.expiresAt;
}

const refusal = (code: string, more: object = {}) => ({ kind: 'refused', refusal: { code, ...more } });

describe('a frozen wallet', () => {
  it('example: balance 500, frozen: debit 1 is refused, a top-up of 1000 posted, a hold placed before captured; unfrozen, debits go on; closing at 1 names what is left', () => {
    const one = new OneWallet();
    one.credit(500);
    one.hold(200);
    expect(one.set('frozen')).toMatchObject({ kind: 'status_set', wallet: { status: 'frozen' } });
    expect(one.debit(1)).toMatchObject(refusal('WALLET_FROZEN', { currency: 'USD' }));
    expect(one.do(posting({ amountMinor: 1000, eventType: 'payment' }))).toMatchObject({ wallet: { balance: 1500 } });
    expect(one.capture(200)).toMatchObject({ kind: 'captured', wallet: { balance: 1300, status: 'frozen' } });
    one.set('active');
    expect(one.debit(1299)).toMatchObject({ kind: 'created', wallet: { balance: 1 } });
    expect(one.set('closed')).toMatchObject(refusal('WALLET_NOT_EMPTY', { left: 1, openHolds: 0 }));
  });

  it('places no hold, raises none, and takes nothing beyond one; it lowers, releases and prolongs them', () => {
    const one = new OneWallet();
    one.credit(500);
    one.hold(200);
    one.set('frozen');
    expect(one.hold(1)).toMatchObject(refusal('WALLET_FROZEN'));
    const change = (amountMinor: number | null, expiresInSeconds: number | null) =>
      one.do({ op: 'change', ...KEY, holdNo: 1, amountMinor, expiresInSeconds });
    expect(change(201, null)).toMatchObject(refusal('WALLET_FROZEN'));
    expect(change(150, null)).toMatchObject({ kind: 'changed', wallet: { held: 150 } });
    expect(change(null, 1800)).toMatchObject({ kind: 'changed' });
    expect(one.capture(151)).toMatchObject(refusal('HOLD_AMOUNT_EXCEEDED'));
    expect(one.capture(151, { beyond: 'take' })).toMatchObject(refusal('WALLET_FROZEN'));
    expect(one.capture(160, { beyond: 'up_to_balance' })).toMatchObject({ uncaptured: 10, wallet: { balance: 350 } });
  });

  it('refuses what comes late for a hold that ended, and ends holds as always', () => {
    const one = new OneWallet();
    one.credit(500);
    one.hold(200);
    one.set('frozen', NOW, true);
    one.sweep(days(1));
    expect([...one.holds.values()][0]?.state).toBe('expired');
    const late = { late: 'debit' as const, idempotencyKey: 'late' };
    expect(one.capture(200, late)).toMatchObject(refusal('WALLET_FROZEN'));
    one.set('active');
    expect(one.capture(200, late)).toMatchObject({ kind: 'captured', wallet: { balance: 300 } });
  });

  it('answers a repeat of an old key with what it wrote, and takes credit by the API', () => {
    const one = new OneWallet();
    one.credit(500);
    const debit = posting({ amountMinor: 100, isCredit: false, idempotencyKey: 'old' });
    one.do(debit);
    one.hold(50, 'held');
    one.set('frozen');
    expect(one.do(debit)).toMatchObject({ kind: 'repeated', entry: { amountMinor: 100 } });
    expect(one.hold(50, 'held')).toMatchObject({ kind: 'held_before' });
    expect(one.credit(1)).toMatchObject({ kind: 'created', wallet: { balance: 401, status: 'frozen' } });
  });

  it('refuses by its status before the number of its holds or lots, and before the amount', () => {
    const many = new OneWallet({ balance: 5, version: 1, openHolds: 1000, held: 1000, holdSeq: 1000 });
    many.set('frozen');
    expect(many.hold(10)).toMatchObject(refusal('WALLET_FROZEN'));
    expect(many.debit(10)).toMatchObject(refusal('WALLET_FROZEN'));
    const closed = new OneWallet({ status: 'closed' });
    expect(closed.lot(1, { at: days(-1) })).toMatchObject(refusal('WALLET_CLOSED'));
  });

  it('is frozen once, however often that is asked, and its pause is switched by itself', () => {
    const one = new OneWallet();
    one.set('frozen');
    expect(one.set('frozen', days(1))).toMatchObject({ kind: 'status_set', last: { changeNo: 1 } });
    expect(one.last?.wallets).toEqual([]);
    one.set('frozen', days(1), true);
    expect(one.set('frozen', days(2))).toMatchObject({ last: { changeNo: 2, pauseExpiry: true } });
    one.set('frozen', days(2), false);
    expect(one.statuses.map(({ oldStatus, newStatus, pauseExpiry }) => [oldStatus, newStatus, pauseExpiry])).toEqual([
      ['active', 'frozen', false],
      ['frozen', 'frozen', true],
      ['frozen', 'frozen', false],
    ]);
  });

  it('lets lots be voided and changed', () => {
    const one = new OneWallet();
    one.lot(300, { days: 9 });
    one.set('frozen');
    const change = { end: { at: days(20) }, priority: null, reason: 'why', actor: 'key:one' };
    expect(one.do({ op: 'change_lot', ...KEY, lotNo: 1, ...change })).toMatchObject({ kind: 'lot_changed' });
    const rest = { amountMinor: null, reason: 'given by mistake', idempotencyKey: 'void' };
    expect(one.do({ op: 'void_lot', ...KEY, lotNo: 1, ...rest })).toMatchObject({ wallet: { balance: 0 } });
    expect(one.set('closed')).toMatchObject({ wallet: { status: 'closed' } });
  });

  it('keeps the holds of disputes, which keep it from being closed', () => {
    const one = new OneWallet();
    one.do(posting({ amountMinor: 500, eventType: 'payment' }));
    one.set('frozen');
    const dispute = { disputeId: 'd', idempotencyKey: 'src:hold_dispute:p:d', before: 0, wanted: 500 };
    const command = { op: 'hold_disputes' as const, ...KEY, paymentId: 'p', reason: 'why', returned: 0 };
    expect(one.do({ ...command, disputes: [dispute] })).toMatchObject({ holdNos: [1], wallet: { held: 500 } });
    one.do(posting({ amountMinor: 500, isCredit: false, eventType: 'payment_reversal' }));
    expect(one.set('closed')).toMatchObject(refusal('WALLET_NOT_EMPTY', { left: 0, held: 500, openHolds: 1 }));
    one.do({ ...command, disputes: [{ ...dispute, before: 500, wanted: 0 }] });
    expect(one.set('closed')).toMatchObject({ wallet: { status: 'closed' } });
  });
});

describe('a closed wallet', () => {
  it('takes nothing by the API, neither debit nor credit nor hold, and has to be without debt', () => {
    const one = new OneWallet();
    one.do(posting({ amountMinor: 5, isCredit: false, eventType: 'dispute' }));
    expect(one.set('closed')).toMatchObject(refusal('WALLET_NOT_EMPTY', { left: -5 }));
    one.credit(5);
    one.set('closed');
    for (const outcome of [one.credit(1), one.debit(1), one.hold(1)]) {
      expect(outcome).toMatchObject(refusal('WALLET_CLOSED', { currency: 'USD' }));
    }
  });

  it.each([
    ['payment', true],
    ['refund', true],
    ['dispute_reversal', true],
    ['payment_reversal', false],
    ['refund_reversal', false],
    ['dispute', false],
  ] as const)('is there again, frozen, after a %s, and that is told before the entry', (eventType, isCredit) => {
    const one = new OneWallet();
    one.set('closed');
    const result = one.do(posting({ amountMinor: 700, isCredit, eventType }));
    expect(result).toMatchObject({ kind: 'created', wallet: { status: 'frozen', balance: isCredit ? 700 : -700 } });
    expect(one.statuses.at(-1)).toMatchObject({
      oldStatus: 'closed',
      newStatus: 'frozen',
      actor: 'service',
      changeNo: 2,
    });
    expect(one.last?.alerts[0]).toMatchObject({
      ...{ kind: 'status_changed', alertSeq: 2, version: 0 },
      details: { status: 'frozen', previousStatus: 'closed', pauseExpiry: false, actor: 'service' },
    });
  });

  it('stays closed where a payment is repeated or refused', () => {
    const one = new OneWallet();
    const payment = posting({ amountMinor: 700, eventType: 'payment', idempotencyKey: 'p' });
    one.do(payment);
    one.debit(700);
    one.set('closed');
    expect(one.do(payment)).toMatchObject({ kind: 'repeated' });
    expect(one.do({ ...payment, idempotencyKey: 'q', currency: 'EUR' })).toMatchObject(refusal('UNSUPPORTED_CURRENCY'));
    expect([one.wallet.status, one.statuses.length]).toEqual(['closed', 1]);
  });

  it('is not closed while a checkout is open that it pays nothing of, or a top-up is under way', () => {
    const empty = wallet({ updatedAt: NOW });
    const close = {
      ...{ op: 'change_status' as const, ...KEY, status: 'closed' as const, pauseExpiry: null },
      ...{ reason: 'why', actor: 'key:one' },
    };
    const closeWith = (own: InFlight) =>
      post([close], { ...postInput([empty]), now: NOW, inFlight: new Map([[walletKeyText(KEY), own]]) }).outcomes[0];
    expect(closeWith({ checkouts: 1, topUps: 0 })).toMatchObject(
      refusal('WALLET_NOT_EMPTY', { left: 0, checkouts: 1 }),
    );
    expect(closeWith({ checkouts: 0, topUps: 1 })).toMatchObject(refusal('WALLET_NOT_EMPTY', { left: 0, topUps: 1 }));
    expect(closeWith({ checkouts: 0, topUps: 0 })).toMatchObject({ wallet: { status: 'closed' } });
  });

  it('is not closed by what stands in one batch behind the opening of a checkout that it pays nothing of', () => {
    const close = {
      ...{ op: 'change_status' as const, ...KEY, status: 'closed' as const, pauseExpiry: null },
      ...{ reason: 'why', actor: 'key:one' },
    };
    const { outcomes } = post([opening(KEY.customerId, 5000), close], {
      ...postInput([wallet({ updatedAt: NOW })]),
      now: NOW,
    });
    expect(outcomes).toMatchObject([
      { kind: 'checkout_opened', checkout: { state: 'open', walletPart: 0 } },
      refusal('WALLET_NOT_EMPTY', { left: 0, openHolds: 0, checkouts: 1 }),
    ]);
  });

  it('that has a top-up rule is put on the list of those that are looked at, which ends the rule', () => {
    const fallen = (topUpBelow: number | null, status: 'closed' | 'frozen') => {
      const command = {
        op: 'change_status' as const,
        ...KEY,
        status,
        pauseExpiry: null,
        reason: 'why',
        actor: 'key:one',
      };
      const ruled = wallet({ updatedAt: NOW, topUpBelow });
      return post([command], { ...postInput([ruled]), now: NOW }).holds?.fallen.length;
    };
    expect([fallen(500, 'closed'), fallen(null, 'closed'), fallen(500, 'frozen')]).toEqual([1, 0, 0]);
  });

  it('may be made active again', () => {
    const one = new OneWallet();
    one.set('closed');
    expect(one.set('active')).toMatchObject({ wallet: { status: 'active' } });
    expect(one.credit(1)).toMatchObject({ kind: 'created' });
  });
});

describe('the status of a wallet', () => {
  it('is refused for what does not exist', () => {
    const one = new OneWallet();
    const asked = {
      op: 'change_status' as const,
      status: 'frozen' as const,
      pauseExpiry: null,
      reason: 'w',
      actor: 'a',
    };
    expect(one.do({ ...asked, ...KEY, currency: 'EUR' })).toMatchObject(refusal('UNSUPPORTED_CURRENCY'));
    expect(one.do({ ...asked, ...KEY, customerId: 'cus_b' })).toMatchObject(refusal('CUSTOMER_NOT_FOUND'));
  });

  it('is news of its own, numbered among the others', () => {
    const one = new OneWallet();
    one.set('frozen', NOW, true);
    expect(one.last?.alerts).toMatchObject([
      {
        kind: 'status_changed',
        alertSeq: 1,
        details: { status: 'frozen', previousStatus: 'active', pauseExpiry: true },
      },
    ]);
    expect(one.last?.holds?.quiet.size).toBe(0);
  });
});

describe('credit of a paused wallet', () => {
  it('does not come to its end, and ends later by as long as it was paused', () => {
    const one = new OneWallet();
    one.lot(300, { days: 10 });
    one.set('frozen', days(4), true);
    one.sweep(days(50));
    expect([one.wallet.balance, one.wallet.dueAt]).toEqual([300, null]);
    one.set('active', days(60));
    expect(one.end()).toEqual(days(66));
    expect(one.lotChanges).toMatchObject([
      { lotNo: 1, changeNo: 1, actor: 'key:one', reason: null, oldExpiresAt: days(10), newExpiresAt: days(66) },
    ]);
    one.sweep(new Date(days(66).getTime() - 1));
    expect(one.wallet.balance).toBe(300);
    one.sweep(days(66));
    expect(one.entries.at(-1)).toMatchObject({ eventType: 'credit_expired', amountMinor: 300, createdAt: days(66) });
  });

  it('that was given meanwhile ends later by as long as it was there', () => {
    const one = new OneWallet();
    one.set('frozen', NOW, true);
    one.lot(300, { days: 10 }, days(20));
    expect(one.wallet.dueAt).toBeNull();
    one.set('active', days(50));
    expect(one.end()).toEqual(days(60));
  });

  it('frozen twice keeps its time twice, and without a pause it ends as always', () => {
    const one = new OneWallet();
    one.lot(300, { days: 10 });
    one.set('frozen', days(1), true);
    one.set('active', days(3));
    one.set('frozen', days(5), true);
    one.set('active', days(10));
    expect(one.end()).toEqual(days(17));
    one.set('frozen', days(11));
    one.sweep(days(17));
    expect(one.wallet.balance).toBe(0);
  });

  it('that was over before, and kept by a hold, goes when the pause ends, and its end does not move', () => {
    const one = new OneWallet();
    one.lot(300, { at: new Date(NOW.getTime() + 60_000) });
    one.hold(300);
    one.set('frozen', new Date(NOW.getTime() + 120_000), true);
    one.sweep(days(1));
    expect([one.wallet.balance, one.wallet.held]).toEqual([300, 0]);
    one.set('active', days(2));
    expect([one.wallet.balance, one.end()]).toEqual([0, new Date(NOW.getTime() + 60_000)]);
    expect(one.entries.at(-1)?.eventType).toBe('credit_expired');
  });

  it('is not told of while it is paused, and as its new end wants afterwards', () => {
    const told = () =>
      one.last?.alerts.flatMap(({ details }) =>
        details !== null && 'noticeDays' in details ? [details.noticeDays] : [],
      );
    const one = new OneWallet();
    one.lot(300, { days: 10 });
    one.sweep(days(8));
    expect(told()).toEqual([2]);
    one.set('frozen', days(8.5), true);
    one.sweep(days(9.5));
    expect(told()).toEqual([]);
    one.set('active', days(20));
    expect([told(), one.wallet.dueAt]).toEqual([[], days(20.5)]);
    one.sweep(days(20.5));
    expect(told()).toEqual([1]);
  });

  it('that is taken and given back in a pause, or after it, has as much time as was left', () => {
    for (const back of [5, 40]) {
      const one = new OneWallet();
      one.lot(300, { days: 10 });
      one.set('frozen', days(4), true);
      const keyed = { amountMinor: 300, currency: 'USD' };
      one.do(posting({ ...keyed, isCredit: false, eventType: 'dispute', idempotencyKey: 'lost' }), days(5));
      expect(one.end()).toEqual(days(11));
      if (back > 30) one.set('active', days(30));
      const movements = [{ ...KEY, seq: 2, lotNo: 1, amountMinor: -300 }];
      const known = new Map(one.entries.map((entry) => [idempotencyText(entry), entry]));
      const last = one.statuses.at(-1);
      const result = post(
        [posting({ ...keyed, eventType: 'dispute_reversal', idempotencyKey: 'won', restores: ['lost'] })],
        postInput([one.wallet], {
          ...{ known, movements, lots: [...one.lots.values()], now: days(back) },
          statuses: new Map(last === undefined ? [] : [[walletKeyText(KEY), last]]),
        }),
      );
      expect(result.lots?.open).toMatchObject([{ lotNo: 2, expiresAt: days(Math.max(back + 6, 11)) }]);
    }
  });

  it('is spent by captures as always, and what ends in it says when', () => {
    const one = new OneWallet();
    one.lot(300, { days: 10 });
    one.hold(300);
    one.set('frozen', days(0), true);
    expect(one.capture(300)).toMatchObject({ kind: 'captured', wallet: { balance: 0, openLots: 0 } });
  });
});
