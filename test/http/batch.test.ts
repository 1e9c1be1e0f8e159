import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

let app: TestApp;
let ada: string;
let grace: string;

beforeAll(async () => {
  app = await startTestApp();
  [ada, grace] = [await app.newCustomer(), await app.newCustomer()];
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const post = (entries: unknown) => app.call('POST', '/ledger-entries/batch', { entries });
const credit = (customer_id: string, amount: number, key?: string) => ({
  customer_id,
  amount,
  currency: 'USD',
  entry_type: 'credit',
  ...(key === undefined ? {} : { idempotency_key: key }),
});
const debit = (customer_id: string, amount: number) => ({ ...credit(customer_id, amount), entry_type: 'debit' });

describe('POST /ledger-entries/batch', () => {
  it('gives every entry its own outcome, in order', async () => {
    const { status, body } = await post([
      credit(ada, 1000, 'k1'),
      debit(ada, 300),
      debit(ada, 5000),
      credit(grace, 10),
      { ...credit(grace, 10), amount: '10' },
      'nonsense',
      { ...credit(grace, 10), colour: 'red' },
      credit('cus_nobody', 1),
      { ...credit(ada, 1), currency: 'EUR' },
      credit(ada, 1000, 'k1'),
      credit(ada, 999, 'k1'),
    ]);
    expect(status).toBe(200);
    expect(body.items).toMatchObject([
      { status: 'created', entry: { seq: 1, amount: 1000, idempotency_key: 'k1' }, wallet: { balance: 1000 } },
      { status: 'created', entry: { seq: 2, is_credit: false }, wallet: { balance: 700 } },
      { status: 'refused', code: 'INSUFFICIENT_WALLET_FUNDS', available: 700, required: 5000, shortfall: 4300 },
      { status: 'created', entry: { customer_id: grace }, wallet: { balance: 10 } },
      { status: 'refused', code: 'INVALID_REQUEST_BODY', message: expect.stringContaining('amount:') },
      { status: 'refused', code: 'INVALID_REQUEST_BODY', message: expect.stringContaining('body:') },
      { status: 'refused', code: 'INVALID_REQUEST_BODY', message: 'colour: is not a known field.' },
      { status: 'refused', code: 'CUSTOMER_NOT_FOUND' },
      { status: 'refused', code: 'UNSUPPORTED_CURRENCY' },
      { status: 'repeated', code: 'IDEMPOTENCY_KEY_EXISTS', entry: { seq: 1, amount: 1000 } },
      { status: 'refused', code: 'IDEMPOTENCY_KEY_REUSED' },
    ]);
    expect(body.items).toHaveLength(11);
  });

  it('takes a thousand entries, and the same thousand again without a second effect', async () => {
    const [one, two] = [await app.newCustomer(), await app.newCustomer()];
    const entries = Array.from({ length: 1000 }, (_, n) => ({
      ...credit(n % 2 === 0 ? one : two, 1, `bulk_${n}`),
      reason: 'x'.repeat(1000),
    }));
    const statuses = async () => {
      const { body } = await post(entries);
      return [...new Set(body.items.map((item: { status: string }) => item.status))];
    };
    expect(await statuses()).toEqual(['created']);
    expect(await statuses()).toEqual(['repeated']);
    for (const id of [one, two]) {
      expect((await app.call('GET', `/customers/${id}/wallets/USD`)).body).toMatchObject({
        balance: 500,
        version: 500,
      });
    }
  });

  it.each([
    ['no entries', [], 422],
    ['too many', Array.from({ length: 1001 }, () => 1), 422],
    ['no list', 'all', 422],
    ['more than 2 MB', [{ ...credit('cus_a', 1), reason: 'x'.repeat(2_100_000) }], 413],
  ])('%s is refused as a whole', async (_, entries, status) => {
    expect((await post(entries)).status).toBe(status);
  });

  it('is answered whole, however long the answer is and of whatever letters', async () => {
    const reason = (place: number) => `${place} ä€😀`.repeat(20);
    const { status, body } = await post(
      Array.from({ length: 200 }, (_, place) => ({ ...credit(ada, 1), reason: reason(place) })),
    );
    expect(status).toBe(200);
    const reasons = body.items.map((item: { entry: { reason: string } }) => item.entry.reason);
    expect(reasons).toEqual(Array.from({ length: 200 }, (_, place) => reason(place)));
  });
});
