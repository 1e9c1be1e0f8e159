import DodoPayments from 'dodopayments';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BatcherFullError } from '../../src/db/batcher.ts';
import { failureOf, KeylessError } from '../../src/http/kit/failure.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

/** What Dodo's SDK repeats by itself: an answer that is lost, a 409, a 5xx. Without a key that must never write twice. */

let app: TestApp;
let id: string;
let path: string;

beforeAll(async () => {
  app = await startTestApp();
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const balance = async () => (await app.call('GET', `/customers/${id}/wallets/USD`)).body;
const debit = { amount: 30, currency: 'USD', entry_type: 'debit' } as const;

/** Dodo's SDK over a network that loses the first answer, after the server has done the work. */
function unluckySdk(): { sdk: DodoPayments; requests: () => number } {
  let requests = 0;
  const sdk = new DodoPayments({
    baseURL: app.baseURL,
    bearerToken: app.key,
    fetch: async (input, init) => {
      requests += 1;
      const isFirst = requests === 1;
      const response = await fetch(input, init);
      if (isFirst) throw new TypeError('fetch failed');
      return response;
    },
  });
  return { sdk, requests: () => requests };
}

describe('a repetition by the SDK after a lost answer', () => {
  beforeAll(async () => {
    id = await app.newCustomer();
    path = `/customers/${id}/wallets/ledger-entries`;
    await app.call('POST', path, { ...debit, entry_type: 'credit', amount: 100 });
  });

  it('is refused without a key, since the first may have been carried out (it was)', async () => {
    const { sdk, requests } = unluckySdk();
    const failed = sdk.customers.wallets.ledgerEntries.create(id, debit);
    await expect(failed).rejects.toMatchObject({
      status: 409,
      error: { code: 'CONFLICT', message: expect.stringMatching(/automatic repetition.*may have been carried out/) },
    });
    expect(requests()).toBe(2);
    expect(await balance()).toMatchObject({ balance: 70, version: 2 });
  });

  it('finds the entry with a key', async () => {
    const { sdk, requests } = unluckySdk();
    const failed = sdk.customers.wallets.ledgerEntries.create(id, { ...debit, idempotency_key: 'k' });
    await expect(failed).rejects.toMatchObject({ status: 409, error: { code: 'IDEMPOTENCY_KEY_EXISTS' } });
    expect(requests()).toBe(2);
    expect(await balance()).toMatchObject({ balance: 40, version: 3 });
  });

  it.each([
    ['0', 200, null],
    ['1', 409, 'false'],
    ['2', 409, 'false'],
  ])('number %s, without a key, is answered %i', async (count, status, shouldRetry) => {
    const credit = { ...debit, entry_type: 'credit' };
    const answer = await app.call('POST', path, credit, { 'x-stainless-retry-count': count });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('x-should-retry')).toBe(shouldRetry);
  });

  it('of a batch writes the entries with a key alone', async () => {
    const before = await balance();
    const entry = { ...debit, entry_type: 'credit', customer_id: id };
    const { body } = await app.call(
      'POST',
      '/ledger-entries/batch',
      { entries: [entry, { ...entry, idempotency_key: 'batch' }] },
      { 'x-stainless-retry-count': '1' },
    );
    expect(body.items).toMatchObject([{ status: 'refused', code: 'CONFLICT' }, { status: 'created' }]);
    expect(await balance()).toMatchObject({ version: before.version + 1 });
  });
});

describe('a failure that nobody foresaw', () => {
  it('is not to be repeated without a key, and may be with one', async () => {
    const customer = await app.newCustomer();
    const entries = `/customers/${customer}/wallets/ledger-entries`;
    const credit = { ...debit, entry_type: 'credit' };
    await app.database.pool.query('alter table unannounced_wallet rename to lost');
    const [keyless, keyed] = [
      await app.call('POST', entries, credit),
      await app.call('POST', entries, { ...credit, idempotency_key: 'k' }),
    ];
    await app.database.pool.query('alter table lost rename to unannounced_wallet');
    const code = 'INTERNAL_SERVER_ERROR';
    expect(keyless).toMatchObject({ status: 500, body: { code, message: expect.stringContaining('may or may not') } });
    expect(keyless.headers.get('x-should-retry')).toBe('false');
    expect(keyed).toMatchObject({ status: 500, body: { code } });
    expect(keyed.headers.get('x-should-retry')).toBeNull();
  });

  it('of a full batcher says that nothing was written, and is not to be repeated without a key either', () => {
    const full = failureOf(new BatcherFullError('merchant', 'bus_1'));
    expect(full).toMatchObject({ status: 429, headers: { 'retry-after': '1' }, unexpected: false });
    const keyless = failureOf(new KeylessError(new BatcherFullError('merchant', 'bus_1')));
    expect(keyless).toEqual({ ...full, headers: { ...full.headers, 'x-should-retry': 'false' } });
  });

  it('of too many deliveries from one source tells its provider to come again', () => {
    const full = failureOf(new BatcherFullError('source', 'src_1'));
    expect(full).toMatchObject({ status: 503, headers: { 'retry-after': '1' }, unexpected: false });
  });
});
