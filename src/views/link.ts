import { z } from 'zod';
import { type CustomerLink, LINK_CAUSES } from '../customers/links.ts';
import { EXAMPLE } from './examples.ts';
import { text, timestamp } from './fields.ts';

/** The fields that name a link of a customer. */
export const linkNames = {
  source_id: text(200, 1).meta({
    description: 'By which source the customer is known so.',
    examples: [EXAMPLE.sourceId],
  }),
  provider_customer_id: text(255, 1).meta({
    description: "The provider's own id of the customer.",
    examples: [EXAMPLE.providerCustomerId],
  }),
};

export const linkShape = z
  .strictObject({
    source_id: z.string(),
    provider_customer_id: z.string(),
    cause: z.enum(LINK_CAUSES).meta({
      description:
        "payment, order, subscription: that named the customer, where no payer could have written the name · replay: an operator's replay with `link` · operator: set by hand, and moved only by hand · created: the customer was made of the provider's · before: made by an earlier release.",
    }),
    payment_id: z.string().nullable().meta({ description: 'The payment that made or moved it, if one did.' }),
    created_at: timestamp.meta({ description: 'When it was made or moved. RFC 3339, UTC.' }),
  })
  .meta({
    id: 'CustomerLink',
    examples: [
      {
        source_id: EXAMPLE.sourceId,
        provider_customer_id: EXAMPLE.providerCustomerId,
        cause: 'payment',
        payment_id: EXAMPLE.paymentId,
        created_at: EXAMPLE.time,
      },
    ],
  });

export function linkResponse(one: CustomerLink): z.output<typeof linkShape> {
  return {
    source_id: one.sourceId,
    provider_customer_id: one.providerCustomerId,
    cause: one.cause,
    payment_id: one.paymentId,
    created_at: one.createdAt.toISOString(),
  };
}
