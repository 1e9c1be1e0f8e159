import { z } from 'zod';
import { Secret } from '../crypto/secret.ts';
import { decodeEncryptionKey } from '../crypto/secret-box.ts';
import { parseRate } from '../money.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';

/** How the values of variables are written, each with the words for one that is not. */

export const MEBIBYTE = 1024 * 1024;
export const CURRENCY = z.string().regex(/^[A-Z]{3}$/, 'wants three-letter currency codes such as USD,INR');
export const FLAG = z.enum(['true', 'false'], 'wants true or false').transform((text) => text === 'true');

export function wholeNumber(minimum: number, maximum: number) {
  const message = `wants a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^\d+$/, message)
    .transform(Number)
    .refine((n) => n >= minimum && n <= maximum, message);
}

/** A number of days; 0 stands for ever. */
export function daysOrEver(minimum: number) {
  const maximum = 36_500;
  return wholeNumber(0, maximum).refine(
    (days) => days === 0 || days >= minimum,
    `wants a whole number from ${minimum} to ${maximum}, or 0 for ever`,
  );
}

/** `USD:1000,INR:50000` as a map; each value is read by `parseValue`, which returns null for a bad one. */
export function perCurrency<T>(parseValue: (text: string) => T | null, example: string) {
  return z.string().transform((text, context) => {
    const map = new Map<string, T>();
    for (const pair of text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')) {
      const [currency = '', value = '', ...rest] = pair.split(':');
      const parsed = parseValue(value);
      if (!CURRENCY.safeParse(currency).success || parsed === null || rest.length > 0 || map.has(currency)) {
        context.addIssue({ code: 'custom', message: `wants pairs such as ${example}, each currency once` });
        return z.NEVER;
      }
      map.set(currency, parsed);
    }
    return map;
  });
}

export const parseMinor = (text: string): number | null =>
  /^\d{1,15}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : null;

/** `stripe/USD:50` as a map by `stripe/USD`, in minor units. */
export const gatewayMinimums = z.string().transform((text, context) => {
  const minimums = new Map<string, number>();
  for (const pair of text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')) {
    const [, key = '', amount = ''] = /^([a-z]+\/[A-Z]{3}):(\d{1,12})$/.exec(pair) ?? [];
    const isKnown = PROVIDER_NAMES.some((name) => key.startsWith(`${name}/`));
    if (!isKnown || minimums.has(key)) {
      context.addIssue({ code: 'custom', message: 'wants pairs such as stripe/USD:50, each once' });
      return z.NEVER;
    }
    minimums.set(key, Number(amount));
  }
  return minimums;
});

/** At least 1: a payment may always grant what was paid. */
export const ratio = z.string().transform((text, context) => {
  const rate = parseRate(text);
  if (rate !== null && rate.numerator >= rate.denominator) return rate;
  context.addIssue({ code: 'custom', message: 'wants a decimal of at least 1, such as 1.5' });
  return z.NEVER;
});

export const encryptionKeys = z.string().transform((text, context) => {
  const keys = text.split(',').map((part) => part.trim());
  if (keys.every((key) => decodeEncryptionKey(key) !== null)) return keys.map((key) => new Secret(key));
  context.addIssue({
    code: 'custom',
    message:
      'wants 32 random bytes in base64 (openssl rand -base64 32), the newest first of several separated by commas',
  });
  return z.NEVER;
});

/** A text that is sent as `Authorization: Bearer …`. */
export function bearer(minimum: number) {
  return z
    .string()
    .min(minimum, `wants ${minimum} characters or more`)
    .max(256, 'wants 256 characters or fewer')
    .regex(/^[\x21-\x7e]+$/, 'wants printable characters without spaces')
    .transform((text) => new Secret(text));
}
/** Svix's own pages show its address with the path of the API, which the client adds by itself. */
export function withoutApiPath(url: string): string {
  return url
    .replace(/\/+$/, '')
    .replace(/\/api\/v1$/, '')
    .replace(/\/+$/, '');
}

export const databaseUrl = z
  .url({ protocol: /^postgres(ql)?$/, error: 'wants a URL such as postgres://user:password@host:5432/chokin' })
  .transform((text) => new Secret(text));

export const httpUrl = z.url({ protocol: /^https?$/, error: 'wants an http or https URL' });

/** `authorization=Bearer%20abc,x-team=payments`: OpenTelemetry's form, whose values are percent-encoded. */
export const headerPairs = z.string().transform((text, context) => {
  const headers = new Map<string, Secret>();
  for (const pair of text.split(',').map((part) => part.trim())) {
    const [, name, value] = /^([\w!#$%&'*+.^`|~-]+)\s*=\s*([\x21-\x7e ]*)$/.exec(pair) ?? [];
    const decoded = value === undefined ? null : percentDecoded(value);
    if (name === undefined || decoded === null) {
      context.addIssue({ code: 'custom', message: 'wants pairs such as authorization=Bearer%20abc,x-team=payments' });
      return z.NEVER;
    }
    headers.set(name, new Secret(decoded));
  }
  return headers;
});

function percentDecoded(text: string): string | null {
  try {
    const decoded = decodeURIComponent(text);
    return /^[\x20-\x7e]*$/.test(decoded) ? decoded : null;
  } catch {
    return null;
  }
}
