import { z } from 'zod';
import type { Entry, Wallet } from '../ledger/entry.ts';
import { entryView } from '../ledger/entry-view.ts';
import { eventType, minorUnits, storedMetadata, timestamp } from './fields.ts';

/** Dodo Payments' CustomerWalletTransaction, and beyond it `seq`, `metadata` and `idempotency_key`. */
export const entryShape = z
  .strictObject({
    id: z.string(),
    business_id: z.string(),
    customer_id: z.string(),
    currency: z.string(),
    seq: z.int().min(1).meta({ description: 'The place in its wallet: 1, 2, 3 … without gaps. A cursor for paging.' }),
    amount: z.int().min(1).meta({ description: 'Minor units, always positive; the direction is in `is_credit`.' }),
    is_credit: z.boolean(),
    event_type: eventType,
    before_balance: minorUnits,
    after_balance: minorUnits,
    reason: z.string().nullable(),
    reference_object_id: z.string().nullable(),
    metadata: storedMetadata.nullable(),
    idempotency_key: z
      .string()
      .nullable()
      .meta({ description: 'The key of the API call that made the entry, if one did.' }),
    created_at: timestamp,
  })
  .meta({ id: 'CustomerWalletTransaction' });

/**
 * Keys that callers choose live beside the keys that payments make, and must never be mistaken for them. A payment's key
 * begins with the id of its source, and no source is called `api`.
 */
const API_KEY_PREFIX = 'api:';

export function storedIdempotencyKey(key: string): string {
  return `${API_KEY_PREFIX}${key}`;
}

export function entryResponse(entry: Entry): z.output<typeof entryShape> {
  const key = entry.idempotencyKey;
  return {
    ...entryView(entry),
    business_id: entry.merchantId,
    customer_id: entry.customerId,
    currency: entry.currency,
    idempotency_key: key?.startsWith(API_KEY_PREFIX) ? key.slice(API_KEY_PREFIX.length) : null,
  };
}

/** Dodo Payments' CustomerWallet. */
export const walletShape = z
  .strictObject({
    customer_id: z.string(),
    currency: z.string(),
    balance: minorUnits.meta({
      description: 'Minor units. Negative: a debt left by a refund or dispute of spent credit.',
    }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'CustomerWallet' });

export function walletResponse(wallet: Wallet): z.output<typeof walletShape> {
  return {
    customer_id: wallet.customerId,
    currency: wallet.currency,
    balance: wallet.balance,
    created_at: wallet.createdAt.toISOString(),
    updated_at: wallet.updatedAt.toISOString(),
  };
}
