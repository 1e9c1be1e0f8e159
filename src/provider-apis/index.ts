import type { ListableProvider, ProviderName } from '../providers/names.ts';
import type { ConnectProviderApi } from './api.ts';
import { connectDodo } from './dodo.ts';
import { connectLemonSqueezy } from './lemonsqueezy.ts';
import { connectPaddle } from './paddle.ts';
import { connectPolar } from './polar.ts';
import { connectRazorpay } from './razorpay.ts';
import { connectStripe } from './stripe.ts';

/** The client of every provider whose API lists what it was paid. */
export const PROVIDER_APIS: Readonly<Partial<Record<ProviderName, ConnectProviderApi>>> = {
  stripe: connectStripe,
  dodo: connectDodo,
  razorpay: connectRazorpay,
  paddle: connectPaddle,
  polar: connectPolar,
  lemonsqueezy: connectLemonSqueezy,
} satisfies Readonly<Record<ListableProvider, ConnectProviderApi>>;
