import type { Refusal } from '../errors.ts';
import type { Posting } from './entry.ts';
import { daysAfter } from './lots/notices.ts';

/*
 * A date of account: an entry may say that it belongs to an earlier day, such as the last of a month that was not booked in time. It is written
 * when it is written: balances, past ones too, and the chain of hashes go by `createdAt`, so that nothing that was ever told becomes untrue.
 */

/** An entry may be dated back by so many days. */
const MOST_DAYS_BACK = 90;

/** Why the posting cannot have its date of account at that moment; null if it can. */
export function refuseEffectiveAt(
  { effectiveAt }: Pick<Posting, 'effectiveAt'>,
  now: Date,
): Refusal<'EFFECTIVE_AT_OUT_OF_RANGE'> | null {
  if (effectiveAt == null || (effectiveAt <= now && effectiveAt >= daysAfter(now, -MOST_DAYS_BACK))) return null;
  return { code: 'EFFECTIVE_AT_OUT_OF_RANGE', mostDays: MOST_DAYS_BACK };
}
