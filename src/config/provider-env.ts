import { z } from 'zod';
import { Secret } from '../crypto/secret.ts';
import {
  CAPTURE_RULES,
  CUSTOMER_LINK_RULES,
  DISPUTE_RULES,
  METADATA_RULES,
  PURPOSES,
  REFUND_POLICIES,
  type SourceRules,
} from '../payments/purpose.ts';
import { API_KEY_PATTERN, API_KEY_WANTED, webhookSecretProblem } from '../providers/secret-form.ts';
import { defaultMetadataRule } from '../providers/shared/metadata-rule.ts';
import { LISTABLE_PROVIDERS, PROVIDER_NAMES, type ProviderName } from '../providers/shared/names.ts';

/** The environment's part for each provider: `STRIPE_WEBHOOK_SECRET`, `STRIPE_REFUNDS` and so on. */

const LISTABLE: ReadonlySet<ProviderName> = new Set(LISTABLE_PROVIDERS);

const secretList = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

const accountList = secretList.pipe(
  z.array(z.string().max(200, 'wants accounts of at most 200 characters')).min(1, 'wants an account').max(100),
);

/** Where an event of another account than the source's own may come in by it, or cannot name it itself. */
const ACCOUNT_VARIABLE: Partial<Record<ProviderName, 'ACCOUNT' | 'ACCOUNTS'>> = {
  stripe: 'ACCOUNT',
  adyen: 'ACCOUNTS',
};

const oneOf = <const Values extends readonly [string, ...string[]]>(values: Values) =>
  z.enum(values, `wants ${values.slice(0, -1).join(', ')} or ${values.at(-1)}`);

const SCHEMA = {
  WEBHOOK_SECRET: secretList.optional(),
  DEFAULT_PURPOSE: oneOf(PURPOSES).default('topup'),
  METADATA: oneOf(METADATA_RULES).optional(),
  REFUNDS: oneOf(REFUND_POLICIES).default('auto'),
  DISPUTES: z.enum(DISPUTE_RULES, 'wants hold or record').default('hold'),
  CUSTOMERS: oneOf(CUSTOMER_LINK_RULES).default('create'),
  CAPTURE: z.enum(CAPTURE_RULES, 'wants automatic or manual').default('automatic'),
  API_KEY: z
    .string()
    .regex(API_KEY_PATTERN, API_KEY_WANTED)
    .transform((text) => new Secret(text))
    .optional(),
  ACCOUNT: accountList.optional(),
  ACCOUNTS: accountList.optional(),
  API_URL: z.url({ protocol: /^https?$/, error: 'wants an http or https URL' }).optional(),
};

const schema = z.object(SCHEMA);

/** The names of all these variables. */
export const SOURCE_VARIABLES: readonly string[] = PROVIDER_NAMES.flatMap((provider) =>
  Object.keys(SCHEMA)
    .filter((name) => !/^ACCOUNTS?$/.test(name) || ACCOUNT_VARIABLE[provider] === name)
    .map((name) => `${provider.toUpperCase()}_${name}`),
);

/** One provider account of the default merchant, as the environment gives it. */
export interface SourceSettings extends SourceRules {
  readonly provider: ProviderName;
  readonly secrets: readonly Secret[];
  /** For reconciliation; null if the provider's API is not to be asked. */
  readonly apiKey: Secret | null;
}

export interface SourcesConfig {
  readonly sources: readonly SourceSettings[];
  /** Other addresses of the providers' APIs than their own, for all sources. */
  readonly apiUrls: ReadonlyMap<ProviderName, string>;
  /** The accounts that a provider's source answers for, where the environment names them; else they are learnt. */
  readonly accounts: ReadonlyMap<ProviderName, readonly string[]>;
}

/** Reads every provider's variables. @returns what is usable; `problems` gets a line for each that is not */
export function readSources(set: Readonly<Record<string, string | undefined>>, problems: string[]): SourcesConfig {
  const sources: SourceSettings[] = [];
  const apiUrls = new Map<ProviderName, string>();
  const accounts = new Map<ProviderName, readonly string[]>();
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
    const named = parsed.data[ACCOUNT_VARIABLE[provider] ?? 'ACCOUNT'];
    if (named !== undefined) accounts.set(provider, named);
    sources.push({
      provider,
      secrets: secrets.map((secret) => new Secret(secret)),
      defaultPurpose: parsed.data.DEFAULT_PURPOSE,
      metadata: parsed.data.METADATA ?? defaultMetadataRule(provider),
      refunds: parsed.data.REFUNDS,
      disputes: parsed.data.DISPUTES,
      customerLinkRule: parsed.data.CUSTOMERS,
      capture: parsed.data.CAPTURE,
      apiKey: apiKey ?? null,
    });
  }
  return { sources, apiUrls, accounts };
}
