import { z } from 'zod';
import type { CustomerErasure } from '../customers/erase.ts';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

export const erasureShape = z
  .strictObject({
    customer_id: z.string(),
    anonymised_at: timestamp.meta({ description: 'When it was asked for the last time.' }),
    finished_at: timestamp.nullable().meta({
      description: 'Null while something is left; a worker erases it, what is in dispute once that has ended.',
    }),
    entries: z.int().min(0).meta({ description: 'Entries whose texts were struck out.' }),
    events: z.int().min(0).meta({ description: 'Events whose bodies were taken away.' }),
    messages: z.int().min(0).meta({ description: 'Messages that were deleted.' }),
    kept: z.int().min(0).meta({
      description: 'Events and messages that stay for now: in dispute, waiting for a person, or still to be delivered.',
    }),
  })
  .meta({
    id: 'Erasure',
    examples: [
      {
        ...{ customer_id: EXAMPLE.customerId, anonymised_at: EXAMPLE.time, finished_at: EXAMPLE.time },
        ...{ entries: 0, events: 3, messages: 4, kept: 0 },
      },
    ],
  });

/** How far erasing a customer's data has come, as the API shows it. */
export function erasureResponse(one: CustomerErasure): z.output<typeof erasureShape> {
  return {
    customer_id: one.customerId,
    anonymised_at: one.requestedAt.toISOString(),
    finished_at: one.finishedAt?.toISOString() ?? null,
    entries: one.entries,
    events: one.events,
    messages: one.messages,
    kept: one.kept,
  };
}
