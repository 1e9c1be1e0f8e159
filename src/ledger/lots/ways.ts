import { type EventType, MAY_OVERDRAW } from '../entry.ts';

/** Of what a lot lost, where each type of debit is counted, and how the lot ends if it was the last of it. */
export const WAYS = {
  spent: 'drained',
  expired: 'expired',
  voided: 'voided',
  takenBack: 'taken_back',
} as const;

export function wayOf(eventType: EventType): keyof typeof WAYS {
  if (eventType === 'credit_expired') return 'expired';
  if (eventType === 'credit_voided') return 'voided';
  return MAY_OVERDRAW.has(eventType) ? 'takenBack' : 'spent';
}
