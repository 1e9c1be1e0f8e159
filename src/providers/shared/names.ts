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

/** Those of them whose API lists what they were paid, so that reconciliation can compare: `<name>/api.ts` is a client of each. */
export const LISTABLE_PROVIDERS = ['stripe', 'dodo', 'razorpay', 'paddle', 'polar', 'lemonsqueezy'] as const;

export type ListableProvider = (typeof LISTABLE_PROVIDERS)[number];
