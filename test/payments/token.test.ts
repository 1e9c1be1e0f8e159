import { describe, expect, it } from 'vitest';
import type { Fact, PaymentFact } from '../../src/payments/fact.ts';
import type { Payment } from '../../src/payments/payment.ts';
import {
  type CarriedToken,
  customerOfToken,
  hashToken,
  type PaymentToken,
  readToken,
  tokenHashOf,
  usesToken,
} from '../../src/payments/token.ts';
import { disputeFact, newPayment, paymentFact, refundFact } from '../support/payments.ts';

const TOKEN = `wt_${'0f'.repeat(16)}`;
const HASH = hashToken(TOKEN);
const at = (hour: number) => new Date(Date.UTC(2026, 10, 1, hour));

/** A token for a top-up of customer `cus_a` of any amount in USD, that ends at 12 o'clock. */
function tokenOf(over: Partial<PaymentToken> = {}): PaymentToken {
  return {
    merchantId: 'bus_default',
    tokenHash: HASH,
    customerId: 'cus_a',
    purpose: 'topup',
    currency: 'USD',
    amount: null,
    creditAmount: null,
    expiresAt: at(12),
    revokedAt: null,
    usedSourceId: null,
    usedPaymentId: null,
    seriesId: null,
    isFollowed: false,
    ...over,
  };
}

const usedBy = (paymentId: string, over: Partial<PaymentToken> = {}) =>
  tokenOf({ usedSourceId: 'src_stripe', usedPaymentId: paymentId, ...over });

/** A payment that carries the token. */
const paid = (over: Partial<PaymentFact> = {}) => paymentFact({ metadata: { wallet_token: TOKEN }, ...over });

interface Case {
  readonly payment?: Partial<Payment>;
  readonly fact?: Fact;
  readonly carried?: Partial<CarriedToken>;
}

function inputOf({ payment = {}, fact = paid(), carried = {} }: Case) {
  return {
    payment: newPayment(payment),
    fact,
    carried: { token: tokenOf(), receivedAt: at(10), assignedCustomerId: null, ...carried },
    source: { defaultPurpose: 'order', metadata: 'customer' },
  } as const;
}

/** `cus_a topup` and what it grants, or why the token was refused. */
function reading(one: Case): string | null {
  const read = readToken(inputOf(one));
  if (read === null) return null;
  if (read.kind === 'refused') return `${read.reason}: ${read.detail}`;
  const { purpose, creditAmount } = read.intent;
  return `${read.customerId} ${purpose} ${creditAmount ?? 'what was paid'}`;
}

const OBEYED = 'cus_a topup what was paid';
const ENDED = 'bad_token: it had ended before the payment';
const USED = 'token_used: the payment first used it';

describe('the token that a payment carries', () => {
  it.each<[string, Case]>([
    ['a refund', { fact: refundFact({ metadata: { wallet_token: TOKEN } }) }],
    ['a dispute', { fact: disputeFact() }],
    ['a payment that is pending', { fact: paid({ state: 'pending' }) }],
    ['a payment that failed', { fact: paid({ state: 'failed' }) }],
    ['a payment that carries none', { fact: paid({ metadata: {} }) }],
    ['a payment of which it was decided before what it is for', { payment: { purpose: 'order' } }],
  ])('decides nothing of %s', (_, one) => {
    expect(reading(one)).toBeNull();
  });

  it('says whose the payment is, what it is for and what it grants, whatever its source obeys', () => {
    const token = tokenOf({ purpose: 'order', amount: 900, creditAmount: 1200 });
    expect(readToken(inputOf({ carried: { token } }))).toEqual({
      kind: 'obeyed',
      customerId: 'cus_a',
      intent: { purpose: 'order', creditAmount: 1200, tokenHash: HASH, agreedAmount: 900 },
    });
  });

  it.each<[string, Case, string]>([
    ['the merchant has no such token', { carried: { token: null } }, 'bad_token: there is no such token'],
    ['it was revoked', { carried: { token: tokenOf({ revokedAt: at(9) }) } }, 'bad_token: it was revoked'],
    ['another currency was paid', { fact: paid({ currency: 'EUR' }) }, 'bad_token: it is for USD'],
    ['the currency was not told', { fact: paid({ currency: null }) }, 'bad_token: it is for USD'],
    [
      'another customer is named beside it',
      { fact: paid({ metadata: { wallet_token: TOKEN, wallet_customer_id: 'cus_b' } }) },
      'bad_token: another customer is named beside it',
    ],
    [
      'its order or subscription named another customer before',
      { payment: { customerId: 'cus_b', namedBy: 'subscription' } },
      'bad_token: another customer is named beside it',
    ],
  ])('is refused where %s', (_, one, refusal) => {
    expect(reading(one)).toBe(refusal);
    expect(customerOfToken(inputOf(one))).toBeNull();
  });

  it('is obeyed where its order or subscription named its own customer', () => {
    const metadata = { wallet_token: TOKEN, wallet_customer_id: 'cus_b' };
    const payment = { customerId: 'cus_a', namedBy: 'order' } as const;
    expect([reading({ payment }), reading({ payment, fact: paid({ metadata }) })]).toEqual([OBEYED, OBEYED]);
  });

  it('is obeyed where its own customer is named beside it, and looks at nothing else there', () => {
    const metadata = { wallet_token: TOKEN, wallet_customer_id: 'cus_a', wallet_purpose: 'none' };
    expect(reading({ fact: paid({ metadata }) })).toBe(OBEYED);
  });

  it.each([
    ['more than agreed, as tax comes on top', 1001, OBEYED],
    ['just what was agreed', 1000, OBEYED],
    ['less than agreed', 999, 'bad_token: less was paid than it is for'],
    ['an amount that is not told', null, 'bad_token: less was paid than it is for'],
  ])('is judged by what was paid: %s', (_, amountMinor, read) => {
    expect(reading({ fact: paid({ amountMinor }), carried: { token: tokenOf({ amount: 1000 }) } })).toBe(read);
  });

  it.each<[string, Partial<PaymentFact>, number, string]>([
    ['tried before it ended, and paid days after', { triedAt: at(11), occurredAt: at(99) }, 99, OBEYED],
    ['tried as it ended', { triedAt: at(12), occurredAt: at(99) }, 99, OBEYED],
    ['tried after it had ended', { triedAt: at(13), occurredAt: at(11) }, 11, ENDED],
    ['paid in time and told late', { triedAt: null, occurredAt: at(11) }, 99, OBEYED],
    ['paid after it had ended', { occurredAt: at(13) }, 11, ENDED],
    ['of no time told, received in time', { triedAt: null, occurredAt: null }, 11, OBEYED],
    ['of no time told, received after it had ended', { occurredAt: null }, 13, ENDED],
  ])('must be alive when the payment was tried: one %s', (_, times, received, read) => {
    expect(reading({ fact: paid(times), carried: { receivedAt: at(received) } })).toBe(read);
  });
});

describe('a token that a payment has used', () => {
  it.each<[string, Case, string]>([
    ['the same payment', { carried: { token: usedBy('p') } }, OBEYED],
    ['another payment', { carried: { token: usedBy('first') } }, USED],
    [
      'a payment of the same id at another source',
      { carried: { token: usedBy('p', { usedSourceId: 'src_dodo' }) } },
      'token_used: the payment p used it',
    ],
    ['another payment, though it was used in time', { carried: { token: usedBy('first'), receivedAt: at(99) } }, USED],
  ])('told of again by %s', (_, one, read) => {
    expect(reading(one)).toBe(read);
  });

  const renewal = { seriesId: 'sub_1' } as const;
  const terms = { amount: 5000, creditAmount: 9000, seriesId: 'sub_1' } as const;
  it.each<[string, Partial<PaymentFact>, Partial<PaymentToken>, string]>([
    ['a renewal, of which what was paid counts', renewal, terms, OBEYED],
    ['a renewal after it ended', { ...renewal, triedAt: at(99) }, terms, OBEYED],
    ['a renewal after it was revoked', renewal, { ...terms, revokedAt: at(9) }, 'bad_token: it was revoked'],
    ['a renewal in another currency', { ...renewal, currency: 'EUR' }, terms, 'bad_token: it is for USD'],
    ['a payment of another subscription', { seriesId: 'sub_2' }, terms, USED],
    ['a payment of no subscription', {}, terms, USED],
    ['a payment of a subscription that its user was not of', renewal, { ...terms, seriesId: null }, USED],
    ['what can only be the first of its subscription', { ...renewal, startsSeries: true }, terms, USED],
    ['a subscription of another source', renewal, { ...terms, usedSourceId: 'src_dodo' }, USED],
  ])('names a later payment of its subscription alone: %s', (_, fact, token, read) => {
    expect(reading({ fact: paid(fact), carried: { token: usedBy('first', token) } })).toBe(read);
  });

  it('is not used again by a renewal, which follows no terms', () => {
    const read = readToken(inputOf({ fact: paid(renewal), carried: { token: usedBy('first', terms) } }));
    expect(read).toEqual({ kind: 'obeyed', customerId: 'cus_a', intent: { purpose: 'topup', creditAmount: null } });
  });
});

describe('the customer that a person chose for a payment', () => {
  const pack = { amount: 1000, creditAmount: 1500 };
  it.each<[string, string, PaymentToken | null, string]>([
    ['leaves the terms of the token if it is the same', 'cus_a', tokenOf(pack), 'cus_a topup 1500'],
    ['counts instead of the one of the token', 'cus_b', tokenOf(pack), 'cus_b order what was paid'],
    ['counts instead of a token that is refused', 'cus_a', usedBy('first', pack), 'cus_a order what was paid'],
    ['counts instead of a token that does not exist', 'cus_b', null, 'cus_b order what was paid'],
  ])('%s', (_, assignedCustomerId, token, read) => {
    expect(reading({ carried: { token, assignedCustomerId } })).toBe(read);
  });
});

describe('the customer whom a token names', () => {
  const refund = refundFact({ metadata: { wallet_token: TOKEN } });
  it.each<[string, Case, string | null]>([
    ['a payment', {}, 'cus_a'],
    ['a payment that is pending', { fact: paid({ state: 'pending' }) }, null],
    ['a refund', { fact: refund }, 'cus_a'],
    ['a refund, used and ended', { fact: refund, carried: { token: usedBy('first'), receivedAt: at(99) } }, 'cus_a'],
    ['a refund, revoked', { fact: refund, carried: { token: tokenOf({ revokedAt: at(9) }) } }, null],
    ['a refund whose token there is not', { fact: refund, carried: { token: null } }, null],
  ])('of %s', (_, one, customerId) => {
    expect(customerOfToken(inputOf(one))).toBe(customerId);
  });
});

describe('a text that is said to be a token', () => {
  it.each([
    ['one', TOKEN, HASH],
    ['none', undefined, null],
    ['too short', TOKEN.slice(0, -1), null],
    ['in upper case', TOKEN.toUpperCase(), null],
    ['with more behind it', `${TOKEN}\n`, null],
  ])('is looked up only if it can be one: %s', (_, text, tokenHash) => {
    expect(tokenHashOf(text === undefined ? {} : { wallet_token: text })).toBe(tokenHash);
  });
});

describe('a token is used up', () => {
  const order = { tokenHash: HASH, state: 'succeeded', purpose: 'order', amountPaid: 500 } as const;
  it.each<[string, Partial<Payment>, boolean]>([
    ['by what moved money', { tokenHash: HASH, postings: 1 }, true],
    ['by an order that was paid', order, true],
    ['by an order of which nothing was paid', { ...order, amountPaid: 0 }, false],
    ['by an order of an amount that is not known', { ...order, amountPaid: null }, false],
    ['by an order that failed', { ...order, state: 'failed' }, false],
    ['by a top-up that has posted nothing yet', { ...order, purpose: 'topup' }, false],
    ['by a payment that follows no terms', { ...order, tokenHash: null, postings: 1 }, false],
  ])('%s', (_, payment, isUsed) => {
    expect(usesToken(newPayment(payment))).toBe(isUsed);
  });
});
