import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

const DAY = 86_400;
const later = (seconds: number) => new Date(now.getTime() + seconds * 1000);

/** The routes of a new customer's wallets, in USD. */
async function newCustomer() {
  const id = await app.newCustomer();
  const call = (method: string, path: string, body?: object, headers?: Record<string, string>) =>
    app.call(method, `/customers/${id}/wallets${path}`, body, headers);
  return {
    id,
    call,
    credit: (amount: number, more: object = {}) =>
      call('POST', '/ledger-entries', { amount, currency: 'USD', entry_type: 'credit', ...more }),
    debit: (amount: number) => call('POST', '/ledger-entries', { amount, currency: 'USD', entry_type: 'debit' }),
    lots: async (query = '') => (await call('GET', `/lots${query}`)).body.items,
  };
}

describe('lots by the API', () => {
  it('are given with terms, shown in the order in which they are spent, and told apart from the base', async () => {
    const { id, call, credit, debit, lots } = await newCustomer();
    expect((await credit(1000)).status).toBe(200);
    const soon = later(5 * DAY).toISOString();
    await credit(400, { kind: 'promo', name: 'Welcome', expires_in_days: 30 });
    await credit(300, { expires_at: soon });
    await credit(200, { priority: 10 });
    expect(await lots()).toMatchObject([
      { lot_id: `lot_${id}_USD_3`, kind: 'adjustment', priority: 10, expires_at: null, remaining: 200, status: 'open' },
      { lot_id: `lot_${id}_USD_2`, kind: 'adjustment', priority: 50, expires_at: soon },
      { lot_id: `lot_${id}_USD_1`, kind: 'promo', name: 'Welcome', expires_at: later(30 * DAY).toISOString() },
    ]);
    expect((await lots('?kind=promo')).length).toBe(1);
    expect(await lots(`?expires_before=${later(6 * DAY).toISOString()}`)).toMatchObject([{ expires_at: soon }]);
    expect(await lots('?page_size=1&page_number=1')).toMatchObject([{ expires_at: soon }]);
    expect((await call('GET', '/USD')).body).toMatchObject({
      ...{ balance: 1900, held: 0, available: 1900, base: 1000, in_lots: 900 },
      next_expiry: { at: soon, amount: 300 },
    });
    expect((await debit(1000)).body.balance).toBe(900);
    const { items } = (await call('GET', '/ledger-entries?page_size=1')).body;
    expect((await call('GET', `/ledger-entries/${items[0].entry_id}`)).body.lots).toEqual([
      { lot_id: `lot_${id}_USD_3`, amount: 200 },
      { lot_id: `lot_${id}_USD_2`, amount: 300 },
      { lot_id: `lot_${id}_USD_1`, amount: 400 },
      { lot_id: 'base', amount: 100 },
    ]);
    expect(await lots('?status=closed')).toMatchObject([
      { status: 'drained', spent: 200, remaining: 0 },
      { status: 'drained', spent: 300 },
      { status: 'drained', spent: 400 },
    ]);
    expect(await lots('?status=closed&currency=USD&before_no=3&page_size=1')).toMatchObject([{ spent: 300 }]);
    const first = (await call('GET', '/lots?status=closed&page_size=2')).body;
    expect(first.next_cursor).toBe('USD.2');
    expect(await lots(`?status=closed&page_size=2&cursor=${first.next_cursor}`)).toMatchObject([{ spent: 400 }]);
    expect((await call('GET', '/lots?cursor=USD.2')).body.message).toContain('it wants status=closed');
  });

  it('end exactly, whoever looks first', async () => {
    const { call, credit, debit, lots } = await newCustomer();
    await credit(300, { kind: 'promo', expires_in_days: 1 });
    now = later(DAY);
    expect(await lots()).toEqual([]);
    expect((await call('GET', '/USD')).body).toMatchObject({ balance: 0, in_lots: 0, next_expiry: null });
    expect((await debit(1)).body.code).toBe('INSUFFICIENT_WALLET_FUNDS');
    const [closed] = await lots('?status=closed');
    const { body } = await call('GET', `/lots/${closed.lot_id}`);
    expect(body).toMatchObject({ status: 'expired', expired: 300, movements: [{ amount: 300 }, { amount: -300 }] });
    expect((await call('GET', `/ledger-entries/${body.movements[1].entry_id}`)).body).toMatchObject({
      ...{ event_type: 'credit_expired', amount: 300, reference_object_id: closed.lot_id },
    });
  });

  it('are voided, once under a key, and not where nothing is left', async () => {
    const { call, credit, lots } = await newCustomer();
    await credit(500, { kind: 'promo' });
    const [{ lot_id }] = await lots();
    const part = { amount: 200, reason: 'Given by mistake', idempotency_key: 'void-1' };
    const voided = await call('POST', `/lots/${lot_id}/void`, part);
    expect(voided).toMatchObject({
      status: 200,
      body: {
        lot: { remaining: 300, voided: 200, status: 'open' },
        entry: { amount: 200, event_type: 'credit_voided', reason: 'Given by mistake', reference_object_id: lot_id },
        wallet: { balance: 300 },
      },
    });
    const again = await call('POST', `/lots/${lot_id}/void`, part);
    expect(again).toMatchObject({ status: 409, body: { entry: { entry_id: voided.body.entry.entry_id } } });
    expect((await call('POST', `/lots/${lot_id}/void`, { ...part, amount: 1 })).status).toBe(422);
    const rest = await call('POST', `/lots/${lot_id}/void`, { reason: 'all' }, { 'idempotency-key': 'void-2' });
    expect(rest.body).toMatchObject({ lot: { status: 'voided' }, wallet: { balance: 0 } });
    const over = { status: 409, body: { code: 'LOT_NOT_OPEN', lot: { status: 'voided' } } };
    expect(await call('POST', `/lots/${lot_id}/void`, { reason: 'more', idempotency_key: 'void-3' })).toMatchObject(
      over,
    );
    expect((await call('POST', `/lots/${lot_id}/void`, { reason: 'no key' })).status).toBe(422);
  });

  it('are changed, and keep who did it and why', async () => {
    const { call, credit, lots } = await newCustomer();
    await credit(500, { kind: 'promo', expires_in_days: 1 });
    const [{ lot_id, expires_at }] = await lots();
    const end = later(60 * DAY).toISOString();
    const wanted = { expires_at: end, priority: 20, reason: 'Asked for more time' };
    expect((await call('PATCH', `/lots/${lot_id}`, wanted)).body).toMatchObject({ expires_at: end, priority: 20 });
    expect((await call('PATCH', `/lots/${lot_id}`, { expires_at: null, reason: 'For good' })).status).toBe(200);
    expect((await call('GET', `/lots/${lot_id}`)).body.changes).toMatchObject([
      {
        ...{ actor: expect.stringMatching(/^key:key_/), reason: 'Asked for more time' },
        ...{ old_expires_at: expires_at, new_expires_at: end, old_priority: 50, new_priority: 20 },
      },
      { old_expires_at: end, new_expires_at: null, reason: 'For good' },
    ]);
    expect((await call('PATCH', `/lots/${lot_id}`, { reason: 'nothing' })).status).toBe(422);
    expect((await call('PATCH', `/lots/${lot_id}`, { expires_at: START.toISOString(), reason: 'x' })).body.code).toBe(
      'EXPIRY_IN_THE_PAST',
    );
  });

  it.each([
    ['an end that is past', { expires_at: START.toISOString() }, 422, 'EXPIRY_IN_THE_PAST'],
    ['paid credit that ends', { kind: 'paid', expires_in_days: 365 }, 422, 'PAID_CREDIT_CANNOT_EXPIRE'],
    ['two ends', { expires_at: '2030-01-01T00:00:00Z', expires_in_days: 3 }, 422, 'INVALID_REQUEST_BODY'],
    ['a kind without terms', { kind: 'adjustment' }, 422, 'INVALID_REQUEST_BODY'],
    ['a name without terms', { name: 'Gift' }, 422, 'INVALID_REQUEST_BODY'],
    ['a debit with terms', { kind: 'promo', entry_type: 'debit' }, 422, 'INVALID_REQUEST_BODY'],
    ['too many days', { expires_in_days: 3661 }, 422, 'INVALID_REQUEST_BODY'],
  ])('refuse %s', async (_, more, status, code) => {
    const { credit, call, id } = await newCustomer();
    now = later(1);
    expect(await credit(100, more)).toMatchObject({ status, body: { code } });
    const item = { customer_id: id, amount: 100, currency: 'USD', entry_type: 'credit', ...more };
    const { body } = await app.call('POST', '/ledger-entries/batch', { entries: [item] });
    expect(body.items).toMatchObject([{ status: 'refused', code }]);
    expect((await call('GET', '/USD')).body.balance).toBe(0);
  });

  it('are none of credit whose only term is the priority that it has anyway', async () => {
    const { credit, lots } = await newCustomer();
    expect((await credit(100, { priority: 50 })).status).toBe(200);
    expect(await lots()).toEqual([]);
  });

  it('that are over have ended in the list of entries too, though nothing else was asked', async () => {
    const { credit, call } = await newCustomer();
    await credit(300, { kind: 'promo', expires_in_days: 1 });
    const before = now;
    now = later(DAY);
    const { items } = (await call('GET', '/ledger-entries?page_size=1')).body;
    now = before;
    expect(items).toMatchObject([{ event_type: 'credit_expired', amount: 300, after_balance: 0 }]);
  });

  it('are found by their own customer alone', async () => {
    const { credit, lots } = await newCustomer();
    const other = await newCustomer();
    await credit(100, { kind: 'promo' });
    const [{ lot_id }] = await lots();
    expect((await other.call('GET', `/lots/${lot_id}`)).body.code).toBe('LOT_NOT_FOUND');
    expect((await other.call('GET', '/lots?before_no=1')).status).toBe(400);
    expect((await app.call('GET', '/customers/cus_nobody/wallets/lots')).body.code).toBe('CUSTOMER_NOT_FOUND');
  });

  it('are not opened before the release is closed, while other credit is given', async () => {
    const young = await startTestApp();
    await young.database.pool.query("update installation set lots_from = now() + interval '7 days'");
    const path = `/customers/${await young.newCustomer()}/wallets/ledger-entries`;
    const entry = { amount: 100, currency: 'USD', entry_type: 'credit' };
    expect((await young.call('POST', path, { ...entry, kind: 'promo' })).body.code).toBe('LOTS_NOT_YET');
    expect((await young.call('POST', path, entry)).status).toBe(200);
    await young.database.pool.query('update installation set lots_from = now()');
    expect((await young.call('POST', path, { ...entry, kind: 'promo' })).status).toBe(200);
    await young.close();
  });
});
