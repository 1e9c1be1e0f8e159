import { afterAll, beforeAll, expect, it } from 'vitest';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { listOpenLots } from '../../src/ledger/lots/read.ts';
import { postBatch, readWallets } from '../../src/ledger/store.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startInbox, type TestInbox, testSource } from '../support/inbox.ts';
import { expectBooksToAgree, MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { stripeDispute, stripePaymentSucceeded } from '../support/signing.ts';

let database: TestDatabase;
let inbox: TestInbox;

beforeAll(async () => {
  database = await createTestDatabase(30);
  await makeCustomers(database.pool, []);
  inbox = await startInbox(database, { sources: [testSource('stripe')] });
});

afterAll(async () => {
  await expectBooksToAgree(database.pool);
  await inbox.stop();
  await database.drop();
});

it('a dispute that is won after all gives lots back what it took from them, with the time that they had left', async () => {
  const [customerId = ''] = await makeCustomers(database.pool, ['given_back']);
  const metadata = { wallet_customer_id: customerId };
  const terms = { kind: 'promo', name: 'Welcome', priority: 90, end: { days: 30 } } as const;
  await inbox.play([stripePaymentSucceeded({ paymentId: 'pi_b', amount: 1000, metadata })]);
  const given = [
    posting({ customerId, amountMinor: 500, terms }),
    posting({ customerId, amountMinor: 600, isCredit: false }),
  ];
  await transaction(database.pool, (tx) => postBatch(tx, given, { ...SETTINGS, now: new Date() }));
  const books = async () => {
    const db = autocommit(database.pool);
    const wallets = await readWallets(db, MERCHANT, [customerId]);
    const filter = { currency: 'USD', kind: null, expiresBefore: null };
    const lots = await listOpenLots(db, { merchantId: MERCHANT, customerId }, filter);
    return { balance: wallets.find(({ currency }) => currency === 'USD')?.balance, lots };
  };
  const [first] = (await books()).lots;
  const dispute = { paymentId: 'pi_b', disputeId: 'du_b', amount: 1000 };
  await inbox.play([
    stripeDispute({ type: 'created', ...dispute }),
    stripeDispute({ type: 'closed', status: 'lost', ...dispute }),
  ]);
  expect(await books()).toEqual({ balance: -100, lots: [] });
  await inbox.play([stripeDispute({ type: 'funds_reinstated', status: 'won', ...dispute })]);
  const { balance, lots } = await books();
  expect(balance).toBe(900);
  expect(lots).toMatchObject([
    { lotNo: 2, kind: 'promo', name: 'Welcome', priority: 90, remaining: 500, originSeq: 2 },
  ]);
  expect(lots[0]?.expiresAt?.getTime()).toBeGreaterThanOrEqual(first?.expiresAt?.getTime() ?? Infinity);
});
