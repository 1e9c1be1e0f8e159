import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import type { LedgerCommand } from '../../src/ledger/post.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { stripeDispute, stripePaymentSucceeded, stripeRefund } from '../support/signing.ts';

/** What providers tell of wallets that are frozen or closed. */

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase();
  inbox = await startInbox(database);
});
afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

const run = (commands: readonly LedgerCommand[]) =>
  transaction(database.pool, (tx) => postBatch(tx, commands, { ...SETTINGS, now: new Date() }));
const setTo = (customerId: string, status: 'active' | 'frozen' | 'closed') =>
  run([
    {
      ...{ op: 'change_status', merchantId: MERCHANT, customerId, currency: 'USD', status, pauseExpiry: null },
      ...{ reason: 'why', actor: 'key:one' },
    },
  ]);
const debit = (customerId: string, amountMinor: number) => run([posting({ customerId, amountMinor, isCredit: false })]);
const pay = (paymentId: string, customerId: string, amount: number) =>
  inbox.play([
    stripePaymentSucceeded({ paymentId, amount, currency: 'usd', metadata: { wallet_customer_id: customerId } }),
  ]);

async function wallet(customerId: string) {
  const wallets = await readWallets(autocommit(database.pool), MERCHANT, [customerId]);
  return wallets.find(({ currency }) => currency === 'USD');
}

describe('a wallet that is not active', () => {
  it('is opened again as frozen by a payment, in the transaction of its entry, and that is news', async () => {
    const [customer = ''] = await makeCustomers(database.pool, ['paid']);
    await setTo(customer, 'closed');
    await pay('pi_back', customer, 700);
    expect(await wallet(customer)).toMatchObject({ status: 'frozen', balance: 700 });
    const { rows } = await database.pool.query(
      `select a.version, a.details->>'status' as status, a.details->>'actor' as actor, c.created_at = e.created_at as together
       from wallet_alert a join entry e using (merchant_id, customer_id, currency) join wallet_status_change c using (merchant_id, customer_id, currency)
       where customer_id = $1 and a.details->>'actor' = 'service' and c.change_no = 2`,
      [customer],
    );
    expect(rows).toEqual([{ version: 0, status: 'frozen', actor: 'service', together: true }]);
  });

  it('is opened again by what takes a payment back, and shows the debt', async () => {
    const [customer = ''] = await makeCustomers(database.pool, ['refunded']);
    await pay('pi_spent', customer, 1000);
    await debit(customer, 1000);
    await setTo(customer, 'closed');
    await inbox.play([stripeRefund({ paymentId: 'pi_spent', currency: 'usd', refundId: 're_1', amount: 300 })]);
    expect(await wallet(customer)).toMatchObject({ status: 'frozen', balance: -300 });
  });

  it('is not closed while a dispute holds money, and is after that one has ended', async () => {
    const [customer = ''] = await makeCustomers(database.pool, ['disputed']);
    await pay('pi_d', customer, 1000);
    await setTo(customer, 'frozen');
    const dispute = { paymentId: 'pi_d', currency: 'usd', disputeId: 'du_1', amount: 1000 };
    await inbox.play([stripeDispute({ ...dispute, status: 'needs_response' })]);
    expect(await wallet(customer)).toMatchObject({ status: 'frozen', held: 1000 });
    expect(await setTo(customer, 'closed')).toMatchObject([
      { refusal: { code: 'WALLET_NOT_EMPTY', left: 1000, openHolds: 1 } },
    ]);
    await inbox.play([stripeDispute({ ...dispute, status: 'lost' })]);
    expect(await wallet(customer)).toMatchObject({ status: 'frozen', balance: 0, held: 0 });
    expect(await setTo(customer, 'closed')).toMatchObject([{ kind: 'status_set' }]);
  });

  it('stays closed where a dispute of what was spent is opened, since that moves nothing', async () => {
    const [customer = ''] = await makeCustomers(database.pool, ['left']);
    await pay('pi_l', customer, 400);
    await debit(customer, 400);
    await setTo(customer, 'closed');
    const dispute = { paymentId: 'pi_l', currency: 'usd', disputeId: 'du_2', amount: 400 };
    await inbox.play([stripeDispute({ ...dispute, status: 'needs_response' })]);
    expect(await wallet(customer)).toMatchObject({ status: 'closed', balance: 0, held: 0 });
    await inbox.play([stripeDispute({ ...dispute, status: 'lost' })]);
    expect(await wallet(customer)).toMatchObject({ status: 'frozen', balance: -400 });
  });
});
