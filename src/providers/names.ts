/** Every provider Chokin reads events of. `providers/index.ts` has the adapter of each. */
export const PROVIDER_NAMES = [
  'stripe',
  'dodo',
  'razorpay',
  'paddle',
  'polar',
  'lemonsqueezy',
  'paypal',
  'adyen',
  'cashfree',
] as const;

export type ProviderName = (typeof PROVIDER_NAMES)[number];
