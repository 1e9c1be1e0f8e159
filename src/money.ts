import { invariant } from './errors.ts';

/**
 * Money is an integer count of a currency's minor unit (cents, paise), held in a JavaScript number no larger
 * than this, so that no float ever rounds it. Postgres holds it as `bigint` under a CHECK of the same bound.
 */
export const MAX_AMOUNT_MINOR = Number.MAX_SAFE_INTEGER;

/** True for a whole number of minor units that JavaScript represents exactly. Negative zero is refused. */
export function isMinorAmount(value: unknown): value is number {
  return Number.isSafeInteger(value) && !Object.is(value, -0);
}

/** True for the form of an ISO 4217 code in upper case. Whether there are wallets of it is decided by the configuration. */
export function isCurrencyCode(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Z]{3}$/.test(value);
}

/**
 * `amount * numerator / denominator` rounded down, exactly.
 * All three are non-negative safe integers, the denominator positive, and numerator ≤ denominator, so the
 * result never exceeds `amount`.
 */
export function proportionMinor(amount: number, numerator: number, denominator: number): number {
  invariant(isMinorAmount(amount) && amount >= 0, `a proportion of a bad amount: ${amount}`);
  invariant(isMinorAmount(numerator) && numerator >= 0, `a proportion with a bad numerator: ${numerator}`);
  invariant(isMinorAmount(denominator) && denominator >= numerator && denominator > 0, 'a proportion above one');
  return Number((BigInt(amount) * BigInt(numerator)) / BigInt(denominator));
}

/** A decimal such as `0.0119` as an exact fraction, for conversions that must not pass through a float. */
export interface Rate {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** Reads a plain positive decimal, or returns null if the text is anything else. */
export function parseRate(text: string): Rate | null {
  const match = /^(\d{1,12})(?:\.(\d{1,12}))?$/.exec(text);
  if (!match) return null;
  const fraction = match[2] ?? '';
  const numerator = BigInt(`${match[1]}${fraction}`);
  return numerator === 0n ? null : { numerator, denominator: 10n ** BigInt(fraction.length) };
}

/** The decimal that {@link parseRate} reads as this rate, such as `1.5`. */
export function formatRate({ numerator, denominator }: Rate): string {
  const digits = String(denominator).length - 1;
  const text = String(numerator).padStart(digits + 1, '0');
  const whole = text.slice(0, text.length - digits);
  const fraction = text.slice(text.length - digits).replace(/0+$/, '');
  return fraction === '' ? whole : `${whole}.${fraction}`;
}

/** Whether `amount` is more than `rate` times `base`, exactly. */
export function exceeds(amount: number, base: number, { numerator, denominator }: Rate): boolean {
  return BigInt(amount) * denominator > BigInt(base) * numerator;
}

/** `amount * rate`, rounded once, half to even (the rule that does not drift over many amounts). */
export function convertMinor(amount: number, rate: Rate): bigint {
  invariant(isMinorAmount(amount), `a conversion of a bad amount: ${amount}`);
  const product = BigInt(amount) * rate.numerator;
  const negative = product < 0n;
  const magnitude = negative ? -product : product;
  const quotient = magnitude / rate.denominator;
  const twiceRemainder = (magnitude % rate.denominator) * 2n;
  const roundUp = twiceRemainder > rate.denominator || (twiceRemainder === rate.denominator && quotient % 2n === 1n);
  const rounded = roundUp ? quotient + 1n : quotient;
  return negative ? -rounded : rounded;
}

/**
 * The currencies whose minor unit is not a hundredth, by ISO 4217. `Intl` is not used, since it follows custom instead of the
 * standard: it gives the Pakistani rupee no decimals, which would make one rupee a hundred.
 */
const DECIMALS: ReadonlyMap<string, number> = new Map([
  ...[
    'BIF',
    'CLP',
    'DJF',
    'GNF',
    'ISK',
    'JPY',
    'KMF',
    'KRW',
    'PYG',
    'RWF',
    'UGX',
    'UYI',
    'VND',
    'VUV',
    'XAF',
    'XOF',
    'XPF',
  ].map((currency) => [currency, 0] as const),
  ...['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND'].map((currency) => [currency, 3] as const),
  ...['CLF', 'UYW'].map((currency) => [currency, 4] as const),
]);

/** How many decimals a currency's minor unit has; amounts themselves are always in that unit and need no decimals. */
export function decimals(currency: string): number {
  return DECIMALS.get(currency) ?? 2;
}

/** `-1234` USD becomes `-12.34 USD`, for people to read. */
export function formatMinor(amount: number, currency: string): string {
  const digits = decimals(currency);
  const text = String(Math.abs(amount)).padStart(digits + 1, '0');
  const whole = text.slice(0, text.length - digits);
  const fraction = digits === 0 ? '' : `.${text.slice(-digits)}`;
  return `${amount < 0 ? '-' : ''}${whole}${fraction} ${currency}`;
}
