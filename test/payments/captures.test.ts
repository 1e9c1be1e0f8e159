import { describe, expect, it } from 'vitest';
import { awaitsCaptures } from '../../src/payments/captures.ts';
import type { Fact, MovementFact } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import { record } from '../../src/payments/record.ts';
import { customerOfToken, hashToken, type PaymentToken } from '../../src/payments/token.ts';
import { type Circumstances, said, tell } from '../support/deciding.ts';
import { movementFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';

const at = (day: number): Date => new Date(Date.UTC(2026, 0, day));

const authorised = paymentFact({ amountMinor: 10_000, isAuthorisation: true, occurredAt: at(1) });
const capture = (movementId: string, amountMinor: number, more: Partial<MovementFact> = {}): MovementFact =>
  movementFact({ movementId, amountMinor, ...more });
const adjusted = (movementId: string, amountMinor: number, more: Partial<MovementFact> = {}): MovementFact =>
  movementFact({ movement: 'adjustment', movementId, amountMinor, ...more });
const ended = movementFact({ movement: 'end', movementId: 'e', amountMinor: 10_000 });
const manual = newPayment({ capture: 'manual' });

/** State, what is paid and what the wallet holds of it: `succeeded 6000 6000`. */
function standing({ state, amountPaid, postedCredit }: Payment): string {
  return `${state} ${amountPaid} ${postedCredit}`;
}

describe('an authorisation', () => {
  it.each<[string, Fact[], string]>([
    ['is the money', [authorised], 'succeeded 10000 10000'],
    ['is the money once, however often it is told', [authorised, authorised], 'succeeded 10000 10000'],
    ['without an amount is none', [{ ...authorised, amountMinor: null }], 'succeeded 0 0'],
    ['that names no amount once it is told as paid is none', [paymentFact({ amountMinor: null })], 'succeeded 0 0'],
    ['that failed is none', [{ ...authorised, state: 'failed' }], 'failed null 0'],
    ['gives way to its captures', [authorised, capture('a', 3000), capture('b', 3000)], 'succeeded 6000 6000'],
    ['gives way to one capture', [authorised, capture('a', 3000)], 'succeeded 3000 3000'],
    ['that ended is taken', [authorised, ended], 'failed 0 0'],
    ['whose end was told before it is nothing', [ended, authorised], 'failed 0 0'],
    [
      'that ended is no part of what is told as paid at once, also when a chargeback comes back',
      [
        ended,
        paymentFact({ amountMinor: 10_000 }),
        movementFact({ movement: 'reinstatement', movementId: 'r', amountMinor: 100 }),
      ],
      'succeeded 10000 10000',
    ],
    ['whose end is refused stays', [authorised, { ...ended, state: 'failed' }], 'succeeded 10000 10000'],
    ['that ends after a capture leaves it', [authorised, capture('a', 3000), ended], 'succeeded 3000 3000'],
    ['whose only capture failed is taken', [authorised, capture('a', 10_000, { state: 'failed' })], 'failed 0 0'],
    [
      'whose capture failed after it was told is taken',
      [authorised, capture('a', 3000), capture('a', 3000, { state: 'failed' })],
      'failed 0 0',
    ],
    [
      'of which one of two captures failed leaves the other',
      [authorised, capture('a', 3000), capture('b', 2000), capture('a', 3000, { state: 'failed' })],
      'succeeded 2000 2000',
    ],
    ['follows what it is lowered to', [authorised, adjusted('x', 8000)], 'succeeded 8000 8000'],
    ['follows what it is raised to', [authorised, adjusted('x', 12_000)], 'succeeded 12000 12000'],
    [
      'ignores an adjustment that failed',
      [authorised, adjusted('x', 8000, { state: 'failed' })],
      'succeeded 10000 10000',
    ],
    [
      'follows the newest adjustment by its time',
      [authorised, adjusted('x', 8000, { occurredAt: at(2) }), adjusted('y', 9000, { occurredAt: at(3) })],
      'succeeded 9000 9000',
    ],
    [
      'follows it when it comes first',
      [authorised, adjusted('y', 7000, { occurredAt: at(3) }), adjusted('x', 8000, { occurredAt: at(2) })],
      'succeeded 7000 7000',
    ],
    [
      'follows the larger of two of one time',
      [authorised, adjusted('x', 8000, { occurredAt: at(2) }), adjusted('y', 9000, { occurredAt: at(2) })],
      'succeeded 9000 9000',
    ],
    [
      'follows the larger of them when it comes first',
      [authorised, adjusted('y', 9000, { occurredAt: at(2) }), adjusted('x', 8000, { occurredAt: at(2) })],
      'succeeded 9000 9000',
    ],
    [
      'follows one with a time before one without',
      [authorised, adjusted('x', 8000, { occurredAt: at(2) }), adjusted('y', 9000)],
      'succeeded 8000 8000',
    ],
    [
      'told as paid at once gives way to its captures, too',
      [paymentFact({ amountMinor: 10_000 }), capture('a', 4000)],
      'succeeded 4000 4000',
    ],
  ])('where the account captures by itself %s', (_, facts, outcome) => {
    expect(standing(tell(facts).payment)).toBe(outcome);
  });

  it.each<[string, Fact[], string]>([
    ['is not yet the money', [authorised], 'pending null 0'],
    ['pays what is captured', [authorised, capture('a', 3000), capture('b', 2000)], 'succeeded 5000 5000'],
    ['pays a capture told twice once', [authorised, capture('a', 3000), capture('a', 3000)], 'succeeded 3000 3000'],
    ['that ended pays nothing', [authorised, ended], 'failed 0 0'],
    ['whose capture failed pays nothing', [authorised, capture('a', 3000, { state: 'failed' })], 'failed 0 0'],
    [
      'whose failed capture came first waits for another',
      [capture('a', 3000, { state: 'failed' }), authorised, capture('b', 4000)],
      'succeeded 4000 4000',
    ],
    ['pays what was captured before its end', [authorised, capture('a', 3000), ended], 'succeeded 3000 3000'],
  ])('where the account captures by hand %s', (_, facts, outcome) => {
    expect(standing(tell(facts, {}, manual).payment)).toBe(outcome);
  });
});

describe('a capture', () => {
  it.each<[string, Fact[], Circumstances, string]>([
    ['before its authorisation', [capture('a', 3000)], {}, 'waiting'],
    ['whose authorisation never came', [capture('a', 3000)], { waitIsOver: true }, 'parked unknown_payment'],
    ['that is refused, of a payment nothing is known of', [capture('a', 3000, { state: 'failed' })], {}, 'applied'],
    ['of all that was authorised', [authorised, capture('a', 10_000)], {}, 'applied'],
    ['of more than that', [authorised, capture('a', 10_001)], {}, 'parked overcaptured'],
    [
      'that makes the sum more than that',
      [authorised, capture('a', 6000), capture('b', 6000)],
      {},
      'parked overcaptured',
    ],
    [
      'of more than is left after an adjustment',
      [authorised, adjusted('x', 5000), capture('a', 6000)],
      {},
      'parked overcaptured',
    ],
    [
      'that an adjustment allows, told again',
      [authorised, capture('a', 12_000), adjusted('x', 12_000), capture('a', 12_000)],
      {},
      'applied',
    ],
    ['in another currency', [authorised, capture('a', 3000, { currency: 'EUR' })], {}, 'parked currency_mismatch'],
    [
      'after which a refund takes its share',
      [authorised, capture('a', 4000), refundFact({ amountMinor: 1000 })],
      {},
      'applied -1000 payment_reversal',
    ],
  ])('%s', (_, facts, circumstances, outcome) => {
    expect(said(tell(facts, circumstances))).toBe(outcome);
  });

  it('beyond what was authorised leaves the payment as it was', () => {
    const before = tell([authorised, capture('a', 6000)]).payment;
    const { payment } = tell([capture('b', 6000)], {}, before);
    expect(payment).toEqual(before);
  });

  it('takes back what the authorisation granted beyond it', () => {
    expect(said(tell([authorised, capture('a', 3000)]))).toBe('applied -7000 payment_reversal');
  });
});

describe('an agreed amount', () => {
  const TOKEN = `wt_${'0'.repeat(32)}`;
  const token: PaymentToken = {
    merchantId: 'bus_default',
    tokenHash: hashToken(TOKEN),
    customerId: 'cus_a',
    purpose: 'topup',
    currency: 'USD',
    amount: 10_000,
    creditAmount: null,
    expiresAt: at(31),
    revokedAt: null,
    usedSourceId: null,
    usedPaymentId: null,
    seriesId: null,
    isFollowed: false,
  };
  const carrying = { ...authorised, metadata: { wallet_token: TOKEN } };
  const pack: PaymentToken = { ...token, creditAmount: 12_000 };

  it.each<[string, PaymentToken, Fact[], string]>([
    ['grants nothing before the sum is captured', token, [capture('a', 3000)], 'applied'],
    [
      'grants all once it is, though more was authorised, such as for tax',
      token,
      [adjusted('x', 12_000), capture('a', 10_000)],
      'applied +10000 payment',
    ],
    ['grants all once it is', token, [capture('a', 3000), capture('b', 7000)], 'applied +10000 payment'],
    [
      'grants what was captured once the rest is cancelled',
      token,
      [capture('a', 3000), ended],
      'applied +3000 payment',
    ],
    ['grants a pack not in pieces', pack, [capture('a', 3000)], 'applied'],
    ['grants a pack whole', pack, [capture('a', 3000), capture('b', 7000)], 'applied +10000 payment; +2000 bonus'],
    [
      'grants the share of a pack once the rest is cancelled',
      pack,
      [capture('a', 3000), ended],
      'applied +3000 payment; +600 bonus',
    ],
    [
      'grants the share of a pack once no more is authorised',
      pack,
      [capture('a', 3000), adjusted('x', 3000)],
      'applied +3000 payment; +600 bonus',
    ],
    ['is none where the token names none', { ...token, amount: null }, [capture('a', 3000)], 'applied +3000 payment'],
  ])('%s', (_, agreed, facts, outcome) => {
    expect(said(tell([carrying, ...facts], { carried: { token: agreed } }, manual))).toBe(outcome);
  });

  it('is granted to the first of two payments that are captured under one token', () => {
    const { payment } = tell([carrying], { carried: { token } }, manual);
    const used: PaymentToken = { ...token, usedSourceId: payment.sourceId, usedPaymentId: 'another' };
    const { verdict } = tell([capture('a', 10_000)], { carried: { token: used } }, payment);
    expect(verdict).toEqual({ state: 'parked', reason: 'token_used', detail: 'the payment another used it' });
    const own: PaymentToken = { ...used, usedPaymentId: payment.paymentId };
    expect(said(tell([capture('a', 10_000)], { carried: { token: own } }, payment))).toBe('applied +10000 payment');
  });

  it.each<[string, Fact, Circumstances['carried'], string]>([
    [
      'when it was received in time',
      { ...carrying, occurredAt: null },
      { receivedAt: at(31) },
      'applied +10000 payment',
    ],
    [
      'not when it was received too late',
      { ...carrying, occurredAt: null },
      { receivedAt: at(32) },
      'parked bad_token',
    ],
    ['not where no amount is told', { ...carrying, amountMinor: null }, {}, 'parked bad_token'],
    ['where a person names the same customer', carrying, { assignedCustomerId: 'cus_a' }, 'applied +10000 payment'],
  ])('counts %s', (_, fact, carried, outcome) => {
    expect(said(tell([fact], { carried: { token, receivedAt: at(1), ...carried } }))).toBe(outcome);
  });

  it.each<[string, PaymentToken | null, string | null]>([
    ['is known', token, 'cus_a'],
    ['was revoked', { ...token, revokedAt: at(2) }, null],
    ['is not known', null, null],
  ])('names the customer of a refund whose token %s', (_, known, customerId) => {
    const carried = { token: known, receivedAt: at(1), assignedCustomerId: null };
    const source = { defaultPurpose: 'topup', metadata: 'all' } as const;
    expect(customerOfToken({ payment: newPayment(), fact: refundFact(), carried, source })).toBe(customerId);
  });

  it('awaits nothing more of a payment whose authorisation is not known', () => {
    expect(awaitsCaptures(record(manual, capture('a', 3000), null))).toBe(false);
    expect(awaitsCaptures(tell([authorised], {}, manual).payment)).toBe(false);
    expect(awaitsCaptures(tell([authorised, capture('a', 3000)], {}, manual).payment)).toBe(true);
  });
});
