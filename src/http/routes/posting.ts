import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Posting } from '../../ledger/entry.ts';
import { EXAMPLE_ENTRY } from '../../views/examples.ts';
import { amount, metadata, moment, text, walletCurrency } from '../../views/fields.ts';
import { lotKind } from '../../views/lot.ts';
import { turnAway } from '../kit/turn-away.ts';

/** The fields of Dodo Payments' body for a new entry, and our own `metadata` and `reference_object_id`. */
export const postingFields = {
  amount,
  currency: walletCurrency,
  entry_type: z.enum(['credit', 'debit'], { error: 'wants credit or debit' }),
  reason: text(1000).nullable().optional(),
  idempotency_key: text(255, 1).nullable().optional().meta({
    description: 'Makes the request safe to repeat: the same key never writes a second entry for this customer.',
  }),
  metadata: metadata.nullable().optional(),
  reference_object_id: text(255).nullable().optional().meta({ description: "An id of your own, such as an order's." }),
};

const PRIORITY_ERROR = 'wants a whole number from 0 to 100';
export const lotPriority = z
  .int({ error: PRIORITY_ERROR })
  .min(0, { error: PRIORITY_ERROR })
  .max(100, { error: PRIORITY_ERROR })
  .optional()
  .meta({ description: 'Lower ones are spent first; credit without terms has 50.' });

const DAYS_ERROR = 'wants a whole number of days from 1 to 3660';

/** The terms of a credit. Without any of them it joins the rest of the balance. */
export const termsFields = {
  kind: lotKind.optional().meta({
    description:
      '`promo` was given for nothing and is kept apart. `paid` and `refund` do not end. `adjustment` unless given.',
  }),
  expires_at: moment.optional().meta({ description: 'From then on what is left of it cannot be spent.' }),
  expires_in_days: z
    .int({ error: DAYS_ERROR })
    .min(1, { error: DAYS_ERROR })
    .max(3660, { error: DAYS_ERROR })
    .optional()
    .meta({ description: 'The same in days of 24 hours from now.' }),
  priority: lotPriority,
  name: text(100, 1).optional().meta({ description: 'What you call it, such as `Welcome`.' }),
};

/** A date of account. */
export const datedFields = {
  effective_at: moment.optional().meta({
    description:
      'The day that it belongs to, where that is past: 90 days back at most. It is shown, and changes nothing: balances, past ones too, go by when the entry is written.',
  }),
};

/** The request that wrote the entry of the examples. */
export const EXAMPLE_POSTING = {
  amount: EXAMPLE_ENTRY.amount,
  currency: EXAMPLE_ENTRY.currency,
  entry_type: 'debit',
  reason: EXAMPLE_ENTRY.reason,
  idempotency_key: EXAMPLE_ENTRY.idempotency_key,
  metadata: EXAMPLE_ENTRY.metadata,
  reference_object_id: EXAMPLE_ENTRY.reference_object_id,
} as const;

/** A credit that ends. */
export const EXAMPLE_PROMOTION = {
  amount: 500,
  currency: EXAMPLE_ENTRY.currency,
  entry_type: 'credit',
  kind: 'promo',
  expires_in_days: 30,
  name: 'Welcome',
  idempotency_key: 'welcome-42',
} as const;

const MAX_KEY_LENGTH = 255;

/** The header `Idempotency-Key` for the OpenAPI document. Only ASCII, since proxies and servers read other bytes differently. */
export function idempotencyHeader(maxLength: number, description: string): Record<'Idempotency-Key', z.ZodType> {
  const key = z.string().regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/);
  return { 'Idempotency-Key': key.max(maxLength).optional().meta({ description }) };
}

/** The header that does what `idempotency_key` does, for callers whose HTTP client or gateway sets it. */
export const IDEMPOTENCY_HEADER = idempotencyHeader(
  MAX_KEY_LENGTH,
  'The same as `idempotency_key` in the body, for clients that set the header. ASCII; taken as it stands, quotes included. If both are given they must be equal.',
);

/**
 * The key in the header `Idempotency-Key`, or null if there is none.
 * @param maxLength in characters
 * @throws {TurnedAwayError} INVALID_IDEMPOTENCY_KEY
 */
export function headerKey(headers: IncomingHttpHeaders, maxLength = MAX_KEY_LENGTH): string | null {
  const key = headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key === 'string' && key.length <= maxLength && /^[\x20-\x7e]+$/.test(key)) return key;
  return turnAway(
    'INVALID_IDEMPOTENCY_KEY',
    `Idempotency-Key: wants 1 to ${maxLength} ASCII characters in the header.`,
  );
}

/**
 * The idempotency key of a request, from its body or its header; null if it has none.
 * @throws {TurnedAwayError} INVALID_IDEMPOTENCY_KEY if body and header have different keys, of which one would be ignored
 */
export function keyOfRequest(inBody: string | null | undefined, headers: IncomingHttpHeaders): string | null {
  const inHeader = headerKey(headers);
  if (inBody == null || inHeader === null || inBody === inHeader) return inBody ?? inHeader;
  return turnAway('INVALID_IDEMPOTENCY_KEY', KEYS_DIFFER);
}

const KEYS_DIFFER =
  'Idempotency-Key: the header and idempotency_key in the body differ. Send one of them, or the same in both.';

/**
 * Whether an SDK repeats a request without a key by itself (`x-stainless-retry-count` says so). The first may have succeeded and
 * only its answer been lost; without a key nothing tells a repeat from a second entry that is wanted.
 */
export function isBlindRepeat({ idempotencyKey }: Posting, headers: IncomingHttpHeaders): boolean {
  return idempotencyKey === null && /[1-9]/.test(String(headers['x-stainless-retry-count'] ?? ''));
}

export const REPEATED_BLINDLY =
  'This is an automatic repetition of a request without an idempotency key, which may have been carried out. Look at the ledger, and send a key next time.';

export const KEY_EXISTS = 'This idempotency key was used before, for the same request: "entry" is what it wrote.';
