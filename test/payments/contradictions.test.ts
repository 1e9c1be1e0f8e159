import { describe, expect, it } from 'vitest';
import type { DisputeFact, Fact, MovementFact, RefundFact } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import type { PartState, Report } from '../../src/payments/report.ts';
import { assemble } from '../../src/payments/tables.ts';
import { said, tell } from '../support/deciding.ts';
import { disputeFact, movementFact, paymentFact, refundFact } from '../support/payments.ts';

const at = (day: number): Date => new Date(Date.UTC(2026, 0, day));

const paid = paymentFact({ amountMinor: 10_000 });
const failed = (day: number | null) =>
  paymentFact({ state: 'failed', amountMinor: null, currency: null, occurredAt: day === null ? null : at(day) });
const refund = (refundId: string, amountMinor: number | null, more: Partial<RefundFact> = {}): RefundFact =>
  refundFact({ refundId, amountMinor, ...more });
const dispute = (disputeId: string, amountMinor: number | null, more: Partial<DisputeFact> = {}): DisputeFact =>
  disputeFact({ disputeId, amountMinor, ...more });
const reversal = (id: string, amountMinor: number, more: Partial<DisputeFact> = {}): DisputeFact =>
  dispute(id, amountMinor, { role: 'movement', ...more });
const resolved = (id: string, amountMinor: number | null, more: Partial<DisputeFact> = {}): DisputeFact =>
  dispute(id, amountMinor, { role: 'informs', ...more });
const reinstated = (amountMinor: number): MovementFact =>
  movementFact({ movement: 'reinstatement', movementId: 'r', amountMinor });

const reportOf = (state: PartState): Report => ({
  state,
  at: 5,
  stage: 0,
  amountMinor: 400,
  reason: null,
  mark: null,
});

describe('a failure told by the time of the provider', () => {
  it.each<[string, Fact[], string]>([
    ['after the success', [{ ...paid, occurredAt: at(2) }, failed(3)], 'parked contradictory'],
    ['before the success', [{ ...paid, occurredAt: at(2) }, failed(1)], 'applied'],
    ['at the same time', [{ ...paid, occurredAt: at(2) }, failed(2)], 'applied'],
    ['not at all', [{ ...paid, occurredAt: at(2) }, failed(null)], 'applied'],
    [
      'after the earlier of two words on the success',
      [{ ...paid, occurredAt: at(4) }, { ...paid, occurredAt: at(2) }, failed(3)],
      'parked contradictory',
    ],
    ['after a success without a time', [paid, failed(3)], 'applied'],
    ['after a refund', [paid, refund('a', 400, { occurredAt: at(2) }), failed(3)], 'parked contradictory'],
    ['before a refund', [paid, refund('a', 400, { occurredAt: at(4) }), failed(3)], 'applied'],
    ['after a refund without a time', [paid, refund('a', 400), failed(3)], 'applied'],
    [
      'after a refund that is under way',
      [paid, refund('a', 400, { state: 'pending', occurredAt: at(2) }), failed(3)],
      'applied',
    ],
    ['after a lost dispute', [paid, dispute('d', 400, { occurredAt: at(2) }), failed(3)], 'parked contradictory'],
  ])('%s', (_, facts, outcome) => {
    expect(said(tell(facts))).toBe(outcome);
  });
});

describe('what succeeds after it failed', () => {
  const again = (day: number | null, reason?: string | null) => ({
    occurredAt: day === null ? null : at(day),
    ...(reason === undefined ? {} : { reason }),
  });
  const first = refund('a', 400, again(1, null));
  const failure = refund('a', 400, { state: 'failed', ...again(2, null) });

  it.each<[string, Fact[], string]>([
    ['without a reason', [first, failure, refund('a', 400, again(3, null))], 'parked contradictory'],
    ['with a reason', [first, failure, refund('a', 400, again(3, 'Retried'))], 'applied -400 payment_reversal'],
    [
      'with the reason of its first success',
      [refund('a', 400, again(1, 'Asked')), failure, refund('a', 400, again(3, 'Asked'))],
      'parked contradictory',
    ],
    ['by older news', [first, failure, refund('a', 400, again(2, null))], 'applied'],
    ['with a reason at the moment it failed', [first, failure, refund('a', 400, again(2, 'Retried'))], 'applied'],
    ['by news without a time', [first, failure, refund('a', 400, again(null, 'Retried'))], 'applied'],
    ['at a provider that lets nothing succeed again', [first, failure, refund('a', 400, again(3))], 'applied'],
    [
      'where nobody says when it failed',
      [first, { ...failure, occurredAt: null }, refund('a', 400, again(3, 'Retried'))],
      'parked contradictory',
    ],
    ['having never failed', [first, refund('a', 400, again(3, null))], 'applied'],
    ['as the first that is heard of it', [first], 'applied -400 payment_reversal'],
  ])('%s, a refund', (_, facts, outcome) => {
    expect(said(tell([paid, ...facts]))).toBe(outcome);
  });

  it.each<[string, string | null, string]>([
    ['without a reason', null, 'parked contradictory'],
    ['with a reason', 'Transaction Recaptured', 'applied +3000 payment'],
  ])('%s, a capture', (_, reason, outcome) => {
    const capture = movementFact({ amountMinor: 3000, ...again(1, null) });
    const facts = [paid, capture, { ...capture, state: 'failed' as const, ...again(2, null) }];
    expect(said(tell([...facts, { ...capture, ...again(3, reason) }]))).toBe(outcome);
  });
});

describe('another currency', () => {
  const order = paymentFact({ metadata: { wallet_purpose: 'none' } });
  it.each<[string, Fact[], string]>([
    ['of a payment that succeeded', [order, { ...order, currency: 'EUR' }], 'parked currency_changed'],
    ['of one that has entries and failed', [paid, { ...failed(null), currency: 'EUR' }], 'parked currency_changed'],
    ['of one that was under way', [paymentFact({ state: 'pending', currency: 'EUR' }), paid], 'applied +10000 payment'],
    [
      'of a refund with entries',
      [paid, refund('a', 400), refund('a', 400, { currency: 'EUR' })],
      'parked currency_changed',
    ],
    [
      'of a refund that named none when it was posted',
      [paid, refund('a', 400, { currency: null }), refund('a', 400, { currency: 'EUR' })],
      'parked currency_changed',
    ],
    [
      'of a refund without entries',
      [paid, refund('a', 400, { state: 'pending' }), refund('a', 400, { currency: 'EUR' })],
      'parked currency_mismatch',
    ],
    [
      'of a refund beside another one',
      [paid, refund('a', 400, { state: 'pending' }), refund('b', 400, { currency: 'EUR' })],
      'parked currency_mismatch',
    ],
    ['of a reinstatement', [paid, { ...reinstated(400), currency: 'EUR' }], 'parked currency_mismatch'],
    ['is not named by a repeat without one', [paid, refund('a', 400), refund('a', 400, { currency: null })], 'applied'],
  ])('%s', (_, facts, outcome) => {
    expect(said(tell(facts))).toBe(outcome);
  });
});

describe('a dispute that was opened in another currency than its payment, before that came', () => {
  const opened = dispute('d', 5, { state: 'open', currency: 'EUR', isCap: true });
  const lost = dispute('d', 400);
  const wonBefore = dispute('d', 5, { state: 'won', currency: 'EUR' });

  it.each<[string, Fact[], string]>([
    ['takes what it lost', [opened, paid, lost], 'applied -400 dispute'],
    ['takes all if nobody says how much', [opened, paid, dispute('d', null)], 'applied -10000 dispute'],
    ['takes nothing as long as it is open', [opened, paid], 'applied +10000 payment'],
    ['told once its entries stand', [paid, lost, opened], 'parked currency_changed'],
    ['told once its payment is known', [paid, opened], 'parked currency_mismatch'],
    ['was won', [wonBefore, paid, lost], 'applied'],
    [
      'loses in a currency that nobody tells',
      [opened, paid, dispute('d', 400, { currency: null })],
      'parked currency_mismatch',
    ],
    ['was told in two others before', [opened, { ...opened, currency: 'INR' }, paid, lost], 'applied -400 dispute'],
  ])('%s', (_, facts, outcome) => {
    expect(said(tell(facts))).toBe(outcome);
  });
});

describe('a running total of refunds', () => {
  const total = (amountMinor: number, day: number | null, role: 'total' | 'informs' = 'total') =>
    refund('sum', amountMinor, { role, occurredAt: day === null ? null : at(day) });

  it.each<[string, Fact[], number]>([
    ['counts by the largest, though a smaller one is told later', [total(700, 1), total(400, 2)], 9300],
    ['counts by the largest, though that was decided first', [total(400, 3), total(700, 1), total(900, 2)], 9100],
    ['counts by the largest, though nobody says when', [total(400, 2), total(700, null)], 9300],
    ['is the sum of the refunds that are told beside it', [refund('a', 300), total(700, 1, 'informs')], 9300],
    [
      'is less than those once a single one is told before it',
      [total(300, 1, 'informs'), refund('a', 300), refund('b', 400)],
      9300,
    ],
  ])('%s', (_, facts, left) => {
    for (const order of [facts, facts.toReversed()]) {
      const { postedCredit, parts } = tell([paid, ...order, ...order]).payment;
      expect(parts.reduce((sum, part) => sum + part.postedCredit - part.postedTake, postedCredit)).toBe(left);
    }
  });
});

describe('what two families of events tell', () => {
  /** What the wallet has left of a top-up. */
  const left = ({ postedCredit, parts }: Payment): number =>
    parts.reduce((sum, part) => sum + part.postedCredit - part.postedTake, postedCredit);

  it.each<[string, Fact[], number]>([
    [
      'a refund before the dispute was opened, and the dispute',
      [refund('a', 3000, { occurredAt: at(1) }), resolved('d', 7000, { openedAt: at(5), occurredAt: at(9) })],
      0,
    ],
    [
      'a refund while the dispute was open, and the dispute',
      [refund('a', 3000, { occurredAt: at(6) }), resolved('d', 7000, { openedAt: at(5), occurredAt: at(9) })],
      3000,
    ],
    [
      'a refund at the moment of its opening',
      [refund('a', 3000, { occurredAt: at(5) }), resolved('d', 3000, { openedAt: at(5), occurredAt: at(9) })],
      7000,
    ],
    [
      'a refund within a day of its end',
      [refund('a', 3000, { occurredAt: at(10) }), resolved('d', 3000, { openedAt: at(5), occurredAt: at(9) })],
      7000,
    ],
    [
      'a refund later than that',
      [refund('a', 3000, { occurredAt: at(11) }), resolved('d', 3000, { openedAt: at(5), occurredAt: at(9) })],
      4000,
    ],
    [
      'a refund from its opening, where its end is not told',
      [refund('a', 3000, { occurredAt: at(20) }), resolved('d', 3000, { openedAt: at(5) })],
      7000,
    ],
    [
      'a refund within a day of its end that is told again later, when times have a digit more',
      [
        refund('a', 3000, { occurredAt: new Date(1e12 - 1) }),
        refund('a', 3000, { occurredAt: new Date(1e12 + 9 * 86_400_000) }),
        resolved('d', 3000, { openedAt: new Date(1e12 - 9), occurredAt: new Date(1e12 - 5) }),
      ],
      7000,
    ],
    ['a refund, where the opening is not told', [refund('a', 3000), resolved('d', 3000)], 7000],
    ['a reversal and the lost dispute', [reversal('v', 6000), resolved('d', 6000)], 4000],
    [
      'a reversal and the dispute that was won in the end',
      [
        reversal('v', 6000),
        resolved('d', 6000, { occurredAt: at(1) }),
        resolved('d', 6000, { state: 'won', occurredAt: at(2) }),
      ],
      10_000,
    ],
    [
      'a dispute won at a time that is not told, told again with an early one, and lost between',
      [
        dispute('d', 4000, { state: 'won' }),
        dispute('d', 4000, { state: 'won', occurredAt: at(1) }),
        dispute('d', 4000, { occurredAt: at(5) }),
      ],
      10_000,
    ],
    ['a dispute that was won, and a refund', [refund('a', 3000), resolved('d', 3000, { state: 'won' })], 7000],
    ['two lost disputes and one reversal', [resolved('d', 3000), resolved('f', 3000), reversal('v', 3000)], 4000],
    [
      'two disputes of different age and one reversal',
      [resolved('f', 5000, { occurredAt: at(2) }), resolved('d', 3000, { occurredAt: at(1) }), reversal('v', 3000)],
      2000,
    ],
    [
      'two lost disputes, a reversal that is more than the older one, and a refund during the newer one',
      [
        refund('a', 2000, { occurredAt: at(12) }),
        resolved('f', 3000, { openedAt: at(11), occurredAt: at(14) }),
        resolved('d', 3000, { openedAt: at(1), occurredAt: at(4) }),
        reversal('v', 4000),
      ],
      4000,
    ],
    ['an informing dispute that is open', [reversal('v', 3000), resolved('d', 3000, { state: 'open' })], 7000],
    ['an informing dispute of all that was paid', [resolved('d', null)], 0],
    ['a total and a refund of its own', [refund('a', 3000), refund('t', 5000, { role: 'informs' })], 5000],
    ['a total that is less than its refunds', [refund('a', 3000), refund('t', 2000, { role: 'informs' })], 7000],
    [
      'a total that tells of a refund which failed',
      [refund('a', 3000, { state: 'failed' }), refund('t', 3000, { role: 'informs' })],
      10_000,
    ],
    ['totals that grow', [refund('t', 5000, { role: 'total' }), refund('t', 3000, { role: 'total' })], 5000],
    ['a total of all that was paid', [refund('t', null, { role: 'total' })], 0],
    [
      'a total of all, and then an amount',
      [refund('t', null, { role: 'total' }), refund('t', 3000, { role: 'total' })],
      7000,
    ],
    [
      'a dispute of fees on top of its cap',
      [dispute('d', 4000, { isCap: true }), dispute('d', 4500, { stage: 4 })],
      6000,
    ],
    ['a dispute of all under its cap', [dispute('d', 4000, { isCap: true, state: 'open' }), dispute('d', null)], 6000],
    ['a chargeback that is reinstated', [reversal('v', 4000), reinstated(4000)], 10_000],
    ['a chargeback reinstated in part', [reversal('v', 4000), reinstated(1000)], 7000],
    [
      'a chargeback whose reversal is told twice',
      [reversal('v', 4000), reversal('w', 4000), reversal('v', 4000, { state: 'won' }), reinstated(4000)],
      6000,
    ],
    [
      'more reinstated than was charged back, and a refund',
      [refund('a', 1000), reversal('v', 2000), reinstated(5000)],
      9000,
    ],
  ])('%s', (_, facts, outcome) => {
    expect(left(tell([paid, ...facts]).payment)).toBe(outcome);
  });

  it('gives nothing back for a dispute in another currency than its payment', () => {
    const won = resolved('d', 6000, { state: 'won', currency: 'EUR' });
    expect(left(tell([won, paid, reversal('v', 6000)]).payment)).toBe(4000);
  });

  it.each<[string, Fact[], number]>([
    ['the release of what was not captured', [refund('a', 4000, { mayBeRelease: true })], 6000],
    ['a refund of more than that', [refund('a', 5000, { mayBeRelease: true })], 5000],
    [
      'two refunds that are more together',
      [refund('a', 3000, { mayBeRelease: true }), refund('b', 3000, { mayBeRelease: true })],
      4000,
    ],
    ['a refund that is told as one', [refund('a', 4000)], 2000],
    ['a chargeback', [dispute('d', 4000)], 2000],
  ])('of a payment captured in part leaves %s', (_, facts, outcome) => {
    const inPart = paymentFact({ amountMinor: 6000, uncapturedMinor: 4000 });
    expect(left(tell([inPart, ...facts]).payment)).toBe(outcome);
  });

  it('counts no release where the refund itself says what was not captured', () => {
    const release = refund('a', 4000, { mayBeRelease: true, uncapturedMinor: 4000 });
    expect(left(tell([paymentFact({ amountMinor: 6000 }), release]).payment)).toBe(6000);
    expect(left(tell([paymentFact({ amountMinor: 6000 }), { ...release, uncapturedMinor: 0 }]).payment)).toBe(2000);
  });
});

describe('what the release before stored', () => {
  const former = dispute('chargeback', 2000, { occurredAt: at(2) });

  it.each<[string, Fact, string]>([
    ['is what a movement alike tells', reversal('adj_1', 2000, { occurredAt: at(1) }), 'applied'],
    ['is what a movement without a time tells', reversal('adj_1', 2000), 'applied'],
    ['is no later movement', reversal('adj_1', 2000, { occurredAt: at(3) }), 'applied -2000 dispute'],
    ['is no movement of another amount', reversal('adj_1', 1000), 'applied -1000 dispute'],
    ['is no refund', refund('adj_1', 2000), 'applied -2000 payment_reversal'],
  ])('under an id for all chargebacks %s', (_, fact, outcome) => {
    expect(said(tell([paid, former, fact]))).toBe(outcome);
  });

  it.each<[string, readonly Report[] | null, PartState[], boolean]>([
    ['nothing', null, ['failed'], true],
    ['that it failed', [reportOf('failed')], ['failed'], false],
    ['only that it had succeeded', [reportOf('succeeded')], ['succeeded', 'failed'], false],
  ])('says by the row that a refund failed, of which was kept %s', (_, told, states, isUnread) => {
    const {
      parts,
      movements: _movements,
      handled: _handled,
      isUnread: _isUnread,
      ...payment
    } = tell([{ ...paid, occurredAt: at(1) }, refund('a', 400, { state: 'failed' })]).payment;
    const { merchantId, sourceId, paymentId } = payment;
    const rows = parts.map((part) => ({ ...part, merchantId, sourceId, paymentId, reports: told, updatedAt: 7 }));
    const [stored] = assemble([payment], { parts: rows, movements: [], handled: [] }).values();
    expect(stored?.parts.map((part) => part.reports.map(({ state }) => state))).toEqual([states]);
    expect(stored?.isUnread).toBe(isUnread);
  });
});
