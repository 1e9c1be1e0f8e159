import { z } from 'zod';
import { parseRate, type Rate } from './money.ts';
import { PROVIDER_NAMES, type ProviderName } from './providers/names.ts';
import { Secret } from './secret.ts';
import { isStandardWebhooksSecret } from './standard-webhooks.ts';

/** The one reader of the environment. `.env.example` explains every variable to the operator. */

const CURRENCY = z.string().regex(/^[A-Z]{3}$/, 'wants three-letter currency codes such as USD,INR');
const FLAG = z.enum(['true', 'false'], 'wants true or false').transform((text) => text === 'true');

function wholeNumber(minimum: number, maximum: number) {
  const message = `wants a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^\d+$/, message)
    .transform(Number)
    .refine((n) => n >= minimum && n <= maximum, message);
}

/** `USD:1000,INR:50000` as a map; each value is read by `parseValue`, which returns null for a bad one. */
function perCurrency<T>(parseValue: (text: string) => T | null, example: string) {
  return z.string().transform((text, context) => {
    const map = new Map<string, T>();
    for (const pair of text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')) {
      const [currency = '', value = '', ...rest] = pair.split(':');
      const parsed = parseValue(value);
      if (!CURRENCY.safeParse(currency).success || parsed === null || rest.length > 0 || map.has(currency)) {
        context.addIssue({ code: 'custom', message: `wants pairs such as ${example}, each currency once` });
        return z.NEVER;
      }
      map.set(currency, parsed);
    }
    return map;
  });
}

const parseMinor = (text: string): number | null =>
  /^\d{1,15}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : null;

const secretList = z.string().transform((text, context) => {
  const secrets = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (secrets.length === 0 || secrets.some((secret) => secret.length < 6)) {
    context.addIssue({
      code: 'custom',
      message: 'wants one or more secrets of 6 characters or more, separated by commas',
    });
    return z.NEVER;
  }
  return secrets.map((secret) => new Secret(secret));
});

/** A text that is sent as `Authorization: Bearer …`. */
function bearer(minimum: number) {
  return z
    .string()
    .min(minimum, `wants ${minimum} characters or more`)
    .max(256, 'wants 256 characters or fewer')
    .regex(/^[\x21-\x7e]+$/, 'wants printable characters without spaces')
    .transform((text) => new Secret(text));
}
const httpUrl = z.url({ protocol: /^https?$/, error: 'wants an http or https URL' });

const BASE_SCHEMA = {
  PORT: wholeNumber(0, 65535).default(3000),
  HOST: z.string().min(1, 'wants an address to listen on, such as 127.0.0.1').default('127.0.0.1'),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'wants a URL such as postgres://user:password@host:5432/chokin' })
    .transform((text) => new Secret(text))
    .optional(),
  DATABASE_POOL_SIZE: wholeNumber(4, 200).default(12),
  DATA_DIR: z.string().min(1, 'wants a folder').default('.data'),
  LOG_LEVEL: z
    .enum(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'wants trace, debug, info, warn, error, fatal or silent',
    )
    .default('info'),
  METRICS_TOKEN: bearer(16).optional(),
  API_KEY: bearer(32).optional(),
  MODE: z.enum(['test', 'live'], 'wants test or live').default('test'),
  MERCHANT_ID: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'wants letters, digits, dots, dashes and underscores, 64 at most')
    .default('bus_default'),
  MERCHANT_NAME: z
    .string()
    .min(1, 'wants a name')
    .max(200, 'wants 200 characters or fewer')
    .default('Default merchant'),
  WALLET_CURRENCIES: z
    .string()
    .default('USD,INR')
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(
      z
        .array(CURRENCY)
        .min(1)
        .refine((list) => new Set(list).size === list.length, 'wants each currency once'),
    ),
  FX_RATES_USD: perCurrency<Rate>(parseRate, 'INR:0.0119').prefault(''),
  LOW_BALANCE_THRESHOLDS: perCurrency(parseMinor, 'USD:1000,INR:50000').prefault('USD:1000,INR:50000'),
  LOW_BALANCE_CRON: z
    .string()
    .regex(/^(\S+\s+){4}\S+$/, 'wants a cron expression of five fields')
    .default('*/5 * * * *'),
  LOW_BALANCE_MARGIN_PERCENT: wholeNumber(0, 1000).default(10),
  LOW_BALANCE_MIN_INTERVAL_SECONDS: wholeNumber(0, 31_536_000).default(3600),
  LOW_BALANCE_REMINDER_SECONDS: wholeNumber(0, 31_536_000).default(0),
  AUDIT_CRON: z
    .string()
    .regex(/^(\S+\s+){4}\S+$/, 'wants a cron expression of five fields')
    .default('17 3 * * *'),
  UNKNOWN_PAYMENT_WAIT_SECONDS: wholeNumber(0, 604_800).default(900),
  RATE_LIMIT_PER_MINUTE: wholeNumber(0, 100_000_000).default(60_000),
  SVIX_TOKEN: z
    .string()
    .min(1, 'wants a token')
    .transform((text) => new Secret(text))
    .optional(),
  SVIX_SERVER_URL: httpUrl.optional(),
  ALLOW_PRIVATE_ENDPOINTS: FLAG.default(false),
  TRUST_PROXY: wholeNumber(0, 10).default(0),
};

const PROVIDER_SCHEMA = {
  WEBHOOK_SECRET: secretList.optional(),
  DEFAULT_PURPOSE: z.enum(['topup', 'order', 'none'], 'wants topup, order or none').default('topup'),
  METADATA: z.enum(['all', 'customer'], 'wants all or customer').default('all'),
  REFUNDS: z.enum(['auto', 'credit', 'reverse', 'ignore'], 'wants auto, credit, reverse or ignore').default('auto'),
};

const baseSchema = z.object(BASE_SCHEMA);
const providerSchema = z.object(PROVIDER_SCHEMA);

/** One provider account of the default merchant, as the environment gives it. */
export interface SourceSettings {
  readonly provider: ProviderName;
  readonly secrets: readonly Secret[];
  readonly defaultPurpose: 'topup' | 'order' | 'none';
  readonly metadata: 'all' | 'customer';
  readonly refunds: 'auto' | 'credit' | 'reverse' | 'ignore';
}

export type Config = z.infer<typeof baseSchema> & { readonly sources: readonly SourceSettings[] };

/** Everything wrong with the environment, each problem with its variable's name. */
export class ConfigError extends Error {
  constructor(problems: readonly string[]) {
    super(`The configuration is not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/**
 * Reads the whole configuration from `environment` (empty values count as unset).
 * @throws {ConfigError} listing every problem at once
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const set = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  const base = baseSchema.safeParse(set);
  const problems = base.success ? [] : problemsOf(base.error, '');
  const sources: SourceSettings[] = [];
  for (const provider of PROVIDER_NAMES) {
    const prefix = `${provider.toUpperCase()}_`;
    const own = Object.fromEntries(Object.keys(PROVIDER_SCHEMA).map((key) => [key, set[prefix + key]]));
    const parsed = providerSchema.safeParse(own);
    if (!parsed.success) problems.push(...problemsOf(parsed.error, prefix));
    else if (parsed.data.WEBHOOK_SECRET !== undefined) {
      sources.push({
        provider,
        secrets: parsed.data.WEBHOOK_SECRET,
        defaultPurpose: parsed.data.DEFAULT_PURPOSE,
        metadata: parsed.data.METADATA,
        refunds: parsed.data.REFUNDS,
      });
    }
  }
  const dodo = sources.find((source) => source.provider === 'dodo');
  // With such a secret every delivery would be refused, which looks like an attack rather than like a typing error.
  if (dodo?.secrets.some((secret) => !isStandardWebhooksSecret(secret.reveal()))) {
    problems.push('DODO_WEBHOOK_SECRET: wants whsec_ and base64, as the Dodo dashboard shows it');
  }
  const adyen = sources.find((source) => source.provider === 'adyen');
  if (adyen?.secrets.some((secret) => !/^([0-9a-f]{2}){16,64}$/i.test(secret.reveal()))) {
    problems.push('ADYEN_WEBHOOK_SECRET: wants the HMAC key in hexadecimal, as the Customer Area shows it');
  }
  if (base.success) problems.push(...crossProblems(base.data));
  if (!base.success || problems.length > 0) throw new ConfigError(problems);
  return { ...base.data, sources };
}

function problemsOf(error: z.ZodError, prefix: string): string[] {
  return error.issues.map((issue) => `${prefix}${String(issue.path[0] ?? '')}: ${issue.message}`);
}

function crossProblems(config: z.infer<typeof baseSchema>): string[] {
  const problems: string[] = [];
  const currencies = new Set(config.WALLET_CURRENCIES);
  const thresholdCurrencies = config.LOW_BALANCE_THRESHOLDS.keys();
  for (const currency of thresholdCurrencies) {
    // The default names USD and INR; only a currency the operator named beyond the wallets is a mistake.
    if (!currencies.has(currency) && !['USD', 'INR'].includes(currency)) {
      problems.push(`LOW_BALANCE_THRESHOLDS: ${currency} is not one of WALLET_CURRENCIES`);
    }
  }
  if (config.SVIX_SERVER_URL !== undefined && config.SVIX_TOKEN === undefined) {
    problems.push('SVIX_SERVER_URL: wants SVIX_TOKEN as well');
  }
  return problems;
}
