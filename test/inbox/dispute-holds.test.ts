import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { liftHold } from '../../src/inbox/lift-hold.ts';
import { settleHolds } from '../../src/inbox/settle-holds.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT } from '../support/ledger.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';

/** What open disputes hold, from a provider's events to the wallet that the API shows. */

let app: TestApp;
let inbox: TestInbox;
const stripe = testSource('stripe');
const recording = testSource('stripe', { sourceId: 'src_record', disputes: 'record' });

beforeAll(async () => {
  app = await startTestApp();
  inbox = await startInbox(app.database, { sources: [stripe, recording] });
});
afterAll(async () => {
  await inbox.stop();
  await expectBooksToAgree(app.database.pool);
  await app.close();
});

let number = 0;
const newId = () => {
  number += 1;
  return `pi_dispute${number}`;
};

const paid = (paymentId: string, customerId: string, amount: number) =>
  stripePaymentSucceeded({ paymentId, amount, currency: 'usd', metadata: { wallet_customer_id: customerId } });
const dispute = (paymentId: string, amount: number, status: 'needs_response' | 'lost' | 'won') =>
  stripeDispute({
    ...{ type: status === 'needs_response' ? 'created' : 'closed', paymentId, disputeId: `du_${paymentId}` },
    ...{ amount, currency: 'usd', status },
  });
const refunded = (paymentId: string, amount: number) =>
  stripeRefund({ paymentId, refundId: `re_${paymentId}`, amount, currency: 'usd', status: 'succeeded' });
const spend = (customerId: string, amount: number) =>
  app.call('POST', `/customers/${customerId}/wallets/ledger-entries`, { amount, currency: 'USD', entry_type: 'debit' });
const walletOf = async (customerId: string) => {
  const { body } = await app.call('GET', `/customers/${customerId}/wallets/USD`);
  return [body.balance, body.held, body.available];
};
const disputeOf = async (paymentId: string) => {
  const [life] = (await app.call('GET', `/payments/${paymentId}`)).body.items;
  return life.disputes[0];
};
const alertsOf = async (customerId: string) => {
  const { rows } = await app.database.pool.query<{ kind: string; held: number }>(
    "select kind, (details ->> 'held')::int as held from wallet_alert where customer_id = $1 and kind like 'hold%' order by alert_seq",
    [customerId],
  );
  return rows.map(({ kind, held }) => [kind, held]);
};

describe('an open dispute', () => {
  it('holds what is there of the top-up, and is decided by nobody but its end', async () => {
    const customer = await app.newCustomer();
    const id = newId();
    await inbox.play([paid(id, customer, 2000)]);
    await spend(customer, 1500);
    await inbox.play([dispute(id, 2000, 'needs_response'), dispute(id, 2000, 'needs_response')]);
    expect(await walletOf(customer)).toEqual([500, 500, 0]);
    expect(await spend(customer, 1)).toMatchObject({ status: 400, body: { code: 'INSUFFICIENT_WALLET_FUNDS' } });
    const { hold_id: holdId, hold_wanted: wanted } = await disputeOf(id);
    expect([holdId, wanted]).toEqual([`hold_${customer}_USD_1`, 2000]);
    const holds = `/customers/${customer}/wallets/holds`;
    const shown = { kind: 'dispute', status: 'open', amount: 500, expires_at: null, idempotency_key: null };
    expect((await app.call('GET', holds)).body.items).toMatchObject([{ ...shown, reference_object_id: `du_${id}` }]);
    for (const [method, path, body] of [
      ['POST', '/capture', { amount: 1 }],
      ['POST', '/release', {}],
      ['PATCH', '', { amount: 1 }],
    ] as const) {
      const answer = await app.call(method, `${holds}/${holdId}${path}`, body);
      expect(answer).toMatchObject({ status: 409, body: { code: 'HOLD_OWNED', kind: 'dispute' } });
    }
    await inbox.play([dispute(id, 2000, 'lost')]);
    expect(await walletOf(customer)).toEqual([-1500, 0, 0]);
    expect(await disputeOf(id)).toMatchObject({ status: 'lost', taken: 2000, hold_id: null, hold_wanted: 0 });
    expect(await alertsOf(customer)).toEqual([
      ['hold_placed', 500],
      ['hold_lifted', 0],
    ]);
  });

  it('that is won gives back what it held, and all of it may come in one batch in any order', async () => {
    const customer = await app.newCustomer();
    const id = newId();
    const bodies = [dispute(id, 600, 'needs_response'), paid(id, customer, 1000), refunded(id, 100)];
    await Promise.all(bodies.map((body) => inbox.deliver(body)));
    await inbox.settled();
    expect(await walletOf(customer)).toEqual([900, 600, 300]);
    await Promise.all([dispute(id, 600, 'won'), dispute(id, 600, 'needs_response')].map((body) => inbox.deliver(body)));
    await inbox.settled();
    expect(await walletOf(customer)).toEqual([900, 0, 900]);
  });

  it('holds nothing where its source only records', async () => {
    const customer = await app.newCustomer();
    const id = newId();
    await inbox.play([paid(id, customer, 1000), dispute(id, 1000, 'needs_response')], recording);
    expect(await walletOf(customer)).toEqual([1000, 0, 1000]);
  });

  it('of a payment that was heard of while the release before might run holds nothing', async () => {
    const { pool } = app.database;
    const customer = await app.newCustomer();
    const id = newId();
    await pool.query("update installation set holds_from = now() + interval '1 day'");
    await inbox.play([paid(id, customer, 1000)]);
    await pool.query('update installation set holds_from = now()');
    await inbox.play([dispute(id, 1000, 'needs_response')]);
    expect(await walletOf(customer)).toEqual([1000, 0, 1000]);
  });

  it('goes with its payment to another customer, and is held there', async () => {
    const [a, b] = [await app.newCustomer(), await app.newCustomer()];
    const id = newId();
    await inbox.play([paid(id, a, 1000), dispute(id, 800, 'needs_response')]);
    // What its own dispute holds is no money that somebody else set aside.
    const moved = await app.call('POST', `/payments/${id}/reassign`, { customer_id: b, reason: 'the wrong account' });
    expect(moved.status).toBe(200);
    expect([await walletOf(a), await walletOf(b)]).toEqual([
      [0, 0, 0],
      [1000, 800, 200],
    ]);
    expect((await disputeOf(id)).hold_id).toBe(`hold_${b}_USD_1`);
    await expectBooksToAgree(app.database.pool);
    await inbox.play([dispute(id, 800, 'lost')]);
    expect([await walletOf(a), await walletOf(b)]).toEqual([
      [0, 0, 0],
      [200, 0, 200],
    ]);
  });

  it('holds no more once it was handled by hand', async () => {
    const customer = await app.newCustomer();
    const id = newId();
    await inbox.play([paid(id, customer, 1000), dispute(id, 1000, 'needs_response')]);
    // In another currency than before, which nobody can settle.
    await inbox.play([dispute(id, 1000, 'lost').replace('"usd"', '"inr"')]);
    expect(await walletOf(customer)).toEqual([1000, 1000, 0]);
    const parked = (await app.call('GET', '/events?status=parked')).body.items[0];
    const done = { note: 'taken by hand', amount: 0 };
    expect((await app.call('POST', `/events/${parked.event_id}/dismiss`, done)).status).toBe(200);
    expect(await walletOf(customer)).toEqual([1000, 0, 1000]);
    expect(await disputeOf(id)).toMatchObject({ hold_id: null, hold_wanted: 0 });
  });
});

describe('a hold that an operator lifts', () => {
  const lift = (customerId: string, holdNo: number, settings = inbox.services.settings) => {
    const { pool, clock } = inbox.services;
    const hold = { merchantId: MERCHANT, customerId, currency: 'USD', holdNo };
    return liftHold({ pool, settings, clock }, { hold, reason: 'won, says the dashboard', actor: 'cli' });
  };

  it('is lifted once, and only where it is of a dispute', async () => {
    const customer = await app.newCustomer();
    await expect(lift(customer, 9)).rejects.toMatchObject({ refusal: { code: 'HOLD_NOT_FOUND' } });
    const id = newId();
    await inbox.play([paid(id, customer, 1000), dispute(id, 700, 'needs_response')]);
    const withoutDollars = { ...inbox.services.settings, currencies: new Set(['INR']) };
    await expect(lift(customer, 1, withoutDollars)).rejects.toMatchObject({
      refusal: { code: 'UNSUPPORTED_CURRENCY' },
    });
    await lift(customer, 1);
    await expect(lift(customer, 1)).rejects.toMatchObject({ refusal: { code: 'HOLD_NOT_OPEN', state: 'released' } });
    const hold = { currency: 'USD', amount: 100, idempotency_key: id };
    expect(await app.call('POST', `/customers/${customer}/wallets/holds`, hold)).toMatchObject({ status: 200 });
    const others = ['c', 'a', 'b'].map((name) => `${id}${name}`);
    await inbox.play(others.map((other) => paid(other, customer, 100)));
    const keys = others.map((paymentId) => ({ merchantId: MERCHANT, sourceId: stripe.sourceId, paymentId }));
    const moment = { ...inbox.services.settings, now: new Date() };
    // Nothing of them is in dispute.
    expect(await transaction(app.database.pool, (tx) => settleHolds(tx, keys, moment))).toBe(false);
    await expect(lift(customer, 2)).rejects.toMatchObject({ refusal: { code: 'INVALID_FIELD', field: 'hold_id' } });
  });

  it('is free again, says why, stays so whatever else is told of the round, and is no disagreement', async () => {
    const customer = await app.newCustomer();
    const id = newId();
    await inbox.play([paid(id, customer, 1000), dispute(id, 700, 'needs_response')]);
    expect(await walletOf(customer)).toEqual([1000, 700, 300]);
    expect(await lift(customer, 1)).toMatchObject({ state: 'released', releaseReason: 'won, says the dashboard' });
    expect(await walletOf(customer)).toEqual([1000, 0, 1000]);
    expect(await disputeOf(id)).toMatchObject({ status: 'open', hold_id: null, hold_wanted: 0 });
    const { rows } = await app.database.pool.query('select lifted from payment_part where payment_id = $1', [id]);
    expect(rows).toMatchObject([{ lifted: { actor: 'cli', liftedAt: expect.any(Number) } }]);
    await expectBooksToAgree(app.database.pool);
    await inbox.play([dispute(id, 700, 'needs_response').replace('needs_response', 'under_review')]);
    expect(await walletOf(customer)).toEqual([1000, 0, 1000]);
    await inbox.play([dispute(id, 700, 'lost')]);
    expect(await walletOf(customer)).toEqual([300, 0, 300]);
    expect(await alertsOf(customer)).toEqual([
      ['hold_placed', 700],
      ['hold_lifted', 0],
    ]);
  });

  it('is one of a dispute, and open', async () => {
    const customer = await app.newCustomer();
    const id = newId();
    await inbox.play([paid(id, customer, 1000), dispute(id, 700, 'needs_response')]);
    const own = { amount: 10, currency: 'USD', idempotency_key: 'own' };
    await app.call('POST', `/customers/${customer}/wallets/holds`, own);
    await expect(lift(customer, 2)).rejects.toMatchObject({ refusal: { code: 'INVALID_FIELD' } });
    await expect(lift(customer, 3)).rejects.toMatchObject({ refusal: { code: 'HOLD_NOT_FOUND' } });
    await lift(customer, 1);
    await expect(lift(customer, 1)).rejects.toMatchObject({ refusal: { code: 'HOLD_NOT_OPEN', state: 'released' } });
  });
});

describe('the audit', () => {
  it.each([
    ['a hold that no dispute names', 'update payment_part set hold_no = null where payment_id = $1'],
    ['a dispute that wants less than it holds', 'update payment_part set hold_wanted = 1 where payment_id = $1'],
    ['a hold of a payment that records', "update payment set disputes = 'record' where payment_id = $1"],
    ['a hold under the key of another one', 'update payment_part set holds = 2 where payment_id = $1'],
  ])('names %s', async (_, tampering) => {
    const customer = await app.newCustomer();
    const id = newId();
    await inbox.play([paid(id, customer, 1000), dispute(id, 700, 'needs_response')]);
    await expectBooksToAgree(app.database.pool);
    const { pool } = app.database;
    const before = await pool.query('select * from payment_part where payment_id = $1', [id]);
    await pool.query(tampering, [id]);
    const { disagreements } = await audit(autocommit(pool));
    expect(disagreements.map(({ rule }) => rule)).toContain(
      '8e holds: a hold of a dispute is of a top-up whose dispute says so, and the reverse',
    );
    const [{ hold_no: holdNo, hold_wanted: wanted, holds }] = before.rows;
    await pool.query('update payment_part set hold_no = $2, hold_wanted = $3, holds = $4 where payment_id = $1', [
      ...[id, holdNo, wanted, holds],
    ]);
    await pool.query("update payment set disputes = 'hold' where payment_id = $1", [id]);
  });
});
