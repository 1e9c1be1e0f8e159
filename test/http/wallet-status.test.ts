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

/** The routes of a new customer's wallets, in USD. */
async function newCustomer() {
  const id = await app.newCustomer();
  const call = (method: string, path: string, body?: object) =>
    app.call(method, `/customers/${id}/wallets${path}`, body);
  const post = (amount: number, entry_type: string, more: object) =>
    call('POST', '/ledger-entries', { amount, currency: 'USD', entry_type, ...more });
  return {
    id,
    call,
    credit: (amount: number, more: object = {}) => post(amount, 'credit', more),
    debit: (amount: number, more: object = {}) => post(amount, 'debit', more),
    hold: (amount: number, idempotency_key: string) =>
      call('POST', '/holds', { amount, currency: 'USD', idempotency_key }),
    set: (status: string, more: object = {}) => call('PUT', '/USD/status', { status, reason: 'why', ...more }),
    status: async () => (await call('GET', '/USD/status')).body,
  };
}

describe('the status of a wallet by the API', () => {
  it('example: balance 500, frozen: debit 1 → 409, top-up 1000 → 1500, hold of 200 placed before: capture 200 ok; unfrozen: debit ok; close at 1: 409 `left: 1`', async () => {
    const { call, credit, debit, hold, set } = await newCustomer();
    await credit(500);
    const { hold_id } = (await hold(200, 'before')).body;
    expect((await set('frozen')).body).toMatchObject({ status: 'frozen', pause_expiry: false });
    expect(await debit(1)).toMatchObject({ status: 409, body: { code: 'WALLET_FROZEN' } });
    expect((await credit(1000)).body).toMatchObject({ balance: 1500, status: 'frozen' });
    expect(await call('POST', `/holds/${hold_id}/capture`, { amount: 200 })).toMatchObject({
      status: 200,
      body: { wallet: { balance: 1300, status: 'frozen' } },
    });
    await set('active');
    expect(await debit(1299)).toMatchObject({ status: 200, body: { balance: 1, status: 'active' } });
    expect(await set('closed')).toMatchObject({
      status: 409,
      body: { code: 'WALLET_NOT_EMPTY', left: 1, held: 0, open_holds: 0 },
    });
  });

  it('says who changed it and why, and is changed once, however often that is asked', async () => {
    const { call, set, status } = await newCustomer();
    const never = { status: 'active', pause_expiry: false, reason: null, actor: null, changed_at: null };
    expect(await status()).toMatchObject({ ...never, changes: [] });
    const first = await set('frozen', { reason: 'Looks like fraud' });
    expect(await set('frozen', { reason: 'again' })).toEqual({ ...first, headers: expect.anything() });
    expect(await status()).toMatchObject({
      ...{ status: 'frozen', reason: 'Looks like fraud', actor: expect.stringMatching(/^key:/) },
      ...{ changed_at: now.toISOString() },
      changes: [{ change_no: 1, status: 'frozen', previous_status: 'active' }],
    });
    expect((await call('GET', '/USD')).body.status).toBe('frozen');
    expect((await call('GET', '/INR')).body.status).toBe('active');
    expect((await call('GET', `/USD?at=${now.toISOString()}`)).body).not.toHaveProperty('status');
  });

  it('wants a reason, a status there is, and a pause of a frozen wallet alone', async () => {
    const { id, call, set } = await newCustomer();
    const bad = { status: 422, body: { code: 'INVALID_REQUEST_BODY' } };
    expect(await call('PUT', '/USD/status', { status: 'frozen' })).toMatchObject(bad);
    expect(await set('asleep')).toMatchObject(bad);
    expect(await set('active', { pause_expiry: true })).toMatchObject(bad);
    expect(await call('PUT', '/EUR/status', { status: 'frozen', reason: 'why' })).toMatchObject({
      body: { code: 'UNSUPPORTED_CURRENCY' },
    });
    const nobody = id.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
    expect(
      await app.call('PUT', `/customers/${nobody}/wallets/USD/status`, { status: 'frozen', reason: 'why' }),
    ).toMatchObject({ status: 404, body: { code: 'CUSTOMER_NOT_FOUND' } });
  });

  it('is heeded in batches, entry by entry, and a repeat of an old key is answered with its entry', async () => {
    const { id, debit, credit, hold, set } = await newCustomer();
    await credit(500);
    const old = { idempotency_key: 'old' };
    await debit(10, old);
    await hold(5, 'held');
    await set('frozen');
    expect(await debit(10, old)).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_KEY_EXISTS' } });
    expect(await hold(5, 'held')).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_KEY_EXISTS' } });
    const entry = { customer_id: id, currency: 'USD', amount: 1 };
    const entries = [
      { ...entry, entry_type: 'debit', idempotency_key: 'a' },
      { ...entry, entry_type: 'credit', idempotency_key: 'b' },
    ];
    const posted = await app.call('POST', '/ledger-entries/batch', { entries });
    expect(posted.body.items).toMatchObject([{ code: 'WALLET_FROZEN' }, { status: 'created' }]);
    const operations = [
      { op: 'place', ...entry, idempotency_key: 'c' },
      { op: 'debit', ...entry, idempotency_key: 'd' },
    ];
    const held = await app.call('POST', '/holds/batch', { operations });
    expect(held.body.items).toMatchObject([{ code: 'WALLET_FROZEN' }, { code: 'WALLET_FROZEN' }]);
  });

  it('closed, refuses credit too, and can be active again', async () => {
    const { credit, debit, set } = await newCustomer();
    await set('closed');
    expect(await credit(1)).toMatchObject({ status: 409, body: { code: 'WALLET_CLOSED' } });
    expect(await debit(1)).toMatchObject({ status: 409, body: { code: 'WALLET_CLOSED' } });
    await set('active');
    expect((await credit(1)).status).toBe(200);
  });

  it('names no next expiry of credit that is paused, and shows the change of its end afterwards', async () => {
    const { call, credit, set } = await newCustomer();
    await credit(300, { kind: 'promo', expires_in_days: 10 });
    await set('frozen', { pause_expiry: true });
    const before = now;
    now = new Date(now.getTime() + 20 * 86_400_000);
    expect((await call('GET', '/USD')).body).toMatchObject({ balance: 300, in_lots: 300, next_expiry: null });
    await set('active');
    const end = new Date(before.getTime() + 30 * 86_400_000).toISOString();
    expect((await call('GET', '/USD')).body.next_expiry).toEqual({ at: end, amount: 300 });
    const [lot] = (await call('GET', '/lots')).body.items;
    expect((await call('GET', `/lots/${lot.lot_id}`)).body.changes).toMatchObject([{ new_expires_at: end }]);
  });

  it('is not closed while a checkout is open that the wallet pays nothing of, or a top-up is under way', async () => {
    const { id, set } = await newCustomer();
    const { pool } = app.database;
    await pool.query(
      `insert into topup (merchant_id, customer_id, currency, topup_id, origin, state, amount, source_id, is_late, look_at, created_at)
       values ('bus_default', $1, 'USD', 'top_' || lpad('1', 26, '0'), 'manual', 'requested', 5, 'src_stripe', false, now(), now())`,
      [id],
    );
    const opened = await app.call('POST', `/customers/${id}/checkouts`, {
      ...{ total: 5000, currency: 'USD', idempotency_key: 'order' },
    });
    expect(opened.body).toMatchObject({ wallet_part: 0, status: 'open' });
    const closed = () => set('closed', { reason: 'Left us' });
    const left = { code: 'WALLET_NOT_EMPTY', left: 0, open_holds: 0 };
    expect((await closed()).body).toMatchObject({ ...left, open_checkouts: 1, topups_under_way: 1 });
    await pool.query(
      "update topup set state = 'expired', reason = 'not_acted_on', settled_at = now(), look_at = null where customer_id = $1",
      [id],
    );
    expect((await closed()).body).toMatchObject({ ...left, open_checkouts: 1, topups_under_way: 0 });
    await app.call('POST', `/customers/${id}/checkouts/${opened.body.checkout_id}/cancel`);
    expect((await closed()).body).toMatchObject({ status: 'closed' });
  });

  it('is not changed while a process of a release that knows of none may run', async () => {
    const { set } = await newCustomer();
    await app.database.pool.query("update installation set statuses_from = now() + interval '7 days'");
    expect(await set('frozen')).toMatchObject({ status: 503, body: { code: 'STATUSES_NOT_YET' } });
    await app.database.pool.query('update installation set statuses_from = now()');
    expect((await set('frozen')).status).toBe(200);
  });
});
