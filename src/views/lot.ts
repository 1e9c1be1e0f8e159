import { z } from 'zod';
import { entryId, LOT_KINDS } from '../ledger/entry.ts';
import { parseKey } from '../ledger/keys.ts';
import { type Lot, type LotChange, lotId } from '../ledger/lots/lot.ts';
import type { WrittenMovement } from '../ledger/lots/read.ts';
import { EXAMPLE, EXAMPLE_LOT } from './examples.ts';
import { minorUnits, timestamp } from './fields.ts';

export const lotKind = z.enum(LOT_KINDS, { error: `wants one of ${LOT_KINDS.join(', ')}` });

const LOT_STATES = ['open', 'drained', 'expired', 'voided', 'taken_back'] as const satisfies readonly Lot['state'][];

const lotFields = {
  lot_id: z.string(),
  business_id: z.string(),
  customer_id: z.string(),
  currency: z.string(),
  kind: lotKind,
  name: z.string().nullable(),
  status: z.enum(LOT_STATES).meta({ description: 'How the last of it went.' }),
  amount: minorUnits.meta({
    description: 'What it was given with: less than its entry, where a debt was repaid first.',
  }),
  remaining: minorUnits,
  spent: minorUnits,
  expired: minorUnits,
  voided: minorUnits,
  taken_back: minorUnits.meta({ description: 'What refunds and disputes took.' }),
  priority: z.int().min(0).max(100).meta({ description: 'Lower ones are spent first; credit without terms has 50.' }),
  expires_at: timestamp.nullable().meta({ description: 'From then on it cannot be spent. Null: it never ends.' }),
  origin: z
    .strictObject({ entry_id: z.string(), payment_id: z.string().nullable() })
    .meta({ description: 'The entry that gave the credit, and the payment if one did.' }),
  created_at: timestamp,
  closed_at: timestamp.nullable(),
};

export const lotShape = z.strictObject(lotFields).meta({ id: 'Lot', examples: [EXAMPLE_LOT] });

/** The payment whose entry gave the credit; null if a merchant gave it. */
function paymentOf({ originKey }: Lot): string | null {
  const parsed = originKey === null ? null : parseKey(originKey);
  return parsed?.maker === 'payment' ? parsed.cause.paymentId : null;
}

/** A lot as the API shows it; amounts are in minor units. */
export function lotResponse(lot: Lot): z.output<typeof lotShape> {
  return {
    lot_id: lotId(lot),
    business_id: lot.merchantId,
    customer_id: lot.customerId,
    currency: lot.currency,
    kind: lot.kind,
    name: lot.name,
    status: lot.state,
    amount: lot.amountMinor,
    remaining: lot.remaining,
    spent: lot.spent,
    expired: lot.expired,
    voided: lot.voided,
    taken_back: lot.takenBack,
    priority: lot.priority,
    expires_at: lot.expiresAt?.toISOString() ?? null,
    origin: { entry_id: entryId({ ...lot, seq: lot.originSeq }), payment_id: paymentOf(lot) },
    created_at: lot.createdAt.toISOString(),
    closed_at: lot.closedAt?.toISOString() ?? null,
  };
}

export const lotDetailShape = z
  .strictObject({
    ...lotFields,
    movements: z.array(
      z.strictObject({
        entry_id: z.string(),
        amount: minorUnits.meta({ description: 'What the entry put in, or, below 0, took out.' }),
        created_at: timestamp,
      }),
    ),
    changes: z.array(
      z.strictObject({
        actor: z.string().meta({ description: 'Who changed it: `key:` with the id of an API key, or `cli`.' }),
        reason: z.string().nullable(),
        old_expires_at: timestamp.nullable(),
        new_expires_at: timestamp.nullable(),
        old_priority: z.int(),
        new_priority: z.int(),
        created_at: timestamp,
      }),
    ),
  })
  .meta({
    id: 'LotWithMovements',
    examples: [
      {
        ...EXAMPLE_LOT,
        movements: [
          { entry_id: EXAMPLE.entryId, amount: 500, created_at: EXAMPLE.since },
          { entry_id: EXAMPLE.entryId, amount: -200, created_at: EXAMPLE.time },
          { entry_id: EXAMPLE.entryId, amount: -300, created_at: EXAMPLE.later },
        ],
        changes: [
          {
            ...{ actor: `key:${EXAMPLE.apiKeyId}`, reason: 'Asked for more time' },
            ...{ old_expires_at: EXAMPLE.time, new_expires_at: EXAMPLE_LOT.expires_at },
            ...{ old_priority: 50, new_priority: 50, created_at: EXAMPLE.time },
          },
        ],
      },
    ],
  });

/** A lot with what entries did to it, and how its terms were changed. */
export function lotDetailResponse(
  lot: Lot,
  movements: readonly WrittenMovement[],
  changes: readonly LotChange[],
): z.output<typeof lotDetailShape> {
  return {
    ...lotResponse(lot),
    movements: movements.map(({ seq, amountMinor, createdAt }) => ({
      entry_id: entryId({ ...lot, seq }),
      amount: amountMinor,
      created_at: createdAt.toISOString(),
    })),
    changes: changes.map((change) => ({
      actor: change.actor,
      reason: change.reason,
      old_expires_at: change.oldExpiresAt?.toISOString() ?? null,
      new_expires_at: change.newExpiresAt?.toISOString() ?? null,
      old_priority: change.oldPriority,
      new_priority: change.newPriority,
      created_at: change.createdAt.toISOString(),
    })),
  };
}
