/**
 * Loaded into a merchant's process by `--import` (../injection.ts): what the official package sends to api.stripe.com goes
 * to the double at STRIPE_DOUBLE_URL, in the clear.
 */
import http, { type RequestOptions } from 'node:http';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';

const { hostname, port } = new URL(process.env.STRIPE_DOUBLE_URL ?? '');

Object.assign(https, {
  request(options: RequestOptions) {
    if (options.host !== 'api.stripe.com') throw new Error(`nothing but Stripe is asked for: ${options.host}`);
    const { agent: _, ...rest } = options;
    return http.request({ ...rest, host: hostname, port });
  },
});
syncBuiltinESMExports();
