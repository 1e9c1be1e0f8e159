import { describe, expect, it } from 'vitest';
import type { PostInput } from '../../src/ledger/book-changes.ts';
import { type Entry, type EventType, idempotencyText, type Posting } from '../../src/ledger/entry.ts';
import { fingerprint, type PostingResult, post } from '../../src/ledger/post.ts';
import { MAX_AMOUNT_MINOR } from '../../src/money.ts';
import { publicRefusal } from '../../src/views/refusals.ts';
import { posting } from '../support/ledger.ts';
import { NOW, postInput, wallet } from '../support/wallets.ts';

const MAX = MAX_AMOUNT_MINOR;

function only(one: Posting, input: PostInput): PostingResult {
  const [outcome] = post([one], input).outcomes;
  if (outcome === undefined) throw new Error('a posting without an outcome');
  return outcome;
}

/** `created`, `repeated`, or the code of the refusal. */
const said = (outcome: PostingResult) => (outcome.kind === 'refused' ? outcome.refusal.code : outcome.kind);

/** The entry that a posting made, as it would be found in the books. */
function entryOf(one: Posting): Entry {
  const outcome = only(one, postInput([wallet({ balance: 500 })]));
  if (outcome.kind === 'refused') throw new Error(outcome.refusal.code);
  return outcome.entry;
}

describe('the order of precedence of outcomes', () => {
  // Each posting below would meet the outcome of every later row as well, were it not for its own.
  const first = posting({ amountMinor: 5, idempotencyKey: 'key' });
  const known = new Map([[idempotencyText(first), entryOf(first)]]);
  const debit = { isCredit: false, amountMinor: 1000 } as const;

  it.each<[string, Posting, Partial<PostInput>]>([
    ['repeated', first, { known, currencies: new Set(), wallets: new Map() }],
    ['IDEMPOTENCY_KEY_REUSED', { ...first, ...debit, currency: 'XTS' }, { known, wallets: new Map() }],
    [
      'UNSUPPORTED_CURRENCY',
      posting({ ...debit, currency: 'XTS', idempotencyKey: 'new' }),
      { known, wallets: new Map() },
    ],
    ['CUSTOMER_NOT_FOUND', posting(debit), { wallets: new Map() }],
    ['INSUFFICIENT_WALLET_FUNDS', posting({ isCredit: false, amountMinor: MAX }), postInput([wallet({ balance: -1 })])],
    [
      'BALANCE_LIMIT_EXCEEDED',
      posting({ isCredit: false, amountMinor: MAX, eventType: 'dispute' }),
      postInput([wallet({ balance: -1 })]),
    ],
    ['created', posting(debit), postInput([wallet({ balance: 1000 })])],
  ])('%s', (expected, one, overrides) => {
    const result = post([one], { ...postInput([wallet({ balance: 999 })]), ...overrides });
    expect(result.outcomes.map(said)).toEqual([expected]);
    const isWritten = expected === 'created';
    expect([result.entries.length, result.wallets.length]).toEqual(isWritten ? [1, 1] : [0, 0]);
  });
});

describe('the bounds of a balance', () => {
  it.each<[number, boolean, EventType, number, string]>([
    [10, false, 'merchant_adjustment', 10, 'created'],
    [10, false, 'merchant_adjustment', 11, 'INSUFFICIENT_WALLET_FUNDS'],
    [0, false, 'merchant_adjustment', 1, 'INSUFFICIENT_WALLET_FUNDS'],
    [10, false, 'payment_reversal', 11, 'created'],
    [10, false, 'refund_reversal', 11, 'created'],
    [10, false, 'dispute', 11, 'created'],
    [0, true, 'payment', MAX, 'created'],
    [1, true, 'payment', MAX, 'BALANCE_LIMIT_EXCEEDED'],
    [MAX, true, 'payment', 1, 'BALANCE_LIMIT_EXCEEDED'],
    [MAX, true, 'payment', MAX, 'BALANCE_LIMIT_EXCEEDED'],
    [MAX, false, 'merchant_adjustment', MAX, 'created'],
    [0, false, 'dispute', MAX, 'created'],
    [-1, false, 'dispute', MAX, 'BALANCE_LIMIT_EXCEEDED'],
    [-MAX, true, 'payment', MAX, 'created'],
  ])('a balance of %d, credit %s as %s of %d: %s', (balance, isCredit, eventType, amountMinor, expected) => {
    const outcome = only(posting({ isCredit, eventType, amountMinor }), postInput([wallet({ balance })]));
    expect(said(outcome)).toBe(expected);
  });

  it.each([
    [30, 100, { available: 30, required: 100, shortfall: 70 }],
    [0, 100, { available: 0, required: 100, shortfall: 100 }],
    // A debt has to be repaid first.
    [-50, 100, { available: 0, required: 100, shortfall: 150 }],
    [-MAX, MAX, { available: 0, required: MAX, shortfall: MAX }],
  ])('tells a customer with %d who needs %d what is missing', (balance, amountMinor, details) => {
    const outcome = only(posting({ isCredit: false, amountMinor }), postInput([wallet({ balance })]));
    expect(outcome).toMatchObject({ kind: 'refused', refusal: details });
    expect(outcome.kind === 'refused' && publicRefusal(outcome.refusal)).toMatchObject({
      code: 'INSUFFICIENT_WALLET_FUNDS',
      message: expect.stringContaining('Insufficient balance'),
      details,
    });
  });

  it.each([0, -1, 1.5, Number.NaN, MAX + 1, -0])(
    'stops at an amount of %d, which no caller may let through',
    (amountMinor) => {
      expect(() => only(posting({ amountMinor }), postInput([wallet()]))).toThrow('Invariant broken');
    },
  );
});

describe('a batch', () => {
  it('decides each posting on what the ones before it left, wallet by wallet', () => {
    const result = post(
      [
        posting({ amountMinor: 100 }),
        posting({ amountMinor: 101, isCredit: false }),
        posting({ amountMinor: 100, isCredit: false }),
        posting({ amountMinor: 7, currency: 'INR' }),
      ],
      postInput([wallet({ version: 4 }), wallet({ currency: 'INR' })]),
    );
    expect(result.outcomes.map(said)).toEqual(['created', 'INSUFFICIENT_WALLET_FUNDS', 'created', 'created']);
    expect(result.entries.map((e) => [e.currency, e.seq, e.beforeBalance, e.afterBalance])).toEqual([
      ['USD', 5, 0, 100],
      ['USD', 6, 100, 0],
      ['INR', 1, 0, 7],
    ]);
    expect(result.wallets.map((w) => [w.currency, w.version, w.balance])).toEqual([
      ['USD', 6, 0],
      ['INR', 1, 7],
    ]);
  });

  it('gives the second request under a key the entry of the first, or refuses it if it asks for something else', () => {
    const one = posting({ amountMinor: 5, idempotencyKey: 'k' });
    const { outcomes, entries } = post([one, one, { ...one, amountMinor: 6 }], postInput([wallet()]));
    expect(outcomes.map(said)).toEqual(['created', 'repeated', 'IDEMPOTENCY_KEY_REUSED']);
    expect(outcomes[1]).toMatchObject({ entry: entries[0], wallet: { balance: 5 } });
  });

  it('does not remember the key of a refused posting', () => {
    const debit = posting({ amountMinor: 5, isCredit: false, idempotencyKey: 'k' });
    const { outcomes } = post([debit, posting({ amountMinor: 5 }), debit], postInput([wallet()]));
    expect(outcomes.map(said)).toEqual(['INSUFFICIENT_WALLET_FUNDS', 'created', 'created']);
  });

  it('keeps keys apart by customer, and joins them across the currencies of one', () => {
    const key = { amountMinor: 5, idempotencyKey: 'k' };
    const { outcomes } = post(
      [posting(key), posting({ ...key, customerId: 'cus_b' }), posting({ ...key, currency: 'INR' })],
      postInput([wallet(), wallet({ customerId: 'cus_b' }), wallet({ currency: 'INR' })]),
    );
    expect(outcomes.map(said)).toEqual(['created', 'created', 'IDEMPOTENCY_KEY_REUSED']);
  });

  it('says a repetition even where the wallet is gone from the configuration', () => {
    const one = posting({ amountMinor: 5, idempotencyKey: 'k' });
    const known = new Map([[idempotencyText(one), entryOf(one)]]);
    expect(only(one, postInput([], { known }))).toMatchObject({ kind: 'repeated', wallet: null });
  });

  it('never dates an entry before the one it follows', () => {
    const later = new Date(NOW.getTime() + 1000);
    const { entries, wallets } = post([posting({ amountMinor: 1 })], postInput([wallet({ updatedAt: later })]));
    expect([entries[0]?.createdAt, wallets[0]?.updatedAt]).toEqual([later, later]);
  });

  it('raises the alerts of a batch in order, numbered, at the version that caused each', () => {
    const result = post(
      [
        posting({ amountMinor: 2000 }),
        posting({ amountMinor: 1500, isCredit: false }),
        posting({ amountMinor: 500, isCredit: false }),
        posting({ amountMinor: 5000 }),
      ],
      postInput([wallet({ alertSeq: 3 })]),
    );
    expect(result.alerts.map(({ kind, alertSeq, version, balance }) => [kind, alertSeq, version, balance])).toEqual([
      ['low', 4, 2, 500],
      ['depleted', 5, 3, 0],
      ['recovered', 6, 4, 5000],
    ]);
    expect(result.wallets[0]).toMatchObject({ alertSeq: 6, lowSince: null, depletedSince: null });
  });
});

describe('the fingerprint of a request', () => {
  const one = posting({ amountMinor: 5, metadata: { a: 1, b: 'x' } });

  it('is the same for the same request, in any order of its metadata', () => {
    expect(fingerprint({ ...one, metadata: { b: 'x', a: 1 } })).toBe(fingerprint(one));
    expect(fingerprint({ ...one, idempotencyKey: 'k', customerId: 'cus_b' })).toBe(fingerprint(one));
  });

  it.each<Partial<Posting>>([
    { amountMinor: 6 },
    { isCredit: false },
    { currency: 'INR' },
    { eventType: 'payment' },
    { reason: '' },
    { referenceObjectId: 'r' },
    { metadata: null },
    { metadata: {} },
    { metadata: { a: '1', b: 'x' } },
    { metadata: { a: 1, b: 'x', c: true } },
  ])('differs for %j', (change) => {
    expect(fingerprint({ ...one, ...change })).not.toBe(fingerprint(one));
  });
});
