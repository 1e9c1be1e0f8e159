import { describe, expect, it } from 'vitest';
import type { LockedEvent } from '../../src/inbox/events.ts';
import { PostingRefused, reasonOf } from '../../src/inbox/refused-posting.ts';
import { wantedBy } from '../../src/inbox/wanted.ts';
import type { HoldRefusal } from '../../src/ledger/holds/results.ts';
import type { PostingRefusal } from '../../src/ledger/post.ts';
import type { Fact } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import type { CarriedToken, PaymentToken } from '../../src/payments/token.ts';
import { testSource } from '../support/inbox.ts';
import { disputeFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';

/* What is parked where the ledger refuses a posting, and for which facts a customer is asked for at all. */

const REFUSALS: { readonly [Code in PostingRefusal['code']]: Extract<PostingRefusal, { code: Code }> } = {
  UNSUPPORTED_CURRENCY: { code: 'UNSUPPORTED_CURRENCY', currency: 'SEK', supported: ['INR', 'USD'] },
  CUSTOMER_NOT_FOUND: { code: 'CUSTOMER_NOT_FOUND', customerId: 'cus_gone' },
  BALANCE_LIMIT_EXCEEDED: { code: 'BALANCE_LIMIT_EXCEEDED', most: 5000 },
  IDEMPOTENCY_KEY_REUSED: { code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey: 'topup_pi_1' },
  INSUFFICIENT_WALLET_FUNDS: {
    code: 'INSUFFICIENT_WALLET_FUNDS',
    ...{ currency: 'USD', available: 300, required: 800, shortfall: 500 },
  },
  LOT_LIMIT_EXCEEDED: { code: 'LOT_LIMIT_EXCEEDED', limit: 100 },
  EXPIRY_IN_THE_PAST: { code: 'EXPIRY_IN_THE_PAST' },
  PAID_CREDIT_CANNOT_EXPIRE: { code: 'PAID_CREDIT_CANNOT_EXPIRE', minDays: null },
  LOTS_NOT_YET: { code: 'LOTS_NOT_YET' },
  WALLET_FROZEN: { code: 'WALLET_FROZEN', currency: 'USD' },
  WALLET_CLOSED: { code: 'WALLET_CLOSED', currency: 'USD' },
  EFFECTIVE_AT_OUT_OF_RANGE: { code: 'EFFECTIVE_AT_OUT_OF_RANGE', mostDays: 90 },
};

describe('an event whose posting the ledger refuses', () => {
  it.each([
    ['UNSUPPORTED_CURRENCY', 'unsupported_currency', 'There are no wallets in SEK. Supported: INR, USD.'],
    ['CUSTOMER_NOT_FOUND', 'unknown_customer', 'There is no customer cus_gone.'],
    ['BALANCE_LIMIT_EXCEEDED', 'balance_limit', 'The balance would pass 5000 minor units, the most a wallet can hold.'],
    ['IDEMPOTENCY_KEY_REUSED', 'apply_failed', 'The idempotency key topup_pi_1 was used before with other input.'],
    ['INSUFFICIENT_WALLET_FUNDS', 'apply_failed', 'The wallet holds 300 minor units; 800 are required.'],
    ['LOT_LIMIT_EXCEEDED', 'apply_failed', 'The terms of the credit were refused: LOT_LIMIT_EXCEEDED.'],
    ['EXPIRY_IN_THE_PAST', 'apply_failed', 'The terms of the credit were refused: EXPIRY_IN_THE_PAST.'],
    [
      'PAID_CREDIT_CANNOT_EXPIRE',
      'apply_failed',
      'What was paid would end too soon: by PAID_EXPIRY_MIN_DAYS no paid credit may end. Set fewer days and try the event again, or handle it by hand.',
    ],
    ['LOTS_NOT_YET', 'apply_failed', 'The terms of the credit were refused: LOTS_NOT_YET.'],
    ['WALLET_FROZEN', 'apply_failed', 'The status of the wallet forbids it: WALLET_FROZEN.'],
    ['WALLET_CLOSED', 'apply_failed', 'The status of the wallet forbids it: WALLET_CLOSED.'],
    ['EFFECTIVE_AT_OUT_OF_RANGE', 'apply_failed', 'The terms of the credit were refused: EFFECTIVE_AT_OUT_OF_RANGE.'],
  ] as const)('for %s is parked as %s, and its detail says with what', (code, reason, detail) => {
    expect(reasonOf(REFUSALS[code])).toEqual([reason, detail]);
  });

  it('says for how long paid credit lasts at least', () => {
    expect(reasonOf({ code: 'PAID_CREDIT_CANNOT_EXPIRE', minDays: 30 })[1]).toMatch(/lasts for 30 days at least/);
  });

  it.each([
    { code: 'HOLD_NOT_FOUND' },
    { code: 'HOLD_NOT_OPEN', state: 'released' },
    { code: 'HOLD_AMOUNT_EXCEEDED', remaining: 1, required: 2 },
    { code: 'HOLD_LIMIT_EXCEEDED', limit: 1000 },
    { code: 'HOLDS_NOT_YET' },
    { code: 'HOLD_OWNED', kind: 'checkout' },
    { code: 'INVALID_FIELD', field: 'amount', wants: 'is too much' },
  ] satisfies readonly HoldRefusal[])('and so is one for whose checkout nothing could be taken: $code', (refusal) => {
    const detail = `What is held for the checkout could not be taken: ${refusal.code}.`;
    expect(reasonOf(refusal)).toEqual(['apply_failed', detail]);
  });

  it('is undone by an error that names the refusal and keeps it', () => {
    const refusal = REFUSALS.BALANCE_LIMIT_EXCEEDED;
    expect(new PostingRefused(refusal)).toMatchObject({
      name: 'PostingRefused',
      message: 'BALANCE_LIMIT_EXCEEDED',
      refusal,
    });
  });
});

const RECEIVED = new Date('2026-11-01T10:00:00Z');
const EVENT: LockedEvent = {
  ...{ eventId: 'evt_1', merchantId: 'bus_default', sourceId: 'src_stripe', provider: 'stripe', eventType: 'any' },
  ...{ reason: null, detail: null, paymentId: 'p', assignedCustomerId: null, assignedLink: false },
  acceptsAmount: false,
  ...{
    receivedAt: RECEIVED,
    settledAt: null,
    waitingSince: null,
    replays: 0,
    effect: null,
    traceParent: null,
    facts: null,
    bodyRemovedAt: null,
  },
  state: 'pending',
  origin: 'webhook',
  body: Buffer.from(''),
};
const TOKEN: PaymentToken = {
  ...{ merchantId: 'bus_default', tokenHash: 'hash', customerId: 'cus_token', currency: 'USD' },
  ...{ amount: null, creditAmount: null, revokedAt: null, usedSourceId: null, usedPaymentId: null, seriesId: null },
  isFollowed: false,
  purpose: 'topup',
  expiresAt: new Date('2026-11-02T10:00:00Z'),
};
const CARRIES = { wallet_token: 'wt_0123456789abcdef0123456789abcdef' };
const NAMES = { wallet_customer_id: 'cus_named' };

interface Case {
  readonly payment?: Partial<Payment>;
  readonly event?: Partial<LockedEvent>;
  readonly token?: PaymentToken | null;
  readonly waitIsOver?: boolean;
  readonly metadata?: 'all' | 'customer';
  readonly defaultPurpose?: 'topup' | 'none';
}

function ask(fact: Fact, { payment, event, token = null, waitIsOver = false, ...rules }: Case = {}) {
  const locked = { ...EVENT, ...event };
  const { receivedAt, assignedCustomerId } = locked;
  const carried: CarriedToken = { token, receivedAt, assignedCustomerId };
  return wantedBy(locked, {
    source: testSource('stripe', { metadata: 'all', ...rules }),
    fact,
    payment: newPayment(payment),
    waitIsOver,
    carried,
  });
}

describe('a customer', () => {
  const revoked = { ...TOKEN, revokedAt: RECEIVED };
  const assigned = { assignedCustomerId: 'cus_assigned' };
  const posted = { customerId: 'cus_known', postings: 1 };

  it.each<[what: string, fact: Fact, more: Case]>([
    ['a dispute, which has its payment', disputeFact(), {}],
    ['a failed payment', paymentFact({ state: 'failed' }), {}],
    ['a payment of nothing', paymentFact({ amountMinor: 0 }), {}],
    ['a payment that is for nothing here', paymentFact(), { defaultPurpose: 'none' }],
    ['a payment with unusable metadata', paymentFact({ metadata: { wallet_purpose: '?' } }), {}],
    ['a payment whose customer is known', paymentFact(), { payment: { customerId: 'cus_known' } }],
    ['a payment given to another once entries stand', paymentFact(), { payment: posted, event: assigned }],
    ['a payment with a token that does not exist', paymentFact({ metadata: { ...CARRIES, ...NAMES } }), {}],
    ['a payment of nothing with a token', paymentFact({ amountMinor: 0, metadata: CARRIES }), { token: TOKEN }],
    ['a refund that still waits', refundFact({ metadata: NAMES }), {}],
    ['a refund that waits with a good token', refundFact({ metadata: CARRIES }), { token: TOKEN }],
    [
      'a refund with a revoked token, though it names one beside it',
      refundFact({ metadata: { ...CARRIES, ...NAMES } }),
      { token: revoked, waitIsOver: true },
    ],
    ['a refund with an unknown token', refundFact({ metadata: { ...CARRIES, ...NAMES } }), { waitIsOver: true }],
  ])('is not asked for by %s', (_, fact, more) => {
    expect(ask(fact, more)).toBeNull();
  });

  it.each<[what: string, fact: Fact, more: Case, named: string | null, teaches: 'payment' | 'replay' | null]>([
    ['a payment that names nobody', paymentFact(), {}, null, 'payment'],
    ['a payment that names one', paymentFact({ metadata: NAMES }), {}, 'cus_named', 'payment'],
    [
      'one whose payer may have written that',
      paymentFact({ metadata: NAMES }),
      { metadata: 'customer' },
      'cus_named',
      null,
    ],
    ['a payment with a token', paymentFact({ metadata: CARRIES }), { token: TOKEN }, 'cus_token', 'payment'],
    ['a refund that has waited', refundFact({ metadata: NAMES }), { waitIsOver: true }, 'cus_named', null],
    [
      'a refund that has waited, with a token',
      refundFact({ metadata: CARRIES }),
      { token: { ...TOKEN, usedPaymentId: 'other' }, waitIsOver: true },
      'cus_token',
      null,
    ],
    ['a replay', paymentFact({ metadata: NAMES }), { event: assigned }, 'cus_assigned', null],
    [
      'a replay that is to teach it',
      paymentFact({ metadata: NAMES }),
      { event: { ...assigned, assignedLink: true } },
      'cus_assigned',
      'replay',
    ],
    [
      'a replay of a payment known to be of another, without entries',
      paymentFact(),
      { event: assigned, payment: { customerId: 'cus_known' } },
      'cus_assigned',
      null,
    ],
  ])('is asked for by %s', (_, fact, more, namedCustomerId, teaches) => {
    expect(ask(fact, more)).toMatchObject({ paymentId: 'p', rule: 'create', namedCustomerId, teaches });
  });
});
