import { adyen } from './adyen/events.ts';
import { cashfree } from './cashfree/events.ts';
import { dodo } from './dodo/events.ts';
import { lemonsqueezy } from './lemonsqueezy/events.ts';
import { paddle } from './paddle/events.ts';
import { paypal } from './paypal/events.ts';
import { polar } from './polar/events.ts';
import { razorpay } from './razorpay/events.ts';
import type { ProviderName } from './shared/names.ts';
import type { AnyProvider } from './shared/provider.ts';
import { stripe } from './stripe/events.ts';

/** The adapter of every provider. */
export const PROVIDERS = {
  stripe,
  dodo,
  razorpay,
  paddle,
  polar,
  lemonsqueezy,
  paypal,
  adyen,
  cashfree,
} satisfies Readonly<Record<ProviderName, AnyProvider>>;
