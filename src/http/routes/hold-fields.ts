import { z } from 'zod';
import type { RefusedHold } from '../../ledger/holds/results.ts';
import { MAX_AMOUNT_MINOR } from '../../money.ts';
import { amount, metadata, text, walletCurrency } from '../../views/fields.ts';
import { holdResponse } from '../../views/hold.ts';
import { type PublicRefusal, publicRefusal } from '../../views/refusals.ts';

/** What requests about holds are made of, one by one and in batches. */

const reason = text(1000).nullable().optional();
const idempotencyKey = text(255, 1).nullable().optional();
const flag = z.boolean({ error: 'wants true or false' }).optional();

const SECONDS_ERROR = 'wants a whole number of seconds from 10 to 604800 (a week)';
const expiresInSeconds = z
  .int({ error: SECONDS_ERROR })
  .min(10, { error: SECONDS_ERROR })
  .max(604_800, { error: SECONDS_ERROR })
  .optional();

const AMOUNT_ERROR = `wants a whole number of minor units (cents, paise) from 0 to ${MAX_AMOUNT_MINOR}`;
const amountOrNothing = z
  .int({ error: AMOUNT_ERROR })
  .min(0, { error: AMOUNT_ERROR })
  .max(MAX_AMOUNT_MINOR, { error: AMOUNT_ERROR })
  .optional();

export const placeFields = {
  amount,
  currency: walletCurrency,
  idempotency_key: idempotencyKey.meta({
    description: 'Wanted, here or in the header: the same key never sets money of this wallet aside twice.',
  }),
  expires_in_seconds: expiresInSeconds.meta({
    description: 'From 10 to 604,800; 900 unless given. What is left then is available again.',
  }),
  partial: flag.meta({ description: 'Hold what is available if that is less. False unless given.' }),
  reason,
  reference_object_id: text(255).nullable().optional().meta({
    description: "An id of your own, such as a job's. Entries of captures have it too.",
  }),
  metadata: metadata.nullable().optional(),
};

export const captureFields = {
  amount: amountOrNothing.meta({ description: 'Minor units; what is left unless given. 0 releases all of it.' }),
  final: flag.meta({ description: 'Release what is not captured. True unless given.' }),
  beyond: z
    .enum(['refuse', 'take', 'up_to_balance'], { error: 'wants refuse, take or up_to_balance' })
    .optional()
    .meta({
      description:
        'What to do if the work came to more than is left: `refuse` (unless given), `take` all of it or nothing, or take what there is and tell the rest as `uncaptured`.',
    }),
  late: z.enum(['refuse', 'debit'], { error: 'wants refuse or debit' }).optional().meta({
    description:
      'What to do if the hold has expired: `refuse` (unless given), or `debit` what is available, once. What other holds set aside stays.',
  }),
  idempotency_key: idempotencyKey.meta({
    description: 'Wanted, here or in the header, unless `final`, and with `late`. It is one of the keys of entries.',
  }),
  reason: reason.meta({ description: "Of the entry; the hold's unless given." }),
  metadata: metadata.nullable().optional(),
};

export const releaseFields = { reason };

export const changeFields = {
  amount: amountOrNothing.meta({
    description: 'The new total in minor units, of which captures are a part. Down to what was captured ends the hold.',
  }),
  expires_in_seconds: expiresInSeconds.meta({ description: 'From now.' }),
};

/** The answer to a refused command. What has ended is shown, so that the caller sees how. */
export function holdRefusal({ refusal, hold }: RefusedHold): PublicRefusal {
  const { details, ...shown } = publicRefusal(refusal);
  return { ...shown, details: { ...details, ...(hold === undefined ? {} : { hold: holdResponse(hold) }) } };
}

export const HOLD_KEY_EXISTS = 'This idempotency key was used before, for the same request: "hold" is what it placed.';
