import { createHash } from 'node:crypto';
import type { RefusalCode } from '../errors.ts';
import type { LotTerms, Metadata, Posting, WalletKey } from '../ledger/entry.ts';
import { scheduledEntryKey } from '../ledger/keys.ts';
import { daysAfter } from '../ledger/lots/notices.ts';
import { fingerprint, type PostingResult } from '../ledger/post.ts';

/** An entry that is to be written at a time to come. Pure. */
export interface ScheduledEntry extends WalletKey {
  readonly scheduledEntryId: string;
  readonly amountMinor: number;
  readonly isCredit: boolean;
  readonly reason: string | null;
  readonly referenceObjectId: string | null;
  readonly metadata: Metadata | null;
  /** Of a credit that is to be a lot; null for all other entries, and then all of these are. */
  readonly lotKind: LotTerms['kind'] | null;
  readonly lotName: string | null;
  readonly lotPriority: number | null;
  readonly lotExpiresAt: Date | null;
  /** Days from when it is due. */
  readonly lotDays: number | null;
  readonly postAt: Date;
  /** What becomes of a debit of more than is available then. */
  readonly onShortfall: 'skip' | 'retry';
  readonly idempotencyKey: string;
  /** SHA-256 of the request made under the key, hexadecimal. */
  readonly fingerprint: string;
  /** Who asked for it. */
  readonly actor: string;
  readonly state: 'scheduled' | 'posted' | 'skipped' | 'canceled';
  /** When it is tried next; null once it has ended. */
  readonly dueAt: Date | null;
  /** How often it was refused for want of money. */
  readonly tries: number;
  /** The entry that it posted. */
  readonly entrySeq: number | null;
  /** The code with which the ledger refused it. */
  readonly skippedFor: string | null;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

/** The most of a customer that wait for their time. */
export const MOST_SCHEDULED = 1_000;
export const MOST_DAYS_AHEAD = 400;
const DAY_MS = 86_400_000;
/** After the first try, one a day for a week. */
const MOST_RETRIES = 7;
/** What only the operator can mend is tried again after this time. */
const PUT_OFF_MS = 3_600_000;

/** The metadata in which an entry says for when it was scheduled, since it may be late. */
export const POST_AT = 'post_at';

export function isTimeToCome(postAt: Date, now: Date): boolean {
  return postAt > now && postAt <= daysAfter(now, MOST_DAYS_AHEAD);
}

/** The terms of the credit; its days count from when it is due, so that a late one lasts no longer. */
export function termsOf(entry: ScheduledEntry): LotTerms | null {
  const { lotKind: kind, lotName: name, lotPriority: priority, lotExpiresAt, lotDays, postAt } = entry;
  if (kind === null || priority === null) return null;
  const at = lotDays === null ? lotExpiresAt : daysAfter(postAt, lotDays);
  return { kind, name, priority, end: at === null ? null : { at } };
}

/** What the ledger is asked for when it is due: the same whenever that is, so that a repeat is the same request. */
export function postingOf(entry: ScheduledEntry): Posting {
  const { merchantId, customerId, currency, amountMinor, isCredit, reason, referenceObjectId, metadata } = entry;
  const terms = termsOf(entry);
  return {
    ...{ merchantId, customerId, currency, amountMinor, isCredit, eventType: 'merchant_adjustment' },
    ...{ reason, referenceObjectId, metadata: { ...metadata, [POST_AT]: entry.postAt.toISOString() } },
    idempotencyKey: scheduledEntryKey(entry.scheduledEntryId),
    ...(terms === null ? {} : { terms, termsSince: entry.postAt }),
  };
}

/** SHA-256, in hexadecimal, of everything a request asks for. */
export function scheduleFingerprint(posting: Posting, postAt: Date, onShortfall: 'skip' | 'retry'): string {
  const text = JSON.stringify([fingerprint(posting), postAt.getTime(), onShortfall]);
  return createHash('sha256').update(text).digest('hex');
}

/** What is wrong with the service rather than with the entry. */
const OF_THE_SERVICE: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'UNSUPPORTED_CURRENCY',
  'CUSTOMER_NOT_FOUND',
  'LOTS_NOT_YET',
]);

/** What may be otherwise tomorrow: the money is there, or the wallet is not frozen any more. */
const OF_WANT: ReadonlySet<RefusalCode> = new Set<RefusalCode>(['INSUFFICIENT_WALLET_FUNDS', 'WALLET_FROZEN']);

/** The entry after it was tried. */
export function afterTry(entry: ScheduledEntry, result: PostingResult, now: Date): ScheduledEntry {
  const ended = { ...entry, dueAt: null, endedAt: now };
  if (result.kind !== 'refused') return { ...ended, state: 'posted', entrySeq: result.entry.seq };
  const { code } = result.refusal;
  if (OF_THE_SERVICE.has(code)) return { ...entry, dueAt: new Date(now.getTime() + PUT_OFF_MS) };
  const isShort = OF_WANT.has(code) && entry.onShortfall === 'retry';
  if (isShort && entry.tries < MOST_RETRIES) return { ...entry, tries: entry.tries + 1, dueAt: dayAfter(entry, now) };
  return { ...ended, state: 'skipped', skippedFor: code };
}

/** At the time of day of the try before, unless that was missed for so long that it is past. */
function dayAfter({ dueAt }: ScheduledEntry, now: Date): Date {
  const next = (dueAt ?? now).getTime() + DAY_MS;
  return new Date(next > now.getTime() ? next : now.getTime() + DAY_MS);
}
