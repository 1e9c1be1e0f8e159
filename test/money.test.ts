import { describe, expect, it } from 'vitest';
import { invariant } from '../src/errors.ts';
import {
  convertMinor,
  formatMinor,
  formatRate,
  isCurrencyCode,
  isMinorAmount,
  MAX_AMOUNT_MINOR,
  parseRate,
  proportionMinor,
} from '../src/money.ts';

const MAX = MAX_AMOUNT_MINOR;

describe('isMinorAmount', () => {
  it.each([0, 1, -1, MAX, -MAX])('takes %d', (value) => expect(isMinorAmount(value)).toBe(true));
  it.each([-0, 0.5, MAX + 1, Number.NaN, Number.POSITIVE_INFINITY, '1', 1n, null, undefined])('refuses %s', (value) =>
    expect(isMinorAmount(value)).toBe(false),
  );
});

describe('isCurrencyCode', () => {
  it.each(['USD', 'INR', 'XTS'])('takes %s', (value) => expect(isCurrencyCode(value)).toBe(true));
  it.each(['usd', 'US', 'USDT', 'USD\n', '', 840, null])('refuses %j', (value) =>
    expect(isCurrencyCode(value)).toBe(false),
  );
});

describe('proportionMinor', () => {
  it.each([
    [1000, 1, 3, 333],
    [1000, 2, 3, 666],
    [1000, 3, 3, 1000],
    [1000, 0, 3, 0],
    [0, 3, 3, 0],
    // A float would be wrong in the last digits of each of these.
    [MAX, MAX, MAX, MAX],
    [MAX, MAX - 1, MAX, MAX - 1],
    [MAX - 1, MAX - 1, MAX, MAX - 2],
    [MAX, 1, 3, 3_002_399_751_580_330],
    [MAX, 2, 3, 6_004_799_503_160_660],
  ])('%d * %d / %d = %d', (amount, numerator, denominator, result) => {
    expect(proportionMinor(amount, numerator, denominator)).toBe(result);
  });

  it.each([
    [-1, 1, 1],
    [1, -1, 1],
    [1, 2, 1],
    [1, 0, 0],
    [0.5, 1, 1],
    [1, 1, MAX + 1],
  ])('stops at %d * %d / %d', (amount, numerator, denominator) => {
    expect(() => proportionMinor(amount, numerator, denominator)).toThrow('Invariant broken');
  });
});

describe('parseRate and convertMinor', () => {
  it.each(['2', '1.5', '0.0119', '10', '100.25'])('writes %s as it was read', (text) => {
    const rate = parseRate(text);
    expect(rate === null ? null : formatRate(rate)).toBe(text);
  });

  it.each([
    // Half to even, in both directions.
    [1, '0.5', 0n],
    [3, '0.5', 2n],
    [5, '0.5', 2n],
    [7, '0.5', 4n],
    [-1, '0.5', 0n],
    [-3, '0.5', -2n],
    [-5, '0.5', -2n],
    // Not a half.
    [1, '0.51', 1n],
    [1, '0.49', 0n],
    [-1, '0.51', -1n],
    [50_000, '0.0119', 595n],
    [0, '0.0119', 0n],
    [MAX, '1', BigInt(MAX)],
    [MAX, '999999999999.999999999999', 9_007_199_254_740_990_999_999_990_993n],
    [1, '0.000000000001', 0n],
  ])('%d at %s is %d', (amount, text, result) => {
    const rate = parseRate(text);
    invariant(rate !== null, 'a rate that is not read');
    expect(convertMinor(amount, rate)).toBe(result);
  });

  it.each(['', '0', '0.0', '-1', '+1', '.5', '1.', '1e3', '1,5', ' 1', '1234567890123', '0.1234567890123', 'NaN'])(
    'refuses the rate %j',
    (text) => expect(parseRate(text)).toBeNull(),
  );

  it('stops at an amount that is none', () => {
    expect(() => convertMinor(0.5, { numerator: 1n, denominator: 1n })).toThrow('Invariant broken');
  });
});

describe('formatMinor', () => {
  it.each([
    [-1234, 'USD', '-12.34 USD'],
    [0, 'USD', '0.00 USD'],
    [5, 'USD', '0.05 USD'],
    [-5, 'INR', '-0.05 INR'],
    [1234, 'JPY', '1234 JPY'],
    [0, 'JPY', '0 JPY'],
    [1234, 'KWD', '1.234 KWD'],
    [MAX, 'USD', '90071992547409.91 USD'],
  ])('%d %s is %s', (amount, currency, text) => {
    expect(formatMinor(amount, currency)).toBe(text);
  });
});
