import type { SkippedGrants } from '../ledger/entry.ts';
import { endOfDue, type GrantSchedule, inRanges, type Skip, withNextAt } from './grant-schedule.ts';
import { periodAt } from './periods.ts';

/*
 * Periods that the customer is charged for. Pure. A schedule notes the newest that is due, and no other waits: who was charged by nobody for
 * months is not charged for all of them at once. What is noted is charged by the rule of the wallet (src/top-ups), as far as that allows it.
 */

/** A period that is to be paid. */
export interface Refill {
  readonly period: number;
  readonly amount: number;
  readonly dueAt: Date;
}

/** So long one waits to be charged: a cap holds it back for a month at most. */
const WAITS_MS = 31 * 86_400_000;

/** The period that a schedule noted last, also one about which nothing more is done; null if there was none. */
export function lastRefill(schedule: GrantSchedule): Refill | null {
  const { refillPeriod: period, refillAmount: amount } = schedule;
  return period === null || amount === null ? null : { period, amount, dueAt: periodAt(schedule, period) };
}

export function isTooOld({ dueAt }: Pick<Refill, 'dueAt'>, now: Date): boolean {
  return now.getTime() - dueAt.getTime() > WAITS_MS;
}

export interface SettledRefill {
  readonly schedule: GrantSchedule;
  /** What nobody is charged for. */
  readonly skipped: readonly SkippedGrants[];
}

/**
 * The schedule after its due periods: the newest is to be charged, and those before it are not any more. The attempt of one before may be
 * under way, and goes on.
 */
export function afterRefills(
  schedule: GrantSchedule,
  { isClosed, now }: { readonly isClosed: boolean; readonly now: Date },
): SettledRefill {
  const { done, amountMinor } = schedule;
  const end = endOfDue(schedule, now);
  if (end === done) return { schedule, skipped: [] };
  if (isClosed) {
    const { schedule: off, skipped } = callOff(schedule, 'WALLET_CLOSED', now);
    return { schedule: { ...off, nextAt: null, endedAt: now }, skipped };
  }
  const newest = { period: end - 1, dueAt: periodAt(schedule, end - 1) };
  const missed = skips(schedule, { end: end - 1, reason: 'superseded' });
  const isMissed = isTooOld(newest, now);
  if (isMissed) missed.push({ ...newest, reason: 'too_old' });
  const after: GrantSchedule = {
    ...schedule,
    ...{ done: end, refillPeriod: newest.period, refillAmount: amountMinor, refillState: isMissed ? 'skipped' : 'due' },
  };
  return {
    schedule: withNextAt(after),
    skipped: [...skippedRefill(schedule, 'superseded'), ...inRanges(schedule, missed)],
  };
}

/** The schedule without anything that is still to be charged. What was begun goes on. */
export function callOff(schedule: GrantSchedule, reason: 'called_off' | 'WALLET_CLOSED', now: Date): SettledRefill {
  const end = endOfDue(schedule, now);
  const missed = skips(schedule, { end, reason });
  const { schedule: after, skipped } = endRefill(schedule, reason);
  return { schedule: { ...after, done: end }, skipped: [...skipped, ...inRanges(schedule, missed)] };
}

/** The schedule once nothing more is tried for the period that it noted. */
export function endRefill(schedule: GrantSchedule, reason: string): SettledRefill {
  const { refillState: state } = schedule;
  if (state !== 'due' && state !== 'tried') return { schedule, skipped: [] };
  const after: GrantSchedule = { ...schedule, refillState: state === 'due' ? 'skipped' : 'done' };
  return { schedule: after, skipped: skippedRefill(schedule, reason) };
}

/** What is told of a noted period that nobody was asked to pay; of one that was tried, its top-up tells. */
function skippedRefill(schedule: GrantSchedule, reason: string): readonly SkippedGrants[] {
  const refill = lastRefill(schedule);
  if (refill === null || schedule.refillState !== 'due') return [];
  const { period, dueAt, amount: amountMinor } = refill;
  return inRanges({ ...schedule, amountMinor }, [{ period, dueAt, reason }]);
}

function skips(schedule: GrantSchedule, { end, reason }: { readonly end: number; readonly reason: string }): Skip[] {
  const periods = Array.from({ length: Math.max(end - schedule.done, 0) }, (_, index) => schedule.done + index);
  return periods.map((period) => ({ period, dueAt: periodAt(schedule, period), reason }));
}
