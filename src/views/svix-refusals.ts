import type { Refusal } from '../errors.ts';

/** The words of refusals for what Svix says, or somebody else has there. */
export const SVIX_WORDS = {
  SVIX_REFUSES: ({ detail }: Refusal<'SVIX_REFUSES'>) => ({
    code: 'INVALID_REQUEST_BODY' as const,
    message: `Svix does not accept this: ${detail}`,
  }),
  SVIX_HAS_IT: () => ({ code: 'CONFLICT' as const, message: 'Svix has this already.' }),
  SVIX_BUSY: ({ retryAfterSeconds }: Refusal<'SVIX_BUSY'>) => ({
    code: 'SERVICE_UNAVAILABLE' as const,
    message: `Svix is busy. Try again in ${retryAfterSeconds} s.`,
    details: { retry_after: retryAfterSeconds },
  }),
  SVIX_UNAVAILABLE: ({ problem }: Refusal<'SVIX_UNAVAILABLE'>) => ({
    code: 'SERVICE_UNAVAILABLE' as const,
    message: problem ?? 'Svix, which keeps the webhook endpoints, cannot be used now. Try again later.',
  }),
  APPLICATION_OF_ANOTHER: ({ uid }: Refusal<'APPLICATION_OF_ANOTHER'>) => ({
    code: 'CONFLICT' as const,
    message: `The application ${uid} at Svix is marked as that of another installation.`,
  }),
  APPLICATION_IN_USE: ({ uid, urls }: Refusal<'APPLICATION_IN_USE'>) => ({
    code: 'CONFLICT' as const,
    message: `The application ${uid} has endpoints already (${urls.join(', ')}): delete them, or make the other's anew there.`,
  }),
};
