import { invariant } from '../errors.ts';
import { parseRefillKey, refillKey } from '../ledger/keys.ts';
import type { GrantSchedule } from '../schedules/grant-schedule.ts';
import { endRefill, isTooOld, lastRefill, type SettledRefill } from '../schedules/refill.ts';
import { isInFlight } from './attempt.ts';
import type { TopUp } from './tables.ts';

/** The top-ups by which a period of a schedule is paid: one after another until one is paid, three at most. Pure. */

/** A period for which the customer may be charged now, as far as its schedule is concerned. */
export interface WantedRefill {
  readonly schedule: GrantSchedule;
  readonly amount: number;
  readonly dueAt: Date;
  /** Under which its top-up is begun: no second one can be. */
  readonly idempotencyKey: string;
}

export interface SortedRefills {
  /** Those first that were due first. */
  readonly wanted: readonly WantedRefill[];
  /** Those about which nothing more is done. */
  readonly over: readonly SettledRefill[];
}

/** As often as declines may follow each other before the rule is suspended. */
const MOST_ATTEMPTS = 3;

/** What is to be done about noted periods, by the top-ups that were begun for them. Pure. */
export function sortRefills(schedules: readonly GrantSchedule[], topUps: readonly TopUp[], now: Date): SortedRefills {
  const wanted: WantedRefill[] = [];
  const over: SettledRefill[] = [];
  for (const schedule of schedules) {
    const refill = lastRefill(schedule);
    invariant(refill !== null, 'a schedule with a refill that is open, and no period');
    const keys = keysOf(schedule);
    const own = topUps.filter(({ idempotencyKey }) => idempotencyKey !== null && keys.includes(idempotencyKey));
    // Also one that was paid after it had ended.
    const isPaid = own.some(({ state }) => state === 'succeeded');
    const next = keys[own.length];
    if (isPaid || next === undefined) over.push(endRefill(schedule, 'too_old'));
    else if (own.some(({ state }) => isInFlight(state))) continue;
    else if (isTooOld(refill, now)) over.push(endRefill(schedule, 'too_old'));
    else wanted.push({ schedule, amount: refill.amount, dueAt: refill.dueAt, idempotencyKey: next });
  }
  return { wanted: wanted.sort((a, b) => a.dueAt.getTime() - b.dueAt.getTime()), over };
}

/** The keys of all top-ups that may be begun for the period that was noted last. */
export function keysOf(schedule: GrantSchedule): readonly string[] {
  const { refillPeriod: period } = schedule;
  if (period === null) return [];
  return Array.from({ length: MOST_ATTEMPTS }, (_, index) => refillKey({ ...schedule, period }, index + 1));
}

/** Whether no other is begun for its period by itself, whatever becomes of it. */
export function isLastAttempt({ idempotencyKey }: Pick<TopUp, 'idempotencyKey'>): boolean {
  return idempotencyKey !== null && (parseRefillKey(idempotencyKey)?.attempt ?? 1) >= MOST_ATTEMPTS;
}

/** The newest top-up that was begun for the period that a schedule noted last; null if none was. */
export function newestOf(schedule: GrantSchedule, topUps: readonly TopUp[]): TopUp | null {
  const keys = keysOf(schedule);
  const own = topUps.filter(
    ({ customerId, idempotencyKey }) =>
      customerId === schedule.customerId && idempotencyKey !== null && keys.includes(idempotencyKey),
  );
  return own.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())[0] ?? null;
}
