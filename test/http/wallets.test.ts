import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import { usdTotal } from '../../src/ledger/usd-total.ts';
import { parseRate } from '../../src/money.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startWeb, type Web } from '../../src/web.ts';
import { API_KEY, startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp({
    environment: { WALLET_CURRENCIES: 'USD,INR,EUR', LOW_BALANCE_THRESHOLDS: 'USD:1000,INR:50000' },
  });
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

describe('the total in dollars', () => {
  const rates = new Map(
    Object.entries({ INR: '0.0119', PKR: '0.0119', JPY: '0.0067', KWD: '3.25' }).map(([currency, text]) => [
      currency,
      parseRate(text) ?? expect.unreachable(),
    ]),
  );

  it.each([
    ['nothing', {}, 0],
    ['dollars as they are', { USD: 12_345 }, 12_345],
    ['rounded once, not wallet by wallet', { INR: 42, PKR: 42 }, 1],
    ['half to even, up', { INR: 5000 }, 60],
    ['half to even, down', { INR: 15_000 }, 178],
    ['a currency without cents', { JPY: 1000 }, 670],
    ['a currency with thousandths', { KWD: 1000 }, 325],
    ['a debt', { USD: -500, INR: 10_000 }, -381],
    ['the largest balances', { USD: 9_007_199_254_740_991 }, 9_007_199_254_740_991],
  ])('%s', (_, balances, expected) => {
    const wallets = Object.entries(balances).map(([currency, balance]) => ({ currency, balance }));
    expect(usdTotal(wallets, rates)).toEqual({ totalMinor: expected, unconverted: [] });
  });

  it('names what it cannot convert', async () => {
    const { body } = await app.call('GET', `/customers/${await app.newCustomer()}/wallets`);
    expect(body).toMatchObject({ total_balance_usd: 0, unconverted_currencies: ['EUR'] });
    expect(body.items.map((wallet: { currency: string }) => wallet.currency)).toEqual(['EUR', 'INR', 'USD']);
  });
});

describe('the head of a wallet', () => {
  it('is the hash of its newest entry, in the list, alone, and as it was at a moment', async () => {
    const id = await app.newCustomer();
    const credit = () =>
      app.call('POST', `/customers/${id}/wallets/ledger-entries`, {
        amount: 100,
        currency: 'USD',
        entry_type: 'credit',
      });
    const path = `/customers/${id}/wallets`;
    const headNow = async () => (await app.call('GET', `${path}/USD`)).body.head;
    expect(await headNow()).toBeNull();
    await credit();
    const first = await headNow();
    const { body: entries } = await app.call('GET', `${path}/ledger-entries`);
    const at = new Date(entries.items[0].created_at);
    while (Date.now() <= at.getTime()) await new Promise(setImmediate);
    await credit();
    const second = await headNow();
    expect([first, second]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), expect.stringMatching(/^[0-9a-f]{64}$/)]);
    expect(second).not.toBe(first);
    const { body: list } = await app.call('GET', path);
    expect(list.items.map(({ currency, head }: { currency: string; head: unknown }) => [currency, head])).toEqual([
      ['EUR', null],
      ['INR', null],
      ['USD', second],
    ]);
    expect((await app.call('GET', `${path}/USD?at=${at.toISOString()}`)).body).toMatchObject({
      version: 1,
      head: first,
    });
  });
});

describe('the low-balance threshold', () => {
  it('is the default of the currency until the wallet has its own', async () => {
    const id = await app.newCustomer();
    const path = (currency: string) => `/customers/${id}/wallets/${currency}/low-balance-threshold`;
    const get = async (currency: string) => (await app.call('GET', path(currency))).body;
    const put = (threshold: unknown, currency = 'USD') => app.call('PUT', path(currency), { threshold });
    expect(await get('USD')).toEqual({ customer_id: id, currency: 'USD', threshold: 1000, source: 'default' });
    expect(await get('EUR')).toMatchObject({ threshold: null, source: 'none' });
    expect(await put(250)).toMatchObject({ status: 200, body: { threshold: 250, source: 'wallet' } });
    expect(await get('USD')).toMatchObject({ threshold: 250, source: 'wallet' });
    expect(await put(0)).toMatchObject({ body: { threshold: 0, source: 'wallet' } });
    expect(await put(null)).toMatchObject({ body: { threshold: 1000, source: 'default' } });
    expect(await put(null, 'EUR')).toMatchObject({ body: { threshold: null, source: 'none' } });
    expect(await put(1, 'GBP')).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    for (const wrong of [-1, 1.5, '5', undefined, 2 ** 53]) {
      expect(await put(wrong)).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
    }
    const nobody = await app.call('PUT', '/customers/cus_nobody/wallets/USD/low-balance-threshold', { threshold: 1 });
    expect(nobody).toMatchObject({ status: 404, body: { code: 'CUSTOMER_NOT_FOUND' } });
  });

  it('decides when a balance counts as low', async () => {
    const id = await app.newCustomer();
    await app.call('PUT', `/customers/${id}/wallets/USD/low-balance-threshold`, { threshold: 300 });
    const post = (amount: number, entry_type: string) =>
      app.call('POST', `/customers/${id}/wallets/ledger-entries`, { amount, currency: 'USD', entry_type });
    await post(900, 'credit');
    await post(600, 'debit');
    const alerts = () =>
      app.database.pool.query('select kind, threshold from wallet_alert where customer_id = $1', [id]);
    expect((await alerts()).rows).toEqual([]);
    await post(1, 'debit');
    expect((await alerts()).rows).toEqual([{ kind: 'low', threshold: 300 }]);
  });
});

describe('a wallet in a currency that was configured later', () => {
  let later: Web;

  beforeAll(async () => {
    later = await startWeb({
      config: loadConfig({ PORT: '0', API_KEY, WALLET_CURRENCIES: 'USD,INR,EUR,GBP' }),
      databaseUrl: app.database.webUrl,
      logger: createLogger('silent', 'test'),
      clock: systemClock,
      print: () => {},
      checkResponses: true,
    });
  });
  afterAll(() => later.close());

  const wallets = (id: string) => `/customers/${id}/wallets`;
  const get = async (path: string) => {
    const response = await fetch(`${later.url}${path}`, { headers: { authorization: `Bearer ${API_KEY}` } });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  const announced = async (id: string) => {
    const { rowCount } = await app.database.pool.query(
      "select 1 from unannounced_wallet where customer_id = $1 and currency = 'GBP'",
      [id],
    );
    return rowCount === 1;
  };

  it.each([
    ['the list', (id: string) => wallets(id), 200],
    ['the wallet', (id: string) => `${wallets(id)}/GBP`, 200],
    ['its past', (id: string) => `${wallets(id)}/GBP?at=2020-01-01T00:00:00Z`, 200],
    ['its threshold', (id: string) => `${wallets(id)}/GBP/low-balance-threshold`, 200],
    ['a currency nobody configured', (id: string) => `${wallets(id)}/JPY`, 404],
  ])('is opened by whoever asks for %s', async (_, path, status) => {
    const id = await app.newCustomer();
    expect((await app.call('GET', `${wallets(id)}/GBP`)).status).toBe(404);
    expect((await get(path(id))).status).toBe(status);
    const { items } = (await get(wallets(id))).body;
    expect(items.map((one: { currency: string }) => one.currency)).toEqual(['EUR', 'GBP', 'INR', 'USD']);
    expect((await app.call('GET', `${wallets(id)}/GBP`)).body).toMatchObject({ balance: 0, version: 0 });
  });

  it('is opened once, however many ask, and its merchant is told', async () => {
    const id = await app.newCustomer();
    expect(await announced(id)).toBe(false);
    const answers = await Promise.all(Array.from({ length: 10 }, () => get(wallets(id))));
    expect(answers.map(({ body }) => body.items.length)).toEqual(Array.from({ length: 10 }, () => 4));
    expect(await announced(id)).toBe(true);
    expect(await get('/customers/cus_nobody/wallets')).toMatchObject({
      status: 404,
      body: { code: 'CUSTOMER_NOT_FOUND' },
    });
  });

  it('is opened by its first entry', async () => {
    const id = await app.newCustomer();
    const response = await fetch(`${later.url}${wallets(id)}/ledger-entries`, {
      method: 'POST',
      headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ amount: 5, currency: 'GBP', entry_type: 'credit' }),
    });
    expect(await response.json()).toMatchObject({ balance: 5 });
    expect((await get(`${wallets(id)}/GBP`)).body).toMatchObject({ balance: 5, version: 1 });
  });
});
