import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree } from '../support/ledger.ts';
import { stripePayment, stripeRefund } from '../support/signing.ts';

/** What merchants return of a purchase by the API, beside what its payment's events do. */

const source = testSource('stripe');
let app: TestApp;
let inbox: TestInbox;

beforeAll(async () => {
  app = await startTestApp();
  inbox = await startInbox(app.database, { sources: [source] });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

let count = 0;
/** A customer with this balance in USD, who opens a checkout. */
async function shopper(balance: number, total: number, more: object = {}, terms: object = {}) {
  count += 1;
  const id = await app.newCustomer();
  const call = (method: string, path: string, body?: object) => app.call(method, `/customers/${id}${path}`, body);
  await call('POST', '/wallets/ledger-entries', { amount: balance, currency: 'USD', entry_type: 'credit', ...terms });
  const opened = await call('POST', '/checkouts', {
    total,
    currency: 'USD',
    idempotency_key: `order-${count}`,
    ...more,
  });
  const { checkout_id: checkoutId, payment } = opened.body;
  const paymentId = `pi_refunds${count}`;
  const one = `/checkouts/${checkoutId}`;
  return {
    ...{ id, call, checkoutId, paymentId },
    one: async () => (await call('GET', one)).body,
    refund: (amount: number, key: string, reason?: string) =>
      call('POST', `${one}/refund`, { amount, idempotency_key: key, ...(reason === undefined ? {} : { reason }) }),
    paid: (amount = payment.amount) =>
      stripePayment({ paymentId, amount, currency: 'usd', metadata: payment.metadata }),
    refunded: (amount: number) =>
      stripeRefund({ paymentId, refundId: `re_${paymentId}`, amount, currency: 'usd', status: 'succeeded' }),
    balance: async () => (await call('GET', '/wallets/USD')).body.balance,
  };
}

describe('returning a purchase by the API', () => {
  it('example 12: of one that the wallet paid alone, up to what it paid, once under a key', async () => {
    const one = await shopper(2000, 1500);
    const tooMuch = await one.refund(1600, 'back-1');
    expect([tooMuch.status, tooMuch.body.code, tooMuch.body.refundable]).toEqual([400, 'REFUND_EXCEEDS_PAID', 1500]);
    const done = await one.refund(1500, 'back-1', 'Sent back');
    expect(done.status).toBe(200);
    expect(done.body).toMatchObject({
      checkout: { status: 'completed', wallet_returned: 1500, over_refunded: false },
      entry: {
        amount: 1500,
        is_credit: true,
        event_type: 'checkout_refunded',
        reason: 'Sent back',
        reference_object_id: one.checkoutId,
      },
      wallet: { balance: 2000 },
    });
    const again = await one.refund(1500, 'back-1', 'Sent back');
    expect([again.status, again.body.code, again.body.entry.id]).toEqual([
      409,
      'IDEMPOTENCY_KEY_EXISTS',
      done.body.entry.id,
    ]);
    expect((await one.refund(1, 'back-1')).body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect((await one.refund(1, 'back-2')).body).toMatchObject({ code: 'REFUND_EXCEEDS_PAID', refundable: 0 });
    expect(await one.balance()).toBe(2000);
  });

  it('example 13: by hand gives store credit for all of it, and a refund at the provider beside it is flagged', async () => {
    const one = await shopper(2000, 5000, { wallet_refunds: 'manual' });
    expect((await one.refund(1, 'early')).body).toMatchObject({ code: 'REFUND_EXCEEDS_PAID', refundable: 0 });
    await inbox.play([one.paid()]);
    expect((await one.refund(5000, 'all')).body).toMatchObject({
      checkout: { wallet_returned: 5000, over_refunded: false },
    });
    expect(await one.balance()).toBe(5000);
    await inbox.play([one.refunded(3000)]);
    expect(await one.one()).toMatchObject({ wallet_returned: 5000, payment_refunded: 3000, over_refunded: true });
    expect(await one.balance()).toBe(5000);
    expect((await one.refund(1, 'more')).body).toMatchObject({ code: 'REFUND_EXCEEDS_PAID', refundable: 0 });
  });

  it('counts what the provider refunded first', async () => {
    const one = await shopper(2000, 5000, { wallet_refunds: 'manual' });
    await inbox.play([one.paid(), one.refunded(1000)]);
    expect((await one.refund(4001, 'all')).body).toMatchObject({ code: 'REFUND_EXCEEDS_PAID', refundable: 4000 });
    expect((await one.refund(4000, 'all')).body.checkout).toMatchObject({
      wallet_returned: 4000,
      over_refunded: false,
    });
  });

  it('is refused where refunds of the payment do it', async () => {
    const one = await shopper(2000, 5000);
    expect((await one.refund(1, 'a')).body.code).toBe('REFUNDS_ARE_PROPORTIONAL');
    await inbox.play([one.paid()]);
    const answer = await one.refund(1, 'a');
    expect([answer.status, answer.body.code]).toEqual([409, 'REFUNDS_ARE_PROPORTIONAL']);
  });

  it('goes back to the lots it was taken from, in as many parts as it may be', async () => {
    const one = await shopper(1000, 800, {}, { kind: 'promo' });
    const lots = async () => {
      const { base, in_lots } = (await one.call('GET', '/wallets/USD')).body;
      return { base, in_lots };
    };
    expect(await lots()).toEqual({ base: 0, in_lots: 200 });
    for (const key of ['a', 'b', 'c', 'd']) await one.refund(200, key);
    expect(await lots()).toEqual({ base: 0, in_lots: 1000 });
  });

  it('under one key by many at once returns once', async () => {
    const one = await shopper(2000, 1500);
    const answers = await Promise.all(Array.from({ length: 8 }, () => one.refund(1000, 'race')));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409, 409, 409, 409, 409, 409]);
    expect(await one.balance()).toBe(1500);
    const others = await Promise.all(Array.from({ length: 4 }, (_, index) => one.refund(400, `race-${index}`)));
    expect(others.map(({ status }) => status).toSorted()).toEqual([200, 400, 400, 400]);
    expect(await one.balance()).toBe(1900);
  });

  it('of another customer’s checkout is none', async () => {
    const [one, other] = [await shopper(2000, 1500), await shopper(2000, 1500)];
    const answer = await other.call('POST', `/checkouts/${one.checkoutId}/refund`, { amount: 1, idempotency_key: 'x' });
    expect([answer.status, answer.body.code]).toEqual([404, 'CHECKOUT_NOT_FOUND']);
  });
});

describe('a payment that was short', () => {
  it('example 8: is collected later, all of it or nothing', async () => {
    const one = await shopper(2000, 5000);
    await one.call('POST', `/checkouts/${one.checkoutId}/cancel`);
    await one.call('POST', '/wallets/ledger-entries', { amount: 1200, currency: 'USD', entry_type: 'debit' });
    await inbox.play([one.paid()]);
    expect(await one.one()).toMatchObject({ status: 'short', captured: 800, uncollected: 1200 });
    await one.call('POST', '/wallets/ledger-entries', { amount: 1500, currency: 'USD', entry_type: 'credit' });
    const collected = await one.call('POST', `/checkouts/${one.checkoutId}/collect`);
    expect(collected.body).toMatchObject({ status: 'completed', captured: 2000, uncollected: 0 });
    expect(await one.balance()).toBe(300);
    // What was collected goes back too.
    await inbox.play([one.refunded(3000)]);
    expect(await one.balance()).toBe(2300);
    expect(await one.one()).toMatchObject({ wallet_returned: 2000 });
  });
});

describe('another amount than agreed', () => {
  it('completes by a replay that takes it', async () => {
    const one = await shopper(2000, 5000);
    await inbox.play([one.paid(2900)]);
    const [event] = (await app.call('GET', '/events?status=parked')).body.items;
    expect(event).toMatchObject({ reason: 'checkout_mismatch', payment_id: one.paymentId });
    const replayed = await app.call('POST', `/events/${event.event_id}/replay`, { accept_amount: true });
    expect([replayed.status, replayed.body.status]).toEqual([200, 'pending']);
    await inbox.settled();
    expect(await one.one()).toMatchObject({
      status: 'completed',
      captured: 2000,
      payment: { payment_id: one.paymentId },
    });
  });
});
