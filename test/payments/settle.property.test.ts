import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Source } from '../../src/merchants/source.ts';
import { MAX_AMOUNT_MINOR } from '../../src/money.ts';
import { type Evaluation, evaluate } from '../../src/payments/decide.ts';
import type { Fact } from '../../src/payments/fact.ts';
import { type Payment, type PaymentIntent, withoutPostings } from '../../src/payments/payment.ts';
import type { RefundPolicy } from '../../src/payments/purpose.ts';
import { type DuePosting, postedKeys, postingsDue, settle } from '../../src/payments/settle.ts';
import { disputeFact, type Happening, newPayment, paymentFact, refundFact, step } from '../support/payments.ts';

/**
 * Aim: whatever order the facts of a payment come in, however often, the wallet ends with the same balance. Method:
 * a payment with its refunds and disputes, told in order and then shuffled and repeated, posting after every fact.
 */

const RUNS = { numRuns: 1000 };

const paidAmount = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 100, 999, MAX_AMOUNT_MINOR - 1, MAX_AMOUNT_MINOR),
  fc.integer({ min: 1, max: 1000 }),
);
/** Near the amounts above, so that parts add up to less than, exactly and more than the whole. */
const partAmount = fc.oneof(
  fc.constant(null),
  fc.constantFrom(0, 1, 33, 50, 100, 499, 500, 999, MAX_AMOUNT_MINOR),
  fc.integer({ min: 1, max: 1000 }),
);
/** Mostly the payment's. */
const currency = fc.constantFrom('USD', 'USD', 'USD', 'USD', 'EUR');

const paymentFacts = fc
  .record({
    amountMinor: paidAmount,
    states: fc.subarray(['pending', 'failed', 'succeeded'] as const, { minLength: 0 }),
  })
  .map(({ amountMinor, states }) =>
    states.map((state) => paymentFact({ state, amountMinor: state === 'succeeded' ? amountMinor : null })),
  );

function refundFacts(refundId: string): fc.Arbitrary<Fact[]> {
  return fc
    .record({
      amounts: fc.tuple(partAmount, partAmount, partAmount),
      isSteady: fc.boolean(),
      currency,
      states: fc.subarray(['pending', 'succeeded', 'failed'] as const, { minLength: 1 }),
    })
    .map(({ amounts, isSteady, states, ...rest }) =>
      states.map((state, index) =>
        refundFact({ ...rest, refundId, state, amountMinor: amounts[isSteady ? 0 : index] ?? null }),
      ),
    );
}

function disputeFacts(disputeId: string): fc.Arbitrary<Fact[]> {
  return fc
    .record({
      amountMinor: partAmount,
      currency: fc.option(currency),
      states: fc.subarray(['open', 'lost', 'won'] as const, { minLength: 1 }),
    })
    .map(({ states, ...rest }) => states.map((state) => disputeFact({ ...rest, disputeId, state })));
}

const someOf = (ids: readonly string[], factsOf: (id: string) => fc.Arbitrary<Fact[]>) =>
  fc.subarray([...ids]).chain((chosen) => fc.tuple(...chosen.map(factsOf)).map((all) => all.flat()));

interface Case {
  readonly inOrder: readonly Fact[];
  /** The same facts in another order, some of them again. */
  readonly shuffled: readonly Fact[];
  readonly intent: PaymentIntent;
  readonly policy: RefundPolicy;
}

const anyCase: fc.Arbitrary<Case> = fc
  .tuple(paymentFacts, someOf(['a', 'b', 'c', 'e'], refundFacts), someOf(['d', 'f'], disputeFacts))
  .map((groups) => groups.flat())
  .filter((facts) => facts.length > 0)
  .chain((inOrder) =>
    fc.record({
      inOrder: fc.constant(inOrder),
      shuffled: fc
        .array(fc.constantFrom(...inOrder), { maxLength: 5 })
        .chain((again) => fc.shuffledSubarray([...inOrder, ...again], { minLength: inOrder.length + again.length })),
      intent: fc.record({
        purpose: fc.constantFrom('topup' as const, 'topup' as const, 'order' as const, 'none' as const),
        creditAmount: fc.oneof(fc.constant(null), fc.constantFrom(1, 7, 1200, MAX_AMOUNT_MINOR)),
      }),
      policy: fc.constantFrom(
        'auto' as const,
        'auto' as const,
        'credit' as const,
        'reverse' as const,
        'ignore' as const,
      ),
    }),
  );

/** Wallets by currency, and the keys used, after a number of entries. Sums are exact: they may pass a safe integer. */
function books(entries: readonly DuePosting[]) {
  const balances: Record<string, bigint> = {};
  for (const { currency: name, amountMinor, isCredit } of entries) {
    expect(name).not.toBeNull();
    balances[`${name}`] = (balances[`${name}`] ?? 0n) + BigInt(isCredit ? amountMinor : -amountMinor);
  }
  const nonZero = Object.entries(balances).filter(([, balance]) => balance !== 0n);
  return { balances: Object.fromEntries(nonZero), keys: entries.map(({ key }) => key) };
}

/** What holds of a payment after every step, whatever has happened. */
function expectWithinBounds(payment: Payment): void {
  const taken = payment.parts.reduce((sum, part) => sum + BigInt(part.postedTake), 0n);
  const given = payment.parts.reduce((sum, part) => sum + BigInt(part.postedCredit), 0n);
  expect(taken <= BigInt(payment.postedCredit)).toBe(true);
  if (payment.state === 'succeeded') expect(given <= BigInt(payment.amountPaid ?? 0)).toBe(true);
  for (const part of payment.parts) expect(Math.min(part.postedCredit, part.postedTake)).toBe(0);
}

function playAll(all: readonly Happening[], { intent, policy }: Case) {
  const entries: DuePosting[] = [];
  let payment = newPayment();
  for (const happening of all) {
    // `step` also checks that posting a second time gives nothing.
    const next = step(payment, happening, intent, policy);
    entries.push(...next.due);
    payment = next.payment;
    expectWithinBounds(payment);
  }
  const result = books(entries);
  expect(new Set(result.keys).size).toBe(result.keys.length);
  expect(postedKeys(payment).sort()).toEqual(result.keys.toSorted());
  return { payment, entries, balances: result.balances };
}

const isPaid = (facts: readonly Fact[]) => facts.some((fact) => fact.kind === 'payment' && fact.state === 'succeeded');

describe('the life of a payment', () => {
  it('ends in the same balance in any order and with any repetition of its facts', () => {
    fc.assert(
      fc.property(anyCase, (one) => {
        expect(playAll(one.shuffled, one).balances).toEqual(playAll(one.inOrder, one).balances);
      }),
      RUNS,
    );
  });

  it('ends in the balance of its payment also if a refund was counted as an order before the payment showed up', () => {
    fc.assert(
      fc.property(
        anyCase.filter(({ inOrder }) => isPaid(inOrder)),
        fc.nat(20),
        (one, at) => {
          const waited: Happening[] = [...one.shuffled];
          waited.splice(at, 0, 'waited');
          expect(playAll(waited, one).balances).toEqual(playAll(one.inOrder, one).balances);
        },
      ),
      RUNS,
    );
  });

  it('takes exactly what was granted once everything paid is refunded, and settles in one step as in many', () => {
    fc.assert(
      fc.property(anyCase, paidAmount, (one, amountMinor) => {
        const intent = { ...one.intent, purpose: 'topup' } as const;
        const whole = [paymentFact({ amountMinor }), refundFact({ refundId: 'whole', amountMinor })];
        const told = playAll([...one.shuffled, ...whole], { ...one, intent, policy: 'reverse' });
        const paid = told.payment.amountPaid ?? 0;
        const isWhole = amountMinor >= paid;
        if (isWhole) expect(told.balances).toEqual({});
        const forgotten = withoutPostings(told.payment, newPayment());
        const { due } = postingsDue(forgotten, settle(forgotten, 'reverse'));
        expect(books(due).balances).toEqual(told.balances);
      }),
      RUNS,
    );
  });
});

describe('the events of a payment', () => {
  const source: Source = {
    merchantId: 'bus_default',
    sourceId: 'src_stripe',
    provider: 'stripe',
    mode: 'test',
    secrets: [],
    defaultPurpose: 'topup',
    metadata: 'all',
    refunds: 'auto',
    customerLinkRule: 'create',
    apiKey: null,
    enabled: true,
  };

  /** Delivers events as the inbox does: what waits is tried again after each payment, and once more when the wait is over. */
  function deliver(facts: readonly Fact[], { intent, policy }: Case) {
    const metadata = {
      wallet_purpose: intent.purpose,
      ...(intent.creditAmount === null ? {} : { wallet_credit_amount: String(intent.creditAmount) }),
    };
    const entries: DuePosting[] = [];
    let payment = newPayment({ refunds: policy });
    const apply = (fact: Fact, waitIsOver: boolean): Evaluation => {
      const evaluation = evaluate({
        payment,
        fact: fact.kind === 'payment' ? { ...fact, metadata } : fact,
        source,
        isAssigned: false,
        customer: { customerId: 'cus_a' },
        currencies: new Set(['USD', 'EUR']),
        waitIsOver,
      });
      payment = evaluation.payment;
      entries.push(...evaluation.due);
      expectWithinBounds(payment);
      return evaluation;
    };
    let waiting: Fact[] = [];
    for (const fact of facts) {
      const { verdict } = apply(fact, false);
      if (verdict.state === 'waiting') waiting.push(fact);
      else if (fact.kind === 'payment' && verdict.state === 'applied') {
        waiting = waiting.filter((one) => apply(one, false).verdict.state === 'waiting');
      }
    }
    for (const fact of waiting) apply(fact, true);
    return books(entries).balances;
  }

  it('end in the same balance in any order and with any repetition', () => {
    fc.assert(
      fc.property(
        // Without its payment, a payment's currency is that of the refund which has waited longest.
        anyCase.filter(({ inOrder }) => isPaid(inOrder) || inOrder.every((fact) => fact.currency !== 'EUR')),
        (one) => {
          expect(deliver(one.shuffled, one)).toEqual(deliver(one.inOrder, one));
        },
      ),
      RUNS,
    );
  });
});
