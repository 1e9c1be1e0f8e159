import { describe, expect, it } from 'vitest';
import { postedKeys, postingsDue } from '../../src/payments/due.ts';
import type { Payment } from '../../src/payments/payment.ts';
import type { Purpose, RefundPolicy } from '../../src/payments/purpose.ts';
import { settle } from '../../src/payments/settle.ts';
import { entriesText, happenings, newPayment, paymentFact, play, step } from '../support/payments.ts';

it('says which earlier entries of the same cause one undoes or does again, the newest two hundred of them', () => {
  const posted = (postings: number, postedCredit: number) =>
    newPayment({ state: 'succeeded', purpose: 'topup', currency: 'USD', amountPaid: 1000, postings, postedCredit });
  const restored = (payment: Payment) => postingsDue(payment, settle(payment, 'auto')).due.map((one) => one.restores);
  expect(restored(posted(0, 0))).toEqual([undefined]);
  expect(restored(posted(2, 0))).toEqual([postedKeys(posted(2, 0))]);
  expect(restored(posted(300, 0))).toEqual([postedKeys(posted(300, 0)).slice(-200)]);
});

/** The entries that these happenings cause, as a text. */
function entriesOf(
  text: string,
  purpose: Purpose = 'topup',
  policy: RefundPolicy = 'auto',
  creditAmount: number | null = null,
) {
  return entriesText(play(happenings(text), { purpose, creditAmount }, policy).entries);
}

describe('a top-up', () => {
  it.each([
    // The payment.
    ['paid 1000', '+1000 payment'],
    ['paid 1000; paid 1000', '+1000 payment'],
    ['paid 9007199254740991', '+9007199254740991 payment'],
    ['pending', ''],
    ['failed', ''],
    ['paid 0', ''],
    ['pending; failed; paid 1000', '+1000 payment'],
    ['paid 1000; failed; pending', '+1000 payment'],
    // Refunds.
    ['paid 1000; refund a 400', '+1000 payment; -400 payment_reversal'],
    ['paid 1000; refund a 400; refund a 400', '+1000 payment; -400 payment_reversal'],
    ['paid 1000; refund a 400; refund a 700', '+1000 payment; -400 payment_reversal; -300 payment_reversal'],
    ['paid 1000; refund a 1000', '+1000 payment; -1000 payment_reversal'],
    ['paid 1000; refund a all', '+1000 payment; -1000 payment_reversal'],
    ['paid 1000; refund a 400; refund b all', '+1000 payment; -400 payment_reversal; -600 payment_reversal'],
    ['paid 1000; refund a 700; refund b 700', '+1000 payment; -700 payment_reversal; -300 payment_reversal'],
    ['paid 1000; refund a 1000; refund b 1', '+1000 payment; -1000 payment_reversal'],
    ['paid 1000; refund a 400 pending', '+1000 payment'],
    ['paid 1000; refund a 400 pending; refund a 400', '+1000 payment; -400 payment_reversal'],
    ['paid 1000; refund a 400 failed; refund a 400', '+1000 payment'],
    ['paid 1000; refund a 400; refund a 400 failed', '+1000 payment; -400 payment_reversal; +400 payment'],
    [
      'paid 1000; refund a 400; refund a 400 failed; refund a 400',
      '+1000 payment; -400 payment_reversal; +400 payment',
    ],
    ['paid 1000; refund a 400 EUR', '+1000 payment'],
    ['refund a 400', ''],
    ['refund a 400; paid 1000', '+1000 payment; -400 payment_reversal'],
    ['failed; refund a 400', ''],
    ['paid 0; refund a 400', ''],
    // A refund that learns its amount only later, and one that gives back what another could not take.
    ['paid 1000; refund a all; refund a 400', '+1000 payment; -1000 payment_reversal; +600 payment'],
    [
      'paid 1000; refund a 700; refund b 700; refund a 700 failed',
      '+1000 payment; -700 payment_reversal; -300 payment_reversal; +700 payment; -400 payment_reversal',
    ],
    // Disputes.
    ['paid 1000; dispute d 1000', '+1000 payment'],
    ['paid 1000; dispute d 1000 lost', '+1000 payment; -1000 dispute'],
    ['paid 1000; dispute d 400 lost', '+1000 payment; -400 dispute'],
    ['paid 1000; dispute d all lost', '+1000 payment; -1000 dispute'],
    ['paid 1000; dispute d 5000 lost', '+1000 payment; -1000 dispute'],
    ['paid 1000; dispute d 1000 won', '+1000 payment'],
    ['paid 1000; dispute d 1000 lost; dispute d 1000 won', '+1000 payment; -1000 dispute; +1000 dispute_reversal'],
    ['paid 1000; dispute d 1000 won; dispute d 1000 lost', '+1000 payment'],
    ['paid 1000; dispute d 1000 lost EUR', '+1000 payment'],
    ['dispute d 1000 lost; paid 1000', '+1000 payment; -1000 dispute'],
    // The same money refunded and disputed is taken once (Dodo resolves some disputes by a refund, and sends both).
    ['paid 1000; refund a 1000; dispute d 1000 lost', '+1000 payment; -1000 payment_reversal'],
    ['paid 1000; dispute d 1000 lost; refund a 1000', '+1000 payment; -1000 dispute'],
    ['paid 1000; dispute d 1000; refund a 1000; dispute d 1000 lost', '+1000 payment; -1000 payment_reversal'],
    ['paid 1000; refund a 1000 pending; dispute d 1000 lost; refund a 1000', '+1000 payment; -1000 dispute'],
    ['paid 1000; refund a 400; dispute d 1000 lost', '+1000 payment; -400 payment_reversal; -600 dispute'],
    [
      'paid 1000; refund a 400; dispute d 1000 lost; refund a 400 failed',
      '+1000 payment; -400 payment_reversal; -600 dispute; +400 payment; -400 dispute',
    ],
    [
      'paid 1000; dispute d 1000 lost; refund a 1000; dispute d 1000 won',
      '+1000 payment; -1000 dispute; +1000 dispute_reversal; -1000 payment_reversal',
    ],
  ])('%s', (text, entries) => {
    expect(entriesOf(text)).toBe(entries);
  });

  it.each([
    ['paid 1000', 1200, '+1000 payment; +200 bonus'],
    ['paid 0', 1200, ''],
    ['paid 1000; refund a 250', 1200, '+1000 payment; +200 bonus; -50 bonus_reversal; -250 payment_reversal'],
    ['paid 1000; refund a 1000', 1200, '+1000 payment; +200 bonus; -200 bonus_reversal; -1000 payment_reversal'],
    ['paid 1000; dispute d 1000 lost', 1200, '+1000 payment; +200 bonus; -200 bonus_reversal; -1000 dispute'],
    // Rounded for the customer, exact in the end.
    [
      'paid 300; refund a 100; refund b 100; refund c 100',
      1000,
      '+300 payment; +700 bonus; -233 bonus_reversal; -100 payment_reversal; -233 bonus_reversal; -100 payment_reversal; -234 bonus_reversal; -100 payment_reversal',
    ],
    ['paid 300; refund a 1; refund b 299', 100, '+100 payment; -100 payment_reversal'],
  ])('in a pack: %s, granting %d', (text, creditAmount, entries) => {
    expect(entriesOf(text, 'topup', 'auto', creditAmount)).toBe(entries);
  });
});

describe('an order', () => {
  it.each([
    ['paid 1000', ''],
    ['pending; failed', ''],
    ['paid 1000; refund a 400', '+400 refund'],
    ['paid 1000; refund a all', '+1000 refund'],
    ['paid 1000; refund a 700; refund b 700', '+700 refund; +300 refund'],
    // One refund whose amount grows (Lemon Squeezy tells the total so far) is credited by what it grew.
    ['paid 1000; refund a 400; refund a 700', '+400 refund; +300 refund'],
    ['paid 1000; refund a 400; refund a 700; refund a 700 failed', '+400 refund; +300 refund; -700 refund_reversal'],
    ['paid 1000; refund a 400; refund a 400 failed', '+400 refund; -400 refund_reversal'],
    ['paid 1000; refund a 400 pending', ''],
    ['paid 1000; refund a 400 EUR', ''],
    ['refund a 400; paid 1000', '+400 refund'],
    ['paid 0; refund a 400', ''],
    ['paid 1000; dispute d 1000 lost; dispute d 1000 won', ''],
    ['paid 1000; refund a 1000; dispute d 1000 lost', '+1000 refund'],
  ])('%s', (text, entries) => {
    expect(entriesOf(text, 'order')).toBe(entries);
  });

  it('never grants a credit amount, which is for top-ups', () => {
    expect(entriesOf('paid 1000; refund a 250', 'order', 'auto', 1200)).toBe('+250 refund');
  });
});

describe("the source's refunds setting", () => {
  it.each<[Purpose, RefundPolicy, string]>([
    ['topup', 'auto', '+1000 payment; -400 payment_reversal; -600 dispute'],
    ['topup', 'credit', '+1000 payment; +400 refund; -1000 dispute'],
    ['topup', 'reverse', '+1000 payment; -400 payment_reversal; -600 dispute'],
    ['topup', 'ignore', '+1000 payment; -1000 dispute'],
    ['order', 'auto', '+400 refund'],
    ['order', 'credit', '+400 refund'],
    ['order', 'reverse', ''],
    ['order', 'ignore', ''],
    ['none', 'auto', ''],
    ['none', 'credit', ''],
    ['none', 'reverse', ''],
    ['none', 'ignore', ''],
  ])('%s, %s', (purpose, policy, entries) => {
    expect(entriesOf('paid 1000; refund a 400; dispute d 1000 lost', purpose, policy)).toBe(entries);
  });

  it('credits a refund beside a lost dispute, as refunds that become credit take nothing', () => {
    const text = 'paid 1000; dispute d 1000 lost; refund a 400';
    expect(entriesOf(text, 'topup', 'credit')).toBe('+1000 payment; -1000 dispute; +400 refund');
  });
});

describe('a refund whose payment is unknown, once it has waited', () => {
  it.each<[string, Purpose, RefundPolicy, string]>([
    ['refund a 400; waited', 'topup', 'auto', '+400 refund'],
    ['refund a 400; waited', 'topup', 'credit', '+400 refund'],
    ['refund a 400; waited', 'topup', 'reverse', ''],
    ['refund a 400; waited', 'topup', 'ignore', ''],
    ['refund a 400 pending; waited', 'topup', 'auto', ''],
    ['refund a 400; waited; refund b 50', 'topup', 'auto', '+400 refund; +50 refund'],
    ['refund a 400; waited; refund a 400 failed', 'topup', 'auto', '+400 refund; -400 refund_reversal'],
    ['refund a 400; dispute d 400 lost; waited', 'topup', 'auto', '+400 refund'],
    // The payment shows up after all.
    ['refund a 400; waited; paid 1000', 'order', 'auto', '+400 refund'],
    ['refund a 400; waited; paid 300', 'order', 'auto', '+400 refund; -100 refund_reversal'],
    ['refund a 400; waited; paid 1000', 'none', 'auto', '+400 refund; -400 refund_reversal'],
    [
      'refund a 400; waited; paid 1000',
      'topup',
      'auto',
      '+400 refund; +1000 payment; -400 refund_reversal; -400 payment_reversal',
    ],
    ['refund a 400; waited; paid 1000', 'topup', 'credit', '+400 refund; +1000 payment'],
    // A first try that failed does not undo it: what was refunded was paid.
    ['refund a 400; waited; failed', 'topup', 'auto', '+400 refund'],
    // In another currency than the refund: that is undone where it was done.
    [
      'refund a 400 EUR; waited; paid 1000',
      'topup',
      'auto',
      '+400 refund EUR; +1000 payment; -400 refund_reversal EUR',
    ],
    ['refund a 400 EUR; waited; paid 1000', 'order', 'auto', '+400 refund EUR; -400 refund_reversal EUR'],
  ])('%s (%s, %s)', (text, purpose, policy, entries) => {
    expect(entriesOf(text, purpose, policy)).toBe(entries);
  });
});

describe('keys', () => {
  it('follow the payment, number what comes later from 2, and are listed by the payment', () => {
    const text =
      'refund a 400; waited; paid 1000; refund a 400 failed; dispute d 100 lost; dispute d 100 won; refund b 5';
    const { payment, entries } = play(happenings(text), { purpose: 'topup', creditAmount: null }, 'auto');
    expect(entries.map(({ key, referenceObjectId }) => [key, referenceObjectId])).toEqual([
      ['src_stripe:refund:p:a', 'a'],
      ['src_stripe:payment:p', 'p'],
      ['src_stripe:refund:p:a#2', 'a'],
      ['src_stripe:refund:p:a#3', 'a'],
      ['src_stripe:refund:p:a#4', 'a'],
      ['src_stripe:dispute:p:d', 'd'],
      ['src_stripe:dispute:p:d#2', 'd'],
      ['src_stripe:refund:p:b', 'b'],
    ]);
    expect(postedKeys(payment).sort()).toEqual(entries.map(({ key }) => key).sort());
  });

  it('are of the version that the payment was first stored with', () => {
    const known = newPayment({ keyVersion: 1 });
    const { payment, due } = step(known, paymentFact(), { purpose: 'topup', creditAmount: null }, 'auto');
    expect(due.map(({ key }) => key)).toEqual(['src_stripe:payment_p']);
    expect(postedKeys(payment)).toEqual(['src_stripe:payment_p']);
    expect(postedKeys({ ...payment, keyVersion: 2 })).toEqual(['src_stripe:payment:p']);
  });
});
