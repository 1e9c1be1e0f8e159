import { z } from 'zod';
import { Secret } from '../crypto/secret.ts';
import { BACKENDS, chooseBackend } from '../db/backend.ts';
import { parseRate, type Rate } from '../money.ts';
import { PROVIDER_NAMES } from '../providers/shared/names.ts';
import type { Logger } from '../telemetry/log.ts';
import { ENV_FILE, givenEnvironment, readEnvironment } from './env-file.ts';
import { unknownVariables } from './names.ts';
import { nameIn, withPlaceholders } from './placeholders.ts';
import { readSources, SOURCE_VARIABLES, type SourcesConfig } from './provider-env.ts';
import {
  bearer,
  CURRENCY,
  databaseUrl,
  daysOrEver,
  encryptionKeys,
  FLAG,
  gatewayMinimums,
  headerPairs,
  httpUrl,
  MEBIBYTE,
  parseMinor,
  perCurrency,
  ratio,
  wholeNumber,
  withoutApiPath,
} from './values.ts';

/** What the environment and `.env` say, parsed. `.env.example` explains every variable to the operator. */

const BASE_SCHEMA = {
  PORT: wholeNumber(0, 65535).default(3000),
  HOST: z.string().min(1, 'wants an address to listen on, such as 127.0.0.1').default('127.0.0.1'),
  HEALTH_PORT: wholeNumber(0, 65535).optional(),
  DATABASE_URL: databaseUrl.optional(),
  DATABASE_DIRECT_URL: databaseUrl.optional(),
  DATABASE_BACKEND: z.enum(BACKENDS, 'wants postgres or citus').default('postgres'),
  DATABASE_POOL_SIZE: wholeNumber(4, 200).default(12),
  DATA_DIR: z.string().min(1, 'wants a folder').default('.data'),
  LOG_LEVEL: z
    .enum(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'wants trace, debug, info, warn, error, fatal or silent',
    )
    .default('info'),
  METRICS_TOKEN: bearer(16).optional(),
  WORKER_METRICS_PORT: wholeNumber(0, 65535).optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl.optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: httpUrl.optional(),
  OTEL_EXPORTER_OTLP_HEADERS: headerPairs.default(new Map()),
  OTEL_SERVICE_NAME: z.string().min(1, 'wants a name').max(200, 'wants 200 characters or fewer').default('chokin'),
  API_KEY: bearer(32).optional(),
  ADMIN_KEY: bearer(32).optional(),
  ENCRYPTION_KEY: encryptionKeys.default([]),
  MODE: z.enum(['test', 'live'], 'wants test or live').default('test'),
  MERCHANT_ID: z
    .string()
    .regex(/^(?!\.+$)[A-Za-z0-9._-]{1,64}$/, 'wants letters, digits, dots, dashes and underscores, 64 at most')
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
  EXPIRY_NOTICE_DAYS: z
    .string()
    .regex(/^\d{1,3}(,\d{1,3})*$/, 'wants numbers of days such as 30,7,1, or 0 for none')
    .transform((text) => text.split(',').map(Number).filter(Boolean))
    .prefault('30,7,1'),
  EXPIRY_NOTICE_MINIMUM: perCurrency(parseMinor, 'USD:100').prefault('USD:100'),
  PAID_EXPIRY_MIN_DAYS: wholeNumber(1, 3660).optional(),
  AUDIT_CRON: z
    .string()
    .regex(/^(\S+\s+){4}\S+$/, 'wants a cron expression of five fields')
    .default('17 3 * * *'),
  RECONCILE_CRON: z
    .string()
    .regex(/^(\S+\s+){4}\S+$/, 'wants a cron expression of five fields')
    .default('41 */6 * * *'),
  RECONCILE_LOOKBACK_HOURS: wholeNumber(1, 24 * 90).default(72),
  RETENTION_CRON: z
    .string()
    .regex(/^(\S+\s+){4}\S+$/, 'wants a cron expression of five fields')
    .default('35 * * * *'),
  RETENTION_EVENT_BODY_DAYS: daysOrEver(7).default(90),
  RETENTION_IGNORED_EVENT_DAYS: daysOrEver(1).default(14),
  // A recovery reaches back 30 days, and would make again what is gone by then.
  RETENTION_MESSAGE_DAYS: daysOrEver(30).default(30),
  RETENTION_HISTORY_DAYS: daysOrEver(90).default(365),
  MAX_BONUS_RATIO: ratio.prefault('2'),
  CHARGE_RATE: wholeNumber(1, 1000).default(25),
  GATEWAY_MINIMUMS: gatewayMinimums.prefault('stripe/USD:50,stripe/INR:50,paddle/USD:70'),
  UNKNOWN_PAYMENT_WAIT_SECONDS: wholeNumber(0, 604_800).default(900),
  NAMING_WAIT_SECONDS: wholeNumber(0, 604_800).default(60),
  DRAIN_SECONDS: wholeNumber(0, 300).default(5),
  SENDING: z.enum(['auto', 'on', 'off'], 'wants auto, on or off').default('auto'),
  RATE_LIMIT_PER_MINUTE: wholeNumber(0, 100_000_000).default(60_000),
  MAX_BODY_BYTES_IN_FLIGHT: wholeNumber(16 * MEBIBYTE, 1024 * MEBIBYTE).default(64 * MEBIBYTE),
  SVIX_TOKEN: z
    .string()
    .min(1, 'wants a token')
    .transform((text) => new Secret(text))
    .optional(),
  SVIX_SERVER_URL: httpUrl.transform(withoutApiPath).optional(),
  ALLOW_PRIVATE_ENDPOINTS: FLAG.default(false),
  TRUST_PROXY: wholeNumber(0, 10).default(0),
};

const baseSchema = z.object(BASE_SCHEMA);

/** The name of every variable that the service reads. */
export const VARIABLES: readonly string[] = [...Object.keys(BASE_SCHEMA), ...SOURCE_VARIABLES];

export type Config = z.infer<typeof baseSchema> & SourcesConfig;

/** Everything wrong with the environment, each problem with its variable's name. */
export class ConfigError extends Error {
  constructor(problems: readonly string[]) {
    super(`The configuration is not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/**
 * Reads the whole configuration: from `given` alone if there is one, else from the environment of the process and `.env`. Empty
 * values count as unset.
 * @throws {ConfigError} listing every problem at once
 */
export function loadConfig(given?: NodeJS.ProcessEnv): Config {
  const { set, fromFile } = given === undefined ? readEnvironment() : givenEnvironment(given);
  const base = baseSchema.safeParse(set);
  const issues = base.success ? [] : base.error.issues;
  const wrong = new Set(issues.map((issue) => String(issue.path[0] ?? '')));
  const problems = issues.map((issue) => `${String(issue.path[0] ?? '')}: ${issue.message}`);
  const sources = readSources(set, problems);
  // What contradicts itself is said at once, too, but not of a variable that is wrong by itself.
  const rest = base.success ? base.data : baseSchema.parse(without(set, wrong));
  const isOfWrong = (problem: string) => (problem.match(/[A-Z][A-Z_]+/g) ?? []).some((word) => wrong.has(word));
  problems.push(...crossProblems(rest).filter((problem) => !isOfWrong(problem)));
  const found = new Set(withPlaceholders(VARIABLES, set, problems));
  if (!base.success || found.size > 0) {
    const isFromFile = (problem: string) => fromFile.has(nameIn(problem));
    throw new ConfigError([...found].map((one) => (isFromFile(one) ? `${one}  (set in ${ENV_FILE})` : one)));
  }
  if (base.data.DATABASE_BACKEND === 'citus') chooseBackend('citus');
  return { ...base.data, ...sources };
}

function without(set: Readonly<Record<string, string>>, names: ReadonlySet<string>): Record<string, string> {
  return Object.fromEntries(Object.entries(set).filter(([name]) => !names.has(name)));
}

/** Logs a warning that names each variable that looks like one of Chokin's but is not, with the one that may have been meant. */
export function warnOfUnknownVariables(logger: Logger): void {
  const environment = readEnvironment();
  const providers = PROVIDER_NAMES.map((provider) => provider.toUpperCase());
  const known = [...VARIABLES, ...Object.values(SECRET_VARIABLES)];
  for (const { name, nearest } of unknownVariables(environment, known, providers)) {
    const where = environment.fromFile.has(name) ? ENV_FILE : 'environment';
    logger.warn(
      { variable: name, where, nearest },
      `${name} is not a variable of Chokin and changes nothing. Is it ${nearest}?`,
    );
  }
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
  if (config.DATABASE_DIRECT_URL !== undefined && config.DATABASE_URL === undefined) {
    problems.push('DATABASE_DIRECT_URL: wants DATABASE_URL as well');
  }
  if (config.HEALTH_PORT !== undefined && config.HEALTH_PORT !== 0 && config.HEALTH_PORT === config.PORT) {
    problems.push('HEALTH_PORT: wants another port than PORT');
  }
  if (config.ADMIN_KEY !== undefined && config.ADMIN_KEY.reveal() === config.API_KEY?.reveal()) {
    problems.push('ADMIN_KEY: wants another key than API_KEY');
  }
  return problems;
}

/** Where the command line takes secrets from, since every user of a machine sees the arguments of its commands. */
export const SECRET_VARIABLES = { webhook: 'CHOKIN_WEBHOOK_SECRET', api: 'CHOKIN_PROVIDER_API_KEY' } as const;

/** A secret that was put into the environment for one command; null if it was not. */
export function readCommandSecret(purpose: keyof typeof SECRET_VARIABLES, given?: NodeJS.ProcessEnv): Secret | null {
  const { set } = given === undefined ? readEnvironment() : givenEnvironment(given);
  const text = set[SECRET_VARIABLES[purpose]];
  return text === undefined ? null : new Secret(text);
}
