import { z } from 'zod';
import { isMinorAmount } from '../../money.ts';
import type { ProviderCustomer } from '../../payments/fact.ts';

/**
 * The fields that providers share, as schemas. What decides about money is read strictly and parks the event when it is
 * not as documented; what only describes (an e-mail, a time) is read leniently and becomes null.
 */

/** Text that every database and log can hold: no control characters, no half surrogates. */
export function isPlainText(text: string): boolean {
  return text.isWellFormed() && !/\p{Cc}/u.test(text);
}

/** Any value, or none. */
export const anything = z.unknown().optional();

/** A provider's identifier. */
export const providerId = z
  .string()
  .min(1, 'wants an id')
  .max(200, 'wants an id of 200 characters or fewer')
  .refine(isPlainText, 'wants an id without control characters');

/** An identifier that may be missing, null or empty; all three are null. */
export const optionalId = z
  .string()
  .max(200, 'wants an id of 200 characters or fewer')
  .refine(isPlainText, 'wants an id without control characters')
  .nullish()
  .transform((id) => (id === undefined || id === '' ? null : id));

/** Minor units, as an integer of the JSON. Larger ones were rounded when they were parsed, and so are refused. */
export const minorAmount = z.custom<number>(
  (value) => isMinorAmount(value) && value >= 0,
  'wants a whole number of minor units, zero or more',
);

/** Three letters of either case, made upper-case. */
export const currencyCode = z
  .string()
  .regex(/^[A-Za-z]{3}$/, 'wants a currency code of three letters')
  .transform((code) => code.toUpperCase());

export const lenientEmail = anything.transform((value): string | null => {
  const email = typeof value === 'string' ? value.trim() : '';
  return email.includes('@') && email.length <= 320 && isPlainText(email) ? email : null;
});

export const lenientName = anything.transform((value): string | null => {
  if (typeof value !== 'string') return null;
  const name = value
    .replace(/\p{Cc}/gu, ' ')
    .slice(0, 500)
    .toWellFormed()
    .trim();
  return name === '' ? null : name;
});

/** The last second of the year 9999, the latest that every store and client of ours can write down. */
const LATEST_SECONDS = 253_402_300_799;

function dateAt(milliseconds: number): Date | null {
  return milliseconds >= 0 && milliseconds <= LATEST_SECONDS * 1000 ? new Date(milliseconds) : null;
}

/** Unix seconds. */
export const lenientUnixTime = anything.transform((value): Date | null =>
  typeof value === 'number' ? dateAt(value * 1000) : null,
);

/** An ISO 8601 text. */
export const lenientIsoTime = anything.transform((value): Date | null =>
  typeof value === 'string' ? dateAt(Date.parse(value)) : null,
);

export const NO_CUSTOMER: ProviderCustomer = { id: null, email: null, name: null };
