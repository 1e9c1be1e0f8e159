import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

/** The past of a wallet: pages, cursors, filters, one entry, the balance at a moment. A clock of our own dates the entries. */

let app: TestApp;
let now = new Date('2026-01-01T00:00:00Z');

beforeAll(async () => {
  app = await startTestApp({ clock: { now: () => now } });
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const credit = async (customerId: string, amount: number, currency = 'USD') => {
  const path = `/customers/${customerId}/wallets/ledger-entries`;
  const { status } = await app.call('POST', path, { amount, currency, entry_type: 'credit' });
  expect(status).toBe(200);
};
const amounts = async (customerId: string, query: string): Promise<number[]> => {
  const { body } = await app.call('GET', `/customers/${customerId}/wallets/ledger-entries?${query}`);
  return body.items.map((entry: { amount: number }) => entry.amount);
};
const range = (from: number, to: number) => Array.from({ length: from - to + 1 }, (_, index) => from - index);

describe('pages', () => {
  it('of a cursor stay where they are while entries are added', async () => {
    const id = await app.newCustomer();
    for (let n = 1; n <= 20; n += 1) await credit(id, n);
    const seen: number[] = [];
    for (let before = 21; before > 1; ) {
      const page = await amounts(id, `currency=USD&page_size=6&before_seq=${before}`);
      seen.push(...page);
      before = page.at(-1) ?? 1;
      await credit(id, 100 + before);
    }
    expect(seen).toEqual(range(20, 1));
    expect(await amounts(id, 'currency=USD&page_size=2&after_seq=3&before_seq=9')).toEqual([8, 7]);
    expect(await amounts(id, 'currency=USD&after_seq=3&before_seq=5')).toEqual([4]);
    expect(await amounts(id, `currency=USD&after_seq=${20 + 4}`)).toEqual([]);
    expect(await amounts(id, 'currency=USD&page_size=3&page_number=1')).toHaveLength(3);
  });

  it("come whole to a loop of Dodo's SDK for Python that names none, and short of one to a loop from page 0", async () => {
    const id = await app.newCustomer();
    for (let n = 1; n <= 12; n += 1) await credit(id, n);
    /** Its DefaultPageNumberPagination goes on with `(page_number or 1) + 1`, so that 0 and none are both followed by 2. */
    const loop = async (first: number | null) => {
      const seen: number[] = [];
      for (let page = first; ; page = (page || 1) + 1) {
        const query = `page_size=5${page === null ? '' : `&page_number=${page}`}`;
        const path = `/customers/${id}/wallets/ledger-entries?${query}`;
        const { body } = await app.call('GET', path, undefined, { 'x-stainless-lang': 'python' });
        if (body.items.length === 0) return seen;
        seen.push(...body.items.map((entry: { amount: number }) => entry.amount));
      }
    };
    expect(await loop(null)).toEqual(range(12, 1));
    // The document says so at `page_number`: nothing tells such a loop from somebody who asks for pages 0 and 2.
    expect(await loop(0)).toEqual([...range(12, 8), ...range(2, 1)]);
  });

  it('mix the wallets by time, and an empty one is no error', async () => {
    const id = await app.newCustomer();
    expect(await amounts(id, '')).toEqual([]);
    for (const [n, currency] of ['USD', 'INR', 'INR', 'USD', 'INR'].entries()) {
      now = new Date(now.getTime() + 1000);
      await credit(id, n + 1, currency);
    }
    expect(await amounts(id, '')).toEqual([5, 4, 3, 2, 1]);
    expect(await amounts(id, 'page_size=2&page_number=1')).toEqual([3, 2]);
    expect(await amounts(id, 'currency=INR')).toEqual([5, 3, 2]);
    expect(await amounts(id, 'event_type=merchant_adjustment&currency=USD')).toEqual([4, 1]);
    expect(await amounts(id, 'event_type=refund')).toEqual([]);
  });
});

describe('time', () => {
  let id: string;

  beforeAll(async () => {
    now = new Date('2026-02-01T00:00:00Z');
    id = await app.newCustomer();
    for (const [day, amount] of [
      [2, 1],
      [3, 10],
      [3, 100],
      [5, 1000],
    ] as const) {
      now = new Date(Date.UTC(2026, 1, day));
      await credit(id, amount);
    }
  });

  it.each([
    ['created_at_gte=2026-02-03T00:00:00Z', [1000, 100, 10]],
    ['created_at_lte=2026-02-03T00:00:00Z', [100, 10, 1]],
    ['created_at_gte=2026-02-03T05:30:00%2B05:30&created_at_lte=2026-02-04T00:00:00Z', [100, 10]],
    ['created_at_gte=2026-03-01T00:00:00Z', []],
    ['created_at_gte=0001-01-01T00:00:00Z&created_at_lte=2026-02-02T00:00:00Z', [1]],
  ])('filters entries by %s', async (query, expected) => {
    expect(await amounts(id, query)).toEqual(expected);
  });

  it.each([
    ['2020-01-01T00:00:00Z', 0, 0],
    ['2026-02-01T23:59:59.999Z', 0, 0],
    ['2026-02-02T00:00:00Z', 1, 1],
    ['2026-02-03T00:00:00Z', 111, 3],
    ['2026-02-04T23:59:59Z', 111, 3],
    ['2026-02-05T00:00:00Z', 1111, 4],
    ['2999-01-01T00:00:00Z', 1111, 4],
  ])('the balance at %s was %i', async (at, balance, version) => {
    const { body } = await app.call('GET', `/customers/${id}/wallets/USD?at=${at}`);
    expect(body).toMatchObject({ balance, version, currency: 'USD', at: new Date(at).toISOString() });
    if (version > 0) expect(Date.parse(body.updated_at)).toBeLessThanOrEqual(Date.parse(at));
    else expect(body.updated_at).toBe(body.created_at);
    const { body: other } = await app.call('GET', `/customers/${id}/wallets/INR?at=${at}`);
    expect(other).toMatchObject({ balance: 0, version: 0 });
  });

  it('finds the balance between any two of a hundred entries', async () => {
    const start = Date.UTC(2026, 3, 1);
    now = new Date(start);
    const many = await app.newCustomer();
    for (let n = 1; n <= 100; n += 1) {
      now = new Date(start + n * 60_000);
      await credit(many, n);
    }
    for (const n of [0, 1, 2, 3, 49, 50, 51, 63, 64, 65, 98, 99, 100]) {
      const at = new Date(start + n * 60_000 + 1).toISOString();
      const { body } = await app.call('GET', `/customers/${many}/wallets/USD?at=${at}`);
      expect([n, body.balance, body.version]).toEqual([n, (n * (n + 1)) / 2, n]);
    }
  });
});

it('one entry is found by its id, in its own customer alone', async () => {
  const [id, other] = [await app.newCustomer(), await app.newCustomer()];
  await credit(id, 7);
  const path = `/customers/${id}/wallets/ledger-entries`;
  const { body: page } = await app.call('GET', path);
  const [entry] = page.items;
  expect((await app.call('GET', `${path}/${entry.id}`)).body).toEqual(entry);
  expect((await app.call('GET', `/customers/${other}/wallets/ledger-entries/${entry.id}`)).status).toBe(404);
});
