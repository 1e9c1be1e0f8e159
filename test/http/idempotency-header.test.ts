import DodoPayments from 'dodopayments';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ROUTES } from '../../src/http/routes.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

/** `Idempotency-Key` as a header means what `idempotency_key` in the body means. */

let app: TestApp;
let id: string;
let path: string;

beforeAll(async () => {
  app = await startTestApp();
});
beforeEach(async () => {
  id = await app.newCustomer();
  path = `/customers/${id}/wallets/ledger-entries`;
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const credit = { amount: 30, currency: 'USD', entry_type: 'credit' } as const;
const post = (body: object, key: string) => app.call('POST', path, body, { 'idempotency-key': key });
const balance = async () => (await app.call('GET', `/customers/${id}/wallets/USD`)).body.balance;

describe('the header Idempotency-Key', () => {
  it('writes the same request once, and answers the repetition with the entry, as the key in the body does', async () => {
    expect((await post(credit, 'order-7')).status).toBe(200);
    const repeated = await post(credit, 'order-7');
    expect(repeated).toMatchObject({
      status: 409,
      body: { code: 'IDEMPOTENCY_KEY_EXISTS', entry: { amount: 30, idempotency_key: 'order-7' } },
    });
    expect(await app.call('POST', path, { ...credit, idempotency_key: 'order-7' })).toMatchObject({ status: 409 });
    expect(await balance()).toBe(30);
  });

  it('refuses another request under the same key', async () => {
    await post(credit, 'order-8');
    const other = await post({ ...credit, amount: 31 }, 'order-8');
    expect(other).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_KEY_REUSED' } });
  });

  it('may stand beside the same key in the body', async () => {
    expect((await post({ ...credit, idempotency_key: 'order-9' }, 'order-9')).status).toBe(200);
  });

  it('writes nothing if the body names another key, since one of them would be ignored', async () => {
    const { status, body } = await post({ ...credit, idempotency_key: 'one' }, 'another');
    expect({ status, code: body.code }).toEqual({ status: 400, code: 'INVALID_IDEMPOTENCY_KEY' });
    expect(body.message).toContain('differ');
    expect(await balance()).toBe(0);
  });

  it.each([
    ['empty', ''],
    ['longer than 255 characters', 'x'.repeat(256)],
    ['not ASCII', 'ä'],
  ])('is refused where it is %s', async (_, key) => {
    const { status, body } = await post(credit, key);
    expect({ status, code: body.code }).toEqual({ status: 400, code: 'INVALID_IDEMPOTENCY_KEY' });
    expect(await balance()).toBe(0);
  });

  it("makes an automatic repetition of Dodo's SDK safe", async () => {
    const automatic = { 'idempotency-key': 'order-10', 'x-stainless-retry-count': '1' };
    expect((await app.call('POST', path, credit, automatic)).status).toBe(200);
  });
});

describe("Dodo's SDK", () => {
  const seen: (string | null)[] = [];
  const sdk = () =>
    new DodoPayments({
      baseURL: app.baseURL,
      bearerToken: app.key,
      fetch: async (input, init) => {
        seen.push(new Headers(init?.headers).get('idempotency-key'));
        const response = await fetch(input, init);
        if (seen.length === 1) throw new TypeError('fetch failed');
        return response;
      },
    });

  it('does not send the header by itself, in its first try or a repetition', async () => {
    await expect(sdk().customers.wallets.ledgerEntries.create(id, credit)).rejects.toMatchObject({ status: 409 });
    expect(seen).toEqual([null, null]);
    expect(await balance()).toBe(30);
  });

  it('may be told to send it, and then keeps it over its repetitions', async () => {
    seen.length = 0;
    const create = sdk().customers.wallets.ledgerEntries.create(id, credit, { headers: { 'Idempotency-Key': 'mine' } });
    await expect(create).rejects.toMatchObject({ status: 409, error: { code: 'IDEMPOTENCY_KEY_EXISTS' } });
    expect(seen).toEqual(['mine', 'mine']);
    expect(await balance()).toBe(30);
  });
});

describe('the header on a batch', () => {
  const batch = (entries: object[], key: string) =>
    app.call('POST', '/ledger-entries/batch', { entries }, { 'idempotency-key': key });

  it('gives each entry without a key one of its own, so that the batch can be sent again', async () => {
    const entries = [
      { customer_id: id, ...credit },
      { customer_id: id, ...credit },
      { customer_id: id, ...credit, idempotency_key: 'own' },
    ];
    const first = await batch(entries, 'payroll');
    expect(first.body.items).toMatchObject([
      { status: 'created', entry: { idempotency_key: 'payroll/0' } },
      { status: 'created', entry: { idempotency_key: 'payroll/1' } },
      { status: 'created', entry: { idempotency_key: 'own' } },
    ]);
    const again = await batch(entries, 'payroll');
    expect(again.body.items.map((item: { status: string }) => item.status)).toEqual(Array(3).fill('repeated'));
    expect(await balance()).toBe(90);
  });

  it('is refused as a whole where it leaves no room for the place of an entry', async () => {
    const { status, body } = await batch([{ customer_id: id, ...credit }], 'x'.repeat(251));
    expect({ status, code: body.code }).toEqual({ status: 400, code: 'INVALID_IDEMPOTENCY_KEY' });
    expect(await balance()).toBe(0);
  });
});

it('is read by every POST that moves money, or the route says why a repeat moves nothing', () => {
  const keyed = ROUTES.filter((route) => 'Idempotency-Key' in route.headers).map(({ path: one }) => one);
  expect(keyed.toSorted()).toEqual([
    '/customers/{customer_id}/checkouts',
    '/customers/{customer_id}/checkouts/{checkout_id}/refund',
    '/customers/{customer_id}/wallets/holds',
    '/customers/{customer_id}/wallets/holds/{hold_id}/capture',
    '/customers/{customer_id}/wallets/ledger-entries',
    '/customers/{customer_id}/wallets/lots/{lot_id}/void',
    '/customers/{customer_id}/wallets/scheduled-entries',
    '/customers/{customer_id}/wallets/{currency}/top-ups',
    '/holds/batch',
    '/ledger-entries/batch',
  ]);
  // All others that write entries, or let a worker write them, do so for a payment, which has keys of its own.
  const ofPayments = ['/payments/{payment_id}/reassign', '/events/{event_id}/replay', '/reconciliation'];
  const others = ROUTES.filter(({ method, path: one }) => method === 'post' && ofPayments.includes(one));
  expect(others).toHaveLength(ofPayments.length);
  for (const { path: one, description } of others) expect(description, one).toMatch(/[Aa]sked again/);
});
