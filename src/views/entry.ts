import { z } from 'zod';
import type { Entry } from '../ledger/entry.ts';
import { entryView } from '../ledger/entry-view.ts';
import type { ErasedTexts } from '../ledger/history.ts';
import { parseKey } from '../ledger/keys.ts';
import { lotId } from '../ledger/lots/lot.ts';
import { EXAMPLE_ENTRY } from './examples.ts';
import { eventType, minorUnits, storedMetadata, timestamp } from './fields.ts';

const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .nullable()
  .meta({ description: 'Null where there was no such text.' });

/** The fields of Dodo Payments' CustomerWalletTransaction, and our own `entry_id`, `seq`, `metadata` and `idempotency_key`. */
export const entryShape = z
  .strictObject({
    entry_id: z.string(),
    id: z.string().meta({ description: 'The same as `entry_id`, by the name it has at Dodo Payments.' }),
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
    effective_at: timestamp.optional().meta({
      description: 'Its date of account, where the request named one. Balances go by `created_at`.',
    }),
    hold_id: z.string().optional().meta({
      description: 'The hold that it captured: of `hold_captured`, where the entry is retrieved by its id.',
    }),
    erased: z.strictObject({ at: timestamp, reason_sha256: sha256, metadata_sha256: sha256 }).optional().meta({
      description:
        "Where the customer's personal data were erased and the entry is retrieved by its id: when its texts were struck out, and the hashes that stand for them in the wallet's `head`.",
    }),
    lots: z
      .array(z.strictObject({ lot_id: z.string(), amount: z.int().min(1) }))
      .optional()
      .meta({
        description:
          'The lots that it filled or drained, and what was left of its amount for the rest of the balance as `base`. Where the entry is retrieved by its id and had to do with lots.',
      }),
  })
  .meta({ id: 'CustomerWalletTransaction', examples: [EXAMPLE_ENTRY] });

/** What is left of texts that were struck out. */
export function erasedTexts({ reasonHash, metadataHash, erasedAt }: ErasedTexts) {
  return { at: erasedAt.toISOString(), reason_sha256: reasonHash, metadata_sha256: metadataHash };
}

/** An entry as the API shows it; amounts are in minor units. */
export function entryResponse(entry: Entry): z.output<typeof entryShape> {
  const view = entryView(entry);
  const key = entry.idempotencyKey === null ? null : parseKey(entry.idempotencyKey);
  return {
    ...view,
    entry_id: view.id,
    business_id: entry.merchantId,
    customer_id: entry.customerId,
    currency: entry.currency,
    idempotency_key: key?.maker === 'api' ? key.key : null,
  };
}

/** How an entry was shared between lots and the base; nothing if no lot had to do with it. */
export function lotParts(
  entry: Entry,
  moved: readonly { readonly lotNo: number; readonly amountMinor: number }[],
): Pick<z.output<typeof entryShape>, 'lots'> {
  if (moved.length === 0) return {};
  const parts = moved.map(({ lotNo, amountMinor }) => ({
    lot_id: lotId({ ...entry, lotNo }),
    amount: Math.abs(amountMinor),
  }));
  const base = entry.amountMinor - parts.reduce((sum, { amount }) => sum + amount, 0);
  return { lots: base === 0 ? parts : [...parts, { lot_id: 'base', amount: base }] };
}
