import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Source } from '../../src/merchants/source.ts';
import { MAX_AMOUNT_MINOR } from '../../src/money.ts';
import { decide } from '../../src/payments/decide.ts';
import type { Decision } from '../../src/payments/decision.ts';
import { type DuePosting, postedKeys, postingsDue } from '../../src/payments/due.ts';
import { type Fact, STAGES } from '../../src/payments/fact.ts';
import type { Payment, PaymentIntent } from '../../src/payments/payment.ts';
import type { CaptureRule, RefundPolicy } from '../../src/payments/purpose.ts';
import { settle } from '../../src/payments/settle.ts';
import { leftByModel, paidByModel } from '../support/payment-model.ts';
import {
  disputeFact,
  type Happening,
  movementFact,
  newPayment,
  paymentFact,
  refundFact,
  step,
} from '../support/payments.ts';

/**
 * Aim: whatever order the facts of a payment come in, however often, the wallet ends with the same balance. Method:
 * a payment with its captures, refunds and disputes, told in order and then shuffled and repeated, posting after every fact.
 */

const RUNS = { numRuns: 1000 };

const paidAmount = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 100, 999, 10 ** 14, MAX_AMOUNT_MINOR),
  fc.integer({ min: 1, max: 1000 }),
);
/** Near the amounts above, so that parts add up to less than, exactly and more than the whole; their sums stay exact. */
const partAmount = fc.oneof(
  fc.constant(null),
  fc.constantFrom(0, 1, 33, 50, 100, 499, 500, 999, 10 ** 14),
  fc.integer({ min: 1, max: 1000 }),
);
/** Mostly the payment's. */
const currency = fc.constantFrom('USD', 'USD', 'USD', 'USD', 'EUR');

const DAY_MS = 24 * 3_600_000;
/** Days of one month, some of them at once, and now and then none told. */
const time = fc.oneof(
  { weight: 1, arbitrary: fc.constant(null) },
  {
    weight: 4,
    arbitrary: fc.integer({ min: 0, max: 20 }).map((day) => new Date(Date.UTC(2026, 10, 1) + day * DAY_MS)),
  },
);

const paymentFacts = fc
  .record({
    amountMinor: paidAmount,
    states: fc.subarray(['pending', 'failed', 'succeeded'] as const, { minLength: 0 }),
  })
  .map(({ amountMinor, states }) =>
    states.map((state) => paymentFact({ state, amountMinor: state === 'succeeded' ? amountMinor : null })),
  );

/** One capture: told, told to have failed, told to have succeeded after all. */
function captureFacts(movementId: string, amountMinor: number): fc.Arbitrary<Fact[]> {
  const told = fc.subarray(['first', 'failed', 'again'] as const, { minLength: 1 });
  return fc.tuple(told, time).map(([which, begun]) =>
    which.map((one): Fact => {
      const days = { first: 0, failed: 1, again: 2 }[one];
      const occurredAt = begun === null ? null : new Date(begun.getTime() + days * DAY_MS);
      const reason = one === 'again' ? 'Transaction Recaptured' : null;
      return movementFact({ movementId, amountMinor, state: one === 'failed' ? one : 'succeeded', occurredAt, reason });
    }),
  );
}

function adjustmentFacts(movementId: string, amountMinor: number): fc.Arbitrary<Fact[]> {
  const state = fc.constantFrom('succeeded' as const, 'succeeded' as const, 'failed' as const);
  return fc
    .record({ state, occurredAt: time })
    .map((one) => [movementFact({ ...one, movement: 'adjustment', movementId, amountMinor })]);
}

const ends = fc
  .constantFrom('succeeded' as const, 'failed' as const)
  .map((state): Fact[] => [movementFact({ movement: 'end', movementId: 'z', state, amountMinor: 0 })]);
const nothing = fc.constant<Fact[]>([]);

/**
 * A payment that is authorised, adjusted, captured in pieces and ended. At most its whole is captured, since which capture is parked
 * as too much depends on which comes first; or, if `isFree`, any amount.
 */
function authorisedFacts(isFree: boolean): fc.Arbitrary<Fact[]> {
  const amounts = { authorised: paidAmount, adjusted: fc.array(paidAmount, { maxLength: 2 }) };
  const drawn = fc.record({ ...amounts, captures: fc.array(fc.nat(isFree ? 1000 : 33), { maxLength: 3 }) });
  return drawn.chain(({ authorised, adjusted, captures }) => {
    const whole = Math.min(authorised, ...adjusted);
    const amountOf = (drawn: number) => (isFree ? drawn : Math.floor(whole / 100) * drawn);
    const told = fc
      .subarray(['failed', 'succeeded', 'succeeded'] as const, { minLength: 1 })
      .map((states) =>
        states.map(
          (state): Fact =>
            paymentFact({ state, isAuthorisation: true, amountMinor: state === 'failed' ? null : authorised }),
        ),
      );
    return fc
      .tuple(
        told,
        ...adjusted.map((amount, index) => adjustmentFacts(`adjusted${index}`, amount)),
        ...captures.map((amount, index) => captureFacts(`capture${index}`, amountOf(amount))),
        fc.oneof({ weight: 2, arbitrary: nothing }, { weight: 1, arbitrary: ends }),
      )
      .map((groups) => groups.flat());
  });
}

/** Refunds whose news may come again with another amount and time. */
function refundFacts(refundId: string): fc.Arbitrary<Fact[]> {
  const news = fc.record({
    state: fc.constantFrom('pending' as const, 'succeeded' as const, 'succeeded' as const, 'failed' as const),
    amountMinor: partAmount,
    occurredAt: time,
  });
  return fc
    .record({ news: fc.array(news, { minLength: 1, maxLength: 4 }), currency })
    .map((drawn) => drawn.news.map((one) => refundFact({ ...one, refundId, currency: drawn.currency })));
}

/** Disputes of several rounds. */
const rounds = fc.array(
  fc.record({
    state: fc.constantFrom('open' as const, 'withdrawn' as const, 'lost' as const, 'won' as const),
    stage: fc.constantFrom(...Object.values(STAGES)),
    amountMinor: partAmount,
    occurredAt: time,
  }),
  { minLength: 1, maxLength: 5 },
);

function disputeFacts(disputeId: string): fc.Arbitrary<Fact[]> {
  return fc
    .record({ rounds, currency: fc.option(currency) })
    .map((drawn) => drawn.rounds.map((one) => disputeFact({ ...one, disputeId, currency: drawn.currency })));
}

/** Chargebacks with ids of their own, of which some are reversed. */
function chargebackFacts(disputeId: string): fc.Arbitrary<Fact[]> {
  return fc
    .record({
      states: fc.subarray(['open', 'lost', 'won'] as const, { minLength: 1 }),
      amountMinor: partAmount,
      occurredAt: time,
    })
    .map(({ states, ...one }) => states.map((state) => disputeFact({ ...one, state, disputeId, role: 'movement' })));
}

function reinstatementFacts(movementId: string): fc.Arbitrary<Fact[]> {
  return fc
    .record({
      amounts: fc.array(partAmount, { minLength: 1, maxLength: 2 }),
      state: fc.constantFrom('succeeded' as const, 'succeeded' as const, 'failed' as const),
      occurredAt: time,
    })
    .map(({ amounts, ...one }) =>
      amounts.map((amount): Fact => ({ ...MOVEMENT, ...one, movementId, amountMinor: amount ?? 0 })),
    );
}

const MOVEMENT = { kind: 'movement', paymentId: 'p', movement: 'reinstatement', currency: 'USD' } as const;

/** Disputes that tell what reversals and refunds tell too. */
function informingFacts(disputeId: string): fc.Arbitrary<Fact[]> {
  return fc
    .record({ rounds, openedAt: time })
    .map((drawn) =>
      drawn.rounds.map((one) => disputeFact({ ...one, disputeId, openedAt: drawn.openedAt, role: 'informs' })),
    );
}

const someOf = (ids: readonly string[], factsOf: (id: string) => fc.Arbitrary<Fact[]>) =>
  fc.subarray([...ids]).chain((chosen) => fc.tuple(...chosen.map(factsOf)).map((all) => all.flat()));

/** Each provider tells disputes in one of these ways. */
const anyDisputes = fc.oneof(
  someOf(['d', 'f'], disputeFacts),
  fc.tuple(someOf(['g', 'h'], chargebackFacts), someOf(['i', 'j'], reinstatementFacts)).map((groups) => groups.flat()),
  fc.tuple(someOf(['g', 'h'], chargebackFacts), someOf(['k', 'l'], informingFacts)).map((groups) => groups.flat()),
);

interface Case {
  readonly inOrder: readonly Fact[];
  /** The same facts in another order, some of them again. */
  readonly shuffled: readonly Fact[];
  readonly intent: PaymentIntent;
  readonly policy: RefundPolicy;
  readonly capture: CaptureRule;
}

/** A payment that is told in one piece, and one that is authorised first. */
const toldAtOnce = casesOf(paymentFacts);
const anyCase = fc.oneof(toldAtOnce, casesOf(authorisedFacts(false)), casesOf(authorisedFacts(true)));
const withinWhole = fc.oneof(toldAtOnce, casesOf(authorisedFacts(false)));

function casesOf(payments: fc.Arbitrary<Fact[]>): fc.Arbitrary<Case> {
  return fc
    .tuple(payments, someOf(['a', 'b', 'c', 'e'], refundFacts), anyDisputes)
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
        capture: fc.constantFrom('automatic' as const, 'manual' as const),
      }),
    );
}

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

function playAll(all: readonly Happening[], { intent, policy, capture }: Case) {
  const entries: DuePosting[] = [];
  let payment = newPayment({ capture });
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

/** A payment of which all is known and nothing is posted. */
function withoutPostings(payment: Payment): Payment {
  const nothing = { postedCredit: 0, postedTake: 0, postings: 0, postedBonusTake: 0, bonusPostings: 0 };
  const ofPayment = { postedCredit: 0, postings: 0, postedBonus: 0, bonusPostings: 0, bonusUndone: 0, bonusPaid: null };
  return { ...payment, ...ofPayment, parts: payment.parts.map((part) => ({ ...part, ...nothing })) };
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

  it('ends in what the rules say in words, over the bare set of its facts', () => {
    const inOneCurrency = anyCase.filter(
      ({ inOrder }) =>
        isPaid(inOrder) && inOrder.every((fact) => fact.currency !== 'EUR' && fact.amountMinor !== MAX_AMOUNT_MINOR),
    );
    fc.assert(
      fc.property(inOneCurrency, (one) => {
        const { USD = 0n } = playAll(one.shuffled, one).balances;
        expect(USD).toBe(leftByModel(one.inOrder, one));
      }),
      RUNS,
    );
  });

  it('ends in the balance of its payment also if a refund was counted as an order before the payment showed up', () => {
    fc.assert(
      fc.property(
        // Of one that ended unpaid after all, such a refund stays credited until a person looks.
        anyCase.filter(({ inOrder, capture }) => paidByModel(inOrder, capture).paid !== null),
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
      fc.property(toldAtOnce, paidAmount, (one, amountMinor) => {
        const intent = { ...one.intent, purpose: 'topup' } as const;
        const whole = [paymentFact({ amountMinor }), refundFact({ refundId: 'whole', amountMinor })];
        const told = playAll([...one.shuffled, ...whole], { ...one, intent, policy: 'reverse' });
        const paid = told.payment.amountPaid ?? 0;
        const isWhole = amountMinor >= paid;
        if (isWhole) expect(told.balances).toEqual({});
        const forgotten = withoutPostings(told.payment);
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
    defaultPurpose: 'order',
    metadata: 'all',
    refunds: 'auto',
    disputes: 'hold',
    customerLinkRule: 'create',
    unreadableSecrets: 0,
    capture: 'automatic',
    apiKey: null,
    chargeKey: null,
    enabled: true,
  };

  /** Delivers events as the inbox does: what waits is tried again after each payment, and once more when the wait is over. */
  function deliver(facts: readonly Fact[], { intent, policy, capture }: Case) {
    const metadata = {
      wallet_purpose: intent.purpose,
      ...(intent.creditAmount === null ? {} : { wallet_credit_amount: String(intent.creditAmount) }),
    };
    const entries: DuePosting[] = [];
    let payment = newPayment({ refunds: policy, capture });
    const apply = (fact: Fact, waitIsOver: boolean): Decision => {
      const decision = decide({
        payment,
        fact: fact.kind === 'payment' ? { ...fact, metadata } : fact,
        source,
        isAssigned: false,
        carried: { token: null, receivedAt: new Date(), assignedCustomerId: null },
        customer: { customerId: 'cus_a' },
        currencies: new Set(['USD', 'EUR']),
        maxBonusRatio: { numerator: BigInt(Number.MAX_SAFE_INTEGER), denominator: 1n },
        waitIsOver,
        namingIsOver: true,
        isContested: false,
        paidExpiryMinDays: null,
        offers: null,
      });
      payment = decision.payment;
      entries.push(...decision.due);
      expectWithinBounds(payment);
      return decision;
    };
    let waiting: Fact[] = [];
    for (const fact of facts) {
      const { verdict } = apply(fact, false);
      if (verdict.state === 'waiting') waiting.push(fact);
      else if (verdict.state === 'applied' && (fact.kind === 'payment' || fact.kind === 'movement')) {
        // A capture that waited may be what the refunds before it wait for.
        for (let before = -1; before !== waiting.length; ) {
          before = waiting.length;
          waiting = waiting.filter((one) => apply(one, false).verdict.state === 'waiting');
        }
      }
    }
    for (const fact of waiting) apply(fact, true);
    return books(entries).balances;
  }

  it('end in the same balance in any order and with any repetition', () => {
    fc.assert(
      fc.property(
        // Without its payment, a payment's currency is that of the refund which has waited longest.
        withinWhole.filter(({ inOrder }) => isPaid(inOrder) || inOrder.every((fact) => fact.currency !== 'EUR')),
        (one) => {
          expect(deliver(one.shuffled, one)).toEqual(deliver(one.inOrder, one));
        },
      ),
      RUNS,
    );
  });
});
