import { z } from 'zod';
import { EVENT_TYPES, LOT_KINDS, WALLET_STATUSES } from '../ledger/entry.ts';
import { MAX_AMOUNT_MINOR } from '../money.ts';

/** What each outgoing event carries under `data`. */

const minorUnits = z.int().min(-MAX_AMOUNT_MINOR).max(MAX_AMOUNT_MINOR);
export const eventTime = z.iso.datetime().meta({ description: 'RFC 3339, UTC.' });

const walletState = {
  customer_id: z.string(),
  currency: z.string().meta({ description: 'ISO 4217, upper case.' }),
  balance: minorUnits.meta({ description: 'In minor units (cents, paise), as of `version`. Negative: a debt.' }),
  version: z.int().min(0).meta({
    description:
      'How many entries the wallet had. It only grows: an event with a version you have already seen, or an older one, is stale.',
  }),
};

const entry = z
  .object({
    id: z.string(),
    seq: z.int().min(1).meta({ description: "Its place in the wallet, without gaps; the wallet's version after it." }),
    amount: z
      .int()
      .min(1)
      .max(MAX_AMOUNT_MINOR)
      .meta({ description: 'In minor units; the direction is in `is_credit`.' }),
    is_credit: z.boolean(),
    event_type: z.enum(EVENT_TYPES),
    before_balance: minorUnits,
    after_balance: minorUnits,
    reason: z.string().nullable(),
    reference_object_id: z.string().nullable(),
    metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).nullable(),
    metadata_omitted: z.literal(true).optional().meta({
      description:
        'There if the entry has metadata that is too large for a message, and `metadata` is null: ask the API.',
    }),
    created_at: eventTime,
    effective_at: eventTime.optional().meta({
      description: 'Its date of account, where it has one. Balances go by `created_at`.',
    }),
  })
  .meta({ description: 'A ledger entry, as the API returns it.' });

export const alertData = z.object({
  ...walletState,
  threshold: minorUnits
    .nullable()
    .meta({ description: 'The threshold in force, in minor units; null if there is none.' }),
  reminder: z
    .boolean()
    .meta({ description: 'True for a repeated mention of a balance that is still low, or still empty.' }),
});

export const expiredHoldsData = z.object({
  ...walletState,
  available: minorUnits.meta({ description: 'What a debit or a new hold may take, in minor units.' }),
  holds: z
    .array(
      z.object({
        hold_id: z.string(),
        amount: minorUnits.meta({ description: 'In minor units, as all that follow.' }),
        captured: minorUnits,
        expired: minorUnits.meta({ description: 'What is available again.' }),
        reference_object_id: z.string().nullable(),
      }),
    )
    .min(1)
    .meta({ description: '100 at most; of more, another event tells.' }),
});

export const disputeHoldData = z.object({
  ...walletState,
  available: minorUnits.meta({ description: 'What a debit or a new hold may take, in minor units.' }),
  hold_id: z.string(),
  payment_id: z.string(),
  dispute_id: z.string(),
  wanted: minorUnits.meta({ description: 'What losing the dispute now would take; 0 once it is decided.' }),
  held: minorUnits.meta({ description: 'What is held for it now: less where the credit was spent before.' }),
});

const lotKind = z.enum(LOT_KINDS);
export const expiringCreditData = z.object({
  ...walletState,
  notice_days: z.int().min(1).meta({ description: 'How many days before the end of these lots this is said.' }),
  lots: z
    .array(
      z.object({
        lot_id: z.string(),
        kind: lotKind,
        remaining: minorUnits.meta({ description: 'What is left of it, in minor units.' }),
        expires_at: eventTime,
      }),
    )
    .min(1),
});

export const lapsedCreditData = z.object({
  ...walletState,
  lots: z
    .array(
      z.object({
        lot_id: z.string(),
        amount: minorUnits.meta({ description: 'What was taken out of it, in minor units. Its entry has its id too.' }),
      }),
    )
    .min(1),
});

export const skippedEntryData = z.object({
  ...walletState,
  scheduled_entry_id: z.string(),
  amount: minorUnits.meta({ description: 'In minor units; the direction is in `is_credit`.' }),
  is_credit: z.boolean(),
  post_at: eventTime.meta({ description: 'When it was due.' }),
  code: z.string().meta({ description: 'The error code with which the ledger refused it.' }),
});

export const skippedGrantsData = z.object({
  ...walletState,
  schedule_id: z.string(),
  amount: minorUnits.meta({ description: 'What each period would have granted, in minor units.' }),
  from_period: z.int().min(0).meta({ description: 'The first period that was skipped; 0 is the one at the anchor.' }),
  to_period: z.int().min(0).meta({ description: 'The last of them.' }),
  first_due_at: eventTime,
  last_due_at: eventTime,
  reason: z.string().meta({
    description:
      '`too_old`: more periods were missed than are made up, or it could not be charged for a month; `expired`: the credit would have ended by now. Of a schedule that charges: `superseded`: a later period is due, which alone is charged; `called_off`: the schedule was paused, deleted, or charges no more; `no_top_up_rule`: the rule of the wallet was deleted, or is not enabled. Else the error code with which the ledger refused it.',
  }),
});

const walletStatus = z.enum(WALLET_STATUSES);
export const statusData = z.object({
  ...walletState,
  status: walletStatus,
  previous_status: walletStatus,
  pause_expiry: z.boolean().meta({ description: 'Whether credit with an end keeps the time it has left meanwhile.' }),
  actor: z.string().meta({
    description: 'Who changed it: `key:<id>`, `operator`, or `service` where a payment opened a closed wallet again.',
  }),
});

export const createdData = z.object(walletState);
export const changedData = z.object({
  ...walletState,
  head: z.string().nullable().meta({
    description:
      'The hash of the newest entry told, which stands for the whole history up to `version`: keep it, and a rewrite can be proved. Null for entries of older releases.',
  }),
  previous_version: z.int().min(0).meta({
    description:
      'The version before the first of `entries`. If you have not seen it, an earlier event is still on its way.',
  }),
  entries: z.array(entry).min(1).meta({ description: 'What changed, oldest first; a burst of entries is one event.' }),
});

export const reconciledData = z.object({
  payment_id: z.string(),
  source_id: z.string(),
  provider: z.string(),
  customer_id: z.string().nullable(),
  purpose: z.enum(['topup', 'order', 'none', 'checkout']).nullable(),
  currency: z.string().nullable(),
  amount_paid: minorUnits.nullable().meta({ description: 'In minor units (cents, paise).' }),
  credited: minorUnits.meta({ description: 'What the wallet holds of the payment itself by now, in minor units.' }),
  healed: z
    .array(z.object({ kind: z.enum(['payment', 'refund', 'dispute']), id: z.string() }))
    .min(1)
    .meta({ description: 'What no webhook had told of, and is applied now.' }),
  reconciliation_id: z.string(),
});

export const disabledData = z.object({
  endpoint_id: z.string(),
  description: z.string(),
  failing_since: eventTime.nullable().meta({ description: 'Since when every attempt failed, where that is known.' }),
  disabled_at: eventTime.meta({ description: 'When it was disabled, or was found to be.' }),
});
