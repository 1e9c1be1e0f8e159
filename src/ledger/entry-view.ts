import { type Entry, type EventType, entryId, type Metadata } from './entry.ts';

/** An entry in Dodo Payments' words, as much of it as the API and the webhooks both say. */
export interface EntryView {
  readonly id: string;
  readonly seq: number;
  readonly amount: number;
  readonly is_credit: boolean;
  readonly event_type: EventType;
  readonly before_balance: number;
  readonly after_balance: number;
  readonly reason: string | null;
  readonly reference_object_id: string | null;
  readonly metadata: Metadata | null;
  readonly created_at: string;
  /** There only where it is another. */
  readonly effective_at?: string;
}

export function entryView(entry: Entry): EntryView {
  return {
    id: entryId(entry),
    seq: entry.seq,
    amount: entry.amountMinor,
    is_credit: entry.isCredit,
    event_type: entry.eventType,
    before_balance: entry.beforeBalance,
    after_balance: entry.afterBalance,
    reason: entry.reason,
    reference_object_id: entry.referenceObjectId,
    metadata: entry.metadata,
    created_at: entry.createdAt.toISOString(),
    ...(entry.effectiveAt === null ? {} : { effective_at: entry.effectiveAt.toISOString() }),
  };
}
