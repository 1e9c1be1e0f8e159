import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transaction } from '../../src/db/transaction.ts';
import { requestTopUp } from '../../src/top-ups/manage.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';
import { stripeDispute, stripePayment } from '../support/signing.ts';

/** What events of a payment say about the top-up that it names and that its customer pays himself. */

const stripe = testSource('stripe');
let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database, { sources: [stripe] });
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

let number = 0;

async function requested() {
  number += 1;
  const [customerId = ''] = await makeCustomers(database.pool, [`pays${number}`]);
  const request = { merchantId: MERCHANT, customerId, currency: 'USD', amount: 1000, session: null };
  const { topUp } = await transaction(database.pool, (tx) =>
    requestTopUp(tx, { ...request, idempotencyKey: customerId }, { ...SETTINGS, now: new Date() }),
  );
  const metadata = { wallet_customer_id: customerId, wallet_topup_id: topUp.topUpId };
  const tries = (paymentId: string, type: 'succeeded' | 'processing' | 'payment_failed', createdSeconds?: number) =>
    stripePayment({
      ...{ type, paymentId: `${paymentId}_${customerId}`, amount: 1000, currency: 'usd', metadata },
      ...(createdSeconds === undefined ? {} : { createdSeconds }),
    });
  const now = async () => {
    const { rows } = await database.pool.query<{ state: string; payment_id: string | null }>(
      'select state, payment_id from topup where topup_id = $1',
      [topUp.topUpId],
    );
    return rows[0];
  };
  return { customerId, tries, now };
}

describe('a payment that names a top-up', () => {
  it('and is pending has the top-up wait for it, whatever becomes of another try', async () => {
    const { customerId, tries, now } = await requested();
    await inbox.play([tries('pi_debit', 'processing'), tries('pi_card', 'payment_failed')]);
    const debit = `pi_debit_${customerId}`;
    expect(await now()).toEqual({ state: 'processing', payment_id: debit });
    await inbox.play([tries('pi_card', 'processing'), tries('pi_debit', 'processing')]);
    expect(await now()).toEqual({ state: 'processing', payment_id: debit });
    await inbox.play([tries('pi_debit', 'succeeded')]);
    expect(await now()).toEqual({ state: 'succeeded', payment_id: debit });
  });

  it('and fails leaves a top-up that its customer pays himself open to another try', async () => {
    const { customerId, tries, now } = await requested();
    await inbox.play([tries('pi_a', 'payment_failed'), tries('pi_a', 'payment_failed')]);
    expect(await now()).toMatchObject({ state: expect.stringMatching(/^(requested|failed|declined)$/) });
    await inbox.play([tries('pi_b', 'succeeded')]);
    expect(await now()).toEqual({ state: 'succeeded', payment_id: `pi_b_${customerId}` });
  });

  it('keeps nothing waiting that is told of late, once the try has failed; a later one does', async () => {
    const { customerId, tries, now } = await requested();
    const at = Math.floor(Date.now() / 1000);
    await inbox.play([tries('pi_a', 'payment_failed', at), tries('pi_a', 'processing', at - 10)]);
    expect(await now()).toEqual({ state: 'requested', payment_id: null });
    await inbox.play([tries('pi_a', 'processing', at + 60)]);
    expect(await now()).toEqual({ state: 'processing', payment_id: `pi_a_${customerId}` });
  });

  it('goes on where only the failure of the try before is told late, so that nobody is charged beside it', async () => {
    const { customerId, tries, now } = await requested();
    const at = Math.floor(Date.now() / 1000);
    const pi = `pi_a_${customerId}`;
    await inbox.play([tries('pi_a', 'processing', at), tries('pi_a', 'payment_failed', at - 10)]);
    expect(await now()).toEqual({ state: 'processing', payment_id: pi });
    await inbox.play([tries('pi_a', 'payment_failed', at + 60)]);
    expect(await now()).toEqual({ state: 'declined', payment_id: pi });
  });

  it('and is disputed suspends nothing where the wallet has no rule', async () => {
    const { customerId, tries, now } = await requested();
    const paymentId = `pi_paid_${customerId}`;
    const dispute = stripeDispute({ paymentId, amount: 400, currency: 'usd', status: 'needs_response' });
    await inbox.play([tries('pi_paid', 'succeeded'), dispute]);
    expect(await now()).toEqual({ state: 'succeeded', payment_id: paymentId });
    const { rows } = await database.pool.query(
      "select event_type from unsent_message where event_type = 'topup.suspended'",
    );
    expect(rows).toEqual([]);
  });
});
