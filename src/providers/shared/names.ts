/** Every provider whose events Chokin reads. `providers/index.ts` has the adapter of each. */
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

/** The providers whose API can list payments, so that reconciliation can compare; `<name>/api.ts` is the client of each. */
export const LISTABLE_PROVIDERS = ['stripe', 'dodo', 'razorpay', 'paddle', 'polar', 'lemonsqueezy'] as const;

/** Where saved payment methods can be charged; `charging/<name>.ts` asks each. */
export const CHARGING_PROVIDERS = ['stripe', 'dodo'] as const satisfies ProviderName[];

export type ListableProvider = (typeof LISTABLE_PROVIDERS)[number];
