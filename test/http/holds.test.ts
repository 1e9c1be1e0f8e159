import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectBooksToAgree } from '../support/ledger.ts';

const START = new Date('2026-03-01T12:00:00Z');
let now = START;
let app: TestApp;

beforeAll(async () => {
  app = await startTestApp({ clock: { now: () => now } });
});
afterAll(async () => {
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

const pass = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};

/** The routes of a new customer's holds, in USD. */
async function customerWith(balance: number) {
  const id = await app.newCustomer();
  const wallets = `/customers/${id}/wallets`;
  const call = (method: string, path: string, body?: object, headers?: Record<string, string>) =>
    app.call(method, `${wallets}${path}`, body, headers);
  const entry = (entry_type: 'credit' | 'debit', amount: number, more: object = {}) =>
    call('POST', '/ledger-entries', { amount, currency: 'USD', entry_type, ...more });
  await entry('credit', balance);
  return {
    id,
    call,
    entry,
    place: (amount: number, key: string, more: object = {}) =>
      call('POST', '/holds', { amount, currency: 'USD', idempotency_key: key, ...more }),
    balances: async () => {
      const { body } = await call('GET', '/USD');
      return [body.balance, body.held, body.available];
    },
  };
}

describe('holds by the API', () => {
  it('are placed, shown in the wallet, and captured for what the work came to', async () => {
    const { id, call, place, balances } = await customerWith(1000);
    const metadata = { model: 'large' };
    const placed = await place(500, 'job-1', { reason: 'A long answer', reference_object_id: 'job-1', metadata });
    expect(placed).toMatchObject({
      status: 200,
      body: { hold_id: `hold_${id}_USD_1`, status: 'open', remaining: 500 },
    });
    expect(placed.body).toMatchObject({ expires_at: new Date(now.getTime() + 900_000).toISOString(), metadata });
    expect(await balances()).toEqual([1000, 500, 500]);
    const { items } = (await call('GET', '')).body;
    expect(items).toContainEqual(
      expect.objectContaining({ currency: 'USD', balance: 1000, held: 500, available: 500 }),
    );

    const captured = await call('POST', `/holds/${placed.body.hold_id}/capture`, { amount: 120 });
    expect(captured).toMatchObject({
      status: 200,
      body: {
        hold: { status: 'captured', captured: 120, released: 380, remaining: 0 },
        entry: { amount: 120, event_type: 'hold_captured', reason: 'A long answer', reference_object_id: 'job-1' },
        uncaptured: 0,
        wallet: { balance: 880, held: 0, available: 880 },
      },
    });
    const { entry_id } = captured.body.entry;
    expect((await call('GET', `/ledger-entries/${entry_id}`)).body.hold_id).toBe(placed.body.hold_id);
    const { body } = await call('GET', `/holds/${placed.body.hold_id}`);
    expect(body).toMatchObject({ status: 'captured', captures: [{ entry_id, amount: 120, beyond: 0 }] });
  });

  it('of a batch show their own times each, whatever the one before them shows', async () => {
    const { id } = await customerWith(100);
    const place = (key: string, seconds: number) => {
      const rest = { amount: 1, currency: 'USD', idempotency_key: key, expires_in_seconds: seconds };
      return { op: 'place', customer_id: id, ...rest };
    };
    const first = await app.call('POST', '/holds/batch', { operations: [place('t1', 60), place('t2', 90)] });
    const began = now;
    pass(5);
    const second = await app.call('POST', '/holds/batch', {
      operations: [place('t1', 60), place('t3', 60), place('t2', 90)],
    });
    const times = ({ body }: typeof first) =>
      body.items.map(({ hold }: { hold: Record<string, string> }) => [hold.created_at, hold.expires_at]);
    const from = (seconds: number) => new Date(began.getTime() + 1000 * seconds).toISOString();
    expect(times(first)).toEqual([
      [from(0), from(60)],
      [from(0), from(90)],
    ]);
    expect(times(second)).toEqual([
      [from(0), from(60)],
      [from(5), from(65)],
      [from(0), from(90)],
    ]);
  });

  it('tell a wallet of an earlier time without what was held then', async () => {
    const { call, place } = await customerWith(1000);
    await place(500, 'k');
    const { body } = await call('GET', `/USD?at=${now.toISOString()}`);
    expect(body).toMatchObject({ balance: 1000, version: 1 });
    expect(body).not.toHaveProperty('held');
    expect(body).not.toHaveProperty('available');
  });

  it('example 12: do nothing twice where a request is repeated, and show what the first one made', async () => {
    const { call, place, balances } = await customerWith(1000);
    const { body: hold } = await place(500, 'k');
    const again = await place(500, 'k');
    expect(again).toMatchObject({
      status: 409,
      body: { code: 'IDEMPOTENCY_KEY_EXISTS', hold: { hold_id: hold.hold_id } },
    });
    expect(again.headers.get('x-should-retry')).toBe('false');
    expect(await place(400, 'k')).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_KEY_REUSED' } });

    const part = { amount: 200, final: false, idempotency_key: 'part' };
    const capture = (body: object) => call('POST', `/holds/${hold.hold_id}/capture`, body);
    const first = await capture(part);
    expect(await capture(part)).toMatchObject({
      status: 409,
      body: { entry: { entry_id: first.body.entry.entry_id } },
    });
    expect(await capture({ ...part, amount: 100 })).toMatchObject({ status: 422 });
    // The keys of entries and those of captures are the same ones; the keys of holds are others.
    expect(
      (
        await call('POST', '/ledger-entries', {
          amount: 1,
          currency: 'USD',
          entry_type: 'debit',
          idempotency_key: 'part',
        })
      ).status,
    ).toBe(422);
    expect((await place(10, 'part')).status).toBe(200);
    expect(await capture({ amount: 300, final: false, idempotency_key: 'rest' })).toMatchObject({
      body: { hold: { status: 'captured', captured: 500 } },
    });
    expect(await capture({})).toMatchObject({
      status: 409,
      body: { code: 'HOLD_NOT_OPEN', hold: { status: 'captured' } },
    });
    expect(await balances()).toEqual([500, 10, 490]);
  });

  it.each([
    ['a hold without a key', 'POST', '/holds', { amount: 5, currency: 'USD' }, 'idempotency_key'],
    ['a hold of nothing', 'POST', '/holds', { amount: 0, currency: 'USD', idempotency_key: 'x' }, 'amount'],
    [
      'too short a life',
      'POST',
      '/holds',
      { amount: 5, currency: 'USD', idempotency_key: 'x', expires_in_seconds: 9 },
      'expires_in_seconds',
    ],
    ['part of a hold without a key', 'POST', '/capture', { amount: 5, final: false }, 'idempotency_key'],
    ['a late capture without a key', 'POST', '/capture', { late: 'debit' }, 'idempotency_key'],
    ['part of a hold that is nothing', 'POST', '/capture', { amount: 0, final: false, idempotency_key: 'x' }, 'amount'],
    ['an amount below what was captured', 'PATCH', '', { amount: 99 }, 'amount'],
    ['a change of nothing', 'PATCH', '', {}, 'amount'],
  ])('refuse %s with 422, which names the field', async (_, method, path, body, field) => {
    const { call, place } = await customerWith(1000);
    const { body: hold } = await place(500, 'k');
    const one = `/holds/${hold.hold_id}`;
    await call('POST', `${one}/capture`, { amount: 100, final: false, idempotency_key: 'c' });
    const answer = await call(method, path === '/holds' ? path : `${one}${path}`, body);
    expect(answer).toMatchObject({ status: 422, body: { code: 'INVALID_REQUEST_BODY' } });
    expect(answer.body.message).toMatch(new RegExp(`^${field}: `));
  });

  it('take the key from the header too', async () => {
    const { call } = await customerWith(100);
    const place = () => call('POST', '/holds', { amount: 5, currency: 'USD' }, { 'idempotency-key': 'h' });
    expect((await place()).status).toBe(200);
    expect((await place()).status).toBe(409);
  });

  it('end when they are over, though nothing but a read came', async () => {
    const { call, place, balances, entry } = await customerWith(1000);
    const { body: hold } = await place(900, 'k', { expires_in_seconds: 10 });
    expect(await entry('debit', 101)).toMatchObject({
      status: 400,
      body: { available: 100, required: 101, shortfall: 1 },
    });
    pass(10);
    const { body } = await call('GET', `/holds/${hold.hold_id}`);
    expect(body).toMatchObject({ status: 'expired', released: 900, closed_at: now.toISOString() });
    expect(await balances()).toEqual([1000, 0, 1000]);
    const late = { late: 'debit', amount: 300, idempotency_key: 'late' };
    expect(await call('POST', `/holds/${hold.hold_id}/capture`, late)).toMatchObject({
      body: { hold: { status: 'expired', captured: 0, beyond: 300 }, entry: { amount: 300 } },
    });
    expect((await call('GET', `/holds/${hold.hold_id}`)).body.captures).toMatchObject([{ amount: 300, beyond: 300 }]);
    expect(await call('POST', `/holds/${hold.hold_id}/release`)).toMatchObject({ status: 200, body: { beyond: 300 } });
  });

  it('are released with a reason, changed, and listed newest first', async () => {
    const { call, place, balances } = await customerWith(1000);
    const ids: string[] = [];
    for (const key of ['a', 'b', 'c', 'd', 'e']) ids.push((await place(100, key)).body.hold_id);
    expect(await call('POST', `/holds/${ids[1]}/release`, { reason: 'cancelled' })).toMatchObject({
      body: { status: 'released', release_reason: 'cancelled', released: 100 },
    });
    const change = (body: object) => call('PATCH', `/holds/${ids[2]}`, body);
    const facts = { code: 'INSUFFICIENT_WALLET_FUNDS', available: 600, required: 601, shortfall: 1 };
    expect(await change({ amount: 701 })).toMatchObject({ status: 400, body: facts });
    const changed = { amount: 700, remaining: 700, expires_at: new Date(now.getTime() + 60_000).toISOString() };
    expect(await change({ amount: 700, expires_in_seconds: 60 })).toMatchObject({ status: 200, body: changed });
    expect(await balances()).toEqual([1000, 1000, 0]);
    const listed = async (query: string) =>
      (await call('GET', `/holds${query}`)).body.items.map((one: { hold_id: string }) => ids.indexOf(one.hold_id) + 1);
    expect(await listed('')).toEqual([5, 4, 3, 2, 1]);
    expect(await listed('?page_size=2&page_number=1')).toEqual([3, 2]);
    expect(await listed('?currency=USD&before_no=3')).toEqual([2, 1]);
    expect(await listed('?status=released')).toEqual([2]);
    expect(await listed('?status=open&currency=USD')).toEqual([5, 4, 3, 1]);
    expect((await call('GET', '/holds?before_no=3')).status).toBe(400);
    // Of all wallets, and of those of a status alone: a page that is full says where the next one begins.
    const first = (await call('GET', '/holds?page_size=2')).body;
    expect(first.next_cursor).toBe('USD.4');
    expect(await listed(`?page_size=3&cursor=${first.next_cursor}`)).toEqual([3, 2, 1]);
    expect((await call('GET', '/holds?page_size=10')).body).not.toHaveProperty('next_cursor');
    expect(await listed('?status=open&cursor=USD.3&currency=USD')).toEqual([1]);
    expect(await listed('?cursor=USD.3&currency=EUR')).toEqual([]);
    for (const cursor of ['x', 'USD.0']) expect((await call('GET', `/holds?cursor=${cursor}`)).status).toBe(400);
  });

  it('of another customer, or of nobody, are not found', async () => {
    const mine = await customerWith(100);
    const other = await customerWith(100);
    const { body: hold } = await mine.place(10, 'k');
    for (const id of [hold.hold_id, 'hold_x_USD_1', `hold_${other.id}_USD_7`]) {
      for (const [method, path] of [
        ['GET', ''],
        ['POST', '/capture'],
        ['POST', '/release'],
      ] as const) {
        const answer = await other.call(method, `/holds/${id}${path}`, method === 'GET' ? undefined : {});
        expect(answer).toMatchObject({ status: 404, body: { code: 'HOLD_NOT_FOUND' } });
      }
    }
    expect(await app.call('GET', '/customers/cus_nobody/wallets/holds')).toMatchObject({
      status: 404,
      body: { code: 'CUSTOMER_NOT_FOUND' },
    });
    expect((await mine.balances())[1]).toBe(10);
  });
});

describe('POST /holds/batch', () => {
  const batch = (operations: readonly unknown[], headers?: Record<string, string>) =>
    app.call('POST', '/holds/batch', { operations }, headers);

  it('decides in its order, each operation by itself', async () => {
    const { id, place, balances } = await customerWith(1000);
    const { body: hold } = await place(600, 'h1');
    const other = await customerWith(50);
    const on = { customer_id: id };
    const { status, body } = await batch([
      { op: 'capture', ...on, hold_id: hold.hold_id, amount: 120 },
      { op: 'place', ...on, amount: 500, currency: 'USD', idempotency_key: 'h2' },
      { op: 'place', ...on, amount: 500, currency: 'USD', idempotency_key: 'h3' },
      { op: 'debit', customer_id: other.id, amount: 20, currency: 'USD' },
      { op: 'release', ...on, hold_id: `hold_${id}_USD_2`, reason: 'not needed' },
      { op: 'change', ...on, hold_id: 'hold_x', amount: 5 },
      { op: 'place', ...on, amount: 5, currency: 'USD' },
      { op: 'steal', ...on },
      'nonsense',
      { op: 'place', ...on, amount: 500, currency: 'USD', idempotency_key: 'h2' },
      { op: 'capture', ...on, hold_id: hold.hold_id },
    ]);
    expect(status).toBe(200);
    expect(body.items).toMatchObject([
      { status: 'done', entry: { amount: 120 }, uncaptured: 0, wallet: { balance: 880, held: 0 } },
      { status: 'done', hold: { hold_id: `hold_${id}_USD_2` }, wallet: { held: 500 } },
      { status: 'refused', code: 'INSUFFICIENT_WALLET_FUNDS', available: 380, required: 500 },
      { status: 'done', entry: { amount: 20, event_type: 'merchant_adjustment' }, wallet: { balance: 30 } },
      { status: 'done', hold: { status: 'released', release_reason: 'not needed' } },
      { status: 'refused', code: 'HOLD_NOT_FOUND' },
      { status: 'refused', code: 'INVALID_REQUEST_BODY', message: expect.stringContaining('idempotency_key: ') },
      { status: 'refused', code: 'INVALID_REQUEST_BODY' },
      { status: 'refused', code: 'INVALID_REQUEST_BODY' },
      { status: 'repeated', code: 'IDEMPOTENCY_KEY_EXISTS', hold: { status: 'released' } },
      { status: 'refused', code: 'HOLD_NOT_OPEN', hold: { status: 'captured' } },
    ]);
    expect(await balances()).toEqual([880, 0, 880]);
  });

  it('answers for the others where what came of one cannot be shown, since all is committed', async () => {
    const { id, balances } = await customerWith(1000);
    const all = LedgerBatches.prototype.all;
    vi.spyOn(LedgerBatches.prototype, 'all').mockImplementationOnce(async function (this: LedgerBatches, ...asked) {
      const [first, ...others] = await all.apply(this, asked);
      if (first?.status !== 'fulfilled' || first.value.kind !== 'placed') throw new Error('nothing was placed');
      const hold = { ...first.value.hold, createdAt: new Date(Number.NaN) };
      return [{ ...first, value: { ...first.value, hold } }, ...others];
    });
    const place = (key: string) => ({
      op: 'place',
      customer_id: id,
      amount: 100,
      currency: 'USD',
      idempotency_key: key,
    });
    const { status, body } = await batch([place('h1'), place('h2')]);
    expect(status).toBe(200);
    expect(body.items).toMatchObject([{ status: 'refused', code: 'INTERNAL_SERVER_ERROR' }, { status: 'done' }]);
    expect(await balances()).toEqual([1000, 200, 800]);
  });

  it('gives its own keys to operations without one, so that it is safe to repeat', async () => {
    const { id, balances } = await customerWith(1000);
    const operations = [
      { op: 'place', customer_id: id, amount: 100, currency: 'USD' },
      { op: 'debit', customer_id: id, amount: 7, currency: 'USD' },
      { op: 'capture', customer_id: id, hold_id: `hold_${id}_USD_1`, amount: 40, final: false },
    ];
    const header = { 'idempotency-key': 'night-1' };
    const statuses = async () =>
      (await batch(operations, header)).body.items.map((one: { status: string }) => one.status);
    expect(await statuses()).toEqual(['done', 'done', 'done']);
    expect(await statuses()).toEqual(['repeated', 'repeated', 'repeated']);
    expect(await balances()).toEqual([953, 60, 893]);
  });
});
