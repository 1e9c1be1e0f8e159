import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { alignRight, printable, properties, table } from '../../src/cli/output.ts';
import { count, duration, expiry, parseAmount } from '../../src/cli/values.ts';

const NOW = new Date('2026-03-01T12:00:00Z');

describe('what is written on the command line', () => {
  it.each([
    ['12.50', 'USD', 1250],
    ['12.5', 'USD', 1250],
    ['12', 'USD', 1200],
    ['0.01', 'USD', 1],
    ['007', 'JPY', 7],
    ['1.001', 'KWD', 1001],
    ['90071992547409.91', 'USD', Number.MAX_SAFE_INTEGER],
  ])('takes %s %s for %i minor units', (text, currency, minor) => {
    expect(parseAmount(text, currency)).toBe(minor);
  });

  it.each([
    ['12.505', 'USD', 'amount: USD has 2 decimals, as in 12.50'],
    ['12.0', 'JPY', 'amount: JPY has 0 decimals, as in 12'],
    ['1.2345', 'KWD', 'amount: KWD has 3 decimals, as in 12.500'],
    ...['', '.5', '5.', '1,000', '1e3', '+1', '-1', ' 1', '0x10', '12 345'].map((text) => [
      text,
      'USD',
      'amount: wants a positive decimal such as 12.50',
    ]),
    ...['0', '0.00'].map((text) => [text, 'USD', 'amount: wants more than nothing']),
    ...['90071992547409.92', '9999999999999999', '99999999999999999', '9'.repeat(60)].map((text) => [
      text,
      'USD',
      'amount: is too large; a wallet holds 90071992547409.91 USD at most',
    ]),
  ])('refuses %j %s', (text = '', currency = '', message = '') => {
    expect(() => parseAmount(text, currency)).toThrow(message);
  });

  it('reads time spans, moments and counts', () => {
    const spans = ['90s', '15m', '24h', '30d', '0s'].map((text) => duration.parse(text));
    expect(spans).toEqual([90, 900, 86_400, 2_592_000, 0]);
    const ends = ['1d', '2026-12-31', '2026-12-31T12:00:00+02:00'].map((text) => expiry.parse(text)(NOW).toISOString());
    expect(ends).toEqual(['2026-03-02T12:00:00.000Z', '2026-12-31T00:00:00.000Z', '2026-12-31T10:00:00.000Z']);
    expect(count(1, 20).parse('20')).toBe(20);
    for (const text of ['1w', 'd', '-1d', '1.5h', '3651d']) expect(duration.safeParse(text).success).toBe(false);
    for (const text of ['soon', '2026-02-30', '2026-12-31T12:00:00'])
      expect(expiry.safeParse(text).success).toBe(false);
    for (const text of ['0', '21', '1e1', '']) expect(count(1, 20).safeParse(text).success).toBe(false);
  });
});

describe('what the terminal is shown', () => {
  it.each([
    ['plain, naïve and 貯金 👩‍👩‍👧', 'plain, naïve and 貯金 👩‍👩‍👧'],
    ['\u001b[2J\u0007', '\\u{1b}[2J\\u{7}'],
    ['a\r\nb\tc\u2028d', 'a\\u{d}\\u{a}b\\u{9}c\\u{2028}d'],
    ['\u009b31m\u007f', '\\u{9b}31m\\u{7f}'],
    ['\u202egnp.exe\u2069', '\\u{202e}gnp.exe\\u{2069}'],
    ['half \ud800 pair', 'half \\u{d800} pair'],
  ])('makes %j safe', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('puts things into columns, cuts what is long, and says when there is nothing', () => {
    const rows = [
      ['a', 1, null],
      ['x'.repeat(80), 22, 'b\n'],
    ];
    const lines = table(['name', 'n', 'note'], rows, 'Nothing.').split('\n');
    expect(stripVTControlCharacters(lines[0] ?? '')).toBe(`name${' '.repeat(58)}n   note`);
    expect(lines[2]).toBe(`a${' '.repeat(59)}   1  –`);
    expect(lines[3]).toBe(`${'x'.repeat(59)}…  22  b\\u{a}`);
    expect(table(['name'], [], 'Nothing.')).toBe('Nothing.');
    expect(properties({ name: 'a\nb', gone: null, n: 0 })).toBe('name  a\\u{a}b\nn     0');
    expect(alignRight(['1.00', '-10.00'])).toEqual(['  1.00', '-10.00']);
  });
});
