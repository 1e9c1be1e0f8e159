import type { Refusal } from '../errors.ts';

/** The words of refusals about what is written at another time, or dated so. */
export const SCHEDULE_WORDS = {
  EFFECTIVE_AT_OUT_OF_RANGE: ({ code, mostDays }: Refusal<'EFFECTIVE_AT_OUT_OF_RANGE'>) => ({
    code,
    message: `effective_at: wants a time that is not to come, ${mostDays} days back at most.`,
  }),
  SCHEDULED_ENTRY_NOT_FOUND: ({ code }: Refusal<'SCHEDULED_ENTRY_NOT_FOUND'>) => ({
    code,
    message: 'The customer has no such scheduled entry.',
  }),
  SCHEDULED_ENTRY_NOT_OPEN: ({ code, state }: Refusal<'SCHEDULED_ENTRY_NOT_OPEN'>) => ({
    code,
    message: `The entry does not wait for its time any more: it is ${state}.`,
  }),
  SCHEDULE_NOT_FOUND: ({ code }: Refusal<'SCHEDULE_NOT_FOUND'>) => ({
    code,
    message: 'The wallet has no such schedule.',
  }),
  SCHEDULE_LIMIT: ({ what, most }: Refusal<'SCHEDULE_LIMIT'>) => ({
    code: 'CONFLICT' as const,
    message: `There are ${most} ${what} already, which is the most. End some first.`,
  }),
};
