import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { type Refusal, refuse } from '../../errors.ts';
import type { Posting } from '../../ledger/entry.ts';
import type { Outcome } from '../../ledger/post.ts';
import { storedIdempotencyKey } from '../../views/entry.ts';
import { amount, currency, metadata, text } from '../../views/fields.ts';

/** Dodo Payments' body for a new entry, and beyond it `metadata` and `reference_object_id`. */
export const postingFields = {
  amount,
  currency,
  entry_type: z.enum(['credit', 'debit'], { error: 'wants credit or debit' }),
  reason: text(1000).nullable().optional(),
  idempotency_key: text(255, 1).nullable().optional().meta({
    description: 'Makes the request safe to repeat: the same key never writes a second entry for this customer.',
  }),
  metadata: metadata.nullable().optional(),
  reference_object_id: text(255).nullable().optional().meta({ description: 'An id of your own, such as an order’s.' }),
};

const postingBody = z.strictObject(postingFields);

const MAX_KEY_LENGTH = 255;

/** The header `Idempotency-Key` for the OpenAPI document. ASCII, since bytes beyond it are read in different ways on the way here. */
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
 * @throws {RefusalError} INVALID_IDEMPOTENCY_KEY
 */
export function headerKey(headers: IncomingHttpHeaders, maxLength = MAX_KEY_LENGTH): string | null {
  const key = headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key === 'string' && key.length <= maxLength && /^[\x20-\x7e]+$/.test(key)) return key;
  return refuse('INVALID_IDEMPOTENCY_KEY', `Idempotency-Key: wants 1 to ${maxLength} ASCII characters in the header.`);
}

/**
 * The one key of a request.
 * @throws {RefusalError} INVALID_IDEMPOTENCY_KEY if body and header name different ones: one of them would be ignored
 */
export function keyOfRequest(inBody: string | null | undefined, headers: IncomingHttpHeaders): string | null {
  const inHeader = headerKey(headers);
  if (inBody == null || inHeader === null || inBody === inHeader) return inBody ?? inHeader;
  return refuse('INVALID_IDEMPOTENCY_KEY', KEYS_DIFFER);
}

const KEYS_DIFFER =
  'Idempotency-Key: the header and idempotency_key in the body differ. Send one of them, or the same in both.';

export function toPosting(merchantId: string, customerId: string, body: z.output<typeof postingBody>): Posting {
  return {
    merchantId,
    customerId,
    currency: body.currency,
    amountMinor: body.amount,
    isCredit: body.entry_type === 'credit',
    eventType: 'merchant_adjustment',
    reason: body.reason ?? null,
    referenceObjectId: body.reference_object_id ?? null,
    metadata: body.metadata ?? null,
    idempotencyKey: body.idempotency_key == null ? null : storedIdempotencyKey(body.idempotency_key),
  };
}

/**
 * Whether an SDK sends a request without a key again by itself (`x-stainless-retry-count` says so). The answer to the
 * first may only have been lost, and nothing would tell the second entry from a wanted one.
 */
export function isBlindRepeat({ idempotencyKey }: Posting, headers: IncomingHttpHeaders): boolean {
  return idempotencyKey === null && /[1-9]/.test(String(headers['x-stainless-retry-count'] ?? ''));
}

export const REPEATED_BLINDLY =
  'This is an automatic repetition of a request without an idempotency key, which may have been carried out. Look at the ledger, and send a key next time.';

/** The ledger's refusal in the caller's words: it knows the key without our prefix. */
export function publicRefusal(outcome: Extract<Outcome, { kind: 'refused' }>): Refusal {
  const { refusal: refused } = outcome;
  return refused.code === 'IDEMPOTENCY_KEY_REUSED' ? { ...refused, message: KEY_REUSED } : refused;
}

const KEY_REUSED = 'This idempotency key was used before with other input. Use a new key for a new request.';
export const KEY_EXISTS = 'This idempotency key was used before, for the same request: "entry" is what it wrote.';
