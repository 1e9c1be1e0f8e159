import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Operator, operatorOf, type Shop, sourcesPath, startSecondWeb } from '../support/admin.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';

/** The database alone must not be enough to forge events, call a provider's API or sign our messages. */

const WEBHOOK_SECRET = 'whsec_theSecretOfTheWebhook';
const NEWER_SECRET = 'whsec_theNewerSecretOfTheWebhook';
const PROVIDER_KEY = 'sk_test_theKeyOfTheProvidersApi';

let app: TestApp;
let operator: Operator;
let shop: Shop;

beforeAll(async () => {
  app = await startTestApp();
  operator = operatorOf(app);
  shop = await operator.newShop('stripe', { webhook_secret: WEBHOOK_SECRET, api_key: PROVIDER_KEY });
  await operator.call('POST', `${shop.path}/webhook-secrets`, { webhook_secret: NEWER_SECRET });
});
afterAll(() => app.close());

async function deliver(source: Shop['source'], secret: string, baseURL = app.baseURL): Promise<number> {
  const body = stripePaymentSucceeded();
  const answer = await fetch(`${baseURL}${source.webhook_path}`, {
    method: 'POST',
    body,
    headers: signStripe(body, secret),
  });
  return answer.status;
}

describe('in the database', () => {
  it('there is no secret in plain text, in any table', async () => {
    const path = '/webhook-endpoints';
    const { body: endpoint } = await app.call('POST', path, { url: 'http://127.0.0.1:9/hook' }, shop.key);
    const secretOfEndpoint = async (rest: string, method = 'GET') =>
      (await app.call(method, `${path}/${endpoint.id}/secret${rest}`, undefined, shop.key)).body.secret;
    const [old, current] = [await secretOfEndpoint(''), await secretOfEndpoint('/rotate', 'POST')];
    const { key: apiKey } = await operator.newKey(shop.merchantId);

    const tables = await app.database.pool.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    );
    expect(tables.rows.map((row) => row.name)).toEqual(
      expect.arrayContaining(['public.source_secret', 'public.webhook_endpoint']),
    );
    let dump = '';
    for (const { name } of tables.rows) {
      const { rows } = await app.database.pool.query(`select to_jsonb(t)::text as row from ${name} t`);
      dump += rows.map((one) => one.row).join('\n');
    }
    expect(dump).toContain(shop.source.source_id);
    expect(dump).toContain(endpoint.id);
    for (const secret of [WEBHOOK_SECRET, NEWER_SECRET, PROVIDER_KEY, old, current, apiKey]) {
      expect(secret.length).toBeGreaterThan(20);
      expect(dump).not.toContain(secret);
      expect(dump).not.toContain(Buffer.from(secret).toString('hex'));
      expect(dump).not.toContain(Buffer.from(secret).toString('base64').slice(0, -4));
    }
  });

  it('a sealed secret opens nowhere but at its source, as what it is', async () => {
    const seal = async (sourceId: string, purpose: string): Promise<string> => {
      const { rows } = await app.database.pool.query<{ sealed: string }>(
        'select sealed from source_secret where source_id = $1 and purpose = $2 order by created_at limit 1',
        [sourceId, purpose],
      );
      return rows[0]?.sealed ?? '';
    };
    const place = (sourceId: string, sealed: string) =>
      app.database.pool.query("update source_secret set sealed = $2 where source_id = $1 and purpose = 'webhook'", [
        sourceId,
        sealed,
      ]);
    const source = shop.source.source_id;
    for (const moved of [
      // Of another source, and the API key in the place of a webhook secret.
      await seal(
        (await operator.newShop('stripe', { webhook_secret: 'whsec_knownToSomebodyElse' })).source.source_id,
        'webhook',
      ),
      await seal(source, 'api'),
      (await seal(source, 'webhook')).replace(/.(?=.{9}$)/, (one) => (one === 'A' ? 'B' : 'A')),
    ]) {
      // One that this process has not read yet.
      const fresh = (await operator.newShop('stripe')).source;
      await place(fresh.source_id, moved);
      for (const secret of ['whsec_knownToSomebodyElse', WEBHOOK_SECRET, PROVIDER_KEY]) {
        expect(await deliver(fresh, secret)).toBe(503);
      }
    }
    expect(await deliver(shop.source, WEBHOOK_SECRET)).toBe(200);
    const { rows } = await app.database.pool.query('select distinct source_id from provider_event');
    expect(rows).toEqual([{ source_id: source }]);
  });
});

describe('without ENCRYPTION_KEY', () => {
  it('no source is made, and deliveries to those there are must come again', async () => {
    const key = { ENCRYPTION_KEY: '', STRIPE_WEBHOOK_SECRET: 'whsec_ofTheEnvironment' };
    await expect(startSecondWeb(app, key)).rejects.toThrow('ENCRYPTION_KEY lacks the key');
    // Secrets that another process stored later do not end one that runs.
    const use = async (isUsed: boolean) => {
      await app.database.pool.query('update source set enabled = $1', [isUsed]);
      await app.database.pool.query('update webhook_endpoint set disabled = not $1', [isUsed]);
    };
    await use(false);
    const web = await startSecondWeb(app, key);
    await use(true);
    const asAdmin = (method: string, path: string, body?: object) =>
      fetch(`${web.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    try {
      const input = { provider: 'stripe', name: 'New', webhook_secret: WEBHOOK_SECRET };
      for (const [method, path, body] of [
        ['POST', sourcesPath(shop.merchantId), input],
        ['POST', `${shop.path}/webhook-secrets`, { webhook_secret: WEBHOOK_SECRET }],
        ['PATCH', shop.path, { api_key: PROVIDER_KEY }],
      ] as const) {
        const answer = await asAdmin(method, path, body);
        expect([path, answer.status]).toEqual([path, 501]);
        expect(await answer.text()).toContain('ENCRYPTION_KEY');
      }
      expect(await deliver(shop.source, WEBHOOK_SECRET, web.url)).toBe(503);
      expect((await asAdmin('POST', `${shop.path}/test`)).status).toBe(503);
      // What needs no key goes on: settings, hints, and the sources of the environment.
      expect((await asAdmin('PATCH', shop.path, { name: 'Renamed' })).status).toBe(200);
      expect((await asAdmin('GET', sourcesPath(shop.merchantId))).status).toBe(200);
      expect(await deliver({ webhook_path: '/webhooks/stripe' }, 'whsec_ofTheEnvironment', web.url)).toBe(200);
    } finally {
      await web.close();
    }
    expect(await deliver(shop.source, WEBHOOK_SECRET)).toBe(200);
  });
});
