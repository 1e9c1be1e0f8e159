import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { LAST_MOMENT } from '../clock.ts';
import { EVENT_TYPES } from '../ledger/entry.ts';
import { MAX_AMOUNT_MINOR } from '../money.ts';
import { isDodoSdk } from './dodo-sdk.ts';
import { EXAMPLE } from './examples.ts';

/**
 * The building blocks of request and response schemas. Every message completes the sentence "<field>: …". Lengths are those
 * of the CHECKs in migrations/. Here they count UTF-16 units, of which a text never has fewer than Postgres counts characters.
 */

/** Text that Postgres can store as it is: no NUL, no half of a surrogate pair. */
export function text(maximum: number, minimum = 0) {
  const length = minimum > 0 ? `wants ${minimum} to ${maximum} characters` : `wants ${maximum} characters or fewer`;
  return z
    .string({ error: 'wants text' })
    .min(minimum, { error: length })
    .max(maximum, { error: length })
    .refine((value) => !value.includes('\0') && value.isWellFormed(), {
      error: 'holds a character that cannot be stored (NUL or half of a surrogate pair)',
    })
    .meta({ pattern: WITHOUT_NUL });
}

/** For the API document. It need not exclude halves of surrogate pairs, which JSON Schema does not take for text either. */
const WITHOUT_NUL = String.raw`^[^\u0000]*$`;

export const currency = z
  .string({ error: 'wants an upper-case ISO 4217 code such as USD' })
  .regex(/^[A-Z]{3}$/, { error: 'wants an upper-case ISO 4217 code such as USD' });

/** A currency that wallets may have; the API document lists them. */
export const walletCurrency = currency.meta({
  id: 'WalletCurrency',
  description: 'A currency in which there are wallets, by `WALLET_CURRENCIES` of the service.',
  examples: [EXAMPLE.currency],
});

const AMOUNT_ERROR = `wants a positive whole number of minor units (cents, paise) up to ${MAX_AMOUNT_MINOR}`;

export const amount = z
  .int({ error: AMOUNT_ERROR })
  .min(1, { error: AMOUNT_ERROR })
  .max(MAX_AMOUNT_MINOR, { error: AMOUNT_ERROR })
  .meta({ description: 'Minor units (cents, paise), always positive.', examples: [250] });

/** Any balance or sum in minor units. */
export const minorUnits = z.int().min(-MAX_AMOUNT_MINOR).max(MAX_AMOUNT_MINOR);

export const eventType = z.enum(EVENT_TYPES, { error: `wants one of ${EVENT_TYPES.join(', ')}` });

/** The limits of metadata, pairs and lengths, are those of Dodo Payments. */
const MAX_PAIRS = 50;
const metadataValue = z.union([text(500), z.number(), z.boolean()], {
  error: 'wants text of 500 characters or fewer, a number, true or false',
});

export const metadata = z
  .record(text(40, 1), metadataValue, { error: 'wants an object with keys of 1 to 40 characters' })
  .refine((pairs) => Object.keys(pairs).length <= MAX_PAIRS, {
    error: `wants ${MAX_PAIRS} pairs or fewer`,
    params: { errorCode: 'MAXIMUM_KEYS_REACHED' },
  })
  .meta({
    description: 'Up to 50 pairs; keys of up to 40 characters; text, numbers or booleans of up to 500 characters.',
    maxProperties: MAX_PAIRS,
  });

export const storedMetadata = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

/** Time in responses. */
export const timestamp = z.iso.datetime().meta({ description: 'RFC 3339, UTC.' });

const MOMENT_ERROR = 'wants a time such as 2026-01-31T12:00:00Z';
const FIRST_MOMENT = Date.parse('0001-01-01T00:00:00Z');

/** Time in requests, with `Z` or an offset. Only years that Postgres and JavaScript write in the same way. */
export const moment = z.iso
  .datetime({ offset: true, error: MOMENT_ERROR })
  .transform((value) => new Date(value))
  .refine((date) => date.getTime() >= FIRST_MOMENT && date.getTime() <= LAST_MOMENT, { error: MOMENT_ERROR });

const idText = text(300, 1);
export const customerParams = z.strictObject({ customer_id: idText });
export const walletParams = z.strictObject({ customer_id: idText, currency });

/** The schema of a path with one id of this name. */
export function idParams<Name extends string>(name: Name) {
  return z.strictObject({ [name]: idText } as { [Key in Name]: typeof idText });
}

const plainId = z.string().regex(/^[A-Za-z0-9_-]{1,200}$/);

/** The same for an id that may become part of another service's URL: `..` would name something else there, and is refused. */
export function plainIdParams<Name extends string>(name: Name) {
  return z.strictObject({ [name]: plainId } as { [Key in Name]: typeof plainId });
}

/** A whole number in a query string. */
export function queryInteger(minimum: number, maximum: number) {
  const message = `wants a whole number from ${minimum} to ${maximum}`;
  return z
    .string({ error: message })
    .refine((digits) => /^\d{1,16}$/.test(digits) && Number(digits) >= minimum && Number(digits) <= maximum, {
      error: message,
    })
    .transform(Number)
    .meta({ type: 'integer', minimum, maximum });
}

export const paging = {
  page_size: queryInteger(1, 100).default(10).meta({ description: 'Items a page; 10 unless given.', default: 10 }),
  page_number: queryInteger(0, 1_000_000).optional().meta({
    description:
      "From 0, which is also what none means. To a request of Dodo's SDKs that leaves it out, pages 0 and 1 are answered at once, since their loops go on with page 2. Dodo's SDK for Python takes a 0 for a 1: leave it out there in a loop, or name every page yourself.",
  }),
};

interface Page {
  readonly pageSize: number;
  /** From 0. */
  readonly pageNumber: number;
}

/**
 * Dodo Payments counts pages from 0. But the iterators of Dodo's SDKs take a request without `page_number` for page 1 and
 * continue with page 2, so page 1 is never asked for. A request of such an SDK (`x-stainless-lang` tells) without a page gets
 * pages 0 and 1 together, since a loop over a ledger must not skip entries.
 */
export function pageOf(
  { page_size: pageSize, page_number: pageNumber }: { page_size: number; page_number?: number | undefined },
  headers: IncomingHttpHeaders,
): Page {
  if (pageNumber !== undefined) return { pageSize, pageNumber };
  return { pageSize: isDodoSdk(headers) ? 2 * pageSize : pageSize, pageNumber: 0 };
}

/** The schema of a list: `{ items }`. */
export function itemsOf<Item extends z.ZodType>(item: Item) {
  return z.strictObject({ items: z.array(item) });
}
