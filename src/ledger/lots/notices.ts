import { isOver, type Lot } from './lot.ts';

/** What the ledger must know of lots besides their rows; from the configuration. */
export interface LotRule {
  /** So many days before the end of a lot its merchant is told of it. */
  readonly noticeDays: readonly number[];
  /** Of lots with less than this left, in minor units by currency, nothing is told; 1 where a currency is not named. */
  readonly noticeMinimums: ReadonlyMap<string, number>;
  /** Credit of kind paid and refund may end, but not within so many days; null: not at all. */
  readonly paidExpiryMinDays: number | null;
}

const DAY = 24 * 60 * 60 * 1000;

/** The time so many days later; a day has 24 hours. */
export function daysAfter(time: Date, days: number): Date {
  return new Date(time.getTime() + days * DAY);
}

type Timed = Pick<Lot, 'expiresAt' | 'createdAt' | 'notices'>;

/** The days before the lot's end at which it is still to be told of. A lot is not told of in the first half of its life. */
function noticesLeft({ expiresAt, createdAt, notices }: Timed, { noticeDays }: LotRule): readonly number[] {
  if (expiresAt === null) return [];
  const life = (expiresAt.getTime() - createdAt.getTime()) / DAY;
  return noticeDays.filter((days) => days <= life / 2 && (notices === 0 || days < notices));
}

/** The notice that is due: of several that were missed, the last. Null: none. */
export function noticeDue(lot: Timed, rule: LotRule, now: Date): number | null {
  const { expiresAt } = lot;
  if (expiresAt === null || isOver(lot, now)) return null;
  const due = noticesLeft(lot, rule).filter((days) => daysAfter(expiresAt, -days) <= now);
  return due.length === 0 ? null : Math.min(...due);
}

/** When something about the lot is due next, a notice or its end. Null: never, also where it is over and kept by a hold. */
export function nextDue(lot: Timed, rule: LotRule, now: Date): Date | null {
  const { expiresAt } = lot;
  if (expiresAt === null || isOver(lot, now)) return null;
  return daysAfter(expiresAt, -Math.max(0, ...noticesLeft(lot, rule)));
}

/** The last notice whose time is past, which is not made up for where an end was moved; 0 if there is none. */
export function noticePassed(lot: Timed, rule: LotRule, now: Date): number {
  return noticeDue({ ...lot, notices: 0 }, rule, now) ?? 0;
}
