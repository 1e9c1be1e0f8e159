import { describe, expect, it } from 'vitest';
import { postingsDue } from '../../src/payments/due.ts';
import type { DisputeFact } from '../../src/payments/fact.ts';
import type { Payment, PaymentPart } from '../../src/payments/payment.ts';
import { record } from '../../src/payments/record.ts';
import { reread } from '../../src/payments/reread.ts';
import { settle } from '../../src/payments/settle.ts';
import { disputeFact, entriesText, newPayment, paymentFact, refundFact } from '../support/payments.ts';

/** What the release before left of a payment of 10000: the entries of its parts stand under ids that it made up. */
const STORED_AT = Date.UTC(2026, 10, 20);

function stored(part: Pick<PaymentPart, 'partId' | 'state'> & Partial<PaymentPart>): Payment {
  const amountMinor = part.amountMinor ?? 2000;
  const told = [{ state: part.state, at: STORED_AT, stage: 0, amountMinor, reason: null, mark: null }];
  const old: PaymentPart = {
    kind: 'dispute',
    ordinal: 0,
    role: 'object',
    amountMinor,
    currency: 'USD',
    postedCredit: 0,
    postedTake: part.state === 'lost' ? amountMinor : 0,
    postings: 1,
    postedBonusTake: 0,
    bonusPostings: 0,
    openedAt: null,
    holdWanted: 0,
    holdNo: null,
    holds: 0,
    lifted: null,
    reports: told,
    ...part,
  };
  const paid = { state: 'succeeded', purpose: 'topup', currency: 'USD', amountPaid: 10_000 } as const;
  return newPayment({ ...paid, customerId: 'cus_a', postedCredit: 10_000, postings: 1, isUnread: true, parts: [old] });
}

const day = (date: number) => new Date(Date.UTC(2026, 10, date));
const chargeback = (disputeId: string, date: number, over: Partial<DisputeFact> = {}) =>
  disputeFact({ disputeId, amountMinor: 2000, role: 'movement', occurredAt: day(date), ...over });
const paid = paymentFact({ amountMinor: 10_000, occurredAt: day(1) });

/** What is left of it, and the entries of the last step. */
function settled(payment: Payment): { payment: Payment; left: number; entries: string } {
  const { due, after } = postingsDue(payment, settle(payment, 'auto'));
  const left = after.postedCredit - after.parts.reduce((sum, part) => sum + part.postedTake - part.postedCredit, 0);
  return { payment: after, left, entries: entriesText(due) };
}

describe('a payment of the release before', () => {
  it('is told anew by its stored events: what it took stands for the real movement, and nothing is posted', () => {
    const read = reread(stored({ partId: 'chargeback', state: 'lost' }), [paid, chargeback('adj_1', 10)]);
    expect(read).toMatchObject({ isUnread: false, paidAt: day(1).getTime() });
    expect(settled(read)).toMatchObject({ left: 8000, entries: '' });
    // Told again, it is known; another one is another.
    const again = settled(record(read, chargeback('adj_1', 10), null));
    expect(again).toMatchObject({ left: 8000, entries: '' });
    expect(settled(record(again.payment, chargeback('adj_2', 25), null))).toMatchObject({
      left: 6000,
      entries: '-2000 dispute',
    });
  });

  it('takes the first movement that is alike and not decided since for what no event tells any more', () => {
    const read = reread(stored({ partId: 'chargeback', state: 'lost' }), []);
    expect(settled(read)).toMatchObject({ left: 8000, entries: '' });
    const again = settled(record(read, chargeback('adj_1', 10), null));
    expect(again).toMatchObject({ left: 8000, entries: '' });
    expect(settled(record(again.payment, chargeback('adj_2', 25), null)).left).toBe(6000);
  });

  it('does not take a movement that was decided since, or is of another amount, for it', () => {
    const read = reread(stored({ partId: 'chargeback', state: 'lost' }), []);
    expect(settled(record(read, chargeback('adj_2', 25), null)).left).toBe(6000);
    expect(settled(record(read, chargeback('adj_1', 10, { amountMinor: 500 }), null)).left).toBe(7500);
  });

  it('gives back under its old key what a later round gives back', () => {
    const lost = disputeFact({ disputeId: '7', amountMinor: 2000, stage: 2, occurredAt: day(10) });
    const read = reread(stored({ partId: '7_chargeback', state: 'lost' }), [paid, lost]);
    const won = { ...lost, state: 'won', stage: 3, occurredAt: day(12) } as const;
    expect(settled(record(read, won, null))).toMatchObject({ left: 10_000, entries: '+2000 dispute_reversal' });
  });

  it('keeps what was posted for a part whose id was real, and follows its rounds', () => {
    const rounds = [
      disputeFact({ disputeId: 'dp_1', amountMinor: 2000, state: 'won', occurredAt: day(5), stage: 2 }),
      disputeFact({ disputeId: 'dp_1', amountMinor: 2000, state: 'lost', occurredAt: day(9), stage: 3 }),
    ];
    // Victory was final for that release; with the next event, the second round is taken after all.
    const read = reread(stored({ partId: 'dp_1', state: 'won' }), [paid, ...rounds]);
    expect(settled(read)).toMatchObject({ left: 8000, entries: '-2000 dispute' });
  });

  it('learns the currency of a part that was stored without one, and keeps one that was', () => {
    const lost = disputeFact({ disputeId: 'dp_1', amountMinor: 2000, occurredAt: day(9) });
    const currencyAfter = (currency: string | null) =>
      reread(stored({ partId: 'dp_1', state: 'lost', currency }), [paid, lost]).parts.map((part) => part.currency);
    expect([currencyAfter(null), currencyAfter('EUR')]).toEqual([['USD'], ['EUR']]);
  });

  it('forgets what only parked events had told of it, but that it was heard of', () => {
    const parked = { ...stored({ partId: 're_1', kind: 'refund', state: 'succeeded' }), postedCredit: 0, postings: 0 };
    const untold = parked.parts.map((part) => ({ ...part, postings: 0 }));
    const read = reread({ ...parked, parts: untold }, []);
    expect(read).toMatchObject({ state: 'unknown', purpose: null, customerId: null, amountPaid: null, heardOf: true });
    expect([read.parts, settled(read).entries]).toEqual([[], '']);
    // An order posts nothing by itself, so that it was applied is told by its event alone.
    const order = { ...parked, purpose: 'order' as const, parts: [] };
    expect(reread(order, [paid])).toMatchObject({ state: 'succeeded', purpose: 'order', customerId: 'cus_a' });
  });

  it('learns its captures', () => {
    const authorised = paymentFact({ amountMinor: 10_000, isAuthorisation: true, occurredAt: day(1) });
    const capture = { kind: 'movement', movement: 'capture', paymentId: 'p', currency: 'USD' } as const;
    const read = reread({ ...stored({ partId: 'x', state: 'open' }), parts: [] }, [
      authorised,
      { ...capture, movementId: 'c1', state: 'succeeded', amountMinor: 3000, occurredAt: day(2) },
    ]);
    expect(settled(read)).toMatchObject({ left: 3000, entries: '-7000 payment_reversal' });
  });
});

describe('a payment that has completed a checkout', () => {
  const checkoutId = 'chk_00000000000000000000000001';
  const checkout = { captured: 2000, refunds: 'proportional' } as const;
  const completed = newPayment({
    ...{ state: 'succeeded', purpose: 'checkout', checkoutId, customerId: 'cus_a', currency: 'USD', amountPaid: 3000 },
    ...{ agreedAmount: 3000, checkout, isUnread: true },
  });
  const success = paymentFact({ amountMinor: 3000, occurredAt: day(1), metadata: { wallet_checkout_id: checkoutId } });
  const refund = refundFact({ refundId: 're_1', amountMinor: 1000, occurredAt: day(2) });

  it.each([
    ['its events', [success]],
    ['none, since all are forgotten', []],
  ])('has still completed it once it is told anew by %s, and its refunds return the same', (_, facts) => {
    const read = reread(completed, facts);
    expect(read).toMatchObject({ state: 'succeeded', purpose: 'checkout', checkoutId, customerId: 'cus_a', checkout });
    expect(read).toMatchObject({ isUnread: false, amountPaid: 3000, agreedAmount: 3000 });
    expect(settled(read).entries).toBe('');
    // A third of what was paid: the same of what the wallet paid.
    expect(settled(record(read, refund, null)).entries).toBe('+666 checkout_refunded');
  });

  it('returns nothing twice: what was returned for a refund before stands for it', () => {
    const { payment } = settled(record({ ...completed, isUnread: false }, refund, null));
    const read = reread({ ...payment, isUnread: true }, [success, refund]);
    expect(settled(read).entries).toBe('');
    const rest = refundFact({ refundId: 're_2', amountMinor: 2000, occurredAt: day(3) });
    expect(settled(record(read, rest, null)).entries).toBe('+1334 checkout_refunded');
  });
});
