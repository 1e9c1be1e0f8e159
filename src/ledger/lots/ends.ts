import { LAST_MOMENT } from '../../clock.ts';
import type { LotTerms } from '../entry.ts';
import type { Lot } from './lot.ts';
import { daysAfter } from './notices.ts';

/** The end of what follows a closed lot: it has as much time as was left when it was taken, if that is later than its end. */
export function restOfLife({ expiresAt }: Lot, takenAt: Date, now: Date): Date | null {
  if (expiresAt === null) return null;
  const end = Math.max(expiresAt.getTime(), now.getTime() + expiresAt.getTime() - takenAt.getTime());
  return new Date(Math.min(end, LAST_MOMENT));
}

/** When credit with these terms ends if it is given now. */
export function endOf({ end }: LotTerms, now: Date): Date | null {
  if (end === null) return null;
  return 'at' in end ? end.at : daysAfter(now, end.days);
}

/** The earlier of two times, of which null is never. */
export function earlierOf(one: Date | null, other: Date | null): Date | null {
  if (one === null || other === null) return one ?? other;
  return one.getTime() < other.getTime() ? one : other;
}
