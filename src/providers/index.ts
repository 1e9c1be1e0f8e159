import { dodo } from './dodo.ts';
import type { ProviderName } from './names.ts';
import type { Provider } from './provider.ts';
import { razorpay } from './razorpay.ts';
import { stripe } from './stripe.ts';

/** The adapter of every provider. */
export const PROVIDERS: Readonly<Record<ProviderName, Provider>> = { stripe, dodo, razorpay };
