import { MAX_AMOUNT_MINOR } from '../../money.ts';
import type { ProviderName } from './names.ts';

/**
 * Turns a provider's number into our minor units, which are those of ISO 4217. Providers call their numbers minor units too,
 * but some count some currencies in another unit than the standard; the tables below list these.
 */

/** The currencies of ISO 4217 in use, by how many digits their minor unit has. */
const ISO_4217 = {
  0: 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF',
  2: `AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC
    CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES
    KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR
    NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT
    TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG`,
  3: 'BHD IQD JOD KWD LYD OMR TND',
  4: 'CLF UYW',
} as const;

const ISO_EXPONENTS: ReadonlyMap<string, number> = new Map(
  Object.entries(ISO_4217).flatMap(([exponent, codes]) => codes.split(/\s+/).map((code) => [code, Number(exponent)])),
);

/** How many decimals a provider's number has; `unknown` if the provider does not document it. */
type Exponents = Readonly<Record<string, number | 'unknown'>>;

const OTHER_THAN_TWO_DIGITS: Exponents = Object.fromEntries(
  [...ISO_EXPONENTS].filter(([, exponent]) => exponent !== 2).map(([code]) => [code, 'unknown']),
);

/**
 * The currencies in which a provider's unit is not that of ISO 4217. A provider that is missing, and a currency that is missing
 * in its row, follow the standard. Dodo and Razorpay are missing since they document the standard for all currencies: "cents for
 * USD, yen for JPY, fils for KWD" (the comments of Dodo's SDK), 295 for 295 JPY, 295990 for 295.990 KWD (Razorpay's
 * payment entity).
 */
const DEVIATIONS: Readonly<Partial<Record<ProviderName, Exponents>>> = {
  // docs.stripe.com/currencies: MGA has no decimals; ISK and UGX have none either but are sent with two, `00`.
  stripe: { MGA: 0, ISK: 2, UGX: 2 },
  // Polar passes its amounts on to Stripe, but prints UGX without decimals, and does not document which of the two is right.
  polar: { MGA: 0, ISK: 2, UGX: 'unknown' },
  // Every amount is documented as "in cents", whatever the currency.
  lemonsqueezy: OTHER_THAN_TWO_DIGITS,
  // developer.paypal.com/api/rest/reference/currency-codes: "does not support decimals".
  paypal: { HUF: 0, JPY: 0, TWD: 0 },
  // docs.adyen.com/development-resources/currency-codes: "differs from standard".
  adyen: { CLP: 2, CVE: 0, IDR: 0, ISK: 2 },
};

/** Why an amount cannot be read, so that its event is parked. The detail quotes only the currency. */
export interface AmountProblem {
  readonly reason: 'unknown_currency' | 'malformed';
  readonly detail: string;
}

/**
 * Our minor units of an amount that a provider sends as an integer in its own smallest unit.
 * @param currency upper-case ISO 4217
 * @param integer a whole number, or its digits as text; zero or more
 */
export function minorFromInteger(
  provider: ProviderName,
  currency: string,
  integer: number | string,
): number | AmountProblem {
  const exponents = exponentsOf(provider, currency);
  if ('reason' in exponents) return exponents;
  const digits = typeof integer === 'string' ? integer : Number.isSafeInteger(integer) ? String(integer) : '';
  if (!/^\d{1,16}$/.test(digits)) return malformed('wants a whole number of the smallest unit, zero or more');
  return rescaled(BigInt(digits), exponents);
}

/**
 * Our minor units of an amount that a provider sends as a decimal of the major unit, such as `12.50`. The digits never become
 * a float. More decimals than the currency has at this provider are refused, even zeros: the point may separate thousands.
 * @param currency upper-case ISO 4217
 * @param text digits, optionally a point and digits; no sign, exponent or separators
 */
export function minorFromDecimal(provider: ProviderName, currency: string, text: string): number | AmountProblem {
  const exponents = exponentsOf(provider, currency);
  if ('reason' in exponents) return exponents;
  const match = /^(\d{1,16})(?:\.(\d{1,4}))?$/.exec(text);
  if (match === null) return malformed('wants a plain decimal, zero or more');
  const fraction = match[2] ?? '';
  if (fraction.length > exponents.atProvider) {
    return malformed(`has more than the ${exponents.atProvider} decimals that ${currency} has`);
  }
  return rescaled(BigInt(`${match[1]}${fraction.padEnd(exponents.atProvider, '0')}`), exponents);
}

/**
 * A provider's own number for our minor units; null where it has none for them.
 * @param currency upper-case ISO 4217
 */
export function integerFromMinor(provider: ProviderName, currency: string, minor: number): number | null {
  const exponents = exponentsOf(provider, currency);
  if ('reason' in exponents) return null;
  const { atProvider, iso } = exponents;
  const integer = rescaled(BigInt(minor), { atProvider: iso, iso: atProvider });
  return typeof integer === 'number' ? integer : null;
}

interface ExponentPair {
  readonly atProvider: number;
  readonly iso: number;
}

function exponentsOf(provider: ProviderName, currency: string): ExponentPair | AmountProblem {
  const iso = ISO_EXPONENTS.get(currency);
  if (iso === undefined) return { reason: 'unknown_currency', detail: `${currency} is not a currency of ISO 4217` };
  const atProvider = DEVIATIONS[provider]?.[currency] ?? iso;
  if (atProvider === 'unknown') {
    return {
      reason: 'unknown_currency',
      detail: `${provider} does not document in which unit it counts ${currency}`,
    };
  }
  return { atProvider, iso };
}

function rescaled(units: bigint, { atProvider, iso }: ExponentPair): number | AmountProblem {
  const multiplier = 10n ** BigInt(Math.max(0, iso - atProvider));
  const divisor = 10n ** BigInt(Math.max(0, atProvider - iso));
  const product = units * multiplier;
  if (product % divisor !== 0n) return malformed('is not whole in the minor unit of its currency');
  const minor = product / divisor;
  return minor <= BigInt(MAX_AMOUNT_MINOR) ? Number(minor) : malformed('is larger than any amount of money');
}

function malformed(detail: string): AmountProblem {
  return { reason: 'malformed', detail };
}
