import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { audit } from '../../src/audit/checks.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import type { Checkout } from '../../src/ledger/checkouts/checkout.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { openAt, opening } from '../support/checkouts.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { stripePayment, stripeRefund } from '../support/signing.ts';

/** Rules 5c and 10b to 10e: what was paid and refunded of checkouts, made wrong by hand. */

let database: TestDatabase;
let inbox: TestInbox;
let checkout: Checkout;

beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database, { sources: [testSource('stripe')] });
  const [customerId = ''] = await makeCustomers(database.pool, ['audited']);
  const start = { ...SETTINGS, now: new Date(Date.now() - 3_600_000) };
  await transaction(database.pool, (tx) => postBatch(tx, [posting({ customerId, amountMinor: 2000 })], start));
  checkout = await openAt(database.pool, opening(customerId, 5000));
  const paid = { paymentId: 'pi_audited', currency: 'usd' };
  const metadata = { wallet_customer_id: customerId, wallet_checkout_id: checkout.checkoutId };
  await inbox.play([
    stripePayment({ ...paid, amount: 3000, metadata }),
    stripeRefund({ ...paid, refundId: 're_audited', amount: 1500, status: 'succeeded' }),
  ]);
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

describe('the audit of checkouts', () => {
  it.each([
    ['10b', 'captured = 1900, uncollected = 100, state = $$short$$, completed_at = null'],
    ['10c', 'wallet_returned = 999'],
    ['10c', 'wallet_returned = 0'],
    ['10d', 'over_refunded = true'],
    ['5c ', 'payment_refunded = 1400'],
    ['5c ', 'payment_refunded = 3000'],
    ['10e', 'payment_id = $$pi_another$$'],
    ['10e', 'source_id = $$src_another$$'],
  ])('has its rule %s break where somebody writes "%s"', async (rule, wrong) => {
    const undone: string[] = [];
    await transaction(database.pool, async (tx) => {
      await tx.query(`update checkout set ${wrong} where checkout_id = '${checkout.checkoutId}'`, []);
      undone.push(...(await audit(tx)).disagreements.map((one) => one.rule.slice(0, 3)));
      throw new Error('undone');
    }).catch(() => {});
    expect(undone).toContain(rule);
  });

  it.each([
    ['10e', "update payment set purpose = 'order', agreed_amount = null"],
    ['10e', 'update payment set agreed_amount = null'],
    ['10e', "update checkout set state = 'expired', captured = 0, payment_id = null, completed_at = null"],
  ])('has its rule %s break by "%s"', async (rule, wrong) => {
    const undone: string[] = [];
    await transaction(database.pool, async (tx) => {
      await tx.query(wrong, []);
      undone.push(...(await audit(tx)).disagreements.map((one) => one.rule.slice(0, 3)));
      throw new Error('undone');
    }).catch(() => {});
    expect(undone).toContain(rule);
  });

  it('finds nothing where nothing is wrong', async () => {
    expect((await audit(autocommit(database.pool))).disagreements).toEqual([]);
  });
});
