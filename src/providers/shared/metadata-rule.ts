import type { MetadataRule } from '../../payments/purpose.ts';
import type { ProviderName } from './names.ts';

/** Providers at which only the holder of the merchant's secret key can write a payment's metadata. */
const WRITTEN_BY_THE_MERCHANT: ReadonlySet<ProviderName> = new Set(['stripe']);

/**
 * The metadata rule of a source that was given none; every way to make a source calls this. It is `all` only if the provider
 * keeps payers from writing metadata, else `customer`.
 *
 * | provider     | who can write it                                                     | source, as of November 2026              |
 * |--------------|----------------------------------------------------------------------|------------------------------------------|
 * | stripe       | the merchant: a publishable key does not even read metadata          | docs.stripe.com/metadata                 |
 * | dodo         | the payer: `metadata_…` in the address of a static payment link      | docs.dodopayments.com, integration guide |
 * | razorpay     | the payer: `notes` are an option of Checkout in the browser          | razorpay.com/docs, checkout parameters   |
 * | paddle       | the payer: `customData` of Paddle.js, even while a checkout is open  | developer.paddle.com, custom data        |
 * | lemonsqueezy | the payer: `checkout[custom][…]` in the address of a checkout        | docs.lemonsqueezy.com, passing custom data |
 * | paypal       | the payer: `custom_id`, where the browser makes the order            | types of @paypal/paypal-js, createOrder  |
 * | polar        | the payer some of it: names in the address of a checkout link        | polar.sh/docs, checkout links            |
 * | adyen        | the merchant's server, but one text that shops fill from the browser | docs.adyen.com, `reference` of a payment |
 * | cashfree     | the merchant's server, and nothing checks what it passes on          | docs.cashfree.com, additional order data |
 *
 * Those of the last two, and most of Polar's, are written with a secret key. But a shop often takes its reference or tags from a
 * form that the payer fills in, and the default must be safe for that shop too.
 */
export function defaultMetadataRule(provider: ProviderName): MetadataRule {
  return WRITTEN_BY_THE_MERCHANT.has(provider) ? 'all' : 'customer';
}

/** Whether a source obeys amounts and purposes that a payer may have written. */
export function obeysPayers({
  provider,
  metadata,
}: {
  readonly provider: ProviderName;
  readonly metadata: MetadataRule;
}): boolean {
  return metadata === 'all' && defaultMetadataRule(provider) !== 'all';
}
