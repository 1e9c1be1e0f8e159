import { randomBytes } from 'node:crypto';
import { startWorker, type Worker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { createLogger, type Logger } from '../../src/telemetry/log.ts';
import { startWeb, type Web } from '../../src/web.ts';
import { ADMIN_KEY, type Answer, API_KEY, NOWHERE, type TestApp } from './app.ts';
import { testSource } from './inbox.ts';
import { ENCRYPTION_KEY } from './secrets.ts';
import { eventually } from './wait.ts';

/** The operator of a test app: makes merchants, keys and sources by the admin routes, as operators do. */

export type Bearer = { authorization: string };

export const bearer = (key: string): Bearer => ({ authorization: `Bearer ${key}` });

/** A merchant with a key, a customer and a source. */
export interface Shop {
  readonly merchantId: string;
  readonly key: Bearer;
  readonly customerId: string;
  /** As the operator's routes answered. */
  readonly source: Answer['body'];
  /** What its events are signed with, unless the test gave another. */
  readonly secret: string;
  /** The source's address among the operator's routes. */
  readonly path: string;
}

export const sourcesPath = (merchantId: string): string => `/admin/merchants/${merchantId}/sources`;

export interface Operator {
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  /** A merchant in test mode, or as given. @returns its id */
  newMerchant(body?: object): Promise<string>;
  /** A key that may do everything, or as given. @returns the answer's body */
  newKey(merchantId: string, body?: object): Promise<Answer['body']>;
  /** A source with a secret of its own, or as given. @returns the answer's body */
  newSource(merchantId: string, provider: ProviderName, body?: object): Promise<Answer['body']>;
  newShop(provider?: ProviderName, source?: object): Promise<Shop>;
}

export function operatorOf(app: Pick<TestApp, 'call'>): Operator {
  const call: Operator['call'] = (method, path, body) => app.call(method, path, body, bearer(ADMIN_KEY));
  const made = async (path: string, body: object) => {
    const answer = await call('POST', path, body);
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const operator: Operator = {
    call,
    newMerchant: async (body = {}) =>
      (await made('/admin/merchants', { name: 'Merchant', mode: 'test', ...body })).merchant_id,
    newKey: (merchantId, body = {}) =>
      made(`/admin/merchants/${merchantId}/api-keys`, { name: 'Key', scopes: ['read', 'write'], ...body }),
    newSource: async (merchantId, provider, body = {}) => {
      const input = { provider, name: provider, webhook_secret: newSecretOf(provider), ...body };
      return made(sourcesPath(merchantId), input);
    },
    newShop: async (provider = 'stripe', body = {}) => {
      const merchantId = await operator.newMerchant();
      const key = bearer((await operator.newKey(merchantId)).key);
      const customer = await app.call('POST', '/customers', { email: 'ada@example.com', name: 'Ada' }, key);
      const secret = newSecretOf(provider);
      const source = await operator.newSource(merchantId, provider, { webhook_secret: secret, ...body });
      const path = `${sourcesPath(merchantId)}/${source.source_id}`;
      return { merchantId, key, customerId: customer.body.customer_id, source, secret, path };
    },
  };
  return operator;
}

/** A webhook secret of the provider's form that no other source has. */
export function newSecretOf(provider: ProviderName): string {
  const own = randomBytes(32);
  if (provider === 'dodo') return `whsec_${own.toString('base64')}`;
  if (provider === 'adyen') return own.toString('hex').toUpperCase();
  if (provider === 'paypal') return own.toString('hex').slice(0, 17).toUpperCase();
  return `${secretOf(provider).slice(0, 8)}${own.toString('hex')}`;
}

/** The secret that the tests' events of a provider are signed with unless another is given. */
export function secretOf(provider: ProviderName): string {
  const [secret] = testSource(provider).secrets;
  if (secret === undefined) throw new Error(`no test secret of ${provider}`);
  return secret.reveal();
}

const configFor = (environment: Record<string, string>) =>
  loadConfig({ PORT: '0', API_KEY, ADMIN_KEY, ENCRYPTION_KEY, STRIPE_API_URL: NOWHERE, ...environment });
const shared = {
  logger: createLogger('silent', 'test'),
  clock: systemClock,
};

/** The whole worker process beside an app, on the app's database. */
export function startTestWorker(
  app: TestApp,
  environment: Record<string, string> = {},
  logger: Logger = shared.logger,
): Promise<Worker> {
  return startWorker({ ...shared, logger, databaseUrl: app.database.workerUrl, config: configFor(environment) });
}

/** A further web process on the app's database, which knows nothing that the first has in its memory. */
export function startSecondWeb(
  app: TestApp,
  environment: Record<string, string> = {},
  logger: Logger = shared.logger,
): Promise<Web> {
  const { webUrl: databaseUrl } = app.database;
  return startWeb({
    ...shared,
    logger,
    databaseUrl,
    config: configFor(environment),
    print: () => {},
    checkResponses: true,
  });
}

/** Waits until no event is pending. */
export async function eventsToSettle(app: TestApp): Promise<void> {
  await eventually('every event to be settled', async () => {
    const { rowCount } = await app.database.pool.query("select 1 from provider_event where state = 'pending' limit 1");
    return rowCount === 0;
  });
}
