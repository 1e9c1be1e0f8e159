import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { minorFromDecimal, minorFromInteger } from '../../src/providers/shared/currency.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';

const shown = (amount: ReturnType<typeof minorFromInteger>) => (typeof amount === 'number' ? amount : amount.reason);

describe('an amount in the smallest unit of the provider', () => {
  it.each<[ProviderName, string, number | string, number | string]>([
    ['paddle', 'USD', '5000', 5000],
    ['paddle', 'USD', '0', 0],
    ['paddle', 'USD', '007', 7],
    ['paddle', 'JPY', '800', 800],
    ['paddle', 'KRW', '800', 800],
    ['paddle', 'CLP', '800', 800],
    ['paddle', 'VND', '800', 800],
    ['paddle', 'HUF', '800', 800],
    ['paddle', 'TWD', '800', 800],
    ['paddle', 'KWD', '1250', 1250],
    ['paddle', 'USD', '9007199254740991', 9_007_199_254_740_991],
    ['paddle', 'USD', '9007199254740992', 'malformed'],
    ['paddle', 'USD', '10000000000000000', 'malformed'],
    ['paddle', 'USD', '', 'malformed'],
    ['paddle', 'USD', '-1', 'malformed'],
    ['paddle', 'USD', '1.5', 'malformed'],
    ['paddle', 'USD', '1e3', 'malformed'],
    ['paddle', 'USD', ' 1', 'malformed'],
    ['paddle', 'USD', '0x10', 'malformed'],
    ['paddle', 'USD', '١٢', 'malformed'],
    ['polar', 'USD', 5000, 5000],
    ['polar', 'USD', 1.5, 'malformed'],
    ['polar', 'USD', -1, 'malformed'],
    ['polar', 'USD', Number.NaN, 'malformed'],
    ['polar', 'USD', 2 ** 53, 'malformed'],
    ['polar', 'MGA', 40, 4000],
    ['polar', 'ISK', 4000, 40],
    ['polar', 'ISK', 4050, 'malformed'],
    ['polar', 'UGX', 4000, 'unknown_currency'],
    ['polar', 'MGA', 90_071_992_547_410, 'malformed'],
    ['stripe', 'UGX', 4000, 40],
    ['stripe', 'JPY', 4000, 4000],
    ['dodo', 'JPY', 4000, 4000],
    ['lemonsqueezy', 'EUR', 4000, 4000],
    ['lemonsqueezy', 'JPY', 4000, 'unknown_currency'],
    ['lemonsqueezy', 'KWD', 4000, 'unknown_currency'],
    ['adyen', 'CLP', 4000, 40],
    ['adyen', 'ISK', 4000, 40],
    ['adyen', 'CLP', 4001, 'malformed'],
    ['adyen', 'CVE', 40, 4000],
    ['adyen', 'IDR', 40, 4000],
    ['adyen', 'JPY', 40, 40],
    ['adyen', 'BHD', 4000, 4000],
    ['paddle', 'XXX', '1', 'unknown_currency'],
    ['paddle', 'usd', '1', 'unknown_currency'],
    ['paddle', '__proto__', '1', 'unknown_currency'],
  ])('%s, %s %s → %s', (provider, currency, integer, expected) => {
    expect(shown(minorFromInteger(provider, currency, integer))).toBe(expected);
  });
});

describe('an amount as a decimal of the major unit', () => {
  it.each<[ProviderName, string, string, number | string]>([
    ['paypal', 'USD', '12.50', 1250],
    ['paypal', 'USD', '12.5', 1250],
    ['paypal', 'USD', '12', 1200],
    ['paypal', 'USD', '0.07', 7],
    ['paypal', 'USD', '1.005', 'malformed'],
    ['paypal', 'USD', '10.000', 'malformed'],
    ['paypal', 'USD', '.5', 'malformed'],
    ['paypal', 'USD', '5.', 'malformed'],
    ['paypal', 'USD', '-5.00', 'malformed'],
    ['paypal', 'USD', '+5.00', 'malformed'],
    ['paypal', 'USD', '1,000.00', 'malformed'],
    ['paypal', 'USD', '1e3', 'malformed'],
    ['paypal', 'USD', ' 1.00', 'malformed'],
    ['paypal', 'USD', '1.00\n', 'malformed'],
    ['paypal', 'USD', '', 'malformed'],
    ['paypal', 'USD', '90071992547409.91', 9_007_199_254_740_991],
    ['paypal', 'USD', '90071992547409.92', 'malformed'],
    ['paypal', 'JPY', '800', 800],
    ['paypal', 'JPY', '800.00', 'malformed'],
    ['paypal', 'HUF', '800', 80_000],
    ['paypal', 'HUF', '800.50', 'malformed'],
    ['paypal', 'TWD', '800', 80_000],
    ['cashfree', 'INR', '170.00', 17_000],
    ['cashfree', 'INR', '170', 17_000],
    ['cashfree', 'KWD', '1.234', 1234],
    ['cashfree', 'CLF', '1.2345', 12_345],
    ['cashfree', 'UYW', '1.2345', 12_345],
    ['cashfree', 'UYI', '5', 5],
    ['cashfree', 'UYI', '5.00', 'malformed'],
    ['cashfree', 'XXX', '1.00', 'unknown_currency'],
  ])('%s, %s %s → %s', (provider, currency, text, expected) => {
    expect(shown(minorFromDecimal(provider, currency, text))).toBe(expected);
  });

  it('is exact for every amount, and one for its integer', () => {
    const minor = fc.oneof(fc.nat(), fc.maxSafeNat());
    fc.assert(
      fc.property(minor, fc.constantFrom(['USD', 2], ['JPY', 0], ['KWD', 3], ['CLF', 4]), (amount, [code, digits]) => {
        const text = String(amount).padStart(Number(digits) + 1, '0');
        const whole = text.slice(0, text.length - Number(digits));
        const decimal = digits === 0 ? whole : `${whole}.${text.slice(-Number(digits))}`;
        expect(minorFromDecimal('cashfree', String(code), decimal)).toBe(amount);
        expect(minorFromInteger('cashfree', String(code), amount)).toBe(amount);
      }),
    );
  });

  it('never throws, and never gives what is no amount', () => {
    const provider = fc.constantFrom<ProviderName>('paddle', 'lemonsqueezy', 'polar', 'stripe');
    const code = fc.oneof(fc.constantFrom('USD', 'JPY', 'KWD', 'MGA', 'ISK'), fc.string());
    fc.assert(
      fc.property(provider, code, fc.oneof(fc.string(), fc.double().map(String)), (name, currency, text) => {
        for (const amount of [minorFromDecimal(name, currency, text), minorFromInteger(name, currency, text)]) {
          if (typeof amount === 'number') expect(Number.isSafeInteger(amount) && amount >= 0).toBe(true);
          else expect(amount.detail).not.toBe('');
        }
      }),
    );
  });
});
