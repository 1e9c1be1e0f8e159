import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  batchEntryKey,
  KEY_VERSION,
  type KeyVersion,
  type PostingCause,
  parseKey,
  paymentKey,
  paymentKeySql,
  requestKey,
} from '../../src/ledger/keys.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

/** Ids made of whatever joins and escapes the parts of keys, so that near misses are common, and of anything else. */
const marks = fc.constantFrom(
  '_',
  ':',
  '#',
  '%',
  '%25',
  '%3A',
  '%23',
  '#2',
  'a',
  'refund',
  'payment',
  'api',
  '\\',
  ' ',
);
const hostile = fc.array(marks, { maxLength: 6 }).map((parts) => parts.join(''));
const id = fc.oneof({ weight: 4, arbitrary: hostile }, { weight: 1, arbitrary: fc.string({ unit: 'binary' }) });
/** As the database wants them: `src_…`. */
const sourceId = fc.constantFrom('src_stripe', 'src_a', 'src_a_payment', 'src_api');
const cause: fc.Arbitrary<PostingCause> = fc.oneof(
  fc.record({ sourceId, kind: fc.constant('payment' as const), paymentId: id }),
  fc.record({ sourceId, kind: fc.constantFrom('refund' as const, 'dispute' as const), paymentId: id, partId: id }),
);
const number = fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 2 ** 31 - 1 }));
const version: fc.Arbitrary<KeyVersion> = fc.constantFrom(1, 2);
const runs = { numRuns: 2000 };

const refund = { sourceId: 'src_stripe', kind: 'refund', paymentId: 'pi_1', partId: 're_1' } as const;
const payment = { sourceId: 'src_stripe', kind: 'payment', paymentId: 'pi_1' } as const;
const odd = { sourceId: 'src_adyen', kind: 'dispute', paymentId: 'a:b#2', partId: '50%_off' } as const;

describe('the key of a payment', () => {
  it.each<[string, KeyVersion, PostingCause, number]>([
    ['src_stripe:payment_pi_1', 1, payment, 1],
    ['src_stripe:payment_pi_1#2', 1, payment, 2],
    ['src_stripe:refund_pi_1_re_1', 1, refund, 1],
    ['src_adyen:dispute_a:b#2_50%_off#3', 1, odd, 3],
    ['src_stripe:payment:pi_1', 2, payment, 1],
    ['src_stripe:refund:pi_1:re_1#2', 2, refund, 2],
    ['src_adyen:dispute:a%3Ab%232:50%25_off', 2, odd, 1],
  ])('is %s', (key, ...input) => {
    expect(paymentKey(...input)).toBe(key);
  });

  it('says what it was made of', () => {
    fc.assert(
      fc.property(cause, number, (made, nth) => {
        const key = paymentKey(2, made, nth);
        expect(parseKey(key)).toEqual({ maker: 'payment', cause: made, number: nth });
      }),
      runs,
    );
  });

  it('is that of nothing else', () => {
    fc.assert(
      fc.property(cause, number, cause, number, (one, oneNth, other, otherNth) => {
        const isSame = isDeepStrictEqual({ ...one, oneNth }, { ...other, oneNth: otherNth });
        expect(paymentKey(2, one, oneNth) === paymentKey(2, other, otherNth)).toBe(isSame);
      }),
      runs,
    );
  });

  it('is no key of version 1, of which nothing can be told', () => {
    fc.assert(
      fc.property(cause, number, (made, nth) => {
        expect(parseKey(paymentKey(1, made, nth))).toBeNull();
      }),
      runs,
    );
    const confused = { ...refund, paymentId: 'a_b', partId: 'c' };
    expect(paymentKey(1, confused, 1)).toBe(paymentKey(1, { ...confused, paymentId: 'a', partId: 'b_c' }, 1));
  });

  it('is never that of a request, whatever a merchant writes', () => {
    fc.assert(
      fc.property(version, cause, number, id, (one, made, nth, text) => {
        const key = paymentKey(one, made, nth);
        expect(requestKey(text)).not.toBe(key);
        expect(requestKey(key)).not.toBe(key);
        expect(parseKey(requestKey(key))).toEqual({ maker: 'api', key });
      }),
      runs,
    );
    const named = { ...payment, sourceId: 'api' };
    expect(() => paymentKey(KEY_VERSION, named, 1)).toThrow('a source has the name');
  });

  it.each([
    ['src_stripe:payment:pi_1#1', 'the first has no number'],
    ['src_stripe:payment:pi_1#02', 'numbers have no noughts before them'],
    ['src_stripe:payment:pi_1:re_1', 'a payment has one id'],
    ['src_stripe:refund:pi_1', 'a refund has two'],
    ['src_stripe:grant:pi_1', 'there are no such things'],
    ['src_stripe:payment:%3a', 'marks are escaped in capitals'],
    ['src_stripe:payment:%41', 'nothing else is escaped'],
    ['src_stripe', 'it says nothing'],
    ['', 'it says nothing'],
  ])('is not %j: %s', (text) => {
    expect(parseKey(text)).toBeNull();
  });
});

it('the key of an entry in a batch is that of the batch with its place', () => {
  expect(batchEntryKey('payroll', 0)).toBe('payroll/0');
});

describe('in SQL', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  it('keys are the same', async () => {
    // Postgres knows no NUL and no half of a surrogate pair, and no id of ours has them.
    const isText = (text: string) => text.isWellFormed() && !text.includes('\0');
    const sample = fc
      .sample(fc.tuple(cause, number), 500)
      .filter(([one]) => isText(one.paymentId) && (!('partId' in one) || isText(one.partId)));
    const rows = sample.map(([one, nth]) => ({ ...one, partId: 'partId' in one ? one.partId : null, nth }));
    const names = { sourceId: '"sourceId"', kind: 'kind', paymentId: '"paymentId"', partId: '"partId"', number: 'nth' };
    const { rows: found } = await database.pool.query(
      `select ${paymentKeySql(1, names)} as one, ${paymentKeySql(2, names)} as two
       from rows from (jsonb_to_recordset($1) as ("sourceId" text, kind text, "paymentId" text, "partId" text, nth integer)) with ordinality
       order by ordinality`,
      [JSON.stringify(rows)],
    );
    expect(found).toEqual(sample.map(([one, nth]) => ({ one: paymentKey(1, one, nth), two: paymentKey(2, one, nth) })));
  });
});
