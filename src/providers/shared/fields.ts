import { z } from 'zod';
import { isMinorAmount } from '../../money.ts';
import type { PaymentFact, ProviderCustomer, TrustedName, WalletMetadata } from '../../payments/fact.ts';

/**
 * Schemas of the fields that providers share. A field that decides about money is read strictly: the event is parked if the
 * field is not as documented. A field that only describes (an e-mail, a time) is read leniently and becomes null.
 */

/** Whether every database and log can hold the text: no control characters, no half surrogates. */
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

/** An identifier, as text or number, that does not decide about money; anything else becomes null. */
export const lenientId = anything.transform((value): string | null => {
  const id = typeof value === 'number' ? String(value) : value;
  return typeof id === 'string' && id !== '' && id.length <= 200 && isPlainText(id) ? id : null;
});

/** The optional fields of a payment's fact, if the provider tells them. */
export function besides({
  seriesId,
  triedAt,
}: Pick<PaymentFact, 'seriesId' | 'triedAt'>): Pick<PaymentFact, 'seriesId' | 'triedAt'> {
  return { ...(seriesId ? { seriesId } : {}), ...(triedAt ? { triedAt } : {}) };
}

/** What the merchant's own key wrote on an order or subscription, as far as it says whose its payments are. */
export function trustedBy(by: TrustedName['by'], { wallet_customer_id: customerId }: WalletMetadata) {
  return customerId === undefined ? {} : { named: { customerId, by } };
}

/** {@link trustedBy}, and whether there is a token, whose terms say whose the payment is. */
export function trustedWith(by: TrustedName['by'], metadata: WalletMetadata): Pick<PaymentFact, 'named' | 'tokenBy'> {
  return { ...trustedBy(by, metadata), ...(metadata.wallet_token === undefined ? {} : { tokenBy: by }) };
}

/** Minor units, as an integer of the JSON. Integers that JavaScript cannot hold exactly were rounded, and are refused. */
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

/** The last second of the year 9999, the latest time that the database and every client can represent. */
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
