import { z } from 'zod';
import type { Customer } from '../customers/store.ts';
import { EXAMPLE } from './examples.ts';
import { storedMetadata, timestamp } from './fields.ts';

export const EXAMPLE_PERSON = {
  name: 'Ada Lovelace',
  email: 'ada@example.com',
  phone_number: '+44 20 7946 0000',
  metadata: { plan: 'pro' },
} as const;

export const customerShape = z
  .strictObject({
    customer_id: z.string(),
    business_id: z.string(),
    name: z.string(),
    email: z.string().meta({ description: 'Empty where a payment made the customer and did not say.' }),
    phone_number: z.string().nullable(),
    metadata: storedMetadata,
    created_at: timestamp,
  })
  .meta({
    id: 'Customer',
    examples: [
      {
        customer_id: EXAMPLE.customerId,
        business_id: EXAMPLE.merchantId,
        ...EXAMPLE_PERSON,
        created_at: EXAMPLE.since,
      },
    ],
  });

/** A customer as the API shows it. */
export function customerResponse(one: Customer): z.output<typeof customerShape> {
  return {
    customer_id: one.customerId,
    business_id: one.merchantId,
    name: one.name,
    email: one.email,
    phone_number: one.phoneNumber,
    metadata: { ...one.metadata },
    created_at: one.createdAt.toISOString(),
  };
}
