/** Every provider Chokin reads events of. `providers/index.ts` has the adapter of each. */
export const PROVIDER_NAMES = ['stripe', 'dodo', 'razorpay'] as const;

export type ProviderName = (typeof PROVIDER_NAMES)[number];
