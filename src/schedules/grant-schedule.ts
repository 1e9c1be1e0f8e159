import { invariant, type RefusalCode } from '../errors.ts';
import type { LotTerms, Posting, SkippedGrants, WalletKey } from '../ledger/entry.ts';
import { grantKey } from '../ledger/keys.ts';
import { daysAfter } from '../ledger/lots/notices.ts';
import type { PostingRefusal, PostingResult } from '../ledger/post.ts';
import { type Calendar, MOST_PERIODS, periodAt, periodsUntil } from './periods.ts';

/**
 * How far a period has come that the customer is to be charged for. due: nobody was asked to pay yet. tried: a top-up was begun, and another
 * is if that comes to nothing. done: nothing more is tried, whatever became of the last. skipped: nobody was asked.
 */
export const REFILL_STATES = ['due', 'tried', 'done', 'skipped'] as const;

export type RefillState = (typeof REFILL_STATES)[number];

interface RefillProgress {
  /** The newest period that was due while the schedule charged. */
  readonly refillPeriod: number | null;
  /** What is charged for it, as it was when it fell due. */
  readonly refillAmount: number | null;
  readonly refillState: RefillState | null;
}

/** Of a schedule that is made anew. */
export const NO_REFILL: RefillProgress = { refillPeriod: null, refillAmount: null, refillState: null };

/** Credit that is given at every period of a calendar, or paid. Grants add to a balance, and never set one. Pure. */
export interface GrantSchedule extends WalletKey, Calendar, RefillProgress {
  readonly scheduleId: string;
  /** A schedule that is made after it was deleted is another one. */
  readonly incarnation: number;
  readonly amountMinor: number;
  readonly lotName: string | null;
  readonly lotPriority: number;
  /** Days of 24 hours from when a period was due; null: what is granted never ends. */
  readonly lotDays: number | null;
  /** Whether the customer is charged for each period; nothing is given then. */
  readonly charge: boolean;
  /** Nothing is granted from then on. */
  readonly endsAt: Date | null;
  /** So many periods in all; null: no end. */
  readonly count: number | null;
  /** The first that it grants. */
  readonly firstPeriod: number;
  /** The next that is to be settled: all before it are. */
  readonly done: number;
  /** When it is looked at next; null while it is paused, and once nothing is to come. */
  readonly nextAt: Date | null;
  readonly paused: boolean;
  /** Who asked for it as it is. */
  readonly actor: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly endedAt: Date | null;
}

/** So many periods that were missed are made up for; of more, the newest. */
const MOST_MADE_UP = 12;
/** What only the operator can mend is tried again after this time. */
export const PUT_OFF_MS = 3_600_000;

/** The number of the first period that it does not grant any more. */
function endOfPeriods(schedule: GrantSchedule): number {
  const { firstPeriod, count, endsAt } = schedule;
  return Math.min(
    MOST_PERIODS,
    ...(count === null ? [] : [firstPeriod + count]),
    ...(endsAt === null ? [] : [periodsUntil(schedule, justBefore(endsAt))]),
  );
}

function justBefore(time: Date): Date {
  return new Date(time.getTime() - 1);
}

/** The first period that is not due before a time. */
export function firstPeriodFrom(calendar: Calendar, time: Date): number {
  return periodsUntil(calendar, justBefore(time));
}

/** When the next period is due that it will grant; null if none is to come. */
export function nextDueAt(schedule: GrantSchedule): Date | null {
  const isOver = schedule.endedAt !== null || schedule.done >= endOfPeriods(schedule);
  return isOver ? null : periodAt(schedule, schedule.done);
}

/** The schedule with the time at which it is looked at next. */
export function withNextAt(schedule: GrantSchedule): GrantSchedule {
  return { ...schedule, nextAt: schedule.paused ? null : nextDueAt(schedule) };
}

/** The number of the first period that is not to be settled by then, because it is not due, or will never be. */
export function endOfDue(schedule: GrantSchedule, now: Date): number {
  const { done, paused, endedAt } = schedule;
  if (paused || endedAt !== null) return done;
  return Math.max(done, Math.min(periodsUntil(schedule, now), endOfPeriods(schedule)));
}

/** A period that is due: what it grants, or why nothing. */
export type DuePeriod = { readonly period: number; readonly dueAt: Date } & (
  | { readonly posting: Posting }
  | { readonly skippedFor: 'too_old' | 'expired' }
);

/** The periods that are due and not settled, in their order: of many the newest are made up for, unless their credit is over by now. */
export function duePeriods(schedule: GrantSchedule, now: Date): readonly DuePeriod[] {
  const end = endOfDue(schedule, now);
  const periods = Array.from({ length: end - schedule.done }, (_, index) => schedule.done + index);
  return periods.map((period): DuePeriod => {
    const dueAt = periodAt(schedule, period);
    if (period < end - MOST_MADE_UP) return { period, dueAt, skippedFor: 'too_old' };
    const terms = termsAt(schedule, dueAt);
    const isOver = terms.end !== null && 'at' in terms.end && terms.end.at <= now;
    return isOver
      ? { period, dueAt, skippedFor: 'expired' }
      : { period, dueAt, posting: grant(schedule, period, terms) };
  });
}

function termsAt({ lotName: name, lotPriority: priority, lotDays }: GrantSchedule, dueAt: Date): LotTerms {
  return { kind: 'promo', name, priority, end: lotDays === null ? null : { at: daysAfter(dueAt, lotDays) } };
}

/** The same whenever it is asked for, but for what was changed meanwhile; the key says it once. */
function grant(schedule: GrantSchedule, period: number, terms: LotTerms): Posting {
  const { merchantId, customerId, currency, scheduleId, amountMinor, lotName } = schedule;
  return {
    ...{ merchantId, customerId, currency, amountMinor, isCredit: true, eventType: 'merchant_adjustment', terms },
    ...{ reason: lotName, referenceObjectId: scheduleId },
    metadata: { schedule_id: scheduleId, period, due_at: periodAt(schedule, period).toISOString() },
    idempotencyKey: grantKey({ ...schedule, period }),
  };
}

/** What is wrong with the service rather than with the grant: its periods stay due. */
const OF_THE_SERVICE: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'UNSUPPORTED_CURRENCY',
  'CUSTOMER_NOT_FOUND',
  'LOTS_NOT_YET',
]);

export interface SettledSchedule {
  readonly schedule: GrantSchedule;
  /** Why its periods stay due; null if they are settled. */
  readonly putOffFor: PostingRefusal | null;
  readonly skipped: readonly SkippedGrants[];
}

/** The schedule after its due periods, and what of them was not granted. `results`: one for each posting, in order. */
export function afterPeriods(
  schedule: GrantSchedule,
  due: readonly DuePeriod[],
  { results, now }: { readonly results: readonly PostingResult[]; readonly now: Date },
): SettledSchedule {
  const left = [...results];
  const skips = due.flatMap((one): Skip[] => {
    const { period, dueAt } = one;
    if ('skippedFor' in one) return [{ period, dueAt, reason: one.skippedFor }];
    const result = left.shift();
    return result?.kind === 'refused' ? [{ period, dueAt, reason: result.refusal.code }] : [];
  });
  const refusals = results.flatMap((one) => (one.kind === 'refused' ? [one.refusal] : []));
  const putOffFor = refusals.find(({ code }) => OF_THE_SERVICE.has(code)) ?? null;
  const later = new Date(now.getTime() + PUT_OFF_MS);
  if (putOffFor !== null) return { schedule: { ...schedule, nextAt: later }, skipped: [], putOffFor };
  const done = Math.max(schedule.done, ...due.map(({ period }) => period + 1));
  // A wallet that is closed is opened again by what payments do alone, and a schedule is not to go on then by itself.
  const isClosed = skips.some(({ reason }) => reason === 'WALLET_CLOSED');
  const endedAt = isClosed ? now : schedule.endedAt;
  const after = withNextAt({ ...schedule, done, endedAt });
  // It would be taken up again at once, and for ever.
  invariant(after.nextAt === null || after.nextAt > now, 'a schedule is due after what is due of it was settled');
  return { schedule: after, skipped: inRanges(schedule, skips), putOffFor };
}

/** A period for which nothing was granted. */
export interface Skip {
  readonly period: number;
  readonly dueAt: Date;
  readonly reason: string;
}

/** Those that follow one another for the same reason are told of together. */
export function inRanges(
  { scheduleId, amountMinor: amount }: Pick<GrantSchedule, 'scheduleId' | 'amountMinor'>,
  skips: readonly Skip[],
): readonly SkippedGrants[] {
  const ranges: SkippedGrants[] = [];
  for (const { period, dueAt, reason } of skips) {
    const last = ranges.at(-1);
    const at = dueAt.toISOString();
    if (last !== undefined && last.reason === reason && last.toPeriod === period - 1) {
      ranges[ranges.length - 1] = { ...last, toPeriod: period, lastDueAt: at };
    } else {
      ranges.push({ scheduleId, amount, fromPeriod: period, toPeriod: period, firstDueAt: at, lastDueAt: at, reason });
    }
  }
  return ranges;
}
