import { z } from 'zod';
import { entryId, type Metadata } from '../ledger/entry.ts';
import { parseKey } from '../ledger/keys.ts';
import type { EntryRequest } from '../schedules/schedule-entry.ts';
import { type ScheduledEntry, termsOf } from '../schedules/scheduled-entry.ts';
import { EXAMPLE_SCHEDULED_ENTRY } from './examples.ts';
import { minorUnits, storedMetadata, timestamp } from './fields.ts';
import { requiredKey } from './hold-requests.ts';
import { lotKind } from './lot.ts';
import type { TermsRequest } from './lot-requests.ts';
import { toPosting } from './posting.ts';

const STATES = ['scheduled', 'posted', 'skipped', 'canceled'] as const satisfies readonly ScheduledEntry['state'][];

export const scheduledStatus = z.enum(STATES, { error: `wants one of ${STATES.join(', ')}` });
export const onShortfall = z.enum(['skip', 'retry'], { error: 'wants skip or retry' });

export const scheduledEntryShape = z
  .strictObject({
    scheduled_entry_id: z.string(),
    business_id: z.string(),
    customer_id: z.string(),
    currency: z.string(),
    amount: minorUnits,
    entry_type: z.enum(['credit', 'debit']),
    status: scheduledStatus,
    post_at: timestamp.meta({ description: 'When it is due. The entry says so too, in its metadata.' }),
    on_shortfall: onShortfall,
    next_attempt_at: timestamp.nullable().meta({ description: 'Null once it has ended.' }),
    tries: z.int().min(0).meta({ description: 'How often it was refused for want of money.' }),
    entry_id: z.string().nullable().meta({ description: 'What it posted.' }),
    skipped_for: z.string().nullable().meta({ description: 'The error code with which the ledger refused it.' }),
    reason: z.string().nullable(),
    reference_object_id: z.string().nullable(),
    metadata: storedMetadata.nullable(),
    terms: z
      .strictObject({
        kind: lotKind,
        name: z.string().nullable(),
        priority: z.int(),
        expires_at: timestamp.nullable().meta({ description: 'Days are counted from `post_at`.' }),
      })
      .nullable()
      .meta({ description: 'Of a credit that is to be a lot.' }),
    idempotency_key: z.string(),
    actor: z.string().meta({ description: 'Who scheduled it: `key:` with the id of an API key, or `cli`.' }),
    created_at: timestamp,
    ended_at: timestamp.nullable(),
  })
  .meta({ id: 'ScheduledEntry', examples: [EXAMPLE_SCHEDULED_ENTRY] });

/** A scheduled entry as the API shows it; amounts are in minor units. */
export function scheduledEntryResponse(entry: ScheduledEntry): z.output<typeof scheduledEntryShape> {
  const terms = termsOf(entry);
  const key = parseKey(entry.idempotencyKey);
  return {
    scheduled_entry_id: entry.scheduledEntryId,
    business_id: entry.merchantId,
    customer_id: entry.customerId,
    currency: entry.currency,
    amount: entry.amountMinor,
    entry_type: entry.isCredit ? 'credit' : 'debit',
    status: entry.state,
    post_at: entry.postAt.toISOString(),
    on_shortfall: entry.onShortfall,
    next_attempt_at: entry.dueAt?.toISOString() ?? null,
    tries: entry.tries,
    entry_id: entry.entrySeq === null ? null : entryId({ ...entry, seq: entry.entrySeq }),
    skipped_for: entry.skippedFor,
    reason: entry.reason,
    reference_object_id: entry.referenceObjectId,
    metadata: entry.metadata,
    terms:
      terms === null
        ? null
        : {
            ...{ kind: terms.kind, name: terms.name, priority: terms.priority },
            expires_at: terms.end !== null && 'at' in terms.end ? terms.end.at.toISOString() : null,
          },
    idempotency_key: key?.maker === 'api' ? key.key : entry.idempotencyKey,
    actor: entry.actor,
    created_at: entry.createdAt.toISOString(),
    ended_at: entry.endedAt?.toISOString() ?? null,
  };
}

/** What a caller asks to be written later, with the API's names. */
export interface ScheduleRequest extends TermsRequest {
  readonly amount: number;
  readonly currency: string;
  readonly post_at: Date;
  readonly on_shortfall?: ScheduledEntry['onShortfall'] | undefined;
  readonly reason?: string | null | undefined;
  readonly metadata?: Metadata | null | undefined;
  readonly reference_object_id?: string | null | undefined;
}

/** @throws {RefusalError} INVALID_FIELD without a key, or for terms that contradict each other */
export function toScheduled(
  {
    merchantId,
    customerId,
    actor,
  }: { readonly merchantId: string; readonly customerId: string; readonly actor: string },
  body: ScheduleRequest,
  key: string | null,
): EntryRequest {
  const posting = { ...toPosting(merchantId, customerId, body), idempotencyKey: requiredKey(key) };
  return { posting, postAt: body.post_at, onShortfall: body.on_shortfall ?? 'skip', actor };
}
