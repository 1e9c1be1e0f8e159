import { isDeepStrictEqual } from 'node:util';
import type { DuePosting } from '../payments/due.ts';
import type { Payment } from '../payments/payment.ts';
import { withoutTimes } from '../payments/record.ts';

/** What an event did, from least to most. */
export const EVENT_EFFECTS = ['none', 'recorded', 'credited', 'debited', 'credited_and_debited'] as const;

/**
 * `none`: all that the event says was known. `recorded`: it told something new, and no wallet changed. `credited` and
 * `debited`: by entries of one direction. `credited_and_debited`: by entries of both, as when a payment arrives after its
 * refund.
 */
export type EventEffect = (typeof EVENT_EFFECTS)[number];

/** What one fact did to its payment, and by the entries that were due for it. */
export function effectOf(before: Payment, after: Payment, due: readonly Pick<DuePosting, 'isCredit'>[]): EventEffect {
  const [first, ...rest] = due.map(({ isCredit }): EventEffect => (isCredit ? 'credited' : 'debited'));
  if (first !== undefined) return rest.reduce(bothEffects, first);
  // Most that tell something new tell of another state, which is seen at once.
  if (before.state !== after.state) return 'recorded';
  return isDeepStrictEqual(withoutTimes(before), withoutTimes(after)) ? 'none' : 'recorded';
}

/** What two facts of one event did together. */
export function bothEffects(one: EventEffect, other: EventEffect): EventEffect {
  const [less, more] = EVENT_EFFECTS.indexOf(one) < EVENT_EFFECTS.indexOf(other) ? [one, other] : [other, one];
  return less === more || less === 'none' || less === 'recorded' ? more : 'credited_and_debited';
}
