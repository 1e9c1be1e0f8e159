import { z } from 'zod';
import { Secret } from '../crypto/secret.ts';
import { API_KEY_PATTERN, API_KEY_WANTED, webhookSecretProblem } from '../providers/secret-form.ts';
import { LISTABLE_PROVIDERS, PROVIDER_NAMES, type ProviderName } from '../providers/shared/names.ts';

/** The environment's part for each provider: `STRIPE_WEBHOOK_SECRET`, `STRIPE_REFUNDS` and so on. */

/** What a payment is for whose metadata has no `wallet_purpose`. */
export const PURPOSES = ['topup', 'order', 'none'] as const;
/**
 * Which `wallet_…` metadata of a payment is obeyed: `all` of it, or `customer`: `wallet_customer_id` alone, where payers
 * can write metadata themselves and could so grant themselves credit.
 */
export const METADATA_RULES = ['all', 'customer'] as const;

export type MetadataRule = (typeof METADATA_RULES)[number];

/** Where nobody but the holder of the merchant's secret key writes what a payment carries. */
const WRITTEN_BY_THE_MERCHANT: ReadonlySet<ProviderName> = new Set(['stripe']);

/**
 * The metadata rule of a source that was given none; every way to make a source asks here. It is `all` only where the
 * provider keeps payers from writing metadata, else `customer`.
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
 * The last two and most of Polar's are written with a secret key. But a shop's reference or tags often come from a form,
 * and a default must be safe for that shop as well.
 */
export function defaultMetadataRule(provider: ProviderName): MetadataRule {
  return WRITTEN_BY_THE_MERCHANT.has(provider) ? 'all' : 'customer';
}

/** Whether a source obeys amounts and purposes that a payer may have written. */
export function obeysPayers({ provider, metadata }: Pick<SourceSettings, 'provider' | 'metadata'>): boolean {
  return metadata === 'all' && defaultMetadataRule(provider) !== 'all';
}

/** What a refund does; `auto` follows the payment's purpose. */
export const REFUND_POLICIES = ['auto', 'credit', 'reverse', 'ignore'] as const;
/**
 * Whose a payment is that names no customer: `create`: the customer linked with the provider's, made if there is none;
 * `linked`: only one that is linked already; `named`: nobody's, it must be named.
 */
export const CUSTOMER_LINK_RULES = ['create', 'linked', 'named'] as const;

const LISTABLE: ReadonlySet<ProviderName> = new Set(LISTABLE_PROVIDERS);

const secretList = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, `wants ${values.slice(0, -1).join(', ')} or ${values.at(-1)}`);

const SCHEMA = {
  WEBHOOK_SECRET: secretList.optional(),
  DEFAULT_PURPOSE: oneOf(PURPOSES).default('topup'),
  METADATA: oneOf(METADATA_RULES).optional(),
  REFUNDS: oneOf(REFUND_POLICIES).default('auto'),
  CUSTOMERS: oneOf(CUSTOMER_LINK_RULES).default('create'),
  API_KEY: z
    .string()
    .regex(API_KEY_PATTERN, API_KEY_WANTED)
    .transform((text) => new Secret(text))
    .optional(),
  API_URL: z.url({ protocol: /^https?$/, error: 'wants an http or https URL' }).optional(),
};

const schema = z.object(SCHEMA);

/** The names of all these variables. */
export const SOURCE_VARIABLES: readonly string[] = PROVIDER_NAMES.flatMap((provider) =>
  Object.keys(SCHEMA).map((name) => `${provider.toUpperCase()}_${name}`),
);

/** One provider account of the default merchant, as the environment gives it. */
export interface SourceSettings {
  readonly provider: ProviderName;
  readonly secrets: readonly Secret[];
  readonly defaultPurpose: (typeof PURPOSES)[number];
  readonly metadata: MetadataRule;
  readonly refunds: (typeof REFUND_POLICIES)[number];
  readonly customerLinkRule: (typeof CUSTOMER_LINK_RULES)[number];
  /** For reconciliation; null if the provider's API is not to be asked. */
  readonly apiKey: Secret | null;
}

export interface SourcesConfig {
  readonly sources: readonly SourceSettings[];
  /** Other addresses of the providers' APIs than their own, for all sources. */
  readonly apiUrls: ReadonlyMap<ProviderName, string>;
}

/** Reads every provider's variables. @returns what is usable; `problems` gets a line for each that is not */
export function readSources(set: Readonly<Record<string, string | undefined>>, problems: string[]): SourcesConfig {
  const sources: SourceSettings[] = [];
  const apiUrls = new Map<ProviderName, string>();
  for (const provider of PROVIDER_NAMES) {
    const prefix = `${provider.toUpperCase()}_`;
    const parsed = schema.safeParse(Object.fromEntries(Object.keys(SCHEMA).map((key) => [key, set[prefix + key]])));
    if (!parsed.success) {
      problems.push(...parsed.error.issues.map((issue) => `${prefix}${String(issue.path[0] ?? '')}: ${issue.message}`));
      continue;
    }
    const { WEBHOOK_SECRET: secrets, API_KEY: apiKey, API_URL: apiUrl } = parsed.data;
    if (apiKey !== undefined && !LISTABLE.has(provider)) {
      problems.push(`${prefix}API_KEY: is of no use, since the payments of ${provider} cannot be listed`);
      continue;
    }
    if (apiUrl !== undefined) apiUrls.set(provider, apiUrl.replace(/\/$/, ''));
    if (secrets === undefined) {
      if (apiKey !== undefined) problems.push(`${prefix}API_KEY: wants ${prefix}WEBHOOK_SECRET as well`);
      continue;
    }
    const wrong = secrets.map((secret) => webhookSecretProblem(provider, secret)).find((problem) => problem !== null);
    if (secrets.length === 0 || wrong !== undefined) {
      problems.push(`${prefix}WEBHOOK_SECRET: ${wrong ?? 'wants a secret, or several separated by commas'}`);
      continue;
    }
    sources.push({
      provider,
      secrets: secrets.map((secret) => new Secret(secret)),
      defaultPurpose: parsed.data.DEFAULT_PURPOSE,
      metadata: parsed.data.METADATA ?? defaultMetadataRule(provider),
      refunds: parsed.data.REFUNDS,
      customerLinkRule: parsed.data.CUSTOMERS,
      apiKey: apiKey ?? null,
    });
  }
  return { sources, apiUrls };
}
