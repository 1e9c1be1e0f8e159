import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Worker } from '../../jobs/worker.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import {
  bearer,
  eventsToSettle,
  newSecretOf,
  type Operator,
  operatorOf,
  startSecondWeb,
  startTestWorker,
} from '../support/admin.ts';
import { ADMIN_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { signStripe, stripePaymentSucceeded } from '../support/signing.ts';

let app: TestApp;
let operator: Operator;
let worker: Worker;
const logged: string[] = [];

beforeAll(async () => {
  app = await startTestApp({ logger: createLogger('info', 'test', { write: (line) => logged.push(line) }) });
  operator = operatorOf(app);
  worker = await startTestWorker(app);
});
afterAll(async () => {
  await worker.close();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const address = (path: string) => path.replaceAll(/\{\w+\}/g, 'x');
const adminRoutes = ROUTES.filter((route) => route.scope === 'admin');

describe('the admin key', () => {
  it.each(adminRoutes.map((route) => [`${route.method.toUpperCase()} ${route.path}`, route] as const))(
    '%s wants it, and no key of a merchant will do',
    async (_, { method, path }) => {
      for (const headers of [{ authorization: '' }, bearer(app.key)]) {
        const answer = await app.call(method.toUpperCase(), address(path), undefined, headers);
        expect(answer).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } });
      }
    },
  );

  it("opens none of the merchants' routes, and nothing with a character more", async () => {
    for (const path of ['/customers', '/events']) {
      const answer = await operator.call('GET', path);
      expect(answer).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } });
    }
    expect((await app.call('GET', '/admin/merchants', undefined, bearer(`${ADMIN_KEY}x`))).status).toBe(401);
  });

  it('of nobody opens nothing', async () => {
    const web = await startSecondWeb(app, { ADMIN_KEY: '' });
    try {
      for (const key of [ADMIN_KEY, '', 'undefined']) {
        const answer = await fetch(`${web.url}/admin/merchants`, { headers: bearer(key) });
        expect(answer.status).toBe(401);
      }
    } finally {
      await web.close();
    }
  });
});

describe('merchants', () => {
  it('are made, shown and listed, the default one first', async () => {
    const { status, body: made } = await operator.call('POST', '/admin/merchants', { name: 'Acme', mode: 'live' });
    expect(status).toBe(200);
    expect(made).toEqual({
      merchant_id: expect.stringMatching(/^bus_/),
      name: 'Acme',
      mode: 'live',
      suspended_at: null,
      key_guard: 'flag',
      created_at: expect.any(String),
    });
    expect((await operator.call('GET', `/admin/merchants/${made.merchant_id}`)).body).toEqual(made);
    const own = await operator.newMerchant({ merchant_id: 'acme.2-eu', name: 'Acme 2' });
    expect(own).toBe('acme.2-eu');

    const ids = async (query: string) =>
      (await operator.call('GET', `/admin/merchants${query}`)).body.items.map(
        (one: { merchant_id: string }) => one.merchant_id,
      );
    expect(await ids('')).toEqual(['bus_default', made.merchant_id, own]);
    expect(await ids('?page_size=2')).toEqual(['bus_default', made.merchant_id]);
    expect(await ids('?page_size=2&page_number=1')).toEqual([own]);
    expect(await ids('?page_number=9')).toEqual([]);
  });

  it('of an id that is taken are refused, and change nothing', async () => {
    const before = (await operator.call('GET', '/admin/merchants')).body;
    const again = { merchant_id: 'bus_default', name: 'Impostor', mode: 'live' };
    const answer = await operator.call('POST', '/admin/merchants', again);
    expect(answer).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    expect((await operator.call('GET', '/admin/merchants')).body).toEqual(before);
  });

  it.each([
    [{}, 'name: wants text'],
    [{ name: '', mode: 'test' }, 'name: wants 1 to 200 characters'],
    [{ name: 'A', mode: 'production' }, 'mode: wants test or live'],
    [{ name: 'A', mode: 'test', merchant_id: 'a/b' }, 'merchant_id: wants letters'],
    [{ name: 'A', mode: 'test', merchant_id: '..' }, 'merchant_id: wants a letter or a digit'],
    [{ name: 'A', mode: 'test', currency: 'USD' }, 'currency: is not a known field'],
  ])('%j is refused with what it wants', async (body, message) => {
    const answer = await operator.call('POST', '/admin/merchants', body);
    expect(answer).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
    expect(answer.body.message).toContain(message);
  });

  it('that do not exist are 404', async () => {
    for (const [method, path] of [
      ['GET', ''],
      ['POST', '/suspend'],
      ['POST', '/resume'],
      ['GET', '/api-keys'],
      ['GET', '/sources'],
    ] as const) {
      const answer = await operator.call(method, `/admin/merchants/bus_nobody${path}`);
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});

describe('a suspended merchant', () => {
  it("has its keys refused by every route, while its customers' payments are taken in and credited", async () => {
    const merchantId = await operator.newMerchant();
    const key = bearer((await operator.newKey(merchantId)).key);
    const secret = newSecretOf('stripe');
    const source = await operator.newSource(merchantId, 'stripe', { webhook_secret: secret });
    const suspend = () => operator.call('POST', `/admin/merchants/${merchantId}/suspend`);
    const { status, body: suspended } = await suspend();
    expect(status).toBe(200);
    expect(suspended.suspended_at).toEqual(expect.any(String));
    expect((await suspend()).body).toEqual(suspended);

    for (const { method, path, scope } of ROUTES) {
      if (scope !== 'read' && scope !== 'write') continue;
      const answer = await app.call(method.toUpperCase(), address(path), undefined, key);
      expect([method, path, answer.status, answer.body.code]).toEqual([method, path, 403, 'FORBIDDEN']);
    }
    const body = stripePaymentSucceeded({
      paymentId: 'pi_suspended',
      amount: 700,
      currency: 'usd',
      customer: 'cus_A',
      metadata: {},
    });
    expect((await app.call('POST', source.webhook_path, body, signStripe(body, secret))).status).toBe(200);
    await eventsToSettle(app);

    const resumed = await operator.call('POST', `/admin/merchants/${merchantId}/resume`);
    expect(resumed).toMatchObject({ status: 200, body: { suspended_at: null } });
    // Another process, which has not seen the merchant suspended.
    const web = await startSecondWeb(app);
    try {
      const life = await fetch(`${web.url}/payments/pi_suspended`, { headers: key });
      expect(life.status).toBe(200);
      expect(await life.json()).toMatchObject({ items: [{ source_id: source.source_id, credited: 700 }] });
    } finally {
      await web.close();
    }
  });

  it('is no matter of the others', async () => {
    const merchantId = await operator.newMerchant();
    await operator.call('POST', `/admin/merchants/${merchantId}/suspend`);
    expect((await app.call('GET', '/customers')).status).toBe(200);
  });
});

it('what the operator does is logged, without the key', async () => {
  const merchantId = await operator.newMerchant();
  await operator.call('POST', `/admin/merchants/${merchantId}/suspend`);
  await operator.call('POST', `/admin/merchants/${merchantId}/resume`);
  const told = logged.map((line) => JSON.parse(line)).filter((line) => line.merchantId === merchantId);
  expect(told).toMatchObject([
    { who: 'admin', msg: 'a merchant was created', mode: 'test' },
    { who: 'admin', msg: 'a merchant was suspended' },
    { who: 'admin', msg: 'a suspension was ended' },
  ]);
  expect(logged.join()).not.toContain(ADMIN_KEY);
});
