import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { EVENT_TYPES } from '../ledger/entry.ts';
import { MAX_AMOUNT_MINOR } from '../money.ts';
import { isDodoSdk } from './dodo-sdk.ts';

/**
 * The building blocks of request and response schemas. Every message completes the sentence "<field>: …". The lengths
 * are those of the CHECKs in migrations/; counted in UTF-16 units, which are never fewer than the characters Postgres counts.
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
    });
}

export const currency = z
  .string({ error: 'wants an upper-case ISO 4217 code such as USD' })
  .regex(/^[A-Z]{3}$/, { error: 'wants an upper-case ISO 4217 code such as USD' });

const AMOUNT_ERROR = `wants a positive whole number of minor units (cents, paise) up to ${MAX_AMOUNT_MINOR}`;

export const amount = z
  .int({ error: AMOUNT_ERROR })
  .min(1, { error: AMOUNT_ERROR })
  .max(MAX_AMOUNT_MINOR, { error: AMOUNT_ERROR })
  .meta({ description: 'Minor units (cents, paise), always positive.' });

/** Any balance or sum in minor units. */
export const minorUnits = z.int().min(-MAX_AMOUNT_MINOR).max(MAX_AMOUNT_MINOR);

export const eventType = z.enum(EVENT_TYPES, { error: `wants one of ${EVENT_TYPES.join(', ')}` });

/** The most pairs of metadata, and their lengths; Dodo Payments' limits. */
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
  });

export const storedMetadata = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

/** Time in responses. */
export const timestamp = z.iso.datetime().meta({ description: 'RFC 3339, UTC.' });

const MOMENT_ERROR = 'wants a time such as 2026-01-31T12:00:00Z';
const FIRST_MOMENT = Date.parse('0001-01-01T00:00:00Z');
const LAST_MOMENT = Date.parse('9999-12-31T23:59:59.999Z');

/** Time in requests, with `Z` or an offset; of the years that Postgres and JavaScript write down alike. */
export const moment = z.iso
  .datetime({ offset: true, error: MOMENT_ERROR })
  .transform((value) => new Date(value))
  .refine((date) => date.getTime() >= FIRST_MOMENT && date.getTime() <= LAST_MOMENT, { error: MOMENT_ERROR });

const idText = text(300, 1);
export const customerParams = z.strictObject({ customer_id: idText });
export const walletParams = z.strictObject({ customer_id: idText, currency });

export function idParams<Name extends string>(name: Name) {
  return z.strictObject({ [name]: idText } as { [Key in Name]: typeof idText });
}

const plainId = z.string().regex(/^[A-Za-z0-9_-]{1,200}$/);

/** Ids that may become part of another service's URL, where `..` would name something else. */
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
  page_size: queryInteger(1, 100).default(10).meta({ description: 'Items a page; 10 unless given.' }),
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
 * Dodo Payments' pages count from 0, but the iterators of Dodo's SDKs take a request without `page_number` for page 1 and
 * go on with page 2, so that nobody ever asks for page 1. To a request of theirs (`x-stainless-lang` tells) that names
 * no page we answer pages 0 and 1 at once: a loop over a ledger must not skip entries.
 */
export function pageOf(
  { page_size: pageSize, page_number: pageNumber }: { page_size: number; page_number?: number | undefined },
  headers: IncomingHttpHeaders,
): Page {
  if (pageNumber !== undefined) return { pageSize, pageNumber };
  return { pageSize: isDodoSdk(headers) ? 2 * pageSize : pageSize, pageNumber: 0 };
}

export function itemsOf<Item extends z.ZodType>(item: Item) {
  return z.strictObject({ items: z.array(item) });
}
