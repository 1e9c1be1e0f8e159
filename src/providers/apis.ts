import { connectDodo } from './dodo/api.ts';
import { connectLemonSqueezy } from './lemonsqueezy/api.ts';
import { connectPaddle } from './paddle/api.ts';
import { connectPolar } from './polar/api.ts';
import { connectRazorpay } from './razorpay/api.ts';
import type { ConnectProviderApi } from './shared/api.ts';
import type { ListableProvider, ProviderName } from './shared/names.ts';
import { connectStripe } from './stripe/api.ts';

/** The client of every provider whose API can list payments. */
export const PROVIDER_APIS: Readonly<Partial<Record<ProviderName, ConnectProviderApi>>> = {
  stripe: connectStripe,
  dodo: connectDodo,
  razorpay: connectRazorpay,
  paddle: connectPaddle,
  polar: connectPolar,
  lemonsqueezy: connectLemonSqueezy,
} satisfies Readonly<Record<ListableProvider, ConnectProviderApi>>;
