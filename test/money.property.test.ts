import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { convertMinor, MAX_AMOUNT_MINOR, parseRate, proportionMinor } from '../src/money.ts';

/** Aim: no float ever rounds money. Method: the same sums over exact fractions of BigInt. */

const RUNS = { numRuns: 1000 };
const amount = fc.oneof(fc.maxSafeNat(), fc.nat(1000), fc.constantFrom(0, 1, MAX_AMOUNT_MINOR - 1, MAX_AMOUNT_MINOR));
const positive = amount.filter((n) => n > 0);

describe('proportionMinor', () => {
  it('is the largest whole number that is no more than the exact proportion', () => {
    fc.assert(
      fc.property(amount, amount, positive, (total, a, b) => {
        const [numerator, denominator] = a < b ? [a, b] : [b, Math.max(a, 1)];
        const result = BigInt(proportionMinor(total, numerator, denominator));
        const exact = BigInt(total) * BigInt(numerator);
        expect(result * BigInt(denominator) <= exact).toBe(true);
        expect((result + 1n) * BigInt(denominator) > exact).toBe(true);
      }),
      RUNS,
    );
  });

  it('never decreases with the numerator, and is everything at one', () => {
    fc.assert(
      fc.property(amount, fc.tuple(amount, amount, positive), (total, numbers) => {
        const [less, more, whole] = numbers.toSorted((a, b) => a - b);
        if (less === undefined || more === undefined || whole === undefined) return;
        expect(proportionMinor(total, less, whole)).toBeLessThanOrEqual(proportionMinor(total, more, whole));
        expect(proportionMinor(total, whole, whole)).toBe(total);
      }),
      RUNS,
    );
  });
});

describe('convertMinor', () => {
  const rateText = fc
    .tuple(fc.bigInt(0n, 999_999n), fc.integer({ min: 0, max: 12 }))
    .chain(([whole, digits]) =>
      fc
        .bigInt(0n, 10n ** BigInt(digits) - 1n)
        .map((part) => ({ whole, digits, text: String(part).padStart(digits, '0') })),
    )
    .map(({ whole, digits, text }) => (digits === 0 ? `${whole}` : `${whole}.${text}`))
    .filter((text) => parseRate(text) !== null);
  const signed = fc.tuple(amount, fc.boolean()).map(([n, isNegative]) => (isNegative && n !== 0 ? -n : n));

  it('is the whole number nearest to the exact product, the even one of two as near, and odd in the amount', () => {
    fc.assert(
      fc.property(signed, rateText, (value, text) => {
        const rate = parseRate(text);
        if (rate === null) throw new Error(`the rate ${text} was not read`);
        const result = convertMinor(value, rate);
        const twiceError = 2n * (BigInt(value) * rate.numerator - result * rate.denominator);
        const distance = twiceError < 0n ? -twiceError : twiceError;
        expect(distance <= rate.denominator).toBe(true);
        if (distance === rate.denominator) expect(result % 2n).toBe(0n);
        if (value !== 0) expect(convertMinor(-value, rate)).toBe(-result);
      }),
      RUNS,
    );
  });

  it('reads a rate exactly', () => {
    fc.assert(
      fc.property(rateText, (text) => {
        const rate = parseRate(text);
        const [whole = '', fraction = ''] = text.split('.');
        expect(rate).toEqual({
          numerator: BigInt(whole) * 10n ** BigInt(fraction.length) + BigInt(fraction || 0),
          denominator: 10n ** BigInt(fraction.length),
        });
      }),
      RUNS,
    );
  });
});
