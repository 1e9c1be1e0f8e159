import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect, parseEnv } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, SECRET_VARIABLES, VARIABLES } from '../../src/config/env.ts';
import { readEnvironment } from '../../src/config/env-file.ts';
import { unknownVariables } from '../../src/config/names.ts';
import { LISTABLE_PROVIDERS, PROVIDER_NAMES } from '../../src/providers/shared/names.ts';
import { secretOf } from '../support/admin.ts';

/** The lines of the refusal, or none if the environment is fine. */
function problems(environment: Record<string, string>): string[] {
  try {
    loadConfig(environment);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.split('\n').slice(1);
  }
}

const KEY = 'k'.repeat(32);
const BYTES = Buffer.alloc(32, 0xfb);

describe('.env.example', () => {
  const text = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
  const shown = [...text.matchAll(/^#([A-Z_]+)=(.+)$/gm)].map(([, name = '', value = '']): [string, string] => [
    name,
    value.replaceAll('"', ''),
  ]);
  const isPlaceholder = (value: string) => /^<.+>$/.test(value);

  it('explains every variable there is', () => {
    // Only providers whose API can be listed have a key to it.
    const names = VARIABLES.filter((name) => !/^(PAYPAL|ADYEN|CASHFREE)_API_(KEY|URL)$/.test(name));
    expect(shown.map(([name]) => name).sort()).toEqual([...names, ...Object.values(SECRET_VARIABLES)].sort());
  });

  it('changes nothing when it is copied', () => {
    expect(parseEnv(text)).toEqual({});
  });

  it('shows defaults that are the defaults, and an example in brackets where there is none', () => {
    const secrets = Object.fromEntries(
      PROVIDER_NAMES.map((provider) => [`${provider.toUpperCase()}_WEBHOOK_SECRET`, secretOf(provider)]),
    );
    const defaults = loadConfig(secrets);
    const plain = shown.filter(([, value]) => !isPlaceholder(value));
    expect(loadConfig({ ...secrets, ...Object.fromEntries(plain) })).toEqual(defaults);
    const withoutDefault = Object.entries(loadConfig({})).filter(([, value]) => value === undefined || isEmpty(value));
    const names = withoutDefault.map(([name]) => name).filter((name) => name === name.toUpperCase());
    const examples = shown.filter(([, value]) => isPlaceholder(value)).map(([name]) => name);
    expect(examples).toEqual(expect.arrayContaining(names));
  });
});

function isEmpty(value: unknown): boolean {
  return (Array.isArray(value) && value.length === 0) || (value instanceof Map && value.size === 0);
}

describe('.env', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'chokin-env-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const file = () => join(folder, '.env');

  it('gives what the environment does not, and says which values are its own', () => {
    writeFileSync(file(), 'PORT=4000\nHOST=0.0.0.0\nAPI_KEY=from-the-file\nMODE=\nMERCHANT_NAME="Acme # 1"\n');
    const environment = { PORT: '5000', API_KEY: '', MERCHANT_ID: 'bus_acme' };
    const { set, fromFile } = readEnvironment(environment, file());
    expect(set).toEqual({ PORT: '5000', HOST: '0.0.0.0', MERCHANT_NAME: 'Acme # 1', MERCHANT_ID: 'bus_acme' });
    expect([...fromFile].sort()).toEqual(['HOST', 'MERCHANT_NAME']);
    // Libraries look for theirs in the environment.
    expect(environment).toMatchObject({ HOST: '0.0.0.0', PORT: '5000', API_KEY: '' });
  });

  it('may be missing, or be a folder as Python has it', () => {
    expect(readEnvironment({ PORT: '1' }, file()).set).toEqual({ PORT: '1' });
    expect(readEnvironment({ PORT: '1' }, folder).set).toEqual({ PORT: '1' });
  });
});

describe('a variable that looks like ours and is none', () => {
  const PROVIDERS = PROVIDER_NAMES.map((provider) => provider.toUpperCase());
  const KNOWN = [...VARIABLES, ...Object.values(SECRET_VARIABLES)];
  const unknown = (names: readonly string[], fromFile: readonly string[] = []) =>
    unknownVariables(
      { set: Object.fromEntries(names.map((name) => [name, 'x'])), fromFile: new Set(fromFile) },
      KNOWN,
      PROVIDERS,
    );

  it.each([
    ['STRIPE_SECRET', 'STRIPE_WEBHOOK_SECRET'],
    ['STRIPE_SECRET_KEY', 'STRIPE_API_KEY'],
    ['STRIPE_WEBHOK_SECRET', 'STRIPE_WEBHOOK_SECRET'],
    ['RAZORPAY_APIKEY', 'RAZORPAY_API_KEY'],
    ['DODO_PURPOSE', 'DODO_DEFAULT_PURPOSE'],
    ['DATABASE_URL_OLD', 'DATABASE_URL'],
    ['DATABSE_URL', 'DATABASE_URL'],
    ['WALLET_CURRENCY', 'WALLET_CURRENCIES'],
    ['ENCRYPTION_KEYS', 'ENCRYPTION_KEY'],
    ['admin_key', 'ADMIN_KEY'],
  ])('%s is warned of, with %s as the nearest', (name, nearest) => {
    expect(unknown([name])).toEqual([{ name, nearest }]);
  });

  it('is no variable of another program, but whatever comes close in .env', () => {
    const others = ['PATH', 'HOME', 'HOSTNAME', 'HOSTTYPE', 'HOST_IP', 'PORT_RANGE', 'NODE_ENV', 'OTEL_TRACES_SAMPLER'];
    const more = ['PGHOST', 'LC_ALL', 'npm_config_loglevel', 'API_KEY_OF_ANOTHER', 'CHOKIN_SERVICE_HOST', 'LOG_LEVELS'];
    expect(unknown([...others, ...more])).toEqual([]);
    const inFile = ['PORTS', 'API_KEY_OLD', 'MODUS', 'NODE_EXTRA_CA_CERTS'];
    expect(unknown(inFile, inFile)).toEqual([
      { name: 'API_KEY_OLD', nearest: 'API_KEY' },
      { name: 'MODUS', nearest: 'MODE' },
      { name: 'PORTS', nearest: 'PORT' },
    ]);
    expect(unknown(KNOWN)).toEqual([]);
  });
});

describe('loadConfig', () => {
  it('needs nothing', () => {
    const config = loadConfig({});
    expect(config).toMatchObject({
      PORT: 3000,
      DATA_DIR: '.data',
      LOG_LEVEL: 'info',
      MODE: 'test',
      MERCHANT_ID: 'bus_default',
      WALLET_CURRENCIES: ['USD', 'INR'],
      LOW_BALANCE_CRON: '*/5 * * * *',
      ALLOW_PRIVATE_ENDPOINTS: false,
      RECONCILE_CRON: '41 */6 * * *',
      RECONCILE_LOOKBACK_HOURS: 72,
      ENCRYPTION_KEY: [],
      sources: [],
    });
    expect([config.DATABASE_URL, config.API_KEY, config.SVIX_TOKEN]).toEqual([undefined, undefined, undefined]);
    expect([config.ADMIN_KEY, config.apiUrls.size]).toEqual([undefined, 0]);
    expect([...config.LOW_BALANCE_THRESHOLDS]).toEqual([
      ['USD', 1000],
      ['INR', 50_000],
    ]);
    expect([...config.FX_RATES_USD]).toEqual([]);
  });

  it('takes an empty value for none, as shells and .env files leave them', () => {
    expect(loadConfig({ PORT: '', API_KEY: '', SVIX_SERVER_URL: '', STRIPE_WEBHOOK_SECRET: '' })).toEqual(
      loadConfig({}),
    );
  });

  it('reads what is set', () => {
    const config = loadConfig({
      PORT: '0',
      API_KEY: KEY,
      DATABASE_URL: 'postgresql://u:p@host/db',
      WALLET_CURRENCIES: 'EUR, JPY',
      LOW_BALANCE_THRESHOLDS: 'EUR:500, JPY:0',
      FX_RATES_USD: 'EUR:1.08,JPY:0.0067',
      ALLOW_PRIVATE_ENDPOINTS: 'true',
      SVIX_TOKEN: 'token',
      SVIX_SERVER_URL: 'http://localhost:8071',
      ADMIN_KEY: `admin-${KEY}`,
      ENCRYPTION_KEY: `${BYTES.toString('base64')}, ${BYTES.toString('hex')}`,
      RECONCILE_CRON: '0 4 * * *',
      RECONCILE_LOOKBACK_HOURS: '24',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20a=b, x-team=payments',
      WORKER_METRICS_PORT: '9464',
      HEALTH_PORT: '3001',
    });
    const headers = [...config.OTEL_EXPORTER_OTLP_HEADERS].map(([name, value]) => [name, value.reveal()]);
    expect(headers).toEqual([
      ['authorization', 'Bearer a=b'],
      ['x-team', 'payments'],
    ]);
    expect(config).toMatchObject({ WORKER_METRICS_PORT: 9464, HEALTH_PORT: 3001, OTEL_SERVICE_NAME: 'chokin' });
    expect(config).toMatchObject({ PORT: 0, WALLET_CURRENCIES: ['EUR', 'JPY'], ALLOW_PRIVATE_ENDPOINTS: true });
    expect(config.LOW_BALANCE_THRESHOLDS.get('JPY')).toBe(0);
    expect(config.FX_RATES_USD.get('JPY')).toEqual({ numerator: 67n, denominator: 10_000n });
    expect(config.API_KEY?.reveal()).toBe(KEY);
    expect(config.ADMIN_KEY?.reveal()).toBe(`admin-${KEY}`);
    expect(config.ENCRYPTION_KEY.map((key) => key.reveal())).toEqual([BYTES.toString('base64'), BYTES.toString('hex')]);
    expect(config).toMatchObject({ RECONCILE_CRON: '0 4 * * *', RECONCILE_LOOKBACK_HOURS: 24 });
    expect(config.DATABASE_URL?.reveal()).toBe('postgresql://u:p@host/db');
  });

  it('makes a source of each provider that has a secret, with its own settings', () => {
    const { sources, apiUrls } = loadConfig({
      STRIPE_WEBHOOK_SECRET: 'whsec_new, whsec_old',
      STRIPE_API_KEY: 'sk_test_0123456789',
      STRIPE_API_URL: 'http://127.0.0.1:8080/',
      DODO_WEBHOOK_SECRET: 'whsec_dodo',
      DODO_DEFAULT_PURPOSE: 'order',
      DODO_METADATA: 'customer',
      DODO_REFUNDS: 'credit',
      DODO_DISPUTES: 'record',
      DODO_CUSTOMERS: 'linked',
      RAZORPAY_REFUNDS: 'ignore',
      RAZORPAY_API_URL: 'https://api.example.com/v1',
    });
    const shown = sources.map(({ secrets, apiKey, ...rest }) => ({
      ...rest,
      secrets: secrets.map((one) => one.reveal()),
      apiKey: apiKey?.reveal() ?? null,
    }));
    expect(shown.sort((a, b) => a.provider.localeCompare(b.provider))).toEqual([
      {
        provider: 'dodo',
        defaultPurpose: 'order',
        metadata: 'customer',
        refunds: 'credit',
        disputes: 'record',
        customerLinkRule: 'linked',
        capture: 'automatic',
        secrets: ['whsec_dodo'],
        apiKey: null,
        chargeKey: null,
      },
      {
        provider: 'stripe',
        defaultPurpose: 'topup',
        metadata: 'all',
        refunds: 'auto',
        disputes: 'hold',
        customerLinkRule: 'create',
        capture: 'automatic',
        secrets: ['whsec_new', 'whsec_old'],
        apiKey: 'sk_test_0123456789',
        chargeKey: null,
      },
    ]);
    expect([...apiUrls]).toEqual([
      ['stripe', 'http://127.0.0.1:8080'],
      ['razorpay', 'https://api.example.com/v1'],
    ]);
  });

  it.each(PROVIDER_NAMES)('reads the variables of %s', (provider) => {
    const prefix = provider.toUpperCase();
    const { sources, apiUrls } = loadConfig({
      [`${prefix}_WEBHOOK_SECRET`]: secretOf(provider),
      [`${prefix}_API_URL`]: 'https://api.example.com',
      [`${prefix}_CUSTOMERS`]: 'named',
    });
    expect(sources).toMatchObject([{ provider, customerLinkRule: 'named', apiKey: null }]);
    expect([...apiUrls]).toEqual([[provider, 'https://api.example.com']]);
  });

  it.each(PROVIDER_NAMES)('obeys no amount that a payer could have written at %s, unless it is told to', (provider) => {
    const name = provider.toUpperCase();
    const ruleOf = (environment: Record<string, string>) =>
      loadConfig({ [`${name}_WEBHOOK_SECRET`]: secretOf(provider), ...environment }).sources[0]?.metadata;
    expect(ruleOf({})).toBe(provider === 'stripe' ? 'all' : 'customer');
    expect(ruleOf({ [`${name}_METADATA`]: 'all' })).toBe('all');
  });

  it.each(LISTABLE_PROVIDERS)('reads the API key of %s', (provider) => {
    const { sources } = loadConfig({
      [`${provider.toUpperCase()}_WEBHOOK_SECRET`]: secretOf(provider),
      [`${provider.toUpperCase()}_API_KEY`]: 'a-key-of-the-api',
    });
    expect(sources[0]?.apiKey?.reveal()).toBe('a-key-of-the-api');
  });

  it('lists every problem at once, each with its variable and what it wants', () => {
    expect(
      problems({
        PORT: '99999',
        API_KEY: 'short',
        MODE: 'prod',
        LOW_BALANCE_CRON: 'often',
        DATABASE_URL: 'mysql://host/db',
        STRIPE_WEBHOOK_SECRET: 'abc',
        DODO_REFUNDS: 'maybe',
      }),
    ).toEqual([
      '  PORT: wants a whole number from 0 to 65535',
      '  DATABASE_URL: wants a URL such as postgres://user:password@host:5432/chokin',
      '  API_KEY: wants 32 characters or more',
      '  MODE: wants test or live',
      '  LOW_BALANCE_CRON: wants a cron expression of five fields',
      '  STRIPE_WEBHOOK_SECRET: wants a secret of 6 to 500 characters without spaces',
      '  DODO_REFUNDS: wants auto, credit, reverse or ignore',
    ]);
  });

  it('lists those of one variable once, and those of one provider and between variables at the same time', () => {
    const found = problems({
      PORT: 'x',
      HEALTH_PORT: '3000',
      WALLET_CURRENCIES: 'usd,xx',
      LOW_BALANCE_THRESHOLDS: 'EUR:5',
      SVIX_SERVER_URL: 'http://svix',
      STRIPE_REFUNDS: 'maybe',
      STRIPE_WEBHOOK_SECRET: 'abc',
    });
    expect(found).toEqual([
      '  PORT: wants a whole number from 0 to 65535',
      '  WALLET_CURRENCIES: wants three-letter currency codes such as USD,INR',
      '  STRIPE_REFUNDS: wants auto, credit, reverse or ignore',
      '  STRIPE_WEBHOOK_SECRET: wants a secret of 6 to 500 characters without spaces',
      '  SVIX_SERVER_URL: wants SVIX_TOKEN as well',
    ]);
  });

  it.each([
    ['STRIPE_WEBHOOK_SECRET', '<whsec_…>'],
    ['STRIPE_WEBHOOK_SECRET', '‹whsec_a›'],
    ['STRIPE_WEBHOOK_SECRET', '‹whsec_a>'],
    ['STRIPE_WEBHOOK_SECRET', 'whsec_…'],
    ['STRIPE_WEBHOOK_SECRET', 'whsec_a_real_one,<whsec_…>'],
    ['RAZORPAY_WEBHOOK_SECRET', '<secret>'],
    ['PAYPAL_WEBHOOK_SECRET', '<webhook id>'],
    ['ADYEN_ACCOUNTS', '<merchant account>'],
    ['RAZORPAY_API_KEY', '<a-key:its-secret>'],
    ['API_KEY', '<32 characters or more>'],
    ['ADMIN_KEY', `<${KEY}>`],
    ['METRICS_TOKEN', '<16 characters or more>'],
    ['ENCRYPTION_KEY', '<openssl rand -base64 32>'],
    ['SVIX_TOKEN', '<sk_…>'],
    ['DATABASE_URL', '<postgres://user:password@host:5432/chokin>'],
    ['FX_RATES_USD', '<INR:0.0119>'],
  ])('refuses %s=%s, which .env.example shows and everybody knows', (name, value) => {
    expect(problems({ [name]: value })).toEqual([
      `  ${name}: is still the placeholder of .env.example: put a value of your own in its place`,
    ]);
    expect(problems({ MERCHANT_NAME: '<Acme>' })).toEqual([]);
  });

  it.each([
    ['PORT', '-1', 'wants a whole number'],
    ['PORT', '80.5', 'wants a whole number'],
    ['PORT', '0x10', 'wants a whole number'],
    ['DATABASE_POOL_SIZE', '3', 'wants a whole number from 4 to 200'],
    ['DATABASE_URL', 'nope', 'wants a URL'],
    ['LOG_LEVEL', 'loud', 'wants trace'],
    ['METRICS_TOKEN', 't'.repeat(15), 'wants 16 characters or more'],
    ['WORKER_METRICS_PORT', '65536', 'wants a whole number'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'grpc://collector:4317', 'wants an http or https URL'],
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'collector', 'wants an http or https URL'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'authorization', 'wants pairs such as authorization=Bearer%20abc'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=b,', 'wants pairs'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a header=b', 'wants pairs'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=%zz', 'wants pairs'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=b%0d%0ac: d', 'wants pairs'],
    ['API_KEY', 'k'.repeat(31), 'wants 32 characters or more'],
    ['API_KEY', 'k'.repeat(257), 'wants 256 characters or fewer'],
    ['API_KEY', `${KEY} `, 'wants printable characters'],
    ['MERCHANT_ID', 'bus/1', 'wants letters'],
    ['WALLET_CURRENCIES', 'usd', 'wants three-letter currency codes'],
    ['WALLET_CURRENCIES', ',', 'wants'],
    ['WALLET_CURRENCIES', 'USD,USD', 'wants each currency once'],
    ['LOW_BALANCE_THRESHOLDS', 'USD:-5', 'wants pairs such as USD:1000'],
    ['LOW_BALANCE_THRESHOLDS', 'USD:10.00', 'wants pairs'],
    ['LOW_BALANCE_THRESHOLDS', 'USD', 'wants pairs'],
    ['LOW_BALANCE_THRESHOLDS', 'USD:1,USD:2', 'wants pairs'],
    ['LOW_BALANCE_THRESHOLDS', 'EUR:5', 'EUR is not one of WALLET_CURRENCIES'],
    ['FX_RATES_USD', 'INR:0', 'wants pairs such as INR:0.0119'],
    ['FX_RATES_USD', 'INR:1:2', 'wants pairs'],
    ['STRIPE_WEBHOOK_SECRET', ' , ', 'wants a secret, or several separated by commas'],
    ['STRIPE_WEBHOOK_SECRET', 'whsec_good,bad', 'wants a secret of 6 to 500 characters'],
    ['STRIPE_WEBHOOK_SECRET', 'whsec_good whsec_better', 'without spaces'],
    ['DODO_WEBHOOK_SECRET', 'whsec_not-base64!', 'wants whsec_ and base64'],
    ['ADYEN_WEBHOOK_SECRET', 'not hexadecimal', 'wants'],
    ['STRIPE_CUSTOMERS', 'anybody', 'wants create, linked or named'],
    ['STRIPE_METADATA', 'none', 'wants all or customer'],
    ['STRIPE_API_KEY', 'with a space', 'wants 8 to 4,200 characters without spaces'],
    ['STRIPE_API_KEY', 'sk_test_without_its_webhook', 'wants STRIPE_WEBHOOK_SECRET as well'],
    ['PAYPAL_API_KEY', 'a-key-of-the-api', 'is of no use, since the payments of paypal cannot be listed'],
    ['STRIPE_API_URL', 'ftp://api.stripe.com', 'wants an http or https URL'],
    ['ADMIN_KEY', 'k'.repeat(31), 'wants 32 characters or more'],
    ['ADMIN_KEY', `${KEY} ${KEY}`, 'wants printable characters without spaces'],
    ['ENCRYPTION_KEY', 'a passphrase', 'wants 32 random bytes in base64'],
    ['ENCRYPTION_KEY', BYTES.subarray(1).toString('base64'), 'wants 32 random bytes'],
    ['ENCRYPTION_KEY', `${BYTES.toString('base64')},`, 'wants 32 random bytes'],
    ['RECONCILE_CRON', 'hourly', 'wants a cron expression of five fields'],
    ['RECONCILE_LOOKBACK_HOURS', '0', 'wants a whole number from 1 to 2160'],
    ['RAZORPAY_DEFAULT_PURPOSE', 'gift', 'wants topup, order or none'],
    ['SVIX_SERVER_URL', 'ftp://svix', 'wants an http or https URL'],
    ['SVIX_SERVER_URL', 'http://svix', 'wants SVIX_TOKEN as well'],
    ['ALLOW_PRIVATE_ENDPOINTS', 'yes', 'wants true or false'],
  ])('refuses %s=%s', (name, value, wanted) => {
    const found = problems({ [name]: value });
    expect(found.length).toBeGreaterThan(0);
    for (const problem of found) expect(problem).toMatch(new RegExp(`^  ${name}: `));
    expect(found.join()).toContain(wanted);
  });
});

it('the admin key is another than the API key', () => {
  expect(problems({ API_KEY: KEY, ADMIN_KEY: KEY })).toEqual(['  ADMIN_KEY: wants another key than API_KEY']);
});

describe('secrets', () => {
  const SECRETS = {
    API_KEY: `hush-${KEY}`,
    DATABASE_URL: 'postgres://user:hush@host/db',
    STRIPE_WEBHOOK_SECRET: 'whsec_hush,whsec_hush2',
    STRIPE_API_KEY: 'sk_hush_hush',
    SVIX_TOKEN: 'hush-token',
    ADMIN_KEY: `hush-admin-${KEY}`,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=hush',
    ENCRYPTION_KEY: `hush${'A'.repeat(39)}=`,
  };

  it('print as stars wherever the configuration is printed', () => {
    const config = loadConfig(SECRETS);
    const json = JSON.stringify(config, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    const texts = [inspect(config, { depth: null, showHidden: true }), json, `${config.API_KEY}`];
    for (const text of texts) {
      expect(text).not.toContain('hush');
      expect(text).toContain('****');
    }
  });

  it('are not quoted by a refusal', () => {
    const refused = problems({
      ...SECRETS,
      API_KEY: 'hush',
      DATABASE_URL: 'hush',
      STRIPE_WEBHOOK_SECRET: 'hush',
      ADMIN_KEY: 'hush',
      ENCRYPTION_KEY: 'hush',
      DODO_API_KEY: 'hush hush hush',
      PORT: 'x',
    });
    expect(refused).toHaveLength(7);
    expect(refused.join()).not.toContain('hush');
  });
});
