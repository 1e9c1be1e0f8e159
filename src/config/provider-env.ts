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
import { apiKeyProblem, webhookSecretProblem } from '../providers/secret-form.ts';
import { defaultMetadataRule } from '../providers/shared/metadata-rule.ts';
import {
  CHARGING_PROVIDERS,
  LISTABLE_PROVIDERS,
  PROVIDER_NAMES,
  type ProviderName,
} from '../providers/shared/names.ts';

/** The environment's part for each provider: `STRIPE_WEBHOOK_SECRET`, `STRIPE_REFUNDS` and so on. */

const LISTABLE: ReadonlySet<ProviderName> = new Set(LISTABLE_PROVIDERS);
const CHARGES: ReadonlySet<ProviderName> = new Set(CHARGING_PROVIDERS);

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

const providerKey = z.string().transform((text, context) => {
  const problem = apiKeyProblem(text);
  if (problem === null) return new Secret(text);
  context.addIssue({ code: 'custom', message: problem });
  return z.NEVER;
});

const SCHEMA = {
  WEBHOOK_SECRET: secretList.optional(),
  DEFAULT_PURPOSE: oneOf(PURPOSES).default('topup'),
  METADATA: oneOf(METADATA_RULES).optional(),
  REFUNDS: oneOf(REFUND_POLICIES).default('auto'),
  DISPUTES: z.enum(DISPUTE_RULES, 'wants hold or record').default('hold'),
  CUSTOMERS: oneOf(CUSTOMER_LINK_RULES).default('create'),
  CAPTURE: z.enum(CAPTURE_RULES, 'wants automatic or manual').default('automatic'),
  API_KEY: providerKey.optional(),
  CHARGING_KEY: providerKey.optional(),
  ACCOUNT: accountList.optional(),
  ACCOUNTS: accountList.optional(),
  API_URL: z.url({ protocol: /^https?$/, error: 'wants an http or https URL' }).optional(),
};

const schema = z.object(SCHEMA);

/** The names of all these variables. */
export const SOURCE_VARIABLES: readonly string[] = PROVIDER_NAMES.flatMap((provider) =>
  Object.keys(SCHEMA)
    .filter((name) => !/^ACCOUNTS?$/.test(name) || ACCOUNT_VARIABLE[provider] === name)
    .filter((name) => name !== 'CHARGING_KEY' || CHARGES.has(provider))
    .map((name) => `${provider.toUpperCase()}_${name}`),
);

/** One provider account of the default merchant, as the environment gives it. */
export interface SourceSettings extends SourceRules {
  readonly provider: ProviderName;
  readonly secrets: readonly Secret[];
  /** For reconciliation; null if the provider's API is not to be asked. */
  readonly apiKey: Secret | null;
  /** For charging saved payment methods; null if nobody may be charged by it. */
  readonly chargeKey: Secret | null;
}

export interface SourcesConfig {
  readonly sources: readonly SourceSettings[];
  /** Other addresses of the providers' APIs than their own, for all sources. */
  readonly apiUrls: ReadonlyMap<ProviderName, string>;
  /** The accounts that a provider's source answers for, where the environment names them; else they are learnt. */
  readonly accounts: ReadonlyMap<ProviderName, readonly string[]>;
}

type Variables = z.output<typeof schema>;

/** Reads every provider's variables. @returns what is usable; `problems` gets a line for each that is not */
export function readSources(set: Readonly<Record<string, string | undefined>>, problems: string[]): SourcesConfig {
  const sources: SourceSettings[] = [];
  const apiUrls = new Map<ProviderName, string>();
  const accounts = new Map<ProviderName, readonly string[]>();
  for (const provider of PROVIDER_NAMES) {
    const prefix = `${provider.toUpperCase()}_`;
    const written = Object.fromEntries(Object.keys(SCHEMA).map((key) => [key, set[prefix + key]]));
    const parsed = schema.safeParse(written);
    const issues = parsed.success ? [] : parsed.error.issues;
    problems.push(...issues.map((issue) => `${prefix}${String(issue.path[0] ?? '')}: ${issue.message}`));
    // What is wrong beside them is to be seen now, too, and not only once these are mended.
    const wrong = new Set(issues.map((issue) => String(issue.path[0])));
    const rest = Object.fromEntries(Object.entries(written).filter(([key]) => !wrong.has(key)));
    const variables = parsed.success ? parsed.data : schema.parse(rest);
    if (variables.API_URL !== undefined) apiUrls.set(provider, variables.API_URL.replace(/\/$/, ''));
    problems.push(...apiKeyProblems(provider, variables, wrong));
    const { WEBHOOK_SECRET: secrets } = variables;
    if (secrets === undefined) continue;
    const problem =
      secrets.length === 0
        ? 'wants a secret, or several separated by commas'
        : secrets.map((secret) => webhookSecretProblem(provider, secret)).find((one) => one !== null);
    if (problem !== undefined) {
      problems.push(`${prefix}WEBHOOK_SECRET: ${problem}`);
      continue;
    }
    const named = variables[ACCOUNT_VARIABLE[provider] ?? 'ACCOUNT'];
    if (named !== undefined) accounts.set(provider, named);
    sources.push({
      provider,
      secrets: secrets.map((secret) => new Secret(secret)),
      defaultPurpose: variables.DEFAULT_PURPOSE,
      metadata: variables.METADATA ?? defaultMetadataRule(provider),
      refunds: variables.REFUNDS,
      disputes: variables.DISPUTES,
      customerLinkRule: variables.CUSTOMERS,
      capture: variables.CAPTURE,
      apiKey: variables.API_KEY ?? null,
      chargeKey: variables.CHARGING_KEY ?? null,
    });
  }
  return { sources, apiUrls, accounts };
}

function apiKeyProblems(
  provider: ProviderName,
  { API_KEY: apiKey, WEBHOOK_SECRET: secrets }: Variables,
  wrong: ReadonlySet<string>,
): readonly string[] {
  const prefix = `${provider.toUpperCase()}_`;
  if (apiKey === undefined) return [];
  if (!LISTABLE.has(provider)) {
    return [`${prefix}API_KEY: is of no use, since the payments of ${provider} cannot be listed`];
  }
  const wantsSecret = secrets === undefined && !wrong.has('WEBHOOK_SECRET');
  return wantsSecret ? [`${prefix}API_KEY: wants ${prefix}WEBHOOK_SECRET as well`] : [];
}
