import DodoPayments from 'dodopayments';
import { Agent, fetch, type Headers } from 'undici';
import { type Clock, systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import type { Scope } from '../../src/merchants/api-keys.ts';
import { PROVIDERS } from '../../src/providers/index.ts';
import { createLogger, type Logger } from '../../src/telemetry/log.ts';
import { startWeb, type WebOptions } from '../../src/web.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { newMerchantKey } from './merchant-key.ts';
import { ENCRYPTION_KEY } from './secrets.ts';
import { DODO_SECRET, RAZORPAY_SECRET, STRIPE_SECRET } from './signing.ts';

export const API_KEY = 'a-key-for-tests-of-more-than-32-characters';
export const ADMIN_KEY = 'an-admin-key-for-tests-of-more-than-32-characters';

/** An address at which every connection is refused at once. */
export const NOWHERE = 'http://127.0.0.1:9';

/**
 * A server closes idle connections of an address that has more than its share of 1,000 (http/kit/connections.ts), and fails whatever
 * is being sent by one at that moment. Node's own `fetch` opens new ones beside idle ones without any bound, so five hundred callers
 * would come to be more than that. And whoever opens hundreds in the process of the server must wait for it as well.
 */
const dispatcher = new Agent({ connections: 700, connect: { timeout: 60_000 } });

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed JSON; tests look into it freely. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test is about
  readonly body: any;
}

export interface TestApp {
  readonly baseURL: string;
  readonly key: string;
  readonly database: TestDatabase;
  readonly sdk: DodoPayments;
  /** One request with the app's key, or with the headers given. A text or bytes body is sent as it is. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** A customer with wallets in USD and INR. */
  newCustomer(): Promise<string>;
  /** A further key of any merchant, which is made on the way; as headers for `call`. */
  newKey(merchantId: string, scopes: readonly Scope[]): Promise<{ authorization: string }>;
  close(): Promise<void>;
}

export interface TestAppOptions {
  readonly environment?: Record<string, string>;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly providers?: NonNullable<WebOptions['providers']>;
  /** A migrated one with something in it; a new one unless given. It is dropped when the app closes. */
  readonly database?: TestDatabase;
}

/** The whole web process on a free port and a database of its own; every answer is compared with its documented schema. */
export async function startTestApp({
  environment = {},
  clock = systemClock,
  logger,
  providers = PROVIDERS,
  database: given,
}: TestAppOptions = {}): Promise<TestApp> {
  const database = given ?? (await createTestDatabase());
  const config = loadConfig({
    PORT: '0',
    API_KEY,
    FX_RATES_USD: 'INR:0.0119',
    STRIPE_WEBHOOK_SECRET: STRIPE_SECRET,
    DODO_WEBHOOK_SECRET: DODO_SECRET,
    RAZORPAY_WEBHOOK_SECRET: RAZORPAY_SECRET,
    ALLOW_PRIVATE_ENDPOINTS: 'true',
    ADMIN_KEY,
    ENCRYPTION_KEY,
    // Nobody listens there: no test asks a provider itself.
    STRIPE_API_URL: NOWHERE,
    ...environment,
  });
  const web = await startWeb({
    config,
    databaseUrl: database.webUrl,
    logger: logger ?? createLogger('silent', 'test'),
    clock,
    print: () => {},
    checkResponses: true,
    providers,
  });
  const baseURL = web.url;
  const sdk = new DodoPayments({ baseURL, bearerToken: API_KEY });
  return {
    baseURL,
    key: API_KEY,
    database,
    sdk,
    call: (method, path, body, headers) => call(baseURL, method, path, body, headers),
    newCustomer: async () => (await sdk.customers.create({ email: 'ada@example.com', name: 'Ada' })).customer_id,
    newKey: async (merchantId, scopes) => {
      return { authorization: `Bearer ${await newMerchantKey(database.pool, merchantId, scopes)}` };
    },
    close: async () => {
      await web.close();
      await database.drop();
    },
  };
}

async function call(
  baseURL: string,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const isRaw = typeof body === 'string' || body instanceof Uint8Array;
  const response = await fetch(`${baseURL}${path}`, {
    dispatcher,
    method,
    headers: {
      authorization: `Bearer ${API_KEY}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: isRaw ? (body as string) : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  // A thing that was written where its text was meant.
  if (isJson && text.includes('[object ')) throw new Error(`${method} ${path} answered ${text}`);
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}
