import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { DUE_CHECKOUTS } from '../../src/checkouts/expire.ts';
import { autocommit } from '../../src/db/transaction.ts';
import { amountCharged } from '../../src/ledger/checkouts/checkout.ts';
import { checkoutsByIds } from '../../src/ledger/checkouts/store.ts';
import { settleAllDue } from '../../src/schedules/due.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, SETTINGS } from '../support/ledger.ts';
import { stripePayment } from '../support/signing.ts';

const logger = createLogger('silent', 'test');
let now = new Date('2026-03-01T12:00:00Z');
const pass = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};
let app: TestApp;
let inbox: TestInbox;

beforeAll(async () => {
  app = await startTestApp({ clock: { now: () => now } });
  inbox = await startInbox(app.database, { sources: [testSource('stripe')], clock: { now: () => now } });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

/** What the job of a worker does. @returns how many ended */
const expire = (pool = app.database.pool) => {
  const { signal } = new AbortController();
  const services = { settings: SETTINGS, clock: { now: () => now }, onPosted: () => {}, signal, logger };
  return settleAllDue({ pool, ...services }, DUE_CHECKOUTS);
};

let keys = 0;
/** A customer with this balance in USD. */
async function shopper(balance = 0) {
  const id = await app.newCustomer();
  const call = (method: string, path: string, body?: object, headers?: Record<string, string>) =>
    app.call(method, `/customers/${id}${path}`, body, headers);
  const entry = (amount: number, entry_type: 'credit' | 'debit') =>
    call('POST', '/wallets/ledger-entries', { amount, currency: 'USD', entry_type });
  if (balance > 0) await entry(balance, 'credit');
  return {
    id,
    call,
    credit: (amount: number) => entry(amount, 'credit'),
    debit: (amount: number) => entry(amount, 'debit'),
    open: (total: number, more: object = {}) => {
      keys += 1;
      return call('POST', '/checkouts', { total, currency: 'USD', idempotency_key: `k${keys}`, ...more });
    },
    quote: (total: number, more: object = {}) => call('POST', '/checkouts/quote', { total, currency: 'USD', ...more }),
    one: async (checkoutId: string) => (await call('GET', `/checkouts/${checkoutId}`)).body,
    cancel: (checkoutId: string) => call('POST', `/checkouts/${checkoutId}/cancel`),
    collect: (checkoutId: string) => call('POST', `/checkouts/${checkoutId}/collect`),
    wallet: async () => {
      const { balance: left, held, available } = (await call('GET', '/wallets/USD')).body;
      return { balance: left, held, available };
    },
    entries: async () => {
      const { items } = (await call('GET', '/wallets/ledger-entries?page_size=100')).body;
      const own = items.filter((one: { event_type: string }) => one.event_type !== 'merchant_adjustment');
      return own.map((one: { amount: number; event_type: string }) => `${one.amount} ${one.event_type}`);
    },
    events: async () => {
      const { rows } = await app.database.pool.query<{ event: string }>(
        `select event_type || ' ' || (payload::jsonb -> 'data' ->> 'status') as event from unsent_message
         where payload::jsonb -> 'data' ->> 'customer_id' = $1 and event_type like 'checkout.%' order by since`,
        [id],
      );
      return rows.map(({ event }) => event);
    },
  };
}

/** The event of its payment comes, and is applied. */
async function pay(checkoutId: string): Promise<void> {
  const [checkout] = await checkoutsByIds(autocommit(app.database.pool), MERCHANT, [checkoutId]);
  if (checkout === undefined) throw new Error('no checkout');
  const metadata = { wallet_checkout_id: checkoutId };
  const amount = amountCharged(checkout);
  await inbox.play([
    stripePayment({ paymentId: `pi_${checkoutId}`, amount, currency: checkout.currency.toLowerCase(), metadata }),
  ]);
}

describe('checkouts', () => {
  it("example 1: the wallet's part is held, and the rest is to be paid with the checkout's metadata", async () => {
    const ada = await shopper(2000);
    const { status, body } = await ada.open(5000, { tax: 800, reference_object_id: 'order-1', metadata: { lamps: 2 } });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      ...{ status: 'open', total: 5000, tax: 800, wallet_part: 2000, payment_part: 3000, adjusted: 'none' },
      ...{ reference_object_id: 'order-1', metadata: { lamps: 2 } },
      // One of the app's providers sells in its own name.
      warnings: ['taxed_on_payment_alone'],
      payment: {
        ...{ amount: 3000, currency: 'USD', url: null, payment_id: null },
        metadata: { wallet_customer_id: ada.id, wallet_checkout_id: body.checkout_id },
      },
      expires_at: new Date(now.getTime() + 2_700_000).toISOString(),
    });
    expect(await ada.wallet()).toEqual({ balance: 2000, held: 2000, available: 0 });
    expect((await ada.call('GET', `/wallets/holds/${body.hold_id}`)).body).toMatchObject({
      ...{ kind: 'checkout', status: 'open', amount: 2000, idempotency_key: null },
    });
    expect((await ada.call('POST', `/wallets/holds/${body.hold_id}/release`)).body.code).toBe('HOLD_OWNED');
    await pay(body.checkout_id);
    expect(await ada.entries()).toEqual(['2000 hold_captured']);
    expect(await ada.one(body.checkout_id)).toMatchObject({ status: 'completed', captured: 2000, uncollected: 0 });
  });

  it('example 3: what the wallet can pay alone is completed at once, and told of', async () => {
    const ada = await shopper(2000);
    const { body } = await ada.open(1500);
    expect(body).toMatchObject({ status: 'completed', captured: 1500, payment_part: 0, payment: null, warnings: [] });
    expect(await ada.entries()).toEqual(['1500 hold_captured']);
    expect(await ada.wallet()).toEqual({ balance: 500, held: 0, available: 500 });
    expect(await ada.events()).toEqual(['checkout.completed completed']);
    expect(await expire()).toBe(0);
  });

  it('examples 2, 4 and 5: quotes and opens by what the provider charges at least', async () => {
    const ada = await shopper(4970);
    const reduced = { wallet_part: 4950, payment_part: 50, credit_bought: 0, adjusted: 'wallet_reduced' };
    expect((await ada.quote(5000)).body).toEqual({
      ...{ total: 5000, currency: 'USD', ...reduced, gateway_minimum: 50, warnings: ['taxed_on_payment_alone'] },
    });
    expect(await ada.wallet()).toMatchObject({ held: 0 });
    expect((await ada.open(5000)).body).toMatchObject(reduced);
    const bob = await shopper(10);
    const below = { minimum: 50, total: 40, available: 10, with_credit_purchase: 50 };
    for (const asked of [await bob.quote(40), await bob.open(40)]) {
      expect([asked.status, asked.body]).toEqual([
        400,
        expect.objectContaining({ code: 'BELOW_GATEWAY_MINIMUM', ...below }),
      ]);
    }
    expect((await bob.open(40, { allow_credit_purchase: true })).body).toMatchObject({
      ...{ wallet_part: 10, payment_part: 30, credit_bought: 20, payment: { amount: 50 } },
    });
    const eve = await shopper(30);
    expect((await eve.quote(60)).body).toMatchObject({ wallet_part: 10, payment_part: 50 });
    expect((await eve.quote(60, { gateway_minimum: 0 })).body).toMatchObject({ wallet_part: 30, payment_part: 30 });
    expect((await (await shopper()).quote(60)).body).toMatchObject({ wallet_part: 0, payment_part: 60 });
  });

  it('example 6: two at once never take more than there is', async () => {
    const ada = await shopper(2000);
    const both = await Promise.all([ada.open(1500), ada.open(1500)]);
    expect(both.map(({ body }) => `${body.status} ${body.wallet_part} ${body.payment_part}`).toSorted()).toEqual([
      'completed 1500 0',
      'open 500 1000',
    ]);
    expect(await ada.wallet()).toEqual({ balance: 500, held: 500, available: 0 });
  });

  it('example 7: what was not paid is available again when the page and 15 minutes are over, and told of once', async () => {
    const ada = await shopper(2000);
    const { body } = await ada.open(5000);
    const nothing = await ada.open(5000, { wallet: { use: 'none' } });
    expect(nothing.body).toMatchObject({ hold_id: null, wallet_part: 0 });
    pass(2699);
    expect(await expire()).toBe(0);
    pass(1);
    // Whoever asks first ends the hold.
    expect(await ada.wallet()).toEqual({ balance: 2000, held: 0, available: 2000 });
    expect(await ada.one(body.checkout_id)).toMatchObject({ status: 'open' });
    expect(await Promise.all([expire(), expire()])).toEqual(expect.arrayContaining([expect.any(Number)]));
    expect(await expire()).toBe(0);
    expect(await ada.one(body.checkout_id)).toMatchObject({ status: 'expired', captured: 0 });
    expect(await ada.events()).toEqual(['checkout.expired expired', 'checkout.expired expired']);
    const idle = await shopper(700);
    await idle.open(5000);
    pass(3000);
    await expire();
    expect(await idle.wallet()).toEqual({ balance: 700, held: 0, available: 700 });
  });

  it('example 8: what was paid late is short, and collected whole once it is there', async () => {
    const ada = await shopper(2000);
    const { checkout_id } = (await ada.open(5000)).body;
    pass(2700);
    await expire();
    await ada.debit(1200);
    await pay(checkout_id);
    expect(await ada.one(checkout_id)).toMatchObject({ status: 'short', captured: 800, uncollected: 1200 });
    const early = await ada.collect(checkout_id);
    expect([early.status, early.body.code]).toEqual([400, 'INSUFFICIENT_WALLET_FUNDS']);
    await ada.credit(1500);
    await ada.call('PUT', '/wallets/USD/status', { status: 'frozen', reason: 'why' });
    expect((await ada.collect(checkout_id)).body).toMatchObject({
      ...{ status: 'completed', captured: 2000, uncollected: 0, completed_at: now.toISOString() },
    });
    expect(await ada.entries()).toEqual(['1200 hold_captured', '800 hold_captured']);
    expect(await ada.events()).toEqual([
      'checkout.expired expired',
      'checkout.short short',
      'checkout.completed completed',
    ]);
    const again = await ada.collect(checkout_id);
    expect([again.status, again.body.code, again.body.checkout.status]).toEqual([
      409,
      'CHECKOUT_NOT_OPEN',
      'completed',
    ]);
  });

  it('is not collected once a part of the purchase went back', async () => {
    const ada = await shopper(2000);
    const { checkout_id } = (await ada.open(5000)).body;
    pass(2700);
    await expire();
    await ada.debit(1200);
    await pay(checkout_id);
    await ada.credit(1500);
    const { pool } = app.database;
    await pool.query('update checkout set payment_refunded = 5 where checkout_id = $1', [checkout_id]);
    expect((await ada.collect(checkout_id)).body.code).toBe('CHECKOUT_NOT_OPEN');
    await pool.query('update checkout set payment_refunded = 0 where checkout_id = $1', [checkout_id]);
    const both = await Promise.all([ada.collect(checkout_id), ada.collect(checkout_id)]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    expect(await ada.wallet()).toMatchObject({ balance: 300 });
  });

  it('example 15: cancelled, it is paid in a page that is still open, and completed', async () => {
    const ada = await shopper(2000);
    const { checkout_id } = (await ada.open(5000)).body;
    const first = await ada.cancel(checkout_id);
    const second = await ada.cancel(checkout_id);
    expect([first.body.status, second.status, second.body]).toEqual(['cancelled', 200, first.body]);
    expect(await ada.wallet()).toEqual({ balance: 2000, held: 0, available: 2000 });
    pass(4000);
    expect(await expire()).toBe(0);
    await pay(checkout_id);
    expect(await ada.one(checkout_id)).toMatchObject({ status: 'completed', captured: 2000 });
    const third = await ada.cancel(checkout_id);
    expect([third.status, third.body.code]).toEqual([409, 'CHECKOUT_NOT_OPEN']);
    const none = (await ada.open(5000, { wallet: { use: 'none' } })).body;
    expect((await ada.cancel(none.checkout_id)).body.status).toBe('cancelled');
  });

  it('answers a repeated key with what it opened, and refuses it with other input', async () => {
    const ada = await shopper(2000);
    const asked = { idempotency_key: 'order-9', metadata: { a: 1, b: 2 } };
    const { checkout_id } = (await ada.open(5000, asked)).body;
    const again = await ada.open(5000, { ...asked, metadata: { b: 2, a: 1 } });
    expect([again.status, again.body.code, again.body.checkout.checkout_id]).toEqual([
      409,
      'IDEMPOTENCY_KEY_EXISTS',
      checkout_id,
    ]);
    for (const other of [{ metadata: { a: 1 } }, { tax: 1 }, { currency: 'INR' }, { amount_check: 'at_least' }]) {
      expect((await ada.open(5000, { ...asked, ...other })).body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    }
    expect((await ada.open(4999, asked)).body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    // Another customer's keys are others.
    expect((await (await shopper()).open(5000, asked)).status).toBe(200);
    expect(await ada.wallet()).toMatchObject({ held: 2000 });
  });

  it.each<[string, object, string]>([
    ['no key', { idempotency_key: null }, 'INVALID_REQUEST_BODY'],
    ['nothing to pay', { total: 0 }, 'INVALID_REQUEST_BODY'],
    ['all of a wallet that is not used', { wallet: { use: 'none', require_full: true } }, 'INVALID_REQUEST_BODY'],
    ['all, and less than all', { wallet: { max: 10, require_full: true } }, 'INVALID_REQUEST_BODY'],
    ['too short a time', { expires_in_seconds: 299 }, 'INVALID_REQUEST_BODY'],
    ['a currency without wallets', { currency: 'XXX' }, 'UNSUPPORTED_CURRENCY'],
    ['more than the wallet has', { wallet: { require_full: true } }, 'INSUFFICIENT_WALLET_FUNDS'],
    [
      'a page of nobody',
      { session: { source_id: 'src_none', success_url: 'https://a.example' } },
      'CHARGING_NOT_CONFIGURED',
    ],
    [
      'a page without a charge key',
      { session: { source_id: 'src_stripe', success_url: 'https://a.example' } },
      'CHARGING_NOT_CONFIGURED',
    ],
  ])('refuses %s', async (_, wrong, code) => {
    const ada = await shopper(100);
    expect((await ada.open(5000, wrong)).body.code).toBe(code);
    expect(await ada.wallet()).toMatchObject({ held: 0 });
  });

  it('lists by status and page, and shows nothing of another customer', async () => {
    const ada = await shopper(2000);
    const ids: string[] = [];
    for (const total of [3000, 100, 4000]) ids.push((await ada.open(total)).body.checkout_id);
    await ada.cancel(ids[2] ?? '');
    const page = async (query: string) =>
      (await ada.call('GET', `/checkouts?${query}`)).body.items.map((one: { checkout_id: string }) => one.checkout_id);
    expect(await page('page_size=2')).toEqual([ids[2], ids[1]]);
    expect(await page('page_size=2&page_number=1')).toEqual([ids[0]]);
    expect(await page(`before_id=${ids[1]}`)).toEqual([ids[0]]);
    expect(await page('status=cancelled')).toEqual([ids[2]]);
    expect(await page('currency=INR')).toEqual([]);
    const bob = await shopper();
    for (const path of [`/checkouts/${ids[0]}`, `/checkouts/${ids[0]}/cancel`, `/checkouts/${ids[0]}/collect`]) {
      const method = path.endsWith(ids[0] ?? '') ? 'GET' : 'POST';
      expect((await bob.call(method, path)).body.code).toBe('CHECKOUT_NOT_FOUND');
    }
    expect((await app.call('GET', '/customers/cus_none/checkouts')).body.code).toBe('CUSTOMER_NOT_FOUND');
    expect(
      (await app.call('POST', '/customers/cus_none/checkouts/quote', { total: 1, currency: 'USD' })).body.code,
    ).toBe('CUSTOMER_NOT_FOUND');
  });

  it('says what a frozen wallet means, and that who sells in its own name taxes only what it charges', async () => {
    const ada = await shopper(2000);
    await ada.call('PUT', '/wallets/USD/status', { status: 'frozen', reason: 'why' });
    expect((await ada.quote(5000)).body).toMatchObject({ wallet_part: 0, warnings: ['wallet_frozen'] });
    expect((await ada.quote(1500, { wallet: { require_full: true } })).body.code).toBe('WALLET_FROZEN');
    expect((await ada.open(5000)).body).toMatchObject({ wallet_part: 0, warnings: ['wallet_frozen'] });
  });

  it('leaves a checkout whose wallet is locked to the next run, and ends the others', async () => {
    const [ada, bob] = [await shopper(2000), await shopper(2000)];
    const opened = [(await ada.open(5000)).body, (await bob.open(5000)).body];
    pass(2700);
    const client = await app.database.pool.connect();
    await client.query('begin');
    await client.query("select 1 from wallet where merchant_id = 'bus_default' and customer_id = $1 for update", [
      ada.id,
    ]);
    await expire();
    await client.query('rollback');
    client.release();
    const states = async () => Promise.all([ada.one(opened[0].checkout_id), bob.one(opened[1].checkout_id)]);
    expect((await states()).map(({ status }) => status)).toEqual(['open', 'expired']);
    pass(601);
    await expire();
    expect((await states()).map(({ status }) => status)).toEqual(['expired', 'expired']);
  });

  it('is audited', async () => {
    const ada = await shopper(2000);
    const [one, other] = [
      (await ada.open(3000)).body.checkout_id,
      (await ada.open(500, { wallet: { use: 'none' } })).body,
    ];
    const { pool } = app.database;
    const found = async (sql: string, undo: string) => {
      await pool.query(sql, [one]);
      const rules = (await audit(autocommit(pool), { rule: null, now })).disagreements.map(({ rule }) => rule);
      await pool.query(undo, [one]);
      return [...new Set(rules)].filter((rule) => !rule.startsWith('10e'));
    };
    expect(
      await found(
        "update checkout set expires_at = (expires_at at time zone 'UTC' + interval '1 second') at time zone 'UTC' where checkout_id = $1",
        "update checkout set expires_at = (expires_at at time zone 'UTC' - interval '1 second') at time zone 'UTC' where checkout_id = $1",
      ),
    ).toEqual([
      '10a checkouts: one that is open holds its part of the wallet, and no other does',
      '10a checkouts: those that are open are on the list of those that end',
    ]);
    const cancelled = await found(
      "update checkout set state = 'cancelled' where checkout_id = $1",
      "update checkout set state = 'open' where checkout_id = $1",
    );
    expect(cancelled).toEqual([
      '10a checkouts: one that is open holds its part of the wallet, and no other does',
      '10a checkouts: a hold of a checkout is of one that is open',
      '10a checkouts: those that are open are on the list of those that end',
    ]);
    const [paid] = (await ada.call('GET', '/checkouts?status=completed')).body.items;
    expect(paid).toBeUndefined();
    expect(other.status).toBe('open');
    pass(2700 + 3601);
    const late = (await audit(autocommit(pool), { rule: null, now })).disagreements.map(({ rule }) => rule);
    expect(late).toContain('10a checkouts: none is open long after its end');
    await expire();
    await ada.credit(1);
    const done = (await ada.open(1)).body;
    const captured = (by: number) =>
      `update checkout set captured = captured + ${by}, uncollected = uncollected - ${by}, state = case when ${by} < 0 then 'short' else 'completed' end,
         completed_at = case when ${by} < 0 then null else created_at end where checkout_id = '${done.checkout_id}' and $1 <> ''`;
    expect(await found(captured(-1), captured(1))).toEqual([
      '10b checkouts: what was captured is entries, and what was not is uncollected',
    ]);
  });

  it('loses its texts with its customer', async () => {
    const ada = await shopper(2000);
    const { checkout_id } = (await ada.open(5000, { reason: 'For Ada', metadata: { name: 'Ada' } })).body;
    await app.call('POST', `/customers/${ada.id}/anonymise`, { reasons: true });
    const [checkout] = await checkoutsByIds(autocommit(app.database.pool), MERCHANT, [checkout_id]);
    expect([checkout?.reason, checkout?.metadata]).toEqual([null, null]);
  });
});
