import { startWorker, type Worker } from '../../jobs/worker.ts';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import type { ProviderName } from '../../src/providers/shared/names.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb, type Web } from '../../src/web.ts';
import { ADMIN_KEY, type Answer, API_KEY, type TestApp } from './app.ts';
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
  /** A source with the tests' own secret of the provider, or as given. @returns the answer's body */
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
    newSource: (merchantId, provider, body = {}) =>
      made(sourcesPath(merchantId), {
        provider,
        name: provider,
        webhook_secret: secretOf(provider),
        ...body,
      }),
    newShop: async (provider = 'stripe', body = {}) => {
      const merchantId = await operator.newMerchant();
      const key = bearer((await operator.newKey(merchantId)).key);
      const customer = await app.call('POST', '/customers', { email: 'ada@example.com', name: 'Ada' }, key);
      const source = await operator.newSource(merchantId, provider, body);
      const path = `${sourcesPath(merchantId)}/${source.source_id}`;
      return { merchantId, key, customerId: customer.body.customer_id, source, path };
    },
  };
  return operator;
}

/** The secret that the tests' events of a provider are signed with unless another is given. */
export function secretOf(provider: ProviderName): string {
  const [secret] = testSource(provider).secrets;
  if (secret === undefined) throw new Error(`no test secret of ${provider}`);
  return secret.reveal();
}

const configFor = (environment: Record<string, string>) =>
  loadConfig({ PORT: '0', API_KEY, ADMIN_KEY, ENCRYPTION_KEY, ...environment });
const shared = {
  logger: createLogger('silent', 'test'),
  clock: systemClock,
};

/** The whole worker process beside an app, on the app's database. */
export function startTestWorker(app: TestApp, environment: Record<string, string> = {}): Promise<Worker> {
  return startWorker({ ...shared, databaseUrl: app.database.workerUrl, config: configFor(environment) });
}

/** A further web process on the app's database, which knows nothing that the first has in its memory. */
export function startSecondWeb(app: TestApp, environment: Record<string, string> = {}): Promise<Web> {
  const { webUrl: databaseUrl } = app.database;
  return startWeb({
    ...shared,
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
