import { adyen } from './adyen.ts';
import { cashfree } from './cashfree.ts';
import { dodo } from './dodo.ts';
import { lemonsqueezy } from './lemonsqueezy.ts';
import type { ProviderName } from './names.ts';
import { paddle } from './paddle.ts';
import { paypal } from './paypal.ts';
import { polar } from './polar.ts';
import type { AnyProvider } from './provider.ts';
import { razorpay } from './razorpay.ts';
import { stripe } from './stripe.ts';

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
