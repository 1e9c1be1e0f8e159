import { requireCustomer } from '../customers/store.ts';
import type { Queryable } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Posting } from '../ledger/entry.ts';
import { refuseEnd } from '../ledger/lots/rules.ts';
import type { LedgerMoment } from '../ledger/store.ts';
import {
  cancelEntry,
  countScheduled,
  type EntryKey,
  findEntryByKey,
  getScheduledEntry,
  insertEntry,
} from './entry-store.ts';
import {
  isTimeToCome,
  MOST_DAYS_AHEAD,
  MOST_SCHEDULED,
  POST_AT,
  type ScheduledEntry,
  scheduleFingerprint,
} from './scheduled-entry.ts';

/** What is to be written, and when. */
export interface EntryRequest {
  /** Under the request's own key. */
  readonly posting: Posting & { readonly idempotencyKey: string };
  readonly postAt: Date;
  readonly onShortfall: ScheduledEntry['onShortfall'];
  /** Who asks. */
  readonly actor: string;
}

/** `repeated`: the same request was made before under the same key; here is its entry as it now stands. */
export interface EntryScheduling {
  readonly kind: 'scheduled' | 'repeated';
  readonly entry: ScheduledEntry;
}

/**
 * Schedules an entry.
 * @throws {RefusalError} IDEMPOTENCY_KEY_REUSED, UNSUPPORTED_CURRENCY, CUSTOMER_NOT_FOUND, INVALID_FIELD, EXPIRY_IN_THE_PAST,
 *   PAID_CREDIT_CANNOT_EXPIRE, SCHEDULE_LIMIT
 */
export async function scheduleEntry(
  db: Queryable,
  request: EntryRequest,
  moment: LedgerMoment,
): Promise<EntryScheduling> {
  const before = await repeated(db, request);
  if (before !== null) return before;
  await requirePossible(db, request, moment);
  const entry = newEntry(request, moment.now);
  if (await insertEntry(db, entry)) return { kind: 'scheduled', entry };
  const other = await repeated(db, request);
  invariant(other !== null, 'a scheduled entry was not inserted, and none is under its key');
  return other;
}

async function repeated(db: Queryable, request: EntryRequest): Promise<EntryScheduling | null> {
  const { idempotencyKey } = request.posting;
  const entry = await findEntryByKey(db, request.posting, idempotencyKey);
  if (entry === null) return null;
  return entry.fingerprint === fingerprintOf(request)
    ? { kind: 'repeated', entry }
    : refuse({ code: 'IDEMPOTENCY_KEY_REUSED', idempotencyKey });
}

function fingerprintOf({ posting, postAt, onShortfall }: EntryRequest): string {
  return scheduleFingerprint(posting, postAt, onShortfall);
}

async function requirePossible(db: Queryable, { posting, postAt }: EntryRequest, moment: LedgerMoment): Promise<void> {
  const { merchantId, customerId, currency, metadata, terms } = posting;
  const { currencies, now } = moment;
  if (!currencies.has(currency)) refuse({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...currencies] });
  await requireCustomer(db, merchantId, customerId);
  const wants = `wants a time to come, ${MOST_DAYS_AHEAD} days ahead at most`;
  if (!isTimeToCome(postAt, now)) refuse({ code: 'INVALID_FIELD', field: 'post_at', wants });
  if (metadata !== null && POST_AT in metadata)
    refuse({
      code: 'INVALID_FIELD',
      field: 'metadata',
      wants: `wants no ${POST_AT}, which the entry will have anyway`,
    });
  const refused = terms === undefined ? null : refuseEnd(terms, { givenAt: postAt }, moment.lotRule);
  if (refused !== null) refuse(refused);
  if ((await countScheduled(db, posting, MOST_SCHEDULED)) >= MOST_SCHEDULED)
    refuse({ code: 'SCHEDULE_LIMIT', what: 'scheduled entries', most: MOST_SCHEDULED });
}

function newEntry(request: EntryRequest, now: Date): ScheduledEntry {
  const { posting, postAt, onShortfall, actor } = request;
  const { merchantId, customerId, currency, amountMinor, isCredit, reason, referenceObjectId, metadata } = posting;
  const { idempotencyKey, terms } = posting;
  const end = terms?.end ?? null;
  return {
    ...{ merchantId, customerId, scheduledEntryId: newId('scheduledEntry'), currency, amountMinor, isCredit },
    ...{ reason, referenceObjectId, metadata, lotKind: terms?.kind ?? null, lotName: terms?.name ?? null },
    lotPriority: terms?.priority ?? null,
    lotExpiresAt: end !== null && 'at' in end ? end.at : null,
    lotDays: end !== null && 'days' in end ? end.days : null,
    ...{ postAt, onShortfall, idempotencyKey, fingerprint: fingerprintOf(request), actor },
    ...{ state: 'scheduled', dueAt: postAt, tries: 0, entrySeq: null, skippedFor: null },
    ...{ createdAt: now, endedAt: null },
  };
}

/** `ended`: it was posted or skipped before, and is as it was. */
export interface EntryCancelling {
  readonly kind: 'canceled' | 'ended';
  readonly entry: ScheduledEntry;
}

/**
 * Cancels an entry that waits for its time. One that was canceled before stays so.
 * @throws {RefusalError} SCHEDULED_ENTRY_NOT_FOUND
 */
export async function cancelScheduledEntry(db: Queryable, key: EntryKey, now: Date): Promise<EntryCancelling> {
  const canceled = await cancelEntry(db, key, now);
  if (canceled !== null) return { kind: 'canceled', entry: canceled };
  const entry = (await getScheduledEntry(db, key)) ?? refuse({ code: 'SCHEDULED_ENTRY_NOT_FOUND' });
  return { kind: entry.state === 'canceled' ? 'canceled' : 'ended', entry };
}
