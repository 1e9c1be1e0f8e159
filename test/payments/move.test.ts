import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Fact } from '../../src/payments/fact.ts';
import { entriesOfPayment, isLeftUnknown, movedShares, moveEventTypes } from '../../src/payments/move.ts';
import type { Handled, Payment, PaymentPart } from '../../src/payments/payment.ts';
import { disputeFact, movementFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';

function part(over: Partial<PaymentPart>): PaymentPart {
  return {
    ...{ kind: 'refund', partId: 'a', ordinal: 0, role: 'object', state: 'succeeded', amountMinor: null },
    ...{ currency: 'USD', postedCredit: 0, postedTake: 0, postings: 1, reports: [], openedAt: null },
    ...{ postedBonusTake: 0, bonusPostings: 0, holdWanted: 0, holdNo: null, holds: 0, lifted: null },
    ...over,
  };
}

/** A payment of which 1000 were credited. */
const paid = (parts: readonly PaymentPart[], over: Partial<Payment> = {}) =>
  newPayment({ currency: 'USD', postedCredit: 1000, postings: 1, parts, ...over });

describe('what goes with a payment to another customer', () => {
  it.each<[string, Payment, unknown[]]>([
    ['what it gave', paid([]), [{ currency: 'USD', net: 1000 }]],
    ['less what was taken back', paid([part({ postedTake: 300 })]), [{ currency: 'USD', net: 700 }]],
    [
      'a part of no currency of its own',
      paid([part({ currency: null, postedTake: 300 })]),
      [{ currency: 'USD', net: 700 }],
    ],
    [
      'each currency that it was posted in',
      paid([part({ currency: 'EUR', postedCredit: 200 })]),
      [
        { currency: 'USD', net: 1000 },
        { currency: 'EUR', net: 200 },
      ],
    ],
    [
      'only the currency in which something is left',
      paid([part({ postedTake: 1000 }), part({ partId: 'b', currency: 'EUR', postedCredit: 200 })]),
      [{ currency: 'EUR', net: 200 }],
    ],
    ['a debt', paid([part({ postedTake: 300 })], { postedCredit: 0 }), [{ currency: 'USD', net: -300 }]],
    ['nothing of what was taken back in full', paid([part({ postedTake: 1000 })]), [{ currency: 'USD', net: 0 }]],
    ['nothing of what never posted', newPayment(), [{ currency: null, net: 0 }]],
  ])('is %s', (_, payment, shares) => {
    expect(movedShares(payment)).toEqual(shares);
  });

  it('always has a currency, since entries have one', () => {
    expect(() => movedShares(paid([], { currency: null }))).toThrow('a payment was posted in no currency');
  });

  it('counts the entries of the payment and its parts', () => {
    expect(entriesOfPayment(paid([part({ postings: 2 }), part({ partId: 'b', postings: 3 })]))).toBe(6);
  });

  it.each([
    ['topup', { give: 'payment', take: 'payment_reversal' }],
    ['order', { give: 'refund', take: 'refund_reversal' }],
    [null, { give: 'refund', take: 'refund_reversal' }],
  ] as const)('is posted by what the payment was for: %s', (purpose, types) => {
    expect(moveEventTypes({ purpose })).toEqual(types);
  });
});

const byHand = (fact: Fact, amountMinor: number | null, entryId: string | null = null): Handled => ({
  ...{ eventId: 'evt_a', fact, intent: null, customerId: null, note: null, handledAt: new Date(0) },
  ...{ amountMinor, entryId },
});
const topup = (handled: readonly Handled[], over: Partial<Payment> = {}) =>
  paid([], { state: 'succeeded', purpose: 'topup', amountPaid: 1000, handled, ...over });
const leftOf = (payment: Payment) => movedShares(payment).map(({ net }) => net);

describe('what was handled by hand', () => {
  const refund = (state: 'succeeded' | 'failed', amountMinor = 300) => refundFact({ state, amountMinor });
  const dispute = (state: 'lost' | 'won' | 'open') => disputeFact({ state });
  it.each<[string, Payment, number]>([
    ['a refund', topup([byHand(refund('succeeded'), 300)]), 700],
    ['a refund that failed later', topup([byHand(refund('succeeded'), 300), byHand(refund('failed'), 300)]), 1000],
    ['a refund told with more', topup([byHand(refund('succeeded'), 300), byHand(refund('succeeded', 500), 200)]), 500],
    ['a refund told twice', topup([byHand(refund('succeeded'), null), byHand(refund('succeeded'), 300)]), 700],
    [
      'the failure of a refund that posted',
      topup([byHand(refund('failed'), 300)], { parts: [part({ postedTake: 300 })] }),
      1000,
    ],
    [
      'an order’s refund that failed',
      topup([byHand(refund('succeeded'), 300), byHand(refund('failed'), 300)], { purpose: 'order', postedCredit: 0 }),
      0,
    ],
    ['a refund that became credit', topup([byHand(refund('succeeded'), 300)], { refunds: 'credit' }), 1300],
    ['a dispute', topup([byHand(dispute('open'), 1000)]), 0],
    [
      'a dispute that was lost and then won',
      topup([byHand(dispute('lost'), 1000), byHand(dispute('won'), 1000)]),
      1000,
    ],
    ['its success, which posted all the same', topup([byHand(paymentFact(), 1000)]), 1000],
    [
      'its success, which never posted',
      topup([byHand(paymentFact(), 800)], { state: 'unknown', postedCredit: 0 }),
      800,
    ],
    ['a capture', topup([byHand(movementFact(), 400)], { state: 'pending', postedCredit: 0 }), 400],
    [
      'a capture that failed later',
      topup([byHand(movementFact(), 400), byHand(movementFact({ state: 'failed' }), 400)], { postedCredit: 0 }),
      0,
    ],
    ['the end of an authorisation', topup([byHand(movementFact({ movement: 'end' }), 1000)]), 0],
    ['more authorised', topup([byHand(movementFact({ movement: 'adjustment', amountMinor: 1500 }), 500)]), 1500],
    ['less authorised', topup([byHand(movementFact({ movement: 'adjustment', amountMinor: 600 }), 400)]), 600],
    ['money of a chargeback', topup([byHand(movementFact({ movement: 'reinstatement' }), 400)]), 1400],
  ])('counts as it was done: %s', (_, payment, left) => {
    expect(leftOf(payment)).toEqual([left]);
    expect(isLeftUnknown(payment)).toBe(false);
  });

  it.each<[string, Payment, boolean]>([
    ['a refund of unknown amount', topup([byHand(refund('succeeded'), null)]), true],
    ['a success that posted, of unknown amount', topup([byHand(paymentFact(), null)]), false],
    [
      'lost, won and lost again, which may be the first loss told twice',
      topup([byHand(dispute('lost'), 9), byHand(dispute('won'), 9), byHand(dispute('lost'), 9)]),
      true,
    ],
    [
      'lost, won and the first loss told again, as somebody says with an amount of 0',
      topup([byHand(dispute('lost'), 9), byHand(dispute('won'), 9), byHand(dispute('lost'), 0)]),
      false,
    ],
    [
      'lost, won and the first loss told again, as its entry says',
      topup([byHand(dispute('lost'), 9, 'a'), byHand(dispute('won'), 9, 'b'), byHand(dispute('lost'), 9, 'a')]),
      false,
    ],
  ])('leaves unknown what is left only where it cannot be added up: %s', (_, payment, isUnknown) => {
    expect(isLeftUnknown(payment)).toBe(isUnknown);
  });

  /** How each word on a refund or dispute of 100 changes the wallet of a top-up. */
  const WORDS = {
    refund: [
      [(id: string) => refundFact({ refundId: id, amountMinor: 100 }), -100],
      [(id: string) => refundFact({ refundId: id, amountMinor: 100, state: 'failed' }), 100],
    ],
    dispute: [
      [(id: string) => disputeFact({ disputeId: id, amountMinor: 100 }), -100],
      [(id: string) => disputeFact({ disputeId: id, amountMinor: 100, state: 'won' }), 100],
    ],
  } as const;

  it('and what posted leave of any history what the wallet has of it', () => {
    const life = fc.record({
      kind: fc.constantFrom('refund' as const, 'dispute' as const),
      words: fc.array(fc.constantFrom('posted' as const, 'by hand' as const, 'by hand, told twice' as const), {
        maxLength: 2,
      }),
    });
    fc.assert(
      fc.property(fc.boolean(), fc.array(life, { maxLength: 5 }), (isPaidByHand, lives) => {
        let wallet = 1000;
        const handled: Handled[] = isPaidByHand ? [byHand(paymentFact(), 1000)] : [];
        const parts: PaymentPart[] = [];
        for (const [index, { kind, words }] of lives.entries()) {
          let postedTake = 0;
          for (const [place, how] of words.entries()) {
            const [factOf, change] = WORDS[kind][place] ?? WORDS[kind][0];
            wallet += change;
            const one = byHand(factOf(`${index}`), 100);
            if (how === 'posted') postedTake -= change;
            else handled.push(...(how === 'by hand' ? [one] : [one, { ...one, eventId: 'evt_b' }]));
          }
          parts.push(part({ kind, partId: `${index}`, postedTake }));
        }
        const own = isPaidByHand ? ({ state: 'unknown', postedCredit: 0 } as const) : {};
        const payment = topup(handled, { parts, ...own });
        expect([leftOf(payment), isLeftUnknown(payment)]).toEqual([[wallet], false]);
      }),
    );
  });
});
