import { z } from 'zod';
import { entryId } from '../ledger/entry.ts';
import { type Hold, holdId, remainingOf } from '../ledger/holds/hold.ts';
import type { WrittenCapture } from '../ledger/holds/read.ts';
import { parseKey } from '../ledger/keys.ts';
import { EXAMPLE, EXAMPLE_HOLD } from './examples.ts';
import { minorUnits, storedMetadata, timestamp } from './fields.ts';

const HOLD_STATES = ['open', 'captured', 'released', 'expired'] as const satisfies readonly Hold['state'][];

export const holdStatus = z.enum(HOLD_STATES, { error: `wants one of ${HOLD_STATES.join(', ')}` });

const holdFields = {
  hold_id: z.string(),
  business_id: z.string(),
  customer_id: z.string(),
  currency: z.string(),
  kind: z.enum(['api', 'checkout', 'dispute']).meta({
    description:
      'Who decides about it: you, by this API; a checkout; or an open dispute of a payment, whose end ends it.',
  }),
  status: holdStatus.meta({
    description: 'How it ended: a release after partial captures is `released`. `captured` says how much was taken.',
  }),
  amount: minorUnits,
  captured: minorUnits.meta({ description: 'What captures took out of it.' }),
  beyond: minorUnits.meta({ description: 'What was taken besides: more than was left, or after it had expired.' }),
  released: minorUnits.meta({ description: 'What was left when it ended, and is available again.' }),
  remaining: minorUnits.meta({ description: 'What is still set aside; 0 once it has ended.' }),
  reason: z.string().nullable(),
  release_reason: z.string().nullable(),
  reference_object_id: z.string().nullable(),
  metadata: storedMetadata.nullable(),
  idempotency_key: z.string().nullable(),
  expires_at: timestamp.nullable(),
  created_at: timestamp,
  closed_at: timestamp.nullable(),
};

export const holdShape = z.strictObject(holdFields).meta({ id: 'Hold', examples: [EXAMPLE_HOLD] });

/** Writes a time, and keeps its text for the next one: the holds of a batch are of one moment, and most end at one. By a text each, a view took 0.7 µs longer. */
function timeText(): (time: Date) => string {
  let last = { milliseconds: Number.NaN, text: '' };
  return (time) => {
    const milliseconds = time.getTime();
    if (milliseconds !== last.milliseconds) last = { milliseconds, text: time.toISOString() };
    return last.text;
  };
}

const beginningText = timeText();
const endText = timeText();

/** A hold as the API shows it; amounts are in minor units. */
export function holdResponse(hold: Hold): z.output<typeof holdShape> {
  const key = parseKey(hold.idempotencyKey);
  return {
    hold_id: holdId(hold),
    business_id: hold.merchantId,
    customer_id: hold.customerId,
    currency: hold.currency,
    kind: hold.kind,
    status: hold.state,
    amount: hold.amountMinor,
    captured: hold.captured,
    beyond: hold.beyond,
    released: hold.released,
    remaining: remainingOf(hold),
    reason: hold.reason,
    release_reason: hold.releaseReason,
    reference_object_id: hold.referenceObjectId,
    metadata: hold.metadata,
    idempotency_key: key?.maker === 'api' ? key.key : null,
    expires_at: hold.expiresAt === null ? null : endText(hold.expiresAt),
    created_at: beginningText(hold.createdAt),
    closed_at: hold.closedAt?.toISOString() ?? null,
  };
}

export const holdDetailShape = z
  .strictObject({
    ...holdFields,
    captures: z.array(
      z.strictObject({ entry_id: z.string(), amount: minorUnits, beyond: minorUnits, created_at: timestamp }),
    ),
  })
  .meta({
    id: 'HoldWithCaptures',
    examples: [
      {
        ...EXAMPLE_HOLD,
        captures: [{ entry_id: EXAMPLE.entryId, amount: 120, beyond: 0, created_at: EXAMPLE.later }],
      },
    ],
  });

/** A hold with its captures. `amount` of a capture is the entry's, `beyond` the part of it that the hold did not cover. */
export function holdDetailResponse(hold: Hold, captures: readonly WrittenCapture[]): z.output<typeof holdDetailShape> {
  return {
    ...holdResponse(hold),
    captures: captures.map(({ seq, fromHold, beyond, createdAt }) => ({
      entry_id: entryId({ ...hold, seq }),
      amount: fromHold + beyond,
      beyond,
      created_at: createdAt.toISOString(),
    })),
  };
}
