import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROVIDER_NAMES } from '../../src/providers/shared/names.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { bearer, type Operator, operatorOf, sourcesPath } from '../support/admin.ts';
import { type Answer, startTestApp, type TestApp } from '../support/app.ts';
import { DODO_SECRET, STRIPE_SECRET } from '../support/signing.ts';

let app: TestApp;
let operator: Operator;
const logged: string[] = [];

beforeAll(async () => {
  app = await startTestApp({ logger: createLogger('info', 'test', { write: (line) => logged.push(line) }) });
  operator = operatorOf(app);
});
afterAll(() => app.close());

describe('a source', () => {
  it('is made, shown, listed and changed, and shows no secret', async () => {
    const merchantId = await operator.newMerchant();
    const webhookSecret = 'whsec_aSecretThatMustNotBeSeen';
    const apiKey = 'sk_test_aKeyThatMustNotBeSeen';
    const input = { provider: 'stripe', name: 'EU shop', webhook_secret: webhookSecret, api_key: apiKey };
    const answer = await operator.call('POST', sourcesPath(merchantId), { ...input, refunds: 'credit' });
    expect(answer.status).toBe(200);
    const made = answer.body;
    expect(made).toEqual({
      source_id: expect.stringMatching(/^src_/),
      merchant_id: merchantId,
      origin: 'record',
      provider: 'stripe',
      name: 'EU shop',
      mode: 'test',
      enabled: true,
      default_purpose: 'topup',
      metadata: 'all',
      refunds: 'credit',
      customer_link_rule: 'create',
      capture: 'automatic',
      disputes: 'hold',
      webhook_path: `/webhooks/stripe/${made.source_id}`,
      accounts: [],
      secrets: expect.arrayContaining([
        {
          secret_id: expect.stringMatching(/^sec_/),
          purpose: 'webhook',
          hint: '…Seen',
          created_at: expect.any(String),
        },
        { secret_id: expect.stringMatching(/^sec_/), purpose: 'api', hint: '…Seen', created_at: expect.any(String) },
      ]),
      created_at: expect.any(String),
      updated_at: expect.any(String),
    });
    const path = `${sourcesPath(merchantId)}/${made.source_id}`;
    expect((await operator.call('GET', path)).body).toEqual(made);
    expect((await operator.call('GET', sourcesPath(merchantId))).body).toEqual({ items: [made], findings: [] });

    const settings = {
      name: 'Shop',
      default_purpose: 'order',
      metadata: 'customer',
      refunds: 'ignore',
      customer_link_rule: 'named',
      enabled: false,
    };
    const changed = await operator.call('PATCH', path, { ...settings, api_key: null });
    expect(changed).toMatchObject({ status: 200, body: { ...settings, secrets: [{ purpose: 'webhook' }] } });
    expect((await operator.call('PATCH', path, {})).body).toMatchObject(settings);
    const rekeyed = await operator.call('PATCH', path, { api_key: 'sk_test_another_key_0000' });
    const hints = rekeyed.body.secrets.map((one: { purpose: string; hint: string }) => `${one.purpose} ${one.hint}`);
    expect(hints.sort()).toEqual(['api …0000', 'webhook …Seen']);
  });

  it.each(PROVIDER_NAMES)(
    'of %s obeys no amount that a payer could have written, unless it is told to',
    async (name) => {
      const merchantId = await operator.newMerchant();
      expect((await operator.newSource(merchantId, name)).metadata).toBe(name === 'stripe' ? 'all' : 'customer');
      expect((await operator.newSource(merchantId, name, { metadata: 'all' })).metadata).toBe('all');
    },
  );

  it('of the environment comes first, and is changed there', async () => {
    const made = await operator.newSource('bus_default', 'paddle');
    const { body } = await operator.call('GET', sourcesPath('bus_default'));
    expect(body.items.map((one: { source_id: string }) => one.source_id)).toEqual([
      'src_stripe',
      'src_dodo',
      'src_razorpay',
      made.source_id,
    ]);
    const [stripe] = body.items;
    expect(stripe).toMatchObject({
      origin: 'environment',
      mode: 'test',
      enabled: true,
      webhook_path: '/webhooks/stripe/src_stripe',
      secrets: [{ secret_id: null, purpose: 'webhook', hint: `…${STRIPE_SECRET.slice(-4)}`, created_at: null }],
      created_at: null,
    });
    const path = `${sourcesPath('bus_default')}/src_stripe`;
    expect((await operator.call('GET', path)).body).toEqual(stripe);
    for (const [method, rest, change] of [
      ['PATCH', '', { enabled: false }],
      ['POST', '/webhook-secrets', { webhook_secret: 'whsec_another' }],
      ['DELETE', '/webhook-secrets/sec_1', undefined],
    ] as const) {
      const answer = await operator.call(method, `${path}${rest}`, change);
      expect(answer).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
      expect(answer.body.message).toContain('STRIPE_');
    }
    const merchantId = await operator.newMerchant();
    expect((await operator.call('GET', `${sourcesPath(merchantId)}/src_stripe`)).status).toBe(404);
    expect((await operator.call('GET', sourcesPath(merchantId))).body).toEqual({ items: [], findings: [] });
  });

  it.each([
    [{ provider: 'square' }, 422, 'provider: wants stripe, dodo'],
    [{ webhook_secret: 'short' }, 422, 'webhook_secret: wants a secret of 6 to 500 characters'],
    [{ webhook_secret: ' spaced out ' }, 422, 'webhook_secret: wants a secret'],
    [{ provider: 'dodo', webhook_secret: 'not-base64!' }, 422, 'webhook_secret: wants whsec_ and base64'],
    [{ provider: 'adyen', webhook_secret: 'not hexadecimal' }, 422, 'webhook_secret: wants'],
    [{ webhook_secret: '<whsec_…>' }, 422, 'webhook_secret: is still the placeholder of .env.example'],
    [{ api_key: '<a-key-of-stripe>' }, 422, 'api_key: is still the placeholder of .env.example'],
    [{ api_key: 'with a space' }, 422, 'api_key: wants 8 to 4,200 characters without spaces'],
    [{ refunds: 'sometimes' }, 422, 'refunds: wants auto, credit, reverse or ignore'],
    [{ enabled: 'yes' }, 422, 'enabled: wants true or false'],
    [{ currency: 'USD' }, 422, 'currency: is not a known field'],
    [{ mode: 'live' }, 409, 'The merchant is in test mode'],
  ])('is not made of %j', async (change, status, message) => {
    const merchantId = await operator.newMerchant();
    const input = { provider: 'stripe', name: 'A', webhook_secret: STRIPE_SECRET, ...change };
    const answer = await operator.call('POST', sourcesPath(merchantId), input);
    expect(answer.status).toBe(status);
    expect(answer.body.message).toContain(message);
    expect(answer.body.message).not.toContain(input.webhook_secret);
    expect((await operator.call('GET', sourcesPath(merchantId))).body).toEqual({ items: [], findings: [] });
  });

  it('is not found under another merchant', async () => {
    const { source, path } = await operator.newShop();
    const other = `${sourcesPath(await operator.newMerchant())}/${source.source_id}`;
    const [secret] = source.secrets;
    for (const [method, rest, body] of [
      ['GET', '', undefined],
      ['PATCH', '', { enabled: false }],
      ['POST', '/webhook-secrets', { webhook_secret: 'whsec_another' }],
      ['DELETE', `/webhook-secrets/${secret.secret_id}`, undefined],
      ['POST', '/test', undefined],
    ] as const) {
      expect([rest, (await operator.call(method, `${other}${rest}`, body)).status]).toEqual([rest, 404]);
    }
    expect((await operator.call('GET', path)).body).toEqual(source);
  });
});

describe('a test delivery', () => {
  const test = (merchantId: string, sourceId: string): Promise<Answer> =>
    operator.call('POST', `${sourcesPath(merchantId)}/${sourceId}/test`);

  it.each(PROVIDER_NAMES.filter((name) => name !== 'paypal'))('of %s comes in as its events do', async (provider) => {
    const merchantId = await operator.newMerchant();
    const key = bearer((await operator.newKey(merchantId)).key);
    const { source_id: sourceId } = await operator.newSource(merchantId, provider);
    const answers = [await test(merchantId, sourceId), await test(merchantId, sourceId)];
    for (const { status, body } of answers) {
      expect({ status, body }).toEqual({
        status: 200,
        body: {
          event_id: expect.stringMatching(/^evt_/),
          status: 'ignored',
          detail: expect.stringContaining('not an event'),
        },
      });
    }
    const { body } = await app.call('GET', '/events', undefined, key);
    const ids = body.items.map((one: { event_id: string }) => one.event_id);
    expect(ids).toEqual(answers.map((answer) => answer.body.event_id).reverse());
  });

  it('is signed with the newest secret', async () => {
    const { merchantId, source, path, key } = await operator.newShop('dodo');
    const newest = `whsec_${Buffer.from('the newest secret').toString('base64')}`;
    await operator.call('POST', `${path}/webhook-secrets`, { webhook_secret: newest });
    const [, oldest] = (await operator.call('GET', path)).body.secrets;
    await operator.call('DELETE', `${path}/webhook-secrets/${oldest.secret_id}`);
    expect((await test(merchantId, source.source_id)).status).toBe(200);
    expect((await app.call('GET', '/events', undefined, key)).body.items).toMatchObject([
      { type: 'license_key.created' },
    ]);
  });

  it('works for a source of the environment, and for a live one', async () => {
    expect(await test('bus_default', 'src_stripe')).toMatchObject({ status: 200, body: { status: 'ignored' } });
    const live = await operator.newMerchant({ mode: 'live' });
    const { source_id: sourceId } = await operator.newSource(live, 'stripe', { mode: 'live' });
    expect(await test(live, sourceId)).toMatchObject({ status: 200, body: { status: 'ignored' } });
  });

  it('of PayPal is for PayPal alone to send', async () => {
    const merchantId = await operator.newMerchant();
    const { source_id: sourceId } = await operator.newSource(merchantId, 'paypal');
    const answer = await test(merchantId, sourceId);
    expect(answer).toMatchObject({ status: 501, body: { code: 'NOT_IMPLEMENTED' } });
    expect(answer.body.message).toContain('simulator');
  });

  it('is none of a source that is disabled, or that is not there', async () => {
    const { merchantId, source, path } = await operator.newShop();
    await operator.call('PATCH', path, { enabled: false });
    expect(await test(merchantId, source.source_id)).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect((await test(merchantId, 'src_none')).status).toBe(404);
  });
});

it('what the operator does is logged, and never a secret', async () => {
  const { merchantId, source, path } = await operator.newShop('stripe', { api_key: 'sk_test_never_logged' });
  await operator.call('PATCH', path, { refunds: 'ignore', name: 'Renamed', api_key: null });
  await operator.call('POST', `${path}/webhook-secrets`, { webhook_secret: 'whsec_never_logged' });
  await operator.call('DELETE', `${path}/webhook-secrets/${source.secrets.at(-1).secret_id}`);
  await operator.call('POST', `${path}/test`);
  const told = logged
    .map((line) => JSON.parse(line))
    .filter((line) => line.who === 'admin' && line.sourceId === source.source_id);
  expect(told).toMatchObject([
    { merchantId, provider: 'stripe', refunds: 'auto', hasApiKey: true, msg: 'a source was created' },
    { merchantId, refunds: 'ignore', apiKey: 'removed', msg: 'a source was changed' },
    { merchantId, secretId: expect.stringMatching(/^sec_/), msg: 'a webhook secret was added' },
    { merchantId, msg: 'a webhook secret was removed' },
    { merchantId, eventId: expect.stringMatching(/^evt_/), msg: 'a test event was delivered' },
  ]);
  for (const secret of ['never_logged', STRIPE_SECRET, DODO_SECRET]) expect(logged.join()).not.toContain(secret);
});
