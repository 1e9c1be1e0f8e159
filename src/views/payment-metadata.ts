import { z } from 'zod';
import { EXAMPLE } from './examples.ts';
import { timestamp } from './fields.ts';

export const paymentMetadataShape = z
  .strictObject({
    metadata: z
      .strictObject({ wallet_token: z.string() })
      .meta({ description: "To be put among the payment's metadata (notes, custom data, tags), as it is." }),
    one_text: z.string().meta({
      description:
        'The same for a provider that takes one text: `custom_id` at PayPal (127 characters), `merchantReference` at Adyen (80).',
    }),
    expires_at: timestamp,
  })
  .meta({
    id: 'PaymentMetadata',
    examples: [
      { metadata: { wallet_token: EXAMPLE.walletToken }, one_text: EXAMPLE.walletToken, expires_at: EXAMPLE.later },
    ],
  });

export function paymentMetadataResponse({
  token,
  expiresAt,
}: {
  readonly token: string;
  readonly expiresAt: Date;
}): z.output<typeof paymentMetadataShape> {
  return { metadata: { wallet_token: token }, one_text: token, expires_at: expiresAt.toISOString() };
}
