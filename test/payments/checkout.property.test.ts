import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { completionOf, readCheckout } from '../../src/payments/checkout.ts';
import { acceptedParts, checkoutSums } from '../../src/payments/checkout-shares.ts';
import { type DuePosting, postingsDue } from '../../src/payments/due.ts';
import type { DisputeFact, Fact, MovementFact, RefundFact } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { record } from '../../src/payments/record.ts';
import { settle } from '../../src/payments/settle.ts';
import { checkoutRow } from '../support/checkouts.ts';
import { disputeFact, entriesText, movementFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';

/**
 * Aim: what the payment of a checkout moves depends on sums alone: in whatever order its refunds, disputes and captures are told, and
 * however often, the wallet ends alike. Method: a payment that has completed its checkout, its news in order, then shuffled and repeated,
 * posting after each; a naive model works from the set of news.
 */

const RUNS = { numRuns: 1000 };

interface Purchase {
  readonly order: number;
  readonly bought: number;
  readonly captured: number;
  readonly refunds: 'proportional' | 'manual';
  readonly paid: number;
  readonly capturesByHand: boolean;
}

const amount = fc.oneof(fc.constantFrom(1, 2, 3, 50, 999, 3000, 10 ** 12), fc.integer({ min: 1, max: 5000 }));
const purchases: fc.Arbitrary<Purchase> = fc
  .record({
    order: amount,
    bought: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 49 })),
    captured: fc.oneof(fc.constant(0), amount),
    refunds: fc.constantFrom('proportional', 'proportional', 'proportional', 'manual'),
    off: fc.oneof(
      { weight: 3, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: -60, max: 60 }) },
    ),
    capturesByHand: fc.boolean(),
  })
  .map(({ off, ...rest }) => ({ ...rest, paid: Math.max(1, rest.order + rest.bought + off) }));

const time = fc.oneof(
  fc.constant(null),
  fc.integer({ min: 1, max: 9 }).map((day) => new Date(Date.UTC(2026, 0, day))),
);
const share = fc.oneof(fc.constantFrom(1, 10, 333, 1000, 3000), fc.integer({ min: 1, max: 5000 }));
const refunds = fc
  .record({
    refundId: fc.constantFrom('a', 'b', 'c', 'd'),
    amountMinor: share,
    at: time,
    ends: fc.constantFrom('', 'failed', 'pending'),
  })
  .map(({ refundId, amountMinor, at: occurredAt, ends }): RefundFact[] => [
    refundFact({ refundId, amountMinor, occurredAt }),
    ...(ends === ''
      ? []
      : [refundFact({ refundId, amountMinor, occurredAt, state: ends === 'failed' ? 'failed' : 'pending' })]),
  ]);
const disputes = fc
  .record({ disputeId: fc.constantFrom('x', 'y'), amountMinor: share, ends: fc.constantFrom('lost', 'won', 'open') })
  .map(({ disputeId, amountMinor, ends }): DisputeFact[] => [
    disputeFact({ disputeId, amountMinor, state: 'open' }),
    ...(ends === 'open' ? [] : [disputeFact({ disputeId, amountMinor, state: 'lost' })]),
    ...(ends === 'won' ? [disputeFact({ disputeId, amountMinor, state: 'won' })] : []),
  ]);
const captures = fc
  .record({ movementId: fc.constantFrom('m', 'n'), amountMinor: share, ends: fc.constantFrom('failed', 'lasts') })
  .map(({ movementId, amountMinor, ends }): MovementFact[] => [
    movementFact({ movementId, amountMinor }),
    ...(ends === 'failed' ? [movementFact({ movementId, amountMinor, state: 'failed' })] : []),
  ]);
const ends = fc.constant([movementFact({ movement: 'end', movementId: 'e', amountMinor: 0 })]);
/** What happens to each refund, dispute and capture is told once; each of its ids is of one amount. */
const news = fc
  .array(fc.oneof(refunds, refunds, disputes, captures, ends), { maxLength: 6 })
  .map((all) => [...new Map(all.map((one) => [idOf(one[0]), one])).values()]);

function idOf(fact: Fact | undefined): string {
  if (fact === undefined) return '';
  return fact.kind === 'refund'
    ? fact.refundId
    : fact.kind === 'dispute'
      ? fact.disputeId
      : fact.kind === 'movement'
        ? fact.movementId
        : '';
}

/** What the payment has put into the wallet in the end, by the rules of the page alone. */
function left(purchase: Purchase, facts: readonly Fact[]): { readonly net: number; readonly returned: number } {
  const { order, bought } = acceptedParts(purchase.paid, {
    paymentPart: purchase.order,
    creditBought: purchase.bought,
  });
  const ofKind = <Kind extends Fact['kind']>(kind: Kind) =>
    facts.filter((fact): fact is Extract<Fact, { kind: Kind }> => fact.kind === kind);
  const sum = (all: readonly { amountMinor: number | null }[]) =>
    all.reduce((total, one) => total + (one.amountMinor ?? 0), 0);
  const once = <Item extends Fact>(all: readonly Item[]) => [...new Map(all.map((one) => [idOf(one), one])).values()];
  const has = (all: readonly { state: string }[], state: string) => all.some((one) => one.state === state);
  const same = (all: readonly Fact[], id: string) => all.filter((one) => idOf(one) === id);
  const refunded = sum(
    once(ofKind('refund')).filter(({ refundId }) => {
      const own = same(ofKind('refund'), refundId);
      return has(own, 'succeeded') && !has(own, 'failed');
    }),
  );
  const lost = sum(
    once(ofKind('dispute')).filter(({ disputeId }) => {
      const own = same(ofKind('dispute'), disputeId);
      return has(own, 'lost') && !has(own, 'won');
    }),
  );
  const movements = ofKind('movement').filter(({ movement }) => movement === 'capture');
  const lasting = once(movements).filter(({ movementId }) => !has(same(movements, movementId), 'failed'));
  const isOver = ofKind('movement').some(({ movement }) => movement === 'end');
  const captured = sum(lasting);
  const isByHand = movements.length > 0;
  const paid = !isByHand ? (isOver ? 0 : purchase.paid) : captured === 0 ? 0 : captured;
  const expected = isByHand && captured > 0 && captured < purchase.paid && !isOver ? purchase.paid : paid;
  const surplus = Math.max(0, paid - order - bought);
  const x = Math.max(0, refunded - surplus) + Math.max(0, order + bought - expected);
  const returned =
    purchase.refunds === 'manual'
      ? 0
      : Number((BigInt(purchase.captured) * BigInt(Math.min(x, order))) / BigInt(order));
  const taken = Math.min(Math.max(0, x + lost - order), bought);
  return { net: bought + returned - taken, returned };
}

interface Played {
  readonly payment: Payment;
  readonly entries: readonly DuePosting[];
}

function complete(purchase: Purchase): Payment {
  const checkout = checkoutRow({
    paymentPart: purchase.order,
    creditBought: purchase.bought,
    walletRefunds: purchase.refunds,
  });
  const intent = { purpose: 'checkout', creditAmount: null, checkoutId: checkout.checkoutId } as const;
  const told = record(newPayment(), paymentFact({ amountMinor: purchase.paid, isAuthorisation: true }), intent);
  const completion = completionOf(told, { checkout, acceptsAmount: true });
  if (completion?.kind !== 'completed') throw new Error('the checkout was not completed');
  return { ...completion.payment, checkout: { captured: purchase.captured, refunds: purchase.refunds } };
}

function post(told: Payment): Played {
  const { due, after } = postingsDue(told, settle(told, 'auto'));
  const again = postingsDue(after, settle(after, 'auto'));
  expect(again.due, 'posted again').toEqual([]);
  const [credits, debits] = [due.filter(({ isCredit }) => isCredit), due.filter(({ isCredit }) => !isCredit)];
  // What is bought and what is returned are two accounts; in each, news goes one way.
  for (const account of [/checkout/, /payment|dispute/]) {
    const both =
      credits.some((one) => account.test(one.eventType)) && debits.some((one) => account.test(one.eventType));
    expect(both, entriesText(due)).toBe(false);
  }
  return { payment: after, entries: due };
}

function play(purchase: Purchase, facts: readonly Fact[]): Played {
  let { payment, entries } = post(complete(purchase));
  for (const fact of facts) {
    const next = post(record(payment, fact, null));
    payment = next.payment;
    entries = [...entries, ...next.entries];
  }
  return { payment, entries };
}

const signed = (entries: readonly DuePosting[]) =>
  entries.reduce((sum, { isCredit, amountMinor }) => sum + (isCredit ? amountMinor : -amountMinor), 0);

describe('the payment of a checkout', () => {
  it('that names no currency is not taken for one in the checkout’s', () => {
    const checkout = checkoutRow();
    const metadata = { wallet_checkout_id: checkout.checkoutId };
    const fact = paymentFact({ amountMinor: 3000, currency: null, metadata });
    const source = { defaultPurpose: 'topup', metadata: 'all' } as const;
    const asked = { payment: newPayment(), fact, source, carried: { checkout, assignedCustomerId: null } };
    expect(readCheckout(asked)).toMatchObject({ kind: 'refused', reason: 'currency_mismatch' });
    expect(readCheckout({ ...asked, fact: { ...fact, currency: 'USD' } })).toMatchObject({ kind: 'obeyed' });
  });

  it('ends in the same wallet whatever the order of its news, and however often they are told', () => {
    const told = news.chain((all) => {
      const facts = all.flat();
      const shuffled = fc.shuffledSubarray(facts, { minLength: facts.length });
      return fc.tuple(fc.constant(facts), shuffled, fc.subarray(facts));
    });
    fc.assert(
      fc.property(purchases, told, (purchase, [facts, shuffled, again]) => {
        const { net, returned } = left(purchase, facts);
        for (const order of [facts, [...shuffled, ...again]]) {
          const { payment, entries } = play(purchase, order);
          expect(signed(entries)).toBe(net);
          expect(checkoutSums(payment).returned).toBe(returned);
        }
      }),
      RUNS,
    );
  });

  it('never returns more than the wallet paid, nor takes back more credit than was bought', () => {
    fc.assert(
      fc.property(purchases, news, (purchase, all) => {
        const { order, bought } = acceptedParts(purchase.paid, {
          paymentPart: purchase.order,
          creditBought: purchase.bought,
        });
        let { payment, entries } = post(complete(purchase));
        for (const fact of all.flat()) {
          const next = post(record(payment, fact, null));
          payment = next.payment;
          entries = [...entries, ...next.entries];
          const returned = entries.filter(({ eventType }) => eventType.startsWith('checkout'));
          expect(signed(returned)).toBeGreaterThanOrEqual(0);
          expect(signed(returned)).toBeLessThanOrEqual(purchase.captured);
          const ofBought = signed(entries) - signed(returned);
          expect(ofBought).toBeGreaterThanOrEqual(0);
          expect(ofBought).toBeLessThanOrEqual(bought);
          // Exact once all of the order is refunded.
          if (checkoutSums(payment).undone >= order && purchase.refunds === 'proportional')
            expect(signed(returned)).toBe(purchase.captured);
        }
      }),
      RUNS,
    );
  });
});
